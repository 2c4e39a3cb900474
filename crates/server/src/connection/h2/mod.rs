//! HTTP/2 on one client connection: reads frames, starts an exchange for each stream, sends what they have all together.
//!
//! Exchanges are tasks of their own. What they send gathers in the machine's output; the connection's task, which they
//! wake, comes to its turn behind all that are ready by then, and so one write takes what a whole turn has brought.

mod begin;
mod body;
mod close;
mod lane;
mod link;
mod room;
mod send;
mod sniff;
mod stream;
mod websocket;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_core::Connection;
use foregate_core::stats::Count;
use foregate_modules::http2;
use foregate_net::clock::Deadline;
use foregate_net::runtime::Rest;
use foregate_net::{Addr, Conn, clock, runtime};
use foregate_wire::Buf;
use foregate_wire::h1::RequestRules;
use foregate_wire::h2::{Code, Event, Fault, Limits, Mux, SLICES_MAX};

use super::{Counted, Doing};
use crate::address::Address;
use crate::cycle::{Cycle, Local};
use link::Link;

pub(super) use sniff::sniff;

/// Blocks read before others get their turn.
const BLOCKS_PER_TURN_MAX: usize = 4;
/// Streams started before others get their turn.
const STREAMS_PER_TURN_MAX: usize = 32;
/// A block as large as this that is no data may be a flood's.
const FLOOD_BYTES: usize = 16 << 10;
/// Bytes sent before others get their turn.
const SENT_PER_TURN_MAX: usize = 256 << 10;
/// What may wait to be sent before nothing more is read: what is read may have to be answered.
const UNSENT_BYTES_MAX: usize = 4 * room::OUT_BYTES_MAX;
/// A connection that has been idle for so long gives memory back.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// How long the answer to the first GOAWAY is waited for.
const GOAWAY_AFTER: Duration = Duration::from_secs(1);

/// How long exchanges have to end by themselves once their connection was made to end.
const ABORT_AFTER: Duration = Duration::from_millis(100);

/// One client's connection.
pub(super) struct Client {
    link: Rc<Link>,
    /// The cycle under which it began: its limits and its certificate are from there.
    n_cycle: u64,
    /// Read and not yet used.
    rest: Buf,
    phase: Phase,
    /// Of what the connection as a whole waits for; each exchange has one of its own.
    deadline: Deadline,
    waits_for: Wait,
    /// Streams were started in this turn: what they have at once goes out with the rest.
    holds_back: bool,
    /// A socket that takes nothing.
    slow: Deadline,
    /// After as much was received, or sent, as one turn allows.
    receiving_rests: Rest,
    sending_rests: Rest,
    waiting: Option<Doing>,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The first GOAWAY is out; it may take a while until the client has seen it.
    Announced,
    /// No new streams; it closes after the last one.
    Leaving,
    /// What is left is sent, then it closes.
    Failed,
    /// Nothing can be sent any more.
    Broken,
}

/// What the deadline stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// For the rest of a head.
    Head,
    /// For the first request.
    First,
    /// For another one: until memory is given back, and until it closes.
    Shrink {
        until_ms: u64,
    },
    Idle,
    /// For the answer to the first GOAWAY.
    Goaway,
}

impl Client {
    pub(super) fn new(
        counted: Counted,
        conn: Rc<Conn>,
        facts: Rc<Connection>,
        listener: Rc<Addr>,
        rest: Buf,
    ) -> Option<Client> {
        let local = counted.thread.local();
        let address = address(&local.cycle, &listener, &facts.local)?;
        let mux = Mux::new(limits(&local, address));
        let n_cycle = counted.thread.n_cycles.get();
        let link = Link::new(counted, conn, facts, listener, mux);
        Some(Client {
            link,
            n_cycle,
            rest,
            phase: Phase::Open,
            deadline: Deadline::new(),
            waits_for: Wait::Nothing,
            holds_back: false,
            slow: Deadline::new(),
            receiving_rests: Rest::default(),
            sending_rests: Rest::default(),
            waiting: None,
        })
    }

