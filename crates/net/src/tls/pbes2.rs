//! Private keys under a password: PKCS#8 with PBES2 (RFC 5958, RFC 8018 appendix A), as OpenSSL writes them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;

/// Rounds of key derivation taken: more would hold up the start for minutes.
const ROUNDS_MAX: u32 = 10_000_000;
const KEY_BYTES_MAX: usize = 32;
const IV_BYTES: usize = 16;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// hmacWithSHA1, 256, 384, 512 differ in their last number.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
/// aes128-CBC, aes192-CBC, aes256-CBC differ in their last number.
const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];

/// Why an encrypted key stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Not PBES2 with PBKDF2 and AES-CBC, or damaged.
    Unsupported,
    WrongPassword,
}

/// What the file says about its encryption.
struct Encrypted<'a> {
    salt: &'a [u8],
    rounds: NonZeroU32,
    hmac: pbkdf2::Algorithm,
    cipher: &'static Algorithm,
    key_bytes: usize,
    iv: &'a [u8],
    body: &'a [u8],
}

/// Opens an EncryptedPrivateKeyInfo; returns the PKCS#8 key inside.
pub(super) fn open(der: &[u8], password: &[u8]) -> Result<Vec<u8>, Closed> {
    let encrypted = read(der).ok_or(Closed::Unsupported)?;
    let mut key = [0; KEY_BYTES_MAX];
    let key = &mut key[..encrypted.key_bytes];
    pbkdf2::derive(encrypted.hmac, encrypted.rounds, encrypted.salt, password, key);
    let iv = FixedLength::<IV_BYTES>::try_from(encrypted.iv).map_err(|_| Closed::Unsupported)?;
    let key = UnboundCipherKey::new(encrypted.cipher, key).map_err(|_| Closed::Unsupported)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| Closed::Unsupported)?;
    let mut body = encrypted.body.to_vec();
    let plain = key.decrypt(&mut body, DecryptionContext::Iv128(iv)).map_err(|_| Closed::WrongPassword)?;
    // Padding may fit by chance; what is not a sequence to its end is no key.
    let mut rest = &*plain;
    match take(&mut rest, SEQUENCE) {
        Some(_) if rest.is_empty() => Ok(plain.to_vec()),
        _ => Err(Closed::WrongPassword),
    }
}

fn read(der: &[u8]) -> Option<Encrypted<'_>> {
    let mut outer = take(&mut { der }, SEQUENCE)?;
    let mut algorithm = take(&mut outer, SEQUENCE)?;
    let body = take(&mut outer, OCTETS)?;
    if take(&mut algorithm, OID)? != PBES2 {
        return None;
    }
    let mut parameters = take(&mut algorithm, SEQUENCE)?;
    let mut derivation = take(&mut parameters, SEQUENCE)?;
    let mut scheme = take(&mut parameters, SEQUENCE)?;
    if take(&mut derivation, OID)? != PBKDF2 {
        return None;
    }
    let mut derivation = take(&mut derivation, SEQUENCE)?;
    let salt = take(&mut derivation, OCTETS)?;
    let rounds = take(&mut derivation, INTEGER)?;
    if rounds.len() > 4 {
        return None;
    }
    let rounds = rounds.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
    if derivation.first() == Some(&INTEGER) {
        take(&mut derivation, INTEGER)?;
    }
    let (cipher, key_bytes) = match take(&mut scheme, OID)?.strip_prefix(AES)? {
        [2] => (&AES_128, 16),
        [22] => (&AES_192, 24),
        [42] => (&AES_256, 32),
        _ => return None,
    };
    let iv = take(&mut scheme, OCTETS)?;
    Some(Encrypted { salt, rounds, hmac: read_hmac(derivation)?, cipher, key_bytes, iv, body })
}

/// The pseudo-random function; SHA-1 when none is named.
fn read_hmac(mut rest: &[u8]) -> Option<pbkdf2::Algorithm> {
    if rest.is_empty() {
        return Some(pbkdf2::PBKDF2_HMAC_SHA1);
    }
    let mut function = take(&mut rest, SEQUENCE)?;
    match take(&mut function, OID)?.strip_prefix(HMAC)? {
        [7] => Some(pbkdf2::PBKDF2_HMAC_SHA1),
        [9] => Some(pbkdf2::PBKDF2_HMAC_SHA256),
        [10] => Some(pbkdf2::PBKDF2_HMAC_SHA384),
        [11] => Some(pbkdf2::PBKDF2_HMAC_SHA512),
        _ => None,
    }
}

/// The contents of the DER element at the start of `from`, which moves past it; `None` if it has another tag.
fn take<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let [found, first, rest @ ..] = *from else { return None };
    if *found != tag {
        return None;
    }
    let (n_more, short) =
        if *first < 0x80 { (0, usize::from(*first)) } else { (usize::from(first & 0x7f), 0) };
    if n_more > 3 || (*first == 0x80) {
        return None;
    }
    let (long, rest) = rest.split_at_checked(n_more)?;
    let len = long.iter().fold(short, |sum, byte| sum << 8 | usize::from(*byte));
    let (contents, rest) = rest.split_at_checked(len)?;
    *from = rest;
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certs::{CertError, key_with};

    /// Made for this test by `openssl genpkey -aes-256-cbc` with the password "secret".
    const LOCKED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhpoc7tNtIC4QICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDZ5P9Xsc95lsIFYRmq16xUEgZCm
pt2n6cmiQpMWyM0XoXp7QXdDZz4Eh+LaJrABCDh56eG+/Csd57DequK73wO/q2Lw
zQz9W6J47GWdzs7tJZC7wHjdNZnZgLmeZITLc4nPMxH0eNgZGzRYKcJNq40JUY9h
XcIF+gKKeA0Nuk44B5pQVEVt2OiMxCmPwXTkqZhvTVHf+a5LeMWUZ1FVxIYXRFQ=
-----END ENCRYPTED PRIVATE KEY-----
";

    #[test]
    fn the_right_password_opens_a_key() {
        let passwords: Vec<Vec<u8>> = [&b"wrong"[..], b"secret"].map(<[u8]>::to_vec).into();
        assert!(key_with(LOCKED.as_bytes(), &passwords).is_ok());
        assert_eq!(key_with(LOCKED.as_bytes(), &passwords[..1]), Err(CertError::WrongPassword));
        assert_eq!(key_with(LOCKED.as_bytes(), &[]), Err(CertError::Encrypted));
    }

    #[test]
    fn damaged_keys_are_refused() {
        let der = key_der();
        for at in 0..der.len() {
            assert!(open(&der[..at], b"secret").is_err());
        }
        for at in 0..90 {
            let mut der = der.clone();
            der[at] ^= 0x11;
            let _ = read(&der);
        }
    }

    fn key_der() -> Vec<u8> {
        crate::tls::certs::encrypted_der(LOCKED).unwrap()
    }
}
