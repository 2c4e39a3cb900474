//! The record layer: one record sealed into, or opened within, memory that exists already (RFC 8446 section 5,
//! RFC 5246 section 6.2).
//!
//! rustls makes the handshake; its secrets then come here, so that data is encrypted straight from the sender's
//! bytes into the block that is sent, and decrypted in the block it was received in.

use std::ops::Range;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

/// Content types.
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// The most plaintext in one record.
pub(super) const PLAIN_BYTES_MAX: usize = 1 << 14;
/// Type, version, length.
pub(super) const HEADER_BYTES: usize = 5;
/// What may be in one record on the wire beyond the plaintext: 256 bytes in TLS 1.3, 2048 in TLS 1.2.
const EXPANSION_BYTES_MAX_13: usize = 256;
const EXPANSION_BYTES_MAX_12: usize = 2048;
const TAG_BYTES: usize = 16;
/// The part of an AES-GCM nonce that TLS 1.2 sends along (RFC 5288 section 3).
const EXPLICIT_BYTES: usize = 8;

/// Records after which a key is replaced, well below AES-GCM's 2^24.5 (RFC 8446 section 5.5). Only TLS 1.3 can; the
/// bound is on what an eavesdropper might learn, and TLS 1.2 peers in general do not keep it.
pub(super) const RECORDS_PER_KEY_MAX: u64 = 1 << 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// What is wrong with a record: each is the peer's fault (or an attacker's) and ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordError {
    BadMac,
    TooLong,
    /// A type that has no business here.
    Unexpected,
    /// Too many records that carry nothing.
    Flood,
    Malformed,
}

impl RecordError {
    /// The alert that tells the peer (RFC 8446 section 6.2).
    pub(super) fn alert(self) -> u8 {
        match self {
            RecordError::Unexpected | RecordError::Flood => 10,
            RecordError::BadMac => 20,
            RecordError::TooLong => 22,
            RecordError::Malformed => 50,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            RecordError::BadMac => "decryption failed or bad record mac",
            RecordError::TooLong => "data length too long",
            RecordError::Unexpected => "unexpected message",
            RecordError::Flood => "too many empty records",
            RecordError::Malformed => "malformed message",
        }
    }
}

/// The key of one direction and how many records it has served.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    seq: u64,
    version: Version,
    /// TLS 1.2 with AES-GCM: part of the nonce is in the record.
    explicit: bool,
}

impl Keys {
    /// Takes over a direction at record number `seq`. `None` for an algorithm that is not known here.
    pub(super) fn new(version: Version, seq: u64, secrets: &ConnectionTrafficSecrets) -> Option<Keys> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let explicit = version == Version::Tls12 && algorithm != &aead::CHACHA20_POLY1305;
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Keys { key, iv: iv.as_ref().try_into().ok()?, seq, version, explicit })
    }

    /// Keys that are not in use yet.
    pub(super) fn unset() -> Option<Keys> {
        let key = LessSafeKey::new(UnboundKey::new(&aead::AES_128_GCM, &[0; 16]).ok()?);
        Some(Keys { key, iv: [0; NONCE_LEN], seq: 0, version: Version::Tls13, explicit: false })
    }

    /// Records sealed or opened so far.
    pub(super) fn n_records(&self) -> u64 {
        self.seq
    }

    /// Bytes of a record before its ciphertext.
    fn head_bytes(&self) -> usize {
        if self.explicit { HEADER_BYTES + EXPLICIT_BYTES } else { HEADER_BYTES }
    }

    /// Bytes of a record after the ciphertext of its data: in TLS 1.3 the type, encrypted, and always the tag.
    fn tail_bytes(&self) -> usize {
        match self.version {
            Version::Tls12 => TAG_BYTES,
            Version::Tls13 => TAG_BYTES + 1,
        }
    }

    /// Bytes that a record has beyond its plaintext.
    pub(super) fn overhead_bytes(&self) -> usize {
        self.head_bytes() + self.tail_bytes()
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, of_seq) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= of_seq;
        }
        nonce
    }

    /// Seals `parts`, one after the other `plain_bytes` in all and at most `PLAIN_BYTES_MAX`, as one record at the
    /// start of `out`; returns the record's length. `out` must have room for it.
    pub(super) fn seal<'a>(
        &mut self,
        content: u8,
        plain_bytes: usize,
        mut parts: impl Iterator<Item = &'a [u8]>,
        out: &mut [u8],
    ) -> usize {
        let (head, tail) = (self.head_bytes(), self.tail_bytes());
        let nonce = self.nonce();
        let outer = if self.version == Version::Tls13 { DATA } else { content };
        let on_wire = head - HEADER_BYTES + plain_bytes + tail;
        let header = [outer, 3, 3, (on_wire >> 8) as u8, on_wire as u8];
        out[..HEADER_BYTES].copy_from_slice(&header);
        if self.explicit {
            out[HEADER_BYTES..head].copy_from_slice(&nonce[NONCE_LEN - EXPLICIT_BYTES..]);
        }
        let (body, rest) = out[head..].split_at_mut(plain_bytes);
        let aad = self.aad(header, content, plain_bytes);
        let inner_type: &[u8] = if self.version == Version::Tls13 { &[content] } else { &[] };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let first = parts.next().unwrap_or_default();
        let sealed = if first.len() == plain_bytes {
            self.key.seal_out_of_place_scatter(nonce, aad, first, body, inner_type, &mut rest[..tail])
        } else {
            gather(first, parts, body);
            self.key.seal_in_place_scatter(nonce, aad, body, inner_type, &mut rest[..tail])
        };
        sealed.expect("because the lengths agree and a record is far below what an AEAD takes");
        self.seq += 1;
        head + plain_bytes + tail
    }

    /// Opens one whole record in place; returns its content type and where its plaintext stands.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), RecordError> {
        let head = self.head_bytes();
        let Some(plain_bytes) = record.len().checked_sub(head + TAG_BYTES) else {
            return Err(RecordError::BadMac);
        };
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&record[..HEADER_BYTES]);
        if self.version == Version::Tls13 && header[0] != DATA {
            return Err(RecordError::Unexpected);
        }
        let mut nonce = self.nonce();
        if self.explicit {
            nonce[..NONCE_LEN - EXPLICIT_BYTES].copy_from_slice(&self.iv[..NONCE_LEN - EXPLICIT_BYTES]);
            nonce[NONCE_LEN - EXPLICIT_BYTES..].copy_from_slice(&record[HEADER_BYTES..head]);
        }
        let aad = self.aad(header, header[0], plain_bytes);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, aad, &mut record[head..]);
        let plain = opened.map_err(|_| RecordError::BadMac)?;
        self.seq += 1;
        let (content, len) = match self.version {
            Version::Tls12 => (header[0], plain.len()),
            Version::Tls13 => inner_type(plain)?,
        };
        if len > PLAIN_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        Ok((content, head..head + len))
    }

    /// What the tag also covers: the header in TLS 1.3, number and header of the plaintext in TLS 1.2.
    fn aad(&self, header: [u8; HEADER_BYTES], content: u8, plain_bytes: usize) -> Aad<AadBytes> {
        let mut bytes = [0; 13];
        let len = match self.version {
            Version::Tls13 => {
                bytes[..HEADER_BYTES].copy_from_slice(&header);
                HEADER_BYTES
            }
            Version::Tls12 => {
                bytes[..8].copy_from_slice(&self.seq.to_be_bytes());
                bytes[8..].copy_from_slice(&[content, 3, 3, (plain_bytes >> 8) as u8, plain_bytes as u8]);
                13
            }
        };
        Aad::from(AadBytes { bytes, len })
    }
}

