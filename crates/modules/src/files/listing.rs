//! Reads a folder, for `autoindex` and `random_index`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use foregate_core::{Exchange, Level, log};
use foregate_net::door;
use rustix::fs::{Dir, OFlags, lstat, stat};
use rustix::io::Errno;

use super::Settings;
use super::open::{Facts, Failure};
use super::serve::{log_crit, text};

/// What is in a folder.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// Of what a link leads to; of the link itself where it leads nowhere.
    pub(super) facts: Facts,
}

/// The entries of the folder that the URI names, in no order, without those whose names begin with a dot.
///
/// # Errors
/// The status to answer with; it has been logged.
pub(super) fn read(on: &Settings, ex: &mut Exchange) -> Result<Vec<Entry>, u16> {
    let path = on.root.map(ex).ok_or(500_u16)?.path;
    let folder = path.strip_suffix(b"/").filter(|it| !it.is_empty()).unwrap_or(&path);
    let opened = door::open_to_read(Path::new(OsStr::from_bytes(folder)), OFlags::DIRECTORY);
    let entries = opened.and_then(Dir::new);
    let entries = entries.map_err(|why| refuse(ex, folder, Failure { call: "opendir()", why }))?;
    let mut found = Vec::new();
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name().to_bytes().to_vec(),
            Err(why) => {
                return Err(broken(ex, folder, Failure { call: "readdir()", why }));
            }
        };
        if name.starts_with(b".") {
            continue;
        }
        let path = [folder, b"/", &name].concat();
        match facts(&path) {
            Ok(facts) => found.push(Entry { name, facts }),
            Err(failure) if failure.why == Errno::ACCESS => _ = broken(ex, &path, failure),
            Err(failure) => return Err(broken(ex, &path, failure)),
        }
    }
    Ok(found)
}

fn facts(path: &[u8]) -> Result<Facts, Failure> {
    let found = match stat(path) {
        Err(Errno::NOENT | Errno::LOOP) => lstat(path).map_err(|why| Failure { call: "lstat()", why }),
        found => found.map_err(|why| Failure { call: "stat()", why }),
    };
    found.map(|it| Facts::of(&it))
}

fn refuse(ex: &Exchange, folder: &[u8], failure: Failure) -> u16 {
    let (status, level) = match failure {
        it if it.is_absence() => (404, Level::Error),
        it if it.why == Errno::ACCESS => (403, Level::Error),
        _ => (500, Level::Crit),
    };
    log!(ex, level, "{} \"{}\" failed{}", failure.call, text(folder), failure.reason());
    status
}

fn broken(ex: &Exchange, path: &[u8], failure: Failure) -> u16 {
    log_crit(ex, path, failure);
    500
}
