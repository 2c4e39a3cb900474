//! One header line: `name: value`, where it ends, and what must not stand in it (RFC 9112, section 5).

use super::scan;
use crate::name::Name;
use crate::span::{FieldSpan, Span};

/// What stands at the start of a line of a head.
pub(super) enum Line {
    /// A field; `irregular` says that the name has a character beyond letters, digits and hyphens.
    Field { field: FieldSpan, irregular: Irregular, next: usize },
    /// The empty line that ends the head.
    End { next: usize },
    /// The line is not complete yet, and right as far as it goes.
    Partial,
    /// The byte at this position may not stand there.
    Invalid { at: usize },
}

/// Whether a field's name has characters that `ignore_invalid_headers` refuses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Irregular {
    No,
    /// Nothing worse than underscores.
    Underscore,
    Yes,
}

const REGULAR: u8 = 0;
const UNDERSCORE: u8 = 1;
const OTHER: u8 = 2;
const COLON: u8 = 3;
const CR: u8 = 4;
const LF: u8 = 5;
const FORBIDDEN: u8 = 6;

/// What each byte means inside a field's name.
static CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => REGULAR,
            b'_' => UNDERSCORE,
            b':' => COLON,
            b'\r' => CR,
            b'\n' => LF,
            0..=b' ' | 0x7f => FORBIDDEN,
            _ => OTHER,
        };
        byte += 1;
    }
    class
};

/// Reads the line that starts at `start` if it is of the usual kind: a regular name, a colon, a blank, a value
/// without blanks around it, CR LF. What else comes, mistakes included, is for `parse_line`.
#[inline(always)]
pub(super) fn parse_tidy(bytes: &[u8], start: usize) -> Option<FieldSpan> {
    let line = bytes.get(start..)?;
    let colon = scan::colon(line)?;
    let name = line.get(..colon)?;
    let known = Name::of(name);
    // A name we know is regular.
    if known == Name::Other && !scan::is_regular(name) {
        return None;
    }
    let text = line[colon..].strip_prefix(b": ")?;
    let len = scan::value_end(text)?;
    let (value, rest) = text.split_at_checked(len)?;
    if matches!(value, [] | [b' ', ..] | [.., b' ']) || !rest.starts_with(b"\r\n") {
        return None;
    }
    let at = start + colon;
    let (name, value) = (Span::new(start, at), Span::new(at + 2, at + 2 + len));
    Some(FieldSpan { name, value, known, is_tidy: true })
}

/// Reads the line that starts at `start`. A lone line feed ends a line, as it does for nginx; a carriage return
/// that is not part of a line's end, a NUL, and a blank in or before a name do not pass.
pub(super) fn parse_line(bytes: &[u8], start: usize) -> Line {
    match bytes.get(start) {
        None => return Line::Partial,
        Some(b'\n') => return Line::End { next: start + 1 },
        Some(b'\r') => return end_of_head(bytes, start),
        Some(b':') => return Line::Invalid { at: start },
        Some(_) => {}
    }
    let mut irregular = Irregular::No;
    let named = |end, irregular| {
        let name = Span::new(start, end);
        Named { name, known: Name::of(name.of(bytes)), irregular }
    };
    for (at, &byte) in (start..).zip(&bytes[start..]) {
        match CLASS[byte as usize] {
            REGULAR => {}
            UNDERSCORE => irregular = irregular.max(Irregular::Underscore),
            OTHER => irregular = Irregular::Yes,
            COLON => return value(bytes, named(at, irregular), at + 1),
            // A line without a colon is a field without a value.
            CR | LF => return finish(bytes, named(at, irregular), at, at),
            _ => return Line::Invalid { at },
        }
    }
    Line::Partial
}

/// What stands before the colon.
struct Named {
    name: Span,
    known: Name,
    irregular: Irregular,
}

/// The part of the line behind the colon.
#[inline]
fn value(bytes: &[u8], named: Named, mut start: usize) -> Line {
    while bytes.get(start) == Some(&b' ') {
        start += 1;
    }
    match scan::value_end(bytes.get(start..).unwrap_or_default()) {
        Some(len) => finish(bytes, named, start, start + len),
        None => Line::Partial,
    }
}

/// The position after the line feed that ends the line at `start`, once it is there.
pub(super) fn skip_line(bytes: &[u8], start: usize) -> Option<usize> {
    memchr::memchr(b'\n', &bytes[start..]).map(|len| start + len + 1)
}

/// The field is over at `stop`, where a CR, a LF or a NUL stands.
#[inline]
fn finish(bytes: &[u8], named: Named, value: usize, stop: usize) -> Line {
    let mut next = stop;
    // nginx takes any number of carriage returns before the line feed.
    while bytes.get(next) == Some(&b'\r') {
        next += 1;
    }
    match bytes.get(next) {
        None => return Line::Partial,
        Some(b'\n') => {}
        Some(_) => return Line::Invalid { at: stop },
    }
    let mut end = stop;
    while end > value && bytes[end - 1] == b' ' {
        end -= 1;
    }
    let Named { name, known, irregular } = named;
    // One byte stands between colon and value: it can but be a blank.
    let is_tidy = value == name.end as usize + 2 && end == stop && next == stop + 1;
    let field = FieldSpan { name, value: Span::new(value, end), known, is_tidy };
    Line::Field { field, irregular, next: next + 1 }
}

fn end_of_head(bytes: &[u8], start: usize) -> Line {
    match bytes.get(start + 1) {
        None => Line::Partial,
        Some(b'\n') => Line::End { next: start + 2 },
        Some(_) => Line::Invalid { at: start },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_read_a_line_agree() {
        let names = [
            "Host",
            "hOST",
            "X-Y",
            "X-Unknown-Name",
            "X_Underscored",
            "Content\rLength",
            "A b",
            "",
            "Caf\u{e9}-aux-Lait",
        ];
        let betweens = [": ", ":", ":  ", " : ", ":\t", "", "::"];
        let values = [
            "",
            "v",
            "a: b",
            "a b ",
            " ",
            "tab\there",
            "\0",
            "a value that is longer than a few words are",
            "a\rb",
        ];
        let mut tidy = 0;
        for (name, between) in names.iter().flat_map(|name| betweens.map(|it| (name, it))) {
            for (value, end) in
                values.iter().flat_map(|value| ["\r\n", "\n", "\r\r\n", "\r", ""].map(|end| (value, end)))
            {
                for behind in ["\r\n", "\r\nbody: of some length", "Next: field\r\n\r\n", ""] {
                    let bytes = format!("GET\r\n{name}{between}{value}{end}{behind}").into_bytes();
                    let Some(found) = parse_tidy(&bytes, 5) else { continue };
                    tidy += 1;
                    match parse_line(&bytes, 5) {
                        Line::Field { field, irregular: Irregular::No, next } => {
                            assert_eq!((field, next), (found, found.end()), "{}", bytes.escape_ascii());
                        }
                        _ => panic!("{} is no regular field", bytes.escape_ascii()),
                    }
                }
            }
        }
        assert!(tidy > 20, "the usual lines are tidy");
    }
}
