//! The header of an object's file: what must be known of it before a byte of its body is served.
//!
//! ```text
//! 0    magic and version
//! 8    where the body starts
//! 16   two slots: how long the object is good; the one with the higher number counts
//! 112  checksum of all that follows up to the body
//! 120  length of the body, times, keys, status, lengths
//! ...  the key's text, `Vary`, `ETag`, the answer's head as received
//! ```
//!
//! What a revalidation changes is written in place into the slot that does not count, so that a reader or a crash
//! in the middle of it finds the other one. All else is written once.

use std::ops::Range;

use crate::checksum::checksum;
use crate::key::Key;

const MAGIC: [u8; 8] = *b"fgcache\x01";

const BODY_START: usize = 8;
const SLOTS: usize = 16;
const SLOT_BYTES: usize = 48;
const CHECKSUM: usize = SLOTS + 2 * SLOT_BYTES;
const FIXED: usize = CHECKSUM + 8;
const BODY_BYTES: usize = FIXED;
const CREATED: usize = FIXED + 8;
const MODIFIED: usize = FIXED + 16;
const MAIN: usize = FIXED + 24;
const KEY: usize = FIXED + 40;
const VARIANT: usize = FIXED + 56;
const STATUS: usize = FIXED + 72;
const LENGTHS: usize = FIXED + 76;
const TEXTS: usize = LENGTHS + 4 * 4;

/// A longer header (a key or a head out of all proportion) is not written, and not read.
pub(crate) const HEADER_BYTES_MAX: usize = 512 << 10;

/// Stands for no `Last-Modified`.
const NEVER: i64 = i64::MIN;

/// How long an object is good. Seconds since the epoch, and seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    pub valid_s: i64,
    pub updating_s: i64,
    pub error_s: i64,
    /// When the answer came, or was found good again.
    pub dated_s: i64,
}

/// What a header is made of.
pub(crate) struct Parts<'a> {
    pub(crate) life: Life,
    pub(crate) created_us: u64,
    pub(crate) modified_s: Option<i64>,
    pub(crate) main: Key,
    pub(crate) key: Key,
    pub(crate) variant: Key,
    pub(crate) status: u16,
    pub(crate) text: &'a [u8],
    pub(crate) vary: &'a [u8],
    pub(crate) etag: &'a [u8],
    pub(crate) head: &'a [u8],
}

/// What a header says. The texts are where they stand in its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) life: Life,
    /// The number of the slot that counts.
    turn: u64,
    pub(crate) body_start: u64,
    pub(crate) body_bytes: u64,
    pub(crate) created_us: u64,
    pub(crate) modified_s: Option<i64>,
    pub(crate) main: Key,
    pub(crate) key: Key,
    pub(crate) variant: Key,
    pub(crate) status: u16,
    pub(crate) text: Range<usize>,
    pub(crate) vary: Range<usize>,
    pub(crate) etag: Range<usize>,
    pub(crate) head: Range<usize>,
}

/// Why bytes are no header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// So many bytes are needed.
    Short(usize),
    Foreign,
    Torn,
}

impl Parts<'_> {
    /// A header for a body that is not known yet; `seal` makes it valid. `None`: it would be too long.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let texts = [self.text, self.vary, self.etag, self.head];
        let length = TEXTS + texts.iter().map(|it| it.len()).sum::<usize>();
        if length > HEADER_BYTES_MAX {
            return None;
        }
        let mut out = vec![0; TEXTS];
        out.reserve_exact(length - TEXTS);
        out[..8].copy_from_slice(&MAGIC);
        put(&mut out, BODY_START, length as u64);
        slot(&mut out[SLOTS..], 1, &self.life);
        put(&mut out, CREATED, self.created_us);
        put(&mut out, MODIFIED, self.modified_s.unwrap_or(NEVER).cast_unsigned());
        for (at, key) in [(MAIN, self.main), (KEY, self.key), (VARIANT, self.variant)] {
            out[at..at + 16].copy_from_slice(&key.0);
        }
        out[STATUS..STATUS + 2].copy_from_slice(&self.status.to_le_bytes());
        for (n, text) in texts.into_iter().enumerate() {
            let at = LENGTHS + 4 * n;
            out[at..at + 4].copy_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text);
        }
        Some(out)
    }
}

/// Completes a header once its body is known.
pub(crate) fn seal(header: &mut [u8], body_bytes: u64) {
    put(header, BODY_BYTES, body_bytes);
    let sum = checksum(&header[FIXED..]);
    put(header, CHECKSUM, sum);
}

