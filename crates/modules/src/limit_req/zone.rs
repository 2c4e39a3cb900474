//! The zones of `limit_req`: buckets by key, in shards with a lock each.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use foregate_core::Template;

use super::bucket::Shard;
use super::fleet::Fleet;
use super::read::ZoneLine;

/// All zones of a configuration, by name.
#[derive(Default)]
pub(super) struct Zones(pub(super) HashMap<String, Arc<Zone>>);

pub(super) struct Zone {
    pub(super) name: String,
    pub(super) key: Template,
    /// The key as written.
    pub(super) key_text: String,
    /// Thousandths of a request per second.
    pub(super) rate: i64,
    bytes: u64,
    /// Those who count together with us, by way of a Redis.
    pub(super) fleet: Option<Fleet>,
    /// Lives on in the next configuration, where key and size stay the same.
    state: Arc<State>,
}

struct State {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

/// Locks of one zone at most.
const SHARDS_MAX: u64 = 16;
/// A smaller shard would lose clients because their keys happen to meet in it.
const SHARD_BYTES_MIN: u64 = 256 * 1024;

impl Zone {
    /// A changed key or size starts with empty buckets.
    pub(super) fn new(line: &ZoneLine, key: Template, before: Option<&Self>) -> Self {
        let key_text = line.key.text.clone();
        let same = before.filter(|it| {
            let alike = it.key_text == key_text && it.bytes == line.spec.bytes;
            alike && it.fleet.is_some() == line.redis.is_some()
        });
        let new = || Arc::new(State::new(line.spec.bytes, line.redis.is_some()));
        Self {
            name: line.spec.name.clone(),
            key,
            key_text,
            rate: line.rate,
            bytes: line.spec.bytes,
            fleet: line.redis.clone().map(|it| Fleet::new(it, before.and_then(|it| it.fleet.as_ref()))),
            state: same.map_or_else(new, |it| it.state.clone()),
        }
    }

    /// The part of the rate that is ours, at least a thousandth of a request a second, and of a burst: all while we
    /// are alone or all count together.
    pub(super) fn share(&self, burst: i64) -> (i64, i64) {
        let n = self.fleet.as_ref().map_or(1, Fleet::n_apart);
        ((self.rate / n).max(1), burst / n)
    }

    pub(super) fn n_shards(&self) -> usize {
        self.state.shards.len()
    }

    /// Which shard keeps a key.
    pub(super) fn place(&self, key: &[u8]) -> usize {
        self.state.hasher.hash_one(key) as usize % self.state.shards.len()
    }

    pub(super) fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        self.shard_at(self.place(key))
    }

    pub(super) fn shard_at(&self, place: usize) -> MutexGuard<'_, Shard> {
        self.state.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(bytes: u64, tells: bool) -> Self {
        let n_shards = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shard = |_| Mutex::new(Shard::new(bytes / n_shards, tells));
        Self { hasher: RandomState::new(), shards: (0..n_shards).map(shard).collect() }
    }
}

/// Milliseconds since this process first asked, far enough from 0 that a bucket of time 0 is an old one.
pub(super) fn tick(now: Instant) -> i64 {
    const START_MS: i64 = 1 << 40;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| now);
    let since = now.saturating_duration_since(start).as_millis() as i64;
    START_MS + since
}
