//! A path's normal form, as nginx computes `$uri`: decoded, without dot segments, slashes merged.

use std::ops::Range;

/// What a URI consists of beside its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The query in the raw URI, without `?` and without a fragment; empty when there is none.
    pub args: Range<usize>,
    /// The path had a `%`: it must be escaped again before it is sent on.
    pub quoted: bool,
}

/// The path climbs above its root, or a `%` is not followed by two hex digits other than 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUri;

/// Where in a segment the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

/// Appends the normal form of the path of `raw` (path, query and fragment as sent) to `out`, which must be empty.
/// The query and the fragment end the path; a URI that starts with `?` has the path `/`.
pub fn normalise(raw: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<Parts, InvalidUri> {
    debug_assert!(out.is_empty(), "positions in the path are counted from its start");
    if raw.first() == Some(&b'?') {
        out.push(b'/');
    }
    out.reserve(raw.len());
    let (mut state, mut at, mut quoted) = (State::Usual, 0, false);
    while at < raw.len() {
        let mut byte = raw[at];
        at += 1;
        let mut literal = false;
        match byte {
            b'?' | b'#' => {
                at -= 1;
                break;
            }
            // No head that was parsed has one; whoever comes here by another way is stopped as well.
            0 => return Err(InvalidUri),
            b'%' => {
                byte = decode(raw.get(at..at + 2))?;
                at += 2;
                quoted = true;
                // These three mean nothing once they come decoded.
                literal = matches!(byte, b'%' | b'?' | b'#');
            }
            _ => {}
        }
        state = push(state, byte, literal, merge_slashes, out)?;
    }
    finish(state, out)?;
    Ok(Parts { args: args(raw, at), quoted })
}

/// Whether a target can be taken as it is: it starts with `/` and has no blank and no control character.
/// HTTP/1 request lines are checked while parsed; this is for what other protocols bring.
pub fn is_well_formed(raw: &[u8]) -> bool {
    raw.first() == Some(&b'/') && raw.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

fn push(
    state: State,
    byte: u8,
    literal: bool,
    merge_slashes: bool,
    out: &mut Vec<u8>,
) -> Result<State, InvalidUri> {
    let next = match (state, byte) {
        (State::Usual, b'/') => State::Slash,
        (State::Slash, b'/') if merge_slashes => return Ok(State::Slash),
        (State::Slash, b'/') => State::Slash,
        (State::Dot, b'/') => {
            out.pop();
            return Ok(State::Slash);
        }
        (State::DotDot, b'/') => {
            pop_segment(out)?;
            return Ok(State::Slash);
        }
        (State::Slash, b'.') => State::Dot,
        (State::Dot, b'.') => State::DotDot,
        _ => State::Usual,
    };
    out.push(byte);
    Ok(if literal { State::Usual } else { next })
}

/// The path is over: dot segments at its end go, too.
fn finish(state: State, out: &mut Vec<u8>) -> Result<(), InvalidUri> {
    match state {
        State::Dot => {
            out.pop();
            Ok(())
        }
        State::DotDot => pop_segment(out),
        State::Usual | State::Slash => Ok(()),
    }
}

/// Takes `/..` and the segment before it away, and keeps the slash before that.
fn pop_segment(out: &mut Vec<u8>) -> Result<(), InvalidUri> {
    const CLIMB: usize = "/..".len();
    let end = out.len().checked_sub(CLIMB).ok_or(InvalidUri)?;
    let slash = memchr::memrchr(b'/', &out[..end]).ok_or(InvalidUri)?;
    out.truncate(slash + 1);
    Ok(())
}

fn decode(digits: Option<&[u8]>) -> Result<u8, InvalidUri> {
    let Some(&[high, low]) = digits else { return Err(InvalidUri) };
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(InvalidUri);
    match (digit(high)? << 4 | digit(low)?) as u8 {
        0 => Err(InvalidUri),
        byte => Ok(byte),
    }
}

/// The query behind the `?` at `at`, up to the fragment.
fn args(raw: &[u8], at: usize) -> Range<usize> {
    if raw.get(at) != Some(&b'?') {
        return 0..0;
    }
    let start = at + 1;
    let len = memchr::memchr(b'#', &raw[start..]).unwrap_or(raw.len() - start);
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and query, or nothing for 400.
    type Seen = Option<(&'static [u8], &'static [u8])>;

    /// `$uri` and `$args` as nginx 1.31.5 saw them, and, where it differs, with `merge_slashes off`.
    #[rustfmt::skip]
    const SEEN: &[(&[u8], Seen, Seen)] = &[
        (b"/", Some((b"/", b"")), None),
        (b"/a/b", Some((b"/a/b", b"")), None),
        (b"/a%2Fb", Some((b"/a/b", b"")), None),
        (b"/a%2fb", Some((b"/a/b", b"")), None),
        (b"/a//b", Some((b"/a/b", b"")), Some((b"/a//b", b""))),
        (b"//", Some((b"/", b"")), Some((b"//", b""))),
        (b"///a", Some((b"/a", b"")), Some((b"///a", b""))),
        (b"/a/", Some((b"/a/", b"")), None),
        (b"/a//", Some((b"/a/", b"")), Some((b"/a//", b""))),
        (b"/.", Some((b"/", b"")), None),
        (b"/./", Some((b"/", b"")), None),
        (b"/..", None, None),
        (b"/../", None, None),
        (b"/a/..", Some((b"/", b"")), None),
        (b"/a/../", Some((b"/", b"")), None),
        (b"/a/../b", Some((b"/b", b"")), None),
        (b"/a/b/../..", Some((b"/", b"")), None),
        (b"/a/b/../../c", Some((b"/c", b"")), None),
        (b"/a/b/../../../c", None, None),
        (b"/a/.", Some((b"/a/", b"")), None),
        (b"/a/./b", Some((b"/a/b", b"")), None),
        (b"/a/./", Some((b"/a/", b"")), None),
        (b"/a/...", Some((b"/a/...", b"")), None),
        (b"/.../a", Some((b"/.../a", b"")), None),
        (b"/.a", Some((b"/.a", b"")), None),
        (b"/..a", Some((b"/..a", b"")), None),
        (b"/a/..b", Some((b"/a/..b", b"")), None),
        (b"/a/.b/c", Some((b"/a/.b/c", b"")), None),
        (b"/%2e", Some((b"/", b"")), None),
        (b"/%2e%2e", None, None),
        (b"/a/%2e%2e/b", Some((b"/b", b"")), None),
        (b"/a/%2E./b", Some((b"/b", b"")), None),
        (b"/a/.%2e", Some((b"/", b"")), None),
        (b"/a%00b", None, None),
        (b"/%00", None, None),
        (b"/a%", None, None),
        (b"/a%2", None, None),
        (b"/a%zz", None, None),
        (b"/a%2g", None, None),
        (b"/a%25b", Some((b"/a%b", b"")), None),
        (b"/a%252Fb", Some((b"/a%2Fb", b"")), None),
        (b"/a%3Fb", Some((b"/a?b", b"")), None),
        (b"/a%3fb?c=%3F", Some((b"/a?b", b"c=%3F")), None),
        (b"/a%23b", Some((b"/a#b", b"")), None),
        (b"/a#b", Some((b"/a", b"")), None),
        (b"/a?b#c", Some((b"/a", b"b")), None),
        (b"/a?b?c", Some((b"/a", b"b?c")), None),
        (b"/a?", Some((b"/a", b"")), None),
        (b"/?", Some((b"/", b"")), None),
        (b"/??", Some((b"/", b"?")), None),
        (b"/a?b=//../..", Some((b"/a", b"b=//../..")), None),
        (b"/a#?b", Some((b"/a", b"")), None),
        (b"/a/..?x", Some((b"/", b"x")), None),
        (b"/a/..#x", Some((b"/", b"")), None),
        (b"/a/.?x", Some((b"/a/", b"x")), None),
        (b"/a/.#x", Some((b"/a/", b"")), None),
        (b"/a+b", Some((b"/a+b", b"")), None),
        (b"/a%2Bb", Some((b"/a+b", b"")), None),
        (b"/a%20b", Some((b"/a b", b"")), None),
        (b"/a%0Ab", Some((b"/a\x0ab", b"")), None),
        (b"/a%7Fb", Some((b"/a\x7fb", b"")), None),
        (b"/\xff\xfe", Some((b"/\xff\xfe", b"")), None),
        (b"/a%ff", Some((b"/a\xff", b"")), None),
        (b"/+/", Some((b"/+/", b"")), None),
        (b"/+.", Some((b"/+.", b"")), None),
        (b"/+//x", Some((b"/+/x", b"")), Some((b"/+//x", b""))),
        (b"/a/%2F/b", Some((b"/a/b", b"")), Some((b"/a///b", b""))),
        (b"/a%2F%2F%2Fb", Some((b"/a/b", b"")), Some((b"/a///b", b""))),
        (b"/a/%2e/b", Some((b"/a/b", b"")), None),
        (b"/a/%2e%2e%2fb", Some((b"/b", b"")), None),
        (b"/%2e%2e/", None, None),
        (b"/a\x5cb", Some((b"/a\x5cb", b"")), None),
        (b"/a\x5c..\x5cb", Some((b"/a\x5c..\x5cb", b"")), None),
        (b"/a/b/.%2E/.%2e/..", None, None),
        (b"/a;b/c", Some((b"/a;b/c", b"")), None),
        (b"/a/..;/b", Some((b"/a/..;/b", b"")), None),
        (b"/a/%2e%2e;/b", Some((b"/a/..;/b", b"")), None),
        (b"/a/%25%32%65/b", Some((b"/a/%2e/b", b"")), None),
        (b"/%2525", Some((b"/%25", b"")), None),
        (b"/a//../b", Some((b"/b", b"")), Some((b"/a/b", b""))),
        (b"//../a", None, Some((b"/a", b""))),
        (b"//a/../../b", None, Some((b"/b", b""))),
        (b"/a/b//../c", Some((b"/a/c", b"")), Some((b"/a/b/c", b""))),
        (b"/a///../../c", None, Some((b"/a/c", b""))),
        (b"/a?x%zz", Some((b"/a", b"x%zz")), None),
        (b"/%41%42?%41", Some((b"/AB", b"%41")), None),
        (b"/a/.//b", Some((b"/a/b", b"")), Some((b"/a//b", b""))),
        (b"/a/..//b", Some((b"/b", b"")), Some((b"//b", b""))),
        (b"/.%2f", Some((b"/", b"")), None),
        (b"/x/.%2f..%2fy", Some((b"/y", b"")), None),
        (b"/a%3F#b", Some((b"/a?", b"")), None),
        (b"/#", Some((b"/", b"")), None),
        (b"/##?", Some((b"/", b"")), None),
        (b"/a/%23/../b", Some((b"/a/b", b"")), None),
        (b"/a/%3f/../b", Some((b"/a/b", b"")), None),
        (b"/a/%25/..", Some((b"/a/", b"")), None),
        (b"/a/.%25", Some((b"/a/.%", b"")), None),
        (b"/a/..%25/b", Some((b"/a/..%/b", b"")), None),
        (b"/a/..%3F/b", Some((b"/a/..?/b", b"")), None),
        (b"/a/.+", Some((b"/a/.+", b"")), None),
        (b"/a/..+/b", Some((b"/a/..+/b", b"")), None),
        (b"/a/%+1", None, None),
        (b"/a|b\x22c<d>", Some((b"/a|b\x22c<d>", b"")), None),
        (b"/\x80/../x", Some((b"/x", b"")), None),
        (b"/a/../..%2f", None, None),
        (b"/a%2f..", Some((b"/", b"")), None),
        (b"/a%2f..%2f..", None, None),
        (b"/a%2f.%2f", Some((b"/a/", b"")), None),
        (b"?x", Some((b"/", b"x")), None),
    ];

    fn see(raw: &[u8], merge_slashes: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut path = Vec::new();
        let parts = normalise(raw, merge_slashes, &mut path).ok()?;
        Some((path, raw[parts.args].to_vec()))
    }

    #[test]
    fn paths_are_what_nginx_makes_of_them() {
        let owned = |seen: Seen| seen.map(|(path, args)| (path.to_vec(), args.to_vec()));
        for &(raw, merged, unmerged) in SEEN {
            assert_eq!(see(raw, true), owned(merged), "{}", raw.escape_ascii());
            assert_eq!(see(raw, false), owned(unmerged.or(merged)), "{} unmerged", raw.escape_ascii());
        }
    }

    #[test]
    fn a_quote_is_noticed_in_the_path_alone() {
        let quoted = |raw| normalise(raw, true, &mut Vec::new()).map(|parts| parts.quoted);
        assert_eq!(
            (quoted(b"/a%41"), quoted(b"/a?%41"), quoted(b"/a#%41")),
            (Ok(true), Ok(false), Ok(false))
        );
    }

    #[test]
    fn targets_of_other_protocols_are_checked() {
        assert!(is_well_formed(b"/") && is_well_formed(b"/\xff?a"));
        assert!(!is_well_formed(b"") && !is_well_formed(b"*") && !is_well_formed(b"/a b"));
        assert!(!is_well_formed(b"/\x7f") && !is_well_formed(b"/a\r\nb"));
    }
}
