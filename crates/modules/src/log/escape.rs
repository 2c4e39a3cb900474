//! How values are made safe for a line of a log, in place.

/// `escape=default`: quotes, backslashes, control characters and everything above `~` become `\xXX`.
#[inline]
pub(super) fn default(out: &mut Vec<u8>, start: usize) {
    // A carry or borrow leaves only a byte that counts itself, so it never makes a clean word look otherwise.
    let counts = |word: u64| {
        let (low, del) = (word.wrapping_sub(ONES * 0x20), word.wrapping_add(ONES));
        let (quote, slash) = ((word ^ QUOTES).wrapping_sub(ONES), (word ^ SLASHES).wrapping_sub(ONES));
        (word | low | del | quote | slash) & HIGHS
    };
    if any(&out[start..], counts) {
        rewrite_default(out, start);
    }
}

#[cold]
fn rewrite_default(out: &mut Vec<u8>, start: usize) {
    for byte in out.split_off(start) {
        match !(0x20..=0x7e).contains(&byte) || matches!(byte, b'"' | b'\\') {
            true => out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            false => out.push(byte),
        }
    }
}

/// `escape=json`: what may stand between the quotes of a JSON string (RFC 8259, 7).
#[inline]
pub(super) fn json(out: &mut Vec<u8>, start: usize) {
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let counts = |word| (below(word, 0x20) | below(word ^ QUOTES, 1) | below(word ^ SLASHES, 1)) & HIGHS;
    if any(&out[start..], counts) {
        rewrite_json(out, start);
    }
}

#[cold]
fn rewrite_json(out: &mut Vec<u8>, start: usize) {
    for byte in out.split_off(start) {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// `escape=none`.
pub(super) fn none(_: &mut Vec<u8>, _: usize) {}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Eight bytes at a time: the same byte eight times, and the highest bit of each.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;
const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
const SLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);

/// Whether `counts` finds something in any eight bytes; some may be looked at twice.
#[inline]
fn any(bytes: &[u8], counts: impl Fn(u64) -> u64) -> bool {
    let word = |at: &[u8; 8]| counts(u64::from_ne_bytes(*at)) != 0;
    if let Some(last) = bytes.last_chunk() {
        return bytes.as_chunks().0.iter().any(word) || word(last);
    }
    let half = |at: &[u8; 4]| u64::from(u32::from_ne_bytes(*at));
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return counts(half(first) | half(last) << 32) != 0;
    }
    bytes.iter().any(|byte| word(&[*byte; 8]))
}

#[cfg(test)]
mod tests {
    /// Every byte at every place of values of every length up to a few words.
    #[test]
    fn what_counts_is_found_wherever_it_stands() {
        type Escape = fn(&mut Vec<u8>, usize);
        let default = |b: u8| !(0x20..=0x7e).contains(&b) || matches!(b, b'"' | b'\\');
        let json = |b: u8| b < 0x20 || matches!(b, b'"' | b'\\');
        for (escape, counts) in [(super::default as Escape, default as fn(u8) -> bool), (super::json, json)] {
            for (length, byte) in (1..20).flat_map(|n| (0..=255).map(move |b| (n, b))) {
                for at in 0..length {
                    let mut out = b"\"\x01before".to_vec();
                    let start = out.len();
                    out.extend((0..length).map(|i| if i == at { byte } else { b'x' }));
                    escape(&mut out, start);
                    assert_eq!(out.len() > start + length, counts(byte), "{byte} at {at} of {length}");
                }
            }
        }
    }
}
