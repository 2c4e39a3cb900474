//! Counts of the whole worker, kept per thread so that counting never waits for another core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Connections taken from a listener.
    Accepted,
    /// Connections that were then served (not refused for lack of room).
    Handled,
    Requests,
    /// Connections open now: what is being read, written or waits.
    Active,
    /// Connections whose request's head is being read now.
    Reading,
    /// Connections with a request under way now.
    Writing,
    /// Connections idle between requests now.
    Waiting,
    /// Requests and connections that the shield has refused.
    Shielded,
}

const N_COUNTS: usize = 8;

/// One thread's counts: only this thread writes them. Two cache lines of its own, with the one fetched along.
#[repr(align(128))]
#[derive(Default)]
struct Counts([AtomicU64; N_COUNTS]);

static THREADS: Mutex<Vec<Arc<Counts>>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: Arc<Counts> = {
        let mine = Arc::<Counts>::default();
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(mine.clone());
        mine
    };
}

/// One more.
pub fn add(count: Count) {
    change(count, 1);
}

/// One less: of those that tell what is now.
pub fn sub(count: Count) {
    change(count, 1_u64.wrapping_neg());
}

fn change(count: Count, by: u64) {
    // Nobody else writes here, so that a load and a store do.
    _ = MINE.try_with(|mine| {
        let place = &mine.0[count as usize];
        place.store(place.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    });
}

/// The sum over all threads, those that ended included.
pub fn total(count: Count) -> u64 {
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.iter().fold(0, |sum: u64, it| sum.wrapping_add(it.0[count as usize].load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_are_summed() {
        let before = total(Count::Handled);
        add(Count::Handled);
        std::thread::spawn(|| {
            add(Count::Handled);
            add(Count::Handled);
            sub(Count::Handled);
        })
        .join()
        .unwrap();
        assert_eq!(total(Count::Handled), before + 2);
    }
}
