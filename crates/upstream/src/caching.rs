//! What a location says about caching answers, whatever the protocol (`proxy_cache…`).

use std::sync::Arc;
use std::time::Duration;

use foregate_cache::{Heeds, Valid, Zone};
use foregate_core::{Exchange, Method, Template};

use crate::fields::Ignored;
use crate::rfc::ByRfc;
use crate::rules::Conditions;

/// The settings that all protocols share.
pub struct Caching {
    pub zone: By,
    /// Unset: the protocol's own.
    pub key: Option<Template>,
    pub valid: Valid,
    /// Answers to POST are kept as well.
    pub caches_post: bool,
    pub min_uses: u32,
    /// Any that has a value: the cache is not asked.
    pub bypass: Vec<Template>,
    /// Any that has a value: the answer is not kept.
    pub no_cache: Vec<Template>,
    /// Any that has a value: the request purges.
    pub purge: Vec<Template>,
    pub lock: bool,
    pub lock_age: Duration,
    pub lock_timeout: Duration,
    /// When what is out of date is served all the same.
    pub use_stale: Conditions,
    /// So is it while somebody fetches it anew.
    pub use_stale_updating: bool,
    pub background_update: bool,
    pub revalidate: bool,
    pub convert_head: bool,
    /// By RFC 9111; unset: as nginx does it.
    pub rfc: Option<ByRfc>,
    /// Parts of an answer have keys of their own (`$slice_range`).
    pub keeps_parts: bool,
    /// Ranges that begin behind this are asked of the upstream and not kept.
    pub max_range_offset: Option<u64>,
}

/// Which zone.
pub enum By {
    Zone(Arc<Zone>),
    /// Made of variables: the name, `off` or nothing.
    Name(Template),
}

impl Caching {
    pub(crate) fn is_for(&self, method: Method) -> bool {
        matches!(method, Method::Get | Method::Head)
            || (self.caches_post && self.rfc.is_none() && method == Method::Post)
    }

    /// Whether a request's range begins too far behind for the whole to be fetched.
    pub(crate) fn is_far(&self, ex: &Exchange) -> bool {
        let (Some(max), Some(range)) = (self.max_range_offset, ex.field(b"range")) else { return false };
        if max == 0 {
            return true;
        }
        let Some((unit, range)) = range.split_at_checked(6).filter(|(_, range)| !range.is_empty()) else {
            return false;
        };
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return false;
        }
        let range = range.trim_ascii_start();
        if range.starts_with(b"-") {
            return true;
        }
        let digits = range.iter().take_while(|b| b.is_ascii_digit());
        let start = digits.fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
        start >= max
    }
}

/// Whether any of these has a value that is not `0`.
pub(crate) fn any(conditions: &[Template], ex: &mut Exchange) -> bool {
    conditions.iter().any(|it| {
        let value = it.fill_new(ex);
        !value.is_empty() && value != b"0"
    })
}

/// Which of an answer's fields are listened to.
pub(crate) fn heeds(ignored: Ignored) -> Heeds {
    Heeds {
        accel_expires: !ignored.has(Ignored::EXPIRES_ACCEL),
        expires: !ignored.has(Ignored::EXPIRES),
        cache_control: !ignored.has(Ignored::CACHE_CONTROL),
        set_cookie: !ignored.has(Ignored::SET_COOKIE),
        vary: !ignored.has(Ignored::VARY),
    }
}
