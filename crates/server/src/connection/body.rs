//! The request's body on an HTTP/1 connection: taken from the socket when somebody wants it.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foregate_core::{BodyError, Source};
use foregate_net::{Conn, Pipe, clock::Deadline};
use foregate_wire::Buf;
use foregate_wire::h1::{ChunkedDecoder, Step};

use super::pace::{self, Pace};

/// What asks a client that waits for it to send the body (RFC 9110, 10.1.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Fewer bytes at once are copied: that is cheaper than to move them.
const PIPED_BYTES_MIN: usize = 16 << 10;

/// The body as its reader and the connection share it: what nobody read, the connection discards.
pub(super) struct BodyState {
    conn: Rc<Conn>,
    framing: Framing,
    /// Read from the socket and not yet taken.
    rest: Buf,
    /// The last read brought much, so that there may be more.
    bulk: bool,
    /// The client waits for a 100.
    expects: Expects,
    /// `client_body_timeout`, between two reads.
    timeout: Duration,
    deadline: Deadline,
    /// `client_body_min_rate`.
    pace: Option<Pace>,
    /// `client_max_body_size`; 0 is none. Only chunked bodies can surprise.
    bytes_max: u64,
    read_bytes: u64,
    failed: Option<BodyError>,
}

enum Framing {
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
}

/// How much of the 100 has been sent.
enum Expects {
    Nothing,
    Owed(usize),
}

impl BodyState {
    pub(super) fn new(
        conn: Rc<Conn>,
        length: Option<u64>,
        rest: Buf,
        expects: bool,
        timeout: Duration,
        bytes_max: u64,
    ) -> Self {
        let framing = match length {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked(Box::new(ChunkedDecoder::with_trailers())),
        };
        let expects = if expects { Expects::Owed(0) } else { Expects::Nothing };
        Self {
            conn,
            framing,
            bulk: rest.len() >= Buf::BLOCK / 2,
            rest,
            expects,
            timeout,
            deadline: Deadline::new(),
            pace: None,
            bytes_max,
            read_bytes: 0,
            failed: None,
        }
    }

