//! Readiness: each descriptor stands once in this thread's epoll, edge-triggered, and its state is kept beside it.
//!
//! A stream registers for everything (IN, OUT, RDHUP) when it is made and never again. What an event reports is
//! remembered in `Source` until a call on the socket shows that it no longer holds.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 512;

/// The longest wait: bounds the arithmetic, and nothing else.
const WAIT_MS_MAX: u64 = 24 * 3600 * 1000;

/// The token of the inbox's doorbell.
const DOORBELL: u64 = u64::MAX;

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
    /// A stream: each change of anything once.
    Stream,
    /// A listening socket that several threads may share: reported until accepted, to one thread at a time.
    Listener,
}

impl Watch {
    fn flags(self) -> EventFlags {
        match self {
            Watch::Stream => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            Watch::Listener => EventFlags::IN | EventFlags::EXCLUSIVE,
        }
    }
}

/// What is known about one descriptor, and who waits for what.
pub(crate) struct Source {
    ready: Cell<u8>,
    read: Waiter,
    write: Waiter,
    hangup: Waiter,
}

/// A descriptor's place in epoll. Dropping it gives the place up; closing the descriptor takes it out of epoll.
pub(crate) struct Registered {
    source: Rc<Source>,
    token: u64,
}

impl Registered {
    /// Watches `fd`. `ready` is what may be tried at once, without an event.
    pub(crate) fn new(fd: impl AsFd, watch: Watch, ready: u8) -> io::Result<Registered> {
        let source = Rc::new(Source::new(ready));
        let token = REACTOR.with_borrow_mut(|reactor| {
            let reactor = match reactor {
                Some(reactor) => reactor,
                None => reactor.insert(Reactor::new()?),
            };
            let token = reactor.insert(source.clone());
            if let Err(error) = epoll::add(&reactor.epoll, fd, EventData::new_u64(token), watch.flags()) {
                reactor.remove(token);
                return Err(error.into());
            }
            io::Result::Ok(token)
        })?;
        Ok(Registered { source, token })
    }

    /// Puts `fd` back into epoll after `withdraw`.
    pub(crate) fn restore(&self, fd: impl AsFd, watch: Watch) -> io::Result<()> {
        REACTOR.with_borrow(|reactor| {
            let reactor = reactor.as_ref().expect("because a reactor with a registration stays");
            Ok(epoll::add(&reactor.epoll, fd, EventData::new_u64(self.token), watch.flags())?)
        })
    }

    /// Takes `fd` out of epoll: needed when other descriptors of the same socket stay open.
    pub(crate) fn withdraw(&self, fd: impl AsFd) {
        let _ = REACTOR.try_with(|reactor| {
            if let Some(reactor) = &*reactor.borrow() {
                let _ = epoll::delete(&reactor.epoll, fd);
            }
        });
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
            if let Some(reactor) = &mut *reactor.borrow_mut() {
                reactor.remove(self.token);
            }
        });
    }
}

impl Source {
    fn new(ready: u8) -> Source {
        Source { ready: Cell::new(ready), read: Waiter::new(), write: Waiter::new(), hangup: Waiter::new() }
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
        Poll::Pending
    }

    fn report(&self, flags: EventFlags) {
        let mut ready = 0;
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            ready |= READABLE;
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            ready |= WRITABLE;
        }
        if flags.contains(EventFlags::RDHUP) {
            ready |= PEER_CLOSED;
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            ready |= BROKEN;
        }
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

/// Opens this thread's epoll, unless there is one already, and watches the doorbell.
pub(crate) fn start(doorbell: impl AsFd) -> io::Result<()> {
    REACTOR.with_borrow_mut(|reactor| {
        let reactor = match reactor {
            Some(reactor) => reactor,
            None => reactor.insert(Reactor::new()?),
        };
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&reactor.epoll, doorbell, EventData::new_u64(DOORBELL), flags)?)
    })
}

/// Watches the doorbell no longer.
pub(crate) fn stop(doorbell: impl AsFd) {
    REACTOR.with_borrow(|reactor| {
        if let Some(reactor) = reactor {
            let _ = epoll::delete(&reactor.epoll, doorbell);
        }
    });
}

/// Waits up to `wait_ms` (without limit if `None`) and wakes those whose descriptors are ready; true when the
/// doorbell rang.
pub(crate) fn wait(wait_ms: Option<u64>) -> io::Result<bool> {
    let timeout = wait_ms.map(|ms| {
        let ms = ms.min(WAIT_MS_MAX);
        Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
    });
    let mut rung = false;
    REACTOR.with_borrow_mut(|reactor| {
        let reactor = reactor.as_mut().expect("because run starts the reactor before the loop");
        reactor.events.clear();
        let space = rustix::buffer::spare_capacity(&mut reactor.events);
        match epoll::wait(&reactor.epoll, space, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &reactor.events {
            match event.data.u64() {
                DOORBELL => rung = true,
                token => {
                    if let Some(source) = reactor.source(token) {
                        source.report(event.flags);
                    }
                }
            }
        }
        Ok(rung)
    })
}

struct Reactor {
    epoll: OwnedFd,
    events: Vec<Event>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    /// Rises each time the slot is freed, so that an event of a closed descriptor finds nobody.
    generation: u32,
    source: Option<Rc<Source>>,
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
            slots: Vec::new(),
            free: Vec::new(),
        })
    }

    fn source(&self, token: u64) -> Option<&Source> {
        let slot = self.slots.get(token as u32 as usize)?;
        if slot.generation == (token >> 32) as u32 { slot.source.as_deref() } else { None }
    }

    fn insert(&mut self, source: Rc<Source>) -> u64 {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, source: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[idx as usize];
        slot.source = Some(source);
        u64::from(slot.generation) << 32 | u64::from(idx)
    }

    fn remove(&mut self, token: u64) {
        let idx = token as u32;
        let slot = &mut self.slots[idx as usize];
        slot.source = None;
        // The highest generation is left out, so that no token ever equals DOORBELL.
        slot.generation = (slot.generation + 1) % (u32::MAX - 1);
        self.free.push(idx);
    }
}
