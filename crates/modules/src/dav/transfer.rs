//! `COPY` and `MOVE`: to the path that `Destination` names.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use foregate_core::{Exchange, Failed, Level, Method, Reply, folder_access, log, rename};
use foregate_net::sys::errno_text;
use foregate_wire::uri;
use rustix::io::Errno;

use super::remove::{TREE_DEPTH_MAX, remove};
use super::{Depth, Settings, depth, done, fail, has_body, path_of, text};

pub(super) fn copy_or_move(on: &Settings, ex: &mut Exchange) -> Result<Reply, u16> {
    if has_body(ex) {
        log!(ex, Level::Error, "COPY and MOVE with body are unsupported");
        return Err(415);
    }
    let is_folder = ex.uri.ends_with(b"/");
    let to_uri = destination(ex)?;
    check_depth(ex)?;
    let overwrite = overwrite(ex)?;
    let from = path_of(ex)?;
    let own = std::mem::replace(&mut ex.uri, to_uri);
    let to = path_of(ex);
    ex.uri = own;
    let to = to?;
    check_places(ex, &from, &to, is_folder)?;
    let (from, to) = (Path::new(OsStr::from_bytes(&from)), Path::new(OsStr::from_bytes(&to)));
    let before = target(ex, to, is_folder, overwrite)?;
    let facts = fs::symlink_metadata(from).map_err(|why| fail(ex, &why, 404, "lstat()", from))?;
    if !facts.is_dir() {
        return match is_folder {
            true => Err(fail(ex, &Errno::NOTDIR.into(), 404, "lstat()", from)),
            false => file(on, ex, from, to, &facts),
        };
    }
    if !is_folder {
        log!(ex, Level::Error, "\"{}\" is collection", text(&ex.uri));
        return Err(400);
    }
    if let Some(before) = before {
        remove(ex, to, before.is_dir())?;
    }
    folder(ex, from, to, &facts)
}

/// The URI that `Destination` names: of this host, decoded, a folder's where the request's own is.
fn destination(ex: &Exchange) -> Result<Vec<u8>, u16> {
    let Some(value) = ex.field(b"destination") else {
        log!(ex, Level::Error, "client sent no \"Destination\" header");
        return Err(400);
    };
    let invalid = || {
        log!(ex, Level::Error, "client sent invalid \"Destination\" header: \"{}\"", text(value));
        400_u16
    };
    let path = if value.starts_with(b"/") { value } else { path_on_this_host(ex, value, &invalid)? };
    let uri = uri::split_foreign(path).map_err(|_| invalid())?.0.into_owned();
    if ex.uri.ends_with(b"/") != value.ends_with(b"/") {
        log!(
            ex,
            Level::Error,
            "both URI \"{}\" and \"Destination\" URI \"{}\" should be either collections or non-collections",
            text(&ex.uri),
            text(value)
        );
        return Err(409);
    }
    let cycle = ex.cycle.clone();
    let covered = crate::settings(&*cycle, ex.location).files.as_ref().and_then(|it| it.covered());
    if covered.is_some_and(|it| uri.len() < it) {
        return Err(invalid());
    }
    Ok(uri)
}

/// What follows scheme and host of an absolute URI.
fn path_on_this_host<'a>(ex: &Exchange, value: &'a [u8], invalid: &dyn Fn() -> u16) -> Result<&'a [u8], u16> {
    if ex.host.is_empty() {
        log!(ex, Level::Error, "client sent no \"Host\" header");
        return Err(400);
    }
    let scheme: &[u8] = if ex.conn.tls.is_some() { b"https://" } else { b"http://" };
    let rest = value.strip_prefix(scheme).ok_or_else(invalid)?;
    let Some(rest) = rest.strip_prefix(&*ex.host) else {
        log!(
            ex,
            Level::Error,
            "\"Destination\" URI \"{}\" is handled by different repository than the source URI",
            text(value)
        );
        return Err(400);
    };
    let slash = rest.iter().position(|it| *it == b'/').ok_or_else(invalid)?;
    Ok(&rest[slash..])
}

fn check_depth(ex: &Exchange) -> Result<(), u16> {
    match (depth(ex, Depth::Infinity), ex.method) {
        (Depth::Infinity, _) | (Depth::Zero, Method::Copy) => return Ok(()),
        (_, Method::Copy) => log!(ex, Level::Error, "\"Depth\" header must be 0 or infinity"),
        _ => log!(ex, Level::Error, "\"Depth\" header must be infinity"),
    }
    Err(400)
}

fn overwrite(ex: &Exchange) -> Result<bool, u16> {
    match ex.field(b"overwrite") {
        None | Some(b"T" | b"t") => Ok(true),
        Some(b"F" | b"f") => Ok(false),
        Some(other) => {
            log!(ex, Level::Error, "client sent invalid \"Overwrite\" header: \"{}\"", text(other));
            Err(400)
        }
    }
}

