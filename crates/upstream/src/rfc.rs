//! Caching by RFC 9111, where an upstream is asked and where it is not (`proxy_cache_rfc`).
//!
//! What is decided stands in `foregate_cache::rfc`; here it meets requests, answers and objects.

mod conditions;
mod finish;
mod invalidate;

use foregate_cache::rfc::{Answered, Forwarded, NEVER_STALE, Wants, judge, merge, storable_head};
use foregate_cache::{Draft, Freshness, Life, Object, Status, rewrite};
use foregate_core::{Exchange, Method, Reply};
use foregate_wire::h1::{ResponseHead, ResponseRules, parse_response};
use foregate_wire::{Buf, Name, date};

use crate::caching::{Caching, heeds};
use crate::respond::{Answer, abandon};
use crate::rules::Conditions;
use crate::run::{Protocol, Run};
use crate::scratch;
use crate::serve::{Met, unix_s};

pub(crate) use finish::{Passed, Stored};
pub(crate) use invalidate::{is_unsafe, key_text};

/// `proxy_cache_rfc`
#[derive(Clone, Copy, Debug)]
pub struct ByRfc {
    /// What requests say about caching counts.
    pub heeds_requests: bool,
}

impl Caching {
    /// What a request wants out of this cache.
    pub(crate) fn wants(&self, ex: &Exchange) -> Wants {
        self.rfc.map_or_else(Wants::default, |rfc| Wants::of(&ex.fields, rfc.heeds_requests))
    }
}

/// Conditions that only the one who holds the resource can judge (RFC 9110, sections 13.1.1 and 13.1.4).
pub(crate) fn is_for_origin(ex: &Exchange) -> bool {
    ex.fields.contains(Name::IfMatch) || ex.fields.contains(Name::IfUnmodifiedSince)
}

/// Whether an object that is out of date may be served because fetching it anew failed.
pub(crate) fn may_outlive_error(wants: Wants, life: Life, now_s: i64) -> bool {
    let lives = |seconds: i64| seconds > 0 && life.valid_s.saturating_add(seconds) >= now_s;
    life.error_s != NEVER_STALE && (lives(life.error_s) || lives(wants.error_s))
}

const NOT_MODIFIED: u16 = 304;

impl<P: Protocol> Run<'_, P> {
    /// As `meet`, by RFC 9111.
    pub(crate) fn meet_by_rfc(&mut self, answer: Answer) -> Met {
        let (status, now_s) = (self.head.status, unix_s());
        if let Some(fetch) = self.cache.as_mut() {
            fetch.upstream_status = Some(status);
        }
        if self.cache.as_ref().is_some_and(|it| it.changes) {
            self.invalidate(&answer, status);
            return Met::Itself(answer);
        }
        self.judge_by_rfc(&answer, now_s);
        let Some(fetch) = self.cache.as_mut() else { return Met::Itself(answer) };
        let life = fetch.grip.object.as_ref().map(Object::life).unwrap_or_default();
        let condition = Conditions::of_status(status);
        let allowed =
            life.error_s != NEVER_STALE && condition.is_some_and(|it| fetch.on.use_stale.contain(it));
        // What the validators of a GET's object say to HEAD, they say to the object (section 4.3.5).
        let is_head = self.ex.method == Method::Head && !fetch.asked.as_get;
        let same = fetch.grip.object.as_ref().is_some_and(|it| is_same(it, &answer.bytes, &self.head));
        let instead = match status {
            _ if !fetch.expired => None,
            NOT_MODIFIED => Some(Status::Revalidated),
            200 if is_head && same => Some(Status::Revalidated),
            500 | 502..=504 if may_outlive_error(fetch.wants, life, now_s) => Some(Status::Stale),
            _ if allowed => Some(Status::Stale),
            _ => None,
        };
        let Some(instead) = instead else {
            if is_head || !fetch.freshness.may_be_kept() {
                // Nobody need wait for it any longer, and what there was is not what there is.
                fetch.keeps = false;
                fetch.grip.hold = None;
                if let Some(object) = fetch.grip.object.take_if(|_| status < 400) {
                    fetch.grip.zone.forget(&object);
                }
            }
            return Met::Itself(answer);
        };
        if instead == Status::Revalidated {
            self.renew_by_rfc(&answer, now_s);
        }
        abandon(self, answer);
        Met::Older(Box::new(self.serve_old(instead).unwrap_or_else(|| Reply::status(500))))
    }

    fn judge_by_rfc(&mut self, answer: &Answer, now_s: i64) {
        let (bytes, head) = (&answer.bytes, &self.head);
        let Some(fetch) = self.cache.as_mut() else { return };
        let of = answered(fetch, self.ex, head.status, heeds(self.rules.ignored), now_s);
        fetch.freshness = judge(fields(bytes, head), &of);
        let find = |name: Name| head.find(name).map(|it| it.value.of(bytes));
        fetch.modified_s = find(Name::LastModified).and_then(date::parse);
        fetch.etag = find(Name::ETag).unwrap_or_default().to_vec();
    }

    /// The object was found good again: its head takes over what the answer says, and its life begins anew (sections
    /// 3.2 and 4.3.4).
    fn renew_by_rfc(&mut self, answer: &Answer, now_s: i64) {
        let Some(mut object) = self.cache.as_mut().and_then(|it| it.grip.object.take()) else { return };
        self.refresh(&mut object, answer, now_s);
        if let Some(fetch) = self.cache.as_mut() {
            fetch.grip.object = Some(object);
        }
    }

    fn refresh(&mut self, object: &mut Object, answer: &Answer, now_s: i64) {
        let Some(fetch) = self.cache.as_mut() else { return };
        if !is_meant(object, &answer.bytes, &self.head) {
            // It speaks of something else: the next one is to fetch what there is.
            return fetch.grip.zone.forget(object);
        }
        let (old_bytes, mut old) = (object.head(), scratch::head());
        old.clear();
        if !matches!(parse_response(&old_bytes, &ResponseRules::default(), &mut old), Ok(Some(_))) {
            return;
        }
        let merged = merge((&old_bytes, &old), (&answer.bytes, &self.head), &fetch.freshness);
        let bytes = merged.as_ref().map_or_else(|| old_bytes.clone(), |it| Buf::copy_from(it));
        old.clear();
        let Ok(Some(_)) = parse_response(&bytes, &ResponseRules::default(), &mut old) else { return };
        let age = self.head.find(Name::Age).map(|it| (Name::Age, &b"Age"[..], it.value.of(&answer.bytes)));
        let of = answered(fetch, self.ex, object.status(), heeds(self.rules.ignored), now_s);
        let of = Answered { method: Method::Get, ..of };
        let said = judge(fields(&bytes, &old).chain(age), &of);
        scratch::keep(Vec::new(), old);
        let life = life(&said, now_s);
        object.set_head(bytes.clone());
        if !said.may_be_kept() {
            return fetch.grip.zone.forget(object);
        }
        if let Err(error) = fetch.grip.zone.renew(object, life) {
            let why = foregate_net::sys::errno_text(&error);
            foregate_core::log!(
                self.ex,
                foregate_core::Level::Crit,
                "open() of a cache file failed ({why}) while reading upstream"
            );
        }
        if merged.is_none() && !object.is_softened() {
            return;
        }
        let (asked_us, modified_s, etag) = (fetch.asked_us, object.modified_s(), object.etag().to_vec());
        let draft = Draft {
            text: &fetch.grip.text,
            main: fetch.grip.main,
            vary: object.varies_by(),
            fields: &self.ex.fields,
            by_rfc: true,
            status: object.status(),
            told: Status::Revalidated,
            life,
            asked_us,
            modified_s,
            etag: &etag,
            head: &bytes,
        };
        if let Some(hold) = fetch.grip.hold.take() {
            rewrite(&fetch.grip.zone, hold, object, &draft, &self.rules.temp, self.ex.reporter());
        }
    }
}

