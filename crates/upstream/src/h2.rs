//! A connection that speaks HTTP/2: the request's body goes out while the answer comes in.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use foregate_core::{BodyError, FileSlice, Source};
use foregate_net::{Conn, clock};
use foregate_wire::h2::SLICES_MAX;
use foregate_wire::h2::client::{Client, Draft, Event, Fault};
use foregate_wire::{Buf, Fields};

use crate::carrier::News;
use crate::rules::Rules;

/// What may wait for the socket, beyond which nothing more of a body is taken.
const OUT_BYTES_MAX: usize = 64 << 10;

/// Short pieces that come together go out in one frame.
const MERGED_BYTES_MAX: usize = 4 << 10;
/// How often in a row the socket is filled before others get their turn.
const ROUNDS_MAX: usize = 16;

const EARLY: &str = "upstream prematurely closed stream";

/// One connection, from its first request to its last.
pub(crate) struct Http2 {
    machine: Client,
    /// Received and not yet taken apart.
    rest: Buf,
    /// Pieces of the answer that were received together, and are still to be passed on.
    ahead: VecDeque<Buf>,
    feed: Feed,
    /// Of a piece of the body what is still to be sent, and the piece behind it where that was there at once.
    piece: Buf,
    behind: Option<Buf>,
    news: Option<News>,
    /// Whom the request waits for.
    turn: Turn,
    turned: bool,
    /// The largest head of an answer.
    head_max: usize,
    /// The socket takes no more; what it said is told when nothing comes either.
    broken: Option<io::Error>,
    /// What has gone out and nobody has counted.
    sent_bytes: u64,
    /// Of the body, what has come from the client and nobody has counted.
    fed_bytes: u64,
}

/// Where the body of a request comes from.
#[derive(Default)]
pub(crate) enum Feed {
    #[default]
    Nothing,
    Bytes(Buf),
    File(FileSlice),
    /// From the client as it comes; with its trailers, if `trailers`.
    Source {
        source: Box<dyn Source>,
        trailers: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// All is sent, and an answer is to come.
    Answer,
    /// Windows or the socket hold the request back.
    Peer,
    /// The body is still to come from the client.
    Client,
}

impl Http2 {
    pub(crate) fn new() -> Self {
        Self {
            machine: Client::new(),
            rest: Buf::default(),
            ahead: VecDeque::new(),
            feed: Feed::Nothing,
            piece: Buf::default(),
            behind: None,
            news: None,
            turn: Turn::Answer,
            turned: false,
            head_max: 0,
            broken: None,
            sent_bytes: 0,
            fed_bytes: 0,
        }
    }

    /// Begins a request, and sends what can be sent at once.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) fn begin(
        &mut self,
        draft: &Draft<'_>,
        feed: Feed,
        head_max: usize,
        conn: &Conn,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        self.machine.begin(draft, matches!(feed, Feed::Nothing));
        self.feed = feed;
        (self.head_max, self.sent_bytes) = (head_max, 0);
        (self.piece, self.behind, self.news) = (Buf::default(), None, None);
        self.push(conn, cx);
        self.turned = false;
        self.broken.take().map_or(Ok(()), Err)
    }

    /// More of the answer: a head, or a piece of the body. Nothing: there are news, or the peer has closed.
    pub(crate) fn poll_recv(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        loop {
            self.push(conn, cx);
            let had_bytes = !self.rest.is_empty();
            if let Some(piece) = self.ahead.pop_front() {
                return Poll::Ready(Ok(piece));
            }
            if self.news.is_some() {
                return Poll::Ready(Ok(Buf::default()));
            }
            match self.machine.receive(&mut self.rest, self.head_max, clock::ms()) {
                Ok(Some(Event::Head(text))) => return Poll::Ready(Ok(text)),
                Ok(Some(Event::Data(piece))) => {
                    self.ahead.push_back(piece);
                    self.take_apart(conn);
                }
                Ok(Some(Event::Over)) => self.news = Some(self.end(conn)),
                Err(fault) => self.news = Some(self.fault(fault)),
                // Windows may have opened, and frames may be owed.
                Ok(None) if had_bytes => continue,
                Ok(None) if std::mem::take(&mut self.turned) => self.news = Some(News::Turned),
                Ok(None) => {
                    self.rest = ready!(conn.poll_recv(cx))?;
                    if self.rest.is_empty() {
                        return Poll::Ready(self.broken.take().map_or(Ok(Buf::default()), Err));
                    }
                }
            }
        }
    }

