//! Connections that have been idle for a while: no task and no future, only what their next request needs. One task of
//! the thread looks after all of them.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foregate_core::Connection;
use foregate_core::stats::Count;
use foregate_net::clock::{self, Deadline};
use foregate_net::{Addr, Conn, Crowd, Stream, runtime};

use super::h1::Client;
use super::places::Places;
use super::{Counted, Doing, Thread, live};

/// A connection that has waited so long for its next request is parked. Those of a busy client never are.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(1);

/// So long after many were parked, the memory of their tasks goes back to the system.
const GIVE_BACK_AFTER_MS: u64 = 500;

/// The same after a few: others may soon need it.
const GIVE_BACK_FEW_AFTER_MS: u64 = 5_000;

/// So many are many.
const MANY: u32 = 64;

/// One connection.
pub(super) struct Parked {
    pub(super) counted: Counted,
    pub(super) facts: Rc<Connection>,
    pub(super) listener: Rc<Addr>,
    /// Plain HTTP where TLS was to be spoken.
    pub(super) plain_on_tls: bool,
    /// When it is closed, by the thread's clock.
    pub(super) until_ms: u64,
}

/// All of one thread.
#[derive(Default)]
pub(super) struct Lot {
    crowd: Option<Rc<Crowd>>,
    /// By their places among the idle connections.
    parked: Places<Option<Box<(Parked, OwnedFd, Doing)>>>,
    /// When each is closed, and its place.
    ends: BTreeSet<(u64, u32)>,
    /// Parked since memory was last given back, and when it will be.
    n_new: u32,
    give_back_ms: u64,
    /// Of the task that looks after them.
    waker: Option<Waker>,
}

impl Lot {
    fn take(&mut self, place: u32) -> Option<(Parked, OwnedFd)> {
        let (parked, fd, _) = *self.parked.get_mut(place).take()?;
        self.ends.remove(&(parked.until_ms, place));
        Some((parked, fd))
    }

    fn places(&self) -> impl Iterator<Item = u32> {
        self.parked.iter().filter(|(_, it)| it.is_some()).map(|(place, _)| place)
    }
}

impl Thread {
    /// Takes over a connection whose task is about to end.
    pub(super) fn park(self: &Rc<Self>, parked: Parked, stream: Stream) {
        let place = parked.counted.place;
        let Ok(crowd) = self.crowd() else { return };
        let Ok(fd) = crowd.add(stream, place.into()) else { return };
        self.tasks.borrow_mut()[place] = None;
        let lot = &mut *self.lot.borrow_mut();
        lot.ends.insert((parked.until_ms, place));
        *lot.parked.get_mut(place) = Some(Box::new((parked, fd, Doing::now(Count::Waiting))));
        lot.n_new += 1;
        match lot.n_new {
            1 => lot.give_back_ms = clock::ms() + GIVE_BACK_FEW_AFTER_MS,
            MANY => lot.give_back_ms = lot.give_back_ms.min(clock::ms() + GIVE_BACK_AFTER_MS),
            _ => {}
        }
        let Some(waker) = &lot.waker else { return };
        self.idle.borrow_mut().park(place, waker);
        if matches!(lot.n_new, 1 | MANY) || lot.ends.first().is_some_and(|(_, first)| *first == place) {
            waker.wake_by_ref();
        }
    }

    /// The sockets of the lot; the first time, the task that looks after them is started: before there are many, whose
    /// places cannot be given up while it stands behind them.
    pub(super) fn crowd(self: &Rc<Self>) -> std::io::Result<Rc<Crowd>> {
        if let Some(crowd) = &self.lot.borrow().crowd {
            return Ok(crowd.clone());
        }
        let crowd = Rc::new(Crowd::new()?);
        self.lot.borrow_mut().crowd = Some(crowd.clone());
        runtime::spawn(look_after(self.clone(), crowd.clone()));
        Ok(crowd)
    }

