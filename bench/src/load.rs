//! A small load generator for what wrk cannot do: TLS handshakes, WebSocket messages, a fixed rate.
//!
//! One thread, one epoll, every answer's status and length checked. The fixed rate is an open loop: requests are due
//! at even times whatever the proxy does, latencies count from then and not from when a request could be sent, and
//! those that wait for an answer at the end count with the time they have waited. A proxy that stalls cannot hide it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustls::ClientConfig;

use crate::client;
use crate::link::Link;
use crate::stats;

const EVENTS_MAX: usize = 256;
const READ_BYTES: usize = 128 * 1024;
const TIMER: u64 = u64::MAX;
/// After so many mistakes the run ends: whatever it measures is not the workload.
const MISTAKES_MAX: usize = 1000;
/// Answers at a fixed rate count after this time: before it the proxy opens its connections to the backend.
const WARM_UP: Duration = Duration::from_millis(500);
/// Latencies at a fixed rate are also taken by the time at which requests were due.
const WINDOW: Duration = Duration::from_millis(100);
/// Answers that may lack at a fixed rate before its latencies say nothing.
const SHORT_MAX: f64 = 0.02;

/// What a load did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Requests answered, or messages echoed.
    pub(crate) done: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The median of the p99s of the run's [`WINDOW`]s: a pause of the machine spoils one of them, a proxy's own
    /// habit all. 0 where it was not asked for.
    pub(crate) window_p99_us: f64,
    /// Facts, each with how often it happened.
    pub(crate) mistakes: Vec<String>,
}

/// When the next request of a connection goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as the answer before it is complete.
    Closed,
    /// On a new connection each.
    Reconnect,
    /// So many a second over all connections, due at even times.
    Rate(u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// A 200 with a body of so many bytes.
    Http(usize),
    /// So many bytes.
    Echo(usize),
}

/// A load to be put on a port.
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) conns: usize,
    /// Makes the TLS side of one connection slot; kept by the slot, with the sessions it remembers.
    pub(crate) tls: Option<Box<dyn Fn() -> Arc<ClientConfig>>>,
    /// Must every handshake after a slot's first be a resumed one, or none?
    pub(crate) resume: bool,
    /// Sent, and answered with 101, before the first message.
    pub(crate) upgrade: Option<Vec<u8>>,
    pub(crate) message: Vec<u8>,
    pub(crate) expect: Expect,
    pub(crate) pace: Pace,
    pub(crate) lasting: Duration,
}

struct Slot {
    link: Option<Link>,
    tls: Option<Arc<ClientConfig>>,
    n_opened: u64,
    /// Since when the request under way counts.
    since: Option<Instant>,
    sent: usize,
    /// The head so far; of an echo, nothing.
    head: Vec<u8>,
    /// Bytes still missing once the head is read.
    missing: Option<usize>,
    /// Complete; the end of the connection is awaited.
    ending: bool,
}

struct Run<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    /// Due times that no connection was free for.
    due: VecDeque<Instant>,
    latencies_us: Vec<u32>,
    /// The same by window.
    windows_us: Vec<Vec<u32>>,
    /// Requests due earlier count in no latency.
    counts_from: Instant,
    /// How many of those were answered.
    n_warm: u64,
    mistakes: Vec<String>,
}

/// Loads for the plan's time and says what happened.
pub(crate) fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut run = Run {
        plan,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        slots: Vec::new(),
        due: VecDeque::new(),
        latencies_us: Vec::new(),
        windows_us: Vec::new(),
        counts_from: Instant::now(),
        n_warm: 0,
        mistakes: Vec::new(),
    };
    for at in 0..plan.conns {
        let tls = plan.tls.as_ref().map(|make| make());
        run.slots.push(Slot {
            link: None,
            tls,
            n_opened: 0,
            since: None,
            sent: 0,
            head: Vec::new(),
            missing: None,
            ending: false,
        });
        run.open(at)?;
    }
    let start = Instant::now();
    if let Pace::Rate(_) = plan.pace {
        run.counts_from = start + WARM_UP;
    }
    let end = start + plan.lasting + plan.warm_up();
    run.turns(start, end)?;
    let seconds = start.elapsed().as_secs_f64();
    let done = run.latencies_us.len() as u64 + run.n_warm;
    run.end(end);
    run.latencies_us.sort_unstable();
    Ok(Outcome {
        done,
        seconds,
        p50_us: stats::percentile(&run.latencies_us, 0.50),
        p99_us: stats::percentile(&run.latencies_us, 0.99),
        window_p99_us: if let Pace::Rate(_) = plan.pace { run.window_p99_us() } else { 0.0 },
        mistakes: stats::counted(run.mistakes),
    })
}

