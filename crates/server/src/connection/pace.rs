//! Floors under the pace of clients (`client_body_min_rate` and its kin): who sends or takes less is not waited for.

use std::cell::Cell;
use std::time::Duration;

use foregate_modules::client::Floor;
use foregate_net::clock;

/// For how long a client may still be waited for. What it does pays for more, up to the grace: what a socket took at once
/// in the beginning is no reason to wait for hours.
pub(super) struct Pace {
    floor: Floor,
    left_ms: Cell<u64>,
    /// Bytes that have been paid for.
    paid: Cell<u64>,
    /// By [`clock::ms`]: when the wait began that lasts still.
    since_ms: Cell<u64>,
}

impl Pace {
    pub(super) fn over(floor: Option<Floor>) -> Option<Pace> {
        let new = |floor: Floor| {
            let left_ms = Cell::new(clock::as_ms(floor.grace));
            Pace { floor, left_ms, paid: Cell::new(0), since_ms: Cell::new(0) }
        };
        floor.map(new)
    }

    /// We begin to wait, with so many bytes done in all: for so long at most.
    pub(super) fn begin(&self, bytes: u64) -> Duration {
        self.since_ms.set(clock::ms());
        let new = bytes.saturating_sub(self.paid.replace(bytes));
        let earned_ms = new.saturating_mul(1000) / self.floor.bytes_per_s.max(1);
        let left_ms = self.left_ms.get().saturating_add(earned_ms).min(clock::as_ms(self.floor.grace));
        self.left_ms.set(left_ms);
        Duration::from_millis(left_ms)
    }

    /// The client has done something.
    pub(super) fn end(&self) {
        let waited_ms = clock::ms().saturating_sub(self.since_ms.get());
        self.left_ms.set(self.left_ms.get().saturating_sub(waited_ms));
    }
}

/// The shorter of a timeout and what the floor leaves.
pub(super) fn wait(pace: Option<&Pace>, bytes: u64, timeout: Duration) -> Duration {
    pace.map_or(timeout, |it| it.begin(bytes).min(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_be_waited_for_as_long_as_its_bytes_have_paid_for() {
        let floor = Floor { bytes_per_s: 100, grace: Duration::from_secs(5) };
        let pace = Pace::over(Some(floor)).expect("because there is a floor");
        assert_eq!(pace.begin(0), Duration::from_secs(5));
        pace.left_ms.set(1_000);
        assert_eq!(pace.begin(0), Duration::from_secs(1));
        assert_eq!(pace.begin(200), Duration::from_secs(3));
        assert_eq!(pace.begin(200), Duration::from_secs(3));
        assert_eq!(pace.begin(1 << 30), Duration::from_secs(5), "never more than the grace");
        pace.left_ms.set(0);
        assert_eq!(pace.begin(1 << 30), Duration::ZERO);
        assert_eq!(wait(Some(&pace), u64::MAX, Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(wait(None, 0, Duration::from_secs(60)), Duration::from_secs(60));
    }
}
