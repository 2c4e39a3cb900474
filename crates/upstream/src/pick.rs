//! One request's way through a group: which peer next, and what the group learns of the outcome.

use std::rc::Rc;
use std::sync::Arc;

use foregate_core::Exchange;
use foregate_net::Addr;

use crate::attempts::Asked;
use crate::group::{Balance, Tier, Weight};
use crate::hash;
use crate::peer::Peer;
use crate::sticky::Lesson;
use crate::views::View;

/// Hashes give up after so many peers that cannot be asked, and take turns instead.
const MISSES_MAX: u32 = 20;

/// The search of one request. Dropped with a peer in hand, it counts as answered.
pub struct Pick {
    view: Rc<View>,
    tier: usize,
    current: Option<usize>,
    tried: Tried,
    /// Peers that may still be tried, the current one included.
    tries: u32,
    seek: Seek,
    /// The peer that the client belongs to, by its id.
    hint: Option<Vec<u8>>,
    /// What is learned once the answer is whole.
    pub(crate) lesson: Option<Lesson>,
}

/// What a balancer remembers between the tries of one request.
enum Seek {
    Turn,
    LeastConn,
    Address { bytes: [u8; 16], len: usize, hash: u32, misses: u32 },
    Key { key: Vec<u8>, hash: u32, rehash: u32, misses: u32 },
    Ring { at: u32, misses: u32 },
    Random { two: bool, misses: u32 },
}

/// What became of a peer's try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Passed,
    /// It answered, and another one may know better (403, 404).
    Next,
    Failed,
}

impl Pick {
    /// Begins a search. `tries_max` of 0 is no limit.
    pub fn new(view: Rc<View>, ex: &mut Exchange, tries_max: u32) -> Self {
        let seek = Seek::new(&view, ex);
        let mut tries = view.peers.tries();
        if tries_max > 0 {
            tries = tries.min(tries_max);
        }
        let hint = view.sticky().and_then(|it| it.hint(ex));
        Self { view, tier: 0, current: None, tried: Tried::default(), tries, seek, hint, lesson: None }
    }

    /// Chooses the next peer; false when no live one is left.
    pub fn next(&mut self, now_s: u64) -> bool {
        debug_assert!(self.current.is_none(), "the outcome of the last try is told before the next");
        while self.tier < self.view.peers.tiers.len() {
            let view = self.view.clone();
            let tier = &view.peers.tiers[self.tier];
            if let Some(idx) = self.choose(tier, now_s) {
                self.tried.add(idx);
                self.current = Some(idx);
                if self.view.peers.counted {
                    tier.peers[idx].enter();
                }
                return true;
            }
            if self.tier + 1 == view.peers.tiers.len() {
                break;
            }
            self.tier += 1;
            self.tried = Tried::default();
        }
        false
    }

    fn choose(&mut self, tier: &Tier, now_s: u64) -> Option<usize> {
        let own = self.hint.as_ref().and_then(|id| self.own(tier, id, now_s));
        if self.view.peers.is_single() {
            let peer = &tier.peers[0];
            let free = !peer.down && !peer.drain && !peer.is_full();
            return own.or(free.then_some(0));
        }
        let idx = match (own, &self.seek) {
            (Some(own), Seek::Turn) => take_turn(tier, &self.tried, now_s, own),
            (Some(own), _) => own,
            (None, _) => self.seek.next(tier, &self.tried, now_s)?,
        };
        tier.peers[idx].choose(now_s);
        Some(idx)
    }

    /// The peer of this id, if it may be asked.
    fn own(&self, tier: &Tier, id: &[u8], now_s: u64) -> Option<usize> {
        let idx = tier.peers.iter().position(|it| it.id.as_bytes() == id)?;
        let free = !self.tried.has(idx) && tier.peers[idx].is_available_to_its_own(now_s);
        free.then_some(idx)
    }

    /// The peer that is being tried.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.view.peers.tiers[self.tier].peers.get(self.current?)
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// A kept connection turned out to be dead: that try does not count.
    pub(crate) fn try_once_more(&mut self) {
        self.tries += 1;
    }

    pub(crate) fn asked(&self) -> Option<Asked> {
        Some(Asked::Peer { view: self.view.clone(), tier: self.tier, idx: self.current? })
    }

    /// The peer has answered; it counts as at work until the returned value goes.
    pub(crate) fn hold(&mut self) -> Option<Hold> {
        let lesson = self.lesson.take();
        Some(Hold { view: self.view.clone(), tier: self.tier, idx: self.current.take()?, _lesson: lesson })
    }

