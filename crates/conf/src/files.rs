//! The one door to the files that a configuration names: real, recorded, replayed, or given as strings.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::glob;

/// Reads files and resolves patterns.
pub trait Files {
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The existing paths that match a glob(3) pattern, sorted by bytes; none is no error.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        Ok(glob::on_disk(pattern))
    }
}

/// Another door, remembering what came through it.
pub struct Recording<'a> {
    behind: &'a dyn Files,
    kept: RefCell<Replay>,
}

impl<'a> Recording<'a> {
    pub fn new(behind: &'a dyn Files) -> Recording<'a> {
        Recording { behind, kept: RefCell::default() }
    }

    /// What was asked and answered so far, failures and patterns included.
    pub fn into_replay(self) -> Replay {
        self.kept.into_inner()
    }
}

/// A question asked twice has one answer: what is recorded is what was seen.
impl Files for Recording<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(kept) = self.kept.borrow().files.get(path) {
            return again(Some(kept));
        }
        let answer = self.behind.read(path);
        let kept = answer.as_ref().map(Vec::clone).map_err(errno);
        self.kept.borrow_mut().files.insert(path.to_owned(), kept);
        answer
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let answer = self.behind.glob(pattern);
        let kept = answer.as_ref().map(Vec::clone).map_err(errno);
        self.kept.borrow_mut().globs.insert(pattern.to_owned(), kept);
        answer
    }
}

/// `ENOENT`: what a replay answers to a question that was not asked when it was recorded.
const NOT_FOUND: i32 = 2;

/// `EIO`: a failure that had no number.
const IO_ERROR: i32 = 5;

/// What a [`Recording`] kept: the same answers again, without touching a file. Goes from process to process as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    files: BTreeMap<PathBuf, Result<Vec<u8>, i32>>,
    globs: BTreeMap<String, Result<Vec<PathBuf>, i32>>,
}

impl Files for Replay {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        again(self.files.get(path))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        again(self.globs.get(pattern))
    }
}

impl Replay {
    /// Every count and length is a `u64` in little-endian order, every text its length and its bytes, every answer
    /// a `u64` that is zero or the error's number, then the value if it is zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(&mut out, self.files.len());
        for (path, answer) in &self.files {
            put_bytes(&mut out, path.as_os_str().as_bytes());
            put_answer(&mut out, answer, |out, text| put_bytes(out, text));
        }
        put_count(&mut out, self.globs.len());
        for (pattern, answer) in &self.globs {
            put_bytes(&mut out, pattern.as_bytes());
            put_answer(&mut out, answer, |out, paths| {
                put_count(out, paths.len());
                paths.iter().for_each(|path| put_bytes(out, path.as_os_str().as_bytes()));
            });
        }
        out
    }

    /// The inverse of [`Replay::to_bytes`]; `None` where the bytes are not its work.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Replay> {
        let from = &mut bytes;
        let mut replay = Replay::default();
        for _ in 0..take_count(from)? {
            let path = take_path(from)?;
            let answer = take_answer(from, |from| take_bytes(from).map(<[u8]>::to_vec))?;
            replay.files.insert(path, answer);
        }
        for _ in 0..take_count(from)? {
            let pattern = String::from_utf8(take_bytes(from)?.to_vec()).ok()?;
            let answer = take_answer(from, |from| {
                let n_paths = take_count(from)?;
                (0..n_paths).map(|_| take_path(from)).collect()
            })?;
            replay.globs.insert(pattern, answer);
        }
        bytes.is_empty().then_some(replay)
    }
}

/// What was recorded, but for the files that are to be read again.
pub struct Renewed<'a> {
    pub recorded: &'a Replay,
    pub again: &'a BTreeSet<PathBuf>,
    pub from: &'a dyn Files,
}

impl Files for Renewed<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.again.contains(path) {
            true => self.from.read(path),
            false => self.recorded.read(path),
        }
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        self.recorded.glob(pattern)
    }
}

/// Files given as strings, for tests.
#[derive(Clone, Debug, Default)]
pub struct Strings(BTreeMap<PathBuf, Vec<u8>>);

impl Strings {
    pub fn new<P: Into<PathBuf>, T: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, T)>) -> Strings {
        Strings(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), text.into());
    }
}

impl Files for Strings {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from_raw_os_error(NOT_FOUND))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let fits = |path: &&PathBuf| glob::path_matches(pattern.as_bytes(), path.as_os_str().as_bytes());
        let mut paths: Vec<PathBuf> = self.0.keys().filter(fits).cloned().collect();
        glob::sort(&mut paths);
        Ok(paths)
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().filter(|code| *code > 0).unwrap_or(IO_ERROR)
}

fn again<T: Clone>(kept: Option<&Result<T, i32>>) -> io::Result<T> {
    match kept {
        Some(answer) => answer.clone().map_err(io::Error::from_raw_os_error),
        None => Err(io::Error::from_raw_os_error(NOT_FOUND)),
    }
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_answer<T>(out: &mut Vec<u8>, answer: &Result<T, i32>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    match answer {
        Ok(value) => {
            put_count(out, 0);
            put(out, value);
        }
        Err(code) => put_count(out, *code as usize),
    }
}

fn take_count(from: &mut &[u8]) -> Option<usize> {
    let (count, rest) = from.split_first_chunk()?;
    *from = rest;
    usize::try_from(u64::from_le_bytes(*count)).ok()
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = take_count(from)?;
    let (bytes, rest) = from.split_at_checked(n)?;
    *from = rest;
    Some(bytes)
}

fn take_path(from: &mut &[u8]) -> Option<PathBuf> {
    let bytes = take_bytes(from)?.to_vec();
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

fn take_answer<T>(from: &mut &[u8], take: impl FnOnce(&mut &[u8]) -> Option<T>) -> Option<Result<T, i32>> {
    match take_count(from)? {
        0 => take(from).map(Ok),
        code => i32::try_from(code).ok().map(Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_answers_as_the_recording_did() {
        let strings = Strings::new([("/a", "one"), ("/b.conf", "two")]);
        let recording = Recording::new(&strings);
        recording.read(Path::new("/a")).unwrap();
        recording.read(Path::new("/gone")).unwrap_err();
        recording.glob("/*.conf").unwrap();
        let replay = recording.into_replay();
        let replay = Replay::from_bytes(&replay.to_bytes()).unwrap();
        assert_eq!(replay.read(Path::new("/a")).unwrap(), b"one");
        assert_eq!(replay.read(Path::new("/gone")).unwrap_err().raw_os_error(), Some(2));
        assert_eq!(replay.read(Path::new("/b.conf")).unwrap_err().raw_os_error(), Some(2));
        assert_eq!(replay.glob("/*.conf").unwrap(), [PathBuf::from("/b.conf")]);
    }

    #[test]
    fn bytes_that_are_no_replay_are_refused() {
        let bytes = Recording::new(&OsFiles).into_replay().to_bytes();
        assert_eq!(Replay::from_bytes(&bytes), Some(Replay::default()));
        assert_eq!(Replay::from_bytes(&bytes[1..]), None);
        assert_eq!(Replay::from_bytes(&[0xff; 16]), None);
    }
}
