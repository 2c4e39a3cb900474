//! Points in time as certificates write them (RFC 5280 section 4.1.2.5).

use std::fmt;

use super::der;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// To the second, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Time {
    pub(super) fn take(from: &mut &[u8]) -> Option<Time> {
        let found = der::element(from)?;
        let (year_digits, text) = match found.tag {
            UTC_TIME => (2, found.body),
            GENERALIZED_TIME => (4, found.body),
            _ => return None,
        };
        let text = text.strip_suffix(b"Z").filter(|it| it.iter().all(u8::is_ascii_digit))?;
        let (year, rest) = text.split_at_checked(year_digits)?;
        let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let year = match (year_digits, number(year)) {
            (2, year) if year < 50 => 2000 + year,
            (2, year) => 1900 + year,
            (_, year) => year,
        };
        let mut pairs = rest.chunks(2).map(number);
        let mut next = |min, max| pairs.next().filter(|it| (min..=max).contains(it));
        let (month, day, hour, minute) = (next(1, 12)?, next(1, 31)?, next(0, 23)?, next(0, 59)?);
        let second = if rest.len() > 8 { next(0, 59)? } else { 0 };
        (rest.len() == 8 || rest.len() == 10).then_some(Time { year, month, day, hour, minute, second })
    }

    /// Seconds since 1970.
    pub fn unix_s(&self) -> i64 {
        // Years begin in March, so that the day that may be missing is the last.
        let (year, month) = match self.month {
            1 | 2 => (i64::from(self.year) - 1, i64::from(self.month) + 9),
            _ => (i64::from(self.year), i64::from(self.month) - 3),
        };
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
        ((days * 24 + i64::from(self.hour)) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second)
    }
}

/// As OpenSSL prints it: `Feb  3 00:55:52 2015 GMT`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time { year, month, day, hour, minute, second } = *self;
        let month = MONTHS[month as usize - 1];
        write!(f, "{month} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_counted() {
        let read = |tag: u8, text: &str| {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            Time::take(&mut &*bytes).map(|it| (it.to_string(), it.unix_s()))
        };
        let some = |text: &str, at: i64| Some((text.to_string(), at));
        assert_eq!(read(0x17, "150203005552Z"), some("Feb  3 00:55:52 2015 GMT", 1_422_924_952));
        assert_eq!(read(0x18, "20240229235959Z"), some("Feb 29 23:59:59 2024 GMT", 1_709_251_199));
        assert_eq!(read(0x17, "700101000000Z"), some("Jan  1 00:00:00 1970 GMT", 0));
        for bad in ["15020300555Z", "151303005552Z", "150203005552", "15020300Z", "+50203005552Z"] {
            assert_eq!(read(0x17, bad), None, "{bad}");
        }
    }
}
