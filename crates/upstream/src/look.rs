//! The cache before an upstream is asked: whether there is an answer already, and who fetches it if not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use foregate_cache::rfc::{Forwarded, NEVER_STALE, Wants};
use foregate_cache::{Ask, Found, Freshness, Hold, Key, Object, Purge, Status, Told, Woken, Zone, Zones};
use foregate_core::{Behind, Exchange, Flow, Level, Method, Reply, Stop, log, next};
use foregate_net::clock;
use foregate_net::sys::errno_text;

use crate::caching::{By, Caching, any};
use crate::rfc::{is_for_origin, is_unsafe, key_text, why};
use crate::rules::Rules;
use crate::run::{Protocol, body_failed, client_gone};
use crate::serve::serve;

/// What the cache says before an upstream is asked.
pub enum Looked<'a> {
    /// There is an answer.
    Answer(Flow<Reply>),
    /// The upstream is to be asked; where something is set, for the cache.
    Fetch(Option<Box<Fetch<'a>>>),
}

/// A request that an upstream is asked on behalf of the cache.
pub struct Fetch<'a> {
    pub(crate) on: &'a Caching,
    pub(crate) grip: Grip,
    pub(crate) asked: AskedFor,
    /// What comes may be kept.
    pub(crate) keeps: bool,
    /// There is an object, which is out of date.
    pub(crate) expired: bool,
    /// Nobody waits for the answer.
    pub(crate) apart: bool,
    /// When this began, by the zone's stamps.
    pub(crate) asked_us: u64,
    /// The same in seconds since the epoch.
    pub(crate) asked_s: i64,
    /// What the request says of caching, and why it goes on to the upstream.
    pub(crate) wants: Wants,
    pub(crate) why: Forwarded,
    /// The request may change what is kept.
    pub(crate) changes: bool,
    pub(crate) upstream_status: Option<u16>,
    pub(crate) told: Status,
    /// What the upstream says of its answer.
    pub(crate) freshness: Freshness,
    /// What the next request may compare with.
    pub(crate) modified_s: Option<i64>,
    pub(crate) etag: Vec<u8>,
}

/// What is in one's hands while an object is fetched.
pub(crate) struct Grip {
    pub(crate) zone: Arc<Zone>,
    /// The key's text.
    pub(crate) text: Vec<u8>,
    pub(crate) main: Key,
    /// Unset where the cache was not asked.
    pub(crate) hold: Option<Hold>,
    /// What there is, out of date.
    pub(crate) object: Option<Object>,
}

/// What an upstream is asked for on behalf of the cache.
#[derive(Clone, Debug, Default)]
pub struct AskedFor {
    /// HEAD goes out as GET.
    pub as_get: bool,
    /// The whole is wanted, whatever part of it or under which condition the client asks for it.
    pub whole: bool,
    /// What `If-Modified-Since` and `If-None-Match` are to say.
    pub modified: Option<Vec<u8>>,
    pub etag: Option<Vec<u8>>,
}

/// A note on a request that fetches in the background what its parent was served out of date.
struct Handed(Cell<Option<Grip>>);

/// Whether this request fetches something for its parent.
pub(crate) fn is_handed(ex: &Exchange) -> bool {
    ex.notes.get::<Handed>().is_some()
}

