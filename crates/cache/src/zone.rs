//! A zone: one `proxy_cache_path`, its index and its folder, and how objects are looked up in it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use foregate_core::{Exchange, Level, log};
use foregate_net::FileVersion;
use foregate_net::clock::{self, Deadline};
use foregate_net::sys::errno_text;
use foregate_wire::Fields;

use crate::coming::Coming;
use crate::header::Life;
use crate::held::Held;
use crate::hold::Hold;
use crate::index::{Index, Known, Lock};
use crate::keeper::Bell;
use crate::key::Key;
use crate::memory::{HeldNow, Memory};
use crate::object::{Miss, Object, Opened};
use crate::purge::{Outbox, Purged, Verdict};
use crate::purging::seen;
use crate::rfc::{self, Wants};
use crate::shard::Ticket;
use crate::stats::{Counted, Stats};
use crate::told::Status;

/// All zones of a configuration, by name. Kept in `Shared`.
#[derive(Default)]
pub struct Zones(pub HashMap<String, Arc<Zone>>);

/// `proxy_cache_path` as read. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct ZoneSpec {
    pub name: String,
    pub path: PathBuf,
    /// Characters of the folders' names.
    pub levels: Vec<usize>,
    /// `keys_zone`: decides how many objects there may be.
    pub bytes: u64,
    pub inactive: Duration,
    pub max_bytes: u64,
    pub min_free_bytes: u64,
    /// `memory`: how much of what is asked for often is in memory as well.
    pub memory_bytes: u64,
    /// Where instances tell each other of purges.
    pub redis: Option<String>,
    /// Files are written under `proxy_temp_path` and not beside their place.
    pub use_temp_path: bool,
    pub manager: Pace,
    pub loader: Pace,
}

/// How much the keeper does at once: it pauses after so many files, or after so long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub files: u64,
    pub sleep: Duration,
    pub threshold: Duration,
}

/// A zone as one configuration has it.
pub struct Zone {
    pub spec: ZoneSpec,
    /// Lives on in the next configuration, where the folder stays the same.
    pub(crate) state: Arc<State>,
}

pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) levels: Vec<usize>,
    pub(crate) index: Index,
    pub(crate) memory: Memory,
    /// The folder has not been looked through yet: there may be files that the index does not know.
    pub(crate) cold: AtomicBool,
    pub(crate) purged: Purged,
    pub(crate) stats: Stats,
    pub(crate) outbox: Outbox,
    /// As the present configuration has it.
    pub(crate) spec: Mutex<ZoneSpec>,
    pub(crate) max_bytes: AtomicU64,
    /// Bytes stored since the keeper has last looked how much room the disk has.
    pub(crate) unmeasured: AtomicU64,
    pub(crate) bell: Arc<Bell>,
    /// Somebody keeps it already.
    pub(crate) kept: AtomicBool,
    /// The last that was given out.
    stamp: AtomicU64,
    /// When a failing disk was last complained about, seconds since the epoch.
    complained_s: AtomicU64,
}

/// What is asked for.
pub struct Ask<'a> {
    pub text: &'a [u8],
    pub main: Key,
    /// The request's, for `Vary`.
    pub fields: &'a Fields,
    pub min_uses: u32,
    /// Only one may fetch it; for so long.
    pub lock_age: Option<Duration>,
    /// The same request asks again, having waited.
    pub again: bool,
    /// What it waited for is not kept: it asks the upstream itself.
    pub let_go: bool,
    pub wants: Wants,
}

impl Ask<'_> {
    /// The key of the representation that is asked for, where an answer says what they differ by.
    fn variant(&self, vary: &[u8]) -> Key {
        match self.wants.by_rfc {
            true => rfc::variant(self.main, vary, self.fields),
            false => Key::variant(self.main, vary, self.fields),
        }
    }
}

/// What there is.
pub enum Found {
    Fresh(Object),
    /// Out of date. The hold says whether it is ours to fetch it anew.
    Stale(Object, Hold),
    Missing(Hold),
    /// Somebody else fetches what has this key: see [`Zone::unlocked`].
    Locked(Key),
    /// Nothing, and what is fetched shall not be kept.
    Scarce,
    /// The upstream failed a moment ago, with this status.
    Failed(u16),
}

/// What a zone has on disk.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// And those that are being fetched or remembered without a file.
    pub objects: usize,
    pub bytes: u64,
    /// The folder has not been looked through yet.
    pub cold: bool,
}

