//! A request's head: parsed line by line as bytes come, and checked as nginx 1.31 checks it.

use super::error::RequestError;
use super::field::{self, Irregular, Line};
use super::{REQUEST_FIELDS_MAX, Version, line, mentions, parse_length};
use crate::host;
use crate::method::Method;
use crate::name::{Name, NameSet};
use crate::span::{FieldSpan, Span};

/// Switches and limits of one server.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules {
    /// Names may have underscores (`underscores_in_headers`).
    pub underscores: bool,
    /// Fields with irregular names are dropped (`ignore_invalid_headers`); otherwise they pass.
    pub ignore_invalid: bool,
    /// Most fields (`max_headers`).
    pub fields_max: usize,
}

impl Default for RequestRules {
    fn default() -> RequestRules {
        RequestRules { underscores: false, ignore_invalid: true, fields_max: REQUEST_FIELDS_MAX }
    }
}

/// A request's head as positions in the bytes it was parsed from. Reused between requests: `clear` keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    pub method: Method,
    pub method_name: Span,
    /// The request line without its end: `$request`.
    pub line: Span,
    /// The target as sent, in whichever form.
    pub target: Span,
    /// Scheme of a target in absolute form, else empty.
    pub scheme: Span,
    /// Host and port of a target in absolute or authority form, never empty then.
    pub authority: Option<Span>,
    /// Path, query and fragment: `$request_uri`. It starts with `?` when an absolute form has no path.
    pub uri: Span,
    /// The target had no path: forwarding it as it is would not do.
    pub empty_path: bool,
    /// The path has a `%`.
    pub quoted_path: bool,
    /// The path has `//` or `/.`, or there is a fragment.
    pub irregular_path: bool,
    pub version: Version,
    /// `$server_protocol`, empty in HTTP/0.9; keeps blanks at its end as nginx does.
    pub protocol: Span,
    pub fields: Vec<FieldSpan>,
    /// Names of the fields.
    pub names: NameSet,
    /// Lines left out because of `ignore_invalid`, to be logged.
    pub dropped: Vec<Span>,
    /// The host by which a server is chosen: the target's before the Host field's.
    pub host: Option<HostSpan>,
    /// Bytes of the body, when announced.
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// The last Connection field that says either asks for a close, or for keep-alive.
    pub connection_close: bool,
    pub connection_keep_alive: bool,
    /// Value of the first Upgrade field.
    pub upgrade: Option<Span>,
    pub expect_continue: bool,
    /// Where the first line that is not read yet starts.
    pub(super) parsed: usize,
    past_line: bool,
}

/// The name of a host in the head, still in the case it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSpan {
    pub name: Span,
    /// 0 when there was none.
    pub port: u16,
    pub has_upper: bool,
}

impl RequestHead {
    pub fn new() -> RequestHead {
        RequestHead::default()
    }

    /// Prepares for the next request.
    pub fn clear(&mut self) {
        let fields = std::mem::take(&mut self.fields);
        let dropped = std::mem::take(&mut self.dropped);
        *self = RequestHead { fields, dropped, ..RequestHead::default() };
        self.fields.clear();
        self.dropped.clear();
    }

    /// Whether the request line is still incomplete: a full buffer means 414 then, and 494 later.
    pub fn in_request_line(&self) -> bool {
        !self.past_line
    }

    /// Where the line starts that is still incomplete.
    pub fn unfinished_line(&self) -> usize {
        self.parsed
    }

    /// Whether the path is not its own normal form (`uri::normalise`).
    pub fn needs_normalising(&self) -> bool {
        self.quoted_path || self.irregular_path || self.empty_path
    }

    /// Whether the client wants the connection kept, by its version and its Connection fields.
    pub fn keeps_alive(&self) -> bool {
        !self.connection_close && (self.connection_keep_alive || self.version > Version::H10)
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        self.chunked || self.content_length.is_some_and(|length| length > 0)
    }
}

/// Parses a request's head from the start of `bytes`. `Ok(None)`: come back with more bytes behind the same ones
/// (which may have moved) and the same `out`. `Ok(Some(n))`: the head is the first `n` bytes.
/// `out` must be cleared before a new request. After an error it holds what was understood before it.
pub fn parse_request(
    bytes: &[u8],
    rules: &RequestRules,
    out: &mut RequestHead,
) -> Result<Option<usize>, RequestError> {
    if !out.past_line {
        let Some(next) = restart_line(bytes, out)? else { return Ok(None) };
        out.parsed = next;
        out.past_line = true;
        if let Some(authority) = out.authority {
            out.host = Some(host_at(bytes, authority).ok_or(RequestError::InvalidHostInRequestLine)?);
        }
        if out.version == Version::H09 {
            return Ok(Some(next));
        }
    }
    loop {
        while let Some(field) = field::parse_tidy(bytes, out.parsed) {
            out.take(bytes, rules, field, Irregular::No)?;
            out.parsed = field.end();
        }
        match field::parse_line(bytes, out.parsed) {
            Line::Field { field, irregular, next } => {
                out.take(bytes, rules, field, irregular)?;
                out.parsed = next;
            }
            Line::End { next } => {
                out.check_framing(bytes)?;
                return Ok(Some(next));
            }
            Line::Partial => return Ok(None),
            Line::Invalid { at } => {
                return Err(RequestError::InvalidField { line: Span::new(out.parsed, at) });
            }
        }
    }
}