impl Header {
    /// Reads a header from the start of a file.
    ///
    /// # Errors
    /// More bytes are needed, or they are not what we have written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(Bad::Foreign);
        }
        if bytes.len() < TEXTS {
            return Err(Bad::Short(TEXTS));
        }
        let body_start = get(bytes, BODY_START);
        let start = usize::try_from(body_start).unwrap_or(usize::MAX);
        if !(TEXTS..=HEADER_BYTES_MAX).contains(&start) {
            return Err(Bad::Torn);
        }
        let Some(whole) = bytes.get(..start) else { return Err(Bad::Short(start)) };
        if get(whole, CHECKSUM) != checksum(&whole[FIXED..]) {
            return Err(Bad::Torn);
        }
        let slots = [0, 1].map(|n| &whole[SLOTS + n * SLOT_BYTES..SLOTS + (n + 1) * SLOT_BYTES]);
        let (turn, life) = slots.into_iter().filter_map(read_slot).max_by_key(|it| it.0).ok_or(Bad::Torn)?;
        let mut at = TEXTS;
        let mut texts = [const { 0..0 }; 4];
        for (n, text) in texts.iter_mut().enumerate() {
            let length = whole[LENGTHS + 4 * n..].first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
            *text = at..at + length as usize;
            at = text.end;
        }
        if at != start {
            return Err(Bad::Torn);
        }
        let [text, vary, etag, head] = texts;
        let key = |at: usize| Key(whole[at..].first_chunk().copied().unwrap_or_default());
        Ok(Self {
            life,
            turn,
            body_start,
            body_bytes: get(whole, BODY_BYTES),
            created_us: get(whole, CREATED),
            modified_s: Some(get(whole, MODIFIED).cast_signed()).filter(|it| *it != NEVER),
            main: key(MAIN),
            key: key(KEY),
            variant: key(VARIANT),
            status: whole[STATUS..].first_chunk().map_or(0, |it| u16::from_le_bytes(*it)),
            text,
            vary,
            etag,
            head,
        })
    }

    /// A header whose body is not known yet: what `Parts::encode` has just made.
    pub(crate) fn unsealed(bytes: &[u8]) -> Option<Self> {
        let mut sealed = bytes.to_vec();
        seal(&mut sealed, 0);
        Self::decode(&sealed).ok()
    }

    /// The bytes that make another life count, and where they go.
    pub(crate) fn renewed(&self, life: &Life) -> (u64, [u8; SLOT_BYTES]) {
        let turn = self.turn + 1;
        let mut bytes = [0; SLOT_BYTES];
        slot(&mut bytes, turn, life);
        // The first one written had number 1 and lies in the first slot.
        let at = SLOTS + if turn % 2 == 1 { 0 } else { SLOT_BYTES };
        (at as u64, bytes)
    }
}

fn slot(out: &mut [u8], turn: u64, life: &Life) {
    put(out, 0, turn);
    for (n, value) in [life.valid_s, life.updating_s, life.error_s, life.dated_s].into_iter().enumerate() {
        put(out, 8 + 8 * n, value.cast_unsigned());
    }
    let sum = checksum(&out[..SLOT_BYTES - 8]);
    put(out, SLOT_BYTES - 8, sum);
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Life)> {
    if get(bytes, SLOT_BYTES - 8) != checksum(&bytes[..SLOT_BYTES - 8]) {
        return None;
    }
    let value = |n: usize| get(bytes, 8 + 8 * n).cast_signed();
    Some((
        get(bytes, 0),
        Life { valid_s: value(0), updating_s: value(1), error_s: value(2), dated_s: value(3) },
    ))
}

fn put(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |it| u64::from_le_bytes(*it))
}

#[cfg(test)]
impl Header {
    /// A header of this key and number, without texts.
    pub(crate) fn for_tests(key: Key, created_us: u64) -> Self {
        let parts = Parts {
            life: Life::default(),
            created_us,
            modified_s: None,
            main: key,
            key,
            variant: key,
            status: 200,
            text: b"",
            vary: b"",
            etag: b"",
            head: b"",
        };
        let mut bytes = parts.encode().expect("because it is short");
        seal(&mut bytes, 0);
        Self::decode(&bytes).expect("because it was just written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = Life { valid_s: 10, updating_s: 20, error_s: -1, dated_s: 5 };

    fn sealed() -> Vec<u8> {
        let key = Key::of(b"text");
        let parts = Parts {
            life: LIFE,
            created_us: 7,
            modified_s: None,
            main: key,
            key,
            variant: Key([0; 16]),
            status: 200,
            text: b"text",
            vary: b"",
            etag: b"\"e\"",
            head: b"HTTP/1.1 200 OK\r\n\r\n",
        };
        let mut bytes = parts.encode().expect("because it is short");
        seal(&mut bytes, 1234);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = sealed();
        bytes.extend_from_slice(b"the body");
        let header = Header::decode(&bytes).unwrap();
        assert_eq!((header.status, header.body_bytes, header.created_us), (200, 1234, 7));
        assert_eq!((header.life, header.modified_s), (LIFE, None));
        assert_eq!(&bytes[header.text.clone()], b"text");
        assert_eq!(&bytes[header.etag.clone()], b"\"e\"");
        assert_eq!(&bytes[header.head.clone()], b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(&bytes[header.body_start as usize..], b"the body");
    }

    #[test]
    fn a_changed_byte_or_a_missing_one_is_seen() {
        let bytes = sealed();
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x55;
            let is_second_slot = (SLOTS + SLOT_BYTES..CHECKSUM).contains(&at);
            assert_eq!(Header::decode(&torn).is_ok(), is_second_slot, "byte {at}");
            assert!(Header::decode(&bytes[..at]).is_err(), "{at} bytes");
        }
        assert_eq!(Header::decode(b"\x05\0\0\0\0\0\0\0").err(), Some(Bad::Foreign));
        assert_eq!(Header::decode(&bytes[..20]).err(), Some(Bad::Short(TEXTS)));
        assert_eq!(Header::decode(&[0; 500]).err(), Some(Bad::Foreign));
    }

    #[test]
    fn a_renewal_leaves_the_other_slot_as_it_was() {
        let mut bytes = sealed();
        for turn in 1..6 {
            let life = Life { valid_s: 100 * turn, ..LIFE };
            let header = Header::decode(&bytes).unwrap();
            let (at, slot) = header.renewed(&life);
            let mut torn = bytes.clone();
            torn[at as usize..][..20].copy_from_slice(&slot[..20]);
            assert_eq!(Header::decode(&torn).unwrap().life, header.life, "half of a slot does not count");
            bytes[at as usize..][..SLOT_BYTES].copy_from_slice(&slot);
            assert_eq!(Header::decode(&bytes).unwrap().life, life);
        }
    }
}
