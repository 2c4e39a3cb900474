//! The way into a thread's loop from other threads: an inbox behind a lock and an eventfd as its doorbell.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::EventfdFlags;

use super::{guarded, task};

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    static INBOX: RefCell<Option<Arc<Inbox>>> = const { RefCell::new(None) };
    /// The id of `INBOX`, 0 when there is none: what each wake compares with.
    static ID: Cell<usize> = const { Cell::new(0) };
}

/// Reaches one thread's loop from any other. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    inbox: Arc<Inbox>,
}

impl Remote {
    /// Has `f` run on that thread, in order with others of this handle; never if its loop has ended.
    pub fn run(&self, f: impl FnOnce() + Send + 'static) {
        self.inbox.push(|letters| letters.jobs.push(Box::new(f)));
    }
}

/// What other threads have for this one.
pub(super) struct Inbox {
    letters: Mutex<Letters>,
    /// Whether the doorbell has rung since the inbox was last emptied.
    rung: AtomicBool,
    doorbell: OwnedFd,
}

#[derive(Default)]
struct Letters {
    wakes: Vec<u64>,
    jobs: Vec<Job>,
    /// The loop has ended: nothing is taken any more.
    closed: bool,
}

impl Inbox {
    /// Unequal for any two loops that live at once.
    #[inline]
    pub(super) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Queues a task by its key, from another thread.
    pub(super) fn wake(&self, key: u64) {
        self.push(|letters| letters.wakes.push(key));
    }

    fn push(&self, put: impl FnOnce(&mut Letters)) {
        {
            let mut letters = self.lock();
            if letters.closed {
                return;
            }
            put(&mut letters);
        }
        if !self.rung.swap(true, Ordering::SeqCst) {
            // The counter cannot overflow within the age of the universe, so writing never blocks or fails.
            let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens this thread's inbox. Its doorbell is for epoll, which watches it edge-triggered; it is never read.
pub(super) fn open() -> io::Result<Arc<Inbox>> {
    let doorbell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let inbox = Arc::new(Inbox { letters: Mutex::default(), rung: AtomicBool::new(false), doorbell });
    ID.set(inbox.id());
    INBOX.set(Some(inbox.clone()));
    Ok(inbox)
}

/// Closes the inbox; what it still holds is dropped.
pub(super) fn close() -> Option<Arc<Inbox>> {
    ID.set(0);
    let inbox = INBOX.take()?;
    let letters = std::mem::replace(&mut *inbox.lock(), Letters { closed: true, ..Letters::default() });
    guarded(|| drop(letters));
    Some(inbox)
}

pub(super) fn inbox() -> Option<Arc<Inbox>> {
    INBOX.with_borrow(Clone::clone)
}

pub(super) fn current() -> Option<Remote> {
    inbox().map(|inbox| Remote { inbox })
}

#[inline]
pub(super) fn current_id() -> usize {
    ID.get()
}

/// Queues what others woke and runs what they sent.
pub(super) fn run_inbox() {
    let Some(inbox) = inbox() else { return };
    // First the flag, then the letters: who comes in between rings once more.
    inbox.rung.store(false, Ordering::SeqCst);
    let letters = std::mem::take(&mut *inbox.lock());
    letters.wakes.into_iter().for_each(task::make_ready);
    for job in letters.jobs {
        guarded(job);
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }
}
