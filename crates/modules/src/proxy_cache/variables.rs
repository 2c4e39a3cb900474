//! `$upstream_cache_status` and what else is known of a request's way through the cache.

use foregate_cache::Told;
use foregate_core::{Exchange, Variable, push_number};
use foregate_net::clock;
use foregate_wire::date;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("upstream_cache_status", |ex, out| {
        of(ex, out, |told| Some(told.status.name().as_bytes().to_vec()))
    }),
    // What the upstream may compare with; `proxy_set_header` may use them in other fields than ours.
    Variable::new("upstream_cache_last_modified", |ex, out| {
        of(ex, out, |told| told.modified_s.map(|it| date::format(it).to_vec()))
    }),
    Variable::new("upstream_cache_etag", |ex, out| of(ex, out, |told| told.etag.clone())),
    Variable::new("upstream_cache_key", |ex, out| of(ex, out, |told| Some(told.key.clone()))),
    Variable::new("upstream_cache_age", |ex, out| {
        let Some(dated_s) = ex.notes.get::<Told>().and_then(|it| it.dated_s) else { return false };
        let now_s = (clock::unix_ms() / 1000).cast_signed();
        push_number(now_s.saturating_sub(dated_s).max(0).cast_unsigned(), out);
        true
    }),
];

fn of(ex: &Exchange, out: &mut Vec<u8>, what: fn(&Told) -> Option<Vec<u8>>) -> bool {
    let value = ex.notes.get::<Told>().and_then(what);
    out.extend_from_slice(value.as_deref().unwrap_or_default());
    value.is_some()
}
