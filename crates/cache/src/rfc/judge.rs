//! Whether an answer may be stored (RFC 9111, section 3), and how long it is good (section 4.2).

use foregate_wire::cache_control::delta_seconds;
use foregate_wire::{Fields, Method, Name, date};

use super::NEVER_STALE;
use super::directives::Directives;
use crate::freshness::{Freshness, Heeds};

/// Of the time since an answer was last modified, the part for which it is good where nothing is said (section 4.2.2).
const HEURISTIC_PART: i64 = 10;
/// The longest time that is guessed, seconds: a day. What is older is looked at anew soon enough.
pub const HEURISTIC_MAX_S: i64 = 86_400;

/// Statuses whose answers may be kept where nothing is said of it (RFC 9110, section 15.1), 206 aside.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Statuses whose meaning for a cache is known here, for `must-understand`. Not 206 and 304.
const UNDERSTOOD: [u16; 38] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409,
    410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505,
];

/// What is known of an answer besides its fields. Times are seconds since the epoch.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    pub status: u16,
    pub method: Method,
    /// The request's fields.
    pub request: &'a Fields,
    /// What the request said of its being stored: `no-store`.
    pub no_store: bool,
    pub heeds: Heeds,
    pub asked_s: i64,
    pub now_s: i64,
    /// What the configuration says of such an answer (`proxy_cache_valid`); 0: nothing.
    pub configured_s: i64,
    /// Parts are objects of their own, each with its own key (`slice`).
    pub keeps_parts: bool,
}

/// What an answer's fields say, gathered.
#[derive(Default)]
struct Facts<'a> {
    control: Directives,
    targeted: Vec<&'a [u8]>,
    accel: Option<&'a [u8]>,
    expires: Option<&'a [u8]>,
    date: Option<&'a [u8]>,
    age: Option<&'a [u8]>,
    modified: Option<&'a [u8]>,
    has_etag: bool,
    sets_cookie: bool,
    vary: Vec<u8>,
}

/// Judges an answer by its fields: name as known, name, value.
pub fn judge<'a>(fields: impl Iterator<Item = (Name, &'a [u8], &'a [u8])>, of: &Answered<'_>) -> Freshness {
    let mut facts = Facts::gather(fields, of.heeds);
    let targeted = std::mem::take(&mut facts.targeted);
    if let Some(said) = Directives::targeted(targeted.into_iter()).filter(|_| of.heeds.cache_control) {
        // Who is spoken to by name listens to nothing else (RFC 9213, section 2.2).
        (facts.control, facts.expires) = (said, None);
    }
    let date_s = facts.date.and_then(date::parse).unwrap_or(of.now_s);
    let age_s = current_age_s(facts.age, date_s, of);
    let dated_s = of.now_s.saturating_sub(age_s);
    let good_until_s = facts.good_until_s(of, date_s, dated_s);
    let forbids_stale = facts.control.forbids_stale();
    let stale = |seconds: Option<i64>| if forbids_stale { NEVER_STALE } else { seconds.unwrap_or(0) };
    let validates = facts.has_etag || facts.modified.is_some();
    let is_good = good_until_s.is_some_and(|it| it >= of.now_s) && !facts.control.no_cache;
    let may_be_stale =
        !forbids_stale && (facts.control.updating_s > Some(0) || facts.control.error_s > Some(0));
    // What is neither good nor can be found good again is of no use.
    let is_of_use = good_until_s.is_some() && (is_good || validates || may_be_stale);
    Freshness {
        barred: facts.is_barred(of) || !is_of_use,
        valid_s: match good_until_s {
            Some(until) if !facts.control.no_cache => until,
            _ => dated_s.saturating_sub(1),
        },
        updating_s: stale(facts.control.updating_s),
        error_s: stale(facts.control.error_s),
        dated_s: Some(dated_s),
        date_s: Some(date_s),
        left_out: facts.control.left_out,
        vary: facts.vary,
        ..Freshness::default()
    }
}

