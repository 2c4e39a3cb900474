//! Two nets for bad days, both off unless asked for: peers that fail too often are taken out for a while, and requests
//! that are tried again are kept to a share of the traffic.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::group::Tier;

/// `outlier_ejection`: who fails too often is taken out, whatever the clients were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failed answers in a hundred.
    pub failures: u32,
    /// Fewer answers than this within a window say nothing.
    pub requests: u32,
    pub window_s: u64,
    /// How long a peer is left out.
    pub time_s: u64,
    /// Peers in a hundred that may be out at once for this reason; one always may.
    pub max: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 50, requests: 20, window_s: 10, time_s: 30, max: 50 }
    }
}

/// What a peer answered within this window.
#[derive(Default)]
pub(crate) struct Record {
    window: AtomicU64,
    asked: AtomicU32,
    failed: AtomicU32,
}

impl Ejection {
    /// Notes an answer, or that none came; true where the peer is taken out by it.
    pub(crate) fn note(&self, tier: &Tier, idx: usize, failed: bool, now_s: u64) -> bool {
        let state = &tier.peers[idx].state;
        let record = &state.record;
        let window = now_s / self.window_s.max(1);
        if record.window.swap(window, Relaxed) != window {
            record.asked.store(0, Relaxed);
            record.failed.store(0, Relaxed);
        }
        let asked = record.asked.fetch_add(1, Relaxed) + 1;
        if !failed {
            return false;
        }
        let n_failed = record.failed.fetch_add(1, Relaxed) + 1;
        let often = u64::from(n_failed) * 100 >= u64::from(asked) * u64::from(self.failures);
        asked >= self.requests
            && often
            && self.has_room(tier, now_s)
            && state.eject(now_s + self.time_s, now_s)
    }

    /// One more may be out, and somebody is left to be asked.
    fn has_room(&self, tier: &Tier, now_s: u64) -> bool {
        let out = tier.peers.iter().filter(|it| it.state.is_blocked(now_s)).count();
        let left = tier.peers.iter().filter(|it| it.is_available(now_s)).count();
        let most = (tier.peers.len() * self.max as usize / 100).max(1);
        out < most && left > 1
    }
}

/// `retry_budget`: how many requests may be tried again, as a share of all.
pub struct RetryBudget {
    /// Retries to a hundred requests.
    pub percent: u32,
    /// Retries that a window always has.
    pub min: u32,
    window: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

/// Requests and their retries are compared over this time.
const BUDGET_WINDOW_S: u64 = 10;

impl RetryBudget {
    pub fn new(percent: u32, min: u32) -> Self {
        let (window, requests, retries) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
        Self { percent, min, window, requests, retries }
    }

    /// One request more.
    pub(crate) fn count(&self, now_s: u64) {
        let window = now_s / BUDGET_WINDOW_S;
        if self.window.load(Relaxed) != window {
            self.window.store(window, Relaxed);
            self.requests.store(0, Relaxed);
            self.retries.store(0, Relaxed);
        }
        self.requests.fetch_add(1, Relaxed);
    }

    /// Whether one more may be tried again.
    pub(crate) fn allows(&self) -> bool {
        let share = u64::from(self.requests.load(Relaxed)) * u64::from(self.percent) / 100;
        u64::from(self.retries.load(Relaxed)) < share.max(u64::from(self.min))
    }

    /// One is.
    pub(crate) fn spend(&self) {
        self.retries.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_share_of_the_traffic() {
        let budget = RetryBudget::new(20, 2);
        let tries = |n: u32| {
            (0..n).for_each(|_| budget.count(100));
            let mut spent = 0;
            while budget.allows() {
                budget.spend();
                spent += 1;
            }
            spent
        };
        assert_eq!((tries(1), tries(9), tries(90)), (2, 0, 18));
        budget.count(110);
        assert!(budget.allows());
    }
}
