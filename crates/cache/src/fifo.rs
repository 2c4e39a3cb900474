//! Which objects stay in memory: S3-FIFO (Yang et al., SOSP 2023).
//!
//! What is new waits in a short queue. What was asked for again meanwhile goes on into the long one, the rest leaves, so
//! that a crawler that asks for everything once drives out nothing that is wanted. What left lately is remembered by its
//! key and goes straight into the long queue if it comes back. A hit only raises a count of the object itself, which is
//! why hits need no lock; SIEVE, which is simpler still, is driven out by a scan.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::held::Held;
use crate::key::{AsItIs, Key};

/// The short queue has this part of the memory, in percent.
const SMALL_PERCENT: usize = 10;
/// So many hits in the short queue make an object worth the long one.
const HITS_MIN: u8 = 2;
/// Keys of what left that are remembered however few objects there are.
const GHOSTS_MIN: usize = 64;
/// Places in a queue that may be void before they are swept out.
const VOID_MIN: usize = 64;

/// The objects of one shard, in two queues.
#[derive(Default)]
pub(crate) struct Fifo {
    by_key: HashMap<Key, (Arc<Held>, Side), AsItIs>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Small,
    Main,
}

/// Keys in order, with the number of the object that was put in: what was forgotten leaves its place behind.
#[derive(Default)]
struct Queue {
    places: VecDeque<(Key, u64)>,
    bytes: usize,
    n: usize,
}

impl Fifo {
    pub(crate) fn get(&self, key: Key) -> Option<&Arc<Held>> {
        self.by_key.get(&key).map(|it| &it.0)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.by_key.values().map(|it| &it.0)
    }

    /// Takes an object in, in the place of an older one of its key, and drops others until all fit.
    pub(crate) fn add(&mut self, held: Arc<Held>, bytes_max: usize) {
        let key = held.key();
        self.remove(key);
        let side = if self.ghosts.forget(key) { Side::Main } else { Side::Small };
        self.put(held, side);
        while self.bytes() > bytes_max && self.drop_one(bytes_max) {}
    }

    /// Forgets an object: whoever meets it from now on does not serve it any more.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some((held, side)) = self.by_key.remove(&key) else { return };
        held.void();
        let by_key = &self.by_key;
        let queue = match side {
            Side::Small => &mut self.small,
            Side::Main => &mut self.main,
        };
        queue.bytes -= held.cost_bytes();
        queue.n -= 1;
        if queue.places.len() > 2 * queue.n + VOID_MIN {
            queue.places.retain(|(key, number)| by_key.get(key).is_some_and(|it| it.0.number() == *number));
        }
    }

    /// Drops what is least worth its room; `false`: there is nothing.
    pub(crate) fn drop_one(&mut self, bytes_max: usize) -> bool {
        let small_max = bytes_max / 100 * SMALL_PERCENT;
        while self.small.bytes > small_max || self.main.n == 0 {
            let Some(held) = self.take(Side::Small) else { break };
            if held.heat().load(Ordering::Relaxed) >= HITS_MIN {
                held.heat().store(0, Ordering::Relaxed);
                self.put(held, Side::Main);
                continue;
            }
            self.ghosts.add(held.key(), self.by_key.len().max(GHOSTS_MIN));
            held.void();
            return true;
        }
        while let Some(held) = self.take(Side::Main) {
            let heat = held.heat().load(Ordering::Relaxed);
            if heat > 0 {
                held.heat().store(heat - 1, Ordering::Relaxed);
                self.put(held, Side::Main);
                continue;
            }
            held.void();
            return true;
        }
        false
    }

    fn put(&mut self, held: Arc<Held>, side: Side) {
        let queue = match side {
            Side::Small => &mut self.small,
            Side::Main => &mut self.main,
        };
        queue.places.push_back((held.key(), held.number()));
        queue.bytes += held.cost_bytes();
        queue.n += 1;
        self.by_key.insert(held.key(), (held, side));
    }

    /// Takes out the oldest of a queue.
    fn take(&mut self, side: Side) -> Option<Arc<Held>> {
        let queue = match side {
            Side::Small => &mut self.small,
            Side::Main => &mut self.main,
        };
        while let Some((key, number)) = queue.places.pop_front() {
            if self.by_key.get(&key).is_some_and(|it| it.0.number() == number && it.1 == side)
                && let Some((held, _)) = self.by_key.remove(&key)
            {
                queue.bytes -= held.cost_bytes();
                queue.n -= 1;
                return Some(held);
            }
        }
        None
    }
}

