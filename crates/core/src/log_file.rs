//! Log files: opened by the privileged master, written by everyone, reopened on USR1.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// A file that lines are appended to. Until it is opened or adopted, lines are dropped.
pub struct LogFile {
    /// Counts the log files of this process from 0: threads keep what they buffer in a table by it.
    id: usize,
    path: PathBuf,
    file: RwLock<Option<File>>,
}

impl LogFile {
    /// The one log file of this path in this process.
    pub fn of(path: &Path) -> Arc<Self> {
        let mut files = registry().lock().unwrap_or_else(PoisonError::into_inner);
        let id = files.len();
        let new = || Arc::new(Self { id, path: path.to_owned(), file: RwLock::new(None) });
        files.entry(path.to_owned()).or_insert_with(new).clone()
    }

    /// The standard error stream, under the name `stderr`.
    pub fn stderr() -> Arc<Self> {
        Self::of(Path::new("stderr"))
    }

    pub fn id(&self) -> usize {
        self.id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens (creating it) or reopens the file by its path.
    pub fn open(&self) -> io::Result<()> {
        if !self.is_stderr() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            self.adopt(file);
        }
        Ok(())
    }

    /// Takes a file that somebody else opened; later lines go there.
    pub fn adopt(&self, file: File) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// A second handle of the open file, for handing over to another process.
    pub fn handle(&self) -> Option<File> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().and_then(|file| file.try_clone().ok())
    }

    pub fn is_open(&self) -> bool {
        self.is_stderr() || self.file.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Appends whole lines with one call. A full disk loses lines, never requests.
    pub fn write(&self, lines: &[u8]) {
        if self.is_stderr() {
            _ = io::stderr().write_all(lines);
            return;
        }
        if let Some(file) = &*self.file.read().unwrap_or_else(PoisonError::into_inner) {
            _ = (&mut &*file).write_all(lines);
        }
    }

    fn is_stderr(&self) -> bool {
        self.path.as_os_str() == "stderr"
    }
}

fn registry() -> &'static Mutex<HashMap<PathBuf, Arc<LogFile>>> {
    static FILES: OnceLock<Mutex<HashMap<PathBuf, Arc<LogFile>>>> = OnceLock::new();
    FILES.get_or_init(Default::default)
}
