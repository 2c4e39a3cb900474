//! Certificates and keys that change on disk: found by looking, since whoever renews them may not tell us.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use foregate_conf::{Files, OsFiles};
use foregate_net::FileVersion;

/// How often it is looked. A thousand files take a millisecond or two.
const EVERY: Duration = Duration::from_secs(5);

/// The files of one configuration and what they were like when they were looked at last.
pub(crate) struct Watch {
    files: BTreeSet<PathBuf>,
    /// `None`: nobody has looked yet.
    seen: Option<Vec<FileVersion>>,
    next: Instant,
}

impl Watch {
    pub(crate) fn over(files: BTreeSet<PathBuf>) -> Self {
        Self { files, seen: None, next: Instant::now() + EVERY }
    }

    pub(crate) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// When to look next; never, if there is nothing to look at.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        (!self.files.is_empty()).then_some(self.next)
    }

    /// Whether a file is another than when this was last asked; the first time, than it was in `loaded`, since it may
    /// have been replaced while it was read. One that is gone may be about to be replaced.
    pub(crate) fn has_changed(&mut self, loaded: &dyn Files) -> bool {
        self.next = Instant::now() + EVERY;
        let versions = self.files.iter().map(|path| FileVersion::at(path).ok());
        let Some(now) = versions.collect::<Option<Vec<_>>>() else { return false };
        let is_other = |path: &PathBuf| OsFiles.read(path).ok() != loaded.read(path).ok();
        let changed = match &self.seen {
            Some(seen) => *seen != now,
            None => self.files.iter().any(is_other),
        };
        self.seen = Some(now);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_conf::Strings;
    use std::fs;

    #[test]
    fn what_changes_is_found_also_if_it_changed_while_it_was_read() {
        let folder = std::env::temp_dir().join(format!("foregate-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("cert.pem");
        let loaded = Strings::new([(path.display().to_string(), "read".to_owned())]);
        let watch = || Watch::over([path.clone()].into());
        fs::write(&path, "read").unwrap();
        let mut same = watch();
        assert!(!same.has_changed(&loaded) && !same.has_changed(&loaded));
        fs::write(&path, "written later").unwrap();
        assert!(same.has_changed(&loaded) && !same.has_changed(&loaded), "said once");
        assert!(watch().has_changed(&loaded), "it was replaced before anybody looked");
        fs::remove_file(&path).unwrap();
        assert!(!same.has_changed(&loaded), "the next one is on its way");
        fs::remove_dir_all(&folder).unwrap();
    }
}