/// Asks the cache.
pub async fn look<'a, P: Protocol>(
    on: &'a Caching,
    rules: &Rules,
    protocol: &mut P,
    ex: &mut Exchange,
) -> Looked<'a> {
    let purges = any(&on.purge, ex);
    let changes = !purges && on.rfc.is_some() && is_unsafe(ex.method);
    if !purges && !changes && !on.is_for(ex.method) {
        ex.notes.take::<Told>();
        return Looked::Fetch(None);
    }
    let zone = match zone(on, ex) {
        Ok(Some(zone)) => zone,
        Ok(None) => {
            ex.notes.take::<Told>();
            return Looked::Fetch(None);
        }
        Err(stop) => return Looked::Answer(Flow::Break(stop)),
    };
    if changes {
        return write_through(on, zone, protocol, ex);
    }
    let mut text = Vec::new();
    match &on.key {
        Some(key) => key.fill(ex, &mut text),
        None => protocol.cache_key(ex, &mut text),
    }
    if purges {
        return Looked::Answer(Flow::Break(purge(&zone, &text, ex).await));
    }
    // Whoever is to fetch it in the background needs the body as well.
    if ex.body.source.is_some()
        && let Err(error) = ex.read_body().await
    {
        return Looked::Answer(Flow::Break(body_failed(error)));
    }
    let main = Key::of(&text);
    let grip = Grip { zone, text, main, hold: None, object: None };
    let handed = ex.notes.get::<Handed>().and_then(|it| it.0.take());
    if let Some(handed) = handed {
        return fetch(on, handed, Status::Expired, true, ex);
    }
    if any(&on.bypass, ex) {
        return fetch(on, grip, Status::Bypass, true, ex);
    }
    look_up(on, grip, rules, protocol, ex).await
}

/// What is there is served, if it is good enough.
async fn look_up<'a, P: Protocol>(
    on: &'a Caching,
    grip: Grip,
    rules: &Rules,
    protocol: &mut P,
    ex: &mut Exchange,
) -> Looked<'a> {
    let main = grip.main;
    let apart = ex.notes.get::<Handed>().is_some();
    let wants = on.wants(ex);
    if wants.by_rfc && is_for_origin(ex) {
        return fetch(on, grip, Status::Bypass, false, ex);
    }
    match open(on, &grip, wants, ex).await {
        Err(stop) => Looked::Answer(Flow::Break(stop)),
        // RFC 9111, section 5.2.1.7.
        Ok(Found::Stale(..) | Found::Missing(_) | Found::Locked(_) | Found::Scarce)
            if wants.only_if_cached =>
        {
            Looked::Answer(Flow::Break(Stop::status(504)))
        }
        Ok(Found::Fresh(object)) => match serve(rules, protocol, ex, &object, told(on, &grip, Status::Hit)) {
            Some(reply) => {
                grip.zone.count(Status::Hit, object.body_bytes());
                Looked::Answer(Flow::Continue(reply))
            }
            None => {
                let hold = Some(grip.zone.hold(main));
                fetch(on, Grip { hold, ..grip }, Status::Miss, true, ex)
            }
        },
        Ok(Found::Stale(object, hold)) => {
            stale(on, Grip { hold: Some(hold), object: Some(object), ..grip }, apart, rules, protocol, ex)
        }
        Ok(Found::Missing(hold)) => fetch(on, Grip { hold: Some(hold), ..grip }, Status::Miss, true, ex),
        Ok(Found::Locked(_) | Found::Scarce) => fetch(on, grip, Status::Miss, false, ex),
        Ok(Found::Failed(status)) => {
            ex.notes.put(told(on, &grip, Status::Hit));
            Looked::Answer(Flow::Break(Stop::status(status)))
        }
    }
}

