//! Leaky buckets, counted in thousandths of a request as nginx counts them, least recently asked first to go.

use std::collections::HashMap;
use std::sync::Arc;

/// What one bucket takes besides its key, as nginx's node does; rounded up to a power of two by its allocator.
const NODE_BYTES: u64 = 80;
/// A bucket that nobody asked for so long is given up, once it has run empty.
const EXPIRE_MS: i64 = 60_000;
/// The list's end.
const NONE: u32 = u32::MAX;

/// What a bucket says to one more request. Excess is in thousandths of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It fits and has been counted.
    Poured(i64),
    /// It fits; the bucket stays until [`Shard::pour`] or [`Shard::unpin`].
    Pinned(u32),
    Refused(i64),
    /// There is no room for another bucket.
    Full,
}

/// Some of a zone's buckets.
pub(super) struct Shard {
    index: HashMap<Arc<[u8]>, u32>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    bytes: u64,
    bytes_max: u64,
    /// Others count together with us: what is asked for is listed until they have been told.
    tells: bool,
    listed: Vec<u32>,
}

/// A bucket that was asked since the others were told last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) key: Arc<[u8]>,
    /// Counted here and not yet told.
    pub(super) counted: i64,
}

struct Node {
    key: Arc<[u8]>,
    last_ms: i64,
    excess: i64,
    /// Counted and not yet told.
    untold: i64,
    pins: u32,
    newer: u32,
    older: u32,
    /// This place stands in `listed`, whoever has it.
    listed: bool,
}

impl Shard {
    pub(super) fn new(bytes_max: u64, tells: bool) -> Self {
        Self {
            index: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            bytes_max,
            tells,
            listed: Vec::new(),
        }
    }

    /// One more request for a key, under a rate (thousandths a second) and a burst.
    pub(super) fn ask(&mut self, key: &[u8], rate: i64, burst: i64, now: i64, pour: bool) -> Answer {
        let Some(&at) = self.index.get(key) else { return self.begin(key, rate, now, pour) };
        self.unlink(at);
        self.link(at);
        if self.tells {
            self.list(at);
        }
        let node = &mut self.nodes[at as usize];
        let (excess, ms) = node.after(rate, now);
        if excess > burst {
            return Answer::Refused(excess);
        }
        if !pour {
            node.pins += 1;
            return Answer::Pinned(at);
        }
        node.fill(excess, ms, now);
        Answer::Poured(excess)
    }

    /// Counts the request that a bucket was pinned for; what is in it then.
    pub(super) fn pour(&mut self, at: u32, rate: i64, now: i64) -> i64 {
        let node = &mut self.nodes[at as usize];
        let (excess, ms) = node.after(rate, now);
        node.fill(excess, ms, now);
        node.pins -= 1;
        excess
    }

    pub(super) fn unpin(&mut self, at: u32) {
        self.nodes[at as usize].pins -= 1;
    }

    /// The buckets that were asked since this was called last. After a time `apart` from the others only
    /// what is still in a bucket is told: they have been leaking meanwhile.
    pub(super) fn news(&mut self, rate: i64, now: i64, apart: bool) -> Vec<News> {
        let mut news = Vec::with_capacity(self.listed.len());
        for at in std::mem::take(&mut self.listed) {
            let node = &mut self.nodes[at as usize];
            node.listed = false;
            let mut counted = std::mem::take(&mut node.untold);
            if apart {
                counted = counted.min((node.excess + 1000 - leaked(rate, (now - node.last_ms).max(0))).max(0));
            }
            // One that has been given up has no key.
            if !node.key.is_empty() {
                news.push(News { key: node.key.clone(), counted });
            }
        }
        news
    }

    /// What could not be told is told the next time.
    pub(super) fn take_back(&mut self, news: &News) {
        if let Some(&at) = self.index.get(&news.key) {
            self.nodes[at as usize].untold += news.counted;
            self.list(at);
        }
    }

    /// All together have so much in this bucket, what was told last included.
    pub(super) fn hear(&mut self, key: &[u8], level: i64, now: i64) {
        if let Some(&at) = self.index.get(key) {
            let node = &mut self.nodes[at as usize];
            // The first request of a bucket is no excess.
            node.excess = (level + node.untold).max(0) - 1000;
            node.last_ms = now;
        }
    }

    fn list(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if !std::mem::replace(&mut node.listed, true) {
            self.listed.push(at);
        }
    }

