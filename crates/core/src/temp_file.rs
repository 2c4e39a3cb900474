//! Files for what does not fit into memory: request bodies and answers that wait for slow clients.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foregate_conf::{Error, Node, Word, value};

use crate::module::Compile;

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

/// The arguments of a directive that names such a folder: `path [level1 [level2 [level3]]]`.
#[derive(Clone, Debug)]
pub struct TempPath {
    path: Word,
    levels: Vec<usize>,
}

/// nginx's longest name of a level's folder.
const LEVEL_CHARS_MAX: u64 = 3;

impl TempPath {
    /// # Errors
    /// A level that is no number from 1 to 3.
    pub fn read(node: &Node) -> Result<Self, Error> {
        let level = |word: &Word| {
            let level = value::number(word).filter(|it| (1..=LEVEL_CHARS_MAX).contains(it));
            level.map(|it| it as usize).ok_or_else(|| {
                let what = format!("invalid value \"{word}\"");
                Error::at(word.span, what).advise("the length of a folder's name: 1, 2 or 3")
            })
        };
        let levels = node.args[1..].iter().map(level).collect::<Result<_, _>>()?;
        Ok(Self { path: node.args[0].clone(), levels })
    }

    /// The folder, made known to the master, who creates it.
    pub fn resolve(written: Option<&Self>, path: &str, levels: &[usize], cx: &mut Compile<'_>) -> TempDir {
        let dir = match written {
            Some(written) => TempDir { path: cx.full_path(&written.path), levels: written.levels.clone() },
            None => TempDir { path: by_default(path, cx), levels: levels.to_vec() },
        };
        cx.temp_dirs.push(dir.path.clone());
        dir
    }
}

/// Debian's place for temporary files under Debian's prefix; nginx's own, relative to the prefix, under another.
const DEFAULT_PREFIX: &str = "/usr/share/nginx";
const DEFAULT_PLACE: &str = "/var/lib/nginx";

/// `client_body_temp` under the prefix, or `/var/lib/nginx/body`.
fn by_default(path: &str, cx: &Compile<'_>) -> PathBuf {
    if cx.prefix != Path::new(DEFAULT_PREFIX) {
        return cx.full_path(path);
    }
    match path.strip_suffix("_temp") {
        Some("client_body") => Path::new(DEFAULT_PLACE).join("body"),
        Some(name) => Path::new(DEFAULT_PLACE).join(name),
        None => Path::new(DEFAULT_PLACE).join(path),
    }
}

/// A file of our own, removed with this value unless it is kept.
pub struct TempFile {
    pub file: Arc<File>,
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
                Ok(file) => return Ok(Self { file: Arc::new(file), path, kept: false }),
                Err(why) if why.kind() == ErrorKind::AlreadyExists && tries < TRIES_MAX => tries += 1,
                Err(why) => return Err(why),
            }
        }
    }

    /// Creates a file of this very name, and its folder where that is missing.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written.
    pub fn create_at(path: PathBuf) -> io::Result<Self> {
        let file = Arc::new(open(&path)?);
        Ok(Self { file, path, kept: false })
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
