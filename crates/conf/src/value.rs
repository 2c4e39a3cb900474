//! The values that many directives share: flags, numbers, sizes, offsets and times, by nginx's rules.

/// nginx keeps every one of these in a signed word.
const MAX: u64 = i64::MAX as u64;

/// `on` or `off`, in any case.
pub fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

/// Decimal digits only: no sign, no space.
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= MAX)
}

/// Bytes: a number, or with `k`, `K`, `m` or `M` behind it.
pub fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    scaled(number(digits)?, 1 << shift)
}

/// Bytes of something that may be larger than memory: as [`size`], and with `g` or `G`.
pub fn offset(text: &str) -> Option<u64> {
    match text.strip_suffix(['g', 'G']) {
        Some(digits) => scaled(number(digits)?, 1 << 30),
        None => size(text),
    }
}

/// Milliseconds. Units, largest first: `w d h m s ms`; a number without one counts seconds.
pub fn time_ms(text: &str) -> Option<u64> {
    time(text, true)
}

/// Seconds. Units, largest first: `y M w d h m s`; a number without one counts seconds.
pub fn time_s(text: &str) -> Option<u64> {
    time(text, false)
}

/// The order of units: each may only follow a smaller number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Last,
}

fn time(text: &str, in_ms: bool) -> Option<u64> {
    let per_second = if in_ms { 1000 } else { 1 };
    // nginx allows neither years nor months where it counts milliseconds.
    let mut step = if in_ms { Step::Month } else { Step::Start };
    let (mut total, mut value, mut any) = (0_u64, 0_u64, false);
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if byte.is_ascii_digit() {
            value = added(scaled(value, 10)?, u64::from(byte - b'0'))?;
            any = true;
            continue;
        }
        let in_unit_ms = *byte == b'm' && rest.first() == Some(&b's');
        let (next, scale) = if in_unit_ms { (Step::Millisecond, 1) } else { unit(*byte)? };
        // A space ends a number of seconds, so it may not follow them.
        let smaller = if next == Step::Last { step < Step::Second } else { step < next };
        if !smaller || (in_unit_ms && !in_ms) {
            return None;
        }
        rest = if in_unit_ms { &rest[1..] } else { rest };
        step = next;
        let scale = if in_unit_ms { 1 } else { scale * per_second };
        total = added(total, scaled(value, scale)?)?;
        value = 0;
        while let [b' ', tail @ ..] = rest {
            rest = tail;
        }
    }
    any.then_some(())?;
    added(total, scaled(value, per_second)?)
}

/// A unit's place in the order and its seconds.
fn unit(byte: u8) -> Option<(Step, u64)> {
    const DAY: u64 = 24 * 60 * 60;
    Some(match byte {
        b'y' => (Step::Year, 365 * DAY),
        b'M' => (Step::Month, 30 * DAY),
        b'w' => (Step::Week, 7 * DAY),
        b'd' => (Step::Day, DAY),
        b'h' => (Step::Hour, 60 * 60),
        b'm' => (Step::Minute, 60),
        b's' => (Step::Second, 1),
        b' ' => (Step::Last, 1),
        _ => return None,
    })
}

fn scaled(value: u64, scale: u64) -> Option<u64> {
    value.checked_mul(scale).filter(|product| *product <= MAX)
}

fn added(one: u64, other: u64) -> Option<u64> {
    one.checked_add(other).filter(|sum| *sum <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("1", Some(1)),
            ("8k", Some(8192)),
            ("8K", Some(8192)),
            ("2m", Some(2 << 20)),
            ("1M", Some(1 << 20)),
            ("1g", None),
            ("", None),
            ("k", None),
            ("-1", None),
            ("+1", None),
            ("1 k", None),
            ("1kk", None),
            ("1.5m", None),
            ("9223372036854775807", Some(MAX)),
            ("9223372036854775808", None),
            ("9007199254740992k", None),
            ("1é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!(offset("2g"), Some(2 << 30));
        assert_eq!(offset("2G"), Some(2 << 30));
        assert_eq!(offset("1k"), Some(1024));
        assert_eq!(offset("8589934592g"), None);
        assert_eq!(offset("g"), None);
    }

    #[test]
    fn times_in_milliseconds() {
        let cases = [
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("500ms", Some(500)),
            ("1s500ms", Some(1500)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1m 1", Some(61_000)),
            ("1 1", Some(2000)),
            ("1w", Some(604_800_000)),
            ("1d", Some(86_400_000)),
            ("0", Some(0)),
            ("1y", None),
            ("1M", None),
            ("30m1h", None),
            ("1s1s", None),
            ("1ms1s", None),
            ("1s 1", Some(2000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1x", None),
            ("1S", None),
            ("9223372036854775807", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn times_in_seconds() {
        let cases = [
            ("1y", Some(31_536_000)),
            ("1M", Some(2_592_000)),
            ("1y1M1w1d1h1m1s", Some(34_822_861)),
            ("1d", Some(86_400)),
            ("90", Some(90)),
            ("1ms", None),
            ("1M1y", None),
            ("1y1y", None),
            ("9223372036854775807", Some(MAX)),
            ("9223372036854775807s", Some(MAX)),
            ("9223372036854775807m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_s(text), expected, "{text}");
        }
    }

    #[test]
    fn flags_and_numbers() {
        assert_eq!(
            ["on", "ON", "oFf", "yes", ""].map(flag),
            [Some(true), Some(true), Some(false), None, None]
        );
        assert_eq!(["7", "", "-1", "0x1", "1 "].map(number), [Some(7), None, None, None, None]);
    }
}
