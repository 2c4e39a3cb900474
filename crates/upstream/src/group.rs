//! Groups of peers as configurations make them, and the state that all threads share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use foregate_core::Template;
use foregate_net::{Addr, clock, names};

use crate::address::Address;
use crate::changes::StateFile;
use crate::ejection::{Ejection, RetryBudget};
use crate::hash;
use crate::members::Members;
use crate::peer::{Peer, SHARE_FULL};
use crate::queue::Queue;
use crate::resolvers::Resolvers;
use crate::sticky::Sticky;
use crate::times::Measure;

/// How the next peer is found.
#[derive(Clone, Default)]
pub enum Balance {
    /// Smooth weighted round robin.
    #[default]
    Turn,
    /// `least_conn`: fewest requests in work for its weight.
    LeastConn,
    /// `ip_hash`: by the client's address (its /24 for IPv4).
    IpHash,
    /// `hash KEY [consistent]`.
    Hash { key: Template, consistent: bool },
    /// `least_time`: the one that is expected to be done first.
    LeastTime(Measure),
    /// `random [two [least_conn|least_time=…]]`.
    Random { two: bool, by: Option<Measure> },
}

/// What is kept of connections that nobody uses, per thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keepalive {
    /// Idle connections of one thread to the whole group.
    pub connections: usize,
    pub requests: u64,
    /// Oldest age at which a connection is kept once more.
    pub time: Duration,
    /// How long one stays idle.
    pub timeout: Duration,
    /// Connections of one location are not given to another.
    pub local: bool,
}

impl Default for Keepalive {
    /// nginx's since 1.29.7: `keepalive 32 local`.
    fn default() -> Self {
        Self {
            connections: 32,
            requests: 1000,
            time: Duration::from_secs(3600),
            timeout: Duration::from_secs(60),
            local: true,
        }
    }
}

/// A `server` line.
#[derive(Clone)]
pub struct Server {
    /// The address as written.
    pub written: Arc<str>,
    pub place: Where,
    pub weight: u32,
    pub max_conns: u32,
    pub max_fails: u32,
    pub fail_timeout_s: u64,
    pub down: bool,
    /// Only clients that belong to it already.
    pub drain: bool,
    /// How long its weight takes to come back after it was out; 0: no time.
    pub slow_start_ms: u64,
    /// What `sticky` calls it; unset, a hash of its address.
    pub route: Option<String>,
    pub backup: bool,
    /// `resolve`: asked of name servers while serving, and not of the system's resolver at all.
    pub resolve: Option<Resolve>,
}

#[derive(Clone)]
pub struct Resolve {
    pub resolver: Arc<Resolvers>,
    /// `service=`: what SRV records are asked for.
    pub service: Option<String>,
}

/// One address of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub addr: Addr,
    /// What a SRV record says; unset, the server's own line holds.
    pub service: Option<Target>,
}

/// A target of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: Arc<str>,
    pub weight: u32,
    /// Others have a better priority.
    pub backup: bool,
}

impl From<Addr> for Found {
    fn from(addr: Addr) -> Self {
        Self { addr, service: None }
    }
}

#[derive(Clone)]
pub enum Where {
    At(Addr),
    /// Looked up when the configuration is loaded, and again from time to time.
    Named {
        host: String,
        port: u16,
    },
}

impl Server {
    /// A server with nginx's defaults.
    pub fn new(address: &Address, written: &str) -> Self {
        let place = match &address.fixed {
            Some(addr) => Where::At(addr.clone()),
            None => Where::Named { host: address.host.clone(), port: address.port },
        };
        Self {
            written: written.into(),
            place,
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout_s: 10,
            down: false,
            drain: false,
            slow_start_ms: 0,
            route: None,
            backup: false,
            resolve: None,
        }
    }

    /// Its addresses by the system's resolver. Blocks.
    pub(crate) fn look_up(&self) -> Vec<Found> {
        match &self.place {
            Where::At(addr) => vec![addr.clone().into()],
            Where::Named { .. } if self.resolve.is_some() => Vec::new(),
            Where::Named { host, port } => {
                let found = names::look_up(host, *port).unwrap_or_default();
                found.into_iter().map(|it| Addr::Ip(it).into()).collect()
            }
        }
    }

