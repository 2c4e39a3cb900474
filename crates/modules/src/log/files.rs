//! Logs whose path depends on the request: opened when they are written, by this thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use foregate_core::{Exchange, Level, log};
use foregate_net::clock;

/// `open_log_file_cache`: how long such files stay open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cache {
    pub(super) files_max: usize,
    /// Closed when not written for so long.
    pub(super) inactive: Duration,
    /// Stays open only when written so often within `inactive`.
    pub(super) min_uses: u64,
    /// Opened again after so long, in case it was moved.
    pub(super) valid: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        let (inactive, valid) = (Duration::from_secs(10), Duration::from_secs(60));
        Self { files_max: 0, inactive, min_uses: 1, valid }
    }
}

struct Open {
    file: Option<File>,
    opened: Instant,
    used: Instant,
    uses: u64,
}

thread_local! {
    static OPEN: RefCell<HashMap<PathBuf, Open>> = RefCell::default();
}

/// Appends a line. Failures are logged and lose the line.
pub(super) fn write(path: &Path, cache: Option<&Cache>, line: &[u8], ex: &Exchange) {
    let done = match cache {
        Some(cache) => OPEN.with_borrow_mut(|open| cached(open, path, cache, line)),
        None => append(path).and_then(|mut file| file.write_all(line)),
    };
    if let Err(why) = done {
        let why = foregate_conf::os_error(&why);
        log!(ex, Level::Crit, "open() \"{}\" failed{why}", path.display());
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn cached(open: &mut HashMap<PathBuf, Open>, path: &Path, cache: &Cache, line: &[u8]) -> io::Result<()> {
    let now = clock::now();
    if !open.contains_key(path) {
        // Opened first: a path that cannot be opened takes nobody's place.
        let file = Some(append(path)?);
        make_room(open, cache, now);
        open.insert(path.to_owned(), Open { file, opened: now, used: now, uses: 0 });
    }
    let Some(entry) = open.get_mut(path) else { return Ok(()) };
    if now.saturating_duration_since(entry.opened) >= cache.valid {
        entry.file = None;
    }
    let file = match &mut entry.file {
        Some(file) => file,
        None => {
            entry.opened = now;
            entry.file.insert(append(path)?)
        }
    };
    let done = file.write_all(line);
    entry.used = now;
    entry.uses += 1;
    if entry.uses < cache.min_uses || done.is_err() {
        entry.file = None;
    }
    done
}

/// Closes what has not been used lately, and if need be what has not been used longest.
fn make_room(open: &mut HashMap<PathBuf, Open>, cache: &Cache, now: Instant) {
    open.retain(|_, it| now.saturating_duration_since(it.used) < cache.inactive);
    while open.len() >= cache.files_max.max(1) {
        let Some(oldest) = open.iter().min_by_key(|it| it.1.used).map(|it| it.0.clone()) else { return };
        open.remove(&oldest);
    }
}

#[cfg(test)]
pub(super) fn forget() {
    OPEN.take();
}
