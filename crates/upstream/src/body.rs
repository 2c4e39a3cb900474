//! A peer's body on its way to the client: decoded, read ahead of a slow client, and counted.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use foregate_core::{BodyError, FileSlice, Level, Reporter, Source, TempDir, TempFile};
use foregate_net::{clock, sys};
use foregate_wire::h1::{ChunkedDecoder, Step};
use foregate_wire::{Buf, Fields};

use crate::attempts::Progress;
use crate::carrier::News;
use crate::connect::{Lane, Link};
use crate::fields::Hidden;
use crate::pick::Hold;
use crate::records::said;
use crate::views::View;

/// Pieces shorter than this are copied before they wait, so that they do not hold a whole block each.
const WAITS_AS_IT_IS_BYTES_MIN: usize = 8 << 10;

/// How the end of a body is found.
pub(crate) enum Decoder {
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
    /// With the request: records say so. This much is still to come, where that was announced.
    Records(Option<u64>),
    /// As `Records`, to a HEAD request: there need be no body, but if there is one, it is this long.
    RecordsToHead(Option<u64>),
}

pub(crate) struct UpstreamBody {
    /// `None` once the body is over.
    link: Option<Box<Link>>,
    /// Received and not yet decoded.
    rest: Buf,
    decoder: Decoder,
    pub(crate) read_timeout: Duration,
    /// Where the connection goes when the body is over, if it may serve again.
    pub(crate) kept: Option<(Rc<View>, Lane)>,
    pub(crate) hold: Option<Hold>,
    /// Trailers are passed on, but for these.
    pub(crate) hidden: Option<Hidden>,
    trailers: Option<Fields>,
    ahead: Option<Ahead>,
    rate: Option<Rate>,
    failed: Option<BodyError>,
    progress: Rc<Progress>,
    /// `clock::ms` of the try's start.
    begun: u64,
    reporter: Reporter,
}

/// What was read and not yet taken: older pieces in memory, younger ones in a file.
struct Ahead {
    queue: VecDeque<Buf>,
    queued_bytes: usize,
    memory_max: usize,
    file_max: u64,
    dir: TempDir,
    spill: Option<Spill>,
}

struct Spill {
    file: TempFile,
    /// What of the file has not been taken.
    slice: FileSlice,
}

/// `proxy_limit_rate`.
struct Rate {
    bytes_per_s: u64,
    since: Instant,
    passed_bytes: u64,
    pause: clock::Deadline,
    /// Decoded, and not yet allowed to pass.
    waiting: Buf,
}

/// How long a limited body pauses at least: shorter pauses only cost more wake-ups.
const PAUSE_MS_MIN: u64 = 20;

impl UpstreamBody {
    pub(crate) fn new(
        link: Box<Link>,
        rest: Buf,
        decoder: Decoder,
        progress: Rc<Progress>,
        begun: u64,
        reporter: Reporter,
    ) -> Self {
        Self {
            link: Some(link),
            rest,
            decoder,
            read_timeout: Duration::MAX,
            kept: None,
            hold: None,
            hidden: None,
            trailers: None,
            ahead: None,
            rate: None,
            failed: None,
            progress,
            begun,
            reporter,
        }
    }

    pub(crate) fn limit_rate(&mut self, bytes_per_s: Option<u64>) {
        self.rate = bytes_per_s.map(|bytes_per_s| Rate {
            bytes_per_s,
            since: clock::now(),
            passed_bytes: 0,
            pause: clock::Deadline::new(),
            waiting: Buf::default(),
        });
    }

    pub(crate) fn read_ahead(&mut self, memory_max: usize, file_max: u64, dir: &TempDir) {
        let dir = if file_max > 0 { dir.clone() } else { TempDir::default() };
        let queue = VecDeque::new();
        self.ahead = Some(Ahead { queue, queued_bytes: 0, memory_max, file_max, dir, spill: None });
    }