    /// A bucket's first request.
    fn begin(&mut self, key: &[u8], rate: i64, now: i64, pour: bool) -> Answer {
        let bytes = node_bytes(key);
        self.expire(rate, now, false);
        if self.bytes + bytes > self.bytes_max {
            self.expire(rate, now, true);
            if self.bytes + bytes > self.bytes_max {
                return Answer::Full;
            }
        }
        let key: Arc<[u8]> = key.into();
        let (last_ms, pins, untold) = if pour { (now, 0, 1000) } else { (0, 1, 0) };
        let (key_here, newer, older) = (key.clone(), NONE, NONE);
        let node = Node { key: key_here, last_ms, excess: 0, untold, pins, newer, older, listed: false };
        let at = match self.free.pop() {
            Some(at) => {
                let place = &mut self.nodes[at as usize];
                let listed = place.listed;
                *place = Node { listed, ..node };
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.index.insert(key, at);
        self.link(at);
        self.bytes += bytes;
        if self.tells {
            self.list(at);
        }
        if pour { Answer::Poured(0) } else { Answer::Pinned(at) }
    }

    /// Gives up one or two old and empty buckets; by force the oldest one besides, whatever is in it.
    fn expire(&mut self, rate: i64, now: i64, force: bool) {
        for round in if force { 0..3 } else { 1..3 } {
            let at = self.oldest;
            let Some(node) = self.nodes.get(at as usize).filter(|it| it.pins == 0) else { return };
            if round > 0 {
                let ms = (now - node.last_ms).abs();
                if ms < EXPIRE_MS || node.excess > leaked(rate, ms) {
                    return;
                }
            }
            self.remove(at);
        }
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        self.nodes[at as usize].untold = 0;
        let key = std::mem::replace(&mut self.nodes[at as usize].key, Arc::from(&b""[..]));
        self.bytes -= node_bytes(&key);
        self.index.remove(&key);
        self.free.push(at);
    }

    /// Puts a node at the new end.
    fn link(&mut self, at: u32) {
        let newest = std::mem::replace(&mut self.newest, at);
        let node = &mut self.nodes[at as usize];
        (node.older, node.newer) = (newest, NONE);
        match self.nodes.get_mut(newest as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let (newer, older) = (self.nodes[at as usize].newer, self.nodes[at as usize].older);
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

impl Node {
    /// The content after one more request now, and the milliseconds that have passed.
    fn after(&self, rate: i64, now: i64) -> (i64, i64) {
        let ms = match now - self.last_ms {
            // The clocks of threads differ a little; one that jumped back far is started anew.
            ms if ms < -EXPIRE_MS => 1,
            ms => ms.max(0),
        };
        ((self.excess - leaked(rate, ms) + 1000).max(0), ms)
    }

    fn fill(&mut self, excess: i64, ms: i64, now: i64) {
        self.excess = excess;
        self.untold += 1000;
        if ms > 0 {
            self.last_ms = now;
        }
    }
}

fn leaked(rate: i64, ms: i64) -> i64 {
    rate.saturating_mul(ms) / 1000
}

fn node_bytes(key: &[u8]) -> u64 {
    (NODE_BYTES + key.len() as u64).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1 << 40;

    #[test]
    fn a_bucket_leaks_at_its_rate() {
        let mut shard = Shard::new(1 << 20, false);
        // Two requests a second, one in reserve.
        let mut ask = |ms| shard.ask(b"k", 2000, 1000, NOW + ms, true);
        assert_eq!(ask(0), Answer::Poured(0));
        assert_eq!(ask(0), Answer::Poured(1000));
        assert_eq!(ask(0), Answer::Refused(2000));
        assert_eq!(ask(100), Answer::Refused(1800));
        assert_eq!(ask(500), Answer::Poured(1000));
        assert_eq!(ask(499), Answer::Refused(2000));
        assert_eq!(ask(10_000), Answer::Poured(0));
    }

    #[test]
    fn pinned_buckets_stay_until_poured() {
        let mut shard = Shard::new(256, false);
        assert_eq!(shard.ask(b"a", 1000, 0, NOW, false), Answer::Pinned(0));
        assert_eq!(shard.ask(b"b", 1000, 0, NOW, true), Answer::Poured(0));
        assert_eq!(shard.ask(b"c", 1000, 0, NOW, true), Answer::Full);
        assert_eq!(shard.pour(0, 1000, NOW), 0);
        assert_eq!(shard.ask(b"c", 1000, 0, NOW, true), Answer::Poured(0));
        assert!(!shard.index.contains_key(&b"a"[..]));
        assert_eq!(shard.ask(b"a", 1000, 0, NOW, false), Answer::Pinned(1));
    }

    #[test]
    fn the_oldest_go_first_and_the_empty_by_themselves() {
        let mut shard = Shard::new(4 * 128, false);
        for key in [b"a", b"b", b"c", b"d", b"a", b"e"] {
            assert!(matches!(shard.ask(key, 1000, 5000, NOW, true), Answer::Poured(_)));
        }
        assert!(shard.index.contains_key(&b"a"[..]) && !shard.index.contains_key(&b"b"[..]));
        shard.ask(b"f", 1000, 0, NOW + 60_000, true);
        assert_eq!(shard.index.len(), 3);
        assert_eq!(shard.bytes, 3 * 128);
    }

    /// nginx's arithmetic in its own shape, as the end-to-end test proves it on nginx.
    #[derive(Default)]
    struct Model(HashMap<u8, (i64, i64)>);

    impl Model {
        fn passes(&mut self, key: u8, rate: i64, burst: i64, now: i64) -> bool {
            let Some((excess, last)) = self.0.get_mut(&key) else {
                self.0.insert(key, (0, now));
                return true;
            };
            let ms = now - *last;
            let with_this = (*excess - rate * ms / 1000 + 1000).max(0);
            if with_this > burst {
                return false;
            }
            *excess = with_this;
            if ms > 0 {
                *last = now;
            }
            true
        }
    }

    #[test]
    fn ten_thousand_arrivals_are_decided_as_nginx_decides_them() {
        for (seed, rate, burst) in [(1_u64, 10_000, 5_000), (2, 500, 0), (3, 333, 2_000), (4, 15_000, 3_000)] {
            let mut shard = Shard::new(1 << 20, false);
            let (mut model, mut now, mut state, mut passed) = (Model::default(), NOW, seed, 0);
            for n in 0..10_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let random = (state >> 33) as i64;
                // Bursts at once, and pauses in which buckets run empty.
                now += [0, 0, 1, random % 7, random % 40][(random / 64 % 5) as usize];
                let key = (random / 512 % 10) as u8;
                let passes = matches!(shard.ask(&[key + 1], rate, burst, now, true), Answer::Poured(_));
                assert_eq!(passes, model.passes(key, rate, burst, now), "seed {seed}, request {n}");
                passed += usize::from(passes);
            }
            assert!((10..9_990).contains(&passed), "seed {seed}: {passed} passed, which proves little");
        }
    }

    #[test]
    fn a_fleet_hears_what_was_counted_and_is_believed() {
        let mut shard = Shard::new(1 << 20, true);
        let ask = |shard: &mut Shard, ms| shard.ask(b"k", 1000, 2000, NOW + ms, true);
        assert_eq!(ask(&mut shard, 0), Answer::Poured(0));
        assert_eq!(ask(&mut shard, 0), Answer::Poured(1000));
        let news = shard.news(1000, NOW, false);
        assert_eq!(news, [News { key: b"k"[..].into(), counted: 2000 }]);
        assert!(shard.news(1000, NOW, false).is_empty());
        // One more while the others are being asked; they have had three.
        assert_eq!(ask(&mut shard, 0), Answer::Poured(2000));
        shard.hear(b"k", 5000, NOW);
        assert_eq!(ask(&mut shard, 0), Answer::Refused(6000));
        assert_eq!(ask(&mut shard, 4000), Answer::Poured(2000));
        // Refusals are news as well: the bucket may have been emptied by others.
        assert_eq!(shard.news(1000, NOW + 4000, false)[0].counted, 2000);
        assert_eq!(ask(&mut shard, 4000), Answer::Refused(3000));
        assert_eq!(shard.news(1000, NOW + 4000, false)[0].counted, 0);
    }

    #[test]
    fn what_could_not_be_told_is_kept_and_what_has_leaked_meanwhile_is_not_told() {
        let mut shard = Shard::new(1 << 20, true);
        for ms in [0, 0, 0] {
            shard.ask(b"k", 1000, 9000, NOW + ms, true);
        }
        let news = shard.news(1000, NOW, false);
        shard.take_back(&news[0]);
        let news = shard.news(1000, NOW + 2500, true);
        assert_eq!(news[0].counted, 500);
        // A bucket that was given up is no news, and its place is listed once only.
        let mut shard = Shard::new(128, true);
        for key in [b"a", b"b", b"c"] {
            shard.ask(key, 1000, 0, NOW, true);
        }
        assert_eq!(shard.listed.len(), 1);
        let news = shard.news(1000, NOW, false);
        assert_eq!(news, [News { key: b"c"[..].into(), counted: 1000 }]);
    }
}
