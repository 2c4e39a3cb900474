//! One socket under io_uring: what the kernel does for it at present, what has come in, what is going out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use foregate_wire::Buf;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::{BROKEN, PEER_CLOSED, READABLE, Source, WRITABLE, Watch, with_uring};
use crate::sys::uring::{Completion, Op};

/// A message up to this size is copied and sent together with those of other sockets; the copy costs less than the
/// call it saves. Larger ones are sent by a call of their own.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// A socket that brings this much at once is asked by calls from then on, until it brings no more than a message: calls
/// fill the same block over and over, which stays in the processor's cache; the ring's blocks take turns.
const BULK_BYTES: usize = 16 * 1024;

/// What `Source` needs to know in addition.
pub(super) struct Ringed {
    pub(super) token: u64,
    watch: Watch,
    /// Requests the kernel has not finished, as bits.
    armed: Cell<u8>,
    /// Received by calls, see `BULK_BYTES`.
    bulk: Cell<bool>,
    received: RefCell<VecDeque<Buf>>,
    /// When everything received has been taken, more lies in the socket.
    rest: Cell<bool>,
    ended: Cell<bool>,
    recv_error: Cell<Option<Errno>>,
    pub(super) out: Cell<Out>,
    pub(super) send_error: Cell<Option<Errno>>,
    /// Closing sends a reset, and nothing that was still to go.
    pub(super) reset: Cell<bool>,
}

/// Bytes taken for sending, by their number with the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    Nothing,
    /// Not handed over: more may be added.
    Queued(u32),
    /// The kernel has them.
    UnderWay(u32),
}

/// What a socket has to offer to its reader.
pub(crate) enum Received {
    /// Empty at the end of the stream.
    Bytes(Buf),
    Nothing,
    /// The socket itself must be asked.
    Ask,
}

impl Ringed {
    pub(super) fn new(token: u64, watch: Watch) -> Ringed {
        Ringed {
            token,
            watch,
            armed: Cell::new(0),
            bulk: Cell::new(false),
            received: RefCell::default(),
            rest: Cell::new(false),
            ended: Cell::new(false),
            recv_error: Cell::new(None),
            out: Cell::new(Out::Nothing),
            send_error: Cell::new(None),
            reset: Cell::new(false),
        }
    }

    pub(super) fn is_armed(&self, op: Op) -> bool {
        self.armed.get() & 1 << op as u8 != 0
    }

    pub(super) fn set_armed(&self, op: Op, armed: bool) {
        let bit = 1 << op as u8;
        self.armed.set(if armed { self.armed.get() | bit } else { self.armed.get() & !bit });
    }

    /// The request that will tell when one of `flags` holds; `None` when something under way will.
    pub(super) fn needed(&self, flags: u8) -> Option<Op> {
        let op = match flags {
            READABLE if self.is_armed(Op::Recv) => return None,
            READABLE if self.watch == Watch::Stream && !self.bulk.get() => Op::Recv,
            READABLE => Op::PollIn,
            WRITABLE if self.out.get() != Out::Nothing => return None,
            WRITABLE => Op::PollOut,
            _ if self.is_armed(Op::Recv) => return None,
            _ => Op::PollHangup,
        };
        if self.is_armed(op) { None } else { Some(op) }
    }

    pub(super) fn events(&self, op: Op) -> u32 {
        let events = match op {
            Op::PollOut => EventFlags::OUT,
            Op::PollHangup => EventFlags::RDHUP,
            _ if self.watch == Watch::Listener => EventFlags::IN | EventFlags::EXCLUSIVE,
            _ => EventFlags::IN | EventFlags::RDHUP,
        };
        events.bits()
    }

    fn note_size(&self, n: usize) {
        if n >= BULK_BYTES {
            self.bulk.set(true);
        } else if n <= MESSAGE_BYTES_MAX {
            self.bulk.set(false);
        }
    }
}

impl Source {
    /// Takes what has been received, when receiving is the driver's business.
    #[inline]
    pub(crate) fn take_received(&self) -> io::Result<Received> {
        let Some(ring) = &self.ring else { return Ok(Received::Ask) };
        let mut received = ring.received.borrow_mut();
        if let Some(buf) = received.pop_front() {
            if received.is_empty() {
                self.all_taken(ring);
            }
            return Ok(Received::Bytes(buf));
        }
        self.nothing_received(ring)
    }

    /// As `take_received`, but copies; the number of bytes.
    pub(crate) fn copy_received(&self, into: &mut [u8]) -> io::Result<Result<usize, Received>> {
        let Some(ring) = &self.ring else { return Ok(Err(Received::Ask)) };
        let mut received = ring.received.borrow_mut();
        let Some(first) = received.front_mut() else {
            return self.nothing_received(ring).map(|other| match other {
                Received::Bytes(end) => Ok(end.len()),
                other => Err(other),
            });
        };
        let n = first.len().min(into.len());
        into[..n].copy_from_slice(&first[..n]);
        first.advance(n);
        if first.is_empty() {
            received.pop_front();
            if received.is_empty() {
                self.all_taken(ring);
            }
        }
        Ok(Ok(n))
    }

    fn all_taken(&self, ring: &Ringed) {
        if ring.ended.get() || ring.recv_error.get().is_some() {
            return;
        }
        if ring.rest.take() {
            self.guessed.set(true);
        } else {
            self.clear(READABLE);
        }
    }