/// Keys of objects that left the short queue lately.
#[derive(Default)]
struct Ghosts {
    order: VecDeque<Key>,
    keys: HashSet<Key, AsItIs>,
}

impl Ghosts {
    fn add(&mut self, key: Key, n_max: usize) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        while self.order.len() > n_max {
            if let Some(key) = self.order.pop_front() {
                self.keys.remove(&key);
            }
        }
    }

    /// Whether it was there. Its place in the order goes by and by.
    fn forget(&mut self, key: Key) -> bool {
        self.keys.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for ten objects.
    const MAX: usize = 10 * 1000;

    fn held(n: u32) -> Arc<Held> {
        Arc::new(Held::for_tests(Key::of(&n.to_le_bytes()), u64::from(n), 1000))
    }

    fn has(fifo: &Fifo, n: u32) -> bool {
        fifo.get(Key::of(&n.to_le_bytes())).is_some()
    }

    #[test]
    fn a_scan_drives_out_nothing_that_is_wanted() {
        let mut fifo = Fifo::default();
        for n in 0..9 {
            fifo.add(held(n), MAX);
            fifo.get(Key::of(&n.to_le_bytes())).unwrap().heat().store(2, Ordering::Relaxed);
        }
        for n in 100..1000 {
            fifo.add(held(n), MAX);
        }
        assert_eq!((0..9).filter(|n| has(&fifo, *n)).count(), 9);
        assert!(fifo.bytes() <= MAX && fifo.len() == 10);
    }

    #[test]
    fn what_comes_back_is_worth_more() {
        let mut fifo = Fifo::default();
        (0..12).for_each(|n| fifo.add(held(n), MAX));
        assert!(!has(&fifo, 0));
        fifo.add(held(0), MAX);
        (100..200).for_each(|n| fifo.add(held(n), MAX));
        assert!(has(&fifo, 0));
    }

    #[test]
    fn what_nobody_wants_any_more_leaves_the_long_queue() {
        let mut fifo = Fifo::default();
        for round in 0..3 {
            for n in round * 100..round * 100 + 20 {
                fifo.add(held(n), MAX);
                fifo.get(Key::of(&n.to_le_bytes())).unwrap().heat().store(3, Ordering::Relaxed);
            }
        }
        assert!(fifo.bytes() <= MAX && !(0..20).any(|n| has(&fifo, n)));
    }

    #[test]
    fn a_file_that_comes_again_waits_in_one_place() {
        let mut fifo = Fifo::default();
        for round in 0..100 {
            for n in 0..9 {
                fifo.add(held(n), MAX);
            }
            assert!(fifo.small.places.len() <= 2 * 9 + VOID_MIN + 1, "round {round}");
        }
        // Its old places are void: whoever came back last goes last.
        fifo.add(held(0), MAX);
        fifo.add(held(9), MAX);
        fifo.add(held(10), MAX);
        assert!(has(&fifo, 0) && !has(&fifo, 1));
    }

    #[test]
    fn what_is_forgotten_is_void_and_leaves_no_trace() {
        let mut fifo = Fifo::default();
        for _ in 0..1000 {
            fifo.add(held(1), MAX);
        }
        assert!(fifo.small.places.len() <= 2 + VOID_MIN + 1);
        let held = fifo.get(Key::of(&1_u32.to_le_bytes())).unwrap().clone();
        fifo.remove(held.key());
        assert!(held.is_void() && fifo.bytes() == 0 && fifo.len() == 0);
    }
}
