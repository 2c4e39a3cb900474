//! What was purged: objects that came before the purge are not served any more, wherever they still lie.
//!
//! The file of the purged key itself goes at once. Other representations of it (`Vary`), all that a wildcard names,
//! and what was being fetched meanwhile is found out when it is asked for. A rule stays until everything that is older
//! has been asked for, or has not been asked for too long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::{AsItIs, Key};

/// Rules at once; more are refused.
const EXACT_MAX: usize = 100_000;
const PREFIXES_MAX: usize = 256;

/// How much longer than `inactive` a rule stays: for what was being fetched when it was made.
const LONGEST_FETCH_US: u64 = 3_600_000_000;

#[derive(Default)]
pub(crate) struct Purged {
    rules: Mutex<Rules>,
    /// Looked at for every object that is served.
    n: AtomicUsize,
    /// How many have come, ever: what was found not to be meant need not be looked up again until another comes.
    generation: AtomicU64,
    /// A wildcard has come whose files have not been removed.
    to_sweep: AtomicBool,
}

#[derive(Default)]
struct Rules {
    /// By main key, microseconds since the epoch.
    exact: HashMap<Key, u64, AsItIs>,
    prefixes: Vec<(Box<[u8]>, u64)>,
}

impl Purged {
    /// `false`: there are too many rules already.
    pub(crate) fn add(&self, main: Key, at_us: u64) -> bool {
        let mut rules = self.lock();
        let fits = rules.exact.len() < EXACT_MAX || rules.exact.contains_key(&main);
        if fits {
            rules.exact.insert(main, at_us);
        }
        self.count(&rules);
        fits
    }

    /// As `add`, for all keys that begin like this.
    pub(crate) fn add_prefix(&self, prefix: &[u8], at_us: u64) -> bool {
        let mut rules = self.lock();
        rules.prefixes.retain(|(it, _)| !it.starts_with(prefix));
        let fits = rules.prefixes.len() < PREFIXES_MAX;
        if fits {
            rules.prefixes.push((prefix.into(), at_us));
            self.to_sweep.store(true, Ordering::Relaxed);
        }
        self.count(&rules);
        fits
    }

    /// Read before `has`: as long as it stays the same, so does what `has` says.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether an object is older than a purge that means it.
    pub(crate) fn has(&self, main: Key, text: &[u8], created_us: u64) -> bool {
        if self.n.load(Ordering::Acquire) == 0 {
            return false;
        }
        let rules = self.lock();
        rules.exact.get(&main).is_some_and(|at| created_us <= *at)
            || rules.prefixes.iter().any(|(prefix, at)| created_us <= *at && text.starts_with(prefix))
    }

    pub(crate) fn forget_old(&self, now_us: u64, inactive_us: u64) {
        if self.n.load(Ordering::Relaxed) == 0 {
            return;
        }
        let since = now_us.saturating_sub(inactive_us.saturating_add(LONGEST_FETCH_US));
        let mut rules = self.lock();
        rules.exact.retain(|_, at| *at >= since);
        rules.prefixes.retain(|(_, at)| *at >= since);
        self.count(&rules);
    }

    /// Whether files are to be looked through, from now on.
    pub(crate) fn take_sweep(&self) -> bool {
        self.to_sweep.swap(false, Ordering::Relaxed)
    }

    fn count(&self, rules: &Rules) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.n.store(rules.exact.len() + rules.prefixes.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_is_gone() {
        let purged = Purged::default();
        let has = |text: &str, at| purged.has(Key::of(text.as_bytes()), text.as_bytes(), at);
        assert!(!has("/a", 0));
        assert!(purged.add(Key::of(b"/a"), 10) && purged.add_prefix(b"/b/", 20));
        assert_eq!([has("/a", 10), has("/a", 11), has("/ab", 1)], [true, false, false]);
        assert_eq!([has("/b/c", 20), has("/b/", 21), has("/b", 1)], [true, false, false]);
        assert!(purged.take_sweep() && !purged.take_sweep());
        purged.forget_old(LONGEST_FETCH_US + 120, 105);
        assert_eq!([has("/a", 10), has("/b/c", 20)], [false, true]);
    }

    #[test]
    fn a_wider_wildcard_takes_the_place_of_narrower_ones() {
        let purged = Purged::default();
        for n in 0..PREFIXES_MAX {
            assert!(purged.add_prefix(format!("/a/{n:04}/").as_bytes(), 1));
        }
        assert!(!purged.add_prefix(b"/b/", 1));
        assert!(purged.add_prefix(b"/a/", 2) && purged.add_prefix(b"/b/", 2));
    }
}
