//! The index of a zone: what objects there are, shared by all threads, in shards with a lock each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::coming::Coming;
use crate::key::Key;
use crate::shard::{BLOCK_BYTES, Node, Shard, Ticket, Waiter};

/// Locks of one zone at most.
const SHARDS_MAX: u64 = 64;
/// A smaller shard would lose objects because their keys happen to meet in it.
const SHARD_BYTES_MIN: u64 = 256 << 10;
/// What of a zone's size counts for tables and locks: two pages, as nginx's zones need for their own.
const OVERHEAD_BYTES: u64 = 2 * 4096;
/// What an object counts for, as in nginx: a zone of one megabyte has room for about 8 thousand.
const NODE_BYTES: u64 = 128;
/// However small a zone is, so many have room.
const NODES_MIN: u64 = 16;

pub(crate) struct Index {
    shards: Box<[Mutex<Shard>]>,
    /// Of all files together, in units of [`BLOCK_BYTES`].
    blocks: AtomicU64,
    /// A shard was full: from so many objects on, some are removed ahead of time.
    watermark: AtomicUsize,
}

/// What is known of an object when it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The upstream failed a moment ago, and that is to be remembered.
    Error(u16),
    File,
    /// No file, but asked for often enough to get one.
    Wanted,
    /// No file, and not asked for often enough.
    Rare,
    /// Never heard of until now.
    New,
    /// There is no room to hear of it.
    Full,
}

/// What came of the attempt to be the one who fetches an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It is ours: the number that tells this right from others.
    Ours(u64),
    Theirs,
}

impl Index {
    pub(crate) fn new(bytes: u64) -> Self {
        let n_shards = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = (0..n_shards).map(|_| Mutex::new(Shard::new(0))).collect();
        let index = Self { shards, blocks: AtomicU64::new(0), watermark: AtomicUsize::new(usize::MAX) };
        index.set_bytes(bytes);
        index
    }

