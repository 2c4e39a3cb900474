//! What a zone did, counted in stripes so that threads do not wait for each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::told::Status;

const STATUSES: usize = 7;
const STRIPES: usize = 16;

thread_local! {
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

/// Answers of one kind, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub responses: u64,
    /// Of bodies, as far as their lengths were known beforehand.
    pub bytes: u64,
    /// Of these, what has been kept.
    pub responses_written: u64,
    pub bytes_written: u64,
}

#[repr(align(128))]
#[derive(Default)]
struct Stripe([[AtomicU64; 4]; STATUSES]);

#[derive(Default)]
pub(crate) struct Stats([Stripe; STRIPES]);

impl Stats {
    /// One more answer.
    pub(crate) fn count(&self, status: Status, bytes: u64) {
        self.add(status, 0, 1);
        self.add(status, 1, bytes);
    }

    /// One more has been kept.
    pub(crate) fn written(&self, status: Status, bytes: u64) {
        self.add(status, 2, 1);
        self.add(status, 3, bytes);
    }

    pub(crate) fn of(&self, status: Status) -> Counted {
        let sum = |at: usize| self.0.iter().map(|it| it.0[status as usize][at].load(Ordering::Relaxed)).sum();
        Counted { responses: sum(0), bytes: sum(1), responses_written: sum(2), bytes_written: sum(3) }
    }

    fn add(&self, status: Status, at: usize, n: u64) {
        let stripe = STRIPE.with(|it| *it);
        self.0[stripe].0[status as usize][at].fetch_add(n, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_are_summed() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            (0..4_u64).for_each(|n| {
                _ = scope.spawn({
                    let stats = &stats;
                    move || stats.count(Status::Hit, n)
                })
            });
        });
        stats.written(Status::Miss, 5);
        let hit = Counted { responses: 4, bytes: 6, ..Counted::default() };
        assert_eq!(stats.of(Status::Hit), hit);
        assert_eq!(stats.of(Status::Miss).bytes_written, 5);
    }
}