    /// The next piece from the peer, as the rate allows; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if self.rate.is_none() {
            return self.poll_decoded(cx);
        }
        if self.rate.as_ref().is_some_and(|it| it.waiting.is_empty()) {
            let Some(piece) = ready!(self.poll_decoded(cx))? else { return Poll::Ready(Ok(None)) };
            if let Some(rate) = &mut self.rate {
                rate.waiting = piece;
            }
        }
        match &mut self.rate {
            Some(rate) => rate.poll_pass(cx).map(|piece| Ok(Some(piece))),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        loop {
            if let Some(error) = self.failed {
                return Poll::Ready(Err(error));
            }
            if self.link.is_none() {
                return Poll::Ready(Ok(None));
            }
            match self.decode() {
                Ok(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(None) if self.link.is_none() => return Poll::Ready(Ok(None)),
                Ok(None) => ready!(self.poll_more(cx)),
                Err(text) => self.fail(text),
            }
        }
    }

    /// Takes a piece out of what was received.
    fn decode(&mut self) -> Result<Option<Buf>, &'static str> {
        if let Decoder::Length(0) = self.decoder {
            self.finish(self.rest.is_empty());
            return Ok(None);
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Decoder::RecordsToHead(length) = self.decoder {
            self.decoder = Decoder::Records(length);
        }
        match &mut self.decoder {
            Decoder::UntilClose | Decoder::RecordsToHead(_) | Decoder::Records(None) => {
                Ok(Some(std::mem::take(&mut self.rest)))
            }
            Decoder::Records(Some(left))
                if self.rest.len() as u64 > *left
                    && self.link.as_mut().is_some_and(|it| it.h2().is_some()) =>
            {
                Err("upstream sent response body larger than indicated content length")
            }
            Decoder::Records(Some(0)) => {
                self.finish(false);
                Ok(None)
            }
            Decoder::Records(Some(left)) => {
                // What is more is told of next.
                let n = self.rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                Ok(Some(self.rest.split_to(n)))
            }
            Decoder::Length(left) => {
                let n = self.rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                let over = *left == 0;
                let piece = self.rest.split_to(n);
                if over {
                    self.finish(self.rest.is_empty());
                }
                Ok(Some(piece))
            }
            Decoder::Chunked(decoder) => match decoder.decode(&self.rest) {
                Ok(Step::Data(range)) => {
                    self.rest.advance(range.start);
                    Ok(Some(self.rest.split_to(range.len())))
                }
                Ok(Step::More) => {
                    self.rest = Buf::default();
                    Ok(None)
                }
                Ok(Step::End(used)) => {
                    self.trailers = decoder.trailers().ok().filter(|it| !it.is_empty());
                    let clean = used == self.rest.len();
                    self.finish(clean);
                    Ok(None)
                }
                Err(_) => Err("upstream sent invalid chunked response"),
            },
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(link) = &mut self.link else { return Poll::Ready(()) };
        match link.poll_recv(cx) {
            Poll::Ready(Ok(bytes)) => {
                link.deadline.disarm();
                match bytes.is_empty() {
                    true => match link.news() {
                        Some(news) => self.hear(news),
                        None => self.closed(),
                    },
                    false => self.received(bytes),
                }
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                let why = sys::errno_text(&error);
                self.reporter.log(Level::Error, format_args!("recv() failed ({why}) while reading upstream"));
                self.give_up();
                Poll::Ready(())
            }
            Poll::Pending => {
                if !link.deadline.is_armed() {
                    link.deadline.arm(self.read_timeout);
                }
                ready!(link.deadline.poll_expired(cx));
                self.fail("upstream timed out (110: Connection timed out)");
                Poll::Ready(())
            }
        }
    }

    fn received(&mut self, bytes: Buf) {
        self.progress.received.set(self.progress.received.get() + bytes.len() as u64);
        self.rest = bytes;
    }

    /// The peer closed: the end of some bodies, too early for others.
    fn closed(&mut self) {
        match self.decoder {
            Decoder::UntilClose => self.finish(false),
            // Some applications end what they say by closing.
            Decoder::Records(None | Some(0)) | Decoder::RecordsToHead(_) if !self.keeps() => {
                self.finish(false)
            }
            _ => self.fail("upstream prematurely closed connection"),
        }
    }

    /// The peer leaves the connection open behind its records.
    fn keeps(&self) -> bool {
        self.link.as_ref().and_then(|it| it.carrier.as_ref()).is_some_and(|it| it.keeps())
    }

    /// A peer says something beside its answer.
    fn hear(&mut self, news: News) {
        let is_short = matches!(self.decoder, Decoder::Records(Some(1..)));
        match news {
            News::Stderr(bytes) => {
                self.reporter.log(Level::Error, format_args!("{} while reading upstream", said(&bytes)));
            }
            News::StdoutOver if is_short => self.fail("upstream prematurely closed FastCGI stdout"),
            // The end of the request is still to come: an application that is left before it may be cut short.
            News::StdoutOver => (),
            News::End { early, .. } if is_short => self.fail(early),
            News::End { clean, .. } => {
                let carrier = self.link.as_mut().and_then(|it| it.carrier.as_mut());
                self.trailers = carrier.and_then(|it| it.trailers());
                self.finish(clean);
            }
            News::Wrong(text) | News::Refused(text) => self.fail(&text),
            News::Turned => (),
            News::Bodyless(error) => {
                self.give_up();
                self.failed = Some(error);
            }
        }
    }

    fn fail(&mut self, text: &str) {
        self.reporter.log(Level::Error, format_args!("{text} while reading upstream"));
        self.give_up();
    }

    fn give_up(&mut self) {
        self.failed = Some(BodyError::Upstream);
        self.kept = None;
        self.finish(false);
    }

    /// The body is over: the connection goes back, and the peer is let go.
    fn finish(&mut self, clean: bool) {
        if !clean
            && !self.rest.is_empty()
            && self.failed.is_none()
            && !matches!(self.decoder, Decoder::UntilClose)
        {
            let text = match self.decoder {
                Decoder::Chunked(_) => "upstream sent data after final chunk while reading upstream",
                _ => {
                    "upstream sent more data than specified in \"Content-Length\" header while reading upstream"
                }
            };
            self.reporter.log(Level::Warn, format_args!("{text}"));
        }
        self.rest = Buf::default();
        let mut link = self.link.take();
        if let Some((h2, _)) = link.as_mut().and_then(|it| it.h2()) {
            self.progress.sent.set(h2.take_sent());
        }
        if let (true, Some(link), Some((view, lane))) = (clean, link, self.kept.take())
            && let (Some(idle), Some(rules)) = (&view.idle, view.keepalive())
        {
            idle.park(link, lane, rules);
        }
        self.hold = None;
        let age = clock::ms().saturating_sub(self.begun);
        self.progress.response_ms.set(Some(age));
        self.progress.trailers.borrow_mut().clone_from(&self.trailers);
    }

    fn has_more(&self) -> bool {
        self.link.is_some() || self.rate.as_ref().is_some_and(|it| !it.waiting.is_empty())
    }

    /// Puts a piece aside, in memory while there is room.
    fn put_aside(&mut self, piece: Buf) {
        let Some(ahead) = &mut self.ahead else { return };
        if ahead.spill.is_none() && ahead.queued_bytes < ahead.memory_max {
            let short = piece.len() < WAITS_AS_IT_IS_BYTES_MIN;
            ahead.queued_bytes += piece.len();
            ahead.queue.push_back(if short { Buf::copy_from(&piece) } else { piece });
            return;
        }
        if let Err(error) = ahead.spill(&piece, &self.reporter) {
            let why = sys::errno_text(&error);
            let text = "writing an upstream response to a temporary file failed";
            self.reporter.log(Level::Crit, format_args!("{text} ({why}) while reading upstream"));
            self.give_up();
        }
    }
}

impl Source for UpstreamBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(ahead) = &mut self.ahead {
            match ahead.take() {
                Ok(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(None) => {}
                Err(error) => {
                    let why = sys::errno_text(&error);
                    let text = "reading an upstream response from a temporary file failed";
                    self.reporter.log(Level::Crit, format_args!("{text} ({why}) while sending to client"));
                    return Poll::Ready(Err(BodyError::Upstream));
                }
            }
        }
        self.poll_piece(cx)
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        while self.ahead.as_ref().is_some_and(Ahead::has_room) && self.has_more() {
            match self.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => self.put_aside(piece),
                _ => return,
            }
        }
        // The request's body goes on even where nobody takes more of the answer.
        if let Some((h2, conn)) = self.link.as_mut().and_then(|it| it.h2()) {
            h2.push(conn, cx);
        }
    }

    fn len(&self) -> Option<u64> {
        let (Decoder::Length(left) | Decoder::Records(Some(left))) = self.decoder else { return None };
        let waiting = self.rate.as_ref().map_or(0, |it| it.waiting.len());
        Some(left + waiting as u64 + self.ahead.as_ref().map_or(0, Ahead::bytes))
    }

    fn trailers(&mut self) -> Option<Fields> {
        let hidden = self.hidden.as_ref()?;
        let mut trailers = self.trailers.take()?;
        trailers.retain(|name, _| !hidden.has(name));
        Some(trailers)
    }
}