    /// Another size, at a reload: what is too much goes by and by.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        let n_nodes = (bytes.saturating_sub(OVERHEAD_BYTES) / NODE_BYTES).max(NODES_MIN);
        let each = n_nodes.div_ceil(self.shards.len() as u64) as usize;
        self.shards.iter().for_each(|shard| lock(shard).set_max(each));
        self.watermark.store(usize::MAX, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|it| lock(it).len()).sum()
    }

    /// Bytes of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed) * BLOCK_BYTES
    }

    pub(crate) fn is_crowded(&self) -> bool {
        let watermark = self.watermark.load(Ordering::Relaxed);
        watermark != usize::MAX && self.len() >= watermark
    }

    /// Somebody asks for an object. `counts`: it is not the same request once more.
    pub(crate) fn ask(&self, key: Key, now_s: u32, inactive_s: u32, uses_min: u32, counts: bool) -> Known {
        let expires_s = now_s.saturating_add(inactive_s);
        let mut shard = self.shard(key);
        shard.used(key, expires_s);
        if let Some(node) = shard.get(key) {
            node.uses = node.uses.saturating_add(u32::from(counts));
            if node.error != 0 {
                if node.error_until_s >= now_s {
                    return Known::Error(node.error);
                }
                (node.error, node.uses) = (0, 1);
                return Known::New;
            }
            return match node {
                Node { exists: true, .. } => Known::File,
                node if node.uses >= uses_min => Known::Wanted,
                _ => Known::Rare,
            };
        }
        match self.add(&mut shard, key, expires_s) {
            true => Known::New,
            false => Known::Full,
        }
    }

    /// An object was served without asking; `false`: there is no such file.
    pub(crate) fn touch(&self, key: Key, expires_s: u32) -> bool {
        let mut shard = self.shard(key);
        shard.used(key, expires_s);
        shard.get(key).is_some_and(|it| it.exists)
    }

    /// Adds an object, in the place of the longest unused one where there is no room.
    fn add(&self, shard: &mut Shard, key: Key, expires_s: u32) -> bool {
        if shard.is_full() {
            let n = shard.len() * self.shards.len();
            self.watermark.fetch_min(n - n / 8, Ordering::Relaxed);
            let Some(gone) = shard.remove_oldest(|node| !node.exists) else { return false };
            self.take_off(gone.blocks);
        }
        shard.add(key, expires_s);
        true
    }

    /// A file was found that nobody knew of. `false`: there is no room.
    pub(crate) fn found(&self, key: Key, bytes: u64, expires_s: u32) -> bool {
        let mut shard = self.shard(key);
        if shard.get(key).is_none() && !self.add(&mut shard, key, expires_s) {
            return false;
        }
        if let Some(node) = shard.get(key).filter(|it| !it.exists) {
            node.exists = true;
            self.resize(node, blocks_of(bytes));
        }
        true
    }

    /// The file that was thought to be there is not.
    pub(crate) fn missing(&self, key: Key) {
        if let Some(node) = self.shard(key).get(key) {
            node.exists = false;
            self.resize(node, 0);
        }
    }

    /// Whether it has been heard of: it is kept, or being fetched.
    pub(crate) fn knows(&self, key: Key) -> bool {
        self.shard(key).get(key).is_some()
    }

    /// Forgets an object unless somebody fetches it. `false`: it was not known.
    pub(crate) fn forget(&self, key: Key) -> bool {
        let mut shard = self.shard(key);
        let Some(node) = shard.get(key) else { return false };
        let existed = std::mem::take(&mut node.exists);
        (node.error, node.error_until_s) = (0, 0);
        self.resize(node, 0);
        if node.holds == 0 {
            shard.remove(key);
        }
        existed
    }

    /// Holds an object that is out of date, and takes the right to fetch it if nobody has it.
    pub(crate) fn hold_stale(&self, key: Key) -> Lock {
        let mut shard = self.shard(key);
        let Some(node) = shard.get(key) else { return Lock::Theirs };
        node.holds += 1;
        match std::mem::replace(&mut node.updating, true) {
            true => Lock::Theirs,
            false => Lock::Ours(node.lock_until_ms),
        }
    }

    /// Holds an object that is to be fetched, without a right.
    pub(crate) fn hold(&self, key: Key) -> bool {
        self.shard(key).get(key).map(|node| node.holds += 1).is_some()
    }

    /// Takes the right to fetch an object, unless somebody has had it for less than `age_ms`.
    pub(crate) fn hold_locked(&self, key: Key, now_ms: u64, age_ms: u64) -> Lock {
        let mut shard = self.shard(key);
        let Some(node) = shard.get(key) else { return Lock::Theirs };
        if node.updating && node.lock_until_ms > now_ms {
            return Lock::Theirs;
        }
        node.holds += 1;
        node.updating = true;
        // Two rights of the same end could not be told apart.
        node.lock_until_ms = (now_ms + age_ms).max(node.lock_until_ms + 1);
        Lock::Ours(node.lock_until_ms)
    }

    /// Registers to be woken when the right is given back, or what is fetched may be served, which is so where it moved
    /// less than `age_ms` ago. The milliseconds until it lapses; `None`: it is free.
    pub(crate) fn wait(
        &self,
        key: Key,
        (now_ms, age_ms): (u64, u64),
        ticket: &Ticket,
        waker: &Waker,
    ) -> Option<u64> {
        let mut shard = self.shard(key);
        let node = shard.get(key)?;
        if !node.updating || node.lock_until_ms <= now_ms {
            return None;
        }
        let left = node.lock_until_ms - now_ms;
        if shard.coming(key).is_some_and(|it| it.is_lively(now_ms, age_ms)) {
            return None;
        }
        shard.wait(key, ticket, waker);
        Some(left)
    }

    /// One who waits no longer.
    pub(crate) fn leave(&self, key: Key, ticket: &Ticket) {
        self.shard(key).leave(key, ticket);
    }

    /// What is being fetched, where its head has come.
    pub(crate) fn coming(&self, key: Key) -> Option<Arc<Coming>> {
        self.shard(key).coming(key).cloned()
    }

    /// The head of what is being fetched has come: whoever waits is served while the rest comes.
    pub(crate) fn publish(&self, key: Key, coming: Arc<Coming>) {
        let mut shard = self.shard(key);
        shard.publish(key, coming);
        let waiting = shard.take_waiting(key);
        drop(shard);
        waiting.into_iter().for_each(Waiter::wake);
    }

    pub(crate) fn withdraw(&self, key: Key, coming: &Arc<Coming>) {
        self.shard(key).withdraw(key, coming);
    }

    /// A new file lies in its place. `false`: there was no room to hear of the object.
    pub(crate) fn stored(&self, key: Key, bytes: u64) -> bool {
        let mut shard = self.shard(key);
        let Some(node) = shard.get(key) else { return false };
        (node.exists, node.error, node.updating) = (true, 0, false);
        self.resize(node, blocks_of(bytes));
        let waiting = shard.take_waiting(key);
        drop(shard);
        waiting.into_iter().for_each(Waiter::wake);
        true
    }

    /// Lets go of an object that was held. `lets_go`: there is an answer, which is not kept, so that nobody need wait
    /// for another. `error`: what the upstream answered instead, and until when that counts.
    pub(crate) fn release(
        &self,
        key: Key,
        right: Option<u64>,
        keep: bool,
        error: Option<(u16, u32)>,
        lets_go: bool,
    ) {
        let mut shard = self.shard(key);
        let Some(node) = shard.get(key) else { return };
        node.holds = node.holds.saturating_sub(1);
        let gives_back = right == Some(node.lock_until_ms) && node.updating;
        if gives_back {
            node.updating = false;
        }
        if let Some((status, until_s)) = error {
            (node.error, node.error_until_s) = (status, until_s);
        } else if !node.exists && node.holds == 0 && !keep && node.error == 0 {
            shard.remove(key);
        }
        let waiting = if gives_back { shard.take_waiting(key) } else { Vec::new() };
        drop(shard);
        waiting.into_iter().for_each(if lets_go { Waiter::let_go } else { Waiter::wake });
    }

    /// Removes the longest unused object of all shards. `now_s`: only one that has not been asked for too long.
    ///
    /// # Errors
    /// None may go; the seconds until the first may, where that is known.
    pub(crate) fn evict(&self, now_s: Option<u32>) -> Result<Node, Option<u32>> {
        let oldest = self.shards.iter().filter_map(|it| Some((lock(it).oldest_expires_s()?, it)));
        let (expires_s, shard) = oldest.min_by_key(|it| it.0).ok_or(None)?;
        if let Some(now_s) = now_s
            && expires_s >= now_s
        {
            return Err(Some(expires_s - now_s));
        }
        let gone = lock(shard).remove_oldest(|node| now_s.is_none_or(|now_s| node.expires_s < now_s));
        let gone = gone.ok_or(None)?;
        self.take_off(gone.blocks);
        Ok(gone)
    }

    /// As `evict`, from the shard in which a new object lacks room.
    pub(crate) fn evict_beside(&self, key: Key) -> Option<Node> {
        let gone = self.shard(key).remove_oldest(|_| true)?;
        self.take_off(gone.blocks);
        Some(gone)
    }

    fn resize(&self, node: &mut Node, blocks: u32) {
        let before = std::mem::replace(&mut node.blocks, blocks);
        self.take_off(before);
        self.blocks.fetch_add(u64::from(blocks), Ordering::Relaxed);
    }

    fn take_off(&self, blocks: u32) {
        self.blocks.fetch_sub(u64::from(blocks), Ordering::Relaxed);
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // The table within a shard goes by the first eight bytes.
        let at = u64::from_le_bytes(*key.0.last_chunk().expect("because a key has sixteen bytes"));
        lock(&self.shards[(at % self.shards.len() as u64) as usize])
    }
}

