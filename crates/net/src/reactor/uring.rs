//! The driver on io_uring: receives ahead of the reader, and sends all small messages of a turn with one call.
//!
//! A request is made for a socket only when somebody waits for it. What it receives stays with the socket until it is
//! asked for, so a wait may be given up at any time. Large messages and what follows a full block are the business of
//! direct calls, as on epoll: the kernel copies the same bytes either way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use super::ringed::{MESSAGE_BYTES_MAX, Out, Ringed};
use super::slots::Slots;
use super::{DOORBELL, PEER_CLOSED, Source, WRITABLE};
use crate::sys::uring::{Completion, Op, Ring};

/// Bytes received for one socket before its reader must ask again: bounds what piles up unread, to one block more.
const AHEAD_BYTES: u32 = 64 * 1024;

/// Queued bytes of one socket.
const QUEUED_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Messages queued before they are handed over in the middle of a turn: receivers need not wait for its end.
const QUEUED_MAX: usize = 16;

/// Empty buffers kept for messages.
const SPARE_MAX: usize = 256;

/// How long a closed socket's last bytes may wait for the peer to take them (nginx's default of send_timeout).
const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(60);

/// How often that is looked at.
const ORPHANS_EACH: Duration = Duration::from_secs(1);

/// How long a test of the kernel may take.
const PROBE_MS: u64 = 1000;

pub(super) struct Uring {
    ring: Ring,
    messages: Vec<Message>,
    free: Vec<u32>,
    /// Messages not handed over.
    queue: Vec<u32>,
    spare: Vec<Vec<u8>>,
    closing: Vec<Rc<Source>>,
    /// Messages whose sockets have been closed.
    n_orphans: usize,
    orphans_seen: Instant,
    doorbell: Option<OwnedFd>,
    rung: bool,
    /// A request could not be made: told by the next wait.
    failed: Option<io::Error>,
}

/// What one socket sends.
struct Message {
    /// The socket, as long as it is open.
    token: u64,
    fd: RawFd,
    /// While it is queued.
    bytes: Vec<u8>,
    closed_at: Option<Instant>,
    then_shutdown: bool,
}

impl Uring {
    pub(super) fn new() -> io::Result<Uring> {
        Ok(Uring {
            ring: Ring::new()?,
            messages: Vec::new(),
            free: Vec::new(),
            queue: Vec::new(),
            spare: Vec::new(),
            closing: Vec::new(),
            n_orphans: 0,
            orphans_seen: Instant::now(),
            doorbell: None,
            rung: false,
            failed: None,
        })
    }

