//! What a connection and its exchanges share: the machine, and who is to be woken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use foregate_core::{Connection, Level};
use foregate_net::{Addr, Conn};
use foregate_wire::h2::{Code, Mux};

use super::super::{Counted, Thread};
use super::lane::Lane;
use super::room::Queue;
use super::{address, close};
use crate::address::Address;
use crate::cycle::Cycle;

/// The shared part of one connection.
pub(super) struct Link {
    pub(super) counted: Counted,
    pub(super) conn: Rc<Conn>,
    pub(super) facts: Rc<Connection>,
    listener: Rc<Addr>,
    pub(super) mux: RefCell<Mux>,
    /// The exchanges by the places of their streams.
    lanes: RefCell<Vec<Option<Rc<Lane>>>>,
    /// Exchanges that have not ended, those included that have lost their stream.
    n_running: Cell<usize>,
    /// Those that have lost it before they had ended.
    orphans: RefCell<Vec<Rc<Lane>>>,
    n_lanes: Cell<usize>,
    /// Exchanges that wait for room in the output.
    pub(super) queue: RefCell<Queue>,
    /// Sealed data may wait below the machine's output.
    pub(super) unflushed: Cell<bool>,
    /// Of the connection's task.
    waker: RefCell<Option<Waker>>,
    /// For values that are made to be sent.
    pub(super) scratch: RefCell<Vec<u8>>,
}

impl Link {
    pub(super) fn new(
        counted: Counted,
        conn: Rc<Conn>,
        facts: Rc<Connection>,
        listener: Rc<Addr>,
        mux: Mux,
    ) -> Rc<Link> {
        Rc::new(Link {
            counted,
            conn,
            facts,
            listener,
            mux: RefCell::new(mux),
            lanes: RefCell::default(),
            n_running: Cell::new(0),
            orphans: RefCell::default(),
            n_lanes: Cell::new(0),
            queue: RefCell::default(),
            unflushed: Cell::new(false),
            waker: RefCell::default(),
            scratch: RefCell::default(),
        })
    }

    pub(super) fn thread(&self) -> Rc<Thread> {
        self.counted.thread.clone()
    }

    pub(super) fn set_waker(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// There is something to send, or an exchange has ended.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn n_lanes(&self) -> usize {
        self.n_lanes.get()
    }

    /// Whether no exchange runs any more.
    pub(super) fn is_empty(&self) -> bool {
        self.n_running.get() == 0
    }

    /// Ready once no exchange runs any more.
    pub(super) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        self.set_waker(cx);
        if self.n_running.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn add(&self, lane: &Rc<Lane>) {
        let at = lane.place as usize;
        let mut lanes = self.lanes.borrow_mut();
        if lanes.len() <= at {
            lanes.resize_with(at + 1, || None);
        }
        lanes[at] = Some(lane.clone());
        self.n_lanes.set(self.n_lanes.get() + 1);
        self.n_running.set(self.n_running.get() + 1);
    }

    /// The exchange of this stream, if it still has one.
    pub(super) fn with_lane<T>(&self, place: u32, with: impl FnOnce(&Lane) -> T) -> Option<T> {
        let lane = self.lanes.borrow().get(place as usize)?.clone()?;
        Some(with(&lane))
    }

    /// The stream is closed: what its exchange does from now on, nobody sees.
    pub(super) fn detach(&self, place: u32) -> Option<Rc<Lane>> {
        let lane = self.lanes.borrow_mut().get_mut(place as usize)?.take()?;
        self.n_lanes.set(self.n_lanes.get() - 1);
        Some(lane)
    }

    /// An exchange has ended.
    pub(super) fn ended(&self, lane: &Rc<Lane>) {
        self.orphans.borrow_mut().retain(|it| !Rc::ptr_eq(it, lane));
        self.n_running.set(self.n_running.get() - 1);
        self.wake();
    }

    /// The stream was cancelled.
    pub(super) fn reset(&self, place: u32, code: Code, by_client: bool) {
        let Some(lane) = self.detach(place) else { return };
        self.orphans.borrow_mut().push(lane.clone());
        lane.lose();
        if by_client {
            self.say(|| match code {
                Code::CANCEL => format!("client canceled stream {}", lane.id),
                Code::INTERNAL_ERROR => format!("client terminated stream {} due to internal error", lane.id),
                code => format!("client terminated stream {} with status {}", lane.id, code.0),
            });
        }
    }

    /// The connection is gone, for all exchanges.
    pub(super) fn close_lanes(&self) {
        let n = self.lanes.borrow().len();
        for place in 0..n as u32 {
            if let Some(lane) = self.detach(place) {
                self.orphans.borrow_mut().push(lane.clone());
                lane.lose();
            }
        }
    }

    /// As `close_lanes`, and no exchange goes on.
    pub(super) fn abort_lanes(&self) {
        let n = self.lanes.borrow().len();
        for place in 0..n as u32 {
            if let Some(lane) = self.detach(place) {
                lane.abort();
            }
        }
        let orphans = self.orphans.take();
        orphans.iter().for_each(|lane| lane.abort());
    }

    pub(super) fn wake_writers(&self) {
        for lane in self.lanes.borrow().iter().flatten() {
            lane.may_write();
        }
    }

    /// The client has not done what it was waited for.
    pub(super) fn say_slow(&self) {
        self.say(|| "client timed out (110: Connection timed out)".to_owned());
    }

    /// A line of level info about the connection, in the log of its default server.
    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        let local = self.thread().local();
        let Some(address) = self.address(&local.cycle) else { return };
        let place = &local.cycle.places[local.cycle.server(address.default_server).place as usize];
        close::log(&place.error_log, Level::Info, &self.facts, text);
    }

    /// The servers behind the address that the client reached, in this cycle. `None`: not listened on any more.
    pub(super) fn address<'a>(&self, cycle: &'a Cycle) -> Option<&'a Address> {
        address(cycle, &self.listener, &self.facts.local)
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn shrink(&self) {
        self.mux.borrow_mut().shrink();
        if self.n_running.get() == 0 {
            self.lanes.take();
            self.queue.take();
            self.scratch.take();
        }
    }
}