/// The request line is read from its start each time bytes come: what an attempt before has noted is void.
fn restart_line(bytes: &[u8], out: &mut RequestHead) -> Result<Option<usize>, RequestError> {
    if out.method_name.end != 0 {
        let parsed = out.parsed;
        out.clear();
        out.parsed = parsed;
    }
    line::parse(bytes, out)
}

fn host_at(bytes: &[u8], at: Span) -> Option<HostSpan> {
    let parts = host::validate(at.of(bytes)).ok()?;
    let start = at.start as usize;
    Some(HostSpan {
        name: Span::new(start, start + parts.name_len),
        port: parts.port,
        has_upper: parts.has_upper,
    })
}

/// Names that must not come twice.
pub(crate) const ONCE: NameSet = NameSet::of(&[
    Name::Host,
    Name::ContentLength,
    Name::TransferEncoding,
    Name::Expect,
    Name::IfModifiedSince,
    Name::IfUnmodifiedSince,
    Name::IfMatch,
    Name::IfRange,
    Name::IfNoneMatch,
    Name::ContentRange,
    Name::Authorization,
    Name::ProxyAuthorization,
]);

impl RequestHead {
    /// Takes one field in: drops it, or checks what can be checked and keeps it.
    #[inline(always)]
    fn take(
        &mut self,
        bytes: &[u8],
        rules: &RequestRules,
        field: FieldSpan,
        irregular: Irregular,
    ) -> Result<(), RequestError> {
        let tolerated = if rules.underscores { Irregular::Underscore } else { Irregular::No };
        if irregular > tolerated && rules.ignore_invalid {
            let end = field.value.end.max(field.name.end);
            self.dropped.push(Span { start: field.name.start, end });
            return Ok(());
        }
        if self.fields.len() >= rules.fields_max {
            return Err(RequestError::TooManyFields);
        }
        if ONCE.has(field.known) && self.names.has(field.known) {
            return Err(self.duplicate(field));
        }
        self.names = self.names.with(field.known);
        self.note(bytes, field)?;
        self.fields.push(field);
        Ok(())
    }

    #[inline]
    fn note(&mut self, bytes: &[u8], field: FieldSpan) -> Result<(), RequestError> {
        match field.known {
            Name::Host => {
                let host = host_at(bytes, field.value).ok_or(RequestError::InvalidHost)?;
                self.host.get_or_insert(host);
            }
            Name::Connection => self.note_connection(field.value.of(bytes)),
            Name::Upgrade => _ = self.upgrade.get_or_insert(field.value),
            Name::Expect => {
                self.expect_continue = field.value.of(bytes).eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        if mentions(value, b"close") {
            (self.connection_close, self.connection_keep_alive) = (true, false);
        } else if mentions(value, b"keep-alive") {
            (self.connection_close, self.connection_keep_alive) = (false, true);
        }
    }

    #[cold]
    fn duplicate(&self, field: FieldSpan) -> RequestError {
        let previous = self.find(field.known).unwrap_or(field);
        match field.known {
            Name::Host => RequestError::DuplicateHost { field, previous },
            _ => RequestError::DuplicateField { field, previous },
        }
    }

    /// The first field of a name we know.
    pub fn find(&self, name: Name) -> Option<FieldSpan> {
        if !self.names.has(name) {
            return None;
        }
        self.fields.iter().copied().find(|field| field.known == name)
    }

    /// What can be said only when all fields are there: who is asked, and how long the body is
    /// (RFC 9112, section 6.3), in the order in which nginx finds fault.
    fn check_framing(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        if !self.names.has(Name::Host) && self.version > Version::H10 {
            return Err(RequestError::MissingHost);
        }
        if let Some(field) = self.find(Name::ContentLength) {
            let length = parse_length(field.value.of(bytes)).ok_or(RequestError::InvalidContentLength)?;
            self.content_length = Some(length);
        }
        if let Some(field) = self.find(Name::TransferEncoding) {
            if self.version < Version::H11 {
                return Err(RequestError::EarlyTransferEncoding);
            }
            if !field.value.of(bytes).eq_ignore_ascii_case(b"chunked") {
                return Err(RequestError::UnknownTransferEncoding { value: field.value });
            }
            if self.content_length.is_some() {
                return Err(RequestError::LengthAndChunked);
            }
            self.chunked = true;
        }
        Ok(())
    }
}