impl Plan {
    fn warm_up(&self) -> Duration {
        if let Pace::Rate(_) = self.pace { WARM_UP } else { Duration::ZERO }
    }
}

impl Run<'_> {
    fn turns(&mut self, start: Instant, deadline: Instant) -> io::Result<()> {
        let timer = self.timer()?;
        let mut n_due = 0;
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS_MAX);
        if self.plan.pace != Pace::Reconnect && timer.is_none() {
            (0..self.slots.len()).for_each(|at| self.slots[at].since = Some(start));
        }
        for at in 0..self.slots.len() {
            self.step(at, &mut buffer);
        }
        loop {
            let now = Instant::now();
            if now >= deadline || self.mistakes.len() >= MISTAKES_MAX {
                return Ok(());
            }
            let left = Timespec { tv_sec: (deadline - now).as_secs() as i64, tv_nsec: 5_000_000 };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&left)) {
                Err(rustix::io::Errno::INTR) => continue,
                done => done?,
            };
            for event in &events {
                match (event.data.u64(), &timer, self.plan.pace) {
                    (TIMER, Some(timer), Pace::Rate(rate)) => {
                        let mut count = [0; 8];
                        rustix::io::read(timer, &mut count)?;
                        for _ in 0..u64::from_ne_bytes(count) {
                            n_due += 1;
                            self.due.push_back(start + Duration::from_nanos(n_due * 1_000_000_000 / rate));
                        }
                        self.send_due(&mut buffer);
                    }
                    (at, ..) => self.step(at as usize, &mut buffer),
                }
            }
        }
    }

    /// What nobody has answered at a fixed rate counts as well, and may not be much.
    fn end(&mut self, now: Instant) {
        let Pace::Rate(rate) = self.plan.pace else { return };
        let n_answered = self.latencies_us.len() as f64;
        let n_due = rate as f64 * self.plan.lasting.as_secs_f64();
        if n_answered < n_due * (1.0 - SHORT_MAX) {
            self.mistakes.push(format!("{n_answered} answers of {n_due} that were due"));
        }
        let waiting = self.slots.iter().filter_map(|slot| slot.since).chain(self.due.drain(..));
        let waiting: Vec<Instant> = waiting.collect();
        waiting.into_iter().for_each(|since| self.count(since, now.saturating_duration_since(since)));
    }

    fn count(&mut self, since: Instant, latency: Duration) {
        self.latencies_us.push(micros(latency));
        if let Pace::Rate(_) = self.plan.pace {
            let window = since.saturating_duration_since(self.counts_from).as_nanos() / WINDOW.as_nanos();
            let window = window as usize;
            if self.windows_us.len() <= window {
                self.windows_us.resize(window + 1, Vec::new());
            }
            self.windows_us[window].push(micros(latency));
        }
    }

    fn window_p99_us(&mut self) -> f64 {
        self.windows_us.iter_mut().for_each(|window| window.sort_unstable());
        let p99s: Vec<f64> = self.windows_us.iter().map(|it| stats::percentile(it, 0.99)).collect();
        stats::median(&p99s)
    }

    /// Ticks at the plan's rate, if it has one.
    fn timer(&self) -> io::Result<Option<OwnedFd>> {
        let Pace::Rate(rate) = self.plan.pace else { return Ok(None) };
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let every = Timespec { tv_sec: 0, tv_nsec: (1_000_000_000 / rate.max(2)) as i64 };
        let times = Itimerspec { it_interval: every, it_value: every };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        epoll::add(&self.epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Some(timer))
    }

    fn send_due(&mut self, buffer: &mut [u8]) {
        for at in 0..self.slots.len() {
            let (slot, Some(due)) = (&mut self.slots[at], self.due.front()) else { return };
            if slot.since.is_none() {
                slot.since = Some(*due);
                self.due.pop_front();
                self.step(at, buffer);
            }
        }
    }

    fn open(&mut self, at: usize) -> io::Result<()> {
        let slot = &mut self.slots[at];
        let since = Instant::now();
        let mut link = Link::open(self.plan.port, slot.tls.as_ref())?;
        if let Some(upgrade) = &self.plan.upgrade {
            match client::exchange(&mut link, upgrade) {
                Ok(answer) if answer.status == 101 => {}
                Ok(answer) => return Err(io::Error::other(format!("status {} for 101", answer.status))),
                Err(why) => return Err(io::Error::other(why)),
            }
        }
        link.socket.set_nonblocking(true)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &link.socket, EventData::new_u64(at as u64), flags)?;
        slot.link = Some(link);
        (slot.n_opened, slot.ending, slot.sent) = (slot.n_opened + 1, false, 0);
        slot.since = (self.plan.pace == Pace::Reconnect).then_some(since);
        slot.head.clear();
        slot.missing = None;
        Ok(())
    }

    /// Goes on with one connection as far as it goes; opens another where it ends.
    fn step(&mut self, at: usize, buffer: &mut [u8]) {
        loop {
            let why = match self.progress(at, buffer) {
                Ok(true) => {
                    self.finish(at);
                    continue;
                }
                Ok(false) => return,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof && self.slots[at].ending => None,
                Err(e) => Some(e.to_string()),
            };
            let failed = why.is_some();
            self.mistakes.extend(why);
            self.slots[at].link = None;
            if let Err(e) = self.open(at) {
                self.mistakes.push(format!("cannot connect: {e}"));
                return;
            }
            if self.plan.pace == Pace::Closed {
                self.slots[at].since = Some(Instant::now());
            }
            if failed && self.mistakes.len() >= MISTAKES_MAX {
                return;
            }
        }
    }

    /// Writes and reads; whether an answer is complete.
    fn progress(&mut self, at: usize, buffer: &mut [u8]) -> io::Result<bool> {
        let (plan, slot) = (self.plan, &mut self.slots[at]);
        loop {
            let Some(link) = &mut slot.link else { return Ok(false) };
            while slot.since.is_some() && !slot.ending && slot.sent < plan.message.len() {
                match link.write(&plan.message[slot.sent..]) {
                    Ok(n) => slot.sent += n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            let n = match link.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            };
            if slot.take(plan.expect, &buffer[..n])? {
                return Ok(true);
            }
        }
    }

    /// Counts a complete answer and begins what comes next on the connection.
    fn finish(&mut self, at: usize) {
        let (now, slot) = (Instant::now(), &mut self.slots[at]);
        match slot.since.take() {
            Some(since) if since < self.counts_from => self.n_warm += 1,
            Some(since) => self.count(since, now - since),
            None => {}
        }
        let slot = &mut self.slots[at];
        slot.sent = 0;
        slot.head.clear();
        slot.missing = None;
        match self.plan.pace {
            Pace::Closed => slot.since = Some(now),
            Pace::Rate(_) => slot.since = self.due.pop_front(),
            Pace::Reconnect => {
                slot.ending = true;
                let resumed = slot.link.as_ref().is_some_and(Link::resumed);
                if slot.tls.is_some() && resumed != (self.plan.resume && slot.n_opened > 1) {
                    self.mistakes.push(format!("handshake resumed: {resumed}"));
                }
            }
        }
    }
}

