//! Files for what does not fit into memory: request bodies and answers that wait for slow clients.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names that are tried before giving up: others may write into the same folder.
const TRIES_MAX: u32 = 1000;

/// Where temporary files go and how they are spread over folders there (`client_body_temp_path`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TempDir {
    pub path: PathBuf,
    /// Characters of the folder names at each level, at most three levels.
    pub levels: Vec<usize>,
}

impl TempDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), levels: Vec::new() }
    }
}

/// A file of our own, removed with this value unless it is kept.
pub struct TempFile {
    pub file: Rc<File>,
    path: PathBuf,
    kept: bool,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl TempFile {
    /// Creates a file with a name of its own, and the folders of its levels where they are missing.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(dir: &TempDir) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = place(dir, &format!("{number:010}"));
            match open(&path) {
                Ok(file) => return Ok(Self { file: Rc::new(file), path, kept: false }),
                Err(why) if why.kind() == ErrorKind::AlreadyExists && tries < TRIES_MAX => tries += 1,
                Err(why) => return Err(why),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file stays when this value goes.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Appends.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Level folders are named by the last characters of the file's name: `…/5/34/0000012345` for levels 1 and 2.
fn place(dir: &TempDir, name: &str) -> PathBuf {
    let mut path = dir.path.clone();
    let mut end = name.len();
    for level in &dir.levels {
        let start = end.saturating_sub(*level);
        path.push(&name[start..end]);
        end = start;
    }
    path.push(name);
    path
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            options.open(path)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spread_over_levels() {
        let dir = TempDir { path: "/t".into(), levels: vec![1, 2] };
        assert_eq!(place(&dir, "0000012345"), Path::new("/t/5/34/0000012345"));
        assert_eq!(place(&TempDir::new("/t"), "0000012345"), Path::new("/t/0000012345"));
    }

    #[test]
    fn a_file_goes_with_its_value() {
        let dir = TempDir::new(std::env::temp_dir().join(format!("foregate-temp-{}", std::process::id())));
        let file = TempFile::create(&dir).expect("because the folder can be made");
        file.write_all(b"x").expect("because it was opened for writing");
        let path = file.path().to_owned();
        assert_eq!(std::fs::read(&path).expect("because it exists"), b"x");
        drop(file);
        assert!(!path.exists());
        _ = std::fs::remove_dir_all(dir.path);
    }
}
