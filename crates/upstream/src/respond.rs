//! From a peer's head to our reply: fields, and where the body comes from.

use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use foregate_cache::Fill;
use foregate_core::{Body, BodyError, Exchange, KeptFields, Level, Method, Reply, Source, Stop};
use foregate_net::clock;
use foregate_wire::h1::{ChunkedDecoder, Framing, ResponseHead, Step};
use foregate_wire::{Buf, Fields, Name, status, uri};

use crate::attempts::Progress;
use crate::body::{Decoder, UpstreamBody};
use crate::connect::{Lane, Link};
use crate::fields::{KEPT, Sifted};
use crate::pick::Hold;
use crate::rfc::Passed;
use crate::rules::Rules;
use crate::run::{Protocol, Run};
use crate::store::Replica;
use crate::tunnel::UpstreamTunnel;

/// A peer's answer, its head read and sifted.
pub(crate) struct Answer {
    pub(crate) link: Box<Link>,
    pub(crate) lane: Lane,
    /// The whole request went out, so that the connection may serve again.
    pub(crate) sent_all: bool,
    /// The head and what was read behind it.
    pub(crate) bytes: Buf,
    pub(crate) head_len: usize,
    pub(crate) sifted: Sifted,
}

/// A head as received, whether just now or when it went into the cache.
pub(crate) struct Received<'a> {
    pub(crate) bytes: &'a Buf,
    pub(crate) head: &'a ResponseHead,
    pub(crate) sifted: &'a Sifted,
    /// The request was made for a cache, so that conditions and ranges are ours to judge.
    pub(crate) by_cache: bool,
}

/// The answer without its body.
pub(crate) fn dress<P: Protocol>(
    rules: &Rules,
    protocol: &P,
    ex: &mut Exchange,
    received: &Received<'_>,
) -> Reply {
    let Received { bytes, head, sifted, by_cache } = *received;
    let mut reply = Reply { status: head.status, interceptable: rules.intercept_errors, ..Reply::default() };
    reply.reason = reason(bytes, head.status, head.status_line.range());
    reply.fields.load(bytes, &head.fields);
    // Where the upstream's own are passed on and it says nothing, nothing is said: not ours either.
    for name in [Name::Server, Name::Date] {
        if !rules.hidden.known().has(name) && !head.names.has(name) {
            reply.fields.push(name, b"");
        }
    }
    reply.foreign_location = true;
    reply.conditions_judged = !by_cache;
    if sifted.may_be_rewritten {
        reply.foreign_location = !protocol.rewrite(ex, &mut reply.fields);
    }
    reply.allow_ranges = rules.force_ranges || (by_cache && head.names.has(Name::AcceptRanges));
    if rules.force_ranges || by_cache {
        let modified = sifted.last_modified.map(|it| it.of(bytes));
        reply.mtime = modified.and_then(foregate_wire::date::parse);
    }
    reply
}

pub(crate) fn reply<P: Protocol>(run: &mut Run<'_, P>, answer: Answer) -> Reply {
    // What is said of sessions and rates may be made of what the peer says.
    run.attempts().head = answer.bytes.slice(0..answer.head_len);
    let by_cache = run.keeps();
    let received = Received { bytes: &answer.bytes, head: &run.head, sifted: &answer.sifted, by_cache };
    let mut reply = dress(run.rules, run.protocol, run.ex, &received);
    stick(run, &mut reply.fields);
    if run.head.framing == Framing::Empty {
        reply.length = run.head.content_length.filter(|_| !run.head.chunked);
    }
    let passed = Passed::of(run.cache.as_deref());
    if let Some(fetch) = run.cache.as_ref().filter(|it| !it.changes) {
        fetch.grip.zone.count(fetch.told, run.head.content_length.unwrap_or(0));
    }
    if run.cache.is_some() {
        let buffering = answer.sifted.buffering.unwrap_or(run.rules.buffering);
        if let Some(mut writer) = run.writer(&answer, buffering) {
            let (ahead_max, reporter) = (run.rules.ahead_max, run.ex.reporter());
            if P::RECORDS || run.head.framing != Framing::UntilClose {
                writer.share();
            }
            let body = body(run, answer, false);
            reply.body = Fill::attach(body, writer, ahead_max, reporter);
            if let Some(passed) = passed {
                passed.finish(run.rules, run.ex, &mut reply, true);
            }
            return reply;
        }
    }
    let copy = copy(run, &answer);
    reply.body = body(run, answer, true);
    if let Some(copy) = copy {
        reply.body = copy.attach(std::mem::take(&mut reply.body));
    }
    if let Some(passed) = passed {
        passed.finish(run.rules, run.ex, &mut reply, false);
    }
    reply
}

