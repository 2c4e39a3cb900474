//! A request's head, checked as nginx 1.31 checks it (RFC 9113, sections 8.2 and 8.3).

use super::Priority;
use super::hpack::{Field, Pseudo, Shape};
use crate::fields::Fields;
use crate::h1::{ONCE, RequestRules, parse_length};
use crate::host;
use crate::method::Method;
use crate::name::{Name, NameSet};
use crate::target;

/// What a request's header block says. Reused for the next one: its memory is kept.
#[derive(Default)]
pub struct Head {
    pub method: Method,
    pub method_name: Vec<u8>,
    pub scheme: Vec<u8>,
    /// `:path`: path and query as sent.
    pub target: Vec<u8>,
    /// The path is not its own normal form (`uri::normalise`).
    pub needs_normalising: bool,
    /// `:authority` as sent.
    pub authority: Vec<u8>,
    /// The host by which a server is chosen, lower case and without port: of `:authority`, else of the Host field.
    pub host: Vec<u8>,
    pub port: Option<u16>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Vec<u8>,
    /// Every other field in the order sent; then `cookie`, its crumbs in one (section 8.2.3), and `host`.
    pub fields: Fields,
    pub content_length: Option<u64>,
    pub expect_continue: bool,
    /// Fields left out because of `ignore_invalid_headers`.
    pub n_dropped: u32,
    /// Bytes of the block as it came.
    pub block_bytes: usize,
    pub priority: Priority,
    /// What is wrong with it, if anything: it is to be answered so.
    pub fault: Option<Box<HeadFault>>,
    /// More than the limit: the connection cannot go on.
    pub(super) is_too_large: bool,
    bytes_left: usize,
    rules: RequestRules,
    seen: Seen,
    n_fields: usize,
    cookie: Vec<u8>,
    n_crumbs: u32,
}

/// A head that is the client's mistake. The stream is answered, the connection lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadFault {
    /// 494 is nginx's own, shown to the client as 400.
    pub status: u16,
    /// The words for the log, level info.
    pub text: Vec<u8>,
}

/// Which pseudo-header fields have come, and whether others have come behind them.
#[derive(Clone, Copy, Default)]
struct Seen {
    authority: bool,
    host: bool,
    protocol: bool,
    others: bool,
}

/// Fields that HTTP/2 has not, in the order in which nginx looks for them (section 8.2.2).
const FORBIDDEN: [Name; 4] = [Name::Connection, Name::KeepAlive, Name::TransferEncoding, Name::Upgrade];
const FORBIDDEN_SET: NameSet = NameSet::of(&FORBIDDEN);

impl Head {
    /// Prepares for the next request, whose names and values may have `bytes_max` bytes in all.
    pub(super) fn begin(&mut self, rules: RequestRules, bytes_max: usize) {
        let mut kept = std::mem::take(self);
        let buffers = [&mut kept.method_name, &mut kept.scheme, &mut kept.target, &mut kept.authority];
        buffers.into_iter().for_each(Vec::clear);
        [&mut kept.host, &mut kept.protocol, &mut kept.cookie].into_iter().for_each(Vec::clear);
        kept.fields.clear();
        *self = Head {
            method_name: kept.method_name,
            scheme: kept.scheme,
            target: kept.target,
            authority: kept.authority,
            host: kept.host,
            protocol: kept.protocol,
            cookie: kept.cookie,
            fields: kept.fields,
            bytes_left: bytes_max,
            rules,
            ..Head::default()
        };
    }

    /// Takes one field in.
    #[inline]
    pub(super) fn take(&mut self, field: Field<'_>) {
        let bytes = field.name.len() + field.value.len();
        if bytes > self.bytes_left || self.is_too_large {
            self.is_too_large = true;
            return;
        }
        self.bytes_left -= bytes;
        if self.fault.is_some() {
            return;
        }
        if !field.is_clean {
            return self.unclean(field);
        }
        match field.shape {
            Shape::Pseudo(which) => self.pseudo(which, field),
            Shape::Invalid => self.say(400, &[b"client sent invalid header name: \"", field.name, b"\""]),
            Shape::Regular => self.field(field),
            Shape::Underscore if self.rules.underscores => self.field(field),
            Shape::Underscore | Shape::Irregular => self.irregular(field),
        }
    }

