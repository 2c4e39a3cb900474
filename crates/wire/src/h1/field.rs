//! One header line: `name: value`, where it ends, and what must not stand in it (RFC 9112, section 5).

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

/// Reads the line that starts at `start`. A lone line feed ends a line, as it does for nginx; a carriage return
/// that is not part of a line's end, a NUL, and a blank in or before a name do not pass.
#[inline]
pub(super) fn parse_line(bytes: &[u8], start: usize) -> Line {
    match bytes.get(start) {
        None => return Line::Partial,
        Some(b'\n') => return Line::End { next: start + 1 },
        Some(b'\r') => return end_of_head(bytes, start),
        Some(b':') => return Line::Invalid { at: start },
        Some(_) => {}
    }
    let mut irregular = Irregular::No;
    for (at, &byte) in (start..).zip(&bytes[start..]) {
        match CLASS[byte as usize] {
            REGULAR => {}
            UNDERSCORE => irregular = irregular.max(Irregular::Underscore),
            OTHER => irregular = Irregular::Yes,
            COLON => return value(bytes, Span::new(start, at), at + 1, irregular),
            // A line without a colon is a field without a value.
            CR | LF => return finish(bytes, Span::new(start, at), at, at, irregular),
            _ => return Line::Invalid { at },
        }
    }
    Line::Partial
}

/// The part of the line behind the colon.
#[inline]
fn value(bytes: &[u8], name: Span, mut start: usize, irregular: Irregular) -> Line {
    while bytes.get(start) == Some(&b' ') {
        start += 1;
    }
    let mut at = start;
    loop {
        let Some(len) = find_control(&bytes[at..]) else { return Line::Partial };
        at += len;
        match bytes[at] {
            b'\r' | b'\n' | 0 => return finish(bytes, name, start, at, irregular),
            _ => at += 1,
        }
    }
}

/// The first byte below 0x20, sought in eight bytes at a time: quicker than a call for values of usual length.
#[inline]
fn find_control(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (idx, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte below 0x20 borrows into its high bit, unless that bit was set before. Borrows run upwards,
        // so the lowest hit is a true one.
        let hits = word.wrapping_sub(ONES * 0x20) & !word & (ONES * 0x80);
        if hits != 0 {
            return Some(idx * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte < 0x20).map(|at| words.len() * 8 + at)
}

/// The position after the line feed that ends the line at `start`, once it is there.
pub(super) fn skip_line(bytes: &[u8], start: usize) -> Option<usize> {
    memchr::memchr(b'\n', &bytes[start..]).map(|len| start + len + 1)
}

/// The field is over at `stop`, where a CR, a LF or a NUL stands.
#[inline]
fn finish(bytes: &[u8], name: Span, value: usize, stop: usize, irregular: Irregular) -> Line {
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
    Line::Field { field: FieldSpan { name, value: Span::new(value, end) }, irregular, next: next + 1 }
}

fn end_of_head(bytes: &[u8], start: usize) -> Line {
    match bytes.get(start + 1) {
        None => Line::Partial,
        Some(b'\n') => Line::End { next: start + 2 },
        Some(_) => Line::Invalid { at: start },
    }
}
