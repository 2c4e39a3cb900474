//! How long an answer may be served, as nginx reads it from the answer's own fields.

use foregate_wire::{Name, date};

/// Which fields are listened to (all but those in `proxy_ignore_headers`).
#[derive(Clone, Copy, Debug)]
pub struct Heeds {
    pub accel_expires: bool,
    pub expires: bool,
    pub cache_control: bool,
    pub set_cookie: bool,
    pub vary: bool,
}

/// What an answer's fields say. Times are seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Something forbids to keep it, whatever else is said.
    pub(crate) barred: bool,
    pub(crate) no_cache: bool,
    pub(crate) expired: bool,
    /// The end of its freshness; 0 where nothing is said.
    pub valid_s: i64,
    /// Seconds behind that end in which it may be served while it is fetched anew (RFC 5861).
    pub updating_s: i64,
    /// Seconds behind that end in which it may be served because fetching it anew failed.
    pub error_s: i64,
    /// What `Vary` names, all its lines together.
    pub vary: Vec<u8>,
    /// By RFC 9111: when it was made, so that its age is the time since then.
    pub dated_s: Option<i64>,
    /// By RFC 9111: what `Date` says, or should.
    pub date_s: Option<i64>,
    /// By RFC 9111: fields that are not to be kept with it, in lower case.
    pub left_out: Vec<Vec<u8>>,
}

/// More names than this in `Vary` would make a header too long to be read at once.
pub(crate) const VARY_BYTES_MAX: usize = 1024;

impl Freshness {
    /// Reads fields in the order in which they came: for some of them it counts.
    pub fn judge<'a>(fields: impl Iterator<Item = (Name, &'a [u8])>, heeds: Heeds, now_s: i64) -> Self {
        let mut it = Self::default();
        let (mut accel, mut expires) = (false, false);
        for (name, value) in fields {
            match name {
                // Of these only the first counts.
                Name::XAccelExpires if !std::mem::replace(&mut accel, true) && heeds.accel_expires => {
                    it.accel_expires(value, now_s);
                }
                Name::Expires if !std::mem::replace(&mut expires, true) && heeds.expires => {
                    it.expires(value, now_s);
                }
                Name::CacheControl if heeds.cache_control => it.cache_control(value, accel, now_s),
                Name::SetCookie if heeds.set_cookie => it.barred = true,
                Name::Vary if heeds.vary => it.vary(value),
                _ => (),
            }
        }
        it.barred |= it.vary.len() > VARY_BYTES_MAX;
        it
    }

    /// Nothing forbids to keep the answer.
    pub fn may_be_kept(&self) -> bool {
        !(self.barred || self.no_cache || self.expired)
    }

    fn accel_expires(&mut self, value: &[u8], now_s: i64) {
        let (absolute, digits) = match value.strip_prefix(b"@") {
            Some(digits) => (true, digits),
            None => (false, value),
        };
        let Some(n) = number(digits) else { return };
        match absolute {
            false if n == 0 => return self.barred = true,
            false => self.valid_s = now_s.saturating_add(n),
            true => self.valid_s = n,
        }
        (self.no_cache, self.expired) = (false, false);
    }

    fn expires(&mut self, value: &[u8], now_s: i64) {
        if self.valid_s != 0 {
            return;
        }
        match date::parse(value) {
            Some(at) if at >= now_s => self.valid_s = at,
            _ => self.expired = true,
        }
    }

    /// `overruled`: X-Accel-Expires came before, so that only the extensions of RFC 5861 count.
    fn cache_control(&mut self, value: &[u8], overruled: bool, now_s: i64) {
        if !(overruled && self.valid_s != 0) {
            if [&b"no-cache"[..], b"no-store", b"private"].iter().any(|word| find(value, word).is_some()) {
                self.no_cache = true;
                return;
            }
            match find(value, b"s-maxage=").or_else(|| find(value, b"max-age=")).map(seconds) {
                Some(None) => return self.barred = true,
                Some(Some(0)) => return self.no_cache = true,
                Some(Some(n)) => {
                    self.valid_s = now_s.saturating_add(n);
                    self.expired = false;
                }
                None => (),
            }
        }
        match find(value, b"stale-while-revalidate=").map(seconds) {
            Some(None) => return self.barred = true,
            Some(Some(n)) => (self.updating_s, self.error_s) = (n, n),
            None => (),
        }
        match find(value, b"stale-if-error=").map(seconds) {
            Some(None) => self.barred = true,
            Some(Some(n)) => self.error_s = n,
            None => (),
        }
    }

    fn vary(&mut self, value: &[u8]) {
        if value == b"*" {
            self.barred = true;
        }
        if !self.vary.is_empty() {
            self.vary.extend_from_slice(b", ");
        }
        self.vary.extend_from_slice(value);
    }
}

/// What stands behind a word, wherever that stands.
fn find<'a>(value: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let at = value.windows(word.len()).position(|it| it.eq_ignore_ascii_case(word))?;
    Some(&value[at + word.len()..])
}

/// Seconds up to the next comma, semicolon or blank; more than fits is the most that fits.
fn seconds(text: &[u8]) -> Option<i64> {
    let end = text.iter().position(|b| matches!(b, b',' | b';' | b' ')).unwrap_or(text.len());
    text[..end].iter().try_fold(0_i64, |n, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some(n.saturating_mul(10).saturating_add(digit))
    })
}