    #[inline]
    fn field(&mut self, field: Field<'_>) {
        if !self.seen.others && !self.end_of_pseudo() {
            return;
        }
        if field.known == Name::Cookie {
            if self.n_crumbs > 0 {
                self.cookie.extend_from_slice(b"; ");
            }
            self.n_crumbs += 1;
            return self.cookie.extend_from_slice(field.value);
        }
        self.n_fields += 1;
        if self.n_fields > self.rules.fields_max {
            return self.say(494, &[b"client sent too many header lines"]);
        }
        if ONCE.has(field.known) && self.fields.names().has(field.known) {
            return self.duplicate(field);
        }
        match field.known {
            Name::Host => return self.host_field(field),
            Name::ContentLength => {
                self.content_length = parse_length(field.value);
                // What is none is found at the end, as nginx does.
            }
            Name::Expect => self.expect_continue = field.value.eq_ignore_ascii_case(b"100-continue"),
            Name::Other if field.name == b"priority" => self.priority = Priority::read(field.value),
            _ => {}
        }
        self.fields.push_known(field.known, field.name, field.value);
    }

    #[cold]
    fn irregular(&mut self, field: Field<'_>) {
        if !self.seen.others && !self.end_of_pseudo() {
            return;
        }
        match self.rules.ignore_invalid {
            true => self.n_dropped += 1,
            false => self.field(field),
        }
    }

    #[cold]
    fn unclean(&mut self, field: Field<'_>) {
        let (name, value) = (field.name, field.value);
        self.say(400, &[b"client sent header \"", name, b"\" with invalid value: \"", value, b"\""]);
    }

    #[cold]
    fn duplicate(&mut self, field: Field<'_>) {
        let what: &[u8] = match field.known {
            Name::Host => b"client sent duplicate host header: \"",
            _ => b"client sent duplicate header line: \"",
        };
        let previous = self.fields.get(field.known).unwrap_or_default().to_vec();
        let (name, value) = (field.name, field.value);
        let between = b"\", previous value: \"";
        self.say(400, &[what, name, b": ", value, between, name, b": ", &previous, b"\""]);
    }

    fn host_field(&mut self, field: Field<'_>) {
        let Ok(parts) = host::validate(field.value) else {
            return self.say(400, &[b"client sent invalid host header"]);
        };
        if !self.seen.authority {
            self.take_host(field.value, parts);
        }
        self.seen.host = true;
        self.fields.push_known(Name::Host, field.name, field.value);
    }

    fn take_host(&mut self, text: &[u8], parts: host::HostParts) {
        self.host.extend_from_slice(&text[..parts.name_len]);
        if parts.has_upper {
            self.host.make_ascii_lowercase();
        }
        self.port = (parts.port != 0).then_some(parts.port);
    }

    fn pseudo(&mut self, which: Pseudo, field: Field<'_>) {
        if self.seen.others {
            return self.say(400, &[b"client sent out of order pseudo-headers"]);
        }
        match which {
            Pseudo::Method => self.method_pseudo(field.value),
            Pseudo::Scheme => self.scheme_pseudo(field.value),
            Pseudo::Path => self.path_pseudo(field.value),
            Pseudo::Authority => self.authority_pseudo(field.value),
            Pseudo::Protocol if !self.seen.protocol => {
                self.seen.protocol = true;
                self.protocol.extend_from_slice(field.value);
            }
            Pseudo::Protocol => self.say(400, &[b"client sent duplicate :protocol header"]),
            Pseudo::Status | Pseudo::Unknown => {
                self.say(400, &[b"client sent unknown pseudo-header \"", field.name, b"\""]);
            }
        }
    }

