//! The second file with `unsafe`: io_uring's queues, and the memory that is lent to the kernel through them.
//!
//! Memory the kernel may still read or write belongs to `Ring`, never to a future that could be dropped: blocks to
//! receive into lie in a ring of their own until a completion names them, bytes to send until their completion.
#![allow(unsafe_code)]

use std::io;
use std::mem::forget;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use foregate_wire::{Block, Buf};
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::io_uring::{
    IORING_CQE_BUFFER_SHIFT, IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringAsyncCancelFlags, IoringCqeFlags,
    IoringEnterFlags, IoringFeatureFlags, IoringOp, IoringPollFlags, IoringRecvFlags, IoringRegisterOp,
    IoringSetupFlags, IoringSqeFlags, addr_or_splice_off_in_union, buf_union, io_uring_buf, io_uring_buf_reg,
    io_uring_cqe, io_uring_enter, io_uring_enter_arg, io_uring_getevents_arg, io_uring_params, io_uring_ptr,
    io_uring_register, io_uring_setup, io_uring_sqe, io_uring_user_data, ioprio_union, len_union,
    op_flags_union, splice_fd_in_or_file_index_or_addr_len_union,
};
use rustix::net::SendFlags;

/// Requests the kernel is given at once at most; when more are made, it is called in between.
const REQUESTS: u32 = 512;
/// Completions that have room; further ones wait inside the kernel.
const COMPLETIONS: u32 = 4096;
/// Blocks that wait to be received into; a power of two.
const BLOCKS: u16 = 32;
/// The one group of blocks.
const GROUP: u16 = 0;
/// Tries to get lent memory back when a ring ends, and how long each waits.
const LAST_TRIES: u32 = 100;
const LAST_TRY_MS: u64 = 10;

/// What a request asks for, told again by its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    Recv,
    Send,
    PollIn,
    PollOut,
    PollHangup,
    /// Ends another request, or closes: nobody wants to know how it went.
    Aside,
}

const OPS: [Op; 6] = [Op::Recv, Op::Send, Op::PollIn, Op::PollOut, Op::PollHangup, Op::Aside];

/// Bits of a request's name that are the caller's.
pub(crate) const TOKEN_BITS: u32 = 56;

/// One answer of the kernel.
pub(crate) struct Completion {
    pub(crate) op: Op,
    /// The token of the request.
    pub(crate) token: u64,
    /// What the call would have returned.
    pub(crate) result: Result<u32, Errno>,
    /// Further completions of the same request follow.
    pub(crate) more: bool,
    /// The socket held more than was received.
    pub(crate) rest: bool,
    /// What was received.
    pub(crate) received: Option<Buf>,
    /// The bytes that were to be sent.
    pub(crate) sent: Vec<u8>,
}

/// An instance of io_uring. Only the thread that made it may use it.
pub(crate) struct Ring {
    fd: OwnedFd,
    queues: Map,
    requests: Map,
    sq: Queue,
    cq: Queue,
    cqes_at: usize,
    /// The next request's place, published at the next call.
    sq_tail: u32,
    blocks: Blocks,
    /// Bytes being sent, by the low half of their requests' tokens.
    lent: Vec<Option<Vec<u8>>>,
    /// Requests whose memory the kernel may still touch.
    n_touching: usize,
}

