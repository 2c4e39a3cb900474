//! Certificates and keys that change on disk: found by looking, since whoever renews them may not tell us.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked. A thousand files take a millisecond or two.
const EVERY: Duration = Duration::from_secs(5);

/// The files of one configuration and what they were like when it was loaded.
pub(crate) struct Watch {
    files: BTreeSet<PathBuf>,
    seen: Vec<Stamp>,
    next: Instant,
}

/// Device, number, time in seconds and nanoseconds, length; `None`: there is no such file.
type Stamp = Option<[u64; 5]>;

impl Watch {
    pub(crate) fn over(files: BTreeSet<PathBuf>) -> Self {
        let seen = stamps(&files);
        Self { files, seen, next: Instant::now() + EVERY }
    }

    pub(crate) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// When to look next; never, if there is nothing to look at.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        (!self.files.is_empty()).then_some(self.next)
    }

    /// Whether a file is another than when this was last asked. One that is gone may be about to be replaced.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.next = Instant::now() + EVERY;
        let now = stamps(&self.files);
        let is_whole = now.iter().all(Option::is_some);
        is_whole && std::mem::replace(&mut self.seen, now.clone()) != now
    }
}

fn stamps(files: &BTreeSet<PathBuf>) -> Vec<Stamp> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let it = fs::metadata(path).ok()?;
    Some([it.dev(), it.ino(), it.mtime() as u64, it.mtime_nsec() as u64, it.len()])
}
