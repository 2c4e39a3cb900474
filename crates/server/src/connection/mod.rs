//! From an accepted socket to exchanges and back: one thread's share of the connections.

mod arrival;
mod body;
mod conduct;
mod door;
mod h1;
mod h2;
mod idle;
mod pace;
mod parked;
mod places;
mod rate;
pub(crate) mod request;
mod response;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use foregate_core::stats::{self, Count};
use foregate_core::{Connection, Exchange, Household, Level, Nobody, Proxied};
use foregate_modules::{client, limit_req, purge_fleet, shield, ssl};
use foregate_net::events::{self, Events};
use foregate_net::runtime::Task;
use foregate_net::{Addr, Conn, Listener, Stream, clock, runtime};
use foregate_wire::h1::RequestHead;

use crate::cycle::{Cycle, Local};
use arrival::Arrival;
use places::Places;

/// Heads, exchanges and buffers that a thread keeps for those that come next.
const KEPT_MAX: usize = 64;

/// A buffer that grew beyond this is not kept.
const OUT_BYTES_MAX: usize = 64 << 10;

/// When fewer than one in this many of `worker_connections` are left, idle ones are closed; nginx's sixteenth.
const SPARE_SHARE: usize = 16;

/// That connections are closed for want of others is said this often at most.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// One worker thread: its listeners, its connections and the cycle that new exchanges begin under.
pub struct Thread {
    local: RefCell<Rc<Local>>,
    /// Health checks of this cycle, where they are this thread's.
    checks: Option<RefCell<Vec<Task>>>,
    doors: RefCell<HashMap<Addr, door::Door>>,
    /// Doors that were closed and are not gone yet.
    closing_doors: Cell<usize>,
    draining: Cell<bool>,
    /// How many cycles there have been.
    n_cycles: Cell<u64>,
    connections: Cell<usize>,
    /// The tasks of all connections with their numbers, by their place in `idle`: what a timeout ends.
    tasks: RefCell<Places<Option<(u64, Task)>>>,
    /// Heads that no exchange needs now; their memory is used again. Boxed as connections hold them.
    #[expect(clippy::vec_box, reason = "an idle connection holds eight bytes for a head that it has not")]
    heads: RefCell<Vec<Box<RequestHead>>>,
    /// Vacant exchanges of this cycle.
    #[expect(clippy::vec_box, reason = "what is kept is the box, so that an exchange is never moved")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    nobody: Nobody,
    /// Buffers for the heads of answers, and for their bodies where those are short.
    outs: RefCell<Vec<Vec<u8>>>,
    /// The connections that wait for a request: woken when draining begins, closed when others need their place.
    idle: RefCell<idle::Idle>,
    /// Those of them that have waited for long.
    lot: RefCell<parked::Lot>,
    /// When connections were last closed for that; it is said once a second.
    made_room: Cell<Option<Instant>>,
    /// Woken when the last connection has ended and the last door is closed.
    emptied: RefCell<Option<Waker>>,
}