/// How waiting for somebody else to fetch an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It may be asked for again: it is there, or comes, or it is our turn to fetch it.
    Free,
    /// It is not kept: everybody is to ask the upstream himself.
    LetGo,
    /// It took too long.
    Late,
}

/// A place among those who wait.
struct Place<'a> {
    index: &'a Index,
    key: Key,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.index.leave(self.key, &self.ticket);
    }
}

/// Complaints about the disk, at most one in so many seconds.
const COMPLAINS_EVERY_S: u64 = 60;

impl Zone {
    /// A zone whose index begins empty, unless the configuration before had the same folder.
    pub fn new(spec: ZoneSpec, before: Option<&Self>) -> Self {
        let same = before.filter(|it| it.state.path == spec.path && it.state.levels == spec.levels);
        let state = same.map_or_else(|| Arc::new(State::new(&spec)), |it| it.state.clone());
        Self { spec, state }
    }

    pub(crate) fn inactive_s(&self) -> u32 {
        u32::try_from(self.spec.inactive.as_secs()).unwrap_or(u32::MAX)
    }

    /// Looks up what is asked for.
    pub fn open(&self, ask: &Ask<'_>, ex: &Exchange) -> Found {
        self.ready();
        let mut key = ask.main;
        if let Some(object) = self.remembered(ask) {
            return Found::Fresh(object);
        }
        loop {
            match self.open_key(ask, key, ex) {
                Ok(found) => return found,
                Err(variant) => key = variant,
            }
        }
    }

