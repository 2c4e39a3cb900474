//! One exchange with an upstream: peers are asked in turn until one answers, and its answer becomes ours.

use std::cell::RefMut;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foregate_core::{BodyError, Exchange, Flow, Level, Reply, Stop, UpstreamFact, Version, log};
use foregate_net::{clock, sys};
use foregate_wire::h1::{ResponseError, ResponseHead};
use foregate_wire::{Buf, Fields};

use crate::attempts::{Asked, Attempts, AttemptsNote};
use crate::carrier::News;
use crate::connect::{Lane, Link, Secure};
use crate::ejection::RetryBudget;
use crate::fields::{Sieve, Sifted};
use crate::group::Group;
use crate::guard::{Cut, guarded};
use crate::look::{AskedFor, Fetch};
use crate::pick::{Outcome, Pick};
use crate::respond::{self, Answer};
use crate::rules::{Conditions, Rules};
use crate::scratch;
use crate::serve::Met;
use crate::views::View;
use crate::{names, records, send};

/// What differs between `proxy`, `fastcgi` and their kin.
pub trait Protocol {
    /// Answers come in records, and errors are told beside them (FastCGI).
    const RECORDS: bool = false;

    /// HTTP/2 is spoken: `begin` writes a [`foregate_wire::h2::client::Draft`].
    const H2: bool = false;

    /// Where answers come in records: the peer leaves the connection open behind them.
    fn keeps_connection(&self) -> bool {
        false
    }

    /// Where answers come in records: such words among the errors make an answer invalid.
    fn is_caught(&self, _stderr: &[u8]) -> bool {
        false
    }

    /// Appends what goes out ahead of the request's body. Called once, whatever the number of tries. `asked`: the request
    /// is made for a cache, which wants this.
    ///
    /// # Errors
    /// The answer, where no request can be made; it has been logged.
    fn begin(&mut self, ex: &mut Exchange, asked: Option<&AskedFor>, out: &mut Vec<u8>) -> Result<(), Stop>;

    /// How the body's pieces are framed, where it is passed on as it comes.
    fn frames(&self, ex: &Exchange) -> Frames;

    /// Reads a response's head, with the contract of `parse_response`.
    ///
    /// # Errors
    /// The peer's mistake.
    fn parse(&mut self, bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError>;

    /// Rewrites what a response says about places and cookies; true where `Location` has changed.
    fn rewrite(&self, ex: &mut Exchange, fields: &mut Fields) -> bool;

    /// The upstream's URL without scheme and peer, for the log.
    fn uri(&self, ex: &Exchange) -> Vec<u8>;

    /// `http://`: what stands before the peer's name in the log.
    fn scheme(&self) -> &str;

    /// A 101 may end HTTP on this connection.
    fn may_upgrade(&self, ex: &Exchange) -> bool;

    /// Appends what objects are found by in a cache, where the configuration does not say it.
    fn cache_key(&self, _: &Exchange, _: &mut Vec<u8>) {}
}

/// How a request's body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// As it is.
    Raw,
    /// In chunks.
    Chunked,
    /// In records, of which an empty one comes last, whether or not there is a body.
    Records,
    /// Not at all.
    None,
}

/// Where a request goes.
pub struct Route<'a> {
    pub view: Rc<View>,
    /// TLS is spoken, where this is set.
    pub secure: Option<&'a dyn Secure>,
}

/// Why a try did not bring an answer.
pub(crate) enum Fault {
    /// Another peer may be asked, if the rules say so. It has been logged.
    Next(Conditions),
    /// The exchange is over.
    End(Stop),
}

/// Passes an exchange's request on and brings the answer.
///
/// `cache`: it is made for a cache that has been looked into (see [`crate::look()`]).
pub async fn run<'a, P: Protocol>(
    rules: &'a Rules,
    route: Route<'a>,
    protocol: &'a mut P,
    ex: &'a mut Exchange,
    cache: Option<Box<Fetch<'a>>>,
) -> Flow<Reply> {
    if let Some(group) = &route.view.group {
        names::keep_fresh(group, ex.cycle.error_log(ex.location));
    }
    if rules.pass_request_body && ex.body.source.is_some() {
        match rules.request_buffering {
            false => ex.read_body_at_hand(),
            true => {
                // Boxed, as are all parts of a request that are rare: every exchange holds the others' room.
                if let Err(error) = Box::pin(ex.read_body()).await {
                    return Flow::Break(body_failed(error));
                }
            }
        }
    }
    let mut out = scratch::bytes();
    if let Err(stop) = protocol.begin(ex, cache.as_ref().map(|it| &it.asked), &mut out) {
        return Flow::Break(stop);
    }
    if let Some(budget) = route.view.group.as_ref().and_then(|it| it.retry_budget.as_ref()) {
        budget.count(clock::unix_ms() / 1000);
    }
    let pick = Pick::new(route.view.clone(), ex, rules.next_tries);
    let attempts = ex.notes.hold::<AttemptsNote>();
    attempts.borrow_mut().separate();
    let head = scratch::head();
    let mut run = Run {
        rules,
        route,
        protocol,
        ex,
        out,
        pick,
        head,
        attempts,
        request_sent: false,
        reused: false,
        body_gone: false,
        started: clock::ms() as u32,
        cache,
    };
    let flow = run.tries().await;
    let Run { out, head, .. } = run;
    scratch::keep(out, head);
    flow
}

