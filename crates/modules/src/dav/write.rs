//! `PUT` and `MKCOL`: new files and folders.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use foregate_core::{Exchange, Failed, Level, Reply, folder_access, log};
use foregate_net::sys::errno_text;
use foregate_wire::date;

use super::{Settings, created, done, fail, has_body, path_of};

/// The body goes to a temporary file first, so that nobody ever sees half of it.
pub(super) async fn put(on: &Settings, ex: &mut Exchange) -> Result<Reply, u16> {
    if ex.uri.ends_with(b"/") {
        log!(ex, Level::Error, "cannot PUT to a collection");
        return Err(409);
    }
    if ex.field(b"content-range").is_some() {
        log!(ex, Level::Error, "PUT with range is unsupported");
        return Err(501);
    }
    let body = ex.read_body_into_file().await.map_err(|why| why.status())?;
    let path = path_of(ex)?;
    let path = Path::new(OsStr::from_bytes(&path));
    let before = fs::metadata(path);
    if before.as_ref().is_ok_and(fs::Metadata::is_dir) {
        log!(ex, Level::Error, "\"{}\" could not be created (21: Is a directory)", path.display());
        return Err(409);
    }
    let modified_s = ex.field(b"date").and_then(date::parse);
    if let Err(Failed { call, path, why }) = body.stay(path, on.access, modified_s, on.create_full_put_path) {
        log!(ex, Level::Crit, "{call} \"{}\" failed ({})", path.display(), errno_text(&why));
        return Err(500);
    }
    Ok(if before.is_ok() { done(204) } else { created(ex) })
}

pub(super) fn make_folder(on: &Settings, ex: &mut Exchange) -> Result<Reply, u16> {
    if has_body(ex) {
        log!(ex, Level::Error, "MKCOL with body is unsupported");
        return Err(415);
    }
    if !ex.uri.ends_with(b"/") {
        log!(ex, Level::Error, "MKCOL can create a collection only");
        return Err(409);
    }
    let path = path_of(ex)?;
    let path = Path::new(OsStr::from_bytes(&path));
    match DirBuilder::new().mode(folder_access(on.access)).create(path) {
        Ok(()) => Ok(created(ex)),
        Err(why) => Err(fail(ex, &why, 409, "mkdir()", path)),
    }
}
