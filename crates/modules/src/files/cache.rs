//! `open_file_cache`: files kept open, so that serving them costs no `open` and no `stat`.
//!
//! Each thread has a cache of its own for each directive; `max` counts for each. What a cache says of a file is
//! believed for `open_file_cache_valid`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foregate_net::clock;

use super::open::{Failure, Opened, open_now};
use super::symlinks::Guard;

/// One directive. Its address tells its cache from others, so it is shared by all blocks that inherit it.
pub(super) struct Spec {
    pub(super) max: usize,
    pub(super) inactive: Duration,
}

/// How one block uses a cache.
pub(super) struct Use {
    pub(super) spec: Arc<Spec>,
    pub(super) valid: Duration,
    pub(super) min_uses: u64,
    /// Whether failures are remembered as well.
    pub(super) errors: bool,
}

thread_local! {
    static CACHES: RefCell<Vec<(Weak<Spec>, Cache)>> = const { RefCell::new(Vec::new()) };
}

/// Idle entries dropped at each use: enough to keep up with one that is added.
const DROPS_PER_USE: usize = 2;

pub(super) fn open(on: &Use, path: &[u8], guard: Guard) -> Result<Opened, Failure> {
    CACHES.with_borrow_mut(|caches| {
        let same = |(spec, _): &(Weak<Spec>, Cache)| std::ptr::eq(spec.as_ptr(), Arc::as_ptr(&on.spec));
        let at = caches.iter().position(same).unwrap_or_else(|| {
            // After a reload the caches of the configuration before go once it has gone.
            caches.retain(|(spec, _)| spec.strong_count() > 0);
            caches.push((Arc::downgrade(&on.spec), Cache::default()));
            caches.len() - 1
        });
        caches[at].1.open(on, path, guard, clock::now())
    })
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Rc<[u8]>, Entry>,
    /// Paths by the turn of their last use, the longest unused first.
    by_use: BTreeMap<u64, Rc<[u8]>>,
    turn: u64,
}

struct Entry {
    /// `None`: not used often enough to be kept open.
    what: Option<Result<Opened, Failure>>,
    guard: Guard,
    checked: Instant,
    used: Instant,
    uses: u64,
    turn: u64,
}

impl Cache {
    fn open(&mut self, on: &Use, path: &[u8], guard: Guard, now: Instant) -> Result<Opened, Failure> {
        self.drop_idle(on.spec.inactive, now);
        self.turn += 1;
        let Some(entry) = self.entries.get_mut(path) else { return self.add(on, path, guard, now) };
        entry.used = now;
        entry.uses += 1;
        if let Some(key) = self.by_use.remove(&entry.turn) {
            self.by_use.insert(self.turn, key);
            entry.turn = self.turn;
        }
        let believed = entry.guard == guard && now.saturating_duration_since(entry.checked) < on.valid;
        match &entry.what {
            Some(what) if believed => return what.clone(),
            _ => (),
        }
        let what = open_now(path, guard);
        (entry.guard, entry.checked) = (guard, now);
        entry.what = kept(on, entry.uses, &what);
        what
    }

    fn add(&mut self, on: &Use, path: &[u8], guard: Guard, now: Instant) -> Result<Opened, Failure> {
        let what = open_now(path, guard);
        if what.is_err() && !on.errors {
            return what;
        }
        while self.entries.len() >= on.spec.max && self.drop_oldest(|_| true) {}
        let key: Rc<[u8]> = path.into();
        self.by_use.insert(self.turn, key.clone());
        let entry = Entry {
            what: kept(on, 1, &what),
            guard,
            checked: now,
            used: now,
            uses: 1,
            turn: self.turn,
        };
        self.entries.insert(key, entry);
        what
    }

    fn drop_idle(&mut self, inactive: Duration, now: Instant) {
        for _ in 0..DROPS_PER_USE {
            if !self.drop_oldest(|entry| now.saturating_duration_since(entry.used) >= inactive) {
                return;
            }
        }
    }

    /// Says whether the longest unused entry was dropped.
    fn drop_oldest(&mut self, goes: impl Fn(&Entry) -> bool) -> bool {
        let Some((turn, path)) = self.by_use.first_key_value() else { return false };
        if self.entries.get(path).is_some_and(|entry| !goes(entry)) {
            return false;
        }
        let turn = *turn;
        if let Some(path) = self.by_use.remove(&turn) {
            self.entries.remove(&path);
        }
        true
    }
}

fn kept(on: &Use, uses: u64, what: &Result<Opened, Failure>) -> Option<Result<Opened, Failure>> {
    let keep = if what.is_ok() { uses >= on.min_uses } else { on.errors };
    keep.then(|| what.clone())
}
