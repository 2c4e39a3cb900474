//! Readiness: each descriptor is known once to this thread's driver, and its state is kept beside it.
//!
//! What an event reports is remembered in `Source` until a call on the socket shows that it no longer holds.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

mod epoll;
mod ringed;
mod slots;
mod uring;

use epoll::Epoll;
pub(crate) use ringed::Received;
use ringed::Ringed;
use slots::Slots;
use uring::Uring;

use crate::events::{self, Events};

/// The longest wait: bounds the arithmetic, and nothing else.
const WAIT_MS_MAX: u64 = 24 * 3600 * 1000;

/// The token of the inbox's doorbell: no slot's.
const DOORBELL: u64 = (1 << 56) - 1;

/// `recv` may be tried.
pub(crate) const READABLE: u8 = 1;
/// `send` may be tried.
pub(crate) const WRITABLE: u8 = 2;
/// The peer has shut down its sending half.
pub(crate) const PEER_CLOSED: u8 = 4;
/// Both halves are down, or the socket has an error.
pub(crate) const BROKEN: u8 = 8;

thread_local! {
    static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// How a descriptor is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Each change of anything is reported once.
    Stream,
    Datagrams,
    /// A listening socket that several threads may share: reported until accepted, to one thread at a time.
    Listener,
    /// An eventfd that is never read: each write to it is reported once.
    Doorbell,
    /// An epoll with sockets of its own: reported when one of them has something new.
    Crowd,
}

/// What is known about one descriptor, and who waits for what.
pub(crate) struct Source {
    fd: OwnedFd,
    ready: Cell<u8>,
    /// READABLE is a guess: the last read filled its block to the brim, and nothing may have been left.
    pub(crate) guessed: Cell<bool>,
    read: Waiter,
    write: Waiter,
    hangup: Waiter,
    /// What only the driver on io_uring needs.
    ring: Option<Box<Ringed>>,
}

/// A descriptor's place in the driver. Dropping it gives the place up and closes the descriptor.
pub(crate) struct Registered {
    source: Rc<Source>,
    token: u64,
}

impl Registered {
    /// Watches `fd`. `ready` is what may be tried at once, without an event.
    pub(crate) fn new(fd: OwnedFd, watch: Watch, ready: u8) -> io::Result<Registered> {
        REACTOR.with_borrow_mut(|reactor| {
            let Reactor { slots, driver } = Reactor::of(reactor)?;
            let ring = match driver {
                Driver::Epoll(_) => None,
                Driver::Uring(_) => Some(Box::new(Ringed::new(slots.next_token(), watch))),
            };
            let source = Rc::new(Source::new(fd, ready, ring));
            let token = slots.insert(source.clone());
            if let Err(error) = driver.add(source.fd(), token, watch) {
                slots.remove(token);
                return Err(error);
            }
            Ok(Registered { source, token })
        })
    }

    /// Watches the descriptor again after `withdraw`.
    pub(crate) fn restore(&self, watch: Watch) -> io::Result<()> {
        REACTOR.with_borrow_mut(|reactor| {
            let reactor = reactor.as_mut().expect("because a reactor with a registration stays");
            reactor.driver.add(self.fd(), self.token, watch)
        })
    }

    /// Watches the descriptor no longer. Also needed before it closes while others of the same socket stay open.
    pub(crate) fn withdraw(&self) {
        let _ = REACTOR.try_with(|reactor| {
            match reactor.borrow_mut().as_mut().map(|reactor| &mut reactor.driver) {
                Some(Driver::Epoll(epoll)) => epoll.delete(self.fd()),
                Some(Driver::Uring(uring)) => self.ring.iter().for_each(|ring| uring.delete(ring)),
                None => {}
            }
        });
    }
}

impl Registered {
    /// Gives the place up without closing the descriptor. `None` where the driver still has business with it.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        self.withdraw();
        let source = self.source.clone();
        drop(self);
        Rc::try_unwrap(source).ok().map(|source| source.fd)
    }
}

impl std::ops::Deref for Registered {
    type Target = Source;

    #[inline]
    fn deref(&self) -> &Source {
        &self.source
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = REACTOR.try_with(|reactor| {
            if let Some(Reactor { slots, driver }) = &mut *reactor.borrow_mut() {
                let source = slots.remove(self.token);
                if let (Driver::Uring(uring), Some(source)) = (driver, source) {
                    uring.close(source);
                }
            }
        });
    }
}

impl Source {
    fn new(fd: OwnedFd, ready: u8, ring: Option<Box<Ringed>>) -> Source {
        Source {
            fd,
            ready: Cell::new(ready),
            guessed: Cell::new(false),
            ring,
            read: Waiter::new(),
            write: Waiter::new(),
            hangup: Waiter::new(),
        }
    }

    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// It is the driver on io_uring that receives.
    pub(crate) fn is_ringed(&self) -> bool {
        self.ring.is_some()
    }

    /// Whether the driver keeps nothing of it between events.
    pub(crate) fn is_free(&self) -> bool {
        self.ring.is_none()
    }

    #[inline]
    pub(crate) fn is(&self, flags: u8) -> bool {
        self.ready.get() & flags != 0
    }

    /// A call has shown that `flags` no longer hold.
    #[inline]
    pub(crate) fn clear(&self, flags: u8) {
        self.ready.set(self.ready.get() & !flags);
    }

