//! The content handler of every location that has no other: a file, or what stands for a folder.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Body, Exchange, FileSlice, Flow, Level, Method, Reply, Stop, log};
use foregate_wire::{date, uri};

use super::open::{Facts, Failure, Kind, Opened, open};
use super::{Settings, directory, path};

/// Answers with what the URI's path names.
pub fn serve(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if !matches!(ex.method, Method::Get | Method::Head | Method::Post) {
        return Break(Stop::status(405));
    }
    if ex.uri.ends_with(b"/") {
        return directory::serve(on, ex);
    }
    let Some(path::Mapped { path, .. }) = on.root.map(ex) else { return Break(Stop::status(500)) };
    let opened = match open(on, ex, &path) {
        Ok(opened) => opened,
        Err(failure) => return Break(fail(on, ex, &path, failure)),
    };
    match (opened.facts.kind, opened.file) {
        (Kind::Folder, _) => Break(add_slash(ex)),
        (Kind::File, Some(_)) if ex.method == Method::Post => Break(Stop::status(405)),
        (Kind::File, Some(file)) => Continue(reply(on, Opened { file: Some(file), ..opened })),
        _ => {
            log!(ex, Level::Crit, "\"{}\" is not a regular file", text(&path));
            Break(Stop::status(404))
        }
    }
}

/// The file beside the one that the URI names, whose name has `suffix` behind it (`page.html.gz`); it is typed as the
/// one that it stands for. `None`: there is none, or it cannot be read, which is logged.
pub fn serve_beside(on: &Settings, ex: &mut Exchange, suffix: &[u8]) -> Option<Reply> {
    let path::Mapped { mut path, .. } = on.root.map(ex)?;
    path.extend_from_slice(suffix);
    match open(on, ex, &path) {
        Ok(opened) => match (opened.facts.kind, opened.file) {
            (Kind::File, Some(file)) => Some(reply(on, Opened { file: Some(file), ..opened })),
            (Kind::Folder, _) => None,
            _ => {
                log!(ex, Level::Crit, "\"{}\" is not a regular file", text(&path));
                None
            }
        },
        Err(failure) => {
            if !failure.is_absence() {
                let level = if failure.is_refusal() { Level::Error } else { Level::Crit };
                log!(ex, level, "{} \"{}\" failed{}", failure.call, text(&path), failure.reason());
            }
            None
        }
    }
}

fn reply(on: &Settings, opened: Opened) -> Reply {
    let Facts { len, mtime, .. } = opened.facts;
    let mut reply = Reply { status: 200, mtime: Some(mtime), ..Reply::default() };
    reply.allow_ranges = true;
    reply.type_by_uri = true;
    reply.fields.push(b"Last-Modified", &date::format(mtime));
    if on.etag {
        let (text, start) = etag(mtime, len);
        reply.fields.push(b"ETag", &text[start..]);
    }
    if let Some(file) = opened.file
        && len > 0
    {
        reply.body = Body::File(FileSlice::new(file, 0, len));
    }
    reply
}

/// Two numbers of 64 bits in hexadecimal, what stands between them and around them.
const ETAG_BYTES_MAX: usize = 2 * 16 + 3;

/// `"60c0de-400"`: when the file was changed and its length, in hexadecimal. It ends where the array does, and begins
/// at the number that is returned with it.
fn etag(mtime: i64, len: u64) -> ([u8; ETAG_BYTES_MAX], usize) {
    let mut text = [b'"'; ETAG_BYTES_MAX];
    let mut at = ETAG_BYTES_MAX - 1;
    for (mut number, before) in [(len, b'-'), (mtime.cast_unsigned(), b'"')] {
        loop {
            at -= 1;
            text[at] = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
            if number == 0 {
                break;
            }
        }
        at -= 1;
        text[at] = before;
    }
    (text, at)
}

/// A folder is named with a slash at the end, so that what its pages name is found in it.
fn add_slash(ex: &Exchange) -> Stop {
    let mut to = Vec::with_capacity(ex.uri.len() + ex.args.len() + 2);
    uri::escape(&ex.uri, uri::Escape::Uri, &mut to);
    to.push(b'/');
    if !ex.args.is_empty() {
        to.push(b'?');
        to.extend_from_slice(&ex.args);
    }
    let mut reply = Reply::status(301);
    reply.fields.push(b"Location", &to);
    reply.into()
}

fn fail(on: &Settings, ex: &Exchange, path: &[u8], failure: Failure) -> Stop {
    let (status, level) = match failure {
        it if it.is_absence() => (404, Level::Error),
        it if it.is_refusal() => (403, Level::Error),
        _ => (500, Level::Crit),
    };
    if status != 404 || on.log_not_found {
        log!(ex, level, "{} \"{}\" failed{}", failure.call, text(path), failure.reason());
    }
    Stop::status(status)
}

/// `open() "…" failed (13: Permission denied)`, for what should not have failed.
pub(super) fn log_crit(ex: &Exchange, path: &[u8], failure: Failure) {
    log!(ex, Level::Crit, "{} \"{}\" failed{}", failure.call, text(path), failure.reason());
}

/// A path as log lines show it.
pub(super) fn text(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_hexadecimal() {
        for (mtime, len) in [(0, 0), (0x60c0_de12, 1024), (-1, u64::MAX), (i64::MAX, 15)] {
            let (text, start) = etag(mtime, len);
            assert_eq!(text[start..], *format!("\"{mtime:x}-{len:x}\"").as_bytes());
        }
    }
}
