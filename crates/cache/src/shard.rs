//! A part of the index: what is known of some objects, the longest unused at the end of a list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::coming::Coming;
use crate::key::{AsItIs, Key};

/// What is known of one object: some 60 bytes, and some 30 more in the table of keys.
pub(crate) struct Node {
    pub(crate) key: Key,
    newer: u32,
    older: u32,
    /// Seconds since the epoch: the object goes if nobody asks for it until then.
    pub(crate) expires_s: u32,
    pub(crate) uses: u32,
    /// Requests that fetch it, or wait with something of it in their hands: it is not removed.
    pub(crate) holds: u32,
    /// The file's length in units of [`BLOCK_BYTES`].
    pub(crate) blocks: u32,
    /// Until when a remembered error counts, seconds since the epoch.
    pub(crate) error_until_s: u32,
    pub(crate) error: u16,
    /// There is a file.
    pub(crate) exists: bool,
    /// Somebody fetches it.
    pub(crate) updating: bool,
    /// By `clock::ms`: whoever fetches it has the only right to until then. Tells one from another.
    pub(crate) lock_until_ms: u64,
}

/// One who waits for an object.
#[derive(Clone, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// What was waited for is not to be kept: nobody waits for anybody any more.
    pub(crate) fn is_let_go(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(crate) struct Waiter {
    ticket: Ticket,
    waker: Waker,
}

impl Waiter {
    pub(crate) fn wake(self) {
        self.waker.wake();
    }

    pub(crate) fn let_go(self) {
        self.ticket.0.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// As file systems count: what an object costs is rounded up to this.
pub(crate) const BLOCK_BYTES: u64 = 4096;

const NONE: u32 = u32::MAX;

/// Objects that are looked at for one that nobody holds, from the longest unused on.
const TRIES_MAX: usize = 20;

pub(crate) struct Shard {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32, AsItIs>,
    newest: u32,
    oldest: u32,
    n_max: usize,
    /// Who waits for somebody else to fetch an object.
    waiting: HashMap<Key, Vec<Waiter>, AsItIs>,
    /// What is being fetched and may be served already.
    coming: HashMap<Key, Arc<Coming>, AsItIs>,
}

impl Shard {
    pub(crate) fn new(n_max: usize) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            newest: NONE,
            oldest: NONE,
            n_max,
            waiting: HashMap::default(),
            coming: HashMap::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.n_max
    }

    pub(crate) fn set_max(&mut self, n_max: usize) {
        self.n_max = n_max;
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Node> {
        let at = *self.by_key.get(&key)?;
        Some(&mut self.nodes[at as usize])
    }

    /// Adds what is not there, as the latest used. The caller has made room.
    pub(crate) fn add(&mut self, key: Key, expires_s: u32) -> &mut Node {
        let node = Node {
            key,
            newer: NONE,
            older: NONE,
            expires_s,
            uses: 1,
            holds: 0,
            blocks: 0,
            error_until_s: 0,
            error: 0,
            exists: false,
            updating: false,
            lock_until_ms: 0,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.by_key.insert(key, at);
        self.put_first(at);
        &mut self.nodes[at as usize]
    }

    /// Marks as the latest used.
    pub(crate) fn used(&mut self, key: Key, expires_s: u32) {
        let Some(at) = self.by_key.get(&key).copied() else { return };
        self.nodes[at as usize].expires_s = expires_s;
        if self.newest != at {
            self.unlink(at);
            self.put_first(at);
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Node> {
        let at = self.by_key.remove(&key)?;
        self.unlink(at);
        self.free.push(at);
        let gone = Node {
            key,
            newer: NONE,
            older: NONE,
            expires_s: 0,
            uses: 0,
            holds: 0,
            blocks: 0,
            error_until_s: 0,
            error: 0,
            exists: false,
            updating: false,
            lock_until_ms: 0,
        };
        Some(std::mem::replace(&mut self.nodes[at as usize], gone))
    }

    /// When the longest unused is to go.
    pub(crate) fn oldest_expires_s(&self) -> Option<u32> {
        self.nodes.get(self.oldest as usize).map(|it| it.expires_s)
    }

    /// Removes the longest unused that nobody holds and that has no reason to stay.
    pub(crate) fn remove_oldest(&mut self, may_go: impl Fn(&Node) -> bool) -> Option<Node> {
        let mut at = self.oldest;
        for _ in 0..TRIES_MAX {
            let node = self.nodes.get(at as usize)?;
            if node.holds == 0 {
                let key = node.key;
                return if may_go(node) { self.remove(key) } else { None };
            }
            at = node.newer;
        }
        None
    }

    /// `ticket` is what the waiter is known by.
    pub(crate) fn wait(&mut self, key: Key, ticket: &Ticket, waker: &Waker) {
        let waiting = self.waiting.entry(key).or_default();
        match waiting.iter_mut().find(|it| Arc::ptr_eq(&it.ticket.0, &ticket.0)) {
            Some(waiter) => waiter.waker.clone_from(waker),
            None => waiting.push(Waiter { ticket: ticket.clone(), waker: waker.clone() }),
        }
    }

    /// Those who wait for an object, to be woken once the lock is given back.
    pub(crate) fn take_waiting(&mut self, key: Key) -> Vec<Waiter> {
        self.waiting.remove(&key).unwrap_or_default()
    }

    /// Takes out one who waits no longer.
    pub(crate) fn leave(&mut self, key: Key, ticket: &Ticket) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        waiting.retain(|it| !Arc::ptr_eq(&it.ticket.0, &ticket.0));
        if waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    pub(crate) fn coming(&self, key: Key) -> Option<&Arc<Coming>> {
        self.coming.get(&key)
    }

    pub(crate) fn publish(&mut self, key: Key, coming: Arc<Coming>) {
        self.coming.insert(key, coming);
    }

    /// Takes back what was published, unless another has taken its place.
    pub(crate) fn withdraw(&mut self, key: Key, coming: &Arc<Coming>) {
        if self.coming.get(&key).is_some_and(|it| Arc::ptr_eq(it, coming)) {
            self.coming.remove(&key);
        }
    }

    fn put_first(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        (self.nodes[at as usize].newer, self.nodes[at as usize].older) = (NONE, before);
        match before {
            NONE => self.oldest = at,
            before => self.nodes[before as usize].newer = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_costs_less_than_the_zone_counts() {
        let in_table = size_of::<(Key, u32)>() + 1;
        // A table that has just grown is not quite half full.
        assert!(size_of::<Node>() + in_table * 16 / 7 <= 128, "{}", size_of::<Node>());
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let keys: Vec<Key> = (0..5).map(|n| Key::of(&[n])).collect();
        let mut shard = Shard::new(10);
        for (n, key) in keys.iter().enumerate() {
            shard.add(*key, n as u32);
        }
        shard.used(keys[0], 9);
        shard.get(keys[1]).unwrap().holds = 1;
        assert_eq!(shard.oldest_expires_s(), Some(1));
        let mut order = Vec::new();
        while let Some(node) = shard.remove_oldest(|_| true) {
            order.push(node.key);
        }
        assert_eq!(order, [keys[2], keys[3], keys[4], keys[0]]);
        assert_eq!(shard.len(), 1);
        assert!(shard.remove(keys[1]).is_some() && shard.oldest_expires_s().is_none());
        shard.add(keys[3], 1);
        assert!(shard.remove_oldest(|node| node.expires_s < 1).is_none());
    }
}