    pub(crate) fn host(&self) -> Option<&str> {
        match &self.place {
            Where::Named { host, .. } => Some(host),
            Where::At(_) => None,
        }
    }

    /// An address that another configuration's line of the same name had; the port is this line's own.
    pub(crate) fn adopt(&self, mut found: Found) -> Found {
        if let (Where::Named { port, .. }, None, Addr::Ip(addr)) =
            (&self.place, &found.service, &mut found.addr)
        {
            addr.set_port(*port);
        }
        found
    }

    pub(crate) fn service(&self) -> Option<&str> {
        self.resolve.as_ref()?.service.as_deref()
    }

    /// It has a name and no address of its own.
    pub fn is_named(&self) -> bool {
        matches!(self.place, Where::Named { .. })
    }
}

/// A group of peers, one per `upstream` block or `proxy_pass` address.
pub struct Group {
    pub name: String,
    /// 0 for `upstream` blocks.
    port: u16,
    no_port: bool,
    /// Made by an `upstream` block.
    pub explicit: bool,
    pub balance: Balance,
    pub sticky: Option<Sticky>,
    /// Unset: every connection ends with its answer, as nginx does for addresses in `proxy_pass`.
    pub keepalive: Option<Keepalive>,
    /// Requests wait for a peer.
    pub queue: Option<Queue>,
    pub ejection: Option<Ejection>,
    pub retry_budget: Option<RetryBudget>,
    /// It has a `zone`: it is counted what its peers do, and it can be seen and changed while it serves.
    pub zone: Option<String>,
    /// What survives a restart.
    pub state_file: Option<StateFile>,
    /// Who is asked for the names of servers that are added.
    pub resolver: Option<Arc<Resolvers>>,
    /// Which health checks have to pass before a new peer is asked: a bit for each.
    mandatory: AtomicU32,
    /// Position of this group's things among a thread's own; a reload keeps it.
    pub(crate) id: usize,
    /// The servers, and what each one's last look-up found.
    members: Mutex<Members>,
    peers: RwLock<Arc<Peers>>,
    /// Rises whenever `peers` is replaced. Unique over all groups, so that an id may be handed on.
    generation: AtomicU64,
    /// Somebody looks the names up from time to time.
    pub(crate) refreshed: AtomicBool,
}

static NEXT_ID: AtomicUsize = AtomicUsize::new(0);
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

impl Group {
    /// Builds a group and looks its names up. Peers that `previous` had as well keep their health.
    pub fn new(
        name: &str,
        servers: Vec<Server>,
        balance: Balance,
        keepalive: Option<Keepalive>,
        previous: Option<&Group>,
    ) -> Self {
        let mut members = Members::new(servers);
        if let Some(previous) = previous {
            members.inherit(&previous.members());
        }
        let old = previous.map(Group::peers);
        let peers = Peers::build(&mut members, &balance, false, old.as_deref());
        let id = previous.map_or_else(|| NEXT_ID.fetch_add(1, Ordering::Relaxed), |it| it.id);
        Self {
            name: name.to_owned(),
            port: 0,
            no_port: true,
            explicit: true,
            balance,
            sticky: None,
            keepalive,
            queue: None,
            ejection: None,
            retry_budget: None,
            zone: None,
            state_file: None,
            resolver: None,
            mandatory: AtomicU32::new(0),
            id,
            members: Mutex::new(members),
            peers: RwLock::new(Arc::new(peers)),
            generation: AtomicU64::new(NEXT_GENERATION.fetch_add(1, Ordering::Relaxed)),
            refreshed: AtomicBool::new(false),
        }
    }

    /// The group that an address in `proxy_pass` makes.
    pub fn implicit(address: &Address, previous: Option<&Group>) -> Self {
        let server = Server::new(address, &address.host);
        let mut group = Self::new(&address.host, vec![server], Balance::Turn, None, previous);
        (group.port, group.no_port, group.explicit) = (address.port, address.no_port, false);
        group
    }

    /// Gives it a zone. To be called before it serves.
    pub fn set_zone(&mut self, name: &str) {
        self.zone = Some(name.to_owned());
        self.rebuild(&mut self.members());
    }

