//! Who is meant by an event: a table of the registered descriptors, by tokens that are never used twice in a row.

use std::rc::Rc;

use super::Source;

/// Generations of one slot, after which its tokens repeat. A token fits 56 bits, so that a driver may add to it.
const GENERATIONS: u32 = 1 << 24;

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Of new slots: above that of any slot that was given up.
    first_generation: u32,
}

struct Slot {
    /// Changes each time the slot is freed, so that an event of a closed descriptor finds nobody.
    generation: u32,
    source: Option<Rc<Source>>,
}

impl Slots {
    #[inline]
    pub(super) fn source(&self, token: u64) -> Option<&Rc<Source>> {
        let slot = self.slots.get(token as u32 as usize)?;
        if u64::from(slot.generation) == token >> 32 { slot.source.as_ref() } else { None }
    }

    /// The token that the next `insert` gives.
    pub(super) fn next_token(&self) -> u64 {
        let idx = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(idx as usize).map_or(self.first_generation, |slot| slot.generation);
        u64::from(generation) << 32 | u64::from(idx)
    }

    pub(super) fn insert(&mut self, source: Rc<Source>) -> u64 {
        let token = self.next_token();
        if self.free.pop().is_none() {
            self.slots.push(Slot { generation: self.first_generation, source: None });
        }
        self.slots[token as u32 as usize].source = Some(source);
        token
    }

    pub(super) fn remove(&mut self, token: u64) -> Option<Rc<Source>> {
        let idx = token as u32;
        let slot = &mut self.slots[idx as usize];
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(idx);
        slot.source.take()
    }

    /// Gives up the free slots behind the last one in use.
    pub(super) fn shrink(&mut self) {
        while let Some(slot) = self.slots.pop_if(|slot| slot.source.is_none()) {
            self.first_generation = self.first_generation.max(slot.generation);
        }
        self.slots.shrink_to_fit();
        self.free.retain(|idx| (*idx as usize) < self.slots.len());
        self.free.shrink_to_fit();
        // From now on the first ones are taken first, so that the last ones can be given up later.
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }
}
