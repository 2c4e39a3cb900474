//! Pipes through which bytes pass from one socket to another without being copied (splice(2)).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe is made to hold, bytes. The kernel counts a page for each packet, so that small ones fill it early.
const CAPACITY: usize = 256 << 10;
/// Pipes that one thread has at once, two descriptors each. Where all are at work, bytes are copied.
const PIPES_MAX: usize = 64;
/// Empty pipes that one thread keeps.
const KEPT_MAX: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static PIPES: Cell<usize> = const { Cell::new(0) };
}

/// Bytes on their way, which only the kernel sees. Dropped before all were sent, they are lost.
pub struct Pipe {
    /// `None` only once it is dropped.
    ends: Option<Ends>,
    held: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// An empty pipe; `None` where this thread has enough of them, or the system gives none.
    pub(crate) fn take() -> Option<Pipe> {
        if let Some(ends) = KEPT.with_borrow_mut(Vec::pop) {
            return Some(Pipe { ends: Some(ends), held: 0 });
        }
        if PIPES.get() >= PIPES_MAX {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Best effort: a user may have too many large ones already (/proc/sys/fs/pipe-user-pages-soft).
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        PIPES.set(PIPES.get() + 1);
        Some(Pipe { ends: Some(Ends { read, write }), held: 0 })
    }

    /// Bytes that have not been sent.
    pub fn len(&self) -> usize {
        self.held
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves up to `max` bytes of what a socket has received in here.
    pub(crate) fn fill(&mut self, from: impl AsFd, max: usize) -> rustix::io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(Errno::BADF) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let n = splice(from, None, &ends.write, None, max.min(CAPACITY), flags)?;
        self.held += n;
        Ok(n)
    }

    /// Moves what it holds on to a socket, as far as that has room.
    pub(crate) fn drain(&mut self, to: impl AsFd) -> rustix::io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(Errno::BADF) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let n = splice(&ends.read, None, to, None, self.held, flags)?;
        self.held -= n;
        Ok(n)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let room = self.held == 0 && kept.len() < KEPT_MAX;
            kept.extend(self.ends.take_if(|_| room));
        });
        if kept.is_err() || self.ends.is_some() {
            PIPES.set(PIPES.get() - 1);
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipe({} bytes)", self.held)
    }
}
