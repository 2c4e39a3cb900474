//! The keeper of a zone, a thread of its own: looks through the folder at the start, then removes what is too old or
//! too much.

use std::fs::{self, ReadDir};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use foregate_core::{ErrorLog, Level};
use foregate_net::clock;
use foregate_net::sys::errno_text;

use crate::key::Key;
use crate::object::{Opened, peek};
use crate::purge::Verdict;
use crate::purging::seen;
use crate::zone::{Pace, State, ZoneSpec, Zones, now_s};

/// The keeper comes by at least this often, as nginx's.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// What a worker that was killed has left half written goes when nobody has written to it for so long.
const STRAY_AGE: Duration = Duration::from_secs(60);
/// Folders within folders: more than `levels` can say.
const DEPTH_MAX: usize = 4;

/// Keeps every zone of a configuration, unless somebody does already. To be called where requests are served.
pub fn keep_all(zones: &Zones, log: &ErrorLog) {
    for zone in zones.0.values() {
        let state = &zone.state;
        state.max_bytes.store(zone.spec.max_bytes, Ordering::Relaxed);
        state.memory.set_bytes(zone.spec.memory_bytes);
        let before = std::mem::replace(
            &mut *state.spec.lock().unwrap_or_else(PoisonError::into_inner),
            zone.spec.clone(),
        );
        if before.bytes != zone.spec.bytes {
            state.index.set_bytes(zone.spec.bytes);
        }
        // Before anything is served: every thread waits for the first.
        if let Err(error) = state.purged.load(&state.path, clock::unix_ms() * 1000) {
            complain(state, log, &error);
        }
        if state.kept.swap(true, Ordering::AcqRel) {
            continue;
        }
        let (weak, bell, own_log) = (Arc::downgrade(state), state.bell.clone(), log.clone());
        let name = format!("cache {}", state.name);
        let started = thread::Builder::new().name(name).spawn(move || keep(&weak, &bell, &own_log));
        if let Err(error) = started {
            state.kept.store(false, Ordering::Release);
            log.write(Level::Alert, &format_args!("the cache \"{}\" has no keeper: {error}", state.name));
        }
    }
}

fn complain(state: &State, log: &ErrorLog, error: &std::io::Error) {
    let (name, why) = (&state.name, errno_text(error));
    log.write(
        Level::Alert,
        &format_args!("the journal of purges of the cache \"{name}\" cannot be written ({why})"),
    );
}

/// Calls a keeper before it is time.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    /// Whether it rang before the time was over.
    fn wait(&self, time: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, time, |rung| !*rung);
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

/// Until the zone has gone.
fn keep(state: &Weak<State>, bell: &Bell, log: &ErrorLog) {
    let began = SystemTime::now();
    let mut walk = Some(Walk::new(Purpose::Load, began));
    let mut due = Instant::now();
    let mut rules_due = due;
    let mut strays_due = None;
    loop {
        let Some(state) = state.upgrade() else { return };
        let spec = state.spec.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if Instant::now() >= due {
            due = Instant::now() + tidy(&state, &spec);
        }
        if Instant::now() >= rules_due {
            // By the clock alone: whoever purges rings, and would have all rules looked through each time.
            rules_due = Instant::now() + ROUND_MAX;
            let inactive_us = u64::try_from(spec.inactive.as_micros()).unwrap_or(u64::MAX);
            if let Err(error) = state.purged.forget_old(clock::unix_ms() * 1000, inactive_us) {
                complain(&state, log, &error);
            }
        }
        if walk.as_mut().is_some_and(|walk| walk.step(&state, &spec)) {
            let ended = walk.take();
            if ended.as_ref().is_some_and(|it| it.met_young) {
                strays_due = Some(Instant::now() + STRAY_AGE);
            }
            if ended.is_some_and(|it| it.purpose == Purpose::Load) {
                state.cold.store(false, Ordering::Relaxed);
                let (n, bytes) = (state.index.len(), state.index.bytes());
                log.write(
                    Level::Notice,
                    &format_args!("cache \"{}\": {n} objects, {bytes} bytes", state.name),
                );
            }
        }
        if walk.is_none() && state.purged.take_sweep() {
            walk = Some(Walk::new(Purpose::Sweep, began));
        }
        if walk.is_none() && strays_due.is_some_and(|at| Instant::now() >= at) {
            strays_due = None;
            walk = Some(Walk::new(Purpose::Strays, began));
        }
        drop(state);
        let pause =
            if walk.is_some() { spec.loader.sleep } else { due.saturating_duration_since(Instant::now()) };
        if bell.wait(pause) {
            due = Instant::now();
        }
    }
}