    /// Is not waited for below this pace.
    pub(super) fn keep_pace(&mut self, floor: Option<foregate_modules::client::Floor>) {
        self.pace = Pace::over(floor);
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(decoder) => decoder.is_over(),
        }
    }

    /// The client still waits for a 100 that it will not get: it must not be kept.
    pub(super) fn still_expects(&self) -> bool {
        matches!(self.expects, Expects::Owed(_))
    }

    /// Whether a 100 is owed; from now on it counts as sent.
    pub(super) fn take_expectation(&mut self) -> bool {
        matches!(std::mem::replace(&mut self.expects, Expects::Nothing), Expects::Owed(0))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Discards what is there of a body that nobody reads; whether that shows it to be none.
    pub(super) fn is_broken_already(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while !self.rest.is_empty() && !self.is_over() && !self.still_expects() {
            match self.poll_next(&mut cx) {
                Poll::Ready(Ok(Some(_))) => (),
                Poll::Ready(Err(BodyError::ClientBroken)) => return true,
                _ => return false,
            }
        }
        false
    }

    /// What was read behind the body: the beginning of the next request.
    pub(super) fn take_rest(&mut self) -> Buf {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        let done = ready!(self.poll_bytes(cx));
        if let Err(error) = done {
            self.failed = Some(error);
        }
        Poll::Ready(done)
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        ready!(self.poll_continue(cx))?;
        loop {
            if let Some(bytes) = self.decode()? {
                self.count(bytes.len())?;
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.is_over() {
                return Poll::Ready(Ok(None));
            }
            match self.conn.poll_recv(cx) {
                Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                    self.go_on();
                    self.bulk = bytes.len() == Buf::BLOCK;
                    self.rest = bytes;
                }
                Poll::Ready(_) => return Poll::Ready(Err(BodyError::ClientGone)),
                Poll::Pending => return self.poll_slow(cx).map(Err),
            }
        }
    }

    /// Nothing has come: how long may that last?
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if !self.deadline.is_armed() {
            self.deadline.arm(pace::wait(self.pace.as_ref(), self.read_bytes, self.timeout));
        }
        self.deadline.poll_expired(cx).map(|_| BodyError::ClientSlow)
    }

    /// Something has come.
    fn go_on(&mut self) {
        if let Some(pace) = self.pace.as_ref().filter(|_| self.deadline.is_armed()) {
            pace.end();
        }
        self.deadline.disarm();
    }

    fn count(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.read_bytes += bytes as u64;
        match self.bytes_max > 0 && self.read_bytes > self.bytes_max {
            true => Err(BodyError::TooLarge),
            false => Ok(()),
        }
    }

    /// Whether the next bytes can be moved on without being read, and are worth it.
    fn pipes(&self) -> bool {
        self.bulk
            && self.rest.is_empty()
            && !self.has_failed()
            && matches!(self.framing, Framing::Length(left) if left >= PIPED_BYTES_MIN as u64)
            && matches!(*self.conn, Conn::Plain(_))
    }

    fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Pipe>, BodyError>> {
        let (Conn::Plain(stream), Framing::Length(left)) = (&*self.conn, &mut self.framing) else {
            return Poll::Ready(Ok(None));
        };
        match stream.poll_recv_pipe(cx, usize::try_from(*left).unwrap_or(usize::MAX)) {
            Poll::Ready(Ok(Some(pipe))) if !pipe.is_empty() => {
                *left -= pipe.len() as u64;
                self.go_on();
                self.bulk = pipe.len() >= PIPED_BYTES_MIN;
                Poll::Ready(self.count(pipe.len()).map(|()| Some(pipe)))
            }
            Poll::Ready(Ok(None)) => {
                self.bulk = false;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(_) => Poll::Ready(Err(BodyError::ClientGone)),
            Poll::Pending => self.poll_slow(cx).map(Err),
        }
    }

    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while let Expects::Owed(sent) = self.expects {
            if sent == CONTINUE.len() || !self.rest.is_empty() {
                self.expects = Expects::Nothing;
                break;
            }
            let n = ready!(self.conn.poll_send(cx, &CONTINUE[sent..])).map_err(|_| BodyError::ClientGone)?;
            self.expects = Expects::Owed(sent + n);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes body bytes out of what was read. `None`: more must be read, or it is over.
    fn decode(&mut self) -> Result<Option<Buf>, BodyError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match &mut self.framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let n = self.rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                Ok(Some(self.rest.split_to(n)))
            }
            Framing::Chunked(decoder) => match decoder.decode(&self.rest) {
                Ok(Step::Data(range)) => {
                    let bytes = self.rest.slice(range.clone());
                    self.rest.advance(range.end);
                    Ok(Some(bytes))
                }
                Ok(Step::More) => {
                    self.rest = Buf::default();
                    Ok(None)
                }
                Ok(Step::End(at)) => {
                    self.rest.advance(at);
                    Ok(None)
                }
                Err(_) => Err(BodyError::ClientBroken),
            },
        }
    }
}

/// The reader's end of a body.
pub(super) struct BodyReader(pub(super) Rc<RefCell<BodyState>>);

impl Source for BodyReader {
    fn limit(&mut self, bytes_max: u64, between: Duration) {
        self.0.borrow_mut().set_bytes_max(bytes_max);
        self.0.borrow_mut().set_timeout(between);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        self.0.borrow_mut().poll_next(cx)
    }

    fn pipes(&self) -> bool {
        self.0.borrow().pipes()
    }

    fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Pipe>, BodyError>> {
        let mut state = self.0.borrow_mut();
        let piped = ready!(state.poll_piped(cx));
        if let Err(error) = piped {
            state.failed = Some(error);
        }
        Poll::Ready(piped)
    }

    fn len(&self) -> Option<u64> {
        match &self.0.borrow().framing {
            Framing::Length(left) => Some(*left),
            Framing::Chunked(_) => None,
        }
    }

    fn trailers(&mut self) -> Option<foregate_wire::Fields> {
        match &self.0.borrow().framing {
            Framing::Chunked(decoder) => decoder.trailers().ok().filter(|it| !it.is_empty()),
            Framing::Length(_) => None,
        }
    }
}
