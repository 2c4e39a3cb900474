//! Header compression for HTTP/2 (RFC 7541): decoder and encoder, each with its table.

mod decoder;
mod encoder;
pub mod huffman;
mod table;

pub use decoder::{Decoder, Field};
pub use encoder::Encoder;
pub use table::{Pseudo, Shape};

/// What a table may hold at first, and at most with us: name, value and 32 bytes for each entry (section 4.1).
pub const TABLE_BYTES: usize = 4096;

/// A header block that cannot be read: the connection's tables are no longer in step (a COMPRESSION_ERROR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// It ends in the middle of a field.
    Truncated,
    /// A number larger than any we take.
    Number,
    /// No entry has that index.
    Index,
    /// A table size above what was allowed, or not at the block's start.
    Size,
    /// A string that no text is coded as.
    Huffman,
    /// One field alone is larger than the limit: the sender is to calm down.
    TooLarge,
}

/// Bytes by which a number may continue, as in nginx: no index and no length needs more.
const NUMBER_BYTES_MAX: usize = 3;

/// Takes a number whose first bits stand in the lowest `bits` of the first byte (section 5.1).
#[inline]
fn number(bytes: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let (&first, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
    *bytes = rest;
    let mask = (1 << bits) - 1;
    let prefix = usize::from(first) & mask;
    if prefix < mask {
        return Ok(prefix);
    }
    let (mut value, mut shift) = (mask, 0);
    for _ in 0..NUMBER_BYTES_MAX {
        let (&byte, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
        *bytes = rest;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
    Err(HpackError::Number)
}

/// Whether a block of which only the beginning has come has a number in it already that nobody takes: then its rest need
/// not be waited for.
pub(super) fn has_bad_number(mut block: &[u8]) -> bool {
    let mut read = || -> Result<(), HpackError> {
        while let Some(&first) = block.first() {
            let (bits, strings) = match first {
                0x80.. => (7, 0),
                0x40.. => (6, 1),
                0x20.. => (5, 0),
                _ => (4, 1),
            };
            let index = number(&mut block, bits)?;
            for _ in 0..strings + usize::from(strings == 1 && index == 0) {
                let len = number(&mut block, 7)?;
                block = block.get(len..).ok_or(HpackError::Truncated)?;
            }
        }
        Ok(())
    };
    read() == Err(HpackError::Number)
}

/// Appends a number behind the marks in the upper bits of its first byte.
#[inline]
fn push_number(marks: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        out.push(marks | value as u8);
        return;
    }
    out.push(marks | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_rfc() {
        for (bits, value, coded) in
            [(5, 10, &b"\x0a"[..]), (5, 1337, b"\x1f\x9a\x0a"), (8, 42, b"\x2a"), (7, 127, b"\x7f\x00")]
        {
            let mut out = Vec::new();
            push_number(0, bits, value, &mut out);
            assert_eq!(out, coded);
            let mut bytes = coded;
            assert_eq!((number(&mut bytes, bits), bytes), (Ok(value), &b""[..]));
        }
        for (coded, error) in [
            (&b""[..], HpackError::Truncated),
            (b"\x1f", HpackError::Truncated),
            (b"\x1f\x80", HpackError::Truncated),
            (b"\x1f\xff\xff\xff", HpackError::Number),
            (b"\x1f\xff\xff\xff\x01", HpackError::Number),
        ] {
            let mut bytes = coded;
            assert_eq!(number(&mut bytes, 5), Err(error), "{}", coded.escape_ascii());
        }
    }
}