/// Leaves an answer that is not served. Its connection may serve again where nothing more is to come.
pub(crate) fn abandon<P: Protocol>(run: &mut Run<'_, P>, answer: Answer) {
    drop(body(run, answer, false));
}

/// The client will be known again.
fn stick<P: Protocol>(run: &mut Run<'_, P>, fields: &mut Fields) {
    let view = run.route.view.clone();
    let (Some(sticky), Some(peer)) = (view.sticky(), run.pick.peer()) else { return };
    let id = peer.id.clone();
    if let Some(cookie) = sticky.set_cookie(run.ex, &id) {
        fields.push(b"Set-Cookie", &cookie);
    }
    run.pick.lesson = sticky.learn(run.ex, &id);
}

/// The copy that `proxy_store` keeps, where this answer is one to keep.
fn copy<P: Protocol>(run: &mut Run<'_, P>, answer: &Answer) -> Option<Replica> {
    let rules = run.rules;
    let store = rules.store.as_ref()?;
    let has_body = run.head.framing != Framing::Empty || run.head.content_length == Some(0);
    if run.head.status != 200 || run.ex.method == Method::Head || !has_body {
        return None;
    }
    let path = store.path.fill_new(run.ex);
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(path));
    let modified = answer.sifted.last_modified.map(|it| it.of(&answer.bytes));
    let modified = modified.and_then(foregate_wire::date::parse);
    Some(Replica::new(path, store.access, modified, rules.temp.clone(), run.ex.reporter()))
}

/// The answer names another place for the client to be served from.
pub(crate) fn redirect<P: Protocol>(run: &mut Run<'_, P>, answer: Answer) -> Stop {
    let to = answer.sifted.redirect.map(|it| it.of(&answer.bytes).to_vec()).unwrap_or_default();
    run.head.fields.retain(|it| KEPT.has(it.known));
    let mut kept = Fields::new();
    kept.load(&answer.bytes, &run.head.fields);
    run.protocol.rewrite(run.ex, &mut kept);
    run.ex.notes.put(KeptFields(kept));
    abandon(run, answer);
    if let Some(name) = to.strip_prefix(b"@") {
        return Stop::Named(name.to_vec());
    }
    let Ok((path, args)) = uri::split_foreign(&to) else {
        let to = String::from_utf8_lossy(&to).into_owned();
        run.report(Level::Error, format_args!("unsafe URI \"{to}\" was detected"));
        return Stop::status(404);
    };
    if run.ex.method != Method::Head {
        run.ex.method = Method::Get;
        run.ex.method_name = b"GET".to_vec();
    }
    Stop::Redirect { uri: path.into_owned(), args: args.to_vec() }
}

/// The reason phrase, where it is not the usual one.
fn reason(bytes: &Buf, code: u16, line: std::ops::Range<usize>) -> Option<Buf> {
    const CODE_AND_BLANK: usize = 4;
    if line.is_empty() {
        return None;
    }
    let start = (line.start + CODE_AND_BLANK).min(line.end);
    let said = &bytes[start..line.end];
    let usual = status::reason(code).is_some_and(|it| it.as_bytes() == said);
    (!usual).then(|| Buf::copy_from(said))
}

