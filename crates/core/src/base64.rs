//! Base64 (RFC 4648, 4 and 5), as lenient in decoding as nginx is.

/// How the last two digits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// `+` and `/`.
    Standard,
    /// `-` and `_`, in links and tokens.
    Url,
}

/// Decodes up to the first `=`; `None` where a character is no digit or the last group has one digit only.
pub fn decode(text: &[u8], alphabet: Alphabet) -> Option<Vec<u8>> {
    let text = text.split(|b| *b == b'=').next().unwrap_or_default();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | value(*byte, alphabet)?;
        }
        bits <<= 6 * (4 - group.len());
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[1..group.len()]);
    }
    Some(out)
}

/// Appends the text of `bytes`, with `=` at the end in the standard alphabet and without in the other.
pub fn encode(bytes: &[u8], alphabet: Alphabet, out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for n in 0..=group.len() {
            out.push(digit((bits >> (18 - 6 * n) & 63) as u8, alphabet));
        }
        if alphabet == Alphabet::Standard {
            out.extend(std::iter::repeat_n(b'=', 3 - group.len()));
        }
    }
}

fn value(byte: u8, alphabet: Alphabet) -> Option<u32> {
    let plus = if alphabet == Alphabet::Url { (b'-', b'_') } else { (b'+', b'/') };
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        _ if byte == plus.0 => 62,
        _ if byte == plus.1 => 63,
        _ => return None,
    })
}

fn digit(value: u8, alphabet: Alphabet) -> u8 {
    match (value, alphabet) {
        (0..26, _) => b'A' + value,
        (26..52, _) => b'a' + value - 26,
        (52..62, _) => b'0' + value - 52,
        (62, Alphabet::Standard) => b'+',
        (62, Alphabet::Url) => b'-',
        (_, Alphabet::Standard) => b'/',
        (_, Alphabet::Url) => b'_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (plain, standard, url) in [
            (&b""[..], "", ""),
            (b"f", "Zg==", "Zg"),
            (b"fo", "Zm8=", "Zm8"),
            (b"foo", "Zm9v", "Zm9v"),
            (b"\xff\xff\xfe", "///+", "___-"),
            (b"user:pass", "dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ] {
            for (alphabet, text) in [(Alphabet::Standard, standard), (Alphabet::Url, url)] {
                let mut out = Vec::new();
                encode(plain, alphabet, &mut out);
                assert_eq!(out, text.as_bytes());
                assert_eq!(decode(text.as_bytes(), alphabet).as_deref(), Some(plain));
            }
        }
        assert_eq!(decode(b"Zm9v=garbage", Alphabet::Standard).as_deref(), Some(&b"foo"[..]));
        assert_eq!(decode(b"Zm9vZ", Alphabet::Standard), None);
        assert_eq!(decode(b"Zm-v", Alphabet::Standard), None);
    }
}
