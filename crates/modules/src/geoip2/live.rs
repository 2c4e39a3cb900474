//! A database that is read again when its file changes (`auto_reload`).
//!
//! Requests of one thread share that thread's hold on it; no lock is taken until a new edition is there. The file is
//! read by a thread of its own, since a database may be large.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use foregate_core::{Exchange, Level, log};
use foregate_net::{clock, sys::errno_text};

use super::database::Database;

/// What is known of the file.
#[derive(Clone, Copy)]
pub(super) enum Fact {
    Built,
    Checked,
    Changed,
}

pub(super) struct Live {
    /// Tells it from others in a thread's holds.
    number: u64,
    path: PathBuf,
    /// `None`: it never changes.
    interval: Option<Duration>,
    /// What the configuration read; what holds as long as `shared.edition` is 0.
    first: Arc<Edition>,
    checked_ms: AtomicU64,
    shared: Arc<Shared>,
}

/// What the thread that reads shares with those that ask.
struct Shared {
    edition: AtomicU64,
    newest: Mutex<Arc<Edition>>,
    /// A thread reads the file.
    busy: AtomicBool,
    /// Why the last reading failed, until it is logged.
    failed: Mutex<Option<String>>,
}

struct Edition {
    database: Database,
    /// When the file was changed, as far as it can be seen; seconds since the epoch.
    changed_s: u64,
}

/// A thread's hold on the newest edition of one database.
struct Hold {
    number: u64,
    edition: u64,
    what: Arc<Edition>,
}

/// Databases that a thread holds; more are held again when they are asked for again.
const HOLDS_MAX: usize = 16;

thread_local! {
    static HOLDS: RefCell<Vec<Hold>> = const { RefCell::new(Vec::new()) };
}

impl Live {
    pub(super) fn new(path: PathBuf, database: Database, interval: Option<Duration>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let first = Arc::new(Edition { database, changed_s: changed_s(&path).unwrap_or_default() });
        let shared = Shared {
            edition: AtomicU64::new(0),
            newest: Mutex::new(first.clone()),
            busy: AtomicBool::new(false),
            failed: Mutex::default(),
        };
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            path,
            interval,
            first,
            checked_ms: AtomicU64::new(clock::unix_ms()),
            shared: Arc::new(shared),
        }
    }

    /// Calls with the newest edition.
    pub(super) fn with<T>(&self, ex: &Exchange, ask: impl FnOnce(&Database) -> T) -> T {
        ask(&self.newest(ex).database)
    }

    pub(super) fn fact(&self, fact: Fact, ex: &Exchange) -> u64 {
        let newest = self.newest(ex);
        match fact {
            Fact::Built => newest.database.built_s,
            Fact::Checked => self.checked_ms.load(Ordering::Relaxed) / 1000,
            Fact::Changed => newest.changed_s,
        }
    }

    fn newest(&self, ex: &Exchange) -> Arc<Edition> {
        let Some(interval) = self.interval else { return self.first.clone() };
        self.check(interval, ex);
        let edition = self.shared.edition.load(Ordering::Acquire);
        if edition == 0 {
            return self.first.clone();
        }
        HOLDS.with_borrow_mut(|holds| {
            if let Some(hold) = holds.iter_mut().find(|it| it.number == self.number) {
                if hold.edition != edition {
                    (hold.edition, hold.what) = (edition, self.shared.take());
                }
                return hold.what.clone();
            }
            if holds.len() >= HOLDS_MAX {
                holds.remove(0);
            }
            let what = self.shared.take();
            holds.push(Hold { number: self.number, edition, what: what.clone() });
            what
        })
    }

    /// Once in each interval one request looks at the file; where it has changed, it is read.
    fn check(&self, interval: Duration, ex: &Exchange) {
        let now = clock::unix_ms();
        let last = self.checked_ms.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= clock::as_ms(interval);
        if !due || self.checked_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(why) = failed {
            log!(ex, Level::Error, "MMDB_open(\"{}\") failed - {why}", self.path.display());
        }
        let Some(changed_s) = changed_s(&self.path) else { return };
        if changed_s == self.shared.take().changed_s || self.shared.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        log!(ex, Level::Info, "Reload MMDB \"{}\"", self.path.display());
        let (shared, path) = (self.shared.clone(), self.path.clone());
        let reader = std::thread::Builder::new().name("geoip2".to_owned());
        if reader.spawn(move || shared.read(&path, changed_s)).is_err() {
            self.shared.busy.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    fn take(&self) -> Arc<Edition> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self, path: &Path, changed_s: u64) {
        let read = foregate_net::door::read(path).map_err(|why| errno_text(&why));
        match read.and_then(|bytes| Database::open(bytes).map_err(str::to_owned)) {
            Ok(database) => {
                let new = Arc::new(Edition { database, changed_s });
                *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = new;
                self.edition.fetch_add(1, Ordering::AcqRel);
            }
            Err(why) => *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why),
        }
        self.busy.store(false, Ordering::Release);
    }
}

/// When a file was changed, seconds since the epoch.
fn changed_s(path: &Path) -> Option<u64> {
    let time = std::fs::metadata(path).and_then(|it| it.modified()).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|it| it.as_secs())
}
