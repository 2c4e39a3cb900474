//! The head of a CGI answer: fields without a status line, which may say the status themselves (RFC 3875, section 6).

use crate::h1::{Framing, ResponseError, ResponseHead, ResponseRules, parse_fields};
use crate::name::Name;
use crate::span::Span;

/// Reads a head from the start of `bytes`, with the contract of `parse_response`.
///
/// The status is what `Status` says; without it 302 where there is a `Location`, else 200, as nginx has it. The body
/// ends with the request, or where `Content-Length` says so.
///
/// # Errors
/// The application's mistake.
pub fn parse_head(
    bytes: &[u8],
    rules: &ResponseRules,
    out: &mut ResponseHead,
) -> Result<Option<usize>, ResponseError> {
    let Some(length) = parse_fields(bytes, rules, out)? else { return Ok(None) };
    (out.status, out.status_line) = match out.find(Name::Status) {
        Some(field) => status(bytes, field.value)?,
        None if out.names.has(Name::Location) => (302, Span::default()),
        None => (200, Span::default()),
    };
    let empty = rules.head || matches!(out.status, 100..200 | 204 | 304);
    out.framing = match out.content_length {
        _ if empty => Framing::Empty,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok(Some(length))
}

/// Three digits, and the line of which they are the start where there is more of it.
fn status(bytes: &[u8], value: Span) -> Result<(u16, Span), ResponseError> {
    const DIGITS: usize = 3;
    let text = value.of(bytes);
    let digits = text.get(..DIGITS).filter(|it| it.iter().all(u8::is_ascii_digit));
    let Some(digits) = digits else { return Err(ResponseError::InvalidStatus { value }) };
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let line = if text.len() > DIGITS { value } else { Span::default() };
    Ok((status, line))
}