fn number(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `proxy_cache_valid`: how long answers are good that do not say it themselves.
#[derive(Clone, Debug, Default)]
pub struct Valid {
    /// Status (0 is any) and seconds, in the order written.
    pub by_status: Vec<(u16, i64)>,
}

impl Valid {
    /// Seconds; 0: such an answer is not kept.
    pub fn seconds(&self, status: u16) -> i64 {
        let found = self.by_status.iter().find(|(it, _)| *it == 0 || *it == status);
        found.map_or(0, |(_, seconds)| *seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Heeds =
        Heeds { accel_expires: true, expires: true, cache_control: true, set_cookie: true, vary: true };
    const NOW: i64 = 1_000_000_000;
    const FUTURE: &str = "Expires: Thu, 31 Dec 2037 23:55:55 GMT";
    const FUTURE_S: i64 = 2_145_916_555;
    const PAST: &str = "Expires: Thu, 01 Jan 1970 00:00:01 GMT";

    fn judge(lines: &[&str], heeds: Heeds) -> Freshness {
        let fields = lines.iter().filter_map(|line| line.split_once(": "));
        Freshness::judge(
            fields.map(|(name, value)| (Name::of(name.as_bytes()), value.as_bytes())),
            heeds,
            NOW,
        )
    }

    #[test]
    fn fields_are_read_as_nginx_reads_them() {
        for (lines, kept, valid_s) in [
            (&[FUTURE][..], true, FUTURE_S),
            (&[PAST], false, 0),
            (&["Expires: nonsense"], false, 0),
            (&["Cache-Control: max-age=60"], true, NOW + 60),
            (&["Cache-Control: max-age=9223372036854775808"], true, i64::MAX),
            (&["Cache-Control: max-age=0"], false, 0),
            (&["Cache-Control: max-age=1x"], false, 0),
            (&["Cache-Control: max-age=1, s-maxage=10"], true, NOW + 10),
            (&["Cache-Control: public; max-age=7; a"], true, NOW + 7),
            (&["Cache-Control: PRIVATE"], false, 0),
            (&["Cache-Control: no-store"], false, 0),
            (&["X-Accel-Expires: 60"], true, NOW + 60),
            (&["X-Accel-Expires: @60"], true, 60),
            (&["X-Accel-Expires: 60", "X-Accel-Expires: 0"], true, NOW + 60),
            (&["X-Accel-Expires: 0"], false, 0),
            (&["X-Accel-Expires: x"], true, 0),
            (&["Cache-Control: max-age=60", PAST], true, NOW + 60),
            (&[PAST, "Cache-Control: max-age=60"], true, NOW + 60),
            (&["Cache-Control: no-cache", FUTURE], false, FUTURE_S),
            (&[FUTURE, "Cache-Control: no-cache"], false, FUTURE_S),
            (&["X-Accel-Expires: 60", PAST, "Cache-Control: no-cache"], true, NOW + 60),
            (&[PAST, "Cache-Control: no-cache", "X-Accel-Expires: 60"], true, NOW + 60),
            (&["Cache-Control: max-age=60", "X-Accel-Expires: 0"], false, NOW + 60),
            (&["Cache-Control: no-cache", "Cache-Control: max-age=60"], false, NOW + 60),
            (&["Set-Cookie: a=b", "Cache-Control: max-age=60"], false, NOW + 60),
            (&["Vary: *"], false, 0),
        ] {
            let got = judge(lines, ALL);
            assert_eq!((got.may_be_kept(), got.valid_s), (kept, valid_s), "{lines:?}");
        }
    }

    #[test]
    fn stale_answers_may_be_served_for_a_while() {
        let stale = |lines: &[&str]| {
            let got = judge(lines, ALL);
            (got.updating_s, got.error_s)
        };
        assert_eq!(stale(&["Cache-Control: stale-while-revalidate=10"]), (10, 10));
        assert_eq!(stale(&["Cache-Control: stale-while-revalidate=10, stale-if-error=3"]), (10, 3));
        assert_eq!(stale(&["X-Accel-Expires: @1", "Cache-Control: stale-while-revalidate=7"]), (7, 7));
        assert_eq!(stale(&["Cache-Control: stale-if-error=5", "X-Accel-Expires: @1"]), (0, 5));
    }

    #[test]
    fn what_is_ignored_says_nothing() {
        let none = Heeds {
            accel_expires: false,
            expires: false,
            cache_control: false,
            set_cookie: false,
            vary: false,
        };
        let all = [PAST, "Cache-Control: no-cache", "X-Accel-Expires: 0", "Set-Cookie: a", "Vary: *"];
        let got = judge(&all, none);
        assert_eq!(got, Freshness::default());
        assert!(got.may_be_kept());
    }

    #[test]
    fn names_of_several_lines_add_up() {
        assert_eq!(judge(&["Vary: A", "Vary: B, C"], ALL).vary, b"A, B, C");
        let long = format!("Vary: {}", "a,".repeat(1000));
        assert!(!judge(&[&long], ALL).may_be_kept());
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let valid = Valid { by_status: vec![(200, 5), (0, 60), (404, 1)] };
        assert_eq!([200, 404, 500].map(|it| valid.seconds(it)), [5, 60, 60]);
        assert_eq!(Valid::default().seconds(200), 0);
    }
}