/// What an exchange ends with when its request's body cannot be read.
pub(crate) fn body_failed(error: BodyError) -> Stop {
    match error {
        BodyError::ClientGone => client_gone(),
        error => Stop::status(error.status()),
    }
}

/// nginx logs 499 for a client that did not wait.
pub(crate) fn client_gone() -> Stop {
    let mut reply = Reply::status(499);
    reply.close = true;
    reply.into()
}

pub(crate) struct Run<'a, P> {
    pub(crate) rules: &'a Rules,
    pub(crate) route: Route<'a>,
    pub(crate) protocol: &'a mut P,
    pub(crate) ex: &'a mut Exchange,
    /// The request's head, and its body where that is short.
    pub(crate) out: Vec<u8>,
    pub(crate) pick: Pick,
    pub(crate) head: Box<ResponseHead>,
    attempts: Rc<AttemptsNote>,
    /// `clock::ms` of the first try's start; it begins anew every 49 days, longer than any exchange may take.
    started: u32,
    /// Some of the request went out in this try.
    pub(crate) request_sent: bool,
    /// Some of the body went out that cannot be had again.
    pub(crate) body_gone: bool,
    /// This try's connection had served before.
    pub(crate) reused: bool,
    /// What the request is made for, where that is a cache.
    pub(crate) cache: Option<Box<Fetch<'a>>>,
}