/// The head of an answer as it is stored; `bytes` begin with a status line.
pub(crate) fn stored_head(bytes: &[u8], said: &Freshness) -> Option<Vec<u8>> {
    let mut head = scratch::head();
    head.clear();
    let parsed = parse_response(bytes, &ResponseRules::default(), &mut head);
    let stored = matches!(parsed, Ok(Some(_))).then(|| storable_head(bytes, &head, said));
    scratch::keep(Vec::new(), head);
    stored
}

/// How long an answer lives that was judged so.
pub(crate) fn life(said: &Freshness, now_s: i64) -> Life {
    Life {
        valid_s: said.valid_s,
        updating_s: said.updating_s,
        error_s: said.error_s,
        dated_s: said.dated_s.unwrap_or(now_s),
    }
}

fn answered<'a>(
    fetch: &crate::look::Fetch<'_>,
    ex: &'a Exchange,
    status: u16,
    heeds: foregate_cache::Heeds,
    now_s: i64,
) -> Answered<'a> {
    Answered {
        status,
        method: ex.method,
        request: &ex.fields,
        no_store: fetch.wants.no_store,
        heeds,
        asked_s: fetch.asked_s,
        now_s,
        configured_s: fetch.on.valid.seconds(status),
        keeps_parts: fetch.on.keeps_parts,
    }
}

fn fields<'a>(bytes: &'a [u8], head: &'a ResponseHead) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> {
    head.fields.iter().map(|it| (it.known, it.name.of(bytes), it.value.of(bytes)))
}

/// Whether a 304 may speak of this object: a strong validator in it must be the object's (section 4.3.4).
fn is_meant(object: &Object, bytes: &[u8], head: &ResponseHead) -> bool {
    match head.find(Name::ETag).map(|it| it.value.of(bytes)) {
        Some(etag) if !etag.starts_with(b"W/") => etag == object.etag(),
        _ => true,
    }
}

/// Whether an answer to HEAD speaks of this object: what it says of validators and length is the object's.
fn is_same(object: &Object, bytes: &[u8], head: &ResponseHead) -> bool {
    let find = |name: Name| head.find(name).map(|it| it.value.of(bytes));
    let etag = find(Name::ETag);
    let modified_s = find(Name::LastModified).and_then(date::parse);
    let length = head.content_length.filter(|_| !head.chunked);
    (etag.is_some() || modified_s.is_some())
        && etag.is_none_or(|it| it == object.etag())
        && modified_s.is_none_or(|it| Some(it) == object.modified_s())
        && length.is_none_or(|it| it == object.body_bytes())
}

/// Why a request goes on to the upstream.
pub(crate) fn why(status: Status, wants: Wants, life: Option<Life>, now_s: i64) -> Forwarded {
    match status {
        Status::Bypass => Forwarded::Bypass,
        Status::Expired if life.is_some_and(|it| it.valid_s >= now_s) && wants.insists() => {
            Forwarded::Request
        }
        Status::Expired => Forwarded::Stale,
        _ => Forwarded::UriMiss,
    }
}
