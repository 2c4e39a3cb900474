//! Bytes sought several at a time: quicker than a call for names and values of usual length.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Words that hold every name we know and the colon behind it.
const NAME_WORDS: usize = 4;

/// Pairs of words of a value that are looked through here; a longer one is worth the call of a wider search.
const VALUE_PAIRS: usize = 5;

/// The first colon, where one stands behind a name of usual length.
#[inline(always)]
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
#[inline(always)]
pub(super) fn value_end(bytes: &[u8]) -> Option<usize> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    for (idx, pair) in pairs.iter().take(VALUE_PAIRS).enumerate() {
        let pair = u128::from_le_bytes(*pair);
        let [first, second] = [pair as u64, (pair >> 64) as u64].map(controls);
        if (first | second) & HIGHS != 0 {
            let (hits, at) = if first & HIGHS != 0 { (first, idx * 16) } else { (second, idx * 16 + 8) };
            let at = at + (hits & HIGHS).trailing_zeros() as usize / 8;
            // Else a tab, most likely.
            return if ends_value(&bytes[at]) { Some(at) } else { far_end(bytes, at + 1) };
        }
    }
    if pairs.len() > VALUE_PAIRS {
        return far_end(bytes, VALUE_PAIRS * 16);
    }
    rest.iter().position(ends_value).map(|at| pairs.len() * 16 + at)
}

/// A word whose lowest high bit is where its first byte below 0x20 is; all other bits mean nothing.
#[inline(always)]
fn controls(word: u64) -> u64 {
    // A byte below 0x20 borrows into its high bit, unless that bit was set before.
    word.wrapping_sub(ONES * 0x20) & !word
}

#[inline]
fn ends_value(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// `value_end` from `at` on, for values that are long or have tabs.
#[inline(never)]
fn far_end(bytes: &[u8], at: usize) -> Option<usize> {
    memchr::memchr3(b'\r', b'\n', 0, &bytes[at..]).map(|len| at + len)
}

/// Whether all bytes are letters, digits and hyphens; says no to what is shorter than a word.
#[inline]
pub(super) fn is_regular(name: &[u8]) -> bool {
    let Some(last) = name.last_chunk::<8>() else { return false };
    name.as_chunks::<8>().0.iter().all(are_regular) && are_regular(last)
}

#[inline]
fn are_regular(word: &[u8; 8]) -> bool {
    let word = u64::from_le_bytes(*word);
    // Where no high bit is set, `byte + 0x80 - least` sets it for those not below `least`, and nothing carries over.
    let not_below = |word: u64, least: u8| word.wrapping_add(ONES * (0x80 - least as u64));
    let lower = word | (ONES * 0x20);
    let letters = not_below(lower, b'a') & !not_below(lower, b'z' + 1);
    let digits = not_below(word, b'0') & !not_below(word, b'9' + 1);
    let hyphens = !not_below(word ^ (ONES * u64::from(b'-')), 1);
    (word & HIGHS) == 0 && ((letters | digits | hyphens) & HIGHS) == HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_wherever_they_are() {
        for (len, end) in (0..200).flat_map(|len| [(len, b'\r'), (len, b'\n'), (len, 0)]) {
            let mut bytes = vec![b'x'; len];
            assert_eq!(value_end(&bytes), None);
            bytes.iter_mut().step_by(5).for_each(|byte| *byte = b'\t');
            bytes.push(end);
            assert_eq!(value_end(&bytes), Some(len));
            bytes.extend_from_slice(b"y\r\n what follows is of another line");
            assert_eq!(value_end(&bytes), Some(len));
            bytes[..len].fill(0xff);
            assert_eq!(value_end(&bytes), Some(len));
            bytes[..len].fill(b' ');
            assert_eq!(value_end(&bytes), Some(len));
        }
    }

    #[test]
    fn regular_names_are_letters_digits_and_hyphens() {
        for len in 8..40 {
            for at in 0..len {
                for byte in 0..=255_u8 {
                    let mut name = vec![b'a'; len];
                    name[at] = byte;
                    assert_eq!(is_regular(&name), byte.is_ascii_alphanumeric() || byte == b'-');
                }
            }
        }
        assert!(!is_regular(b"short"));
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