    #[inline]
    pub(crate) fn set(&self, flags: u8) {
        self.ready.set(self.ready.get() | flags);
    }

    #[inline]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(READABLE, &self.read, cx)
    }

    #[inline]
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(WRITABLE, &self.write, cx)
    }

    #[inline]
    pub(crate) fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(PEER_CLOSED | BROKEN, &self.hangup, cx)
    }

    #[inline]
    fn poll(&self, flags: u8, waiter: &Waiter, cx: &mut Context<'_>) -> Poll<()> {
        if self.is(flags) {
            return Poll::Ready(());
        }
        waiter.park(cx.waker());
        if let Some(ring) = &self.ring
            && ring.needed(flags).is_some()
        {
            with_uring(|uring, _| uring.arm(self, ring, flags));
        }
        Poll::Pending
    }

    /// Remembers what an event has told and wakes those concerned.
    fn report(&self, ready: u8) {
        self.set(ready);
        if ready & READABLE != 0 {
            self.read.wake();
        }
        if ready & WRITABLE != 0 {
            self.write.wake();
        }
        if ready & (PEER_CLOSED | BROKEN) != 0 {
            self.hangup.wake();
        }
    }
}

/// One task that waits. Its waker stays after the wake, so that the next wait of the same task counts no reference.
struct Waiter {
    waker: RefCell<Option<Waker>>,
    parked: Cell<bool>,
}

impl Waiter {
    const fn new() -> Waiter {
        Waiter { waker: RefCell::new(None), parked: Cell::new(false) }
    }

    #[inline]
    fn park(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        match &*kept {
            Some(old) if old.will_wake(waker) => {}
            _ => *kept = Some(waker.clone()),
        }
        self.parked.set(true);
    }

    #[inline]
    fn wake(&self) {
        if self.parked.replace(false)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

/// Opens this thread's reactor, unless there is one already, and watches the doorbell.
pub(crate) fn start(doorbell: impl AsFd) -> io::Result<()> {
    REACTOR.with_borrow_mut(|reactor| {
        Reactor::of(reactor)?.driver.add(doorbell.as_fd(), DOORBELL, Watch::Doorbell)
    })
}

/// Watches the doorbell no longer; what was to be sent is sent.
pub(crate) fn stop(doorbell: impl AsFd) {
    REACTOR.with_borrow_mut(|reactor| match reactor {
        Some(Reactor { driver: Driver::Epoll(epoll), .. }) => epoll.delete(doorbell),
        Some(Reactor { driver: Driver::Uring(uring), slots }) => uring.stop(slots),
        None => {}
    });
}

/// Waits up to `wait_ms` (without limit if `None`) and wakes those whose descriptors are ready; true when the
/// doorbell rang.
pub(crate) fn wait(wait_ms: Option<u64>) -> io::Result<bool> {
    let wait_ms = wait_ms.map(|ms| ms.min(WAIT_MS_MAX));
    REACTOR.with_borrow_mut(|reactor| {
        let Reactor { slots, driver } =
            reactor.as_mut().expect("because run starts the reactor before the loop");
        match driver {
            Driver::Epoll(epoll) => epoll.wait(slots, wait_ms),
            Driver::Uring(uring) => uring.wait(slots, wait_ms),
        }
    })
}

/// Gives up room that many descriptors at once have needed.
pub(crate) fn shrink() {
    REACTOR.with_borrow_mut(|reactor| reactor.iter_mut().for_each(|it| it.slots.shrink()));
}

/// Whether this kernel lets us use the driver on io_uring.
pub(crate) fn probe_uring() -> io::Result<()> {
    Uring::probe()
}

struct Reactor {
    slots: Slots,
    driver: Driver,
}

enum Driver {
    Epoll(Epoll),
    Uring(Box<Uring>),
}

impl Reactor {
    /// This thread's, made when first asked for.
    fn of(place: &mut Option<Reactor>) -> io::Result<&mut Reactor> {
        match place {
            Some(reactor) => Ok(reactor),
            None => Ok(place.insert(Reactor { slots: Slots::default(), driver: Driver::new()? })),
        }
    }
}

impl Driver {
    /// Each thread has its own; when io_uring has no room for one more (RLIMIT_MEMLOCK), epoll serves as well.
    fn new() -> io::Result<Driver> {
        if events::chosen() == Events::IoUring
            && let Ok(uring) = Uring::new()
        {
            return Ok(Driver::Uring(Box::new(uring)));
        }
        Epoll::new().map(Driver::Epoll)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        match self {
            Driver::Epoll(epoll) => epoll.add(fd, token, watch),
            Driver::Uring(uring) if watch == Watch::Doorbell => uring.watch_doorbell(fd),
            // Watched when somebody waits for it.
            Driver::Uring(_) => Ok(()),
        }
    }
}

/// Runs `f` on this thread's io_uring; `None` when there is none (any more: the thread ends).
fn with_uring<T>(f: impl FnOnce(&mut Uring, &Slots) -> T) -> Option<T> {
    let run = |reactor: &RefCell<Option<Reactor>>| match &mut *reactor.borrow_mut() {
        Some(Reactor { slots, driver: Driver::Uring(uring) }) => Some(f(uring, slots)),
        _ => None,
    };
    REACTOR.try_with(run).ok().flatten()
}