impl<P: Protocol> Run<'_, P> {
    async fn tries(&mut self) -> Flow<Reply> {
        loop {
            let condition = match self.try_one().await {
                Ok(reply) => return Flow::Continue(reply),
                Err(Fault::Next(condition)) => {
                    self.tell_carried();
                    condition
                }
                Err(Fault::End(stop)) => {
                    self.attempts().end(clock::ms());
                    return Flow::Break(stop);
                }
            };
            if let Some(status) = self.gives_up(condition) {
                return self.without_peer(condition, status);
            }
        }
    }

    /// What has gone to the peer and come from it counts as its own.
    fn tell_carried(&self) {
        let mut attempts = self.attempts();
        let last = attempts.last();
        self.pick.carried(last.bytes_sent, last.bytes_received);
    }

    /// Settles a failed try; the status to answer with, unless another peer is asked.
    fn gives_up(&mut self, mut condition: Conditions) -> Option<u16> {
        let now_s = clock::unix_ms() / 1000;
        let outcome = match condition {
            Conditions::HTTP_403 | Conditions::HTTP_404 => Outcome::Next,
            _ => Outcome::Failed,
        };
        if self.pick.done(outcome, now_s) {
            self.report(
                Level::Warn,
                format_args!("upstream server temporarily disabled while {}", self.step()),
            );
        }
        if self.reused && condition == Conditions::ERROR {
            self.pick.try_once_more();
        }
        let status = condition.status();
        let mut attempts = self.attempts();
        attempts.last().status = status;
        attempts.end(clock::ms());
        drop(attempts);
        if self.request_sent && !self.ex.method.is_retried() {
            condition = condition.and(Conditions::NON_IDEMPOTENT);
        }
        let over = self.pick.tries() == 0
            || !self.rules.next.contain(condition)
            || (self.request_sent && self.streams())
            || self.body_gone
            || self.is_late();
        if over {
            return Some(status);
        }
        // A kept connection that was closed meanwhile is nobody's failure.
        if self.reused && condition.contain(Conditions::ERROR) {
            return None;
        }
        if !self.may_retry() {
            self.report(
                Level::Error,
                format_args!("the retry budget of the upstream is spent while {}", self.step()),
            );
            return Some(status);
        }
        if let Some(budget) = self.budget() {
            budget.spend();
        }
        None
    }

    fn budget(&self) -> Option<&RetryBudget> {
        self.route.view.group.as_ref()?.retry_budget.as_ref()
    }

    fn may_retry(&self) -> bool {
        self.budget().is_none_or(RetryBudget::allows)
    }

    fn step(&self) -> &'static str {
        match self.request_sent {
            true => "reading response header from upstream",
            false => "connecting to upstream",
        }
    }

    fn is_late(&self) -> bool {
        let limit = self.rules.next_timeout;
        !limit.is_zero() && u128::from((clock::ms() as u32).wrapping_sub(self.started)) >= limit.as_millis()
    }

    /// The request's body goes out as it comes, so that it cannot be sent twice.
    pub(crate) fn streams(&self) -> bool {
        self.ex.body.source.is_some() && self.rules.pass_request_body
    }

    async fn try_one(&mut self) -> Result<Reply, Fault> {
        (self.request_sent, self.reused) = (false, false);
        self.choose().await?;
        let (mut link, lane) = self.connect().await?;
        self.request_sent = true;
        let sent_all = send::send(self, &mut link).await?;
        let (bytes, head_len) = self.read_head(&mut link).await?;
        self.judge()?;
        self.answer(link, lane, sent_all, bytes, head_len)
    }

    async fn choose(&mut self) -> Result<(), Fault> {
        if self.route.view.is_empty()
            && let Some(group) = self.route.view.group.clone()
        {
            // Boxed, as it is rare and its future large.
            Box::pin(names::first(&group)).await;
            self.route.view = View::of(&group);
            self.pick = Pick::new(self.route.view.clone(), self.ex, self.rules.next_tries);
        }
        let mut found = self.pick.next(clock::unix_ms() / 1000);
        if !found && let Some(group) = self.route.view.group.clone().filter(|it| it.queue.is_some()) {
            found = Box::pin(self.queue(&group)).await?;
        }
        let asked = if found { self.pick.asked() } else { Some(Asked::Group(self.route.view.clone())) };
        let mut attempts = self.attempts();
        attempts.begin(clock::ms());
        attempts.last().peer = asked;
        drop(attempts);
        if found {
            return Ok(());
        }
        let view = self.route.view.clone();
        let nameless = view.is_empty() && view.group.as_ref().is_none_or(|it| !it.unresolved().is_empty());
        match nameless {
            true => self.report(Level::Error, format_args!("host not found in upstream \"{}\"", view.name)),
            false => {
                self.report(Level::Error, format_args!("no live upstreams while connecting to upstream"))
            }
        }
        Err(Fault::Next(Conditions::NO_LIVE))
    }

    /// Waits until a peer may be asked; false where none was in time, or others wait already.
    async fn queue(&mut self, group: &Arc<Group>) -> Result<bool, Fault> {
        let Some((queue, place)) = group.queue.as_ref().and_then(|it| Some((it, it.enter()?))) else {
            return Ok(false);
        };
        let client = self.watches_client().then(|| self.ex.client.clone());
        let (deadline, begun) = (clock::Deadline::new(), clock::ms());
        loop {
            let waited = Duration::from_millis(clock::ms() - begun);
            self.attempts().queued_ms = waited.as_millis() as u64;
            let left = queue.timeout.saturating_sub(waited);
            if left.is_zero() {
                return Ok(false);
            }
            match guarded(&deadline, left, client.as_deref(), place.called()).await {
                Ok(()) | Err(Cut::TimedOut) => (),
                Err(cut) => return Err(self.cut(cut, "waiting in the queue of the upstream")),
            }
            self.route.view = View::of(group);
            self.pick.again(self.route.view.clone(), self.ex);
            if self.pick.next(clock::unix_ms() / 1000) {
                self.attempts().queued_ms = clock::ms() - begun;
                return Ok(true);
            }
        }
    }

    /// Time ran out, or the client went away.
    pub(crate) fn cut(&mut self, cut: Cut, step: &str) -> Fault {
        match cut {
            Cut::TimedOut => {
                let text = format_args!("upstream timed out (110: Connection timed out) while {step}");
                self.report(Level::Error, text);
                Fault::Next(Conditions::TIMEOUT)
            }
            Cut::ClientGone => {
                let text = "epoll_wait() reported that client prematurely closed connection, \
                            so upstream connection is closed too";
                self.report(Level::Info, format_args!("{text} while {step}"));
                Fault::End(client_gone())
            }
        }
    }

    pub(crate) fn failed(&mut self, call: &str, error: &std::io::Error, step: &str) -> Fault {
        let why = sys::errno_text(error);
        self.report(Level::Error, format_args!("{call} failed ({why}) while {step}"));
        Fault::Next(Conditions::ERROR)
    }

    /// Reads until a final response's head is complete: its bytes with whatever follows, and its length.
    async fn read_head(&mut self, link: &mut Link) -> Result<(Buf, usize), Fault> {
        const STEP: &str = "reading response header from upstream";
        self.head.clear();
        let mut bytes = Buf::default();
        let mut hints = 0;
        loop {
            let Link { conn, deadline, carrier, .. } = &mut *link;
            let (limit, step) =
                carrier.as_ref().map_or((self.rules.read_timeout, STEP), |it| it.patience(self.rules));
            let is_fed = P::H2 && carrier.as_mut().and_then(|it| it.h2()).is_some_and(|it| it.is_fed());
            let watches = self.watches_client() && !self.streams() && !is_fed;
            let client = watches.then(|| self.ex.client.clone());
            let work = poll_fn(|cx| match carrier {
                None => conn.poll_recv(cx),
                Some(carrier) => carrier.poll_recv(conn, cx),
            });
            let more = guarded(deadline, limit, client.as_deref(), work).await;
            let more = match more {
                Ok(Ok(more)) if more.is_empty() => {
                    if let Some(news) = link.news() {
                        self.hear(&news)?;
                        continue;
                    }
                    self.report(
                        Level::Error,
                        format_args!("upstream prematurely closed connection while {STEP}"),
                    );
                    return Err(Fault::Next(Conditions::ERROR));
                }
                Ok(Ok(more)) => more,
                Ok(Err(error)) => return Err(self.failed("recv()", &error, STEP)),
                Err(cut) => return Err(self.cut(cut, step)),
            };
            self.attempts().last().bytes_received += more.len() as u64;
            bytes = if bytes.is_empty() { more } else { Buf::from_vec([&bytes[..], &more].concat()) };
            while !bytes.is_empty() {
                let parsed = self.protocol.parse(&bytes, &mut self.head);
                let parsed = parsed.map_err(|error| self.invalid_head(&bytes, &error))?;
                // Heads that come in frames have been measured already.
                let within = P::H2 || parsed.unwrap_or(bytes.len() + 1) <= self.rules.head_max;
                if !within && (parsed.is_some() || bytes.len() >= self.rules.head_max) {
                    self.report(Level::Error, format_args!("upstream sent too big header while {STEP}"));
                    return Err(Fault::Next(Conditions::INVALID_HEADER));
                }
                let Some(length) = parsed else { break };
                if !self.head.is_interim() {
                    return Ok((bytes, length));
                }
                hints += length;
                self.interim(&bytes, hints).await;
                bytes.advance(length);
                self.head.clear();
            }
        }
    }

    /// Something else came while the head was waited for.
    fn hear(&mut self, news: &News) -> Result<(), Fault> {
        const STEP: &str = "reading response header from upstream";
        let text = match news {
            News::Stderr(bytes) => {
                self.report(Level::Error, format_args!("{} while {STEP}", records::said(bytes)));
                return match self.protocol.is_caught(bytes) {
                    true => Err(Fault::Next(Conditions::INVALID_HEADER)),
                    false => Ok(()),
                };
            }
            News::StdoutOver => "upstream prematurely closed FastCGI stdout".to_owned(),
            News::End { .. } => "upstream sent unexpected FastCGI record: 3".to_owned(),
            News::Turned => return Ok(()),
            News::Bodyless(error) => return Err(Fault::End(body_failed(*error))),
            News::Wrong(text) | News::Refused(text) => text.clone(),
        };
        self.report(Level::Error, format_args!("{text} while {STEP}"));
        if self.reused && matches!(news, News::Refused(_)) {
            // As a kept connection that was closed meanwhile: nobody has seen the request.
            self.request_sent = false;
            return Err(Fault::Next(Conditions::ERROR));
        }
        Err(Fault::Next(Conditions::INVALID_HEADER))
    }

    fn invalid_head(&mut self, bytes: &[u8], error: &ResponseError) -> Fault {
        let text = error.text(bytes);
        let text = String::from_utf8_lossy(&text);
        self.report(Level::Error, format_args!("{text} while reading response header from upstream"));
        Fault::Next(Conditions::INVALID_HEADER)
    }

    /// 103 goes on to the client where the rules say so; other interim responses are ours alone.
    async fn interim(&mut self, bytes: &[u8], hints: usize) {
        let wanted = |value: Vec<u8>| !value.is_empty() && value != b"0";
        let rules = self.rules;
        if self.head.status != 103 || !rules.early_hints.iter().any(|it| wanted(it.fill_new(self.ex))) {
            return;
        }
        if hints > rules.head_max {
            self.report(Level::Info, format_args!("upstream sent too big early hints"));
            return;
        }
        self.head.fields.retain(|it| !rules.hidden.has(it.name.of(bytes)));
        let mut fields = Fields::new();
        fields.load(bytes, &self.head.fields);
        let client = self.ex.client.clone();
        client.send_interim(103, &fields).await;
    }

    /// Notes the answer's status; an error may be a reason to ask another peer.
    fn judge(&mut self) -> Result<(), Fault> {
        let status = self.head.status;
        let mut attempts = self.attempts();
        let age = attempts.age_ms(clock::ms());
        let last = attempts.last();
        (last.status, last.header_ms) = (status, Some(age));
        drop(attempts);
        if self.pick.head_came(status, clock::unix_ms() / 1000) {
            self.report(
                Level::Warn,
                format_args!(
                    "upstream server ejected for its errors while reading response header from upstream"
                ),
            );
        }
        let Some(condition) = Conditions::of_status(status) else { return Ok(()) };
        let mut needed = condition;
        if !self.ex.method.is_retried() {
            needed = needed.and(Conditions::NON_IDEMPOTENT);
        }
        let more = self.pick.tries() > 1 && !self.streams() && !self.body_gone && !self.is_late();
        match more && self.rules.next.contain(needed) && self.may_retry() {
            true => Err(Fault::Next(condition)),
            false => Ok(()),
        }
    }

    /// The peer's answer becomes ours.
    fn answer(
        &mut self,
        mut link: Box<Link>,
        lane: Lane,
        sent_all: bool,
        bytes: Buf,
        head_len: usize,
    ) -> Result<Reply, Fault> {
        if let (true, Some((h2, _))) = (P::H2, link.h2()) {
            self.ex.body.read_bytes += h2.take_fed();
            self.attempts().last().bytes_sent += h2.take_sent();
        }
        self.tell_carried();
        let sifted = Sifted::default();
        let mut answer = Answer { link, lane, sent_all, bytes, head_len, sifted };
        if let Some(cache) = &mut self.cache {
            if let Some(hold) = &mut cache.grip.hold {
                hold.answered();
            }
            answer = match self.meet(answer) {
                Met::Older(reply) => return Ok(*reply),
                Met::Itself(answer) => answer,
            };
        }
        let sieve = Sieve {
            hidden: &self.rules.hidden,
            ignored: self.rules.ignored,
            drops_ranges: self.rules.force_ranges || self.keeps(),
            no_upgrade: self.ex.version >= Version::H2,
        };
        answer.sifted = sieve.sift(&answer.bytes, &mut self.head);
        self.complain(&answer.bytes, &answer.sifted);
        answer.sifted.apply(&answer.bytes, self.ex);
        if answer.sifted.redirect.is_some() {
            return Err(Fault::End(respond::redirect(self, answer)));
        }
        Ok(respond::reply(self, answer))
    }

    fn complain(&mut self, bytes: &[u8], sifted: &Sifted) {
        let text = |span: foregate_wire::Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        for (field, first) in &sifted.repeated {
            self.report(
                Level::Warn,
                format_args!(
                    "upstream sent duplicate header line: \"{}: {}\", previous value: \"{}: {}\", ignored \
                     while reading response header from upstream",
                    text(field.name),
                    text(field.value),
                    text(first.name),
                    text(first.value)
                ),
            );
        }
    }

    pub(crate) fn attempts(&self) -> RefMut<'_, Attempts> {
        self.attempts.borrow_mut()
    }

    /// Writes to the error log, with the upstream's URL among the facts.
    pub(crate) fn report(&mut self, level: Level, text: std::fmt::Arguments<'_>) {
        if !self.ex.cycle.error_log(self.ex.location).wants(level) {
            return;
        }
        self.tell_upstream();
        log!(self.ex, level, "{text}");
    }

    /// Lines about this exchange name the peer from now on.
    pub(crate) fn tell_upstream(&mut self) {
        let asked = self.attempts().last().peer.clone();
        let (name, unix) = match &asked {
            Some(asked) => (asked.name(), asked.is_unix()),
            None => return,
        };
        let uri = self.protocol.uri(self.ex);
        let between = if unix { ":" } else { "" };
        let url = format!("{}{name}{between}{}", self.protocol.scheme(), String::from_utf8_lossy(&uri));
        self.ex.notes.put(UpstreamFact(url));
    }
}