impl<'a> Facts<'a> {
    fn gather(fields: impl Iterator<Item = (Name, &'a [u8], &'a [u8])>, heeds: Heeds) -> Self {
        let mut it = Self::default();
        for (known, name, value) in fields {
            match known {
                Name::CacheControl if heeds.cache_control => it.control.take_line(value),
                // Of these only the first counts.
                Name::XAccelExpires if heeds.accel_expires => _ = it.accel.get_or_insert(value),
                Name::Expires if heeds.expires => _ = it.expires.get_or_insert(value),
                Name::Date => _ = it.date.get_or_insert(value),
                Name::Age => _ = it.age.get_or_insert(value),
                Name::LastModified => _ = it.modified.get_or_insert(value),
                Name::ETag => it.has_etag = true,
                Name::SetCookie => it.sets_cookie |= heeds.set_cookie,
                Name::Vary if heeds.vary => {
                    if !it.vary.is_empty() {
                        it.vary.extend_from_slice(b", ");
                    }
                    it.vary.extend_from_slice(value);
                }
                Name::Other if name.eq_ignore_ascii_case(b"CDN-Cache-Control") => it.targeted.push(value),
                _ => (),
            }
        }
        it
    }

    /// The last second in which it is good. `None`: nobody has said it, and it cannot be guessed.
    fn good_until_s(&self, of: &Answered<'_>, date_s: i64, dated_s: i64) -> Option<i64> {
        if let Some((absolute, n)) = self.accel.and_then(accel_expires) {
            return Some(if absolute { n } else { of.now_s.saturating_add(n) });
        }
        let explicit = self.control.s_maxage_s.or(self.control.max_age_s);
        let explicit = explicit.or_else(|| {
            let at = self.expires?;
            // What is no time lies in the past (RFC 9111, section 5.3).
            Some(date::parse(at).map_or(0, |at| at.saturating_sub(date_s).max(0)))
        });
        // Good while the lifetime is more than the age, hence a second less.
        let until = |lifetime_s: i64| dated_s.saturating_add(lifetime_s).saturating_sub(1);
        if let Some(lifetime_s) = explicit {
            return Some(until(lifetime_s));
        }
        if of.configured_s > 0 {
            return Some(of.now_s.saturating_add(of.configured_s));
        }
        if let Some(lifetime_s) = self.heuristic_s(of, date_s) {
            return Some(until(lifetime_s));
        }
        self.control.no_cache.then_some(dated_s.saturating_sub(1))
    }

    /// A guess, where nothing is said (section 4.2.2). Not for what was asked for with cookies: it may be somebody's own.
    fn heuristic_s(&self, of: &Answered<'_>, date_s: i64) -> Option<i64> {
        if !(HEURISTIC.contains(&of.status) || self.control.public) || of.request.contains(Name::Cookie) {
            return None;
        }
        let modified_s = self.modified.and_then(date::parse)?;
        let part_s = date_s.saturating_sub(modified_s) / HEURISTIC_PART;
        (part_s > 0).then(|| part_s.min(HEURISTIC_MAX_S))
    }

    /// Something forbids to store it (section 3).
    fn is_barred(&self, of: &Answered<'_>) -> bool {
        let control = &self.control;
        let leaves_cookies_out = control.left_out.iter().any(|it| it == b"set-cookie");
        // Authorization is the request's, and a field by name says nothing of it.
        let authorized = of.request.contains(Name::Authorization);
        of.no_store
            || !matches!(of.method, Method::Get | Method::Head)
            || of.status < 200
            || of.status == 304
            || (of.status == 206 && !of.keeps_parts)
            || (control.must_understand && !UNDERSTOOD.contains(&of.status))
            || (control.no_store && !control.must_understand)
            || control.private
            || (authorized && !control.allows_shared() && !control.must_revalidate)
            || (self.sets_cookie && !control.allows_shared() && !leaves_cookies_out)
            || self.accel.and_then(accel_expires) == Some((false, 0))
            || self.vary.len() > crate::freshness::VARY_BYTES_MAX
            || self.vary.split(|b| *b == b',').any(|it| it.trim_ascii() == b"*")
    }
}

/// The age of an answer when it comes (section 4.2.3).
fn current_age_s(age: Option<&[u8]>, date_s: i64, of: &Answered<'_>) -> i64 {
    // Of a list the first member counts, and what is no number does not (section 5.1).
    let first = age.and_then(|it| it.split(|b| *b == b',').next());
    let age_value_s = first.and_then(|it| delta_seconds(it.trim_ascii())).unwrap_or(0);
    let apparent_s = of.now_s.saturating_sub(date_s).max(0);
    let delay_s = of.now_s.saturating_sub(of.asked_s).max(0);
    apparent_s.max(age_value_s.saturating_add(delay_s))
}