/// Offsets of one queue's counters in the shared memory.
struct Queue {
    head_at: usize,
    tail_at: usize,
    mask: u32,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Ring> {
        let mut params = io_uring_params::default();
        params.flags = IoringSetupFlags::CQSIZE
            | IoringSetupFlags::CLAMP
            | IoringSetupFlags::SUBMIT_ALL
            | IoringSetupFlags::SINGLE_ISSUER
            | IoringSetupFlags::DEFER_TASKRUN
            | IoringSetupFlags::NO_SQARRAY;
        params.cq_entries = COMPLETIONS;
        // SAFETY: `params` asks for no memory of ours to be used.
        let fd = unsafe { io_uring_setup(REQUESTS, &mut params)? };
        let needed =
            IoringFeatureFlags::SINGLE_MMAP | IoringFeatureFlags::NODROP | IoringFeatureFlags::EXT_ARG;
        if !params.features.contains(needed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (sq, cq) = (&params.sq_off, &params.cq_off);
        let cqes_end = cq.cqes as usize + params.cq_entries as usize * size_of::<io_uring_cqe>();
        let queues = Map::new(cqes_end, Some((&fd, IORING_OFF_SQ_RING)))?;
        let requests_len = params.sq_entries as usize * size_of::<io_uring_sqe>();
        let requests = Map::new(requests_len, Some((&fd, IORING_OFF_SQES)))?;
        let (sq_mask, cq_mask) = (params.sq_entries - 1, params.cq_entries - 1);
        let blocks = Blocks::register(&fd)?;
        Ok(Ring {
            sq: Queue { head_at: sq.head as usize, tail_at: sq.tail as usize, mask: sq_mask },
            cq: Queue { head_at: cq.head as usize, tail_at: cq.tail as usize, mask: cq_mask },
            cqes_at: cq.cqes as usize,
            sq_tail: 0,
            blocks,
            lent: Vec::new(),
            n_touching: 0,
            fd,
            queues,
            requests,
        })
    }

    /// Receives from `fd` again and again, until `limit_bytes` have come in all.
    pub(crate) fn recv(&mut self, fd: BorrowedFd<'_>, limit_bytes: u32, token: u64) -> io::Result<()> {
        let sqe = io_uring_sqe {
            flags: IoringSqeFlags::BUFFER_SELECT,
            ioprio: ioprio_union { recv_flags: IoringRecvFlags::MULTISHOT },
            buf: buf_union { buf_group: GROUP },
            splice_fd_in_or_file_index_or_addr_len: splice_fd_in_or_file_index_or_addr_len_union {
                // Called `optlen` by the kernel: for this request the bytes in all.
                file_index: limit_bytes,
            },
            ..request(IoringOp::Recv, fd.as_raw_fd(), name(Op::Recv, token))
        };
        self.n_touching += 1;
        self.push(sqe)
    }

    /// Sends all of `bytes` to `fd`, waiting for room as often as need be. No other send under way may have the same
    /// low half of its token.
    pub(crate) fn send(&mut self, fd: RawFd, bytes: Vec<u8>, token: u64) -> io::Result<()> {
        let idx = token as u32 as usize;
        if self.lent.len() <= idx {
            self.lent.resize_with(idx + 1, || None);
        }
        assert!(self.lent[idx].is_none(), "each send under way has an index of its own");
        let sqe = io_uring_sqe {
            addr_or_splice_off_in: addr_or_splice_off_in_union {
                addr: io_uring_ptr::new(bytes.as_ptr().cast_mut().cast()),
            },
            len: len_union { len: bytes.len() as u32 },
            op_flags: op_flags_union {
                send_flags: SendFlags::NOSIGNAL | SendFlags::from_bits_retain(libc::MSG_WAITALL as u32),
            },
            ..request(IoringOp::Send, fd, name(Op::Send, token))
        };
        // Moving the vector does not move its bytes, and nobody touches them before the completion.
        self.lent[idx] = Some(bytes);
        self.n_touching += 1;
        self.push(sqe)
    }

    /// Asks once when one of `events` (as of epoll) holds; with `each` again and again, at each change.
    pub(crate) fn poll(
        &mut self,
        fd: BorrowedFd<'_>,
        events: u32,
        each: bool,
        op: Op,
        token: u64,
    ) -> io::Result<()> {
        let poll_flags = if each { IoringPollFlags::ADD_MULTI } else { IoringPollFlags::empty() };
        let sqe = io_uring_sqe {
            len: len_union { poll_flags },
            op_flags: op_flags_union { poll32_events: events },
            ..request(IoringOp::PollAdd, fd.as_raw_fd(), name(op, token))
        };
        self.push(sqe)
    }

    /// Ends the request of this name, if it has not ended by itself. Its completion comes all the same.
    pub(crate) fn cancel(&mut self, op: Op, token: u64) -> io::Result<()> {
        let sqe = io_uring_sqe {
            flags: IoringSqeFlags::CQE_SKIP_SUCCESS,
            addr_or_splice_off_in: addr_or_splice_off_in_union {
                user_data: io_uring_user_data::from_u64(name(op, token)),
            },
            ..request(IoringOp::AsyncCancel, -1, name(Op::Aside, 0))
        };
        self.push(sqe)
    }

    /// Closes `fd` after the requests that have been made before.
    pub(crate) fn close(&mut self, fd: OwnedFd) -> io::Result<()> {
        let sqe = io_uring_sqe {
            flags: IoringSqeFlags::CQE_SKIP_SUCCESS,
            ..request(IoringOp::Close, fd.into_raw_fd(), name(Op::Aside, 0))
        };
        self.push(sqe)
    }

    fn push(&mut self, sqe: io_uring_sqe) -> io::Result<()> {
        if self.n_unsubmitted() > self.sq.mask {
            self.submit()?;
            if self.n_unsubmitted() > self.sq.mask {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
        let place = (self.sq_tail & self.sq.mask) as usize;
        // SAFETY: the mask keeps `place` inside of the queue, and a place behind the kernel's head is ours to write.
        unsafe { self.requests.at::<io_uring_sqe>(place * size_of::<io_uring_sqe>()).write(sqe) };
        self.sq_tail = self.sq_tail.wrapping_add(1);
        Ok(())
    }

    fn n_unsubmitted(&self) -> u32 {
        self.sq_tail.wrapping_sub(self.counter(self.sq.head_at).load(Ordering::Acquire))
    }

    /// Hands over the requests made so far, and waits for nothing.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        self.counter(self.sq.tail_at).store(self.sq_tail, Ordering::Release);
        let count = self.n_unsubmitted();
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the requests refer to memory that this ring keeps until their completions.
        lenient(unsafe { io_uring_enter(&self.fd, count, 0, IoringEnterFlags::empty()) })
    }

    /// Hands over the requests made so far, lets the kernel work, and waits up to `wait_ms` (without limit if `None`)
    /// for a completion.
    pub(crate) fn enter(&mut self, wait_ms: Option<u64>) -> io::Result<()> {
        self.counter(self.sq.tail_at).store(self.sq_tail, Ordering::Release);
        let count = self.n_unsubmitted();
        if wait_ms == Some(0) || self.has_completion() {
            // SAFETY: the requests refer to memory that this ring keeps until their completions.
            return lenient(unsafe { io_uring_enter(&self.fd, count, 0, IoringEnterFlags::GETEVENTS) });
        }
        let limit = wait_ms
            .map(|ms| Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 });
        let mut arg = io_uring_getevents_arg::default();
        if let Some(limit) = &limit {
            arg.ts = io_uring_ptr::new((&raw const *limit).cast_mut().cast());
        }
        let flags = IoringEnterFlags::GETEVENTS | IoringEnterFlags::EXT_ARG;
        // SAFETY: as above; `arg` and the time it points to live through the call.
        lenient(unsafe { io_uring_enter_arg(&self.fd, count, 1, flags, Some(&arg)) })
    }

    fn has_completion(&self) -> bool {
        let head = self.counter(self.cq.head_at).load(Ordering::Relaxed);
        head != self.counter(self.cq.tail_at).load(Ordering::Acquire)
    }

    /// The next answer that is there.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let head = self.counter(self.cq.head_at).load(Ordering::Relaxed);
        if head == self.counter(self.cq.tail_at).load(Ordering::Acquire) {
            return None;
        }
        let place = self.cqes_at + (head & self.cq.mask) as usize * size_of::<io_uring_cqe>();
        let cqe = self.queues.at::<io_uring_cqe>(place);
        // SAFETY: the mask keeps the place inside of the queue, and the kernel has written what lies before its tail.
        let (name, returned, flags) = unsafe { ((*cqe).user_data.u64_(), (*cqe).res, (*cqe).flags) };
        self.counter(self.cq.head_at).store(head.wrapping_add(1), Ordering::Release);
        let op = *OPS.get((name >> TOKEN_BITS) as usize).expect("because only such names are given");
        let (token, more) = (name & ((1 << TOKEN_BITS) - 1), flags.contains(IoringCqeFlags::MORE));
        let mut received = None;
        if flags.contains(IoringCqeFlags::BUFFER) {
            let len = usize::try_from(returned).unwrap_or(0);
            received = Some(self.blocks.take((flags.bits() >> IORING_CQE_BUFFER_SHIFT) as u16, len));
        }
        let mut sent = Vec::new();
        if op == Op::Send {
            sent = self.lent.get_mut(token as u32 as usize).and_then(Option::take).unwrap_or_default();
        }
        if matches!(op, Op::Recv | Op::Send) && !more {
            self.n_touching -= 1;
        }
        let result = u32::try_from(returned).map_err(|_| Errno::from_raw_os_error(-returned));
        let rest = flags.contains(IoringCqeFlags::SOCK_NONEMPTY);
        Some(Completion { op, token, result, more, rest, received, sent })
    }