pub(crate) fn zone(on: &Caching, ex: &mut Exchange) -> Result<Option<Arc<Zone>>, Stop> {
    let name = match &on.zone {
        By::Zone(zone) => return Ok(Some(zone.clone())),
        By::Name(name) => name.fill_new(ex),
    };
    if name.is_empty() || name == b"off" {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(&name);
    let zones = ex.cycle.shared().get::<Zones>();
    let Some(zone) = zones.and_then(|it| it.0.get(&*name)) else {
        log!(ex, Level::Error, "cache \"{name}\" not found");
        return Err(Stop::status(500));
    };
    Ok(Some(zone.clone()))
}

/// Removes what a key names, or with `*` at its end all that begins like it, or all that has the tags which the request
/// names (`Cache-Tag`, `Surrogate-Key`). With `Soft-Purge: 1` (or Fastly's word for it) it is put out of date only.
async fn purge(zone: &Arc<Zone>, text: &[u8], ex: &Exchange) -> Stop {
    // More was purged lately than anybody can remember: the client may try again.
    let Ok(done) = zone.purge_beside(&meant(text, ex), is_soft(ex)).await else { return Stop::status(503) };
    if let Some(error) = done.unrecorded {
        let (name, why) = (&zone.spec.name, errno_text(&error));
        log!(ex, Level::Crit, "a purge of the cache \"{name}\" is not recorded ({why})");
    }
    if done.found { Reply { status: 204, ..Reply::default() }.into() } else { Stop::status(404) }
}

/// What a request that purges is about: see [`purge`].
pub(crate) fn meant<'a>(text: &'a [u8], ex: &'a Exchange) -> Vec<Purge<'a>> {
    let lines = [&b"cache-tag"[..], b"surrogate-key"].into_iter().flat_map(|name| ex.fields.get_all(name));
    let parts = lines.flat_map(|line| line.split(|b| matches!(b, b',' | b' ' | b'\t')));
    let tags: Vec<_> = parts.filter(|it| !it.is_empty()).map(Purge::Tag).collect();
    match text.strip_suffix(b"*") {
        _ if !tags.is_empty() => tags,
        Some(prefix) => vec![Purge::Prefix(prefix)],
        None => vec![Purge::Key(text)],
    }
}

pub(crate) fn is_soft(ex: &Exchange) -> bool {
    [&b"soft-purge"[..], b"fastly-soft-purge"].iter().any(|it| ex.field(it) == Some(b"1"))
}

/// Looks the object up; waits while somebody else fetches it.
async fn open(on: &Caching, grip: &Grip, wants: Wants, ex: &Exchange) -> Result<Found, Stop> {
    let (mut again, mut let_go) = (false, false);
    let end_ms = clock::ms().saturating_add(clock::as_ms(on.lock_timeout));
    loop {
        let ask = Ask {
            text: &grip.text,
            main: grip.main,
            fields: &ex.fields,
            min_uses: on.min_uses,
            lock_age: on.lock.then_some(on.lock_age),
            again,
            let_go,
            wants,
        };
        let found = grip.zone.open(&ask, ex);
        let Found::Locked(key) = found else { return Ok(found) };
        let left_ms = end_ms.saturating_sub(clock::ms());
        if left_ms == 0 {
            if again {
                log!(ex, Level::Info, "cache lock timeout");
            }
            return Ok(Found::Scarce);
        }
        let mut unlocked = pin!(grip.zone.unlocked(key, on.lock_age, Duration::from_millis(left_ms)));
        let here = poll_fn(|cx| match unlocked.as_mut().poll(cx) {
            Poll::Ready(woken) => {
                let_go = woken == Woken::LetGo;
                Poll::Ready(true)
            }
            Poll::Pending => ex.client.poll_gone(cx).map(|()| false),
        });
        if !here.await {
            return Err(client_gone());
        }
        again = true;
    }
}

/// What is out of date is served all the same, or fetched anew.
fn stale<'a, P: Protocol>(
    on: &'a Caching,
    grip: Grip,
    apart: bool,
    rules: &Rules,
    protocol: &mut P,
    ex: &mut Exchange,
) -> Looked<'a> {
    let now_s = (clock::unix_ms() / 1000).cast_signed();
    let life = grip.object.as_ref().map(Object::life).unwrap_or_default();
    let mut may = on.use_stale_updating || life.valid_s.saturating_add(life.updating_s) >= now_s;
    if on.rfc.is_some() {
        may &= life.error_s != NEVER_STALE && !on.wants(ex).insists();
    }
    let ours = grip.hold.as_ref().is_some_and(Hold::is_right);
    if apart || !may || (ours && !on.background_update) {
        return fetch(on, grip, Status::Expired, true, ex);
    }
    let status = if ours { Status::Stale } else { Status::Updating };
    let served = grip.object.as_ref().and_then(|it| serve(rules, protocol, ex, it, told(on, &grip, status)));
    let Some(reply) = served else { return fetch(on, grip, Status::Expired, true, ex) };
    grip.zone.count(status, grip.object.as_ref().map_or(0, Object::body_bytes));
    if ours {
        let mut child = ex.again();
        child.header_only = true;
        child.notes.put(Handed(Cell::new(Some(grip))));
        if let Some(behind) = Behind::start(child) {
            ex.notes.put(behind);
        }
    }
    Looked::Answer(Flow::Continue(reply))
}