/// `X-Accel-Expires`: seconds from now, or with `@` since the epoch.
fn accel_expires(value: &[u8]) -> Option<(bool, i64)> {
    let (absolute, digits) = match value.strip_prefix(b"@") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((absolute, std::str::from_utf8(digits).ok()?.parse().unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const ALL: Heeds =
        Heeds { accel_expires: true, expires: true, cache_control: true, set_cookie: true, vary: true };

    /// `Name: value` lines; of dates, `@N` is so many seconds from now.
    fn answer(lines: &[&str], of: &Answered<'_>) -> Freshness {
        let lines: Vec<(String, String)> = lines
            .iter()
            .map(|line| line.split_once(": ").expect("because it is a field"))
            .map(|(name, value)| match value.strip_prefix('@').and_then(|it| it.parse::<i64>().ok()) {
                Some(seconds) if name != "X-Accel-Expires" => {
                    (name.to_owned(), String::from_utf8_lossy(&date::format(NOW + seconds)).into_owned())
                }
                _ => (name.to_owned(), value.to_owned()),
            })
            .collect();
        judge(
            lines.iter().map(|(name, value)| (Name::of(name.as_bytes()), name.as_bytes(), value.as_bytes())),
            of,
        )
    }

    fn to(request: &Fields) -> Answered<'_> {
        Answered {
            status: 200,
            method: Method::Get,
            request,
            no_store: false,
            heeds: ALL,
            asked_s: NOW,
            now_s: NOW,
            configured_s: 0,
            keeps_parts: false,
        }
    }

    /// Whether it is kept, and for how many seconds it is good.
    fn good_s(lines: &[&str]) -> (bool, i64) {
        let request = Fields::new();
        let it = answer(lines, &to(&request));
        (it.may_be_kept(), it.valid_s - NOW + 1)
    }

    #[test]
    fn lifetimes_are_what_is_said() {
        for (lines, kept, good) in [
            (&["Cache-Control: max-age=60"][..], true, 60),
            (&["Cache-Control: max-age=60, s-maxage=5"], true, 5),
            (&["Cache-Control: s-maxage=5", "Expires: @900"], true, 5),
            (&["Cache-Control: max-age=60", "Expires: @900"], true, 60),
            (&["Date: @0", "Expires: @900"], true, 900),
            (&["Date: @10", "Expires: @900"], true, 890),
            (&["Expires: @900"], true, 900),
            (&["Expires: 0"], false, 0),
            (&["Expires: 0", "ETag: \"e\""], true, 0),
            (&["Cache-Control: max-age=x", "ETag: \"e\""], true, 0),
            (&["Cache-Control: max-age=60, max-age=5"], true, 60),
            (&["Cache-Control: max-age=99999999999999999999"], true, 1 << 31),
            (&["Cache-Control: public"], false, 0),
            (&["X-Accel-Expires: 7", "Cache-Control: max-age=60"], true, 8),
            (&["X-Accel-Expires: 0", "Cache-Control: max-age=60"], false, 1),
            (&[], false, 0),
        ] {
            assert_eq!(good_s(lines), (kept, good), "{lines:?}");
        }
    }

    #[test]
    fn age_is_counted() {
        for (lines, good) in [
            (&["Cache-Control: max-age=60", "Age: 20"][..], 40),
            (&["Cache-Control: max-age=60", "Date: @-15"], 45),
            (&["Cache-Control: max-age=60", "Date: @-15", "Age: 20"], 40),
            (&["Cache-Control: max-age=60", "Date: @15"], 60),
            (&["Cache-Control: max-age=60", "Age: 20, 30"], 40),
            (&["Cache-Control: max-age=60", "Age: x"], 60),
            (&["Cache-Control: max-age=60", "Age: -5"], 60),
        ] {
            assert_eq!(good_s(lines), (true, good), "{lines:?}");
        }
        let request = Fields::new();
        let slow = Answered { asked_s: NOW - 5, ..to(&request) };
        let it = answer(&["Cache-Control: max-age=60", "Age: 20"], &slow);
        assert_eq!((it.dated_s, it.valid_s), (Some(NOW - 25), NOW + 34));
    }

    #[test]
    fn what_is_not_said_is_guessed_within_bounds() {
        assert_eq!(good_s(&["Last-Modified: @-1000"]), (true, 100));
        assert_eq!(good_s(&["Last-Modified: @-100000000"]), (true, HEURISTIC_MAX_S));
        assert_eq!(good_s(&["Last-Modified: @5"]), (false, 0));
        let (mut request, modified) = (Fields::new(), "Last-Modified: @-1000");
        let kept = |of: &Answered<'_>, lines: &[&str]| answer(lines, of).may_be_kept();
        assert!(!kept(&Answered { status: 302, ..to(&request) }, &[modified]));
        assert!(kept(&Answered { status: 302, ..to(&request) }, &[modified, "Cache-Control: public"]));
        assert!(kept(&Answered { status: 302, configured_s: 5, ..to(&request) }, &[]));
        request.push(b"Cookie", b"a=b");
        assert!(!kept(&to(&request), &[modified]));
        assert!(kept(&to(&request), &["Cache-Control: max-age=5"]));
    }

    #[test]
    fn some_answers_are_never_stored() {
        for lines in [
            &["Cache-Control: no-store, max-age=60"][..],
            &["Cache-Control: private, max-age=60"],
            &["Cache-Control: max-age=60", "Vary: *"],
            &["Cache-Control: max-age=60", "Vary: Accept, *"],
            &["Cache-Control: max-age=60", "Set-Cookie: a=b"],
            &["Cache-Control: no-cache"],
        ] {
            assert!(!good_s(lines).0, "{lines:?}");
        }
        for lines in [
            &["Cache-Control: public, max-age=60", "Set-Cookie: a=b"][..],
            &["Cache-Control: no-cache=\"Set-Cookie\", max-age=60", "Set-Cookie: a=b"],
            &["Cache-Control: private=\"X-A\", max-age=60"],
            &["Cache-Control: no-store, must-understand, max-age=60"],
            &["Cache-Control: no-cache", "ETag: \"e\""],
        ] {
            assert!(good_s(lines).0, "{lines:?}");
        }
        let request = Fields::new();
        let kept = |of: Answered<'_>, said: &str| answer(&[said], &of).may_be_kept();
        let long = "Cache-Control: max-age=60";
        assert!(!kept(Answered { method: Method::Post, ..to(&request) }, long));
        assert!(!kept(Answered { no_store: true, ..to(&request) }, long));
        assert!(!kept(Answered { status: 206, ..to(&request) }, long));
        assert!(kept(Answered { status: 206, keeps_parts: true, ..to(&request) }, long));
        assert!(!kept(Answered { status: 304, ..to(&request) }, long));
        assert!(kept(Answered { status: 599, ..to(&request) }, long));
        assert!(!kept(
            Answered { status: 599, ..to(&request) },
            "Cache-Control: must-understand, max-age=60"
        ));
    }

    #[test]
    fn answers_to_somebody_who_said_who_he_is_are_stored_only_if_allowed() {
        let mut request = Fields::new();
        request.push(b"Authorization", b"Basic eA==");
        let kept = |said: &str| answer(&[&format!("Cache-Control: {said}")], &to(&request)).may_be_kept();
        assert!(!kept("max-age=60"));
        assert!(kept("max-age=60, public") && kept("s-maxage=60") && kept("max-age=60, must-revalidate"));
        assert!(!kept("max-age=60, proxy-revalidate"));
    }

    #[test]
    fn staleness_is_allowed_and_forbidden() {
        let request = Fields::new();
        let stale = |said: &str| {
            let it = answer(&[&format!("Cache-Control: max-age=60{said}")], &to(&request));
            (it.updating_s, it.error_s)
        };
        assert_eq!(stale(""), (0, 0));
        assert_eq!(stale(", stale-while-revalidate=5, stale-if-error=7"), (5, 7));
        assert_eq!(stale(", stale-while-revalidate=x"), (0, 0));
        for said in ["must-revalidate", "proxy-revalidate", "s-maxage=5", "no-cache"] {
            let all = format!(", {said}, stale-while-revalidate=5, stale-if-error=7");
            assert_eq!(stale(&all), (NEVER_STALE, NEVER_STALE), "{said}");
        }
    }

    #[test]
    fn who_is_spoken_to_by_name_listens_to_nothing_else() {
        let all = ["CDN-Cache-Control: max-age=5", "Cache-Control: no-store", "Expires: 0"];
        assert_eq!(good_s(&all), (true, 5));
        assert_eq!(good_s(&["CDN-Cache-Control: Bad=", "Cache-Control: max-age=7"]), (true, 7));
        assert!(!good_s(&["CDN-Cache-Control: no-store", "Cache-Control: max-age=7"]).0);
        assert!(!good_s(&["CDN-Cache-Control: foo", "Expires: @900"]).0);
    }
}
