//! Landlock (landlock(7)): opening, making and removing files only where it was said so.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::sys;

/// What a process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and folders that are read; `None`: all.
    pub reads: Option<Vec<PathBuf>>,
    /// Folders in which files are made, written, moved and removed.
    pub writes: Vec<PathBuf>,
}

/// What the C library and the system's settings need, none of it secret to this user: name look-ups load libraries and
/// read their settings, time zones, the authorities everybody trusts, how many processors we may use.
const SYSTEM: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/dev/urandom",
    "/dev/null",
    "/proc/self",
    "/proc/sys",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Rights of LANDLOCK_ACCESS_FS_…, with the version of Landlock that has them where it is not the first.
mod right {
    pub(super) const EXECUTE: u64 = 1;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const REMOVE_DIR: u64 = 1 << 4;
    pub(super) const REMOVE_FILE: u64 = 1 << 5;
    pub(super) const MAKE_DIR: u64 = 1 << 7;
    pub(super) const MAKE_REG: u64 = 1 << 8;
    pub(super) const MAKE_SYM: u64 = 1 << 12;
    /// All of the first version: making devices, sockets and pipes among them.
    pub(super) const FIRST: u64 = (1 << 13) - 1;
    pub(super) const REFER_2: u64 = 1 << 13;
    pub(super) const TRUNCATE_3: u64 = 1 << 14;
    pub(super) const IOCTL_DEV_5: u64 = 1 << 15;
}

const READ: u64 = right::READ_FILE | right::READ_DIR;
const WRITE: u64 = READ
    | right::WRITE_FILE
    | right::REMOVE_DIR
    | right::REMOVE_FILE
    | right::MAKE_DIR
    | right::MAKE_REG
    | right::MAKE_SYM
    | right::REFER_2
    | right::TRUNCATE_3;
/// Rights that a rule about anything but a folder may have.
const OF_FILES: u64 = right::EXECUTE | right::WRITE_FILE | right::READ_FILE | right::TRUNCATE_3;

/// Confines this thread, and those it starts from now on, to what is said. Returns Landlock's version.
///
/// What does not exist is left out of `reads`; of a folder to write that does not exist the nearest above it counts.
///
/// # Errors
/// The kernel has no Landlock (before Linux 5.13, or it was not chosen at boot).
pub fn confine_files(reach: &Reach) -> io::Result<u32> {
    let version = sys::landlock_version()?;
    let handled = handled(version);
    let rules = sys::landlock_ruleset(handled)?;
    let allow = |path: &Path, rights: u64| allow(&rules, path, rights & handled);
    match &reach.reads {
        None => allow(Path::new("/"), READ)?,
        Some(reads) => {
            let system = SYSTEM.iter().map(Path::new);
            system.chain(reads.iter().map(PathBuf::as_path)).try_for_each(|path| allow(path, READ))?;
        }
    }
    allow(Path::new("/dev/null"), READ | right::WRITE_FILE)?;
    for path in &reach.writes {
        allow(path.ancestors().find(|it| it.exists()).unwrap_or(path), WRITE)?;
    }
    sys::landlock_restrict(rules.as_fd())?;
    Ok(version)
}

/// Confines this thread, and those it starts from now on, to reading.
///
/// # Errors
/// The kernel has no Landlock.
pub fn deny_writing() -> io::Result<()> {
    let handled = handled(sys::landlock_version()?);
    let rules = sys::landlock_ruleset(handled)?;
    allow(&rules, Path::new("/"), READ & handled)?;
    sys::landlock_restrict(rules.as_fd())
}

fn handled(version: u32) -> u64 {
    let since = |first: u32, right: u64| if version >= first { right } else { 0 };
    right::FIRST | since(2, right::REFER_2) | since(3, right::TRUNCATE_3) | since(5, right::IOCTL_DEV_5)
}

/// What cannot be opened to be named cannot be opened to be read either.
fn allow(rules: &OwnedFd, path: &Path, rights: u64) -> io::Result<()> {
    let there: OwnedFd = match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => return Ok(()),
        opened => opened?,
    };
    let is_folder = FileType::from_raw_mode(fstat(&there)?.st_mode) == FileType::Directory;
    let rights = if is_folder { rights } else { rights & OF_FILES };
    sys::landlock_allow(rules.as_fd(), there.as_fd(), rights)
}
