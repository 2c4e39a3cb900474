//! The public key inside a certificate of any version: rustls refuses those of X.509 v1, which many a home-made
//! certificate is, though nothing but the key is needed where nobody checks the chain.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `[0] EXPLICIT Version`, absent in v1.
const VERSION: u8 = 0xa0;

/// A SubjectPublicKeyInfo (RFC 5280, section 4.1).
pub(super) struct PublicKey<'a> {
    /// The whole of it, DER.
    pub(super) info: &'a [u8],
    /// What stands in its AlgorithmIdentifier.
    algorithm: &'a [u8],
    /// The key's bits.
    bits: &'a [u8],
}

/// Finds the key. `None`: these bytes are no certificate.
pub(super) fn of_certificate(der: &[u8]) -> Option<PublicKey<'_>> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut rest, _) = take(certificate.inside, SEQUENCE).map(|(tbs, _)| (tbs.inside, ()))?;
    if rest.first() == Some(&VERSION) {
        rest = take(rest, VERSION)?.1;
    }
    rest = take(rest, INTEGER)?.1;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        rest = take(rest, SEQUENCE)?.1;
    }
    let (info, _) = take(rest, SEQUENCE)?;
    let (algorithm, rest) = take(info.inside, SEQUENCE)?;
    let (bits, _) = take(rest, BIT_STRING)?;
    // The first byte counts unused bits: none, for a key.
    let bits = bits.inside.strip_prefix(&[0])?;
    Some(PublicKey { info: info.whole, algorithm: algorithm.inside, bits })
}

impl PublicKey<'_> {
    /// Checks a signature that a handshake made with this key.
    pub(super) fn verify(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        supported: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let known = supported.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) =
            known.ok_or(PeerIncompatible::NoSignatureSchemesInCommon).map_err(Error::from)?;
        let fits = algorithms.iter().filter(|it| it.public_key_alg_id().as_ref() == self.algorithm);
        for algorithm in fits {
            if algorithm.verify_signature(self.bits, message, signed.signature()).is_ok() {
                return Ok(());
            }
        }
        Err(CertificateError::BadSignature.into())
    }
}

struct Element<'a> {
    whole: &'a [u8],
    inside: &'a [u8],
}

/// The element of this tag at the front, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    if *first != tag {
        return None;
    }
    let (head, length) = match length {
        0..=0x7f => (2, usize::from(*length)),
        // Long form; four bytes of length are more than any certificate needs.
        0x81..=0x84 => {
            let n = usize::from(length & 0x7f);
            let length = rest.get(..n)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (2 + n, length)
        }
        _ => return None,
    };
    let end = head.checked_add(length)?;
    let whole = der.get(..end)?;
    Some((Element { whole, inside: &whole[head..] }, &der[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_certificates() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let key = of_certificate(made.cert.der()).unwrap();
        assert_eq!(key.info, rcgen::PublicKeyData::subject_public_key_info(&made.signing_key));
    }

    #[test]
    fn garbage_has_no_key() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let der = made.cert.der();
        assert!(of_certificate(b"").is_none() && of_certificate(b"\x30\x84\xff\xff\xff\xff").is_none());
        for end in 0..der.len() {
            assert!(of_certificate(&der[..end]).is_none(), "{end}");
        }
    }
}