fn told(on: &Caching, grip: &Grip, status: Status) -> Told {
    Told {
        status,
        key: grip.text.clone(),
        dated_s: None,
        modified_s: None,
        etag: None,
        by_rfc: on.rfc.is_some(),
        forwarded: None,
    }
}

/// What may change something is never answered from here; what it has changed is not served any more.
fn write_through<'a, P: Protocol>(
    on: &'a Caching,
    zone: Arc<Zone>,
    protocol: &P,
    ex: &mut Exchange,
) -> Looked<'a> {
    let text = key_text(on, protocol, ex);
    let grip = Grip { zone, main: Key::of(&text), text, hold: None, object: None };
    let looked = fetch(on, grip, Status::Bypass, false, ex);
    ex.notes.take::<Told>();
    match looked {
        Looked::Fetch(Some(fetch)) => {
            Looked::Fetch(Some(Box::new(Fetch { changes: true, why: Forwarded::Method, ..*fetch })))
        }
        looked => looked,
    }
}

/// The upstream is to be asked.
fn fetch<'a>(on: &'a Caching, grip: Grip, status: Status, keeps: bool, ex: &mut Exchange) -> Looked<'a> {
    let asked_us = grip.zone.stamp();
    let (wants, now_s) = (on.wants(ex), (clock::unix_ms() / 1000).cast_signed());
    let mut fetch = Fetch {
        why: why(status, wants, grip.object.as_ref().map(Object::life), now_s),
        asked_s: now_s,
        wants,
        changes: false,
        upstream_status: None,
        told: status,
        on,
        grip,
        asked: AskedFor::default(),
        keeps: keeps && !on.is_far(ex),
        expired: status == Status::Expired,
        apart: ex.notes.get::<Handed>().is_some(),
        asked_us,
        freshness: Freshness::default(),
        modified_s: None,
        etag: Vec::new(),
    };
    if !fetch.keeps {
        fetch.grip.hold = None;
    }
    let mut told = told(on, &fetch.grip, status);
    let revalidates = on.revalidate || wants.by_rfc;
    let known = fetch.grip.object.as_ref().filter(|_| fetch.expired && revalidates);
    if let Some(object) = known {
        told.modified_s = object.modified_s();
        told.etag = Some(object.etag().to_vec()).filter(|it| !it.is_empty());
    }
    fetch.asked = AskedFor {
        as_get: on.convert_head && ex.method == Method::Head,
        whole: fetch.keeps,
        modified: told.modified_s.map(|it| foregate_wire::date::format(it).to_vec()),
        etag: told.etag.clone(),
    };
    ex.notes.put(told);
    Looked::Fetch(Some(Box::new(fetch)))
}

impl Fetch<'_> {
    /// Nobody waits for what comes: [`swallow`] is to read it.
    pub fn is_apart(&self) -> bool {
        self.apart
    }
}

/// Reads to its end an answer that only the cache has use for.
pub async fn swallow(flow: Flow<Reply>) -> Flow<Reply> {
    let status = match flow {
        Flow::Continue(reply) => {
            let mut body = reply.body.into_source();
            while let Ok(Some(_)) = next(&mut *body).await {}
            reply.status
        }
        Flow::Break(Stop::Reply(reply)) => reply.status,
        Flow::Break(_) => 200,
    };
    Flow::Continue(Reply { status, ..Reply::default() })
}
