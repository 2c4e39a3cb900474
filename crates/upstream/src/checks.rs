//! Active health checks: who is asked when, and what follows from the answer. What is asked is the protocol's affair.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foregate_core::{Body, ErrorLog, Exchange, Level, Regex, Reply, Template, next};
use foregate_net::{Addr, clock, runtime};

use crate::attempts::AttemptsNote;
use crate::balance::random_u32;
use crate::group::{Group, Groups, Keepalive};
use crate::peer::Peer;
use crate::state::{Health, Verdict};
use crate::views::View;

/// How the requests of checks name their sender.
pub const CHECKS_AGENT: &[u8] = b"foregate health check";

/// What `health_check` says.
pub struct Checklist {
    pub interval: Duration,
    /// Up to this much is added to each interval.
    pub jitter: Duration,
    /// Checks in a row that make a peer unhealthy, and healthy again.
    pub fails: u32,
    pub passes: u32,
    pub uri: Vec<u8>,
    /// Instead of the peer's own.
    pub port: Option<u16>,
    /// New peers are not asked before they have passed a check.
    pub mandatory: bool,
    /// How long a connection is used again; unset: for one check.
    pub keepalive_time: Option<Duration>,
    pub expected: Arc<Expected>,
    /// Asked by gRPC's own protocol for this.
    pub grpc: Option<GrpcCheck>,
}

/// `type=grpc`.
#[derive(Clone, Debug, Default)]
pub struct GrpcCheck {
    /// The service that is asked for; empty: the server.
    pub service: String,
    /// The status of an answer that is good: 0, or that of servers that do not know the protocol.
    pub status: u32,
}

/// A `match` block: what an answer must be like.
pub struct Expected {
    /// For the log; empty where none is named.
    pub name: String,
    pub status: Option<Test<Vec<RangeInclusive<u16>>>>,
    /// Names of fields, and what their values must be like.
    pub fields: Vec<(String, FieldTest)>,
    pub body: Option<Test<Regex>>,
    /// Values that must be neither empty nor 0.
    pub require: Vec<Template>,
}

/// Something that must hold, or must not.
pub struct Test<T> {
    pub holds: bool,
    pub what: T,
}

/// What is asked of a field.
pub enum FieldTest {
    Exists(bool),
    Is(Test<Vec<u8>>),
    Matches(Test<Regex>),
}

/// The part of a body that is looked at (NGINX Plus: 256k).
const BODY_BYTES_MAX: usize = 256 << 10;
/// Checks of one group that are told apart.
const CHECKS_MAX: u32 = 31;

impl Default for Expected {
    /// NGINX Plus's: 2xx and 3xx are good.
    fn default() -> Self {
        let status = Some(Test { holds: true, what: vec![200..=399] });
        Self { name: String::new(), status, fields: Vec::new(), body: None, require: Vec::new() }
    }
}

impl Expected {
    /// What is wrong with an answer, as the middle of a line for the log. Reads its body where that matters, or where
    /// its connection is to be used again.
    pub async fn fault(&self, ex: &mut Exchange, reply: Reply, reads: bool) -> Option<&'static str> {
        let fits = |it: &Test<Vec<RangeInclusive<u16>>>| {
            it.what.iter().any(|range| range.contains(&reply.status)) == it.holds
        };
        if !self.status.as_ref().is_none_or(fits) {
            return Some("checking status code");
        }
        if !self.fields_fit(ex) {
            return Some("checking headers");
        }
        let wanted = |it: &Template| !matches!(&*it.fill_new(ex), b"" | b"0");
        if !self.require.iter().all(wanted) {
            return Some("checking variables");
        }
        if self.body.is_some() || reads {
            let Some(body) = read(reply.body).await else {
                return Some("reading response body from upstream");
            };
            let matches = |it: &Test<Regex>| it.what.is_match(&body).unwrap_or(false) == it.holds;
            if !self.body.as_ref().is_none_or(matches) {
                return Some("checking response body");
            }
        }
        None
    }
}

impl Expected {
    fn fields_fit(&self, ex: &Exchange) -> bool {
        let Some(attempts) = ex.notes.get::<AttemptsNote>() else { return self.fields.is_empty() };
        let attempts = attempts.borrow();
        let value = |name: &str| {
            let mut fields = attempts.fields();
            fields.find(|it| it.0.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.1)
        };
        self.fields.iter().all(|(name, test)| test.passes(value(name)))
    }
}

/// The beginning of a body; `None` where it breaks off.
async fn read(body: Body) -> Option<Vec<u8>> {
    let mut source = body.into_source();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut *source).await.ok()? {
        bytes.extend_from_slice(&piece);
        if bytes.len() >= BODY_BYTES_MAX {
            bytes.truncate(BODY_BYTES_MAX);
            break;
        }
    }
    Some(bytes)
}

impl FieldTest {
    fn passes(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::Is(test) => value.is_some_and(|it| it == test.what) == test.holds,
            Self::Matches(test) => {
                value.is_some_and(|it| test.what.is_match(it).unwrap_or(false)) == test.holds
            }
        }
    }
}