    /// Tells the group how the try went; true where the peer is now taken out for a while.
    pub fn done(&mut self, outcome: Outcome, now_s: u64) -> bool {
        let Some(idx) = self.current.take() else { return false };
        let tier = &self.view.peers.tiers[self.tier];
        let peer = &tier.peers[idx];
        if outcome != Outcome::Failed || self.view.peers.is_single() {
            self.tries = if self.view.peers.is_single() { 0 } else { self.tries.saturating_sub(1) };
            drop(Hold { view: self.view.clone(), tier: self.tier, idx, _lesson: None });
            return false;
        }
        if self.view.peers.counted {
            peer.leave();
        }
        let out = peer.fail(now_s);
        if let Some(less) = peer.weight.checked_div(peer.max_fails) {
            let weight = &mut tier.weights()[idx];
            weight.effective = (weight.effective - i64::from(less)).max(0);
        }
        self.tries = self.tries.saturating_sub(1);
        out
    }
}

/// A peer that has answered and whose answer is still being read.
pub(crate) struct Hold {
    view: Rc<View>,
    tier: usize,
    idx: usize,
    _lesson: Option<Lesson>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let peer = &self.view.peers.tiers[self.tier].peers[self.idx];
        if self.view.peers.counted {
            peer.leave();
        }
        match self.view.peers.is_single() {
            true => peer.forgive(),
            false => peer.pass(),
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.done(Outcome::Passed, 0);
    }
}

impl Seek {
    fn new(view: &View, ex: &mut Exchange) -> Self {
        match view.balance() {
            _ if view.peers.is_single() => Self::Turn,
            Balance::Turn => Self::Turn,
            Balance::LeastConn => Self::LeastConn,
            Balance::IpHash => Self::address(&ex.remote),
            Balance::Random { two } => Self::Random { two: *two, misses: 0 },
            Balance::Hash { key, consistent } => {
                let key = key.fill_new(ex);
                if key.is_empty() {
                    return Self::Turn;
                }
                match consistent {
                    false => Self::Key { key, hash: 0, rehash: 0, misses: 0 },
                    true => {
                        let hash = hash::crc32(&key);
                        let at = view.peers.tiers[0].ring.partition_point(|point| point.0 < hash);
                        Self::Ring { at: at as u32, misses: 0 }
                    }
                }
            }
        }
    }

    fn address(addr: &Addr) -> Self {
        let mut bytes = [0; 16];
        let len = match addr.ip().map(|it| it.ip()) {
            Some(std::net::IpAddr::V4(ip)) => {
                bytes[..3].copy_from_slice(&ip.octets()[..3]);
                3
            }
            Some(std::net::IpAddr::V6(ip)) => {
                bytes = ip.octets();
                16
            }
            None => 3,
        };
        Self::Address { bytes, len, hash: hash::IP_START, misses: 0 }
    }

    fn next(&mut self, tier: &Tier, tried: &Tried, now_s: u64) -> Option<usize> {
        if tier.peers.is_empty() {
            return None;
        }
        let found = match self {
            Self::Turn => None,
            Self::LeastConn => return least_conn(tier, tried, now_s),
            Self::Address { .. } | Self::Key { .. } if tier.peers.len() < 2 => None,
            Self::Address { bytes, len, hash, misses } => spread(tier, tried, now_s, misses, || {
                *hash = hash::ip(*hash, &bytes[..*len]);
                *hash
            }),
            Self::Key { key, hash, rehash, misses } => spread(tier, tried, now_s, misses, || {
                *hash = hash::key(*hash, *rehash, key);
                *rehash += 1;
                *hash
            }),
            Self::Ring { at, misses } => ring(tier, tried, now_s, at, misses),
            Self::Random { two, misses } => random(tier, tried, now_s, *two, misses),
        };
        found.or_else(|| turn(tier, now_s, |idx| !tried.has(idx)))
    }
}

/// Smooth weighted round robin over the peers that `may` be asked.
fn turn(tier: &Tier, now_s: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
    let mut weights = tier.weights();
    let able = |idx: &usize| may(*idx) && tier.peers[*idx].is_available(now_s);
    give_turn(&mut weights, tier, (0..tier.peers.len()).filter(able))
}

/// A peer is asked out of turn: it loses one, unless it owes the others a whole round already.
fn take_turn(tier: &Tier, tried: &Tried, now_s: u64, own: usize) -> usize {
    let mut weights = tier.weights();
    let others = i64::from(tier.total_weight) - i64::from(tier.peers[own].weight);
    if weights[own].current <= -others {
        return own;
    }
    let able = |idx: &usize| !tried.has(*idx) && tier.peers[*idx].is_available(now_s);
    let mut total = 0;
    for idx in (0..tier.peers.len()).filter(able) {
        total += weights[idx].grow(tier.peers[idx].weight);
    }
    weights[own].current -= total;
    own
}

