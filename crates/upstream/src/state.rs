//! How an address has behaved lately: what all threads share of it, and what outlives changes of its parameters.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use foregate_net::clock;

use crate::ejection::Record;
use crate::times::Times;

/// Health and counts of one peer. Seconds are those of the epoch, as nginx counts them.
#[derive(Default)]
pub(crate) struct State {
    /// What the API calls it.
    pub(crate) number: AtomicU32,
    pub(crate) conns: AtomicU32,
    pub(crate) fails: AtomicU32,
    /// The last failure.
    pub(crate) accessed_s: AtomicU64,
    /// The last failure, or the last time it was tried again since.
    pub(crate) checked_s: AtomicU64,
    pub(crate) times: Mutex<Times>,
    /// Not asked before this moment: 0 for no such moment, [`FOREVER`] while health checks say so.
    pub(crate) blocked_until_s: AtomicU64,
    /// When it came back, for `slow_start`; 0: its weight is whole again. Milliseconds since the epoch.
    pub(crate) recovered_ms: AtomicU64,
    health: AtomicU8,
    pub(crate) checks: Checks,
    pub(crate) record: Record,
    pub(crate) tally: Tally,
}

/// `blocked_until_s` of a peer that waits for a health check to pass.
const FOREVER: u64 = u64::MAX;

/// What health checks have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Good, or nobody checks.
    Up,
    /// `mandatory`, and not checked yet.
    Checking,
    Unhealthy,
}

/// What became of health checks.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) n: AtomicU64,
    pub(crate) fails: AtomicU64,
    /// How often it became unhealthy.
    pub(crate) unhealthy: AtomicU64,
    pub(crate) last_passed: AtomicBool,
    /// Checks in a row with the last one's outcome.
    row: AtomicU32,
}

/// What the API tells of a peer. Counted only in groups that have a `zone`.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    /// By the first digit of the status, less one.
    pub(crate) responses: [AtomicU64; 5],
    pub(crate) fails: AtomicU64,
    /// How often failures took it out.
    pub(crate) unavail: AtomicU64,
    pub(crate) selected_ms: AtomicU64,
}

impl State {
    pub(crate) fn is_blocked(&self, now_s: u64) -> bool {
        self.blocked_until_s.load(Relaxed) > now_s
    }

    pub(crate) fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Up,
            1 => Health::Checking,
            _ => Health::Unhealthy,
        }
    }

    /// True where that changes anything.
    pub(crate) fn set_health(&self, to: Health, now_ms: u64) -> bool {
        let before = self.health();
        self.health.store(to as u8, Relaxed);
        match to {
            Health::Up if before == Health::Up => (),
            Health::Up => {
                self.blocked_until_s.store(0, Relaxed);
                if before == Health::Unhealthy {
                    self.recovered_ms.store(now_ms, Relaxed);
                }
                // What failed before the check has been put right.
                self.fails.store(0, Relaxed);
            }
            _ => self.blocked_until_s.store(FOREVER, Relaxed),
        }
        before != to
    }

    /// Nobody checks any more: what checks have found does not hold.
    pub(crate) fn forget_health(&self) {
        if self.health() != Health::Up {
            self.health.store(Health::Up as u8, Relaxed);
            self.blocked_until_s.store(0, Relaxed);
        }
        self.checks.row.store(0, Relaxed);
    }

    /// A health check came to its end; the new health where that changes.
    pub(crate) fn checked(&self, passed: bool, passes: u32, fails: u32, now_ms: u64) -> Option<Health> {
        let checks = &self.checks;
        let same = checks.n.fetch_add(1, Relaxed) > 0 && checks.last_passed.load(Relaxed) == passed;
        checks.last_passed.store(passed, Relaxed);
        let row = if same { checks.row.load(Relaxed).saturating_add(1) } else { 1 };
        checks.row.store(row, Relaxed);
        if !passed {
            checks.fails.fetch_add(1, Relaxed);
        }
        let to = match (passed, self.health()) {
            (true, Health::Checking) => Health::Up,
            (true, Health::Unhealthy) if row >= passes => Health::Up,
            (false, Health::Checking) => Health::Unhealthy,
            (false, Health::Up) if row >= fails => Health::Unhealthy,
            _ => return None,
        };
        if to == Health::Unhealthy {
            checks.unhealthy.fetch_add(1, Relaxed);
        }
        self.set_health(to, now_ms);
        Some(to)
    }

    /// Taken out until this second, unless it is already.
    pub(crate) fn eject(&self, until_s: u64, now_s: u64) -> bool {
        let before = self.blocked_until_s.load(Relaxed);
        if before > now_s {
            return false;
        }
        let done = self.blocked_until_s.compare_exchange(before, until_s, Relaxed, Relaxed).is_ok();
        if done {
            self.recovered_ms.store(until_s * 1000, Relaxed);
        }
        done
    }
}

impl Tally {
    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.selected_ms.store(clock::unix_ms(), Relaxed);
    }

    pub(crate) fn answered(&self, status: u16) {
        if let Some(class) = self.responses.get((usize::from(status) / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn failed(&self, out: bool) {
        self.fails.fetch_add(1, Relaxed);
        self.unavail.fetch_add(u64::from(out), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_in_a_row_change_the_health() {
        let state = State::default();
        let mut check = |passed| state.checked(passed, 2, 3, 5000);
        assert_eq!([check(true), check(false), check(false)], [None; 3]);
        assert_eq!(check(false), Some(Health::Unhealthy));
        assert_eq!([check(true), check(false), check(true)], [None; 3]);
        assert_eq!(check(true), Some(Health::Up));
        assert_eq!(state.recovered_ms.load(Relaxed), 5000);
        state.set_health(Health::Checking, 0);
        assert!(state.is_blocked(1));
        assert_eq!(state.checked(true, 2, 3, 0), Some(Health::Up));
        assert!(!state.is_blocked(1));
    }

    #[test]
    fn a_peer_is_ejected_once() {
        let state = State::default();
        assert!(state.eject(30, 10) && !state.eject(40, 20));
        assert!(state.is_blocked(29) && !state.is_blocked(30));
        assert!(state.eject(60, 30));
    }
}
