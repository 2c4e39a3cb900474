//! What a cache adds to an answer: its date, its age, how it came about (`Cache-Status`, RFC 9211).

use foregate_cache::Life;
use foregate_cache::rfc::{Forwarded, push_status};
use foregate_core::{Exchange, Reply, push_number};
use foregate_wire::cache_control::cache_directives;
use foregate_wire::h1::ResponseHead;
use foregate_wire::{Name, date};

use super::conditions;
use crate::look::Fetch;
use crate::rules::Rules;
use crate::serve::unix_s;

const CACHE_STATUS: &[u8] = b"Cache-Status";

/// An answer out of the cache.
pub(crate) struct Stored {
    life: Life,
    forwarded: Option<(Forwarded, Option<u16>)>,
    /// What its `Date` says.
    date_s: i64,
}

impl Stored {
    /// `head`: as stored, of `bytes`.
    pub(crate) fn of(
        life: Life,
        forwarded: Option<(Forwarded, Option<u16>)>,
        bytes: &[u8],
        head: &ResponseHead,
    ) -> Self {
        let date_s = head.find(Name::Date).and_then(|it| date::parse(it.value.of(bytes)));
        Self { life, forwarded, date_s: date_s.unwrap_or(life.dated_s) }
    }

    /// RFC 9111, sections 4 and 5.1.
    pub(crate) fn finish(&self, rules: &Rules, ex: &Exchange, reply: &mut Reply) {
        let (life, now_s) = (self.life, unix_s());
        let age_s = now_s.saturating_sub(life.dated_s).max(0).cast_unsigned();
        let mut age = Vec::new();
        push_number(age_s, &mut age);
        reply.fields.set(Name::Age, &age);
        reply.fields.set(Name::Date, &date::format(self.date_s));
        if !rules.hidden.has(CACHE_STATUS) {
            let (mut value, ttl_s) = (Vec::new(), life.valid_s.saturating_sub(now_s).saturating_add(1));
            push_status(self.forwarded, false, Some(ttl_s), &mut value);
            reply.fields.push(CACHE_STATUS, &value);
        }
        reply.untouched = is_untouchable(ex, reply);
        conditions::judge(ex, reply, self.date_s);
    }
}

/// An answer of the upstream on its way to the client.
pub(crate) struct Passed {
    why: Forwarded,
    upstream_status: Option<u16>,
    /// What its `Date` says.
    date_s: Option<i64>,
    /// The upstream was not told the client's conditions, so that judging them is ours.
    judges: bool,
}

impl Passed {
    /// `None`: nginx's cache, or none.
    pub(crate) fn of(fetch: Option<&Fetch<'_>>) -> Option<Self> {
        let fetch = fetch.filter(|it| it.wants.by_rfc)?;
        Some(Self {
            why: fetch.why,
            upstream_status: fetch.upstream_status,
            date_s: fetch.freshness.date_s,
            judges: fetch.asked.whole,
        })
    }

    /// `stored`: it goes into the cache as well.
    pub(crate) fn finish(&self, rules: &Rules, ex: &Exchange, reply: &mut Reply, stored: bool) {
        if let Some(date_s) = self.date_s {
            reply.fields.set(Name::Date, &date::format(date_s));
        }
        if !rules.hidden.has(CACHE_STATUS) {
            let mut value = Vec::new();
            push_status(Some((self.why, self.upstream_status)), stored, None, &mut value);
            reply.fields.push(CACHE_STATUS, &value);
        }
        reply.untouched = is_untouchable(ex, reply);
        if self.judges {
            conditions::judge(ex, reply, self.date_s.unwrap_or_else(unix_s));
        }
    }
}

/// Whoever made it, or whoever asks for it, wants it as it is (`no-transform`).
fn is_untouchable(ex: &Exchange, reply: &Reply) -> bool {
    let says = |line: &[u8]| cache_directives(line).any(|it| it.is("no-transform"));
    reply.fields.get_all(Name::CacheControl).any(says) || ex.fields.get_all(Name::CacheControl).any(says)
}