    fn method_pseudo(&mut self, value: &[u8]) {
        if !self.method_name.is_empty() {
            return self.say(400, &[b"client sent duplicate :method header"]);
        }
        if value.is_empty() {
            return self.say(400, &[b"client sent empty :method header"]);
        }
        self.method = Method::of(value);
        let is_letter = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'_' | b'-');
        if self.method == Method::Other && !value.iter().all(is_letter) {
            return self.say(400, &[b"client sent invalid method: \"", value, b"\""]);
        }
        self.method_name.extend_from_slice(value);
    }

    fn scheme_pseudo(&mut self, value: &[u8]) {
        if !self.scheme.is_empty() {
            return self.say(400, &[b"client sent duplicate :scheme header"]);
        }
        let Some((first, rest)) = value.split_first() else {
            return self.say(400, &[b"client sent empty :scheme header"]);
        };
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !first.is_ascii_alphabetic() || !rest.iter().all(fits) {
            return self.say(400, &[b"client sent invalid :scheme header: \"", value, b"\""]);
        }
        self.scheme.extend_from_slice(value);
    }

    fn path_pseudo(&mut self, value: &[u8]) {
        if !self.target.is_empty() {
            return self.say(400, &[b"client sent duplicate :path header"]);
        }
        if value.is_empty() {
            return self.say(400, &[b"client sent empty :path header"]);
        }
        match look_at_path(value) {
            Some(needs_normalising) => self.needs_normalising = needs_normalising,
            None => return self.say(400, &[b"client sent invalid :path header: \"", value, b"\""]),
        }
        self.target.extend_from_slice(value);
    }

    fn authority_pseudo(&mut self, value: &[u8]) {
        if self.seen.authority {
            return self.say(400, &[b"client sent duplicate \":authority\" header"]);
        }
        self.seen.authority = true;
        let Ok(parts) = host::validate(value) else {
            return self.say(400, &[b"client sent invalid \":authority\" header"]);
        };
        self.authority.extend_from_slice(value);
        self.take_host(value, parts);
    }

    /// The first other field has come, or the end: there must be a request line by now.
    fn end_of_pseudo(&mut self) -> bool {
        self.seen.others = true;
        let missing: &[u8] = match (&self.method_name[..], &self.scheme[..], &self.target[..]) {
            ([], _, _) => b"client sent no :method header",
            (_, [], _) => b"client sent no :scheme header",
            (_, _, []) => b"client sent no :path header",
            _ => return true,
        };
        self.say(400, &[missing]);
        false
    }

    /// What can be said only when all fields are there, in the order in which nginx finds fault.
    pub(super) fn finish(&mut self, ends_stream: bool) {
        if self.fault.is_some() || !self.seen.others && !self.end_of_pseudo() {
            return;
        }
        if self.n_crumbs > 0 {
            self.fields.push_known(Name::Cookie, b"cookie", &self.cookie);
        }
        if !self.fields.names().and(FORBIDDEN_SET).is_empty() {
            return self.forbidden();
        }
        if self.fields.names().has(Name::Te) && !self.takes_trailers_only() {
            return self.say(400, &[b"client sent invalid \"TE\" header"]);
        }
        if self.seen.authority {
            if !self.seen.host {
                self.fields.push_known(Name::Host, b"host", &self.authority);
            } else if self.fields.get(Name::Host) != Some(&self.authority[..]) {
                return self
                    .say(400, &[b"client sent \":authority\" and \"Host\" headers with different values"]);
            }
        } else if !self.seen.host {
            return self.say(400, &[b"client sent neither \":authority\" nor \"Host\" header"]);
        }
        if self.fields.names().has(Name::ContentLength) {
            match self.content_length {
                None => return self.say(400, &[b"client sent invalid \"Content-Length\" header"]),
                Some(length) if length > 0 && ends_stream => {
                    return self.say(400, &[b"client prematurely closed stream"]);
                }
                Some(_) => {}
            }
        }
        if self.seen.protocol && (self.method != Method::Connect || ends_stream) {
            self.say(400, &[b"client sent invalid :protocol header: \"", &self.protocol.clone(), b"\""]);
        }
    }

    #[cold]
    fn forbidden(&mut self) {
        let names = self.fields.names();
        let name = FORBIDDEN.into_iter().find(|name| names.has(*name)).unwrap_or_default();
        self.say(400, &[b"client sent \"", name.text().as_bytes(), b"\" header"]);
    }

    fn takes_trailers_only(&self) -> bool {
        let mut all = self.fields.get_all(Name::Te);
        all.next().is_some_and(|value| value.eq_ignore_ascii_case(b"trailers")) && all.next().is_none()
    }

    #[cold]
    fn say(&mut self, status: u16, words: &[&[u8]]) {
        if self.fault.is_none() {
            self.fault = Some(Box::new(HeadFault { status, text: words.concat() }));
        }
    }
}

/// Whether a path with its query needs to be normalised; `None` where it is none.
fn look_at_path(path: &[u8]) -> Option<bool> {
    let ([b'/'], rest) = path.split_at_checked(1)? else { return None };
    let (mut previous, mut needs, mut in_query) = (target::SLASH, false, false);
    for &byte in rest {
        let class = target::CLASS[usize::from(byte)];
        match class {
            target::PLAIN => {}
            target::END | target::FORBIDDEN => return None,
            target::HASH => needs = true,
            target::QUESTION => in_query = true,
            _ if in_query => {}
            target::PERCENT => needs = true,
            _ => needs |= previous == target::SLASH,
        }
        previous = class;
    }
    Some(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_looked_at_as_http_1_does() {
        for (path, want) in [
            ("/", Some(false)),
            ("/a/b.c?d=/../%20", Some(false)),
            ("//", Some(true)),
            ("/.a", Some(true)),
            ("/a/.", Some(true)),
            ("/a.", Some(false)),
            ("/%61", Some(true)),
            ("/a?b#c", Some(true)),
            ("a", None),
            ("", None),
            ("*", None),
            ("/a b", None),
            ("/a\x7f", None),
        ] {
            assert_eq!(look_at_path(path.as_bytes()), want, "{path}");
        }
    }
}