fn give_turn(weights: &mut [Weight], tier: &Tier, able: impl Iterator<Item = usize>) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for idx in able {
        total += weights[idx].grow(tier.peers[idx].weight);
        if best.is_none_or(|best| weights[idx].current > weights[best].current) {
            best = Some(idx);
        }
    }
    let best = best?;
    weights[best].current -= total;
    Some(best)
}

/// The least loaded peer for its weight; several such take turns.
fn least_conn(tier: &Tier, tried: &Tried, now_s: u64) -> Option<usize> {
    let able = |idx: &usize| !tried.has(*idx) && tier.peers[*idx].is_available(now_s);
    let load = |idx: usize, of: usize| u64::from(tier.peers[idx].conns()) * u64::from(tier.peers[of].weight);
    let less = |a: usize, b: usize| load(a, b).cmp(&load(b, a));
    let mut weights = tier.weights();
    let best = (0..tier.peers.len()).filter(able).reduce(|best, idx| match less(idx, best) {
        std::cmp::Ordering::Less => idx,
        _ => best,
    })?;
    let equal = (best..tier.peers.len()).filter(able).filter(|idx| less(*idx, best).is_eq());
    match equal.clone().count() {
        1 => Some(best),
        _ => give_turn(&mut weights, tier, equal),
    }
}

/// The peer on which a hash falls, hashing again while that one cannot be asked.
fn spread(
    tier: &Tier,
    tried: &Tried,
    now_s: u64,
    misses: &mut u32,
    mut hash: impl FnMut() -> u32,
) -> Option<usize> {
    while *misses <= MISSES_MAX {
        let idx = by_weight(tier, hash() % tier.total_weight.max(1));
        if !tried.has(idx) && tier.peers[idx].is_available(now_s) {
            return Some(idx);
        }
        *misses += 1;
    }
    None
}

fn by_weight(tier: &Tier, mut at: u32) -> usize {
    for (idx, peer) in tier.peers.iter().enumerate() {
        if at < peer.weight {
            return idx;
        }
        at -= peer.weight;
    }
    0
}

/// The server behind the next point of the ring; its addresses take turns.
fn ring(tier: &Tier, tried: &Tried, now_s: u64, at: &mut u32, misses: &mut u32) -> Option<usize> {
    while *misses <= MISSES_MAX && !tier.ring.is_empty() {
        let (_, owner) = tier.ring[*at as usize % tier.ring.len()];
        let server = &tier.peers[owner as usize].server;
        if let Some(idx) = turn(tier, now_s, |idx| !tried.has(idx) && tier.peers[idx].server == *server) {
            return Some(idx);
        }
        *at = at.wrapping_add(1);
        *misses += 1;
    }
    None
}

/// A random peer by weight, or the less loaded of two.
fn random(tier: &Tier, tried: &Tried, now_s: u64, two: bool, misses: &mut u32) -> Option<usize> {
    let mut first: Option<usize> = None;
    while *misses <= MISSES_MAX {
        let idx = by_weight(tier, random_u32() % tier.total_weight.max(1));
        let fits = !tried.has(idx) && first != Some(idx) && tier.peers[idx].is_available(now_s);
        match first {
            _ if !fits => *misses += 1,
            None if two && tier.peers.len() > 1 => first = Some(idx),
            None => return Some(idx),
            Some(other) => {
                let (a, b) = (&tier.peers[other], &tier.peers[idx]);
                let first_is_busier = a.conns() * b.weight > b.conns() * a.weight;
                return Some(if first_is_busier { idx } else { other });
            }
        }
    }
    first
}

/// xorshift: spreads load, hides nothing.
fn random_u32() -> u32 {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local!(static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(1) | 1));
    STATE.with(|state| {
        let mut it = state.get();
        it ^= it << 13;
        it ^= it >> 7;
        it ^= it << 17;
        state.set(it);
        (it >> 32) as u32
    })
}

/// The peers of a tier that this request has tried.
#[derive(Default)]
struct Tried {
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    fn has(&self, idx: usize) -> bool {
        match idx {
            0..64 => self.first >> idx & 1 == 1,
            _ => self.more.get(idx / 64 - 1).is_some_and(|bits| bits >> (idx % 64) & 1 == 1),
        }
    }

