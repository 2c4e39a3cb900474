//! Answers out of the cache, and what becomes of an upstream's answer that was asked for the cache.

use std::borrow::Cow;
use std::sync::OnceLock;

use foregate_cache::rfc::NEVER_STALE;
use foregate_cache::{Draft, Freshness, Life, Object, Status, Told, Writer};
use foregate_core::{Exchange, Flow, Level, Method, Reply, Stop, log};
use foregate_net::{clock, sys::errno_text};
use foregate_wire::h1::{ResponseHead, ResponseRules, parse_response};
use foregate_wire::{Name, date};

use crate::attempts::AttemptsNote;
use crate::caching::{any, heeds};
use crate::fields::Sieve;
use crate::look::Fetch;
use crate::respond::{Answer, Received, abandon, dress};
use crate::rfc::{Stored, life, may_outlive_error, stored_head};
use crate::rules::{Conditions, Rules};
use crate::run::{Protocol, Run};
use crate::scratch;

/// An object as an answer. `None`: its head does not read, which has been logged.
pub(crate) fn serve<P: Protocol>(
    rules: &Rules,
    protocol: &P,
    ex: &mut Exchange,
    object: &Object,
    told: Told,
) -> Option<Reply> {
    let bytes = object.head();
    let mut head = scratch::head();
    if !read_head(object, &bytes, &mut head) {
        log!(ex, Level::Crit, "a cache file contains invalid header");
        return None;
    }
    let by_rfc = told.by_rfc.then(|| Stored::of(object.life(), told.forwarded, &bytes, &head));
    ex.notes.put(Told { dated_s: Some(object.life().dated_s), ..told });
    ex.notes.get_or_default::<AttemptsNote>().get_mut().head = bytes.clone();
    let sieve = Sieve {
        hidden: &rules.hidden,
        ignored: rules.ignored,
        drops_ranges: true,
        no_upgrade: ex.version >= foregate_core::Version::H2,
    };
    let sifted = sieve.sift(&bytes, &mut head);
    sifted.apply(&bytes, ex);
    let received = Received { bytes: &bytes, head: &head, sifted: &sifted, by_cache: true };
    let mut reply = dress(rules, protocol, ex, &received);
    reply.body = object.body();
    if ex.method == Method::Head && object.body_bytes() == 0 {
        reply.length = head.content_length.filter(|_| !head.chunked);
    }
    scratch::keep(Vec::new(), head);
    if let Some(stored) = by_rfc {
        stored.finish(rules, ex, &mut reply);
    }
    Some(reply)
}

/// `false`: it is none.
fn read_head(object: &Object, bytes: &[u8], head: &mut ResponseHead) -> bool {
    if let Some(known) = object.parsed().and_then(OnceLock::get) {
        head.copy_from(known);
        return true;
    }
    head.clear();
    let parsed = parse_response(bytes, &ResponseRules::default(), head);
    if !matches!(parsed, Ok(Some(_))) {
        return false;
    }
    if let Some(place) = object.parsed() {
        // Somebody else may have been quicker.
        _ = place.set(head.clone());
    }
    true
}

/// What an answer's fields say of how long it may be served.
fn freshness(bytes: &[u8], head: &ResponseHead, rules: &Rules, now_s: i64) -> Freshness {
    let fields = head.fields.iter().map(|it| (it.known, it.value.of(bytes)));
    Freshness::judge(fields, heeds(rules.ignored), now_s)
}

/// What is served for a request that was made for a cache.
pub(crate) enum Met {
    /// What the upstream has just answered.
    Itself(Answer),
    /// What there was before.
    Older(Box<Reply>),
}

