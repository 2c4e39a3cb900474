//! Which peer is next: turns, loads, times, hashes and chance, each as nginx has it.

use foregate_core::Exchange;
use foregate_net::{Addr, clock};

use crate::group::{Balance, Tier, Weight};
use crate::hash;
use crate::times::Measure;
use crate::views::View;

/// Hashes give up after so many peers that cannot be asked, and take turns instead.
const MISSES_MAX: u32 = 20;

/// What a balancer remembers between the tries of one request.
pub(crate) enum Seek {
    Turn,
    LeastConn,
    LeastTime(Measure),
    Address { bytes: [u8; 16], len: usize, hash: u32, misses: u32 },
    Key { key: Vec<u8>, hash: u32, rehash: u32, misses: u32 },
    Ring { at: u32, misses: u32 },
    Random { two: bool, by: Option<Measure>, misses: u32 },
}

impl Seek {
    pub(crate) fn new(view: &View, ex: &mut Exchange) -> Self {
        match view.balance() {
            _ if view.peers.is_single() => Self::Turn,
            Balance::Turn => Self::Turn,
            Balance::LeastConn => Self::LeastConn,
            Balance::IpHash => Self::address(&ex.remote),
            Balance::LeastTime(measure) => Self::LeastTime(*measure),
            Balance::Random { two, by } => Self::Random { two: *two, by: *by, misses: 0 },
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

    pub(crate) fn next(&mut self, tier: &Tier, tried: &Tried, now_s: u64) -> Option<usize> {
        if tier.peers.is_empty() {
            return None;
        }
        let found = match self {
            Self::Turn => None,
            Self::LeastConn => return least(tier, tried, now_s, |idx| u64::from(tier.peers[idx].conns())),
            Self::LeastTime(measure) => return least_time(tier, tried, now_s, *measure),
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
            Self::Random { two, by, misses } => random(tier, tried, now_s, *two, *by, misses),
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
pub(crate) fn take_turn(tier: &Tier, tried: &Tried, now_s: u64, own: usize) -> usize {
    let mut weights = tier.weights();
    let others = i64::from(tier.total_weight) - i64::from(tier.peers[own].weight);
    if weights[own].current <= -others * tier.unit() {
        return own;
    }
    let able = |idx: &usize| !tried.has(*idx) && tier.peers[*idx].is_available(now_s);
    let now_ms = tier.now_ms();
    let mut total = 0;
    for idx in (0..tier.peers.len()).filter(able) {
        total += weights[idx].grow(tier.peers[idx].weight, tier.share(idx, now_ms));
    }
    weights[own].current -= total;
    own
}

fn give_turn(weights: &mut [Weight], tier: &Tier, able: impl Iterator<Item = usize>) -> Option<usize> {
    let now_ms = tier.now_ms();
    let mut total = 0;
    let mut best: Option<usize> = None;
    for idx in able {
        total += weights[idx].grow(tier.peers[idx].weight, tier.share(idx, now_ms));
        if best.is_none_or(|best| weights[idx].current > weights[best].current) {
            best = Some(idx);
        }
    }
    let best = best?;
    weights[best].current -= total;
    Some(best)
}

/// The peer with the least load for its weight; several such take turns.
fn least(tier: &Tier, tried: &Tried, now_s: u64, load: impl Fn(usize) -> u64) -> Option<usize> {
    let able = |idx: &usize| !tried.has(*idx) && tier.peers[*idx].is_available(now_s);
    let loads: Vec<(usize, u64)> = (0..tier.peers.len()).filter(able).map(|idx| (idx, load(idx))).collect();
    let now_ms = tier.now_ms();
    let weight = |idx: usize| u64::from(tier.peers[idx].weight) * tier.share(idx, now_ms).cast_unsigned();
    let compare = |a: &(usize, u64), b: &(usize, u64)| (a.1 * weight(b.0)).cmp(&(b.1 * weight(a.0)));
    let best = *loads.iter().reduce(|best, it| if compare(it, best).is_lt() { it } else { best })?;
    let mut weights = tier.weights();
    let equal = loads.iter().filter(|it| compare(it, &best).is_eq());
    match equal.clone().count() {
        1 => Some(best.0),
        _ => give_turn(&mut weights, tier, equal.map(|it| it.0)),
    }
}

/// The peer that is expected to be done first.
fn least_time(tier: &Tier, tried: &Tried, now_s: u64, measure: Measure) -> Option<usize> {
    let now_ms = clock::unix_ms();
    let idx = least(tier, tried, now_s, |idx| tier.peers[idx].eta(measure, now_s, now_ms))?;
    if measure.inflight {
        tier.peers[idx].times().begin(now_ms);
    }
    Some(idx)
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
fn random(
    tier: &Tier,
    tried: &Tried,
    now_s: u64,
    two: bool,
    by: Option<Measure>,
    misses: &mut u32,
) -> Option<usize> {
    let load = |idx: usize| match by {
        Some(measure) => tier.peers[idx].eta(measure, now_s, clock::unix_ms()),
        None => u64::from(tier.peers[idx].conns()),
    };
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
                let first_is_busier = load(other) * u64::from(b.weight) > load(idx) * u64::from(a.weight);
                return Some(if first_is_busier { idx } else { other });
            }
        }
    }
    first
}

/// xorshift: spreads load, hides nothing.
pub(crate) fn random_u32() -> u32 {
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
pub(crate) struct Tried {
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    pub(crate) fn has(&self, idx: usize) -> bool {
        match idx {
            0..64 => self.first >> idx & 1 == 1,
            _ => self.more.get(idx / 64 - 1).is_some_and(|bits| bits >> (idx % 64) & 1 == 1),
        }
    }

    pub(crate) fn add(&mut self, idx: usize) {
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
