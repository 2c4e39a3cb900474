//! A page while it is sent: read as it comes, its includes served beside one another, all of it in order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use foregate_core::{
    Body, BodyError, Entry, Exchange, Fetched, Level, Reply, Running, Source, Unadorned, UpstreamFact, log,
};
use foregate_wire::{Buf, Fields};

use super::command::{Include, State, Wish};
use super::family::Family;
use super::parser::{Event, Parser, opening};
use super::value::Failed;

/// Text and includes that are read ahead of what has been sent, in bytes and requests.
const AHEAD_BYTES_MAX: usize = 64 << 10;
const AHEAD_INCLUDES_MAX: usize = 128;
/// Bytes read before others get a turn.
const TURN_BYTES_MAX: usize = 256 << 10;

pub(super) struct Rules {
    pub(super) silent_errors: bool,
    pub(super) value_bytes_max: usize,
}

pub(super) struct Page {
    rules: Rules,
    /// The request that the page answers, for its variables and as parent of its includes.
    ex: Exchange,
    content_type: Vec<u8>,
    inner: Box<dyn Source>,
    /// Read from there; `at` of it has been processed.
    input: Buf,
    at: usize,
    parser: Parser,
    state: State,
    out: VecDeque<Piece>,
    out_bytes: usize,
    wait: Wait,
    ended: bool,
    /// Told once what came before it has gone out.
    failed: Option<BodyError>,
}

/// A piece of the output.
enum Piece {
    Text(Vec<u8>),
    Running { running: Running, stub: Option<Vec<u8>> },
    Body(Box<dyn Source>),
}

/// Why the page is not read on.
enum Wait {
    No,
    /// Until all that stands before has been sent (`wait="yes"`).
    Sent,
    /// Until a variable has got its value (`set="…"`).
    Set { name: Vec<u8>, answer: Answer },
}

enum Answer {
    Running(Running),
    Body { body: Box<dyn Source>, taken: Vec<u8>, bytes_max: usize },
}

impl Page {
    pub(super) fn new(rules: Rules, ex: &mut Exchange, reply: &mut Reply) -> Box<Self> {
        let family = Family::of(ex);
        let mut twin = ex.twin();
        twin.sent.status = reply.status;
        twin.sent.fields = reply.fields.clone();
        Box::new(Self {
            parser: Parser::new(rules.value_bytes_max),
            rules,
            ex: twin,
            content_type: reply.fields.get(b"Content-Type").unwrap_or_default().to_vec(),
            inner: std::mem::take(&mut reply.body).into_source(),
            input: Buf::default(),
            at: 0,
            state: State::new(family),
            out: VecDeque::new(),
            out_bytes: 0,
            wait: Wait::No,
            ended: false,
            failed: None,
        })
    }

    /// Waits for the first output, or the end.
    pub(super) async fn begin(&mut self) -> Result<(), BodyError> {
        match poll_fn(|cx| self.poll_next(cx)).await? {
            Some(bytes) => self.out.push_front(Piece::Text(bytes.to_vec())),
            None => self.ended = true,
        }
        Ok(())
    }

