//! How an address has behaved lately: what all threads share of it, and what outlives changes of its parameters.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

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
    /// Which of the group's health checks say that it is unhealthy: a bit for each.
    failing: AtomicU32,
    /// Which of them have to pass once before it is asked (`mandatory`).
    pending: AtomicU32,
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
}

/// How a check ended, and what it takes to change a peer's health.
pub(crate) struct Verdict {
    /// Among the checks of its group.
    pub(crate) number: u32,
    pub(crate) passed: bool,
    pub(crate) passes: u32,
    pub(crate) fails: u32,
}

/// What the API tells of a peer. Counted only in groups that have a `zone`.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    /// By the first digit of the status, less one.
    pub(crate) responses: [AtomicU64; 5],
    /// Bytes to and from it, framing included.
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
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
        match (self.failing.load(Relaxed), self.pending.load(Relaxed)) {
            (0, 0) => Health::Up,
            (0, _) => Health::Checking,
            _ => Health::Unhealthy,
        }
    }

    /// Not asked before this check has passed once, unless it has ended before.
    pub(crate) fn wait_for(&self, check: u32) {
        if self.checks.n.load(Relaxed) == 0 {
            self.pending.fetch_or(1 << check, Relaxed);
            self.blocked_until_s.store(FOREVER, Relaxed);
        }
    }

    /// Only this many checks are made: what others have found does not hold any more.
    pub(crate) fn keep_checks(&self, n: u32) {
        let mask = 1_u32.checked_shl(n).map_or(u32::MAX, |it| it - 1);
        self.set(self.failing.load(Relaxed) & mask, self.pending.load(Relaxed) & mask, 0);
    }

    fn set(&self, failing: u32, pending: u32, now_ms: u64) {
        let (before, was_failing) = (self.health(), self.failing.swap(failing, Relaxed) != 0);
        self.pending.store(pending, Relaxed);
        match (before, failing | pending) {
            (Health::Up, 0) => (),
            (_, 0) => {
                self.blocked_until_s.store(0, Relaxed);
                // What failed before the check has been put right.
                self.fails.store(0, Relaxed);
                if was_failing && now_ms > 0 {
                    self.recovered_ms.store(now_ms, Relaxed);
                }
            }
            _ => self.blocked_until_s.store(FOREVER, Relaxed),
        }
    }

    /// A health check came to its end, as the ones before it did `row` times; the new health where that changes.
    pub(crate) fn checked(&self, check: &Verdict, row: u32, now_ms: u64) -> Option<Health> {
        self.checks.n.fetch_add(1, Relaxed);
        self.checks.fails.fetch_add(u64::from(!check.passed), Relaxed);
        self.checks.last_passed.store(check.passed, Relaxed);
        let (bit, before) = (1 << check.number, self.health());
        let (failing, pending) = (self.failing.load(Relaxed), self.pending.load(Relaxed));
        let (mut now_failing, mut now_pending) = (failing, pending);
        match (check.passed, pending & bit != 0, failing & bit != 0) {
            (_, true, _) => {
                now_pending &= !bit;
                now_failing |= if check.passed { 0 } else { bit };
            }
            (true, _, true) if row >= check.passes => now_failing &= !bit,
            (false, _, false) if row >= check.fails => now_failing |= bit,
            _ => return None,
        }
        self.set(now_failing, now_pending, now_ms);
        let after = self.health();
        if after == Health::Unhealthy && before != after {
            self.checks.unhealthy.fetch_add(1, Relaxed);
        }
        (before != after).then_some(after)
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

    pub(crate) fn carried(&self, sent: u64, received: u64) {
        self.sent.fetch_add(sent, Relaxed);
        self.received.fetch_add(received, Relaxed);
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
        let check =
            |number, passed, row| state.checked(&Verdict { number, passed, passes: 2, fails: 3 }, row, 5000);
        assert_eq!([check(0, true, 1), check(0, false, 1), check(0, false, 2)], [None; 3]);
        assert_eq!(check(0, false, 3), Some(Health::Unhealthy));
        assert_eq!([check(1, true, 7), check(0, true, 1), check(1, false, 3)], [None; 3]);
        assert_eq!([check(0, true, 2), check(1, true, 1)], [None; 2], "the other check still fails");
        assert_eq!(check(1, true, 2), Some(Health::Up));
        assert_eq!(state.recovered_ms.load(Relaxed), 5000);
    }

    #[test]
    fn a_mandatory_check_comes_first() {
        let state = State::default();
        state.wait_for(0);
        assert!(state.is_blocked(1) && state.health() == Health::Checking);
        let verdict = Verdict { number: 0, passed: true, passes: 5, fails: 1 };
        assert_eq!(state.checked(&verdict, 1, 0), Some(Health::Up));
        assert!(!state.is_blocked(1));
        state.wait_for(0);
        assert_eq!(state.health(), Health::Up, "only once");
        assert_eq!(state.checked(&Verdict { passed: false, ..verdict }, 1, 0), Some(Health::Unhealthy));
        state.keep_checks(0);
        assert!(state.health() == Health::Up && !state.is_blocked(1));
    }

    #[test]
    fn a_peer_is_ejected_once() {
        let state = State::default();
        assert!(state.eject(30, 10) && !state.eject(40, 20));
        assert!(state.is_blocked(29) && !state.is_blocked(30));
        assert!(state.eject(60, 30));
    }
}