    /// All that has been received is looked at before any of it is passed on: as in nginx, what ends in a fault is not
    /// passed on at all.
    fn take_apart(&mut self, conn: &Conn) {
        loop {
            match self.machine.receive(&mut self.rest, self.head_max, clock::ms()) {
                Ok(Some(Event::Data(piece))) => self.ahead.push_back(piece),
                Ok(Some(Event::Over)) => {
                    let end = self.end(conn);
                    if !matches!(end, News::End { .. }) {
                        self.ahead.clear();
                    }
                    return self.news = Some(end);
                }
                Ok(Some(Event::Head(_)) | None) => return,
                Err(fault) => {
                    self.ahead.clear();
                    return self.news = Some(self.fault(fault));
                }
            }
        }
    }

    pub(crate) fn news(&mut self) -> Option<News> {
        self.news.take()
    }

    fn fault(&self, fault: Fault) -> News {
        let text = fault.0.into_owned();
        match self.machine.was_refused() {
            true => News::Refused(text),
            false => News::Wrong(text),
        }
    }

    /// The answer is over: what has come behind it is looked at, what is owed is sent.
    fn end(&mut self, conn: &Conn) -> News {
        match self.machine.receive(&mut self.rest, self.head_max, clock::ms()) {
            Ok(None) => (),
            Ok(Some(_)) => return News::End { clean: false, early: EARLY },
            Err(fault) => return self.fault(fault),
        }
        self.push(conn, &mut Context::from_waker(Waker::noop()));
        News::End { clean: self.is_free(), early: EARLY }
    }

    fn is_free(&self) -> bool {
        self.machine.may_serve_again() && self.machine.out.is_empty() && self.broken.is_none()
    }

    /// The answer had no body, and its head has been taken: whether the connection may serve again.
    pub(crate) fn settle(&mut self, conn: &Conn) -> bool {
        match self.machine.receive(&mut self.rest, self.head_max, clock::ms()) {
            Ok(Some(Event::Over)) => matches!(self.end(conn), News::End { clean: true, .. }),
            _ => false,
        }
    }

    /// The answer is over as far as has come.
    pub(crate) fn is_over(&self) -> bool {
        self.machine.is_over()
    }

    /// While nobody uses it: hears what the peer says, and answers. `false`: it is of no more use.
    pub(crate) fn tend(&mut self, conn: &Conn, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(received) = conn.poll_recv(cx) {
            let Ok(mut bytes) = received else { return false };
            if bytes.is_empty() || !matches!(self.machine.receive(&mut bytes, 0, clock::ms()), Ok(None)) {
                return false;
            }
        }
        self.push(conn, cx);
        self.is_free()
    }

    pub(crate) fn patience(&self, rules: &Rules) -> (Duration, &'static str) {
        match self.turn {
            Turn::Answer => (rules.read_timeout, "reading response header from upstream"),
            Turn::Peer => (rules.send_timeout, "sending request to upstream"),
            // The body has a time limit of its own.
            Turn::Client => (Duration::MAX, "sending request to upstream"),
        }
    }

    /// Some of the body is still to come from the client, which is heard by that.
    pub(crate) fn is_fed(&self) -> bool {
        matches!(self.feed, Feed::Source { .. })
    }

    /// What of the body has come from the client since this was asked last.
    pub(crate) fn take_fed(&mut self) -> u64 {
        std::mem::take(&mut self.fed_bytes)
    }

    /// What has gone out since this was asked last, bytes.
    pub(crate) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    pub(crate) fn trailers(&mut self) -> Option<Fields> {
        self.machine.take_trailers()
    }