/// Nothing is put onto itself, and no folder into itself or in the place of one that it is in.
fn check_places(ex: &Exchange, from: &[u8], to: &[u8], is_folder: bool) -> Result<(), u16> {
    let (own, other) = (text(&ex.uri), text(ex.field(b"destination").unwrap_or_default()));
    if from == to {
        log!(
            ex,
            Level::Error,
            "both URI \"{own}\" and \"Destination\" URI \"{other}\" point to the same location"
        );
        return Err(403);
    }
    let within = |outer: &[u8], inner: &[u8]| inner.strip_prefix(outer).is_some_and(|it| it.starts_with(b"/"));
    if is_folder && (within(from, to) || within(to, from)) {
        let method = text(&ex.method_name);
        log!(ex, Level::Error, "\"{own}\" could not be {method}ed to collection \"{other}\"");
        return Err(403);
    }
    Ok(())
}

/// What there is already at the destination, and may be overwritten.
fn target(ex: &Exchange, to: &Path, is_folder: bool, overwrite: bool) -> Result<Option<Metadata>, u16> {
    let facts = match fs::symlink_metadata(to) {
        Ok(facts) => facts,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(fail(ex, &why, 404, "lstat()", to)),
    };
    if facts.is_dir() && !is_folder {
        let (own, method) = (text(&ex.uri), text(&ex.method_name));
        let other = text(ex.field(b"destination").unwrap_or_default());
        log!(ex, Level::Error, "\"{own}\" could not be {method}ed to collection \"{other}\"");
        return Err(409);
    }
    if !overwrite {
        log!(ex, Level::Error, "\"{}\" could not be created (17: File exists)", to.display());
        return Err(412);
    }
    Ok(Some(facts))
}

fn file(on: &Settings, ex: &Exchange, from: &Path, to: &Path, facts: &Metadata) -> Result<Reply, u16> {
    let log = |Failed { call, path, why }: Failed| {
        log!(ex, Level::Crit, "{call} \"{}\" failed ({})", path.display(), errno_text(&why));
        500_u16
    };
    match (ex.method, facts.is_symlink().then(|| fs::metadata(from))) {
        (Method::Move, _) => rename(from, to, Some(folder_access(on.access))),
        (_, Some(Ok(facts))) => copy(from, to, &facts),
        (_, Some(Err(why))) => return Err(fail(ex, &why, 404, "stat()", from)),
        _ => copy(from, to, facts),
    }
    .map_err(log)?;
    Ok(done(204))
}

fn folder(ex: &Exchange, from: &Path, to: &Path, facts: &Metadata) -> Result<Reply, u16> {
    if ex.method == Method::Move && fs::rename(from, to).is_ok() {
        return Ok(done(201));
    }
    // Its own may leave us out; they are set once all is in it.
    let made = DirBuilder::new().mode(facts.permissions().mode() & MODE_BITS).create(to);
    made.map_err(|why| fail(ex, &why, 404, "mkdir()", to))?;
    copy_tree(ex, from, to, TREE_DEPTH_MAX)?;
    if ex.method == Method::Move {
        remove(ex, from, true)?;
    }
    Ok(done(201))
}

/// Permissions without what makes programs run as somebody else.
const MODE_BITS: u32 = 0o777;

/// What of it cannot be copied is logged. Links, pipes and devices are left out.
fn copy_tree(ex: &Exchange, from: &Path, to: &Path, depth_left: u32) -> Result<(), u16> {
    if depth_left == 0 {
        return Err(500);
    }
    let entries = fs::read_dir(from).map_err(|why| fail(ex, &why, 500, "opendir()", from))?;
    for entry in entries {
        let entry = entry.map_err(|why| fail(ex, &why, 500, "readdir()", from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let facts = match entry.metadata() {
            Ok(facts) => facts,
            Err(why) => {
                _ = fail(ex, &why, 404, "lstat()", &from);
                continue;
            }
        };
        if facts.is_file() {
            if let Err(Failed { call, path, why }) = copy(&from, &to, &facts) {
                _ = fail(ex, &why, 404, call, &path);
            }
        } else if facts.is_dir() {
            let made = DirBuilder::new().mode(folder_access(facts.permissions().mode() & MODE_BITS)).create(&to);
            _ = made.map_err(|why| fail(ex, &why, 404, "mkdir()", &to));
            _ = copy_tree(ex, &from, &to, depth_left - 1);
            _ = File::open(&to).and_then(|it| it.set_times(times(&facts)));
        }
    }
    Ok(())
}

/// A file with the permissions and the time of the one that it is copied from.
fn copy(from: &Path, to: &Path, facts: &Metadata) -> Result<(), Failed> {
    let failed = |call, path: &Path| {
        let path = path.to_owned();
        move |why| Failed { call, path, why }
    };
    let mut source = File::open(from).map_err(failed("open()", from))?;
    let mode = facts.permissions().mode() & MODE_BITS;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(mode);
    let mut copy = options.open(to).map_err(failed("open()", to))?;
    io::copy(&mut source, &mut copy).map_err(failed("write()", to))?;
    copy.set_times(times(facts)).map_err(failed("utimes()", to))
}

fn times(facts: &Metadata) -> FileTimes {
    facts.modified().map_or_else(|_| FileTimes::new(), |it| FileTimes::new().set_modified(it).set_accessed(it))
}
