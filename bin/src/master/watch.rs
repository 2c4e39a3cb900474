//! Certificates and keys that change on disk: found by looking, since whoever renews them may not tell us.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use foregate_net::FileVersion;

/// How often it is looked. A thousand files take a millisecond or two.
const EVERY: Duration = Duration::from_secs(5);

/// The files of one configuration and what they were like when it was loaded.
pub(crate) struct Watch {
    files: BTreeSet<PathBuf>,
    /// `None`: there is no such file.
    seen: Vec<Option<FileVersion>>,
    next: Instant,
}

impl Watch {
    pub(crate) fn over(files: BTreeSet<PathBuf>) -> Self {
        let seen = versions(&files);
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
        let now = versions(&self.files);
        let changed = now.iter().all(Option::is_some) && now != self.seen;
        if changed {
            self.seen = now;
        }
        changed
    }
}

fn versions(files: &BTreeSet<PathBuf>) -> Vec<Option<FileVersion>> {
    files.iter().map(|path| FileVersion::at(path).ok()).collect()
}
