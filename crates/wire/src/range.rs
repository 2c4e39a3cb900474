//! Byte ranges of a Range field (RFC 9110, section 14.1.2), decided as nginx decides.

use std::ops::Range;

/// What to answer to a Range field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Ignore it and send everything: no byte ranges, more than allowed, or more bytes than the whole has.
    Whole,
    /// 206 with one part or several, in the order asked for. Not empty, and no part is.
    Parts(Vec<Range<u64>>),
    /// 416.
    NotSatisfiable,
}

/// The overhead reckoned for each part of an answer, and the allowance on the whole, when the number of parts is
/// not limited.
const PART_OVERHEAD_BYTES: u64 = 256;
const WHOLE_ALLOWANCE_BYTES: u64 = 4096;

/// Decides about the value of a Range field for a body of `length` bytes. `parts_max` is nginx's `max_ranges`,
/// `None` when unlimited; with 0 the field is not looked at.
pub fn parse(value: &[u8], length: u64, parts_max: Option<usize>) -> Ranges {
    const UNIT: &[u8] = b"bytes=";
    if parts_max == Some(0) || value.len() <= UNIT.len() || !value[..UNIT.len()].eq_ignore_ascii_case(UNIT) {
        return Ranges::Whole;
    }
    let mut parts = Vec::new();
    let mut total: u64 = 0;
    for spec in value[UNIT.len()..].split(|&byte| byte == b',') {
        let Some(part) = parse_spec(spec, length) else { return Ranges::NotSatisfiable };
        if part.start < part.end {
            if parts_max.is_some_and(|max| parts.len() >= max) {
                return Ranges::Whole;
            }
            let Some(sum) = total.checked_add(part.end - part.start).filter(|&sum| sum <= i64::MAX as u64)
            else {
                return Ranges::NotSatisfiable;
            };
            total = sum;
            parts.push(part);
        } else if part.start == 0 {
            return Ranges::Whole;
        }
    }
    let overhead = parts.len() as u64 * PART_OVERHEAD_BYTES;
    match parts.len() {
        0 => Ranges::NotSatisfiable,
        1 => Ranges::Parts(parts),
        _ if total > length => Ranges::Whole,
        _ if parts_max.is_none() && total + overhead > length.saturating_add(WHOLE_ALLOWANCE_BYTES) => {
            Ranges::Whole
        }
        _ => Ranges::Parts(parts),
    }
}

/// `first-last`, `first-` or `-count`, cut to the body; the part may come out empty. `None` when it is none of them.
fn parse_spec(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let spec = trim_start(spec);
    if let Some(rest) = spec.strip_prefix(b"-") {
        let (count, rest) = number(rest)?;
        return trim_start(rest).is_empty().then(|| length.saturating_sub(count)..length);
    }
    let (first, rest) = number(spec)?;
    let rest = trim_start(trim_start(rest).strip_prefix(b"-")?);
    if rest.is_empty() {
        return Some(first..length);
    }
    let (last, rest) = number(rest)?;
    trim_start(rest).is_empty().then(|| first..last.saturating_add(1).min(length))
}

/// Digits at the start: a position in a file, at most 2^63-1.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value = text[..digits].iter().try_fold(0u64, |value, byte| {
        let value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        (value <= i64::MAX as u64).then_some(value)
    })?;
    Some((value, &text[digits..]))
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| byte == b' ').count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(u64, u64)]) -> Ranges {
        Ranges::Parts(parts.iter().map(|&(start, end)| start..end).collect())
    }

    fn check(value: &str, want: Ranges) {
        assert_eq!(parse(format!("bytes={value}").as_bytes(), 100, None), want, "{value}");
    }

    #[test]
    fn one_range() {
        check("0-0", parts(&[(0, 1)]));
        check("0-99", parts(&[(0, 100)]));
        check("10-19", parts(&[(10, 20)]));
        check("90-200", parts(&[(90, 100)]));
        check("50-", parts(&[(50, 100)]));
        check("-1", parts(&[(99, 100)]));
        check("-200", parts(&[(0, 100)]));
        check(" 1 - 2 ", parts(&[(1, 3)]));
        check("0-9223372036854775807", parts(&[(0, 100)]));
    }

    #[test]
    fn several_ranges() {
        check("0-0,2-3", parts(&[(0, 1), (2, 4)]));
        check("5-6, 1-2 ,-1", parts(&[(5, 7), (1, 3), (99, 100)]));
        check("0-0,100-", parts(&[(0, 1)]));
        check("200-,1-1", parts(&[(1, 2)]));
        check("0-49,0-49", parts(&[(0, 50), (0, 50)]));
        check("0-50,0-50", Ranges::Whole);
        check("0-,0-0", Ranges::Whole);
    }

    #[test]
    fn nonsense_is_not_satisfiable() {
        for value in [
            "-", "x", "1", "1-x", "2x-3", "1-2x", ",", "1-2,", ",1-2", "100-", "200-300", "-0", "--1", "1--2",
        ] {
            check(value, Ranges::NotSatisfiable);
        }
        check("9223372036854775808-", Ranges::NotSatisfiable);
        check("0-9223372036854775808", Ranges::NotSatisfiable);
        check("5-2", Ranges::NotSatisfiable);
    }

    #[test]
    fn what_is_no_byte_range_is_ignored() {
        for value in [&b""[..], b"bytes", b"bytes=", b"lines=0-1", b"bytes 0-1"] {
            assert_eq!(parse(value, 100, None), Ranges::Whole, "{}", value.escape_ascii());
        }
        assert_eq!(parse(b"BYTES=0-1", 100, None), parts(&[(0, 2)]));
    }

    #[test]
    fn an_empty_body_is_sent_whole() {
        for value in [&b"bytes=0-"[..], b"bytes=0-5", b"bytes=-5"] {
            assert_eq!(parse(value, 0, None), Ranges::Whole, "{}", value.escape_ascii());
        }
        assert_eq!(parse(b"bytes=1-", 0, None), Ranges::NotSatisfiable);
    }

    #[test]
    fn the_number_of_parts_is_limited() {
        assert_eq!(parse(b"bytes=0-0", 100, Some(0)), Ranges::Whole);
        assert_eq!(parse(b"bytes=0-0", 100, Some(1)), parts(&[(0, 1)]));
        assert_eq!(parse(b"bytes=0-0,1-1", 100, Some(1)), Ranges::Whole);
        assert_eq!(parse(b"bytes=0-0,1-1", 100, Some(2)), parts(&[(0, 1), (1, 2)]));
        let many = format!("bytes={}", vec!["0-0"; 17].join(","));
        assert_eq!(parse(many.as_bytes(), 100, None), Ranges::Whole, "parts cost more than the whole");
        assert!(matches!(parse(many.as_bytes(), 100, Some(17)), Ranges::Parts(_)));
    }
}