impl<P: Protocol> Run<'_, P> {
    /// Where an upstream was asked for the cache: takes note of what its answer says. Something older may be served in
    /// its place.
    pub(crate) fn meet(&mut self, answer: Answer) -> Met {
        if self.cache.as_ref().is_some_and(|it| it.wants.by_rfc) {
            return self.meet_by_rfc(answer);
        }
        let Some(fetch) = self.cache.as_mut() else { return Met::Itself(answer) };
        let now_s = unix_s();
        fetch.freshness = freshness(&answer.bytes, &self.head, self.rules, now_s);
        // Only what is whole can be asked for on condition.
        if matches!(self.head.status, 200 | 206) {
            let find = |name: Name| self.head.find(name).map(|it| it.value.of(&answer.bytes));
            fetch.modified_s = find(Name::LastModified).and_then(date::parse);
            fetch.etag = find(Name::ETag).unwrap_or_default().to_vec();
        }
        let condition = Conditions::of_status(self.head.status);
        let instead = match self.head.status {
            _ if !fetch.expired => None,
            _ if condition.is_some_and(|it| fetch.on.use_stale.contain(it)) => Some(Status::Stale),
            NOT_MODIFIED if fetch.on.revalidate => Some(Status::Revalidated),
            _ => None,
        };
        let Some(status) = instead else {
            if !fetch.freshness.may_be_kept() {
                // Whoever waits for it need not wait any longer.
                fetch.keeps = false;
                fetch.grip.hold = None;
            }
            return Met::Itself(answer);
        };
        if status == Status::Revalidated {
            self.renew(now_s);
        }
        abandon(self, answer);
        Met::Older(Box::new(self.serve_old(status).unwrap_or_else(|| Reply::status(500))))
    }

    /// What an exchange ends with that no peer has answered: something old, or an error that may be remembered.
    pub(crate) fn without_peer(&mut self, condition: Conditions, mut status: u16) -> Flow<Reply> {
        let now_s = unix_s();
        if let Some(fetch) = self.cache.as_mut() {
            let life = fetch.grip.object.as_ref().map(Object::life).unwrap_or_default();
            let lives = life.valid_s.saturating_add(life.error_s) >= now_s
                || (fetch.wants.by_rfc && may_outlive_error(fetch.wants, life, now_s));
            let never = fetch.wants.by_rfc && life.error_s == NEVER_STALE;
            if fetch.expired && never && status == 502 {
                // RFC 9111, section 5.2.2.2.
                status = 504;
            }
            if fetch.expired
                && !never
                && (fetch.on.use_stale.contain(condition) || lives)
                && let Some(reply) = self.serve_old(Status::Stale)
            {
                return Flow::Continue(reply);
            }
        }
        if let Some(fetch) = self.cache.as_mut().filter(|it| it.keeps && matches!(status, 502 | 504)) {
            let seconds = fetch.on.valid.seconds(status);
            if let Some(hold) = fetch.grip.hold.as_mut().filter(|_| seconds > 0) {
                hold.remember_error(status, now_s + seconds);
            }
        }
        Flow::Break(Stop::status(status))
    }

    /// The upstream's answer is left, and what is out of date is served.
    pub(crate) fn serve_old(&mut self, status: Status) -> Option<Reply> {
        let fetch = self.cache.take()?;
        let told = Told { status, ..self.ex.notes.get::<Told>()?.clone() };
        let forwarded = fetch.wants.by_rfc.then_some((fetch.why, fetch.upstream_status));
        let told = Told { forwarded, ..told };
        let served = fetch
            .grip
            .object
            .as_ref()
            .and_then(|object| serve(self.rules, self.protocol, self.ex, object, told));
        if let Some(object) = fetch.grip.object.as_ref().filter(|_| served.is_some()) {
            fetch.grip.zone.count(status, object.body_bytes());
        }
        if served.is_none() {
            self.cache = Some(fetch);
        }
        served
    }

    /// The object was found good again.
    fn renew(&mut self, now_s: i64) {
        let Some(fetch) = self.cache.as_mut() else { return };
        let Some(object) = fetch.grip.object.as_mut() else { return };
        let mut said = std::mem::take(&mut fetch.freshness);
        if said.valid_s == 0 {
            // The 304 says nothing: the same time begins again.
            let head_bytes = object.head();
            let mut head = scratch::head();
            head.clear();
            if let Ok(Some(_)) = parse_response(&head_bytes, &ResponseRules::default(), &mut head) {
                said = freshness(&head_bytes, &head, self.rules, now_s);
            }
            scratch::keep(Vec::new(), head);
        }
        if said.valid_s == 0 {
            let seconds = fetch.on.valid.seconds(object.status());
            said.valid_s = if seconds > 0 { now_s.saturating_add(seconds) } else { 0 };
        }
        if said.valid_s == 0 {
            return;
        }
        let life = Life {
            valid_s: said.valid_s,
            updating_s: said.updating_s,
            error_s: said.error_s,
            dated_s: now_s,
        };
        if let Err(error) = fetch.grip.zone.renew(object, life) {
            let why = errno_text(&error);
            log!(self.ex, Level::Crit, "open() of a cache file failed ({why}) while reading upstream");
        }
    }

    /// Whether the answer goes into the cache as far as is known, so that conditions and ranges are ours to judge.
    pub(crate) fn keeps(&self) -> bool {
        self.cache.as_ref().is_some_and(|it| it.keeps)
    }

    /// The client is watched while the upstream is asked: nobody else has use for the answer.
    pub(crate) fn watches_client(&self) -> bool {
        !self.rules.ignore_client_abort && !self.keeps()
    }

    /// What keeps this answer, if it is kept after all.
    pub(crate) fn writer(&mut self, answer: &Answer, buffering: bool) -> Option<Writer> {
        let fetch = *self.cache.take()?;
        let Fetch { on, grip, keeps, freshness, asked_us, modified_s, etag, wants, told, .. } = fetch;
        if !keeps
            || !buffering
            || answer.head_len == 0
            || self.head.status == 101
            || any(&on.no_cache, self.ex)
        {
            return None;
        }
        let (status, now_s) = (self.head.status, unix_s());
        let valid_s = match (freshness.valid_s, on.valid.seconds(status)) {
            _ if wants.by_rfc => freshness.valid_s,
            (0, 0) => return None,
            (0, seconds) => now_s.saturating_add(seconds),
            (valid_s, _) => valid_s,
        };
        let hold = grip.hold.unwrap_or_else(|| grip.zone.hold(grip.main));
        let mut head = self.kept_head(answer);
        if wants.by_rfc {
            head = Cow::Owned(stored_head(&head, &freshness)?);
        }
        let draft = Draft {
            text: &grip.text,
            main: grip.main,
            vary: &freshness.vary,
            fields: &self.ex.fields,
            by_rfc: wants.by_rfc,
            status,
            told,
            life: Life { valid_s, ..life(&freshness, now_s) },
            asked_us,
            modified_s,
            etag: &etag,
            head: &head,
        };
        Writer::begin(&grip.zone, hold, &draft, &self.rules.temp, &self.ex.reporter())
    }
}

impl<P: Protocol> Run<'_, P> {
    /// The head as it is kept, which begins with a status line.
    fn kept_head<'a>(&self, answer: &'a Answer) -> Cow<'a, [u8]> {
        let head = &answer.bytes[..answer.head_len];
        if !P::RECORDS {
            return Cow::Borrowed(head);
        }
        let status = self.head.status;
        let mut line = format!("HTTP/1.1 {status} ").into_bytes();
        match self.head.status_line.of(head) {
            b"" => {
                line.extend_from_slice(foregate_wire::status::reason(status).unwrap_or_default().as_bytes())
            }
            said => line.extend_from_slice(said.get(4..).unwrap_or_default()),
        }
        line.extend_from_slice(b"\r\n");
        Cow::Owned([&line[..], head].concat())
    }
}

const NOT_MODIFIED: u16 = 304;

pub(crate) fn unix_s() -> i64 {
    (clock::unix_ms() / 1000).cast_signed()
}
