//! Bytes sought eight at a time: quicker than a call for names and values of usual length.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Words of a value that are looked through here; a longer one is worth the call of a wider search.
const VALUE_WORDS: usize = 8;

/// Words that hold every name we know and the colon behind it.
const NAME_WORDS: usize = 4;

/// The first colon among the bytes where one stands behind a name of usual length.
#[inline]
pub(super) fn colon(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    for (idx, word) in words.iter().take(NAME_WORDS).enumerate() {
        let word = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        // A zero borrows into its high bit. Borrows run upwards, so the lowest hit is a true one.
        let hits = word.wrapping_sub(ONES) & !word & HIGHS;
        if hits != 0 {
            return Some(idx * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    None
}

/// The first CR, LF or NUL.
#[inline]
pub(super) fn value_end(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (idx, word) in words.iter().take(VALUE_WORDS).enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte below 0x20 borrows into its high bit, unless that bit was set before.
        let hits = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        if hits != 0 {
            let at = idx * 8 + hits.trailing_zeros() as usize / 8;
            if matches!(bytes[at], b'\r' | b'\n' | 0) {
                return Some(at);
            }
            // A tab, most likely.
            return memchr::memchr3(b'\r', b'\n', 0, &bytes[at..]).map(|len| at + len);
        }
    }
    let at = words.len().min(VALUE_WORDS) * 8;
    match words.len() > VALUE_WORDS {
        true => memchr::memchr3(b'\r', b'\n', 0, &bytes[at..]).map(|len| at + len),
        false => rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).map(|len| at + len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_wherever_they_are() {
        for len in 0..200 {
            for end in [b'\r', b'\n', 0] {
                let mut bytes = vec![b'x'; len];
                assert_eq!(value_end(&bytes), None);
                bytes.iter_mut().step_by(5).for_each(|byte| *byte = b'\t');
                bytes.push(end);
                bytes.extend_from_slice(b"y\r\n");
                assert_eq!(value_end(&bytes), Some(len));
                bytes[..len].fill(0xff);
                assert_eq!(value_end(&bytes), Some(len));
            }
        }
    }

    #[test]
    fn colons_are_found_near_by() {
        for len in 0..NAME_WORDS * 8 {
            let bytes = [&vec![b';'; len][..], b":::: colons here"].concat();
            assert_eq!(colon(&bytes), Some(len));
        }
        assert_eq!(colon(&[b'x'; 100]), None);
        assert_eq!(colon(b"a: b"), None, "less than a word is left to the slow way");
    }
}