impl Drop for UpstreamBody {
    /// The client went away: the connection is closed, for what it still carries is nobody's.
    fn drop(&mut self) {
        if self.link.is_some() {
            self.kept = None;
            self.finish(true);
        }
    }
}

impl Rate {
    /// What of the waiting piece may pass now.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<Buf> {
        let elapsed_ms = clock::now().saturating_duration_since(self.since).as_millis() as u64;
        let allowed = self.bytes_per_s.saturating_mul(elapsed_ms + 1000) / 1000;
        let room = usize::try_from(allowed.saturating_sub(self.passed_bytes)).unwrap_or(usize::MAX);
        if room == 0 {
            let lacking = self.passed_bytes - allowed + 1;
            let wait_ms = (lacking * 1000 / self.bytes_per_s).max(PAUSE_MS_MIN);
            self.pause.arm(Duration::from_millis(wait_ms));
            ready!(self.pause.poll_expired(cx));
            return self.poll_pass(cx);
        }
        let n = room.min(self.waiting.len());
        self.passed_bytes += n as u64;
        Poll::Ready(self.waiting.split_to(n))
    }
}

impl Ahead {
    fn has_room(&self) -> bool {
        let in_file = self.spill.as_ref().map_or(0, |it| it.slice.end);
        self.queued_bytes < self.memory_max && self.spill.is_none() || in_file < self.file_max
    }

    fn bytes(&self) -> u64 {
        self.queued_bytes as u64 + self.spill.as_ref().map_or(0, |it| it.slice.len())
    }

    fn take(&mut self) -> std::io::Result<Option<Buf>> {
        if let Some(piece) = self.queue.pop_front() {
            self.queued_bytes -= piece.len();
            return Ok(Some(piece));
        }
        let Some(spill) = &mut self.spill else { return Ok(None) };
        let piece = spill.slice.read()?;
        if spill.slice.is_empty() {
            self.spill = None;
        }
        if piece.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(piece))
    }

    fn spill(&mut self, piece: &[u8], reporter: &Reporter) -> std::io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => {
                let file = TempFile::create(&self.dir)?;
                let path = file.path().display();
                let text = "an upstream response is buffered to a temporary file";
                reporter.log(Level::Warn, format_args!("{text} {path} while reading upstream"));
                let slice = FileSlice::new(file.file.clone(), 0, 0);
                self.spill.insert(Spill { file, slice })
            }
        };
        spill.file.write_all(piece)?;
        spill.slice.end += piece.len() as u64;
        Ok(())
    }
}