struct AadBytes {
    bytes: [u8; 13],
    len: usize,
}

impl AsRef<[u8]> for AadBytes {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn gather<'a>(first: &[u8], rest: impl Iterator<Item = &'a [u8]>, into: &mut [u8]) {
    let mut at = first.len();
    into[..at].copy_from_slice(first);
    for part in rest {
        into[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, into.len());
}

/// TLS 1.3: the true type is the last byte that is not zero; zeros behind it are padding.
fn inner_type(plain: &[u8]) -> Result<(u8, usize), RecordError> {
    let at = plain.iter().rposition(|byte| *byte != 0).ok_or(RecordError::Unexpected)?;
    Ok((plain[at], at))
}

/// The length of the record at the start of `bytes`, header included; `None` while it has not all come.
pub(super) fn whole_record(bytes: &[u8], version: Version) -> Result<Option<usize>, RecordError> {
    let [_, _, _, high, low, ..] = *bytes else { return Ok(None) };
    let len = usize::from(high) << 8 | usize::from(low);
    let expansion = match version {
        Version::Tls12 => EXPANSION_BYTES_MAX_12,
        Version::Tls13 => EXPANSION_BYTES_MAX_13,
    };
    if len > PLAIN_BYTES_MAX + expansion {
        return Err(RecordError::TooLong);
    }
    Ok((bytes.len() >= HEADER_BYTES + len).then_some(HEADER_BYTES + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    fn keys(version: Version, algorithm: u8) -> Keys {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::new([9; 12]));
        let secrets = match algorithm {
            0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
        };
        Keys::new(version, 5, &secrets).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_whole_or_in_parts() {
        for version in [Version::Tls12, Version::Tls13] {
            for algorithm in [0, 1] {
                let (mut seal, mut open) = (keys(version, algorithm), keys(version, algorithm));
                let data: Vec<u8> = (0..PLAIN_BYTES_MAX).map(|n| (n % 199) as u8).collect();
                for cuts in [vec![0], vec![1], vec![1000, 1000, 3], vec![PLAIN_BYTES_MAX]] {
                    let total = cuts.iter().sum();
                    let mut rest = &data[..total];
                    let parts = cuts.iter().map(|n| rest.split_off(..*n).unwrap()).collect::<Vec<_>>();
                    let mut out = vec![0; PLAIN_BYTES_MAX + 64];
                    let n = seal.seal(DATA, total, parts.into_iter(), &mut out);
                    assert_eq!(n, total + seal.overhead_bytes());
                    assert_eq!(whole_record(&out, version), Ok(Some(n)));
                    assert_eq!(whole_record(&out[..n - 1], version), Ok(None));
                    let (content, range) = open.open(&mut out[..n]).unwrap();
                    assert_eq!(content, DATA);
                    assert!(out[range] == data[..total]);
                }
                let mut out = vec![0; 100];
                let n = seal.seal(ALERT, 2, [&[1, 0][..]].into_iter(), &mut out);
                out[n - 1] ^= 1;
                assert_eq!(open.open(&mut out[..n]), Err(RecordError::BadMac));
            }
        }
    }

    #[test]
    fn a_record_beyond_its_bounds_is_refused() {
        assert_eq!(whole_record(&[23, 3, 3, 0x41, 0x01], Version::Tls13), Err(RecordError::TooLong));
        assert_eq!(whole_record(&[23, 3, 3, 0x41, 0x00], Version::Tls13), Ok(None));
        assert_eq!(whole_record(&[23, 3, 3, 0x48, 0x01], Version::Tls12), Err(RecordError::TooLong));
        let mut short = [23, 3, 3, 0, 3, 1, 2, 3];
        assert_eq!(keys(Version::Tls13, 0).open(&mut short), Err(RecordError::BadMac));
    }
}
