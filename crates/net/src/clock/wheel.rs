//! The thread's timers: a hierarchical wheel (Varghese and Lauck 1987) of six levels of 64 slots, in milliseconds.
//!
//! An entry knows two times: `at`, where it stands in the wheel, and `target`, when it is wanted. Moving the target
//! later touches no list; an entry that comes due before its target is put forward then.

use std::cell::RefCell;
use std::task::Waker;

/// The target of an entry that is switched off.
pub(super) const NEVER: u64 = u64::MAX;

/// Bits of a tick that one level resolves.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// 64^6 ms are two years.
const LEVELS: usize = 6;
/// How far ahead an entry is placed: what lies beyond is put forward on the way. Half of what the wheel spans, so
/// that even on the top level, which wraps, no entry falls into the slot of the present.
const AHEAD_MS_MAX: u64 = 1 << (LEVEL_BITS * LEVELS as u32 - 1);

/// End of a list, and the place of an entry that is in none.
const NONE: u32 = u32::MAX;

thread_local! {
    static WHEEL: RefCell<Wheel> = const { RefCell::new(Wheel::new()) };
}

/// Gives access to this thread's wheel. During thread exit, when it is gone, an empty one stands in.
#[inline]
pub(super) fn with<T>(f: impl FnOnce(&mut Wheel) -> T) -> T {
    let mut f = Some(f);
    let done = WHEEL.try_with(|wheel| f.take().map(|f| f(&mut wheel.borrow_mut())));
    match (done, f) {
        (Ok(Some(value)), _) => value,
        (_, Some(f)) => f(&mut Wheel::new()),
        (_, None) => unreachable!("f is only taken where its value is returned"),
    }
}

pub(super) struct Wheel {
    /// Every tick up to and including this one has been handled.
    now: u64,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit per slot that holds anything.
    occupied: [u64; LEVELS],
    entries: Vec<Entry>,
    /// Unused entries, chained through `next`.
    free: u32,
}

struct Entry {
    at: u64,
    target: u64,
    prev: u32,
    next: u32,
    /// Level * 64 + slot, or `NONE`.
    place: u32,
    waker: Option<Waker>,
}

impl Wheel {
    const fn new() -> Wheel {
        Wheel {
            now: 0,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            entries: Vec::new(),
            free: NONE,
        }
    }