/// Removes what may go, at the pace that is set. The time until the next round.
fn tidy(state: &State, spec: &ZoneSpec) -> Duration {
    let mut work = Work::begin(spec.manager);
    let next = loop {
        match state.evict(Some(now_s())) {
            Ok(()) if work.is_enough() => return spec.manager.sleep,
            Ok(()) => {}
            // The first one may go when it is older than its time, not when it is as old.
            Err(wait_s) => break wait_s.map_or(ROUND_MAX, |it| Duration::from_secs(u64::from(it) + 1)),
        }
    };
    while is_too_much(state, spec) {
        match state.evict(None) {
            Ok(()) if work.is_enough() => return spec.manager.sleep,
            Ok(()) => {}
            Err(_) => return ROUND_MAX,
        }
    }
    next.min(ROUND_MAX)
}

fn is_too_much(state: &State, spec: &ZoneSpec) -> bool {
    if state.index.bytes() >= spec.max_bytes || state.index.is_crowded() {
        return true;
    }
    if spec.min_free_bytes == 0 {
        return false;
    }
    let free = rustix::fs::statvfs(&state.path).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    free.is_ok_and(|free| free <= spec.min_free_bytes)
}

/// Counts what was done at once.
struct Work {
    pace: Pace,
    began: Instant,
    files: u64,
}

impl Work {
    fn begin(pace: Pace) -> Self {
        Self { pace, began: Instant::now(), files: 0 }
    }

    /// One more file is done: is that enough for now?
    fn is_enough(&mut self) -> bool {
        self.files += 1;
        self.files >= self.pace.files || self.began.elapsed() >= self.pace.threshold
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Removes what was left half written, once it is old enough.
    Strays,
    /// Puts files into the index.
    Load,
    /// Removes what was purged by a wildcard.
    Sweep,
}

/// A walk through all folders of a zone, with pauses.
struct Walk {
    purpose: Purpose,
    folders: Vec<ReadDir>,
    begun: bool,
    /// It has met what may still be written to.
    met_young: bool,
    /// When the keeper did.
    began: SystemTime,
}

impl Walk {
    fn new(purpose: Purpose, began: SystemTime) -> Self {
        Self { purpose, folders: Vec::new(), begun: false, met_young: false, began }
    }

    /// Goes on for a while; `true` at the end.
    fn step(&mut self, state: &State, spec: &ZoneSpec) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            self.folders.extend(fs::read_dir(&state.path));
        }
        let mut work = Work::begin(spec.loader);
        while let Some(folder) = self.folders.last_mut() {
            let Some(entry) = folder.next() else {
                self.folders.pop();
                continue;
            };
            let Ok(entry) = entry else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && self.folders.len() < DEPTH_MAX => {
                    self.folders.extend(fs::read_dir(entry.path()));
                }
                Ok(kind) if kind.is_file() => {
                    self.file(&entry.path(), state, spec);
                    if work.is_enough() {
                        return false;
                    }
                }
                _ => {}
            }
        }
        true
    }

    fn file(&mut self, path: &PathBuf, state: &State, spec: &ZoneSpec) {
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        let Some(key) = Key::from_hex(name) else {
            self.met_young |= is_young_stray(path, name, self.began);
            return;
        };
        // A file in another place than its own (the levels have changed) would never be found.
        if key.path(&state.path, &state.levels) != *path {
            _ = fs::remove_file(path);
            return;
        }
        match self.purpose {
            Purpose::Strays => (),
            Purpose::Load => {
                let bytes = fs::metadata(path).map_or(0, |it| it.len());
                let inactive_s = u32::try_from(spec.inactive.as_secs()).unwrap_or(u32::MAX);
                if !state.index.found(key, bytes, now_s().saturating_add(inactive_s)) {
                    _ = fs::remove_file(path);
                }
            }
            Purpose::Sweep => {
                let gone =
                    |it: &Opened| state.purged.verdict(&seen(it.header(), it.bytes())) == Verdict::Gone;
                if peek(path).is_some_and(|it| gone(&it)) {
                    state.unlink(key);
                    state.index.forget(key);
                }
            }
        }
    }
}

/// Removes what a worker before this one left half written; `true`: it may still be written to, by another process. What
/// was written to since this one `began` is its own. Other names are not ours to touch.
fn is_young_stray(path: &Path, name: &str, began: SystemTime) -> bool {
    let is_ours = name.split_once('.').is_some_and(|(key, number)| {
        Key::from_hex(key).is_some() && number.bytes().all(|b| b.is_ascii_digit())
    });
    let Ok(modified) = fs::metadata(path).and_then(|it| it.modified()) else { return false };
    if !is_ours || modified > began {
        return false;
    }
    let is_old = SystemTime::now().duration_since(modified).is_ok_and(|age| age >= STRAY_AGE);
    if is_old {
        _ = fs::remove_file(path);
    }
    !is_old
}
