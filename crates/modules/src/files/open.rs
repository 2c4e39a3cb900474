//! Opens what a path names, under `disable_symlinks` and through `open_file_cache`.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use foregate_core::Exchange;
use foregate_net::sys::errno_text;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, stat};
use rustix::io::Errno;

use super::symlinks::{Guard, Rule, open_guarded};
use super::{Settings, cache};

/// What is known of an existing path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) len: u64,
    /// Seconds since the epoch.
    pub(super) mtime: i64,
    /// Its owner may execute it.
    pub(super) executable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A socket, a pipe, a device.
    Other,
}

/// An open file, or a folder, which is not kept open.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) facts: Facts,
    pub(super) file: Option<Arc<File>>,
}

/// Which call failed, and why: `open() "…" failed (2: …)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) call: &'static str,
    pub(super) why: Errno,
}

/// Opens a path for reading.
pub(super) fn open(on: &Settings, ex: &mut Exchange, path: &[u8]) -> Result<Opened, Failure> {
    let guard = on.symlinks.guard(ex, path);
    match &on.cache {
        Some(cache) => cache::open(cache, path, guard),
        None => open_now(path, guard),
    }
}

/// Asks what a path is. With a cache it is opened, so that the one who serves it finds it open.
pub(super) fn look(on: &Settings, ex: &mut Exchange, path: &[u8]) -> Result<Facts, Failure> {
    if on.cache.is_some() {
        return open(on, ex, path).map(|it| it.facts);
    }
    let guard = on.symlinks.guard(ex, path);
    if guard.rule != Rule::Off {
        return open_now(path, guard).map(|it| it.facts);
    }
    stat(path).map(|it| Facts::of(&it)).map_err(|why| Failure { call: "stat()", why })
}

/// `NONBLOCK` so that a pipe without a writer does not stop the thread; files do not heed it.
pub(super) fn open_now(path: &[u8], guard: Guard) -> Result<Opened, Failure> {
    let call = if guard.rule == Rule::Off { "open()" } else { "openat()" };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = open_guarded(path, guard, flags).map_err(|why| Failure { call, why })?;
    let facts = fstat(&fd).map_err(|why| Failure { call: "fstat()", why })?;
    let facts = Facts::of(&facts);
    let file = (facts.kind != Kind::Folder).then(|| Arc::new(File::from(fd)));
    Ok(Opened { facts, file })
}

impl Facts {
    // The types of a `stat` differ between platforms.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            _ => Kind::Other,
        };
        let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
        Self { kind, len: stat.st_size as u64, mtime: stat.st_mtime as i64, executable }
    }
}

impl Failure {
    /// There is nothing of that name. `EINVAL` is a name that no file can have, one with a NUL.
    pub(super) fn is_absence(self) -> bool {
        matches!(self.why, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL)
    }

    /// It is there and not to be had.
    pub(super) fn is_refusal(self) -> bool {
        self.why == Errno::ACCESS || self.is_link()
    }

    /// A symbolic link that `disable_symlinks` does not follow.
    pub(super) fn is_link(self) -> bool {
        matches!(self.why, Errno::LOOP | Errno::MLINK)
    }

    /// The end of a log line: ` (2: No such file or directory)`, with its blank.
    pub(super) fn reason(self) -> impl fmt::Display {
        format!(" ({})", errno_text(&self.why.into()))
    }
}