    /// A new entry, due at `target`.
    pub(super) fn add(&mut self, target: u64) -> u32 {
        let entry = Entry { at: 0, target, prev: NONE, next: NONE, place: NONE, waker: None };
        let idx = self.free;
        let idx = if idx == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            self.free = self.entries[idx as usize].next;
            self.entries[idx as usize] = entry;
            idx
        };
        self.link(idx);
        idx
    }

    /// Wakes `waker` when the entry is due.
    #[inline]
    pub(super) fn watch(&mut self, idx: u32, waker: &Waker) {
        let Some(entry) = self.entries.get_mut(idx as usize) else { return };
        match &entry.waker {
            Some(old) if old.will_wake(waker) => {}
            _ => entry.waker = Some(waker.clone()),
        }
        if entry.place == NONE {
            self.link(idx);
        }
    }

    /// Moves the entry's target; relinks only when it would otherwise come due too late.
    #[inline]
    pub(super) fn retarget(&mut self, idx: u32, target: u64) {
        let Some(entry) = self.entries.get_mut(idx as usize) else { return };
        entry.target = target;
        if entry.place == NONE {
            self.link(idx);
        } else if target < entry.at {
            self.unlink(idx);
            self.link(idx);
        }
    }

    /// Takes the entry out and frees it.
    pub(super) fn remove(&mut self, idx: u32) {
        if idx as usize >= self.entries.len() {
            return;
        }
        self.unlink(idx);
        let entry = &mut self.entries[idx as usize];
        entry.waker = None;
        entry.next = self.free;
        self.free = idx;
    }

    /// The tick at which `advance` has something to do next.
    pub(super) fn next(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, tick)| tick)
    }

    /// Moves time on to `to`, waking every entry whose target has come.
    pub(super) fn advance(&mut self, to: u64) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > to {
                break;
            }
            self.now = self.now.max(tick);
            self.empty_slot(level, slot);
        }
        self.now = self.now.max(to);
    }

    fn empty_slot(&mut self, level: usize, slot: usize) {
        let mut idx = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while idx != NONE {
            let entry = &mut self.entries[idx as usize];
            let next = entry.next;
            entry.place = NONE;
            if entry.target <= self.now {
                if let Some(waker) = &entry.waker {
                    waker.wake_by_ref();
                }
            } else {
                self.link(idx);
            }
            idx = next;
        }
    }

    /// The first occupied slot and the tick it begins at. The lowest level that holds anything holds the earliest.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let shift = LEVEL_BITS * level as u32;
        let here = (self.now >> shift) & (SLOTS as u64 - 1);
        let ahead = u64::from(self.occupied[level].rotate_right(here as u32).trailing_zeros());
        let slot = (here + ahead) % SLOTS as u64;
        let round = 1 << (shift + LEVEL_BITS);
        let begin = (self.now & !(round - 1)) + (slot << shift);
        // A slot that lies behind us belongs to the next round (only the top level ever wraps).
        let tick = if begin < self.now && slot != here { begin + round } else { begin };
        Some((level, slot as usize, tick))
    }

    fn link(&mut self, idx: u32) {
        let entry = &mut self.entries[idx as usize];
        if entry.target == NEVER {
            return;
        }
        entry.at = entry.target.clamp(self.now + 1, self.now + AHEAD_MS_MAX);
        let differing = (self.now ^ entry.at) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) / LEVEL_BITS).min(LEVELS as u32 - 1);
        let slot = (entry.at >> (level * LEVEL_BITS)) as usize % SLOTS;
        let head = &mut self.heads[level as usize][slot];
        entry.place = level * SLOTS as u32 + slot as u32;
        entry.prev = NONE;
        entry.next = *head;
        let next = std::mem::replace(head, idx);
        if next != NONE {
            self.entries[next as usize].prev = idx;
        }
        self.occupied[level as usize] |= 1 << slot;
    }

    fn unlink(&mut self, idx: u32) {
        let Entry { prev, next, place, .. } = self.entries[idx as usize];
        if place == NONE {
            return;
        }
        self.entries[idx as usize].place = NONE;
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
            return;
        }
        let (level, slot) = (place as usize / SLOTS, place as usize % SLOTS);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Steps from one `next` to another up to `end`; returns the tick at which the entry woke its task.
    fn fires_at(wheel: &mut Wheel, target: u64, end: u64) -> Option<u64> {
        let count = Arc::new(Count(AtomicU64::new(0)));
        let idx = wheel.add(target);
        wheel.watch(idx, &Waker::from(count.clone()));
        while let Some(next) = wheel.next().filter(|next| *next <= end) {
            wheel.advance(next);
            if count.0.load(Ordering::Relaxed) > 0 {
                wheel.remove(idx);
                return Some(next);
            }
        }
        wheel.remove(idx);
        None
    }

    #[test]
    fn every_distance_fires_at_its_very_tick() {
        for start in [0, 1, 62, 63, 64, 4095, 262_143, 1 << 30] {
            for ms in [
                1,
                2,
                63,
                64,
                65,
                127,
                4095,
                4096,
                4097,
                300_000,
                75_000,
                86_400_000,
                1 << 31,
                1 << 36,
                1 << 37,
            ] {
                let mut wheel = Wheel::new();
                wheel.advance(start);
                assert_eq!(fires_at(&mut wheel, start + ms, u64::MAX), Some(start + ms), "{start} + {ms}");
                assert_eq!(wheel.next(), None);
            }
        }
    }

    #[test]
    fn what_is_due_already_fires_with_the_next_tick() {
        let mut wheel = Wheel::new();
        wheel.advance(500);
        assert_eq!(fires_at(&mut wheel, 20, 600), Some(501));
    }

    #[test]
    fn a_later_target_touches_no_list_and_a_removed_entry_leaves_none() {
        let mut wheel = Wheel::new();
        let idx = wheel.add(10);
        wheel.retarget(idx, 5000);
        assert_eq!(wheel.next(), Some(10));
        wheel.advance(10);
        assert!(wheel.next() > Some(10));
        wheel.retarget(idx, NEVER);
        wheel.advance(6000);
        assert_eq!(wheel.next(), None);
        wheel.retarget(idx, 6010);
        assert_eq!(wheel.next(), Some(6010));
        wheel.remove(idx);
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.add(7000), idx);
    }

    #[test]
    fn many_entries_fire_in_the_order_of_their_targets() {
        let mut wheel = Wheel::new();
        let mut seed = 12345_u64;
        let mut targets: Vec<(u64, u32, Arc<Count>)> = Vec::new();
        for _ in 0..2000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let target = 1 + (seed >> 33) % 1_000_000;
            let count = Arc::new(Count(AtomicU64::new(0)));
            let idx = wheel.add(target);
            wheel.watch(idx, &Waker::from(count.clone()));
            targets.push((target, idx, count));
        }
        let mut now = 0;
        while now < 1_000_000 {
            now += 997;
            wheel.advance(now);
            for (target, _, count) in &targets {
                assert_eq!(count.0.load(Ordering::Relaxed), u64::from(*target <= now));
            }
        }
    }
}