/// Counts connections over all threads: `*96` in the error log, `$connection`.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Thread {
    /// The `first` of a worker's threads looks after what all share.
    pub fn new(cycle: Arc<Cycle>, first: bool) -> Rc<Self> {
        let local = Local::new(cycle);
        if let (true, Some(groups)) = (first, local.cycle.shared.get::<foregate_upstream::Groups>()) {
            foregate_upstream::restore_all(groups, &local.cycle.main.error_log);
        }
        Rc::new(Self {
            checks: first.then(|| RefCell::new(look_after(&local))),
            local: RefCell::new(local),
            doors: RefCell::default(),
            closing_doors: Cell::new(0),
            draining: Cell::new(false),
            n_cycles: Cell::new(0),
            connections: Cell::new(0),
            tasks: RefCell::default(),
            idle: RefCell::default(),
            lot: RefCell::default(),
            heads: RefCell::default(),
            exchanges: RefCell::default(),
            nobody: Nobody::new(),
            outs: RefCell::default(),
            made_room: Cell::new(None),
            emptied: RefCell::default(),
        })
    }

    /// Accepts on this socket until [`Thread::forget`] or [`Thread::drain`].
    pub fn listen(self: &Rc<Self>, addr: Addr, fd: OwnedFd) -> io::Result<()> {
        let listener = Listener::from_fd(fd)?;
        if events::chosen() == Events::Epoll {
            self.crowd()?;
        }
        let door = door::Door::open(self, listener, &addr);
        self.doors.borrow_mut().insert(addr, door);
        Ok(())
    }

    /// Stops accepting at this address; connections that came in there live on.
    pub fn forget(self: &Rc<Self>, addr: &Addr) {
        if let Some(door) = self.doors.borrow_mut().remove(addr) {
            door.close(self, addr);
        }
    }

    /// New exchanges, on old connections too, begin under this cycle. Only where the old one has a
    /// `worker_shutdown_timeout` do connections end with it, after that time.
    pub fn adopt(self: &Rc<Self>, cycle: Arc<Cycle>) {
        let local = Local::new(cycle);
        if let Some(checks) = &self.checks {
            checks.borrow().iter().for_each(Task::abort);
            checks.replace(look_after(&local));
        }
        let old = self.local.replace(local);
        self.exchanges.borrow_mut().clear();
        self.n_cycles.set(self.n_cycles.get() + 1);
        // Those whose limits and certificates are the old cycle's make room for new ones.
        self.idle.borrow().wake_all();
        if let Some(limit) = old.cycle.main.process.shutdown_timeout {
            let thread = self.clone();
            let next = NUMBER.load(Relaxed);
            runtime::spawn(async move {
                clock::sleep(limit).await;
                thread.end_before(next);
            });
        }
    }

    /// Ends every connection at once.
    pub fn end_all(&self) {
        self.end_before(u64::MAX);
    }

    fn end_before(&self, number: u64) {
        let places = self.tasks.borrow().len();
        for place in 0..places as u32 {
            let task = self.tasks.borrow_mut()[place].take_if(|(it, _)| *it < number);
            if let Some((_, task)) = task {
                task.abort();
            }
        }
        self.close_parked(|it| it.counted.number < number);
    }

    /// Stops accepting, closes idle connections, and lets the others finish what they are at.
    pub fn drain(self: &Rc<Self>) {
        for (addr, door) in self.doors.take() {
            door.close(self, &addr);
        }
        self.draining.set(true);
        self.idle.borrow().wake_all();
    }

    /// Ready once no connection is left and none can come.
    pub fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_empty() {
            return Poll::Ready(());
        }
        *self.emptied.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_empty(&self) -> bool {
        self.connections.get() == 0 && self.closing_doors.get() == 0
    }

    /// Wakes who waits for the end, if this is it.
    fn tell_if_empty(&self) {
        if self.is_empty()
            && let Some(waker) = self.emptied.borrow_mut().take()
        {
            waker.wake();
        }
    }

    pub fn n_connections(&self) -> usize {
        self.connections.get()
    }

    fn local(&self) -> Rc<Local> {
        self.local.borrow().clone()
    }

    fn take_head(&self) -> Box<RequestHead> {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    fn give_head(&self, head: Option<Box<RequestHead>>) {
        let mut heads = self.heads.borrow_mut();
        if let Some(mut head) = head
            && heads.len() < KEPT_MAX
        {
            head.clear();
            heads.push(head);
        }
    }

    /// A vacant exchange of the cycle that is served now.
    fn take_exchange(&self, local: &Rc<Local>) -> Box<Exchange> {
        let kept = self.exchanges.borrow_mut().pop();
        kept.unwrap_or_else(|| Box::new(Exchange::vacant(local.clone(), &self.nobody)))
    }

    fn give_exchange(&self, local: &Rc<Local>, mut ex: Box<Exchange>) {
        ex.clear(&self.nobody);
        let mut exchanges = self.exchanges.borrow_mut();
        // One of a cycle that has passed must not keep it.
        if exchanges.len() < KEPT_MAX && Rc::ptr_eq(local, &self.local.borrow()) {
            exchanges.push(ex);
        }
    }

    fn take_out(&self) -> Vec<u8> {
        self.outs.borrow_mut().pop().unwrap_or_default()
    }

    fn give_out(&self, mut out: Vec<u8>) {
        let mut outs = self.outs.borrow_mut();
        if out.capacity() <= OUT_BYTES_MAX && outs.len() < KEPT_MAX {
            out.clear();
            outs.push(out);
        }
    }

    /// Ready once an idle connection is to close: another needs its place, or all are to end. Clients that have not
    /// asked for anything yet may still do so then.
    fn poll_unwanted(&self, place: u32, first: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !first && self.draining.get() || !self.idle.borrow_mut().wait(place, cx.waker()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn not_idle(&self, place: u32) {
        self.idle.borrow_mut().leave(place);
    }

    fn connections_max(&self) -> usize {
        self.local.borrow().cycle.main.process.connections
    }

    /// Tells some idle connections to close when nearly all that are allowed are open, as nginx does. `true`: not one
    /// more fits before they have.
    fn makes_room(&self) -> bool {
        let max = self.connections_max();
        if self.connections.get() < max - max / SPARE_SHARE {
            return false;
        }
        self.tell_some_to_close(max);
        self.connections.get() >= max
    }

    fn tell_some_to_close(&self, max: usize) {
        let now = clock::now();
        let said = self.made_room.get().is_some_and(|at| now.duration_since(at) < SAID_EVERY);
        let log = &self.local.borrow().cycle.main.error_log;
        if self.idle.borrow_mut().make_room() && !said {
            self.made_room.set(Some(now));
            let text = format!("{max} worker_connections are not enough, reusing connections");
            log.write(Level::Warn, &text);
        }
    }
}

/// Names of upstreams are kept up to date, peers are checked, and caches are looked after; the tasks that are to end with
/// the cycle.
fn look_after(local: &Rc<Local>) -> Vec<Task> {
    let cycle = &local.cycle;
    if !runtime::is_running() {
        return Vec::new();
    }
    if let Some(groups) = cycle.shared.get::<foregate_upstream::Groups>() {
        foregate_upstream::keep_all_fresh(groups, &cycle.main.error_log);
    }
    if let Some(zones) = cycle.shared.get::<foregate_cache::Zones>() {
        foregate_cache::keep_all(zones, &cycle.main.error_log);
    }
    let household: Rc<dyn Household> = local.clone();
    let places = cycle.places.iter().enumerate();
    let checked = places.flat_map(|(at, it)| {
        let proxy = it.settings.proxy.clone().map(|on| on as Arc<dyn foregate_upstream::Checked>);
        let grpc = it.settings.grpc.clone().map(|on| on as Arc<dyn foregate_upstream::Checked>);
        let checks = [proxy, grpc].into_iter().flatten().filter(|on| on.checklist().is_some());
        checks.map(move |on| (at as u32, on))
    });
    let mut tasks = foregate_upstream::start_checks(checked.collect(), &household);
    tasks.extend(ssl::keep_stapled(&cycle.shared, &cycle.main.error_log));
    tasks.extend(limit_req::keep_together(&cycle.shared, &cycle.main.error_log));
    tasks.extend(purge_fleet::keep_together(&cycle.shared, &cycle.main.error_log));
    tasks.extend(shield::keep_fresh(&cycle.shared, &cycle.main.error_log));
    tasks
}

/// Counts a connection while it lives.
struct Counted {
    thread: Rc<Thread>,
    number: u64,
    /// Its place among the idle connections.
    place: u32,
}

impl Counted {
    fn new(thread: &Rc<Thread>) -> Self {
        thread.connections.set(thread.connections.get() + 1);
        stats::add(Count::Handled);
        stats::add(Count::Active);
        let place = thread.idle.borrow_mut().add();
        Self { thread: thread.clone(), number: NUMBER.fetch_add(1, Relaxed), place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        stats::sub(Count::Active);
        self.thread.idle.borrow_mut().remove(self.place);
        *self.thread.tasks.borrow_mut().get_mut(self.place) = None;
        self.thread.connections.set(self.thread.connections.get() - 1);
        self.thread.tell_if_empty();
    }
}

/// Counts what a connection is doing while it does it.
struct Doing(Count);

impl Doing {
    fn now(count: Count) -> Self {
        stats::add(count);
        Self(count)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        stats::sub(self.0);
    }
}

/// Starts the task of a new connection. One that has to be greeted first has a larger one.
fn welcome(thread: &Rc<Thread>, stream: Stream, listener: &Rc<Addr>) {
    let local = thread.local.borrow();
    let Some(endpoint) = local.cycle.endpoints.iter().find(|it| it.addr == **listener) else { return };
    let address = endpoint.address(stream.local_addr());
    let counted = Counted::new(thread);
    let (number, place) = (counted.number, counted.place);
    let speaks_h2 = arrival::speaks_h2(&local, address, address.default_server);
    let task = match address.ssl || address.proxy_protocol || speaks_h2 {
        true => runtime::spawn(greet(counted, stream, listener.clone())),
        false => runtime::spawn(live(begin(counted, Arrival::plain(stream), listener.clone()))),
    };
    *thread.tasks.borrow_mut().get_mut(place) = Some((number, task));
}

async fn live(mut client: h1::Client) {
    if let h1::End::Idle { until_ms } = client.run().await
        && let Some((parked, stream)) = client.into_parked(until_ms)
    {
        parked.counted.thread.clone().park(parked, stream);
    }
}

/// A connection on which something comes before the first request.
async fn greet(counted: Counted, stream: Stream, listener: Rc<Addr>) {
    // Boxed, as all that is rare or short: a connection holds what its longest state needs for as long as it lives.
    let arrival = Box::pin(async {
        let local = counted.thread.local();
        let endpoint = local.cycle.endpoints.iter().find(|it| it.addr == *listener)?;
        let address = endpoint.address(stream.local_addr());
        arrival::arrive(&local, address, stream, counted.number).await
    });
    let Some(mut arrival) = arrival.await else { return };
    if let Some(is_h2) = Box::pin(protocol(&counted, &listener, &mut arrival)).await {
        match is_h2 {
            true => {
                if let Some(client) = begin_h2(counted, arrival, listener) {
                    Box::pin(client.run()).await;
                }
            }
            false => Box::pin(live(begin(counted, arrival, listener))).await,
        }
    }
}

/// Whether the client speaks HTTP/2. `None`: it has left without a word.
async fn protocol(counted: &Counted, listener: &Addr, arrival: &mut Arrival) -> Option<bool> {
    if let Some(tls) = arrival.conn.tls() {
        return Some(*tls.alpn == *b"h2");
    }
    let local = counted.thread.local();
    let endpoint = local.cycle.endpoints.iter().find(|it| it.addr == *listener)?;
    let address = endpoint.address(arrival.conn.local_addr());
    if address.ssl || !arrival::speaks_h2(&local, address, address.default_server) {
        return Some(false);
    }
    let rest = std::mem::take(&mut arrival.rest);
    let (rest, is_h2) = h2::sniff(counted, &local, address, &arrival.conn, rest).await?;
    arrival.rest = rest;
    Some(is_h2)
}

/// A connection on which requests may come.
fn begin(counted: Counted, arrival: Arrival, listener: Rc<Addr>) -> h1::Client {
    let facts = facts(&counted, &arrival.conn, arrival.proxied);
    h1::Client::new(counted, Rc::new(arrival.conn), facts, listener, arrival.rest, arrival.plain_on_tls)
}

/// As `begin`, for HTTP/2. `None`: not listened on any more.
fn begin_h2(counted: Counted, arrival: Arrival, listener: Rc<Addr>) -> Option<h2::Client> {
    let facts = facts(&counted, &arrival.conn, arrival.proxied);
    h2::Client::new(counted, Rc::new(arrival.conn), facts, listener, arrival.rest)
}

fn facts(counted: &Counted, conn: &Conn, proxied: Option<Proxied>) -> Rc<Connection> {
    Rc::new(Connection {
        number: counted.number,
        peer: conn.peer_addr().clone(),
        local: conn.local_addr().clone(),
        proxied: proxied.map(Box::new),
        tls: conn.tls().cloned().map(Box::new),
        requests: Cell::new(0),
        started_ms: clock::ms(),
        notes: RefCell::default(),
    })
}

/// Bytes of what every connection or exchange has, by name: the budget tests hold them.
pub fn sizes() -> [(&'static str, usize); 4] {
    fn bytes_of<A, F: Future>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }
    [
        ("connection_future", bytes_of(live)),
        ("request_future", h1::Client::future_bytes()),
        ("client", size_of::<h1::Client>()),
        ("exchange", size_of::<foregate_core::Exchange>()),
    ]
}

/// How clients are to be treated on a server's own level.
fn client_settings(local: &Local, server: u32) -> &client::Settings {
    let settings = local.cycle.settings(local.cycle.server(server).place);
    settings.client.as_ref().expect("because the client module always resolves")
}
