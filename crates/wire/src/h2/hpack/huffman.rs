//! HPACK's string code (RFC 7541, appendix B): canonical, so that the lengths of its codes say all.

use super::HpackError;

/// Bits of each symbol's code; the last is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SYMBOLS: usize = 257;
const EOS: u16 = 256;
const LEN_MAX: usize = 30;

/// Codes up to this length, in bits, are found by one look into a table: all of letters, digits and usual signs.
const FAST_BITS: usize = 10;
/// What an end may be filled up with. The RFC says seven; nginx takes a whole byte, and there are clients that send one.
const PADDING_BITS_MAX: u32 = 8;
/// The shortest code: no text is coded into fewer bits a byte.
const LEN_MIN: usize = 5;

/// Where the codes of each length begin, and which symbols they stand for: all that a canonical code needs.
struct Code {
    /// The first code of each length.
    first: [u32; LEN_MAX + 1],
    /// How many codes have each length.
    count: [u32; LEN_MAX + 1],
    /// Where the symbols of each length begin in `sorted`.
    offset: [u32; LEN_MAX + 1],
    sorted: [u16; SYMBOLS],
    /// Each symbol's code.
    of: [u32; SYMBOLS],
}

static CODE: Code = code();
static FAST: [u16; 1 << FAST_BITS] = fast();

const fn code() -> Code {
    let mut it = Code {
        first: [0; LEN_MAX + 1],
        count: [0; LEN_MAX + 1],
        offset: [0; LEN_MAX + 1],
        sorted: [0; SYMBOLS],
        of: [0; SYMBOLS],
    };
    let (mut len, mut next, mut n) = (1, 0, 0);
    while len <= LEN_MAX {
        next <<= 1;
        (it.first[len], it.offset[len]) = (next, n as u32);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                it.sorted[n] = symbol as u16;
                it.of[symbol] = next;
                it.count[len] += 1;
                next += 1;
                n += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    it
}

/// A symbol and the length of its code by the first bits; 0 where the code is longer.
const fn fast() -> [u16; 1 << FAST_BITS] {
    let code = code();
    let mut table = [0; 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let len = LENGTHS[symbol] as usize;
        if len <= FAST_BITS {
            let start = (code.of[symbol] as usize) << (FAST_BITS - len);
            let mut at = start;
            while at < start + (1 << (FAST_BITS - len)) {
                table[at] = (symbol << 4 | len) as u16;
                at += 1;
            }
        }
        symbol += 1;
    }
    table
}

/// Appends the text that `coded` stands for.
///
/// # Errors
/// EOS in the text, or an end that is not the first bits of EOS, or too many of them (section 5.2).
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / LEN_MIN + 1);
    let (mut rest, mut bits, mut n) = (coded, 0_u64, 0);
    loop {
        if n <= 32 {
            (rest, bits, n) = refill(rest, bits, n);
        }
        let entry = FAST[(bits >> (64 - FAST_BITS)) as usize];
        let (symbol, len) = if entry != 0 { (entry >> 4, u32::from(entry & 15)) } else { long(bits)? };
        if len > n {
            let padding = u64::MAX.checked_shl(64 - n).unwrap_or(0);
            let is_padding = n <= PADDING_BITS_MAX && bits == padding;
            return if is_padding { Ok(()) } else { Err(HpackError::Huffman) };
        }
        out.push(symbol as u8);
        bits <<= len;
        n -= len;
    }
}

/// Fills `bits`, of which the first `n` are known, up from `rest`.
#[inline]
fn refill(rest: &[u8], mut bits: u64, mut n: u32) -> (&[u8], u64, u32) {
    if let Some((word, rest)) = rest.split_first_chunk::<4>() {
        bits |= u64::from(u32::from_be_bytes(*word)) << (32 - n);
        return (rest, bits, n + 32);
    }
    for &byte in rest {
        bits |= u64::from(byte) << (56 - n);
        n += 8;
    }
    (&[], bits, n)
}

/// The symbol of a code that is not in the table.
fn long(bits: u64) -> Result<(u16, u32), HpackError> {
    for len in FAST_BITS + 1..=LEN_MAX {
        let code = (bits >> (64 - len)) as u32;
        let nth = code.wrapping_sub(CODE.first[len]);
        if nth < CODE.count[len] {
            let symbol = CODE.sorted[(CODE.offset[len] + nth) as usize];
            return if symbol == EOS { Err(HpackError::Huffman) } else { Ok((symbol, len as u32)) };
        }
    }
    Err(HpackError::Huffman)
}

/// Bytes that `text` takes when coded.
pub fn coded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `text` coded, its last byte filled up with ones.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut n) = (0_u64, 0);
    for &byte in text {
        let len = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << len | u64::from(CODE.of[usize::from(byte)]);
        n += len;
        if n >= 32 {
            n -= 32;
            out.extend_from_slice(&((bits >> n) as u32).to_be_bytes());
        }
    }
    if n > 0 {
        let last = (bits << (32 - n)) as u32 | u32::MAX >> n;
        out.extend_from_slice(&last.to_be_bytes()[..n.div_ceil(8) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn texts_of_the_rfc() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"302", b"\x64\x02"),
            (b"", b""),
        ];
        for (text, coded) in cases {
            let mut out = Vec::new();
            encode(text, &mut out);
            assert_eq!(out, coded);
            assert_eq!(coded_len(text), coded.len());
            assert_eq!(decoded(coded).as_deref(), Ok(text));
        }
    }

    #[test]
    fn every_byte_comes_back_in_every_place() {
        for byte in 0..=255_u8 {
            for before in 0..9 {
                let text = [&b"aaaaaaaa"[..before], &[byte, byte, b'!', byte]].concat();
                let mut coded = Vec::new();
                encode(&text, &mut coded);
                assert_eq!(coded.len(), coded_len(&text));
                assert_eq!(decoded(&coded), Ok(text));
            }
        }
    }

    #[test]
    fn bad_ends_are_refused() {
        // More than eight bits of padding, zeros as padding, EOS.
        for coded in [&b"\xff\xff"[..], b"\x1f\xff", b"\x18", b"\xff\xff\xff\xfc", b"\xff\xff\xff\xff\xff"] {
            assert_eq!(decoded(coded), Err(HpackError::Huffman), "{}", coded.escape_ascii());
        }
        assert_eq!(decoded(b"\x1f"), Ok(b"a".to_vec()));
    }
}
