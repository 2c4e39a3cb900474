//! Objects in memory, before the disk: one copy of each, shared by all threads, served without a lock.
//!
//! A thread finds again what it has served before by a table of its own, of weak references: what is driven out or
//! forgotten is gone for all. Only what a thread meets for the first time is asked of a shard, under its lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::fifo::Fifo;
use crate::held::Held;
use crate::key::{AsItIs, Key};

/// Of what is longer there is no copy here: the kernel has it.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 10;
/// Bodies from here on are sent by sendfile(2): to copy them into the socket costs more.
pub(crate) const SENT_BY_KERNEL_BYTES_MIN: u64 = 32 << 10;
/// Locks of one zone at most, and the least that one of them is worth.
const SHARDS_MAX: usize = 16;
const SHARD_BYTES_MIN: usize = 4 << 20;
/// An object must not take more than this part of its shard.
const SHARE: usize = 4;
/// Entries of a thread's own table before those that are gone are swept out.
const NEAR_MIN: usize = 1024;

pub(crate) struct Memory {
    /// Tells this memory's objects from another's in the threads' tables.
    id: u64,
    shards: Box<[Mutex<Fifo>]>,
    /// Of one shard.
    bytes_max: AtomicUsize,
    hits: [Stripe; STRIPES],
}

/// Counts of some threads, apart from those of others so that counting does not wait.
#[repr(align(128))]
#[derive(Default)]
struct Stripe(AtomicU64);

const STRIPES: usize = 16;

/// What a zone has in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldNow {
    pub objects: usize,
    pub bytes: usize,
    /// Since the start.
    pub hits: u64,
}

/// A thread's own table.
#[derive(Default)]
struct Near {
    known: HashMap<Key, (u64, Weak<Held>), AsItIs>,
    sweep_at: usize,
}

thread_local! {
    static NEAR: RefCell<Near> = RefCell::default();
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let n_shards = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            shards: (0..n_shards).map(|_| Mutex::default()).collect(),
            bytes_max: AtomicUsize::new(bytes / n_shards),
            hits: Default::default(),
        }
    }

    /// Another size, at a reload.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        let each = usize::try_from(bytes).unwrap_or(usize::MAX) / self.shards.len();
        if self.bytes_max.swap(each, Ordering::Relaxed) <= each {
            return;
        }
        for shard in &self.shards {
            let mut fifo = lock(shard);
            while fifo.bytes() > each && fifo.drop_one(each) {}
        }
    }

    /// Whether a file of this length may come in.
    pub(crate) fn takes(&self, file_bytes: u64) -> bool {
        let share = self.bytes_max.load(Ordering::Relaxed) / SHARE;
        file_bytes.min(FILE_BYTES_MAX) <= share as u64
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<Arc<Held>> {
        let near = NEAR.with_borrow(|near| {
            let (id, held) = near.known.get(&key)?;
            held.upgrade().filter(|it| *id == self.id && !it.is_void())
        });
        near.or_else(|| self.get_far(key))
    }

    fn get_far(&self, key: Key) -> Option<Arc<Held>> {
        if self.bytes_max.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let held = self.shard(key).get(key)?.clone();
        NEAR.with_borrow_mut(|near| near.add(key, self.id, Arc::downgrade(&held)));
        Some(held)
    }

    pub(crate) fn add(&self, held: Arc<Held>) {
        self.shard(held.key()).add(held, self.bytes_max.load(Ordering::Relaxed));
    }

    pub(crate) fn forget(&self, key: Key) {
        self.shard(key).remove(key);
    }

    pub(crate) fn count_hit(&self) {
        STRIPE.with(|at| self.hits[*at].0.fetch_add(1, Ordering::Relaxed));
    }

    pub(crate) fn now(&self) -> HeldNow {
        let mut now = HeldNow::default();
        for shard in &self.shards {
            let fifo = lock(shard);
            now.objects += fifo.len();
            now.bytes += fifo.bytes();
        }
        now.hits = self.hits.iter().map(|it| it.0.load(Ordering::Relaxed)).sum();
        now
    }

    /// Those that were served most often: their keys' texts and how often.
    pub(crate) fn hottest(&self, n_max: usize) -> Vec<(Vec<u8>, u64)> {
        let mut best: Vec<(u64, Arc<Held>)> = Vec::new();
        let mut floor = 0;
        for shard in &self.shards {
            let shard = lock(shard);
            for it in shard.objects() {
                if it.hits() < floor {
                    continue;
                }
                best.push((it.hits(), it.clone()));
                // As many as these are sorted now and then, not all there are.
                if best.len() >= 8 * n_max {
                    keep_best(&mut best, n_max);
                    floor = best.last().map_or(0, |it| it.0 + 1);
                }
            }
        }
        keep_best(&mut best, n_max);
        best.into_iter().map(|(hits, it)| (it.bytes[it.header.text.clone()].to_vec(), hits)).collect()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Fifo> {
        let at = u64::from_le_bytes(*key.0.last_chunk().expect("because a key has sixteen bytes"));
        lock(&self.shards[(at % self.shards.len() as u64) as usize])
    }
}

impl Near {
    fn add(&mut self, key: Key, id: u64, held: Weak<Held>) {
        if self.known.len() >= self.sweep_at.max(NEAR_MIN) {
            self.known.retain(|_, (_, held)| held.strong_count() > 0);
            self.sweep_at = 2 * self.known.len();
        }
        self.known.insert(key, (id, held));
    }
}

fn keep_best(all: &mut Vec<(u64, Arc<Held>)>, n_max: usize) {
    all.sort_unstable_by_key(|it| std::cmp::Reverse(it.0));
    all.truncate(n_max);
}

fn lock(shard: &Mutex<Fifo>) -> MutexGuard<'_, Fifo> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u32) -> Arc<Held> {
        Arc::new(Held::for_tests(Key::of(&n.to_le_bytes()), u64::from(n), 100 << 10))
    }

    #[test]
    fn all_threads_find_one_copy_until_it_is_forgotten() {
        let memory = Memory::new(8 << 20);
        let key = held(1).key();
        assert!(memory.get(key).is_none());
        memory.add(held(1));
        let here = memory.get(key).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(Arc::ptr_eq(&memory.get(key).unwrap(), &here)));
        });
        memory.forget(key);
        assert!(memory.get(key).is_none() && here.is_void());
    }

    #[test]
    fn memories_do_not_mix() {
        let (one, two) = (Memory::new(8 << 20), Memory::new(8 << 20));
        one.add(held(1));
        assert!(one.get(held(1).key()).is_some() && two.get(held(1).key()).is_none());
        assert!(one.get(held(1).key()).is_some());
    }

    #[test]
    fn the_hottest_are_found_among_many() {
        let memory = Memory::new(256 << 20);
        for n in 0..500 {
            let it = held(n);
            (0..(n * 7919) % 500).for_each(|_| it.hit());
            memory.add(it);
        }
        let hits: Vec<u64> = memory.hottest(3).into_iter().map(|it| it.1).collect();
        assert_eq!((hits, memory.hottest(0).len()), (vec![499, 498, 497], 0));
    }

    #[test]
    fn its_size_holds_and_may_change() {
        let memory = Memory::new(32 << 20);
        (0..1000).for_each(|n| memory.add(held(n)));
        let full = memory.now();
        assert!(full.bytes <= 32 << 20 && full.bytes > 24 << 20, "{full:?}");
        memory.set_bytes(8 << 20);
        assert!(memory.now().bytes <= 8 << 20);
        memory.set_bytes(0);
        assert_eq!((memory.now().objects, memory.takes(1)), (0, false));
    }
}
