//! What an answer's directives say: those of `Cache-Control`, or of `CDN-Cache-Control` in its place (RFC 9213).

use foregate_wire::cache_control::{DELTA_SECONDS_MAX, cache_directives};
use foregate_wire::structured::{Bare, dictionary};

/// More names of fields than this in `no-cache="…"` or `private="…"` make it mean the whole answer.
const NAMES_MAX: usize = 64;

/// Directives of an answer. Seconds that are no number are 0: such an answer counts as stale (section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) max_age_s: Option<i64>,
    pub(super) s_maxage_s: Option<i64>,
    pub(super) updating_s: Option<i64>,
    pub(super) error_s: Option<i64>,
    pub(super) no_cache: bool,
    pub(super) no_store: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    /// Fields that are not to be kept (`no-cache="…"`, `private="…"`), in lower case.
    pub(super) left_out: Vec<Vec<u8>>,
}

impl Directives {
    /// Takes one line of `Cache-Control`. Of what is said twice, the first counts.
    pub(super) fn take_line(&mut self, line: &[u8]) {
        for directive in cache_directives(line) {
            let seconds = || directive.seconds().unwrap_or(0);
            let first = |slot: &mut Option<i64>| _ = slot.get_or_insert_with(seconds);
            match &*directive.name.to_ascii_lowercase() {
                b"max-age" => first(&mut self.max_age_s),
                b"s-maxage" => first(&mut self.s_maxage_s),
                b"stale-while-revalidate" => first(&mut self.updating_s),
                b"stale-if-error" => first(&mut self.error_s),
                b"no-cache" => self.no_cache |= !self.leaves_out(directive.names()),
                b"private" => self.private |= !self.leaves_out(directive.names()),
                b"no-store" => self.no_store = true,
                b"public" => self.public = true,
                b"must-revalidate" => self.must_revalidate = true,
                b"proxy-revalidate" => self.proxy_revalidate = true,
                b"must-understand" => self.must_understand = true,
                _ => (),
            }
        }
    }

    /// What all lines of `CDN-Cache-Control` say. `None`: nothing that is valid, so that it does not count.
    pub(super) fn targeted<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let members = dictionary(lines).filter(|it| !it.is_empty())?;
        let mut it = Self::default();
        for (name, value) in &members {
            let seconds = || match value {
                Bare::Integer(n) if *n >= 0 => Some((*n).min(DELTA_SECONDS_MAX)),
                _ => Some(0),
            };
            let names = |value: &Bare| match value {
                Bare::String(names) => names.clone(),
                _ => Vec::new(),
            };
            match (&**name, value) {
                // A directive that is switched off says nothing.
                (_, Bare::Boolean(false)) => (),
                (b"max-age", _) => it.max_age_s = seconds(),
                (b"s-maxage", _) => it.s_maxage_s = seconds(),
                (b"stale-while-revalidate", _) => it.updating_s = seconds(),
                (b"stale-if-error", _) => it.error_s = seconds(),
                (b"no-cache", value) => it.no_cache |= !it.leaves_out(split(&names(value))),
                (b"private", value) => it.private |= !it.leaves_out(split(&names(value))),
                (b"no-store", _) => it.no_store = true,
                (b"public", _) => it.public = true,
                (b"must-revalidate", _) => it.must_revalidate = true,
                (b"proxy-revalidate", _) => it.proxy_revalidate = true,
                (b"must-understand", _) => it.must_understand = true,
                _ => (),
            }
        }
        Some(it)
    }

    /// `false`: no field is named, so that the directive is about the whole.
    fn leaves_out<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> bool {
        let before = self.left_out.len();
        self.left_out.extend(names.take(NAMES_MAX + 1).map(<[u8]>::to_ascii_lowercase));
        (1..=NAMES_MAX).contains(&(self.left_out.len() - before))
    }

    /// It must not be served out of date (sections 5.2.2.2, 5.2.2.8, 5.2.2.10, 5.2.2.4).
    pub(super) fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage_s.is_some() || self.no_cache
    }

    /// A shared cache may keep what it would not by itself: answers to `Authorization` (section 3.5), and such as set
    /// cookies.
    pub(super) fn allows_shared(&self) -> bool {
        self.public || self.s_maxage_s.is_some()
    }
}

fn split(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|b| matches!(b, b',' | b' ' | b'\t')).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Directives {
        let mut it = Directives::default();
        lines.iter().for_each(|line| it.take_line(line.as_bytes()));
        it
    }

    #[test]
    fn the_first_of_two_counts_and_nonsense_is_stale() {
        assert_eq!(said(&["max-age=5, max-age=7", "max-age=9"]).max_age_s, Some(5));
        assert_eq!(said(&["max-age=x"]).max_age_s, Some(0));
        assert_eq!(said(&["MAX-AGE=\"5\""]).max_age_s, Some(5));
        assert_eq!(said(&["x-max-age=5, unknown, immutable"]), Directives::default());
    }

    #[test]
    fn fields_are_left_out_where_they_are_named() {
        let it = said(&["no-cache=\"Set-Cookie, X-A\", private=x-b"]);
        assert!(!it.no_cache && !it.private);
        assert_eq!(it.left_out, [&b"set-cookie"[..], b"x-a", b"x-b"]);
        assert!(said(&["no-cache, private=\"\""]).no_cache);
        assert!(said(&["private=\"\""]).private);
    }

    #[test]
    fn a_targeted_field_counts_only_where_it_is_valid() {
        let targeted = |line: &str| Directives::targeted([line.as_bytes()].into_iter());
        assert_eq!(targeted("max-age=60").map(|it| it.max_age_s), Some(Some(60)));
        assert_eq!(targeted("no-store").map(|it| it.no_store), Some(true));
        assert_eq!(targeted("no-store=?0").map(|it| it.no_store), Some(false));
        assert_eq!(targeted("max-age=\"60\"").map(|it| it.max_age_s), Some(Some(0)));
        assert_eq!(
            targeted("private=\"x-a\"").map(|it| (it.private, it.left_out)),
            Some((false, vec![b"x-a".to_vec()]))
        );
        for bad in ["", "max-age=", "Max-Age=60", "max-age=60;;"] {
            assert_eq!(targeted(bad), None, "{bad}");
        }
    }
}
