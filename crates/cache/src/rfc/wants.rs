//! What a request says of what it wants out of a cache (RFC 9111, sections 5.2.1 and 5.4; RFC 5861, section 4).

use foregate_wire::cache_control::cache_directives;
use foregate_wire::{Fields, Name};

use super::NEVER_STALE;
use crate::header::Life;

/// A request's directives. The default is a request that says nothing, to a cache that does not listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The cache goes by RFC 9111.
    pub by_rfc: bool,
    /// Nothing that was not asked for anew.
    pub no_cache: bool,
    pub no_store: bool,
    /// Only what is there already.
    pub only_if_cached: bool,
    /// The greatest age, seconds.
    pub max_age_s: Option<i64>,
    /// So long it must still be good, seconds.
    pub min_fresh_s: i64,
    /// So long it may have been out of date, seconds.
    pub max_stale_s: Option<i64>,
    /// So long it may have been out of date where fetching it anew fails, seconds.
    pub error_s: i64,
}

impl Wants {
    /// A request to a cache that goes by RFC 9111. `heeds`: it listens to what the request says.
    pub fn of(fields: &Fields, heeds: bool) -> Self {
        let mut it = Self { by_rfc: true, ..Self::default() };
        if !heeds {
            return it;
        }
        if !fields.contains(Name::CacheControl) {
            // For caches of HTTP/1.0, and for nobody else where Cache-Control is there.
            let mut pragmas = fields.get_all(Name::Pragma).flat_map(cache_directives);
            it.no_cache = pragmas.any(|it| it.is("no-cache"));
            return it;
        }
        for directive in fields.get_all(Name::CacheControl).flat_map(cache_directives) {
            match &*directive.name.to_ascii_lowercase() {
                b"no-cache" => it.no_cache = true,
                b"no-store" => it.no_store = true,
                b"only-if-cached" => it.only_if_cached = true,
                b"max-age" => _ = it.max_age_s.get_or_insert(directive.seconds().unwrap_or(0)),
                b"min-fresh" => it.min_fresh_s = directive.seconds().unwrap_or(0),
                // Without a number, any staleness will do; what is no number is no permission.
                b"max-stale" => {
                    let seconds = directive.argument.map_or(i64::MAX, |_| directive.seconds().unwrap_or(0));
                    _ = it.max_stale_s.get_or_insert(seconds);
                }
                b"stale-if-error" => it.error_s = directive.seconds().unwrap_or(0),
                _ => (),
            }
        }
        it
    }

    /// Whether what lives so long is good enough to be served at once.
    pub fn is_met_by(&self, life: Life, now_s: i64) -> bool {
        if !self.by_rfc {
            return life.valid_s >= now_s;
        }
        let age_s = now_s.saturating_sub(life.dated_s);
        if self.no_cache || self.max_age_s.is_some_and(|max| age_s > max) {
            return false;
        }
        if life.valid_s < now_s {
            let late_s = now_s.saturating_sub(life.valid_s);
            return life.error_s != NEVER_STALE && self.max_stale_s.is_some_and(|max| late_s <= max);
        }
        life.valid_s.saturating_sub(now_s).saturating_add(1) >= self.min_fresh_s
    }

    /// The client does not take what is out of date, whatever the cache would do by itself.
    pub fn insists(&self) -> bool {
        self.no_cache || self.max_age_s.is_some() || self.min_fresh_s > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(lines: &[(&str, &str)]) -> Wants {
        let mut fields = Fields::new();
        lines.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        Wants::of(&fields, true)
    }

    fn control(value: &str) -> Wants {
        wants(&[("Cache-Control", value)])
    }

    const NOW: i64 = 1000;
    /// Ten seconds old, good for another twenty.
    const FRESH: Life = Life { valid_s: NOW + 19, updating_s: 0, error_s: 0, dated_s: NOW - 10 };
    const STALE: Life = Life { valid_s: NOW - 5, updating_s: 0, error_s: 0, dated_s: NOW - 30 };

    #[test]
    fn requests_are_met_by_what_they_ask_for() {
        for (said, fresh, stale) in [
            ("", true, false),
            ("no-cache", false, false),
            ("max-age=10", true, false),
            ("max-age=9", false, false),
            ("max-age=0", false, false),
            ("max-age=nonsense", false, false),
            ("min-fresh=20", true, false),
            ("min-fresh=21", false, false),
            ("max-stale", true, true),
            ("max-stale=5", true, true),
            ("max-stale=4", true, false),
            ("max-stale=x", true, false),
            ("max-stale, max-age=30", true, true),
            ("max-stale, max-age=29", true, false),
            ("no-store, only-if-cached, no-transform, unknown=3", true, false),
        ] {
            let wants = control(said);
            assert_eq!((wants.is_met_by(FRESH, NOW), wants.is_met_by(STALE, NOW)), (fresh, stale), "{said}");
        }
    }

    #[test]
    fn what_must_never_be_stale_is_not_served_to_the_patient() {
        let never = Life { error_s: NEVER_STALE, updating_s: NEVER_STALE, ..STALE };
        assert!(!control("max-stale").is_met_by(never, NOW));
    }

    #[test]
    fn pragma_counts_where_nothing_else_is_said() {
        assert!(wants(&[("Pragma", "no-cache")]).no_cache);
        assert!(!wants(&[("Pragma", "no-cache"), ("Cache-Control", "max-age=5")]).no_cache);
        assert!(!wants(&[("Pragma", "something=no-cache")]).no_cache);
    }

    #[test]
    fn a_cache_that_does_not_listen_serves_what_is_good() {
        let mut fields = Fields::new();
        fields.push(b"Cache-Control", b"no-cache");
        let deaf = Wants::of(&fields, false);
        assert!(deaf.is_met_by(FRESH, NOW) && !deaf.is_met_by(STALE, NOW));
        assert!(Wants::default().is_met_by(FRESH, NOW + 19) && !Wants::default().is_met_by(FRESH, NOW + 20));
    }
}
