//! Which bytes stand as `%XX`, by what the text is for, and back again.

/// What escaped text is for. Each escapes control characters and what the place it goes to would misread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Escape {
    /// A path.
    Uri = 1,
    /// A query: also `& + ;`.
    Args = 2,
    /// One component: all but letters, digits and `- . _ ~` (RFC 3986, section 2.3).
    UriComponent = 4,
    /// An attribute of HTML: `?` passes, `'` does not.
    Html = 8,
    /// A Refresh field or an HTML `meta`.
    Refresh = 16,
    /// A key of memcached: only `%`, blanks and controls.
    Memcached = 32,
}

/// One bit per kind that escapes the byte.
static ESCAPED: [u8; 256] = {
    const COMMON: &[u8] = b" \"<>\\^`{|\x7f";
    let mut bits = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let unreserved = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let always = b < 0x20 || b >= 0x80 || contains(COMMON, b);
        let flags = [
            (Escape::Uri, always || matches!(b, b'#' | b'%' | b'?' | b'}')),
            (Escape::Args, always || matches!(b, b'#' | b'%' | b'?' | b'}' | b'&' | b'+' | b';')),
            (Escape::UriComponent, !unreserved),
            (Escape::Html, always || matches!(b, b'#' | b'%' | b'\'' | b'}')),
            // nginx escapes `~` here and lets `}` pass.
            (Escape::Refresh, always || matches!(b, b'\'' | b'~')),
            (Escape::Memcached, b <= b' ' || b == b'%'),
        ];
        let mut idx = 0;
        while idx < flags.len() {
            if flags[idx].1 {
                bits[byte] |= flags[idx].0 as u8;
            }
            idx += 1;
        }
        byte += 1;
    }
    bits
};

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut idx = 0;
    while idx < set.len() {
        if set[idx] == byte {
            return true;
        }
        idx += 1;
    }
    false
}

/// Appends `text` to `out`, escaped for its use.
pub fn escape(text: &[u8], kind: Escape, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = text;
    while let Some(len) = rest.iter().position(|&byte| is_escaped(byte, kind)) {
        out.extend_from_slice(&rest[..len]);
        let byte = rest[len];
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[len + 1..];
    }
    out.extend_from_slice(rest);
}

/// How many bytes of `text` would be escaped; each grows by two.
pub fn escaped_count(text: &[u8], kind: Escape) -> usize {
    text.iter().filter(|&&byte| is_escaped(byte, kind)).count()
}

#[inline]
fn is_escaped(byte: u8, kind: Escape) -> bool {
    ESCAPED[byte as usize] & kind as u8 != 0
}

/// How far decoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unescape {
    /// Everything.
    All,
    /// Up to and with the first `?`, plain or decoded.
    Uri,
    /// As `Uri`; what could not stand plainly in a Location stays escaped.
    Redirect,
}

/// Appends `text` to `out` with `%XX` decoded, and returns how many bytes of `text` were read.
/// A broken escape loses its `%` and its first wrong digit pair, as in nginx.
pub fn unescape(text: &[u8], kind: Unescape, out: &mut Vec<u8>) -> usize {
    let stops = kind != Unescape::All;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if byte != b'%' {
            out.push(byte);
            if byte == b'?' && stops {
                break;
            }
            continue;
        }
        let Some(&first) = text.get(at) else { break };
        at += 1;
        let Some(high) = hex(first) else {
            out.push(first);
            continue;
        };
        let Some(&second) = text.get(at) else { break };
        at += 1;
        let Some(low) = hex(second) else { continue };
        let decoded = high << 4 | low;
        if decoded == b'?' && stops {
            out.push(decoded);
            break;
        }
        if kind == Unescape::Redirect && !(b'&'..0x7f).contains(&decoded) {
            out.extend_from_slice(&[b'%', first, second]);
        } else {
            out.push(decoded);
        }
    }
    at
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// Appends `text` to `out` with the four characters of HTML's own syntax as entities.
pub fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The printable ASCII characters each kind escapes.
    #[test]
    fn each_kind_escapes_its_set() {
        let cases: [(Escape, &str, bool, bool); 6] = [
            (Escape::Uri, " \"#%<>?\\^`{|}", true, true),
            (Escape::Args, " \"#%&+;<>?\\^`{|}", true, true),
            (Escape::UriComponent, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}", true, true),
            (Escape::Html, " \"#%'<>\\^`{|}", true, true),
            (Escape::Refresh, " \"'<>\\^`{|~", true, true),
            (Escape::Memcached, " %", true, false),
        ];
        for (kind, printable, controls, high) in cases {
            let got: String = (b' '..0x7f).filter(|&byte| is_escaped(byte, kind)).map(char::from).collect();
            assert_eq!(got, printable, "{kind:?}");
            assert!((0..b' ').all(|byte| is_escaped(byte, kind) == controls), "{kind:?}");
            assert!((0x7f..=255).all(|byte| is_escaped(byte, kind) == high), "{kind:?}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let mut out = b"x".to_vec();
        escape(b"/a b%\xff?", Escape::Uri, &mut out);
        assert_eq!(out, b"x/a%20b%25%FF%3F");
        assert_eq!(escaped_count(b"/a b%\xff?", Escape::Uri), 4);
        let mut out = Vec::new();
        escape_html(b"<a href=\"?x&y\">", &mut out);
        assert_eq!(out, b"&lt;a href=&quot;?x&amp;y&quot;&gt;");
    }

    #[test]
    fn text_is_unescaped() {
        let cases: [(&[u8], Unescape, &[u8], usize); 12] = [
            (b"a%20b%2Fc", Unescape::All, b"a b/c", 9),
            (b"a%3Fb?c%41", Unescape::All, b"a?b?cA", 10),
            (b"a%2x", Unescape::All, b"a", 4),
            (b"a%zb", Unescape::All, b"azb", 4),
            (b"a%", Unescape::All, b"a", 2),
            (b"a%4", Unescape::All, b"a", 3),
            (b"a%%41", Unescape::All, b"a%41", 5),
            (b"%41?%41", Unescape::Uri, b"A?", 4),
            (b"%41%3f%41", Unescape::Uri, b"A?", 6),
            (b"%41%20%25%7f%7e%ff%00", Unescape::Redirect, b"A%20%25%7f~%ff%00", 21),
            (b"%26?x", Unescape::Redirect, b"&?", 4),
            (b"%3f?x", Unescape::Redirect, b"?", 3),
        ];
        for (text, kind, want, read) in cases {
            let mut out = Vec::new();
            assert_eq!(unescape(text, kind, &mut out), read, "{}", text.escape_ascii());
            assert_eq!(out.escape_ascii().to_string(), want.escape_ascii().to_string());
        }
    }
}