    fn add(&mut self, idx: usize) {
        if idx < 64 {
            self.first |= 1 << idx;
            return;
        }
        let at = idx / 64 - 1;
        if self.more.len() <= at {
            self.more.resize(at + 1, 0);
        }
        self.more[at] |= 1 << (idx % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Group, Server};
    use foregate_core::testing::exchange;
    use std::sync::Arc;

    fn server(port: u16, change: impl Fn(&mut Server)) -> Server {
        let written = format!("127.0.0.1:{port}");
        let address = Address::parse(&written, 80, false).expect("because it is an address");
        let mut server = Server::new(&address, &written);
        change(&mut server);
        server
    }

    fn group(servers: Vec<Server>, balance: Balance) -> Arc<Group> {
        Arc::new(Group::new("u", servers, balance, None, None))
    }

    fn ask(group: &Arc<Group>, from: &str, outcome: Outcome, now_s: u64) -> u16 {
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        ex.remote = Addr::Ip(format!("{from}:1").parse().expect("because it is an address"));
        let mut pick = Pick::new(View::of(group), &mut ex, 0);
        if !pick.next(now_s) {
            return 0;
        }
        let port = pick.peer().expect("because one was chosen").addr.port();
        pick.done(outcome, now_s);
        port
    }

    fn order(group: &Arc<Group>, n: usize) -> Vec<u16> {
        (0..n).map(|_| ask(group, "127.0.0.1", Outcome::Passed, 100)).collect()
    }

    #[test]
    fn turns_are_smooth_and_weighted() {
        let servers = vec![server(1, |it| it.weight = 5), server(2, |_| ()), server(3, |_| ())];
        assert_eq!(order(&group(servers, Balance::Turn), 7), [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn a_failed_peer_rests_and_a_lone_one_never_does() {
        let pair = group(vec![server(1, |_| ()), server(2, |_| ())], Balance::Turn);
        assert_eq!(ask(&pair, "1.1.1.1", Outcome::Failed, 100), 1);
        assert_eq!(order(&pair, 3), [2, 2, 2]);
        let later: Vec<_> = (0..6).map(|_| ask(&pair, "1.1.1.1", Outcome::Passed, 111)).collect();
        assert!(later.contains(&1), "{later:?}");
        let lone = group(vec![server(1, |_| ())], Balance::Turn);
        assert_eq!(ask(&lone, "1.1.1.1", Outcome::Failed, 100), 1);
        assert_eq!(order(&lone, 2), [1, 1]);
    }

    #[test]
    fn backups_come_last_and_nobody_is_left_after_them() {
        let servers =
            vec![server(1, |_| ()), server(2, |it| it.down = true), server(3, |it| it.backup = true)];
        let group = group(servers, Balance::Turn);
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        let mut pick = Pick::new(View::of(&group), &mut ex, 0);
        assert_eq!(pick.tries(), 2);
        let mut seen = Vec::new();
        while pick.next(100) {
            seen.extend(pick.peer().map(|it| it.addr.port()));
            pick.done(Outcome::Failed, 100);
        }
        assert_eq!(seen, [1, 3]);
        assert_eq!(ask(&group, "1.1.1.1", Outcome::Passed, 100), 0);
    }

    #[test]
    fn the_least_loaded_is_asked() {
        let group = group(
            vec![server(1, |_| ()), server(2, |_| ()), server(3, |it| it.weight = 2)],
            Balance::LeastConn,
        );
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        let mut picks = Vec::new();
        for _ in 0..4 {
            let mut pick = Pick::new(View::of(&group), &mut ex, 0);
            assert!(pick.next(100));
            picks.push(pick);
        }
        let mut ports: Vec<_> = picks.iter().filter_map(|it| it.peer().map(|it| it.addr.port())).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3, 3]);
        drop(picks);
        assert!(group.peers().all().all(|it| it.conns() == 0));
    }

    #[test]
    fn clients_of_one_network_meet_one_peer() {
        let servers = || (1..=3).map(|port| server(port, |_| ())).collect();
        let group = group(servers(), Balance::IpHash);
        // hash = ((((89 * 113 + 127) % 6271 * 113 + 0) % 6271) * 113 + 0) % 6271
        let hash = [127_u32, 0, 0].iter().fold(89, |hash, byte| (hash * 113 + byte) % 6271);
        let want = (hash % 3 + 1) as u16;
        assert_eq!(ask(&group, "127.0.0.1", Outcome::Passed, 100), want);
        assert_eq!(ask(&group, "127.0.0.77", Outcome::Passed, 100), want);
    }
}
