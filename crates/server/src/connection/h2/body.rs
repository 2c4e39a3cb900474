//! The request's body on a stream: gathered as it comes, given back to the client's window as it is taken.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_core::{BodyError, Source};
use foregate_net::clock::Deadline;
use foregate_wire::{Buf, Fields};

use super::super::pace::{self, Pace};
use super::lane::Lane;
use super::send;

/// A body that is read has at least this window, whatever `http2_body_preread_size` says, bytes.
const WINDOW_MIN: u32 = 64 << 10;

/// What has come and was not taken yet. The stream's window bounds it.
#[derive(Default)]
pub(super) struct Input {
    /// Taken over as it came: it holds the block that it stands in.
    first: Buf,
    /// What came behind it, copied together, so that no more blocks are held.
    gathered: VecDeque<Vec<u8>>,
    ended: bool,
    trailers: Option<Fields>,
}

/// Copied pieces are joined up to this size.
const GATHERED_BYTES: usize = 16 << 10;

impl Input {
    /// `is_awaited`: it will be taken at once.
    pub(super) fn take(&mut self, bytes: Buf, ends: bool, is_awaited: bool) {
        self.ended |= ends;
        if bytes.is_empty() {
            return;
        }
        if self.first.is_empty() && self.gathered.is_empty() {
            let small = bytes.len() < GATHERED_BYTES / 4 && !is_awaited && !ends;
            self.first = if small { Buf::copy_from(&bytes) } else { bytes };
            return;
        }
        match self.gathered.back_mut() {
            Some(last) if last.len() + bytes.len() <= GATHERED_BYTES => last.extend_from_slice(&bytes),
            _ => self.gathered.push_back(bytes.to_vec()),
        }
    }

    pub(super) fn take_trailers(&mut self, fields: Fields) {
        self.ended = true;
        self.trailers = Some(fields);
    }

    /// The client has sent END_STREAM.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next piece, if there is one.
    pub(super) fn next(&mut self) -> Option<Buf> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        self.gathered.pop_front().map(Buf::from_vec)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.gathered.is_empty()
    }
}

/// The reader's end of a body.
pub(super) struct BodyReader {
    lane: Rc<Lane>,
    /// Bytes still to come, where the client has said so.
    left: Option<u64>,
    /// `client_max_body_size`; 0 is none.
    bytes_max: u64,
    read_bytes: u64,
    /// `client_body_timeout`, between two pieces.
    timeout: Duration,
    deadline: Deadline,
    /// `client_body_min_rate`.
    pace: Option<Pace>,
    /// The client waits for a 100.
    expects: bool,
    started: bool,
    failed: Option<BodyError>,
}

impl BodyReader {
    pub(super) fn new(
        lane: Rc<Lane>,
        length: Option<u64>,
        bytes_max: u64,
        timeout: Duration,
        expects: bool,
    ) -> BodyReader {
        BodyReader {
            lane,
            left: length,
            bytes_max,
            read_bytes: 0,
            timeout,
            deadline: Deadline::new(),
            pace: None,
            expects,
            started: false,
            failed: None,
        }
    }

    /// Is not waited for below this pace.
    pub(super) fn keep_pace(&mut self, floor: Option<foregate_modules::client::Floor>) {
        self.pace = Pace::over(floor);
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        let (piece, eager) = {
            let mut input = self.lane.input.borrow_mut();
            let piece = input.next();
            (piece, input.is_empty())
        };
        let Some(bytes) = piece else { return self.poll_more(cx) };
        if let Some(pace) = self.pace.as_ref().filter(|_| self.deadline.is_armed()) {
            pace.end();
        }
        self.deadline.disarm();
        self.count(bytes.len())?;
        if !self.lane.is_lost() {
            self.lane.link.mux.borrow_mut().taken(self.lane.place, bytes.len(), eager);
            self.lane.link.wake();
        }
        Poll::Ready(Ok(Some(bytes)))
    }

    /// Nothing is there: that is the end, or more will come.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if self.lane.input.borrow().has_ended() {
            return Poll::Ready(match self.left {
                Some(1..) => Err(BodyError::ClientBroken),
                _ => Ok(None),
            });
        }
        if self.lane.is_lost() {
            return Poll::Ready(Err(BodyError::ClientGone));
        }
        if !std::mem::replace(&mut self.started, true) {
            if self.expects {
                send::interim(&self.lane, 100, &Fields::new());
            }
            self.lane.link.mux.borrow_mut().want(self.lane.place, WINDOW_MIN);
            self.lane.link.wake();
        }
        self.lane.wait_to_read(cx);
        if !self.deadline.is_armed() {
            self.deadline.arm(pace::wait(self.pace.as_ref(), self.read_bytes, self.timeout));
        }
        self.deadline.poll_expired(cx).map(|()| Err(BodyError::ClientSlow))
    }

    fn count(&mut self, n: usize) -> Result<(), BodyError> {
        self.read_bytes += n as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(n as u64).ok_or(BodyError::ClientBroken)?;
        }
        match self.bytes_max > 0 && self.read_bytes > self.bytes_max {
            true => Err(BodyError::TooLarge),
            false => Ok(()),
        }
    }
}

impl Source for BodyReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        let done = std::task::ready!(self.poll_bytes(cx));
        if let Err(error) = done {
            self.failed = Some(error);
        }
        Poll::Ready(done)
    }

    fn limit(&mut self, bytes_max: u64, between: Duration) {
        self.bytes_max = bytes_max;
        self.timeout = between;
    }

    fn len(&self) -> Option<u64> {
        self.left
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.lane.input.borrow_mut().trailers.take()
    }
}
