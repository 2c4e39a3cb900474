//! `index` and `random_index`: the file that stands for a folder, reached by an internal redirect.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Exchange, Flow, Level, Stop, log};
use rustix::io::Errno;

use super::open::{Failure, Kind, look};
use super::serve::{log_crit, text};
use super::{Settings, listing, path};

/// Redirects to the first of the names that exists in the folder, or to one that is absolute without looking.
pub(super) fn named(on: &Settings, ex: &mut Exchange) -> Flow {
    let mut folder_exists = false;
    for name in &on.index {
        let name = match name.as_constant() {
            Some(name) => name.to_vec(),
            None => name.fill_new(ex),
        };
        if name.starts_with(b"/") {
            return Break(Stop::Redirect { uri: name, args: ex.args.clone() });
        }
        let Some(path::Mapped { mut path, .. }) = on.root.map(ex) else { return Break(Stop::status(500)) };
        let folder_len = path.len();
        path.extend_from_slice(&name);
        match look(on, ex, &path) {
            Ok(_) => return Break(to_name(ex, &name)),
            Err(failure) if failure.is_link() => return Break(Stop::status(403)),
            Err(failure) => match failure.why {
                Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ACCESS | Errno::INVAL => {
                    return Break(fail(on, ex, &path, failure));
                }
                _ => {
                    if !folder_exists {
                        test_folder(on, ex, &path, folder_len)?;
                        folder_exists = true;
                    }
                    if failure.why != Errno::NOENT {
                        return Break(broken(ex, &path, failure));
                    }
                }
            },
        }
    }
    Continue(())
}

/// Redirects to any one of the files in the folder; names that begin with a dot are left out.
pub(super) fn random(on: &Settings, ex: &mut Exchange) -> Flow {
    let mut names = match listing::read(on, ex) {
        Ok(entries) => entries,
        Err(status) => return Break(Stop::status(status)),
    };
    names.retain(|it| it.facts.kind == Kind::File);
    if names.is_empty() {
        return Continue(());
    }
    // The standard library's hash keys are random, and no more is asked of this number.
    let number = RandomState::new().hash_one(names.len());
    let chosen = names.swap_remove((number % names.len() as u64) as usize);
    Break(to_name(ex, &chosen.name))
}

fn to_name(ex: &Exchange, name: &[u8]) -> Stop {
    Stop::Redirect { uri: [&*ex.uri, name].concat(), args: ex.args.clone() }
}

/// A missing file in a missing folder is a 404; in an existing one it only means the next name.
fn test_folder(on: &Settings, ex: &mut Exchange, path: &[u8], folder_len: usize) -> Flow {
    let folder = match &path[..folder_len] {
        [_, ..] if folder_len > 1 && path[folder_len - 1] == b'/' => &path[..folder_len - 1],
        whole => whole,
    };
    match look(on, ex, folder) {
        Ok(facts) if facts.kind == Kind::Folder => Continue(()),
        Ok(_) => {
            log!(ex, Level::Alert, "\"{}\" is not a directory", text(path));
            Break(Stop::status(500))
        }
        Err(failure) if failure.is_link() => Break(Stop::status(403)),
        Err(failure) if failure.why == Errno::NOENT => Break(fail(on, ex, path, failure)),
        // It may be searched but not looked at.
        Err(failure) if failure.why == Errno::ACCESS => Continue(()),
        Err(failure) => Break(broken(ex, folder, failure)),
    }
}

fn fail(on: &Settings, ex: &Exchange, path: &[u8], failure: Failure) -> Stop {
    if failure.why == Errno::ACCESS {
        log!(ex, Level::Error, "\"{}\" is forbidden{}", text(path), failure.reason());
        return Stop::status(403);
    }
    if on.log_not_found {
        log!(ex, Level::Error, "\"{}\" is not found{}", text(path), failure.reason());
    }
    Stop::status(404)
}

fn broken(ex: &Exchange, path: &[u8], failure: Failure) -> Stop {
    log_crit(ex, path, failure);
    Stop::status(500)
}
