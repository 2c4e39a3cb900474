//! `disable_symlinks`: opens a path component by component, so that no symbolic link is followed unseen.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Template};
use foregate_net::door;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::{Errno, Result};

/// As written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) rule: Rule,
    pub(super) from: Option<Word>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Off,
    /// No component may be a link.
    On,
    /// A link must belong to the owner of what it leads to.
    IfNotOwner,
}

impl Rule {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "on" => Self::On,
            "if_not_owner" => Self::IfNotOwner,
            _ => return None,
        })
    }
}

/// Compiled.
pub(super) struct Symlinks {
    rule: Rule,
    from: Option<Template>,
}

/// What holds for one path: the rule, and how many bytes of the path are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) rule: Rule,
    trusted: usize,
}

impl Symlinks {
    pub(super) fn compile(written: Option<&Written>, cx: &mut Compile<'_>) -> std::result::Result<Self, Error> {
        let Some(written) = written else { return Ok(Self { rule: Rule::Off, from: None }) };
        let from = written.from.as_ref().map(|it| cx.template(it)).transpose()?;
        Ok(Self { rule: written.rule, from })
    }

    /// What holds for a path. The `from=` part is trusted where it ends between two components.
    pub(super) fn guard(&self, ex: &mut Exchange, path: &[u8]) -> Guard {
        let all = Guard { rule: self.rule, trusted: 0 };
        let Some(from) = &self.from else { return all };
        let from = from.fill_new(ex);
        if from.is_empty() || !path.starts_with(&from) {
            return all;
        }
        match path.get(from.len()) {
            None => Guard { rule: Rule::Off, trusted: 0 },
            Some(b'/') => Guard { trusted: from.len(), ..all },
            _ if from.ends_with(b"/") => Guard { trusted: from.len() - 1, ..all },
            _ => all,
        }
    }
}

/// How the components above the last are opened: only to go on from them.
const STEP: OFlags = OFlags::PATH.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens an absolute path for reading.
///
/// # Errors
/// A last component that is a link is `ELOOP`, as is any with another owner under `if_not_owner`; a link above the
/// last is `ENOTDIR`, which is what Linux answers when one goes on from a link itself.
pub(super) fn open_guarded(path: &[u8], guard: Guard, flags: OFlags) -> Result<OwnedFd> {
    if guard.rule == Rule::Off {
        return door::open_to_read(Path::new(OsStr::from_bytes(path)), flags);
    }
    let trusted = if guard.trusted == 0 { b"/" } else { &path[..guard.trusted] };
    let mut at = open(trusted, STEP, Mode::empty())?;
    let mut rest = &path[guard.trusted..];
    loop {
        rest = &rest[rest.iter().take_while(|byte| **byte == b'/').count()..];
        let Some(slash) = rest.iter().position(|byte| *byte == b'/') else { break };
        at = step(at.as_fd(), &rest[..slash], guard.rule, STEP)?;
        rest = &rest[slash..];
    }
    match rest {
        // Behind a slash at the end: the last component must be a folder, which is opened once more to be read.
        [] => openat(at, ".", flags, Mode::empty()),
        last => step(at.as_fd(), last, guard.rule, flags),
    }
}

/// The owners are compared even where no link is seen: between the two calls one may have been put there.
fn step(at: BorrowedFd<'_>, name: &[u8], rule: Rule, flags: OFlags) -> Result<OwnedFd> {
    if rule == Rule::On {
        return openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty());
    }
    let fd = openat(at, name, flags, Mode::empty())?;
    let link = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if fstat(&fd)?.st_uid != link.st_uid {
        return Err(Errno::LOOP);
    }
    Ok(fd)
}