/// `ahead`: what a slow client does not take is read all the same.
fn body<P: Protocol>(run: &mut Run<'_, P>, answer: Answer, ahead: bool) -> Body {
    let Answer { mut link, lane, sent_all, bytes, head_len, sifted } = answer;
    let rest = bytes.slice(head_len..bytes.len());
    if run.head.status == 101 && run.protocol.may_upgrade(run.ex) {
        return tunnel(run, link, &bytes[..head_len], rest);
    }
    let framing = run.head.framing;
    let keep = sent_all && (run.head.keeps_alive() || link.carrier.as_ref().is_some_and(|it| it.keeps()));
    // Of an answer in frames it is known whether anything follows its head.
    let is_over = P::H2 && link.h2().is_some_and(|(h2, _)| h2.is_over());
    let buffering = sifted.buffering.unwrap_or(run.rules.buffering);
    let rate = if buffering { rate(run) } else { None };
    let whole = match framing {
        _ if rate.is_some() && framing != Framing::Empty => None,
        // Of an application that says more to HEAD than it should, a cache takes it.
        Framing::Empty if P::RECORDS && !ahead && !matches!(run.head.status, 204 | 304) => None,
        Framing::Empty if P::H2 && !is_over => None,
        Framing::UntilClose if is_over => Some((Body::Empty, 0)),
        Framing::Empty => Some((Body::Empty, 0)),
        _ if P::RECORDS || P::H2 => None,
        Framing::Length(length) if rest.len() as u64 >= length => {
            Some((Body::Bytes(rest.slice(0..length as usize)), length as usize))
        }
        Framing::Chunked => {
            whole_chunks(&rest, run.rules.pass_trailers).map(|(body, used)| (Body::Source(body), used))
        }
        _ => None,
    };
    if let Some((body, used)) = whole {
        end(run, &bytes, head_len, rest.len());
        if P::RECORDS {
            // The request goes on at the peer, and nobody waits for its end.
            drop(link);
        } else if used < rest.len() {
            surplus(run, framing);
        } else if keep && (!P::H2 || link.h2().is_some_and(|(h2, conn)| h2.settle(conn))) {
            park(run, link, lane);
        }
        run.pick.hold();
        return body;
    }
    if !buffering {
        run.ex.limit_rate = Some(0);
    }
    let mut body = stream(run, link, &bytes[..head_len], rest, framing);
    body.kept = keep.then(|| (run.route.view.clone(), lane));
    body.limit_rate(rate);
    if buffering && ahead {
        body.read_ahead(run.rules.ahead_max, run.rules.file_max, &run.rules.temp);
    }
    Body::Source(Box::new(body))
}

/// `proxy_limit_rate` for this exchange, bytes a second.
fn rate<P: Protocol>(run: &mut Run<'_, P>) -> Option<u64> {
    let text = run.rules.limit_rate.as_ref()?.fill_new(run.ex);
    foregate_conf::value::size(std::str::from_utf8(&text).ok()?).filter(|it| *it > 0)
}

/// The whole answer is here.
fn end<P: Protocol>(run: &mut Run<'_, P>, bytes: &Buf, head_len: usize, rest_len: usize) {
    let mut attempts = run.attempts();
    attempts.head = bytes.slice(0..head_len);
    attempts.last().response_bytes = rest_len as u64;
    attempts.end(clock::ms());
}

fn surplus<P: Protocol>(run: &mut Run<'_, P>, framing: Framing) {
    let text = match framing {
        Framing::Chunked => "upstream sent data after final chunk while reading upstream",
        _ => "upstream sent more data than specified in \"Content-Length\" header while reading upstream",
    };
    run.report(Level::Warn, format_args!("{text}"));
}

fn park<P: Protocol>(run: &Run<'_, P>, link: Box<Link>, lane: Lane) {
    let view = &run.route.view;
    if let (Some(idle), Some(rules)) = (&view.idle, view.keepalive()) {
        idle.park(link, lane, rules);
    }
}