    /// One of the counters shared with the kernel.
    fn counter(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the kernel gave the offset of an aligned u32 inside of the mapping, which lives as long as `self`.
        unsafe { AtomicU32::from_ptr(self.queues.at(at)) }
    }

    /// Ends every request; whether the kernel has given back all memory.
    fn quiesce(&mut self) -> bool {
        for _ in 0..LAST_TRIES {
            let all = io_uring_sqe {
                op_flags: op_flags_union {
                    cancel_flags: IoringAsyncCancelFlags::ALL | IoringAsyncCancelFlags::ANY,
                },
                ..request(IoringOp::AsyncCancel, -1, name(Op::Aside, 0))
            };
            // Also hands over what was still to be closed.
            if self.push(all).is_err() || self.enter(Some(LAST_TRY_MS)).is_err() {
                return false;
            }
            while self.has_completion() {
                self.next();
            }
            if self.n_touching == 0 {
                return true;
            }
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.quiesce() {
            // The kernel may still write there: rather lost than used for something else.
            forget(std::mem::take(&mut self.lent));
            forget(std::mem::take(&mut self.blocks.lent));
        }
    }
}

/// A request's fields that all have.
fn request(opcode: IoringOp, fd: RawFd, name: u64) -> io_uring_sqe {
    io_uring_sqe { opcode, fd, user_data: io_uring_user_data::from_u64(name), ..Default::default() }
}

fn name(op: Op, token: u64) -> u64 {
    (op as u64) << TOKEN_BITS | token
}

/// Not errors: the time is up, a signal came, or completions must be taken first.
fn lenient(entered: rustix::io::Result<u32>) -> io::Result<()> {
    match entered {
        Ok(_) | Err(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Blocks to receive into, in a ring that the kernel takes them from.
struct Blocks {
    ring: Map,
    /// Those the kernel may take, by number.
    lent: Vec<Block>,
    tail: u16,
}

impl Blocks {
    fn register(ring_fd: &OwnedFd) -> io::Result<Blocks> {
        let ring = Map::new(usize::from(BLOCKS) * size_of::<io_uring_buf>(), None)?;
        let mut registration = io_uring_buf_reg::default();
        registration.ring_addr = io_uring_ptr::new(ring.at::<std::ffi::c_void>(0));
        registration.ring_entries = u32::from(BLOCKS);
        registration.bgid = GROUP;
        // SAFETY: `registration` lives through the call; the ring it names lives in `Blocks`, longer than the ring's
        // requests.
        unsafe {
            let what = IoringRegisterOp::RegisterPbufRing;
            io_uring_register(ring_fd, what, (&raw const registration).cast(), 1)?;
        }
        let mut blocks = Blocks { ring, lent: Vec::with_capacity(BLOCKS.into()), tail: 0 };
        for number in 0..BLOCKS {
            blocks.lent.push(Block::take());
            blocks.lend(number);
        }
        Ok(blocks)
    }

    /// Takes the first `len` bytes of the block that the kernel has filled, and lends it another one.
    fn take(&mut self, number: u16, len: usize) -> Buf {
        let block = std::mem::replace(&mut self.lent[usize::from(number)], Block::take());
        self.lend(number);
        block.fill(len)
    }

    fn lend(&mut self, number: u16) {
        let memory = self.lent[usize::from(number)].spare();
        let place = usize::from(self.tail & (BLOCKS - 1));
        let entry = self.ring.at::<io_uring_buf>(place * size_of::<io_uring_buf>());
        // SAFETY: the place lies inside of the mapping and the kernel does not read it before the tail is moved. The
        // fields are written one by one because the first entry's last field is the tail itself.
        unsafe {
            (&raw mut (*entry).addr).write(io_uring_ptr::new(memory.as_mut_ptr().cast()));
            (&raw mut (*entry).len).write(memory.len() as u32);
            (&raw mut (*entry).bid).write(number);
        }
        self.tail = self.tail.wrapping_add(1);
        // The last two bytes of the first entry (io_uring_register(2), IORING_REGISTER_PBUF_RING).
        let tail = self.ring.at::<u16>(size_of::<io_uring_buf>() - size_of::<u16>());
        // SAFETY: an aligned u16 inside of the mapping, which lives as long as `self`.
        unsafe { AtomicU16::from_ptr(tail) }.store(self.tail, Ordering::Release);
    }
}

/// Memory mapped into this process: the kernel's queues, or memory of ours.
struct Map {
    start: *mut u8,
    len: usize,
}

impl Map {
    fn new(len: usize, of: Option<(&OwnedFd, u64)>) -> io::Result<Map> {
        let (kind, fd, offset) = match of {
            Some((fd, offset)) => (libc::MAP_SHARED, fd.as_raw_fd(), offset),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes touches no memory of ours.
        let start = unsafe {
            libc::mmap(null_mut(), len, access, kind | libc::MAP_POPULATE, fd, offset as libc::off_t)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Map { start: start.cast(), len })
    }

    /// The address of a `T` at this offset.
    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.len, "what is shared lies inside of the mapping");
        // SAFETY: the offset lies inside of the mapping.
        unsafe { self.start.add(offset).cast() }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and every reference into it borrows `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
        self.start = without_provenance_mut(0);
    }
}