    /// Closes the parked connections that fit.
    pub(super) fn close_parked(&self, fits: impl Fn(&Parked) -> bool) {
        let places: Vec<_> = self.lot.borrow().places().collect();
        for place in places {
            let is_meant =
                |it: &Option<Box<(Parked, OwnedFd, Doing)>>| it.as_ref().is_some_and(|it| fits(&it.0));
            let is_meant = is_meant(&self.lot.borrow().parked[place]);
            if is_meant {
                self.close_one(place);
            }
        }
    }

    fn close_one(&self, place: u32) {
        // Dropped when nothing is borrowed: its drop gives back what it holds of the thread.
        let taken = self.lot.borrow_mut().take(place);
        drop(taken);
    }

    /// Closes what is to be closed; ready with the places of those that something has come for.
    fn poll_lot(&self, cx: &mut Context<'_>, crowd: &Crowd, deadline: &Deadline) -> Poll<Vec<u64>> {
        self.greet_late(cx.waker());
        if self.draining.get() {
            self.close_parked(|_| true);
        }
        let unwanted = self.idle.borrow_mut().take_unwanted();
        unwanted.into_iter().for_each(|place| self.close_one(place));
        while let Some(due_ms) = self.work_that_is_due() {
            deadline.arm(Duration::from_millis(due_ms.saturating_sub(clock::ms())));
            // Ready at once only if the clock has moved meanwhile: then there is more to do.
            if deadline.poll_expired(cx).is_pending() {
                break;
            }
        }
        match crowd.poll_ready(cx) {
            Poll::Ready(Ok(places)) => Poll::Ready(places),
            _ => Poll::Pending,
        }
    }

    /// Closes those whose time is over and gives memory back; tells when there is more to do.
    fn work_that_is_due(&self) -> Option<u64> {
        let now_ms = clock::ms();
        loop {
            let mut lot = self.lot.borrow_mut();
            let first = lot.ends.first().copied();
            let gives_ms = Some(lot.give_back_ms).filter(|_| lot.n_new > 0);
            if gives_ms.is_some_and(|at| at <= now_ms) {
                lot.n_new = 0;
                runtime::shrink();
                continue;
            }
            drop(lot);
            match first {
                Some((until_ms, place)) if until_ms <= now_ms => self.close_one(place),
                _ => return first.map(|(until_ms, _)| until_ms).into_iter().chain(gives_ms).min(),
            }
        }
    }

    /// Those parked before the task was polled for the first time had no waker to leave behind.
    fn greet_late(&self, waker: &Waker) {
        let mut lot = self.lot.borrow_mut();
        if lot.waker.as_ref().is_some_and(|it| it.will_wake(waker)) {
            return;
        }
        lot.waker = Some(waker.clone());
        let mut idle = self.idle.borrow_mut();
        lot.places().for_each(|place| idle.park(place, waker));
    }

    /// Something has come: the connection gets a task again.
    fn revive(self: &Rc<Self>, place: u32, crowd: &Crowd) {
        let taken = self.lot.borrow_mut().take(place);
        let Some((parked, fd)) = taken else { return };
        let (peer, local) = (parked.facts.peer.clone(), parked.facts.local.clone());
        let Ok(stream) = crowd.take_back(fd, peer, local) else { return };
        self.not_idle(place);
        let Parked { counted, facts, listener, plain_on_tls, .. } = parked;
        let number = counted.number;
        let rest = foregate_wire::Buf::default();
        let client = Client::new(counted, Rc::new(Conn::Plain(stream)), facts, listener, rest, plain_on_tls);
        self.tasks.borrow_mut()[place] = Some((number, runtime::spawn(live(client))));
    }
}

async fn look_after(thread: Rc<Thread>, crowd: Rc<Crowd>) {
    let deadline = Deadline::new();
    loop {
        let places = poll_fn(|cx| thread.poll_lot(cx, &crowd, &deadline)).await;
        places.into_iter().for_each(|place| thread.revive(place as u32, &crowd));
    }
}