    /// Whether the kernel has, and lets us use, everything this driver needs (Linux 6.17 at least).
    pub(super) fn probe() -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut ring = Ring::new()?;
        rustix::io::write(&other, b"ab")?;
        ring.recv(one.as_fd(), 1, 0)?;
        ring.enter(Some(PROBE_MS))?;
        match ring.next() {
            // The limit is kept: it has been reached, and the request has ended.
            Some(Completion { op: Op::Recv, result: Ok(2), more: false, .. }) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes the request that tells when one of `flags` holds, unless one is under way.
    pub(super) fn arm(&mut self, source: &Source, ring: &Ringed, flags: u8) {
        let Some(op) = ring.needed(flags) else { return };
        let made = match op {
            Op::Recv => self.ring.recv(source.fd(), AHEAD_BYTES, ring.token),
            op => self.ring.poll(source.fd(), ring.events(op), false, op, ring.token),
        };
        match made {
            Ok(()) => ring.set_armed(op, true),
            Err(error) => self.failed = Some(error),
        }
    }

    pub(super) fn watch_doorbell(&mut self, doorbell: impl AsFd) -> io::Result<()> {
        let doorbell = self.doorbell.insert(doorbell.as_fd().try_clone_to_owned()?);
        self.ring.poll(doorbell.as_fd(), EventFlags::IN.bits(), true, Op::PollIn, DOORBELL)
    }

    /// Ends with the loop: what has been taken for sending is sent first, as far as the peers let it.
    pub(super) fn stop(&mut self, slots: &Slots) {
        self.doorbell = None;
        if self.ring.cancel(Op::PollIn, DOORBELL).is_err() {
            return;
        }
        let since = Instant::now();
        loop {
            let step = ORPHANS_EACH.as_millis() as u64;
            let step = if self.n_orphans > 0 || !self.queue.is_empty() { step } else { 0 };
            let waited = self.wait(slots, Some(step));
            if waited.is_err() || step == 0 || since.elapsed() > LAST_BYTES_TIMEOUT {
                return;
            }
        }
    }

    /// Stops watching a socket that stays open.
    pub(super) fn delete(&mut self, ring: &Ringed) {
        for op in [Op::PollIn, Op::PollOut, Op::PollHangup] {
            if ring.is_armed(op)
                && let Err(error) = self.ring.cancel(op, ring.token)
            {
                self.failed = Some(error);
            }
        }
    }

    /// Closes the socket at the end of this turn, behind what it still has to send.
    pub(super) fn close(&mut self, source: Rc<Source>) {
        if let Some(ring) = &source.ring {
            match (ring.out.get(), ring.reset.get()) {
                (Out::Nothing, _) => {}
                (Out::Queued(idx), true) => {
                    self.unqueue(ring, idx, usize::MAX);
                }
                (Out::Queued(idx) | Out::UnderWay(idx), reset) => {
                    self.messages[idx as usize].closed_at = Some(Instant::now());
                    self.n_orphans += 1;
                    if reset && let Err(error) = self.ring.cancel(Op::Send, idx.into()) {
                        self.failed = Some(error);
                    }
                }
            }
        }
        self.closing.push(source);
    }

    /// Adds a message to what the socket has queued; false when that must wait.
    pub(super) fn queue(
        &mut self,
        slots: &Slots,
        source: &Source,
        ring: &Ringed,
        slices: &[&[u8]],
        offset: usize,
    ) -> bool {
        let idx = match ring.out.get() {
            Out::UnderWay(_) => return false,
            Out::Queued(idx) if self.messages[idx as usize].bytes.len() > QUEUED_BYTES_MAX => return false,
            Out::Queued(idx) => idx,
            Out::Nothing => {
                if self.queue.len() >= QUEUED_MAX {
                    self.hand_over(slots);
                    if let Err(error) = self.ring.submit() {
                        self.failed = Some(error);
                    }
                }
                self.begin_message(source, ring)
            }
        };
        let bytes = &mut self.messages[idx as usize].bytes;
        bytes.extend_from_slice(&slices[0][offset..]);
        slices[1..].iter().for_each(|slice| bytes.extend_from_slice(slice));
        true
    }

    fn begin_message(&mut self, source: &Source, ring: &Ringed) -> u32 {
        let message = Message {
            token: ring.token,
            fd: source.fd().as_raw_fd(),
            bytes: self.spare.pop().unwrap_or_default(),
            closed_at: None,
            then_shutdown: false,
        };
        let idx = match self.free.pop() {
            Some(idx) => {
                self.messages[idx as usize] = message;
                idx
            }
            None => {
                self.messages.push(message);
                (self.messages.len() - 1) as u32
            }
        };
        self.queue.push(idx);
        ring.out.set(Out::Queued(idx));
        idx
    }

    pub(super) fn queued(&self, idx: u32) -> &[u8] {
        &self.messages[idx as usize].bytes
    }

    /// Takes the first `n` bytes off a queued message; true when nothing is left of it.
    pub(super) fn unqueue(&mut self, ring: &Ringed, idx: u32, n: usize) -> bool {
        let bytes = &mut self.messages[idx as usize].bytes;
        if n < bytes.len() {
            bytes.drain(..n);
            return false;
        }
        let bytes = std::mem::take(bytes);
        self.queue.retain(|queued| *queued != idx);
        ring.out.set(Out::Nothing);
        self.free_message(idx, bytes);
        true
    }

    pub(super) fn shutdown_later(&mut self, ring: &Ringed) {
        if let Out::Queued(idx) | Out::UnderWay(idx) = ring.out.get() {
            self.messages[idx as usize].then_shutdown = true;
        }
    }

    fn free_message(&mut self, idx: u32, mut bytes: Vec<u8>) {
        if self.messages[idx as usize].closed_at.take().is_some() {
            self.n_orphans -= 1;
        }
        self.free.push(idx);
        if self.spare.len() < SPARE_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Makes requests of the queued messages.
    fn hand_over(&mut self, slots: &Slots) {
        let mut queue = std::mem::take(&mut self.queue);
        for idx in queue.drain(..) {
            let message = &mut self.messages[idx as usize];
            if let Some(source) = slots.source(message.token)
                && let Some(ring) = &source.ring
            {
                ring.out.set(Out::UnderWay(idx));
                source.clear(WRITABLE);
            }
            if let Err(error) = self.ring.send(message.fd, std::mem::take(&mut message.bytes), idx.into()) {
                self.failed = Some(error);
            }
        }
        // Nothing was queued meanwhile; its memory serves again.
        self.queue = queue;
    }

    /// Makes requests of everything that waited for the end of the turn.
    fn flush(&mut self, slots: &Slots) -> io::Result<()> {
        self.hand_over(slots);
        let mut closing = std::mem::take(&mut self.closing);
        for source in closing.drain(..) {
            if let Some(ring) = &source.ring {
                for op in [Op::Recv, Op::PollIn, Op::PollOut, Op::PollHangup] {
                    if ring.is_armed(op) {
                        self.ring.cancel(op, ring.token)?;
                    }
                }
            }
            if let Ok(source) = Rc::try_unwrap(source) {
                self.ring.close(source.fd)?;
            }
        }
        self.closing = closing;
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Hands over what this turn has asked for, waits up to `wait_ms` and reports what happened; true when the
    /// doorbell rang.
    pub(super) fn wait(&mut self, slots: &Slots, wait_ms: Option<u64>) -> io::Result<bool> {
        self.flush(slots)?;
        let each = ORPHANS_EACH.as_millis() as u64;
        let wait_ms = if self.n_orphans > 0 { Some(wait_ms.unwrap_or(each).min(each)) } else { wait_ms };
        self.ring.enter(wait_ms)?;
        while let Some(done) = self.ring.next() {
            match (done.op, done.token) {
                (Op::Aside, _) => {}
                (Op::Send, idx) => self.sent(slots, idx as u32, done),
                (_, DOORBELL) => self.ring_rang(&done)?,
                (_, token) => {
                    if let Some(source) = slots.source(token)
                        && let Some(ring) = &source.ring
                        && source.completed(ring, done)
                    {
                        self.arm(source, ring, PEER_CLOSED);
                    }
                }
            }
        }
        if self.n_orphans > 0 {
            self.end_orphans()?;
        }
        Ok(std::mem::take(&mut self.rung))
    }

    fn ring_rang(&mut self, done: &Completion) -> io::Result<()> {
        self.rung |= done.result.is_ok();
        if let Some(doorbell) = &self.doorbell
            && !done.more
            && done.result != Err(Errno::CANCELED)
        {
            self.ring.poll(doorbell.as_fd(), EventFlags::IN.bits(), true, Op::PollIn, DOORBELL)?;
        }
        Ok(())
    }

    fn sent(&mut self, slots: &Slots, idx: u32, done: Completion) {
        let message = &mut self.messages[idx as usize];
        let n = done.result.unwrap_or(0) as usize;
        let source = slots.source(message.token);
        let Some((source, ring)) = source.and_then(|source| Some((source, source.ring.as_ref()?))) else {
            return self.free_message(idx, done.sent);
        };
        if done.result.is_ok() && n < done.sent.len() {
            // Interrupted: what stopped it is told by the next attempt, if it still holds.
            message.bytes.extend_from_slice(&done.sent[n..]);
            self.queue.push(idx);
            ring.out.set(Out::Queued(idx));
            return;
        }
        if let Err(error) = done.result {
            ring.send_error.set(Some(error));
        }
        if message.then_shutdown {
            let _ = shutdown(source.fd(), Shutdown::Write);
        }
        ring.out.set(Out::Nothing);
        self.free_message(idx, done.sent);
        source.report(WRITABLE);
    }

    /// Gives up last bytes that no peer takes.
    fn end_orphans(&mut self) -> io::Result<()> {
        if self.orphans_seen.elapsed() < ORPHANS_EACH {
            return Ok(());
        }
        self.orphans_seen = Instant::now();
        for (idx, message) in self.messages.iter().enumerate() {
            if message.closed_at.is_some_and(|at| at.elapsed() > LAST_BYTES_TIMEOUT) {
                self.ring.cancel(Op::Send, idx as u64)?;
            }
        }
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // What is queued and what is to be closed; the ring waits for the rest of its memory.
        let _ = self.flush(&Slots::default());
    }
}
