//! Connections that nobody uses: kept open per thread and group, watched, so that reuse needs no check.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foregate_net::{Addr, clock, runtime};

use crate::connect::{Lane, Link};
use crate::group::Keepalive;

/// One thread's idle connections to one group, oldest first.
#[derive(Default)]
pub(crate) struct Idle {
    parked: RefCell<Vec<Parked>>,
    /// The watcher's: every idle connection wakes it when something happens to it.
    watcher: RefCell<Option<Waker>>,
    watched: Cell<bool>,
    deadline: clock::Deadline,
}

struct Parked {
    link: Box<Link>,
    lane: Lane,
    /// `clock::ms` of its end.
    until: u64,
}

impl Idle {
    /// The youngest connection to this address, if there is one.
    pub(crate) fn take(&self, addr: &Addr, lane: &Lane) -> Option<Box<Link>> {
        loop {
            let mut parked = self.parked.borrow_mut();
            let fits = |it: &Parked| it.lane == *lane && it.link.conn.peer_addr() == addr;
            let idx = parked.iter().rposition(fits)?;
            let mut link = parked.remove(idx).link;
            if !self.has_stirred(&mut link) {
                return Some(link);
            }
        }
    }

    /// Keeps a connection, if the rules and its state allow it; the oldest makes room.
    pub(crate) fn park(self: &Rc<Self>, mut link: Box<Link>, lane: Lane, rules: &Keepalive) {
        let now = clock::ms();
        if rules.connections == 0
            || link.requests >= rules.requests
            || now.saturating_sub(link.since) > rules.time.as_millis() as u64
        {
            return;
        }
        link.deadline.disarm();
        self.watch();
        if self.has_stirred(&mut link) {
            return;
        }
        let mut parked = self.parked.borrow_mut();
        if parked.len() >= rules.connections {
            parked.remove(0);
        }
        if !self.deadline.is_armed() {
            self.deadline.arm(rules.timeout);
        }
        parked.push(Parked { link, lane, until: now + rules.timeout.as_millis() as u64 });
    }

    /// Whether an idle connection was closed, or sent what nobody asked for. Asks no system call where nothing came.
    fn has_stirred(&self, link: &mut Link) -> bool {
        let waker = self.watcher.borrow();
        let waker = waker.as_ref().unwrap_or(Waker::noop());
        link.has_stirred(&mut Context::from_waker(waker))
    }

    /// Starts the watcher, unless it runs. It ends with the last view of the group.
    fn watch(self: &Rc<Self>) {
        if !self.watched.replace(true) {
            let idle = Rc::downgrade(self);
            runtime::spawn(poll_fn(move |cx| Self::sweep(&idle, cx))).detach();
        }
    }

    /// Drops what has stirred or grown too old.
    fn sweep(idle: &Weak<Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle) = idle.upgrade() else { return Poll::Ready(()) };
        if !idle.watcher.borrow().as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *idle.watcher.borrow_mut() = Some(cx.waker().clone());
        }
        let now = clock::ms();
        let mut parked = idle.parked.borrow_mut();
        parked.retain_mut(|it| it.until > now && !it.link.has_stirred(cx));
        match parked.iter().map(|it| it.until).min() {
            Some(first) => idle.deadline.arm(Duration::from_millis(first - now)),
            None => idle.deadline.disarm(),
        }
        _ = idle.deadline.poll_expired(cx);
        Poll::Pending
    }
}