fn blocks_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1000;

    fn key(n: u32) -> Key {
        Key::of(&n.to_le_bytes())
    }

    #[test]
    fn objects_are_wanted_when_asked_for_often_enough() {
        let index = Index::new(1 << 20);
        let ask = |counts| index.ask(key(1), NOW, 10, 3, counts);
        assert_eq!(
            [ask(true), ask(true), ask(false), ask(true)],
            [Known::New, Known::Rare, Known::Rare, Known::Wanted]
        );
        index.stored(key(1), 5000);
        assert_eq!((ask(true), index.bytes()), (Known::File, 8192));
        index.missing(key(1));
        assert_eq!((ask(true), index.bytes()), (Known::Wanted, 0));
    }

    #[test]
    fn one_fetches_and_the_others_wait() {
        let index = Index::new(1 << 20);
        index.ask(key(1), NOW, 10, 1, true);
        let ticket = Ticket::default();
        let Lock::Ours(right) = index.hold_locked(key(1), 0, 100) else { panic!("it is free") };
        assert_eq!(index.hold_locked(key(1), 99, 100), Lock::Theirs);
        assert_eq!(index.wait(key(1), (40, 100), &ticket, Waker::noop()), Some(60));
        // It took too long: the next one may, and the first cannot give back what is no longer its own.
        let Lock::Ours(second) = index.hold_locked(key(1), 100, 100) else { panic!("it has lapsed") };
        index.release(key(1), Some(right), false, None, true);
        assert!(!ticket.is_let_go());
        assert_eq!(index.hold_locked(key(1), 150, 100), Lock::Theirs);
        index.release(key(1), Some(second), false, None, true);
        assert!(ticket.is_let_go());
        assert_eq!((index.wait(key(1), (150, 100), &ticket, Waker::noop()), index.len()), (None, 0));
    }

    #[test]
    fn errors_are_remembered_for_a_while() {
        let index = Index::new(1 << 20);
        let ask = |now| index.ask(key(1), now, 10, 1, true);
        ask(NOW);
        assert!(index.hold(key(1)));
        index.release(key(1), None, false, Some((502, NOW + 1)), false);
        assert_eq!(
            [ask(NOW), ask(NOW + 1), ask(NOW + 2)],
            [Known::Error(502), Known::Error(502), Known::New]
        );
    }

    #[test]
    fn a_small_zone_is_soon_full() {
        let index = Index::new(16 << 10);
        for n in 0..64 {
            assert_eq!(index.ask(key(n), NOW, 10, 1, true), Known::New);
            index.stored(key(n), 1);
        }
        assert!(!index.is_crowded());
        assert_eq!(index.ask(key(64), NOW, 10, 1, true), Known::Full);
        assert!(index.is_crowded());
        assert_eq!(index.evict_beside(key(64)).map(|it| it.key), Some(key(0)));
        assert_eq!(index.ask(key(64), NOW, 10, 1, true), Known::New);
    }

    /// `cargo test -p foregate-cache --release -- --ignored --nocapture bytes_per_key`
    #[test]
    #[ignore = "takes gigabytes and minutes"]
    fn bytes_per_key() {
        const KEYS: u32 = 10_000_000;
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            pages.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 4096
        };
        let before = resident();
        let index = Index::new(u64::from(KEYS) * 2 * NODE_BYTES);
        for n in 0..KEYS {
            index.ask(key(n), NOW, 10, 1, true);
            index.stored(key(n), 4096);
        }
        let each = (resident() - before) / u64::from(KEYS);
        println!("{} keys of {each} bytes", index.len());
        assert!(index.len() == KEYS as usize && each < NODE_BYTES);
    }

    #[test]
    fn what_nobody_asks_for_goes() {
        let index = Index::new(4 << 20);
        for n in 0..10 {
            index.ask(key(n), NOW + n, 10, 1, true);
            index.stored(key(n), 4096);
        }
        assert_eq!(index.evict(Some(NOW)).map(|it| it.key), Err(Some(10)));
        assert_eq!(index.evict(Some(NOW + 12)).map(|it| it.key), Ok(key(0)));
        assert_eq!(index.evict(Some(NOW + 12)).map(|it| it.key), Ok(key(1)));
        assert_eq!(index.evict(Some(NOW + 12)).map(|it| it.key), Err(Some(0)));
        assert_eq!(index.evict(None).map(|it| it.key), Ok(key(2)));
        assert_eq!(index.bytes(), 7 * 4096);
    }
}