/// One peer as a check sees it, from one round to the next.
pub struct Probe {
    /// Where the question goes.
    pub view: Rc<View>,
    peer: Arc<Peer>,
    /// It is being asked.
    busy: Cell<bool>,
    /// How the last checks ended, and how many in a row.
    row: Cell<(bool, u32)>,
}

/// By address and server.
type Probes = HashMap<(Addr, Arc<str>), Rc<Probe>>;

/// Checks the peers of one group for as long as it is polled.
pub(crate) struct Checker {
    group: Arc<Group>,
    number: u32,
    probes: RefCell<Probes>,
}

impl Checker {
    /// The checks of a configuration, each with its group. Groups forget what is not checked any more.
    pub(crate) fn all<'a>(
        wanted: impl Iterator<Item = (Arc<Group>, &'a Checklist)>,
        groups: &Groups,
    ) -> Vec<Rc<Self>> {
        let mut counts: HashMap<*const Group, (u32, u32)> = HashMap::new();
        let mut checkers = Vec::new();
        for (group, checklist) in wanted {
            let (n, mandatory) = counts.entry(Arc::as_ptr(&group)).or_default();
            let number = (*n).min(CHECKS_MAX);
            *n = number + 1;
            *mandatory |= u32::from(checklist.mandatory) << number;
            checkers.push(Rc::new(Self { group, number, probes: RefCell::default() }));
        }
        for group in groups.all() {
            let (n, mandatory) = counts.get(&Arc::as_ptr(group)).copied().unwrap_or_default();
            group.set_checks(n, mandatory);
        }
        checkers
    }

    /// Begins a round: the peers that are to be asked now.
    pub(crate) fn round(&self, on: &Checklist) -> Vec<Rc<Probe>> {
        let mut probes = self.probes.borrow_mut();
        let peers = self.group.list();
        let key = |it: &Arc<Peer>| (it.addr.clone(), it.server.clone());
        let known: HashSet<_> = peers.iter().map(|(it, _)| key(it)).collect();
        probes.retain(|it, _| known.contains(it));
        let mut due = Vec::new();
        for (peer, _) in peers.iter().filter(|(it, _)| !it.down) {
            let probe = probes.entry(key(peer)).or_insert_with(|| Rc::new(Probe::new(peer.clone(), on)));
            if !Arc::ptr_eq(&probe.peer.state, &peer.state) {
                *probe = Rc::new(Probe::new(peer.clone(), on));
            }
            if !probe.busy.replace(true) {
                due.push(probe.clone());
            }
        }
        due
    }

    /// Until the next round.
    pub(crate) async fn pause(&self, on: &Checklist) {
        let jitter = clock::as_ms(on.jitter) * u64::from(random_u32()) / u64::from(u32::MAX);
        clock::sleep(on.interval + Duration::from_millis(jitter)).await;
    }

    /// A check is over: `fault` says what was wrong.
    pub(crate) fn settle(&self, on: &Checklist, probe: &Probe, fault: Option<&'static str>, log: &ErrorLog) {
        probe.busy.set(false);
        let passed = fault.is_none();
        let (before, row) = probe.row.get();
        let row = if before == passed { row.saturating_add(1) } else { 1 };
        probe.row.set((passed, row));
        let verdict = Verdict { number: self.number, passed, passes: on.passes, fails: on.fails };
        let (peer, group, name) = (&probe.peer.name, &self.group.name, &on.expected.name);
        let check =
            format_args!("health check \"{name}\" of peer {peer} in upstream \"{group}\"").to_string();
        match probe.peer.state.checked(&verdict, row, clock::unix_ms()) {
            Some(Health::Unhealthy) => {
                let step = fault.unwrap_or("checking");
                log.write(Level::Warn, &format_args!("peer is unhealthy while {step}, {check}"));
            }
            Some(Health::Up) => log.write(Level::Notice, &format_args!("peer is healthy, {check}")),
            _ => (),
        }
        if let Some(queue) = &self.group.queue {
            queue.call();
        }
    }
}

impl Probe {
    fn new(peer: Arc<Peer>, on: &Checklist) -> Self {
        let mut addr = peer.addr.clone();
        if let (Addr::Ip(addr), Some(port)) = (&mut addr, on.port) {
            addr.set_port(port);
        }
        let keepalive = on.keepalive_time.map(|time| Keepalive {
            connections: 1,
            requests: u64::MAX,
            time,
            // From one check to the next, with room for late ones.
            timeout: (on.interval + on.jitter) * 2,
            local: false,
        });
        let view = View::apart(&peer.name, addr, keepalive);
        Self { view, peer, busy: Cell::new(false), row: Cell::new((true, 0)) }
    }
}

/// A check that was given up leaves its peer to the next round.
pub(crate) struct Busy(Rc<Probe>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
    }
}

/// Runs a check of its own, beside all others.
pub(crate) fn start_check(probe: Rc<Probe>, work: impl Future<Output = ()> + 'static) {
    let busy = Busy(probe);
    runtime::spawn(async move {
        let _busy = busy;
        work.await;
    })
    .detach();
}