    /// The life of the connection.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        self.link.close_lanes();
        // Exchanges that go on without their client.
        poll_fn(|cx| self.link.poll_empty(cx)).await;
        foregate_modules::log::flush_lines();
        let bytes_max = match self.phase {
            Phase::Leaving => close::LINGER_BYTES_MAX,
            Phase::Failed => close::LINGER_BYTES_MAX_FAILED,
            _ => return,
        };
        let local = self.link.thread().local();
        let address = self.link.address(&local.cycle);
        Box::pin(close::linger(&self.link.conn, &local, address, bytes_max)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.set_waker(cx);
        let is_full = self.phase != Phase::Failed && self.poll_receive(cx);
        if std::mem::take(&mut self.holds_back) {
            // Those that were started now go first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_send(cx);
        if self.phase == Phase::Broken || self.is_done() {
            return Poll::Ready(());
        }
        if is_full && !self.has_much_unsent() {
            cx.waker().wake_by_ref();
        }
        self.poll_times(cx)
    }

    /// All has been said.
    fn is_done(&self) -> bool {
        let over = match self.phase {
            Phase::Failed => true,
            Phase::Leaving => self.link.n_lanes() == 0,
            _ => false,
        };
        over && self.link.mux.borrow().out.is_empty() && !self.link.unflushed.get()
    }

    fn has_much_unsent(&self) -> bool {
        self.link.mux.borrow().out.len() > UNSENT_BYTES_MAX
    }

    /// Whether it stopped because so much waits to be sent.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        if self.receiving_rests.is_on() {
            return false;
        }
        for _ in 0..BLOCKS_PER_TURN_MAX {
            if self.has_much_unsent() {
                return true;
            }
            if self.rest.is_empty() {
                match self.link.conn.poll_recv(cx) {
                    Poll::Ready(Ok(bytes)) if !bytes.is_empty() => self.rest = bytes,
                    Poll::Ready(_) => {
                        self.phase = Phase::Broken;
                        return false;
                    }
                    Poll::Pending => return false,
                }
            }
            match self.take_events() {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.fail(&fault);
                    return false;
                }
            }
        }
        self.receiving_rests.begin(cx);
        false
    }

    /// Deals with what has come; `false` where others are to have their turn before there is more: what may be a flood
    /// is taken in small parts, so that it costs them hardly more than its share.
    fn take_events(&mut self) -> Result<bool, Fault> {
        let now_ms = clock::ms();
        let (mut n_started, mut is_bulk) = (0, self.rest.len() < FLOOD_BYTES);
        loop {
            let event = self.link.mux.borrow_mut().receive(&mut self.rest, now_ms)?;
            let Some(event) = event else { break };
            is_bulk |= matches!(event, Event::Data { .. });
            n_started += usize::from(matches!(event, Event::Request { .. }));
            self.take(event);
            if n_started == STREAMS_PER_TURN_MAX {
                return Ok(false);
            }
        }
        self.rest = Buf::default();
        Ok(is_bulk && n_started == 0)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Request { place, ends } => self.start(place, ends),
            Event::Data { place, bytes, overhead, ends } => {
                let taken = self.link.with_lane(place, |lane| lane.take_data(bytes, ends));
                if overhead > 0 && taken.is_some() {
                    self.link.mux.borrow_mut().taken(place, overhead as usize, false);
                }
            }
            Event::Trailers { place, fields } => {
                self.link.with_lane(place, |lane| lane.take_trailers(fields));
            }
            Event::Reset { place, code, by_client } => self.link.reset(place, code, by_client),
            Event::Window { place: Some(place) } => {
                self.link.with_lane(place, |lane| lane.may_write());
            }
            Event::Window { place: None } => self.link.wake_writers(),
            Event::ShutdownSeen if self.phase == Phase::Announced => self.leave(),
            Event::ShutdownSeen => {}
            Event::GoAway if self.phase != Phase::Leaving => {
                self.phase = Phase::Leaving;
            }
            Event::GoAway => {}
        }
    }

    fn start(&mut self, place: u32, ends: bool) {
        self.holds_back = true;
        let thread = self.link.thread();
        let local = thread.local();
        let Some(address) = self.link.address(&local.cycle) else {
            return self.link.mux.borrow_mut().reset(place, Code::REFUSED_STREAM);
        };
        if self.link.n_lanes() == 0 {
            thread.not_idle(self.link.counted.place);
            self.waiting = None;
            self.waits_for = Wait::Nothing;
        }
        stream::start(&self.link, &local, address, place, ends);
        if self.phase == Phase::Open && !close::may_go_on(&self.link, &local, address) {
            self.leave();
        }
    }

    /// No more streams are taken.
    fn leave(&mut self) {
        self.phase = Phase::Leaving;
        self.link.mux.borrow_mut().goaway(Code::NO_ERROR);
    }

    /// The client has broken the rules, or taken too much.
    #[cold]
    fn fail(&mut self, fault: &Fault) {
        self.link.say(|| fault.text.clone().into_owned());
        self.link.mux.borrow_mut().goaway(fault.code);
        self.link.close_lanes();
        self.phase = Phase::Failed;
        self.rest = Buf::default();
    }

    /// Sends what there is, as far as the socket takes it; then those that wait for room go on.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        let mut left = SENT_PER_TURN_MAX;
        while !self.sending_rests.is_on() {
            match self.poll_write(cx, &mut left) {
                Poll::Ready(Ok(())) if left == 0 => self.sending_rests.begin(cx),
                Poll::Ready(Ok(())) => self.slow.disarm(),
                Poll::Ready(Err(_)) => {
                    self.phase = Phase::Broken;
                    return;
                }
                Poll::Pending => {
                    self.poll_slow(cx);
                    return;
                }
            }
            self.link.give_room();
            if !self.link.mux.borrow_mut().decline_rest() {
                return;
            }
        }
    }

    /// Ready when all is sent, or nothing is `left` of what may be.
    fn poll_write(&self, cx: &mut Context<'_>, left: &mut usize) -> Poll<std::io::Result<()>> {
        let mut mux = self.link.mux.borrow_mut();
        while !mux.out.is_empty() && *left > 0 {
            let mut slices = [&b""[..]; SLICES_MAX];
            let n = mux.out.slices(&mut slices);
            let sent = std::task::ready!(self.link.conn.poll_send_vectored(cx, &slices[..n]))?;
            mux.out.advance(sent);
            *left = left.saturating_sub(sent);
            self.link.unflushed.set(true);
            self.slow.disarm();
        }
        if self.link.unflushed.get() {
            std::task::ready!(self.link.conn.poll_flush(cx))?;
            self.link.unflushed.set(false);
        }
        Poll::Ready(Ok(()))
    }

    /// The socket is full: for how long may it be so?
    fn poll_slow(&mut self, cx: &mut Context<'_>) {
        if !self.slow.is_armed() {
            let local = self.link.thread().local();
            let Some(address) = self.link.address(&local.cycle) else { return };
            self.slow.arm(super::client_settings(&local, address.default_server).send_timeout);
        }
        if self.slow.poll_expired(cx).is_ready() {
            self.link.say_slow();
            self.phase = Phase::Broken;
        }
    }

    /// What the connection waits for, and for how long.
    fn poll_times(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let wait = self.wait();
            if wait != self.waits_for {
                self.arm(wait);
            }
            if self.link.n_lanes() == 0 && self.phase == Phase::Open {
                let first = self.link.facts.requests.get() == 0;
                let place = self.link.counted.place;
                if self.link.thread().poll_unwanted(place, first, cx).is_ready() {
                    self.retire();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.n_cycle != self.link.thread().n_cycles.get() {
                    self.leave();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            } else if self.phase == Phase::Open && self.link.thread().draining.get() {
                self.retire();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.waits_for == Wait::Nothing {
                return Poll::Pending;
            }
            std::task::ready!(self.deadline.poll_expired(cx));
            if !self.time_is_over() {
                continue;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    /// What is waited for now.
    fn wait(&self) -> Wait {
        if self.phase == Phase::Announced {
            return Wait::Goaway;
        }
        if self.phase != Phase::Open {
            return Wait::Nothing;
        }
        if self.link.mux.borrow().has_partial_head() {
            return Wait::Head;
        }
        if self.link.n_lanes() > 0 {
            return Wait::Nothing;
        }
        match self.waits_for {
            Wait::Shrink { .. } | Wait::Idle => self.waits_for,
            _ if !self.link.mux.borrow().had_streams() => Wait::First,
            _ => Wait::Shrink { until_ms: 0 },
        }
    }

    fn arm(&mut self, wait: Wait) {
        let local = self.link.thread().local();
        let Some(address) = self.link.address(&local.cycle) else { return };
        let on = super::client_settings(&local, address.default_server);
        self.waits_for = wait;
        let is_idle = matches!(wait, Wait::First | Wait::Shrink { .. });
        self.waiting = is_idle.then(|| Doing::now(Count::Waiting));
        match wait {
            Wait::Nothing | Wait::Idle => self.deadline.disarm(),
            Wait::Head | Wait::First => self.deadline.arm(on.header_timeout),
            Wait::Goaway => self.deadline.arm(GOAWAY_AFTER),
            Wait::Shrink { .. } => {
                let until_ms = clock::ms() + clock::as_ms(on.keepalive_timeout);
                self.waits_for = Wait::Shrink { until_ms };
                self.deadline.arm(SHRINK_AFTER.min(on.keepalive_timeout));
            }
        }
    }

    /// `false`: there is more to wait for.
    fn time_is_over(&mut self) -> bool {
        if let Wait::Shrink { until_ms } = self.waits_for {
            self.link.shrink();
            let left_ms = until_ms.saturating_sub(clock::ms());
            if left_ms > 0 {
                self.waits_for = Wait::Idle;
                self.deadline.arm(Duration::from_millis(left_ms));
                return false;
            }
        }
        let waited_for = std::mem::replace(&mut self.waits_for, Wait::Nothing);
        if waited_for == Wait::Head {
            self.link.say_slow();
            self.link.mux.borrow_mut().abandon_head();
        } else {
            self.leave();
        }
        true
    }

    /// The worker is to end, or another connection needs the place: a client that asks for something meanwhile is
    /// still served.
    fn retire(&mut self) {
        self.phase = Phase::Announced;
        self.link.mux.borrow_mut().announce_goaway();
        self.link.thread().not_idle(self.link.counted.place);
    }
}

impl Drop for Client {
    /// The connection ends here and now: its exchanges see their client leave, and are ended if that is not enough.
    fn drop(&mut self) {
        self.link.close_lanes();
        if self.link.is_empty() || !runtime::is_running() {
            return;
        }
        let link = self.link.clone();
        runtime::spawn(async move {
            clock::sleep(ABORT_AFTER).await;
            link.abort_lanes();
        });
    }
}

/// The servers behind the address that a client reached, in this cycle. `None`: not listened on any more.
fn address<'a>(cycle: &'a Cycle, listener: &Addr, local: &Addr) -> Option<&'a Address> {
    let endpoint = cycle.endpoints.iter().find(|it| it.addr == *listener)?;
    Some(endpoint.address(local))
}

/// The limits of the default server: which one is asked is known later.
fn limits(local: &Local, address: &Address) -> Limits {
    let on = super::client_settings(local, address.default_server);
    let h2 = http2_settings(local, address.default_server);
    let (n_large, large) = on.large_buffers;
    Limits {
        streams_max: h2.streams_max,
        window: h2.preread,
        string_bytes_max: large,
        head_bytes_max: n_large * large,
        rules: RequestRules {
            underscores: on.underscores,
            ignore_invalid: on.ignore_invalid,
            fields_max: on.max_headers,
        },
    }
}

fn http2_settings(local: &Local, server: u32) -> &http2::Settings {
    let on = local.cycle.settings(local.cycle.server(server).place).http2.as_ref();
    on.expect("because the http2 module always resolves")
}
