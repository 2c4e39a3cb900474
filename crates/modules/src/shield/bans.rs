//! Clients that err again and again are shut out for a while: a table of a bounded size, shared by all threads.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foregate_net::Addr;

/// All tables of a configuration, by the name of their zone.
#[derive(Default)]
pub(super) struct Tables(pub(super) HashMap<String, Arc<Table>>);

/// What one place of a hash table takes: a client, and a byte that says whether it is taken.
const PLACE_BYTES: u64 = size_of::<(u128, Entry)>() as u64 + 1;
/// Locks of one table.
const SHARDS: usize = 16;
/// An IPv6 client has as many addresses as it likes below these.
const V6_BITS: u32 = 64;

pub(super) struct Table {
    pub(super) bytes: u64,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Until when somebody is banned at the latest: before the first ban, and after the last, nobody asks a shard.
    until_ms: AtomicU64,
}

/// Clients in two generations: what is found in the old one is carried over, and the rest goes with it.
struct Shard {
    young: HashMap<u128, Entry>,
    old: HashMap<u128, Entry>,
    /// Of each generation.
    len_max: usize,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    faults: u32,
    since_ms: u64,
    banned_until_ms: u64,
}

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) faults: u32,
    pub(super) within_ms: u64,
    pub(super) for_ms: u64,
}

impl Table {
    pub(super) fn new(bytes: u64) -> Self {
        let len_max = len_max(bytes / SHARDS as u64 / 2);
        let shard = |_| Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), len_max });
        Self {
            bytes,
            hasher: RandomState::new(),
            shards: std::array::from_fn(shard),
            until_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn is_banned(&self, client: &Addr, now_ms: u64) -> bool {
        if self.until_ms.load(Ordering::Relaxed) <= now_ms {
            return false;
        }
        key(client).is_some_and(|key| self.shard(key).get(key).is_some_and(|it| it.banned_until_ms > now_ms))
    }

    /// One more fault. `true`: the client is banned from now on.
    pub(super) fn fault(&self, client: &Addr, measure: &Measure, now_ms: u64) -> bool {
        let Some(key) = key(client) else { return false };
        let mut shard = self.shard(key);
        let mut entry = shard.get(key).unwrap_or_default();
        if entry.banned_until_ms > now_ms {
            return false;
        }
        if entry.faults == 0 || now_ms - entry.since_ms.min(now_ms) >= measure.within_ms {
            entry = Entry { faults: 0, since_ms: now_ms, banned_until_ms: 0 };
        }
        entry.faults += 1;
        let banned = entry.faults >= measure.faults;
        if banned {
            entry = Entry { faults: 0, since_ms: now_ms, banned_until_ms: now_ms + measure.for_ms };
            self.until_ms.fetch_max(entry.banned_until_ms, Ordering::Relaxed);
        }
        shard.put(key, entry, now_ms);
        banned
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn get(&self, key: u128) -> Option<Entry> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn put(&mut self, key: u128, entry: Entry, now_ms: u64) {
        if self.young.len() >= self.len_max && !self.young.contains_key(&key) {
            let older = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            // The banned stay, as far as half a generation has room for them.
            let banned = older.into_iter().filter(|(_, it)| it.banned_until_ms > now_ms);
            self.young.extend(banned.take(self.len_max / 2));
        }
        self.young.insert(key, entry);
    }
}

/// As many clients as one generation of a shard holds in so many bytes: tables grow by doubling, and seven of eight of
/// their places may be taken.
fn len_max(bytes: u64) -> usize {
    let places = (bytes / PLACE_BYTES).checked_ilog2().map_or(1, |it| 1_usize << it);
    (places / 8 * 7).max(1)
}

/// Who counts as one client; Unix sockets have none.
fn key(client: &Addr) -> Option<u128> {
    Some(match client.ip()?.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(ip) => u128::from(ip) & (u128::MAX << (128 - V6_BITS)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        foregate_core::network::parse_addr(text).expect("because tests write addresses")
    }

    const MEASURE: Measure = Measure { faults: 3, within_ms: 1000, for_ms: 5000 };

    #[test]
    fn three_faults_within_a_second_ban_for_five() {
        let table = Table::new(1 << 20);
        let fault = |ip: &str, ms| table.fault(&addr(ip), &MEASURE, ms);
        assert!(!fault("192.0.2.1", 10_000) && !fault("192.0.2.1", 10_900) && !fault("192.0.2.1", 11_100));
        assert!(!fault("192.0.2.1", 11_200) && fault("192.0.2.1", 11_300));
        for (ip, ms, want) in [
            ("192.0.2.1", 11_300, true),
            ("::ffff:192.0.2.1", 16_299, true),
            ("192.0.2.2", 12_000, false),
            ("192.0.2.1", 16_300, false),
        ] {
            assert_eq!(table.is_banned(&addr(ip), ms), want, "{ip} {ms}");
        }
        assert!(!fault("192.0.2.1", 17_000), "the ban over, it begins anew");
        assert!(!table.fault(&Addr::unix("/run/x"), &Measure { faults: 1, ..MEASURE }, 1));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let table = Table::new(1 << 20);
        for ip in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            table.fault(&addr(ip), &MEASURE, 1);
        }
        assert!(table.is_banned(&addr("2001:db8::4"), 2) && !table.is_banned(&addr("2001:db8:0:1::1"), 2));
    }

    #[test]
    fn a_flood_of_clients_takes_no_more_room_and_frees_nobody() {
        let table = Table::new(64 << 10);
        (0..3).for_each(|_| _ = table.fault(&addr("192.0.2.1"), &MEASURE, 1));
        for n in 0..100_000_u32 {
            table.fault(&Addr::Ip((std::net::Ipv4Addr::from(n), 1).into()), &MEASURE, 2);
        }
        // A table says how many fit before it grows: seven of eight places.
        let places = |it: &HashMap<u128, Entry>| (it.capacity() as u64 * 8).div_ceil(7);
        let bytes = |it: &Mutex<Shard>| it.lock().map_or(0, |it| places(&it.young) + places(&it.old)) * PLACE_BYTES;
        let all: u64 = table.shards.iter().map(bytes).sum();
        assert!((16 << 10..=64 << 10).contains(&all), "{all} bytes");
        assert!(table.is_banned(&addr("192.0.2.1"), 3));
    }
}
