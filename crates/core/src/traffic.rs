//! Counts by zone (`status_zone`): what a server or a location was asked, and what it has answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// All zones of a configuration by name; they live on in the next one.
#[derive(Default)]
pub struct TrafficZones {
    pub servers: BTreeMap<String, Arc<Traffic>>,
    pub locations: BTreeMap<String, Arc<Traffic>>,
}

/// The counts of one zone. Threads count in places of their own, as far as there are some, so that none waits for another.
#[derive(Default)]
pub struct Traffic {
    places: [Place; PLACES],
    /// What had been counted when the counts were last set to 0.
    before: Mutex<Totals>,
}

/// 4 KiB each.
const PLACES: usize = 4;
const STATUS_MIN: u16 = 100;
/// 100 to 599; what lies beyond counts as the nearest of them.
const STATUSES: usize = 500;

#[repr(align(128))]
struct Place {
    /// Wraps: a request may begin on one thread's place and end on another's.
    processing: AtomicU64,
    discarded: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    statuses: [AtomicU64; STATUSES],
}

impl Default for Place {
    fn default() -> Self {
        let [processing, discarded, received, sent] = Default::default();
        Self { processing, discarded, received, sent, statuses: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// What has become of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that ended without an answer.
    pub discarded: u64,
    /// Bytes of requests and of answers.
    pub received: u64,
    pub sent: u64,
    /// How many answers had each status; none of 0.
    pub statuses: BTreeMap<u16, u64>,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// `None`: it had no answer.
    pub status: Option<u16>,
    pub received: u64,
    pub sent: u64,
}

impl Traffic {
    /// A request is under way until what this returns is dropped.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.place().processing.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }

    pub fn count(&self, done: Done) {
        let place = self.place();
        let add = |to: &AtomicU64, n: u64| _ = to.fetch_add(n, Relaxed);
        add(&place.received, done.received);
        add(&place.sent, done.sent);
        match done.status {
            None => add(&place.discarded, 1),
            Some(status) => {
                let at = usize::from(status.saturating_sub(STATUS_MIN)).min(STATUSES - 1);
                add(&place.statuses[at], 1);
            }
        }
    }

    /// Requests under way now.
    pub fn processing(&self) -> u64 {
        self.places.iter().fold(0, |sum: u64, it| sum.wrapping_add(it.processing.load(Relaxed)))
    }

    /// Since the counts were last set to 0.
    pub fn totals(&self) -> Totals {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        self.counted().since(&before)
    }

    /// Counts from 0 again; what is under way stays.
    pub fn forget(&self) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = self.counted();
    }

    fn counted(&self) -> Totals {
        let mut all = Totals::default();
        for place in &self.places {
            all.discarded += place.discarded.load(Relaxed);
            all.received += place.received.load(Relaxed);
            all.sent += place.sent.load(Relaxed);
            for (status, n) in (STATUS_MIN..).zip(&place.statuses) {
                let n = n.load(Relaxed);
                if n > 0 {
                    *all.statuses.entry(status).or_default() += n;
                }
            }
        }
        all
    }

    fn place(&self) -> &Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Relaxed) % PLACES;
        }
        &self.places[MINE.try_with(|it| *it).unwrap_or(0)]
    }
}

impl Totals {
    fn since(mut self, before: &Self) -> Self {
        self.discarded -= before.discarded;
        self.received -= before.received;
        self.sent -= before.sent;
        for (status, n) in &mut self.statuses {
            *n -= before.statuses.get(status).copied().unwrap_or(0);
        }
        self.statuses.retain(|_, n| *n > 0);
        self
    }
}

/// A request that is counted as being under way.
pub struct UnderWay(Arc<Traffic>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.place().processing.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_count_together_and_from_0_again_when_told() {
        let zone = Arc::new(Traffic::default());
        let under_way = zone.begin();
        let count = |status| zone.count(Done { status, received: 10, sent: 100 });
        std::thread::scope(|scope| {
            for status in [Some(200), Some(200), Some(404), None, Some(7), Some(999)] {
                scope.spawn(move || count(status));
            }
        });
        let statuses = BTreeMap::from([(100, 1), (200, 2), (404, 1), (599, 1)]);
        assert_eq!(zone.totals(), Totals { discarded: 1, received: 60, sent: 600, statuses });
        zone.forget();
        assert_eq!(zone.totals(), Totals::default());
        count(Some(200));
        assert_eq!(zone.totals().statuses, BTreeMap::from([(200, 1)]));
        assert_eq!(zone.processing(), 1);
        std::thread::spawn(|| drop(under_way)).join().unwrap();
        assert_eq!(zone.processing(), 0);
    }
}