    /// Sends what there is to send, as far as windows, the socket and the client let. Registers wakers.
    pub(crate) fn push(&mut self, conn: &Conn, cx: &mut Context<'_>) {
        let mut rounds = 0;
        let turn = loop {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                cx.waker().wake_by_ref();
                break Turn::Peer;
            }
            let waits = self.fill(cx);
            match self.poll_flush(conn, cx) {
                Poll::Ready(Ok(())) if waits => break self.wait(),
                Poll::Ready(Ok(())) => continue,
                Poll::Pending => break Turn::Peer,
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    (self.feed, self.piece, self.behind) = (Feed::Nothing, Buf::default(), None);
                    self.machine.out.clear();
                    break Turn::Answer;
                }
            }
        };
        self.turned |= turn != self.turn;
        self.turn = turn;
    }

    /// Whom an idle sender waits for.
    fn wait(&self) -> Turn {
        match &self.feed {
            _ if self.machine.is_request_over() => Turn::Answer,
            Feed::Source { .. } if self.piece.is_empty() => Turn::Client,
            _ => Turn::Peer,
        }
    }

    /// Makes frames of the body; `true`: there is nothing more to be made now.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        while self.machine.out.len() < OUT_BYTES_MAX {
            if self.machine.is_request_over() || self.broken.is_some() {
                return true;
            }
            if self.piece.is_empty()
                && let Some(waits) = self.next_piece(cx)
            {
                return waits;
            }
            let n = self.piece.len().min(self.machine.sendable());
            if n == 0 {
                return true;
            }
            let mut now = self.piece.split_to(n);
            let mut is_last = self.piece.is_empty() && self.behind.is_none() && self.has_ended(cx);
            let room = self.machine.sendable().min(MERGED_BYTES_MAX);
            while let Some(more) = self.behind.take_if(|it| now.len() + it.len() <= room) {
                now = Buf::from_vec([&now[..], &more].concat());
                is_last = self.has_ended(cx);
            }
            self.machine.send_data(now, is_last);
        }
        false
    }

    /// Takes a piece of the body; `Some`: there is none, and nothing more to be done now.
    fn next_piece(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        if let Some(piece) = self.behind.take() {
            self.piece = piece;
            return None;
        }
        match &mut self.feed {
            Feed::Nothing => {
                self.machine.send_data(Buf::default(), true);
                return Some(false);
            }
            Feed::Bytes(bytes) => self.piece = std::mem::take(bytes),
            Feed::File(slice) if slice.is_empty() => (),
            Feed::File(slice) => match slice.read() {
                Ok(bytes) if !bytes.is_empty() => self.piece = bytes,
                _ => return self.fail(BodyError::File),
            },
            // Also where no window is open: an end needs none, and a peer may open none before it.
            Feed::Source { source, .. } => match source.poll_next(cx) {
                Poll::Pending => return Some(true),
                Poll::Ready(Ok(Some(piece))) => {
                    self.fed_bytes += piece.len() as u64;
                    self.piece = piece;
                }
                Poll::Ready(Ok(None)) => self.source_over(),
                Poll::Ready(Err(error)) => return self.fail(error),
            },
        }
        if self.piece.is_empty() && !self.machine.is_request_over() {
            self.feed = Feed::Nothing;
            self.machine.send_data(Buf::default(), true);
        }
        None
    }

    /// Whether nothing comes behind the piece that has been taken: then its last frame says so.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.feed {
            Feed::Nothing | Feed::Bytes(_) => true,
            Feed::File(slice) => slice.is_empty(),
            Feed::Source { source, trailers } => match source.poll_next(cx) {
                Poll::Ready(Ok(Some(piece))) => {
                    self.fed_bytes += piece.len() as u64;
                    self.behind = Some(piece);
                    false
                }
                Poll::Ready(Ok(None)) => {
                    let trailers = if *trailers { source.trailers() } else { None };
                    let ends = trailers.is_none();
                    self.feed = match trailers {
                        None => Feed::Nothing,
                        Some(fields) => {
                            Feed::Source { source: Box::new(Trailing(Some(fields))), trailers: true }
                        }
                    };
                    ends
                }
                Poll::Ready(Err(error)) => {
                    self.fail(error);
                    false
                }
                Poll::Pending => false,
            },
        }
    }

    /// The client has sent all.
    fn source_over(&mut self) {
        let Feed::Source { mut source, trailers } = std::mem::take(&mut self.feed) else { return };
        match if trailers { source.trailers() } else { None } {
            Some(fields) => self.machine.send_trailers(&fields),
            None => self.machine.send_data(Buf::default(), true),
        }
    }

    fn fail(&mut self, error: BodyError) -> Option<bool> {
        self.news = Some(News::Bodyless(error));
        self.feed = Feed::Nothing;
        self.machine.cancel();
        Some(true)
    }

    fn poll_flush(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.machine.out.is_empty() {
            let mut slices = [&b""[..]; SLICES_MAX];
            let n = self.machine.out.slices(&mut slices);
            let n = ready!(conn.poll_send_vectored(cx, &slices[..n]))?;
            self.sent_bytes += n as u64;
            self.machine.out.advance(n);
        }
        conn.poll_flush(cx)
    }
}

/// What is left of a body that is over: its trailers.
struct Trailing(Option<Fields>);

impl Source for Trailing {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        Poll::Ready(Ok(None))
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.0.take()
    }
}