    /// Reads on, as far as may be.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let mut read = 0;
        while !self.ended && self.out_bytes < AHEAD_BYTES_MAX && self.out.len() < AHEAD_INCLUDES_MAX {
            if self.poll_wait(cx).is_pending() {
                return;
            }
            let from = self.at;
            let next = self.parser.next(&self.input, &mut self.at);
            read += self.at - from;
            match next {
                Some(event) => self.take(event),
                None if read >= TURN_BYTES_MAX => {
                    cx.waker().wake_by_ref();
                    return;
                }
                None => match self.inner.poll_next(cx) {
                    Poll::Ready(Ok(Some(bytes))) => (self.input, self.at) = (bytes, 0),
                    Poll::Ready(done) => self.end(done.err()),
                    Poll::Pending => return,
                },
            }
        }
    }

    fn end(&mut self, failed: Option<BodyError>) {
        self.input = Buf::default();
        self.at = 0;
        self.ended = true;
        self.failed = failed;
        if let Some(event) = self.parser.end() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Text(range) => {
                let bytes = self.input.slice(range);
                self.text(&bytes);
            }
            Event::Opening(held) => self.text(opening(held)),
            Event::Wrong(what) => log!(self.ex, Level::Error, "{what}"),
            Event::WrongEnd => self.show_error(),
            Event::Command => {
                let tag = std::mem::take(self.parser.tag());
                let done = self.state.run(&tag, &mut self.ex).and_then(|wish| self.grant(wish));
                if done.is_err() {
                    self.show_error();
                }
                *self.parser.tag() = tag;
            }
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        if self.state.output {
            self.show(bytes);
        } else if self.state.block {
            self.state.keep(bytes, &self.ex);
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.out_bytes += bytes.len();
        match self.out.back_mut() {
            Some(Piece::Text(text)) => text.extend_from_slice(bytes),
            _ => self.out.push_back(Piece::Text(bytes.to_vec())),
        }
    }

    fn show_error(&mut self) {
        if !self.rules.silent_errors {
            let message = std::mem::take(&mut self.state.error_message);
            self.show(&message);
            self.state.error_message = message;
        }
    }

    fn grant(&mut self, wish: Wish) -> Result<(), Failed> {
        match wish {
            Wish::Nothing => Ok(()),
            Wish::Show(bytes) => {
                self.show(&bytes);
                Ok(())
            }
            Wish::Include(include) => self.include(include),
        }
    }

    fn include(&mut self, include: Include) -> Result<(), Failed> {
        let mut child = self.ex.child(&include.uri, &include.args);
        if include.stub.is_some() {
            child.notes.put(Unadorned);
        }
        if let Some(name) = &include.set {
            self.state.family.declare(name);
        }
        let running = Running::start(child, Entry::Server).ok_or(Failed)?;
        match include.set {
            Some(name) => self.wait = Wait::Set { name, answer: Answer::Running(running) },
            None => {
                self.out.push_back(Piece::Running { running, stub: include.stub });
                if include.wait {
                    self.wait = Wait::Sent;
                }
            }
        }
        Ok(())
    }

    /// Ready when the page may be read on.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wait {
            Wait::No => return Poll::Ready(()),
            Wait::Sent if !self.out.is_empty() => return Poll::Pending,
            Wait::Sent => (),
            Wait::Set { name, answer } => match poll_answer(answer, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(value)) => {
                    if let Some(value) = value
                        && !self.state.family.set(name, value)
                    {
                        log!(self.ex, Level::Error, "too large SSI blocks and variables");
                    }
                }
                Poll::Ready(Err(what)) => {
                    log!(self.ex, Level::Error, "{what}");
                    self.wait = Wait::No;
                    self.end(Some(BodyError::Upstream));
                    return Poll::Pending;
                }
            },
        }
        self.wait = Wait::No;
        Poll::Ready(())
    }

    /// The next output in order.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        loop {
            self.advance(cx);
            let Some(piece) = self.out.front_mut() else {
                if matches!(self.wait, Wait::Sent) {
                    self.wait = Wait::No;
                    continue;
                }
                return match self.failed.take() {
                    Some(why) => Poll::Ready(Err(why)),
                    None if self.ended => Poll::Ready(Ok(None)),
                    None => Poll::Pending,
                };
            };
            match piece {
                Piece::Text(text) => {
                    let text = std::mem::take(text);
                    self.out_bytes = self.out_bytes.saturating_sub(text.len());
                    self.out.pop_front();
                    return Poll::Ready(Ok(Some(Buf::from_vec(text))));
                }
                Piece::Running { .. } => {
                    if piece.poll(cx, &self.content_type).is_pending() {
                        return Poll::Pending;
                    }
                }
                Piece::Body(body) => match body.poll_next(cx) {
                    Poll::Ready(Ok(Some(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                    // What breaks off an include does not break off the page.
                    Poll::Ready(_) => _ = self.out.pop_front(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Lets the includes behind the first one get on, and their own includes with them.
    fn ahead(&mut self, cx: &mut Context<'_>) {
        for piece in &mut self.out {
            _ = piece.poll(cx, &self.content_type);
            if let Piece::Body(body) = piece {
                body.poll_ahead(cx);
            }
        }
    }
}

impl Piece {
    /// Ready once it is no request that is still being answered.
    fn poll(&mut self, cx: &mut Context<'_>, content_type: &[u8]) -> Poll<()> {
        let Self::Running { running, stub } = self else { return Poll::Ready(()) };
        let Poll::Ready(fetched) = running.poll(cx) else { return Poll::Pending };
        let stub = stub.take();
        *self = Self::Body(match stub {
            Some(stub) => stubbed(fetched, stub, content_type),
            None => fetched,
        }
        .into_source());
        Poll::Ready(())
    }
}

/// In the place of an error stands a block, processed as a page of where the error came from.
fn stubbed(mut fetched: Fetched, stub: Vec<u8>, content_type: &[u8]) -> Fetched {
    // `return 204` has no output either; an upstream's 204 has, though it is empty.
    let is_own = fetched.ex.notes.get::<UpstreamFact>().is_none();
    if fetched.reply.as_ref().is_none_or(|it| it.bare || (it.status == 204 && is_own)) {
        let mut reply = Reply::bytes(200, content_type, Buf::from_vec(stub));
        let cycle = fetched.ex.cycle.clone();
        // An answer without content (204) is known to have a length, and what has none to come is no page.
        let is_error = fetched.reply.as_ref().is_some_and(|it| it.status >= 300);
        let on = crate::settings(&*cycle, fetched.ex.location).ssi.as_ref().filter(|_| is_error);
        if let Some(on) = on.filter(|it| super::fits(it, &reply)) {
            let rules = Rules { silent_errors: on.silent_errors, value_bytes_max: on.value_bytes_max };
            reply.body = Body::Source(Page::new(rules, &mut fetched.ex, &mut reply));
        }
        fetched.reply = Some(reply);
    }
    fetched
}

/// The value for a variable; `None`: an error, which leaves it as it was. `Err`: it is too large.
fn poll_answer(answer: &mut Answer, cx: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, String>> {
    loop {
        match answer {
            Answer::Running(running) => {
                let Poll::Ready(fetched) = running.poll(cx) else { return Poll::Pending };
                let Some(reply) = fetched.reply.as_ref().filter(|it| it.status < 300) else {
                    drop(fetched.into_source());
                    return Poll::Ready(Ok(None));
                };
                let bytes_max = super::set_bytes_max(&fetched.ex);
                if let Some(length) = reply.content_length().filter(|it| *it > bytes_max as u64) {
                    return Poll::Ready(Err(format!("too big subrequest response: {length}")));
                }
                *answer = Answer::Body { body: fetched.into_source(), taken: Vec::new(), bytes_max };
            }
            Answer::Body { body, taken, bytes_max } => match body.poll_next(cx) {
                Poll::Ready(Ok(Some(bytes))) if taken.len() + bytes.len() > *bytes_max => {
                    return Poll::Ready(Err("too big subrequest response".to_owned()));
                }
                Poll::Ready(Ok(Some(bytes))) => taken.extend_from_slice(&bytes),
                Poll::Ready(_) => return Poll::Ready(Ok(Some(std::mem::take(taken)))),
                Poll::Pending => return Poll::Pending,
            },
        }
    }
}

impl Source for Page {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        let next = self.poll_out(cx);
        if next.is_pending() {
            self.ahead(cx);
        }
        next
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.advance(cx);
        self.ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}
