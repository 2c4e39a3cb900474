//! Paths and queries of targets: nginx's normal form of a path, escaping and unescaping.

mod escape;
mod normalise;

pub use escape::{Escape, Unescape, escape, escape_html, escaped_count, unescape};
pub use normalise::{InvalidUri, Parts, is_well_formed, normalise};

use std::borrow::Cow;

/// The extension of a normalised path: what follows the last dot of its last segment, unless the segment
/// starts with that dot. Types are looked up by it (nginx `types`).
pub fn extension(path: &[u8]) -> &[u8] {
    let segment = memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..]);
    match memchr::memrchr(b'.', segment) {
        Some(dot) if dot > 0 => &segment[dot + 1..],
        _ => b"",
    }
}

/// Splits at the first `?`: path and query. Without one the query is empty.
pub fn split_args(uri: &[u8]) -> (&[u8], &[u8]) {
    memchr::memchr(b'?', uri).map_or((uri, b""), |at| (&uri[..at], &uri[at + 1..]))
}

/// The raw value of the first argument of that name, in whatever case (`$arg_name`).
pub fn arg<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    args.split(|&byte| byte == b'&').find_map(|arg| {
        let (key, value) = arg.split_at_checked(name.len())?;
        (key.eq_ignore_ascii_case(name)).then(|| value.strip_prefix(b"="))?
    })
}

/// The URI climbs above its root, is empty, or has a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafeUri;

/// Decoded path and raw query of a URI that somebody else names: a field of an upstream (`X-Accel-Redirect`),
/// `Destination`, an include. Not normalised: only what climbs is refused.
pub fn split_foreign(uri: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), UnsafeUri> {
    let (path, args) = split_args(uri);
    if path.is_empty() || climbs(path) {
        return Err(UnsafeUri);
    }
    if !path.contains(&b'%') {
        return Ok((Cow::Borrowed(path), args));
    }
    let mut decoded = Vec::with_capacity(path.len());
    unescape(path, Unescape::All, &mut decoded);
    if climbs(&decoded) { Err(UnsafeUri) } else { Ok((Cow::Owned(decoded), args)) }
}

fn climbs(path: &[u8]) -> bool {
    path.contains(&0) || path.split(|&byte| byte == b'/').any(|segment| segment == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"/a/b.html", b"html"),
            (b"/a.b/c", b""),
            (b"/.htaccess", b""),
            (b"/a.tar.gz", b"gz"),
            (b"/a.", b""),
            (b"/", b""),
            (b"", b""),
            (b"/..a", b"a"),
        ];
        for (path, want) in cases {
            assert_eq!(extension(path), want, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn arguments_are_found_by_name() {
        let args = b"a=1&B=2&ab=3&c&a=4&d=&e=x=y";
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (b"a", Some(b"1")),
            (b"b", Some(b"2")),
            (b"AB", Some(b"3")),
            (b"c", None),
            (b"d", Some(b"")),
            (b"e", Some(b"x=y")),
            (b"f", None),
            (b"b=2&ab", None),
        ];
        for (name, want) in cases {
            assert_eq!(arg(args, name), want, "{}", name.escape_ascii());
        }
        assert_eq!(arg(b"", b"a"), None);
    }

    #[test]
    fn foreign_uris_must_not_climb() {
        let ok = |uri: &'static [u8]| split_foreign(uri).map(|(path, args)| (path.into_owned(), args));
        assert_eq!(ok(b"/a%20b?c%20d"), Ok((b"/a b".to_vec(), &b"c%20d"[..])));
        assert_eq!(ok(b"a/..b"), Ok((b"a/..b".to_vec(), &b""[..])));
        for uri in [
            &b""[..],
            b"?a",
            b"..",
            b"../a",
            b"/a/..",
            b"/a/../b",
            b"/%2e%2e/b",
            b"/a%00",
            b"/a\0",
            b"/a%2f..",
        ] {
            assert_eq!(split_foreign(uri), Err(UnsafeUri), "{}", uri.escape_ascii());
        }
    }
}