    /// Waits until somebody has fetched the head of an object or has given up.
    pub async fn unlocked(&self, key: Key, lock_age: Duration, limit: Duration) -> Woken {
        let place = Place { index: &self.state.index, key, ticket: Ticket::default() };
        let deadline = Deadline::new();
        let end_ms = clock::ms().saturating_add(clock::as_ms(limit));
        poll_fn(|cx| {
            loop {
                let now_ms = clock::ms();
                if place.ticket.is_let_go() {
                    return Poll::Ready(Woken::LetGo);
                }
                let Some(left_ms) =
                    place.index.wait(key, (now_ms, clock::as_ms(lock_age)), &place.ticket, cx.waker())
                else {
                    return Poll::Ready(Woken::Free);
                };
                if now_ms >= end_ms {
                    return Poll::Ready(Woken::Late);
                }
                deadline.arm(Duration::from_millis(left_ms.min(end_ms - now_ms)));
                if deadline.poll_expired(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Microseconds since the epoch, later than every stamp before: tells what was purged from what was fetched after it.
    pub fn stamp(&self) -> u64 {
        let now_us = clock::unix_ms() * 1000;
        let later = |last: u64| Some(now_us.max(last + 1));
        let before = self.state.stamp.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        now_us.max(before.map_or(0, |last| last + 1))
    }

    /// Forgets an object that turned out to be of no use.
    pub fn forget(&self, object: &Object) {
        let key = object.header().key;
        self.state.index.forget(key);
        self.state.unlink(key);
    }

    /// What a request is to hold whose answer is stored although the cache was not asked.
    pub fn hold(&self, key: Key) -> Hold {
        let now_s = now_s();
        if self.ask(key, now_s, 1, false) != Known::Full {
            self.state.index.hold(key);
        }
        Hold::new(self.state.clone(), key, None, false)
    }

    /// What is in memory and good: neither the index nor the disk is asked, but once a second.
    pub fn remembered(&self, ask: &Ask<'_>) -> Option<Object> {
        let memory = &self.state.memory;
        let mut held = memory.get(ask.main)?;
        if !held.header.vary.is_empty() {
            let variant = ask.variant(&held.bytes[held.header.vary.clone()]);
            if variant != held.header.variant {
                held = memory.get(variant).filter(|it| it.header.variant == variant)?;
            }
        }
        let now_s = now_s();
        if !ask.wants.is_met_by(held.header.life, i64::from(now_s))
            || held.bytes[held.header.text.clone()] != *ask.text
            || (held.is_due(now_s) && !self.touch(&held, now_s))
            || self.is_purged(&held)
        {
            return None;
        }
        held.hit();
        memory.count_hit();
        Some(held.into())
    }

    /// Whether anything is kept in memory.
    pub fn has_memory(&self) -> bool {
        self.spec.memory_bytes > 0
    }

    /// Tells the index that an object is in use; `false`: it has lost its file meanwhile, and is forgotten.
    fn touch(&self, held: &Held, now_s: u32) -> bool {
        let key = held.key();
        let stays = self.state.index.touch(key, now_s.saturating_add(self.inactive_s()))
            && FileVersion::at(&self.path(key)).is_ok_and(|it| it == held.version);
        if !stays {
            self.state.memory.forget(key);
        }
        stays
    }

    /// What was read from the disk is asked for again: it goes into memory, if it fits.
    fn admit(&self, opened: &Opened, clean_at: u64, now_s: u32) -> Option<Arc<Held>> {
        if !self.state.memory.takes(opened.file_bytes()) || opened.header().life.valid_s < i64::from(now_s) {
            return None;
        }
        let held = Arc::new(opened.hold(clean_at, now_s).ok()??);
        let key = held.key();
        self.state.memory.add(held.clone());
        // Another file may have taken its place since it was opened, and that of this one in memory: then they that
        // put it there have forgotten this one, or it is done here.
        if FileVersion::at(&self.path(key)).is_ok_and(|it| it == held.version) {
            return Some(held);
        }
        self.state.memory.forget(key);
        None
    }

    /// The object is good for another while.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn renew(&self, object: &mut Object, life: Life) -> io::Result<()> {
        let key = object.header().key;
        let done = object.renew(life, self.path(key));
        self.state.memory.forget(key);
        done
    }

    /// What there is now.
    pub fn now(&self) -> Now {
        let state = &self.state;
        Now {
            objects: state.index.len(),
            bytes: state.index.bytes(),
            cold: state.cold.load(Ordering::Relaxed),
        }
    }

    /// An answer was made so, with a body of so many bytes.
    pub fn count(&self, status: Status, bytes: u64) {
        self.state.stats.count(status, bytes);
    }

    /// What was counted since the start.
    pub fn counted(&self, status: Status) -> Counted {
        self.state.stats.of(status)
    }

    /// What is in memory now.
    pub fn in_memory(&self) -> HeldNow {
        self.state.memory.now()
    }

    /// Those in memory that were served most often: their keys' texts and how often.
    pub fn hottest(&self, n_max: usize) -> Vec<(Vec<u8>, u64)> {
        self.state.memory.hottest(n_max)
    }

    /// `Err`: another representation is asked for, which has this key.
    fn open_key(&self, ask: &Ask<'_>, key: Key, ex: &Exchange) -> Result<Found, Key> {
        let now_s = now_s();
        let known = self.ask(key, now_s, ask.min_uses, !ask.again);
        let scarce = known == Known::New && ask.min_uses > 1;
        let looks = match known {
            Known::Error(status) => return Ok(Found::Failed(status)),
            Known::Full | Known::Rare => return Ok(Found::Scarce),
            Known::File => true,
            Known::Wanted => false,
            Known::New => self.state.cold.load(Ordering::Relaxed),
        };
        if looks && let Some(object) = self.read(ask, key, ex) {
            if !object.varies_by().is_empty() {
                let variant = ask.variant(object.varies_by());
                if variant != object.header().variant && key == ask.main {
                    return Err(variant);
                }
                if variant != object.header().variant {
                    log!(
                        ex,
                        Level::Crit,
                        "cache file \"{}\" has incorrect vary hash",
                        self.path(key).display()
                    );
                    return Ok(self.missing(ask, key));
                }
            }
            if known == Known::New {
                let expires_s = now_s.saturating_add(self.inactive_s());
                self.state.index.found(key, object.file_bytes(), expires_s);
            }
            return Ok(match ask.wants.is_met_by(object.life(), i64::from(now_s)) {
                true => Found::Fresh(object),
                false => {
                    let right = match self.state.index.hold_stale(key) {
                        Lock::Ours(right) => Some(right),
                        Lock::Theirs => None,
                    };
                    Found::Stale(object, Hold::new(self.state.clone(), key, right, ask.min_uses > 1))
                }
            });
        }
        if looks {
            self.state.index.missing(key);
        }
        if let Some(age) = ask.lock_age
            && let Some(coming) = self.state.index.coming(key)
            && coming.is_lively(clock::ms(), clock::as_ms(age))
        {
            return self.join(ask, key, coming);
        }
        if scarce { Ok(Found::Scarce) } else { Ok(self.missing(ask, key)) }
    }

    /// Somebody fetches just this: it is served while it comes. `Err`: another representation is asked for.
    fn join(&self, ask: &Ask<'_>, key: Key, coming: Arc<Coming>) -> Result<Found, Key> {
        let header = &coming.header;
        if coming.bytes[header.text.clone()] != *ask.text {
            return Ok(Found::Scarce);
        }
        if !header.vary.is_empty() {
            let variant = ask.variant(&coming.bytes[header.vary.clone()]);
            if variant != header.variant {
                return if key == ask.main { Err(variant) } else { Ok(Found::Scarce) };
            }
        }
        let serves = ask.wants.is_met_by(header.life, i64::from(now_s()))
            && self.state.purged.verdict(&seen(header, &coming.bytes)) == Verdict::Good;
        Ok(if serves { Found::Fresh(coming.into()) } else { Found::Scarce })
    }

    /// Asks the index; where it is full, the longest unused object makes room.
    fn ask(&self, key: Key, now_s: u32, uses_min: u32, counts: bool) -> Known {
        let ask = || self.state.index.ask(key, now_s, self.inactive_s(), uses_min, counts);
        match ask() {
            Known::Full if self.state.evict_beside(key) => ask(),
            known => known,
        }
    }

    fn read(&self, ask: &Ask<'_>, key: Key, ex: &Exchange) -> Option<Object> {
        let path = self.path(key);
        let clean_at = self.state.purged.generation();
        match Opened::open(path.clone(), key, ask.text) {
            Ok(opened) => match self.state.purged.verdict(&seen(opened.header(), opened.bytes())) {
                Verdict::Gone => {
                    self.state.unlink(key);
                    None
                }
                Verdict::Stale(since_s) => {
                    let mut object = Object::from(opened);
                    object.soften(since_s);
                    Some(object)
                }
                Verdict::Good => {
                    Some(self.admit(&opened, clean_at, now_s()).map_or_else(|| opened.into(), Object::from))
                }
            },
            Err(Miss::Absent) => None,
            Err(Miss::Collision) => {
                log!(ex, Level::Crit, "cache file \"{}\" has md5 collision", path.display());
                None
            }
            Err(Miss::Bad(why)) => {
                log!(ex, Level::Crit, "cache file \"{}\" {why}, removed", path.display());
                self.state.unlink(key);
                None
            }
            Err(Miss::Failed(error)) => {
                if self.state.may_complain() {
                    let why = errno_text(&error);
                    log!(ex, Level::Crit, "open() \"{}\" failed ({why})", path.display());
                }
                None
            }
        }
    }

    fn missing(&self, ask: &Ask<'_>, key: Key) -> Found {
        let counts = ask.min_uses > 1;
        let right = match ask.lock_age {
            Some(age) if !ask.let_go => {
                match self.state.index.hold_locked(key, clock::ms(), clock::as_ms(age)) {
                    Lock::Ours(right) => Some(right),
                    Lock::Theirs => return Found::Locked(key),
                }
            }
            _ => {
                self.state.index.hold(key);
                None
            }
        };
        Found::Missing(Hold::new(self.state.clone(), key, right, counts))
    }

    pub(crate) fn path(&self, key: Key) -> PathBuf {
        key.path(&self.state.path, &self.state.levels)
    }
}

impl State {
    fn new(spec: &ZoneSpec) -> Self {
        Self {
            name: spec.name.clone(),
            path: spec.path.clone(),
            levels: spec.levels.clone(),
            index: Index::new(spec.bytes),
            memory: Memory::new(spec.memory_bytes),
            cold: AtomicBool::new(true),
            purged: Purged::default(),
            stats: Stats::default(),
            outbox: Outbox::default(),
            spec: Mutex::new(spec.clone()),
            max_bytes: AtomicU64::new(spec.max_bytes),
            unmeasured: AtomicU64::new(0),
            bell: Arc::default(),
            kept: AtomicBool::new(false),
            stamp: AtomicU64::new(0),
            complained_s: AtomicU64::new(0),
        }
    }

    /// Whether a failing disk may be complained about now: once a minute.
    pub(crate) fn may_complain(&self) -> bool {
        let now_s = clock::unix_ms() / 1000;
        let before = self.complained_s.load(Ordering::Relaxed);
        let due = before == 0 || now_s >= before + COMPLAINS_EVERY_S;
        due && self.complained_s.compare_exchange(before, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Seconds since the epoch.
pub(crate) fn now_s() -> u32 {
    u32::try_from(clock::unix_ms() / 1000).unwrap_or(u32::MAX)
}
