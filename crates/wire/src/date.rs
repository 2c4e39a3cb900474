//! Dates of HTTP (RFC 9110, section 5.6.7): written in one form, read in three.

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS_IN_MONTH: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAY_SECONDS: i64 = 86_400;

/// Bytes of a date as `format` writes it.
pub const DATE_BYTES: usize = 29;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    year: i64,
    /// From 1.
    month: u32,
    /// From 1.
    day: u32,
}

/// Writes seconds since 1970 as `Sun, 06 Nov 1994 08:49:37 GMT`. The year has four digits: later ones wrap.
pub fn format(unix_seconds: i64) -> [u8; DATE_BYTES] {
    let (days, second) = (unix_seconds.div_euclid(DAY_SECONDS), unix_seconds.rem_euclid(DAY_SECONDS) as u32);
    let Day { year, month, day } = day_of(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    out[..3].copy_from_slice(DAYS[days.rem_euclid(7) as usize]);
    two_digits(&mut out[5..], day);
    out[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    let year = year.rem_euclid(10_000) as u32;
    two_digits(&mut out[12..], year / 100);
    two_digits(&mut out[14..], year % 100);
    two_digits(&mut out[17..], second / 3600);
    two_digits(&mut out[20..], second / 60 % 60);
    two_digits(&mut out[23..], second % 60);
    out
}

/// Seconds since 1970 of a date in any of the three forms; the name of the day is not looked at.
///
/// ```
/// let sunday = Some(784_111_777);
/// assert_eq!(foregate_wire::date::parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), sunday);
/// assert_eq!(foregate_wire::date::parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), sunday);
/// assert_eq!(foregate_wire::date::parse(b"Sun Nov  6 08:49:37 1994"), sunday);
/// ```
pub fn parse(date: &[u8]) -> Option<i64> {
    let at = date.iter().position(|&byte| byte == b',' || byte == b' ')?;
    let rest = date[at + 1..].trim_ascii_start();
    let (day, seconds) = if date[at] == b',' { parse_ordered(rest)? } else { parse_asctime(rest)? };
    let leap = day.year % 4 == 0 && (day.year % 100 != 0 || day.year % 400 == 0);
    let last = DAYS_IN_MONTH[day.month as usize - 1] + u32::from(leap && day.month == 2);
    if !(1..=last).contains(&day.day) {
        return None;
    }
    Some(days_of(day) * DAY_SECONDS + i64::from(seconds))
}

/// `06 Nov 1994 08:49:37` and, obsolete, `06-Nov-94 08:49:37`.
fn parse_ordered(text: &[u8]) -> Option<(Day, u32)> {
    let day = number(text.get(..2)?)?;
    let separator = *text.get(2)?;
    let month = month(text.get(3..6)?)?;
    if *text.get(6)? != separator {
        return None;
    }
    let (year, rest) = match separator {
        b' ' => (number(text.get(7..11)?)?, text.get(11..)?),
        b'-' => {
            let year = number(text.get(7..9)?)?;
            (year + if year < 70 { 2000 } else { 1900 }, text.get(9..)?)
        }
        _ => return None,
    };
    let seconds = time_of_day(rest.strip_prefix(b" ")?.get(..8)?)?;
    Some((Day { year: i64::from(year), month, day }, seconds))
}

/// `Nov  6 08:49:37 1994`, as the C library writes it.
fn parse_asctime(text: &[u8]) -> Option<(Day, u32)> {
    let month = month(text.get(..3)?)?;
    let rest = text.get(3..)?.strip_prefix(b" ")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let digits = rest.iter().position(|&byte| byte == b' ').filter(|digits| (1..=2).contains(digits))?;
    let day = number(&rest[..digits])?;
    let seconds = time_of_day(rest.get(digits + 1..digits + 9)?)?;
    let year = rest.get(digits + 9..)?.strip_prefix(b" ")?.get(..4)?;
    Some((Day { year: i64::from(number(year)?), month, day }, seconds))
}

/// Seconds since midnight of `08:49:37`.
fn time_of_day(text: &[u8]) -> Option<u32> {
    if text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&text[..2])?, number(&text[3..5])?, number(&text[6..8])?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

fn month(name: &[u8]) -> Option<u32> {
    MONTHS.iter().position(|month| *month == name).map(|idx| idx as u32 + 1)
}

/// At most four digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

fn two_digits(out: &mut [u8], value: u32) {
    out[0] = b'0' + (value / 10 % 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

/// Days since 1970 of a day. Years are counted from March, so that a leap day is the last one of its year;
/// 400 of them always have 146,097 days.
fn days_of(day: Day) -> i64 {
    let year = if day.month <= 2 { day.year - 1 } else { day.year };
    let month = i64::from((day.month + 9) % 12);
    let in_year = (153 * month + 2) / 5 + i64::from(day.day) - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

/// The day that is so many days after 1970 began; the inverse of `days_of`.
fn day_of(days: i64) -> Day {
    let shifted = days + 719_468;
    let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let in_era_year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * in_era_year + in_era_year / 4 - in_era_year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = (in_year - (153 * month + 2) / 5 + 1) as u32;
    let month = if month < 10 { month + 3 } else { month - 9 } as u32;
    Day { year: era * 400 + in_era_year + i64::from(month <= 2), month, day }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_written() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_763_719_199, "Fri, 21 Nov 2025 09:59:59 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&format(seconds)), text);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for step in 0..40_000 {
            let seconds = step * 1_234_567 - 5_000_000_000;
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }

    #[test]
    fn wrong_dates_are_refused() {
        for text in [
            "",
            ",",
            "Sun",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 00:60:00 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06-Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun Nov 123 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "0",
            "-1",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"x, 29 Feb 2000 00:00:00"), Some(951_782_400));
        assert_eq!(parse(b"Sun Nov 16 08:49:37 1994"), Some(784_975_777));
    }
}
