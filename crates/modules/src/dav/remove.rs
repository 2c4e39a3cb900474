//! `DELETE`: files, and folders with all that is in them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use foregate_core::{Exchange, Level, Reply, log};
use rustix::io::Errno;

use super::{Depth, Settings, depth, done, fail, has_body, path_of};

/// Folders in folders that one request enters: paths of 4,096 bytes go no deeper.
pub(super) const TREE_DEPTH_MAX: u32 = 2048;

pub(super) fn delete(on: &Settings, ex: &mut Exchange) -> Result<Reply, u16> {
    if has_body(ex) {
        log!(ex, Level::Error, "DELETE with body is unsupported");
        return Err(415);
    }
    let parts = ex.uri.strip_suffix(b"/").unwrap_or(&ex.uri).iter().filter(|it| **it == b'/').count() as u64;
    if parts < on.min_delete_depth {
        log!(ex, Level::Error, "insufficient URI depth:{parts} to DELETE");
        return Err(409);
    }
    let path = path_of(ex)?;
    let path = Path::new(OsStr::from_bytes(&path));
    let is_folder = match fs::symlink_metadata(path) {
        Ok(facts) => facts.is_dir(),
        Err(why) => {
            let missing = if Errno::from_io_error(&why) == Some(Errno::NOTDIR) { 409 } else { 404 };
            return Err(fail(ex, &why, missing, "lstat()", path));
        }
    };
    match (is_folder, ex.uri.ends_with(b"/")) {
        (true, false) => {
            log!(ex, Level::Error, "DELETE \"{}\" failed (21: Is a directory)", path.display());
            return Err(409);
        }
        (false, true) => {
            let why = Errno::NOTDIR.into();
            return Err(fail(ex, &why, 409, "lstat()", path));
        }
        (true, true) if depth(ex, Depth::Infinity) != Depth::Infinity => {
            log!(ex, Level::Error, "\"Depth\" header must be infinity");
            return Err(400);
        }
        (false, false) if !matches!(depth(ex, Depth::Zero), Depth::Zero | Depth::Infinity) => {
            log!(ex, Level::Error, "\"Depth\" header must be 0 or infinity");
            return Err(400);
        }
        _ => (),
    }
    remove(ex, path, is_folder)?;
    Ok(done(204))
}

/// Removes a file or a folder with all that is in it. What of it cannot be removed is logged.
pub(super) fn remove(ex: &Exchange, path: &Path, is_folder: bool) -> Result<(), u16> {
    if !is_folder {
        return fs::remove_file(path).map_err(|why| fail(ex, &why, 404, "unlink()", path));
    }
    empty(ex, path, TREE_DEPTH_MAX)?;
    fs::remove_dir(path).map_err(|why| fail(ex, &why, 404, "rmdir()", path))
}

/// Links are removed, never followed.
fn empty(ex: &Exchange, folder: &Path, depth_left: u32) -> Result<(), u16> {
    if depth_left == 0 {
        return Err(500);
    }
    let entries = fs::read_dir(folder).map_err(|why| fail(ex, &why, 500, "opendir()", folder))?;
    for entry in entries {
        let entry = entry.map_err(|why| fail(ex, &why, 500, "readdir()", folder))?;
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        if !is_folder {
            _ = fs::remove_file(&path).map_err(|why| fail(ex, &why, 404, "unlink()", &path));
        } else if empty(ex, &path, depth_left - 1).is_ok() {
            _ = fs::remove_dir(&path).map_err(|why| fail(ex, &why, 404, "rmdir()", &path));
        }
    }
    Ok(())
}
