//! A response's head as an upstream sends it: lenient where nginx is, strict about where the body ends.

use super::error::ResponseError;
use super::field::{self, Line};
use super::scan;
use super::{RESPONSE_FIELDS_MAX, Version, mentions, parse_length};
use crate::name::{Name, NameSet};
use crate::span::{FieldSpan, Span};

/// What the parser must know beyond the bytes.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRules {
    /// The request was HEAD: whatever the fields say, no body follows.
    pub head: bool,
    /// Most fields; nginx knows no such limit.
    pub fields_max: usize,
}

impl Default for ResponseRules {
    fn default() -> ResponseRules {
        ResponseRules { head: false, fields_max: RESPONSE_FIELDS_MAX }
    }
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    Empty,
    Length(u64),
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A response's head as positions in the bytes it was parsed from. Reused: `clear` keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// HTTP/1.1 stands for every later version.
    pub version: Version,
    /// Three digits, as sent: 000 to 999.
    pub status: u16,
    /// Status and reason: "200 OK".
    pub status_line: Span,
    pub fields: Vec<FieldSpan>,
    /// Announced bytes, also when no body follows (HEAD, 304).
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// The upstream closes after this response: it says so, or it speaks HTTP/1.0.
    pub connection_close: bool,
    pub framing: Framing,
    /// Names of the fields.
    pub names: NameSet,
    /// Names that came more than once.
    pub repeated: NameSet,
    parsed: usize,
    past_line: bool,
}

impl ResponseHead {
    pub fn new() -> ResponseHead {
        ResponseHead::default()
    }

    /// Prepares for the next response.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = ResponseHead { fields, ..ResponseHead::default() };
    }

    /// Becomes another head of the same bytes, and keeps its memory.
    pub fn copy_from(&mut self, other: &ResponseHead) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clone_from(&other.fields);
        *self = ResponseHead { fields, ..*other };
    }

    /// Whether the connection can carry another request once the body is over.
    pub fn keeps_alive(&self) -> bool {
        !self.connection_close && self.framing != Framing::UntilClose && self.status != 101
    }

    /// 1xx other than 101: another head follows on the same connection.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Parses a response's head from the start of `bytes`, with the contract of `parse_request`.
pub fn parse_response(
    bytes: &[u8],
    rules: &ResponseRules,
    out: &mut ResponseHead,
) -> Result<Option<usize>, ResponseError> {
    if !out.past_line {
        let Some(next) = parse_status_line(bytes, out)? else { return Ok(None) };
        out.parsed = next;
        out.past_line = true;
    }
    let length = parse_fields(bytes, rules, out)?;
    if length.is_some() {
        out.framing = out.framing_of(rules.head);
    }
    Ok(length)
}

/// Reads fields up to the empty line that ends a head, and its length with it; says nothing of where a body ends.
#[inline]
pub fn parse_fields(
    bytes: &[u8],
    rules: &ResponseRules,
    out: &mut ResponseHead,
) -> Result<Option<usize>, ResponseError> {
    loop {
        while let Some(field) = field::parse_tidy(bytes, out.parsed) {
            out.take(bytes, rules, field)?;
            out.parsed = field.end();
        }
        // Some servers send their status line twice.
        let line = &bytes[out.parsed..];
        if line.starts_with(b"HTTP/") {
            let Some(next) = field::skip_line(bytes, out.parsed) else { return Ok(None) };
            out.parsed = next;
            continue;
        }
        match field::parse_line(bytes, out.parsed) {
            Line::Field { field, next, .. } => {
                out.take(bytes, rules, field)?;
                out.parsed = next;
            }
            Line::End { next } => return Ok(Some(next)),
            Line::Partial => return Ok(None),
            Line::Invalid { at } => {
                return Err(ResponseError::InvalidField { line: Span::new(out.parsed, at) });
            }
        }
    }
}

/// Names that say where the body and the connection end.
const FRAMING: NameSet = NameSet::of(&[Name::Connection, Name::ContentLength, Name::TransferEncoding]);

impl ResponseHead {
    #[inline(always)]
    fn take(&mut self, bytes: &[u8], rules: &ResponseRules, field: FieldSpan) -> Result<(), ResponseError> {
        if self.fields.len() >= rules.fields_max {
            return Err(ResponseError::TooManyFields);
        }
        // Early hints are passed on or left out; nothing in them frames a body.
        if FRAMING.has(field.known) && self.status != 103 {
            self.note(bytes, field)?;
        }
        if self.names.has(field.known) {
            self.repeated = self.repeated.with(field.known);
        }
        self.names = self.names.with(field.known);
        self.fields.push(field);
        Ok(())
    }