fn tunnel<P: Protocol>(run: &mut Run<'_, P>, link: Box<Link>, head: &[u8], rest: Buf) -> Body {
    let progress = progress(run, head, &rest);
    run.tell_upstream();
    let begun = run.attempts().begun().unwrap_or_else(clock::ms);
    let hold = hold(run, &progress);
    Body::Tunnel(Box::new(UpstreamTunnel {
        link,
        rest,
        read_timeout: run.rules.read_timeout,
        send_timeout: run.rules.send_timeout,
        progress,
        begun,
        hold,
        reporter: run.ex.reporter(),
    }))
}

/// Later facts of this try reach its note through here.
fn progress<P: Protocol>(run: &mut Run<'_, P>, head: &[u8], rest: &Buf) -> Rc<Progress> {
    let progress = Rc::new(Progress::default());
    let mut attempts = run.attempts();
    attempts.head = Buf::copy_from(head);
    attempts.last().response_bytes = rest.len() as u64;
    attempts.live = Some(progress.clone());
    drop(attempts);
    progress
}

/// The peer, as long as what it sends tells of itself.
fn hold<P: Protocol>(run: &mut Run<'_, P>, progress: &Rc<Progress>) -> Option<Hold> {
    let mut hold = run.pick.hold()?;
    hold.live = Some(progress.clone());
    Some(hold)
}

/// A body that is still on its way.
fn stream<P: Protocol>(
    run: &mut Run<'_, P>,
    link: Box<Link>,
    head: &[u8],
    rest: Buf,
    framing: Framing,
) -> UpstreamBody {
    let decoder = match framing {
        Framing::Empty if P::RECORDS => Decoder::RecordsToHead(run.head.content_length),
        Framing::Empty if P::H2 => Decoder::Records(Some(0)),
        Framing::Length(length) if P::RECORDS || P::H2 => Decoder::Records(Some(length)),
        _ if P::RECORDS || P::H2 => Decoder::Records(None),
        Framing::Length(length) => Decoder::Length(length),
        Framing::Chunked if run.rules.pass_trailers => {
            Decoder::Chunked(ChunkedDecoder::with_trailers().into())
        }
        Framing::Chunked => Decoder::Chunked(ChunkedDecoder::new().into()),
        Framing::Empty | Framing::UntilClose => Decoder::UntilClose,
    };
    let progress = progress(run, head, &rest);
    run.tell_upstream();
    let begun = run.attempts().begun().unwrap_or_else(clock::ms);
    let hold = hold(run, &progress);
    let mut body = UpstreamBody::new(link, rest, decoder, progress, begun, run.ex.reporter());
    body.read_timeout = run.rules.read_timeout;
    body.hold = hold;
    body.hidden = run.rules.pass_trailers.then(|| run.rules.hidden.clone());
    body
}

/// A chunked body of which all has arrived already: its pieces, and the bytes that it took.
fn whole_chunks(rest: &Buf, trailers: bool) -> Option<(Box<dyn Source>, usize)> {
    let mut decoder = if trailers { ChunkedDecoder::with_trailers() } else { ChunkedDecoder::new() };
    let mut pieces = Vec::new();
    let mut at = 0;
    loop {
        match decoder.decode(&rest[at..]).ok()? {
            Step::Data(range) => {
                pieces.push(rest.slice(at + range.start..at + range.end));
                at += range.end;
            }
            Step::More => return None,
            Step::End(used) => {
                pieces.reverse();
                let trailers = decoder.trailers().ok()?;
                return Some((Box::new(Whole { pieces, trailers }), at + used));
            }
        }
    }
}

/// Pieces of a body whose length was not announced, the last one first.
struct Whole {
    pieces: Vec<Buf>,
    trailers: Fields,
}

impl Source for Whole {
    fn poll_next(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Option<Buf>, BodyError>> {
        std::task::Poll::Ready(Ok(self.pieces.pop()))
    }

    fn trailers(&mut self) -> Option<Fields> {
        let trailers = std::mem::take(&mut self.trailers);
        (!trailers.is_empty()).then_some(trailers)
    }
}