    /// This many checks are made of its peers. Those of `mandatory`, a bit for each, come before anything else.
    pub(crate) fn set_checks(&self, n: u32, mandatory: u32) {
        self.mandatory.store(mandatory, Ordering::Relaxed);
        let peers = self.peers();
        peers.all().for_each(|it| it.state.keep_checks(n));
        self.hold_back(&peers);
    }

    fn hold_back(&self, peers: &Peers) {
        let mandatory = self.mandatory.load(Ordering::Relaxed);
        for check in (0..u32::BITS).filter(|it| mandatory >> it & 1 == 1) {
            peers.all().for_each(|it| it.state.wait_for(check));
        }
    }

    /// The `server` lines.
    pub fn servers(&self) -> Vec<Server> {
        self.members().list.iter().map(|it| it.server.clone()).collect()
    }

    /// Names that could not be looked up.
    pub fn unresolved(&self) -> Vec<String> {
        self.members().unresolved()
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn peers(&self) -> Arc<Peers> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All its peers as they are now, with whether they are backups.
    pub fn list(&self) -> Vec<(Arc<Peer>, bool)> {
        let peers = self.peers();
        let tiers = peers.tiers.iter().enumerate();
        tiers.flat_map(|(at, tier)| tier.peers.iter().map(move |it| (it.clone(), at > 0))).collect()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes over what a look-up found for one member.
    pub(crate) fn update(&self, member: u32, found: Vec<Found>) {
        let mut members = self.members();
        let Some(it) = members.list.iter_mut().find(|it| it.id == member) else { return };
        if it.found != found {
            it.found = found;
            self.rebuild(&mut members);
        }
    }

    /// The members have changed: every thread's next request sees the new peers.
    pub(crate) fn rebuild(&self, members: &mut Members) {
        let new = Peers::build(members, &self.balance, self.zone.is_some(), Some(&self.peers()));
        self.hold_back(&new);
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.generation.store(NEXT_GENERATION.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }
}

/// All groups of one configuration.
#[derive(Default)]
pub struct Groups {
    by_name: HashMap<String, Vec<Arc<Group>>>,
}

impl Groups {
    /// The group that an address means: an `upstream` block of its name, or the same address.
    pub fn find(&self, host: &str, port: u16, no_port: bool) -> Option<&Arc<Group>> {
        let named = self.by_name.get(&host.to_ascii_lowercase())?;
        named.iter().find(|it| (it.explicit && no_port) || (!it.explicit && it.port == port))
    }

    /// The `upstream` block of this name.
    pub fn explicit(&self, name: &str) -> Option<&Arc<Group>> {
        self.by_name.get(&name.to_ascii_lowercase())?.iter().find(|it| it.explicit)
    }

    pub fn add(&mut self, group: Group) -> Arc<Group> {
        let group = Arc::new(group);
        self.by_name.entry(group.name.to_ascii_lowercase()).or_default().push(group.clone());
        group
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.by_name.values().flatten()
    }
}

/// The peers of a group at one time. Replaced whole when a name gets other addresses.
pub(crate) struct Peers {
    /// Primaries, then backups where there are some.
    pub(crate) tiers: Vec<Tier>,
    /// Somebody reads how many requests a peer works on.
    pub(crate) counted: bool,
    /// Somebody reads what peers answer.
    pub(crate) tallied: bool,
}

pub(crate) struct Tier {
    pub(crate) peers: Vec<Arc<Peer>>,
    /// Round robin's memory. Taken for a few comparisons, and never where there is only one peer.
    weights: Mutex<Vec<Weight>>,
    pub(crate) total_weight: u32,
    /// Peers that are not marked down.
    pub(crate) tries: u32,
    /// Points of a consistent hash.
    pub(crate) ring: Vec<(u32, u32)>,
    /// Some peer starts slowly: weights are counted in thousandths.
    pub(crate) slow: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) current: i64,
    pub(crate) effective: i64,
}

impl Weight {
    /// One round: what the peer gained by it. Weight that failures took comes back bit by bit. A peer that starts
    /// slowly gains but a share.
    pub(crate) fn grow(&mut self, full: u32, share: i64) -> i64 {
        let gain = self.effective * share;
        self.current += gain;
        if self.effective < i64::from(full) {
            self.effective += 1;
        }
        gain
    }
}

impl Peers {
    fn build(members: &mut Members, balance: &Balance, tallied: bool, old: Option<&Self>) -> Self {
        let consistent = matches!(balance, Balance::Hash { consistent: true, .. });
        let mut known: Vec<Arc<Peer>> = old.map(|old| old.all().cloned().collect()).unwrap_or_default();
        let mut tiers = [Vec::new(), Vec::new()];
        for at in 0..members.list.len() {
            for found in members.list[at].found.clone() {
                let member = &members.list[at];
                let same = |it: &Arc<Peer>| it.is(&found, &member.server);
                // The same member's first, as several may have one address.
                let mine = known.iter().position(|it| it.member == member.id && same(it));
                let state = match mine.or_else(|| known.iter().position(same)) {
                    Some(at) => known.swap_remove(at).state.clone(),
                    None => Arc::default(),
                };
                let peer = Peer::new(&found, &member.server, member.id, state);
                let is_backup = found.service.as_ref().map_or(member.server.backup, |it| it.backup);
                members.number(at, &peer);
                tiers[usize::from(is_backup)].push(Arc::new(peer));
            }
        }
        let [first, second] = tiers;
        let mut tiers = vec![Tier::new(first, consistent)];
        if !second.is_empty() {
            tiers.push(Tier::new(second, consistent));
        }
        let by_load =
            matches!(balance, Balance::LeastConn | Balance::LeastTime(_) | Balance::Random { two: true, .. });
        let limited = members.list.iter().any(|it| it.server.max_conns > 0);
        Self { tiers, counted: by_load || limited || tallied, tallied }
    }

    /// One address, or those of a name, that a request named.
    pub(crate) fn once(address: &Address, addrs: Vec<Addr>) -> Self {
        let server = Server::new(address, &address.host);
        let peer = |addr: Addr| Arc::new(Peer::new(&addr.into(), &server, 0, Arc::default()));
        let peers = addrs.into_iter().map(peer).collect();
        Self { tiers: vec![Tier::new(peers, false)], counted: false, tallied: false }
    }

    pub(crate) fn apart(name: &str, addr: Addr) -> Self {
        let mut address = Address { host: name.to_owned(), ..Address::default() };
        address.fixed = Some(addr.clone());
        Self::once(&address, vec![addr])
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.tiers.iter().flat_map(|it| &it.peers)
    }

    /// One peer and no backup: it is never taken out and needs no turn.
    pub(crate) fn is_single(&self) -> bool {
        matches!(&*self.tiers, [tier] if tier.peers.len() == 1)
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tiers.iter().map(|it| it.tries).sum()
    }
}

impl Tier {
    fn new(peers: Vec<Arc<Peer>>, consistent: bool) -> Self {
        let weight = |peer: &Arc<Peer>| Weight { current: 0, effective: i64::from(peer.weight) };
        let ring = match consistent {
            true => hash::ring(peers.iter().map(|peer| (&*peer.server, peer.weight))),
            false => Vec::new(),
        };
        Self {
            weights: Mutex::new(peers.iter().map(weight).collect()),
            total_weight: peers.iter().map(|it| it.weight).sum(),
            tries: peers.iter().filter(|it| !it.down && !it.drain).count() as u32,
            ring,
            slow: peers.len() > 1 && peers.iter().any(|it| it.slow_start_ms > 0),
            peers,
        }
    }

    /// What a round is worth to a peer, in the unit that this tier's weights are counted in.
    pub(crate) fn share(&self, idx: usize, now_ms: u64) -> i64 {
        match self.slow {
            true => self.peers[idx].share(now_ms).cast_signed(),
            false => 1,
        }
    }

    /// The time that [`Tier::share`] wants; nobody looks at a clock where it does not matter.
    pub(crate) fn now_ms(&self) -> u64 {
        if self.slow { clock::unix_ms() } else { 0 }
    }

    /// What a whole round is worth.
    pub(crate) fn unit(&self) -> i64 {
        if self.slow { SHARE_FULL.cast_signed() } else { 1 }
    }

    pub(crate) fn weights(&self) -> MutexGuard<'_, Vec<Weight>> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