    fn nothing_received(&self, ring: &Ringed) -> io::Result<Received> {
        if let Some(error) = ring.recv_error.take() {
            ring.ended.set(true);
            return Err(error.into());
        }
        if ring.ended.get() {
            return Ok(Received::Bytes(Buf::default()));
        }
        if ring.is_armed(Op::Recv) {
            // What comes now comes through the ring: to ask the socket as well would change the order.
            self.clear(READABLE);
            return Ok(Received::Nothing);
        }
        Ok(Received::Ask)
    }

    /// Takes note of a completion; true when somebody waits for a hangup that no request will tell of.
    pub(super) fn completed(&self, ring: &Ringed, done: Completion) -> bool {
        if !done.more {
            ring.set_armed(done.op, false);
        }
        match (done.op, done.result) {
            (_, Err(Errno::CANCELED)) => return false,
            (Op::Recv, _) => self.report(self.received(ring, done)),
            (op, result) => {
                let events = EventFlags::from_bits_retain(result.unwrap_or(EventFlags::ERR.bits()));
                self.report(ready_for(op, events, ring.is_armed(Op::Recv)));
            }
        }
        !self.is(PEER_CLOSED | BROKEN) && self.hangup.parked.get() && !ring.is_armed(Op::Recv)
    }

    fn received(&self, ring: &Ringed, done: Completion) -> u8 {
        match done.result {
            Ok(0) => {
                ring.ended.set(true);
                READABLE | PEER_CLOSED
            }
            Ok(n) => {
                ring.note_size(n as usize);
                ring.received.borrow_mut().extend(done.received);
                ring.rest.set(done.rest && !done.more);
                READABLE
            }
            // All blocks are in use, which says nothing about this socket.
            Err(Errno::NOBUFS) => {
                let empty = ring.received.borrow().is_empty();
                if empty {
                    self.guessed.set(true)
                } else {
                    ring.rest.set(true)
                }
                READABLE
            }
            Err(error) => {
                ring.recv_error.set(Some(error));
                READABLE | WRITABLE | PEER_CLOSED | BROKEN
            }
        }
    }

    /// Takes note of what a call on the socket has received.
    #[inline]
    pub(crate) fn note_asked(&self, n: usize) {
        if let Some(ring) = &self.ring {
            ring.note_size(n);
            if n == 0 {
                // On epoll an event has said so already.
                self.set(PEER_CLOSED);
            }
        }
    }

    /// Takes a small message to be sent with the others of this turn, all of it; `None` when it is to be sent by a
    /// call. What goes wrong later is told by the next call.
    #[inline]
    pub(crate) fn poll_queue(
        &self,
        cx: &mut Context<'_>,
        bytes: usize,
        slices: &[&[u8]],
        offset: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        let ring = self.ring.as_ref()?;
        if bytes > MESSAGE_BYTES_MAX {
            return None;
        }
        Some(self.poll_queue_small(ring, cx, bytes, slices, offset))
    }

    fn poll_queue_small(
        &self,
        ring: &Ringed,
        cx: &mut Context<'_>,
        bytes: usize,
        slices: &[&[u8]],
        offset: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(cx));
            if let Some(error) = ring.send_error.take() {
                return Poll::Ready(Err(error.into()));
            }
            match with_uring(|uring, slots| uring.queue(slots, self, ring, slices, offset)) {
                Some(true) => return Poll::Ready(Ok(bytes)),
                Some(false) => self.clear(WRITABLE),
                None => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
    }

    /// Sends what is queued by a call, so that the next call keeps the order. False when that must wait.
    #[inline]
    pub(crate) fn settle(&self) -> io::Result<bool> {
        match &self.ring {
            Some(ring) => self.settle_ring(ring),
            None => Ok(true),
        }
    }

    fn settle_ring(&self, ring: &Ringed) -> io::Result<bool> {
        if let Some(error) = ring.send_error.take() {
            return Err(error.into());
        }
        let idx = match ring.out.get() {
            Out::Nothing => return Ok(true),
            Out::UnderWay(_) => return Ok(false),
            Out::Queued(idx) => idx,
        };
        let sent = with_uring(|uring, _| {
            match rustix::net::send(self.fd(), uring.queued(idx), SendFlags::NOSIGNAL) {
                Ok(n) => Ok(uring.unqueue(ring, idx, n)),
                Err(Errno::AGAIN | Errno::INTR) => Ok(false),
                Err(error) => {
                    uring.unqueue(ring, idx, usize::MAX);
                    Err(error.into())
                }
            }
        });
        sent.unwrap_or(Ok(true))
    }

    /// Whether the sending half may be shut down now; if not, the driver does it once everything has been sent.
    pub(crate) fn may_shut_down(&self) -> bool {
        match &self.ring {
            Some(ring) if !self.settle_ring(ring).unwrap_or(true) => {
                with_uring(|uring, _| uring.shutdown_later(ring));
                false
            }
            _ => true,
        }
    }

    /// Closing will throw away what has not been sent.
    pub(crate) fn reset_on_close(&self) {
        if let Some(ring) = &self.ring {
            ring.reset.set(true);
        }
    }
}

/// What the events of a poll mean. While the kernel receives, data and their end come by that.
fn ready_for(op: Op, events: EventFlags, receiving: bool) -> u8 {
    let broken = events.intersects(EventFlags::HUP | EventFlags::ERR);
    let mut ready = match op {
        Op::PollOut => WRITABLE,
        Op::PollHangup => PEER_CLOSED,
        _ => READABLE,
    };
    if events.contains(EventFlags::RDHUP) {
        ready |= PEER_CLOSED;
    }
    if broken {
        ready |= BROKEN | WRITABLE;
    }
    if !receiving && ready & (PEER_CLOSED | BROKEN) != 0 {
        ready |= READABLE;
    }
    ready
}
