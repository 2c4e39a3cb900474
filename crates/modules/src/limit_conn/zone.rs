//! The zones of `limit_conn`: requests in flight by key, in shards with a lock each.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foregate_core::Template;

use super::read::ZoneLine;

/// All zones of a configuration, by name.
#[derive(Default)]
pub(super) struct Zones(pub(super) HashMap<String, Arc<Zone>>);

pub(super) struct Zone {
    pub(super) name: String,
    pub(super) key: Template,
    /// The key as written.
    pub(super) key_text: String,
    bytes: u64,
    /// Lives on in the next configuration, where key and size stay the same.
    state: Arc<State>,
}

struct State {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// What each shard may take.
    bytes_max: u64,
}

#[derive(Default)]
struct Shard {
    counts: HashMap<Arc<[u8]>, u32>,
    bytes: u64,
}

/// Why a request gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TooMany,
    /// The zone is full of other keys.
    NoMemory,
}

/// Locks of one zone at most.
const SHARDS_MAX: u64 = 16;
/// A smaller shard would be full because keys happen to meet in it.
const SHARD_BYTES_MIN: u64 = 256 * 1024;
/// What one key takes besides itself, as nginx's node does; rounded up to a power of two by its allocator.
const NODE_BYTES: u64 = 36;

impl Zone {
    /// A changed key or size starts counting anew.
    pub(super) fn new(line: &ZoneLine, key: Template, before: Option<&Self>) -> Self {
        let key_text = line.key.text.clone();
        let same = before.filter(|it| it.key_text == key_text && it.bytes == line.spec.bytes);
        Self {
            name: line.spec.name.clone(),
            key,
            key_text,
            bytes: line.spec.bytes,
            state: same.map_or_else(|| Arc::new(State::new(line.spec.bytes)), |it| it.state.clone()),
        }
    }

    /// Takes one of `max` places of a key.
    pub(super) fn take(&self, key: &[u8], max: u32) -> Result<Place, Refusal> {
        let at = self.state.hasher.hash_one(key) as usize % self.state.shards.len();
        let mut shard = self.state.shard(at);
        if let Some((kept, count)) = shard.counts.get_key_value(key) {
            if *count >= max {
                return Err(Refusal::TooMany);
            }
            let key = kept.clone();
            shard.counts.entry(key.clone()).and_modify(|count| *count += 1);
            return Ok(Place { state: self.state.clone(), at, key });
        }
        let bytes = node_bytes(key);
        if shard.bytes + bytes > self.state.bytes_max {
            return Err(Refusal::NoMemory);
        }
        shard.bytes += bytes;
        let key: Arc<[u8]> = key.into();
        shard.counts.insert(key.clone(), 1);
        Ok(Place { state: self.state.clone(), at, key })
    }
}

impl State {
    fn new(bytes: u64) -> Self {
        let n_shards = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Self {
            hasher: RandomState::new(),
            shards: (0..n_shards).map(|_| Mutex::default()).collect(),
            bytes_max: bytes / n_shards,
        }
    }

    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's place; given back when dropped.
pub(super) struct Place {
    state: Arc<State>,
    at: usize,
    key: Arc<[u8]>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.state.shard(self.at);
        let Some(count) = shard.counts.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            shard.counts.remove(&self.key);
            shard.bytes -= node_bytes(&self.key);
        }
    }
}

fn node_bytes(key: &[u8]) -> u64 {
    (NODE_BYTES + key.len() as u64).next_power_of_two()
}