impl Slot {
    /// Whether these bytes complete the answer.
    fn take(&mut self, expect: Expect, mut bytes: &[u8]) -> io::Result<bool> {
        if self.since.is_none() {
            return Err(io::Error::other("bytes nobody asked for"));
        }
        let mut missing = match (self.missing, expect) {
            (Some(missing), _) | (None, Expect::Echo(missing)) => missing,
            (None, Expect::Http(body_bytes)) => {
                let before = self.head.len();
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(false) };
                check_head(&self.head[..end], body_bytes)?;
                bytes = &bytes[end + 4 - before..];
                body_bytes
            }
        };
        if bytes.len() > missing {
            return Err(io::Error::other("bytes behind the answer"));
        }
        missing -= bytes.len();
        self.missing = Some(missing);
        Ok(missing == 0)
    }
}

fn micros(time: Duration) -> u32 {
    time.as_micros().min(u128::from(u32::MAX)) as u32
}

fn check_head(head: &[u8], body_bytes: usize) -> io::Result<()> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        let line = head.lines().next().unwrap_or("");
        return Err(io::Error::other(format!("answered {line:?}")));
    }
    if !head.contains(&format!("\r\ncontent-length: {body_bytes}")) {
        return Err(io::Error::other("another length than expected"));
    }
    Ok(())
}