    /// Takes a field of `FRAMING`.
    fn note(&mut self, bytes: &[u8], field: FieldSpan) -> Result<(), ResponseError> {
        let value = field.value.of(bytes);
        match field.known {
            Name::Connection => self.connection_close |= mentions(value, b"close"),
            Name::ContentLength => {
                if self.content_length.is_some() {
                    return Err(self.duplicate(field));
                }
                if self.chunked {
                    return Err(ResponseError::LengthAndChunked);
                }
                let length = parse_length(value).ok_or(ResponseError::InvalidContentLength { field })?;
                self.content_length = Some(length);
            }
            _ => {
                if self.chunked {
                    return Err(self.duplicate(field));
                }
                if self.content_length.is_some() {
                    return Err(ResponseError::LengthAndChunked);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::UnknownTransferEncoding { value: field.value });
                }
                self.chunked = true;
            }
        }
        Ok(())
    }

    #[cold]
    fn duplicate(&self, field: FieldSpan) -> ResponseError {
        let previous = self.find(field.known).unwrap_or(field);
        ResponseError::DuplicateField { field, previous }
    }

    /// The first field of a name we know.
    pub fn find(&self, name: Name) -> Option<FieldSpan> {
        if !self.names.has(name) {
            return None;
        }
        self.fields.iter().copied().find(|field| field.known == name)
    }

    fn framing_of(&self, to_head: bool) -> Framing {
        if to_head || matches!(self.status, 100..200 | 204 | 304) {
            return Framing::Empty;
        }
        match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }
}

/// `HTTP/1.1 200 OK`; the reason may be missing, and anything may follow a dot after the digits (403.1).
fn parse_status_line(bytes: &[u8], out: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
    const START: &[u8] = b"HTTP/";
    if let Some(next) = usual_status_line(bytes, out) {
        return Ok(Some(next));
    }
    let wrong = Err(ResponseError::NoStatusLine);
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return wrong;
    }
    let mut at = START.len();
    let Some(major) = number(bytes, &mut at, b'.')? else { return Ok(None) };
    if major == 0 || bytes[START.len()] == b'0' {
        return wrong;
    }
    let Some(minor) = number(bytes, &mut at, b' ')? else { return Ok(None) };
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    let start = at;
    let mut status = 0;
    while at < start + 3 {
        match bytes.get(at) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => status = status * 10 + u16::from(digit - b'0'),
            Some(_) => return wrong,
        }
        at += 1;
    }
    match bytes.get(at) {
        None => return Ok(None),
        Some(b' ' | b'.' | b'\r' | b'\n') => {}
        Some(_) => return wrong,
    }
    let Some(len) = memchr::memchr2(b'\r', b'\n', &bytes[at..]) else { return Ok(None) };
    let end = at + len;
    let line_feed = end + usize::from(bytes[end] == b'\r');
    match bytes.get(line_feed) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return wrong,
    }
    out.version = if (major, minor) < (1, 1) { Version::H10 } else { Version::H11 };
    out.connection_close = out.version == Version::H10;
    out.status = status;
    out.status_line = Span::new(start, end);
    if status == 103 && out.version == Version::H10 {
        return Err(ResponseError::EarlyHintsInHttp10);
    }
    Ok(Some(line_feed + 1))
}

/// Reads the line if it is of the usual kind: HTTP/1.1, three digits, a blank, a reason, CR LF.
#[inline]
fn usual_status_line(bytes: &[u8], out: &mut ResponseHead) -> Option<usize> {
    const VERSION: &[u8] = b"HTTP/1.1 ";
    let line = bytes.strip_prefix(VERSION)?;
    let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = *line else { return None };
    let end = VERSION.len() + scan::value_end(line)?;
    if !bytes[end..].starts_with(b"\r\n") {
        return None;
    }
    out.version = Version::H11;
    out.connection_close = false;
    out.status = [a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    out.status_line = Span::new(VERSION.len(), end);
    Some(end + 2)
}

/// One to three digits and the byte that must follow them; moves `at` behind it.
fn number(bytes: &[u8], at: &mut usize, then: u8) -> Result<Option<u16>, ResponseError> {
    let mut value = 0;
    for digits in 0..=3 {
        match bytes.get(*at) {
            None => return Ok(None),
            Some(&byte) if byte == then && digits > 0 => {
                *at += 1;
                return Ok(Some(value));
            }
            Some(digit @ b'0'..=b'9') if digits < 3 => value = value * 10 + u16::from(digit - b'0'),
            Some(_) => break,
        }
        *at += 1;
    }
    Err(ResponseError::NoStatusLine)
}
