//! The fields of a request that is passed on: `proxy_set_header`, what is set by default, and the client's own.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Template, push_number};
use foregate_upstream::{AskedFor, Hidden};
use foregate_wire::h2::client::Draft;
use foregate_wire::{Name, NameSet};

/// Names that never pass as the client sent them.
const OURS: [&str; 9] = [
    "Host",
    "Connection",
    "Proxy-Connection",
    "Content-Length",
    "Transfer-Encoding",
    "TE",
    "Keep-Alive",
    "Expect",
    "Upgrade",
];

/// Names that do not pass where a cache wants the whole, whatever the client has or asks for.
const PARTIAL: NameSet = NameSet::of(&[
    Name::IfModifiedSince,
    Name::IfUnmodifiedSince,
    Name::IfNoneMatch,
    Name::IfMatch,
    Name::Range,
    Name::IfRange,
]);

/// Bytes that the fields we set seldom exceed together: reserved at once.
const OWN_BYTES: usize = 256;

/// Compiled fields.
pub(super) struct Headers {
    /// `proxy_set_header Host`; unset: `$proxy_host`.
    host: Option<Template>,
    /// What the configuration sets, in its order.
    set: Box<[(Box<[u8]>, Template)]>,
    /// `Content-Length` and `Transfer-Encoding` are ours to say.
    says_length: bool,
    says_chunked: bool,
    /// So are these, where a cache has something to compare with.
    says_modified_since: bool,
    says_none_match: bool,
    /// The client's fields of these names stay behind.
    replaced: Hidden,
    passes_others: bool,
}

/// What is known of the body when the head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    Chunked,
    /// No body, and nothing was said about it.
    Unsaid,
}

/// For whom a head is written.
pub(super) struct To<'a> {
    /// `$proxy_host`.
    pub(super) host: &'a str,
    pub(super) is_http_10: bool,
    pub(super) length: Length,
    pub(super) cached: Option<&'a AskedFor>,
}

impl Headers {
    pub(super) fn compile(
        written: Option<&[(Word, Word)]>,
        passes_others: bool,
        cx: &mut Compile<'_>,
    ) -> Result<Self, Error> {
        let written = written.unwrap_or_default();
        let mut host = None;
        let mut set = Vec::new();
        for (name, value) in written {
            if name.eq_ignore_ascii_case("host") {
                host = Some(cx.template(value)?);
            } else if !value.is_empty() {
                set.push((name.bytes().into(), cx.template(value)?));
            }
        }
        let says = |name: &str| !written.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let names: Vec<String> = written.iter().map(|(name, _)| name.text.clone()).collect();
        Ok(Self {
            host,
            set: set.into(),
            says_length: says("Content-Length"),
            says_chunked: says("Transfer-Encoding"),
            says_modified_since: says("If-Modified-Since"),
            says_none_match: says("If-None-Match"),
            replaced: Hidden::new(&OURS, &names, &[]),
            passes_others,
        })
    }

    /// Writes all fields and the empty line behind them.
    pub(super) fn write(
        &self,
        ex: &mut Exchange,
        to: &To<'_>,
        out: &mut Vec<u8>,
    ) {
        out.reserve(ex.fields.lines_len() + OWN_BYTES);
        self.write_host(ex, to.host, to.is_http_10, out);
        for (name, value) in &self.set {
            let start = out.len();
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            let empty = out.len();
            value.fill(ex, out);
            // A field without a value is not sent.
            if out.len() == empty {
                out.truncate(start);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
        match to.length {
            Length::Bytes(n) if self.says_length => {
                out.extend_from_slice(b"Content-Length: ");
                push_number(n, out);
                out.extend_from_slice(b"\r\n");
            }
            Length::Chunked if self.says_chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            _ => (),
        }
        let mut replaced = self.replaced.known();
        if let Some(cached) = to.cached.filter(|it| it.whole) {
            replaced = replaced.or(PARTIAL);
            for (says, name, value) in [
                (self.says_modified_since, &b"If-Modified-Since"[..], &cached.modified),
                (self.says_none_match, b"If-None-Match", &cached.etag),
            ] {
                if let (true, Some(value)) = (says, value) {
                    field(name, value, out);
                }
            }
        }
        if self.passes_others {
            let hides = |name: &[u8]| self.replaced.has_other(name);
            ex.fields.write_lines(replaced, hides, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// As [`Headers::write`], for HTTP/2: `:authority`, and all fields.
    pub(super) fn draft(&self, ex: &mut Exchange, to: &To<'_>, out: &mut Vec<u8>) {
        let authority = Draft::open(b":authority", out);
        let start = out.len();
        if let Some(host) = &self.host {
            host.fill(ex, out);
        }
        if out.len() == start {
            out.extend_from_slice(to.host.as_bytes());
        }
        authority.close(out);
        for (name, value) in &self.set {
            let open = Draft::open(name, out);
            value.fill(ex, out);
            open.close_unless_empty(out);
        }
        if let (Length::Bytes(n), true) = (to.length, self.says_length) {
            let open = Draft::open(b"content-length", out);
            push_number(n, out);
            open.close(out);
        }
        let mut replaced = self.replaced.known();
        if let Some(cached) = to.cached.filter(|it| it.whole) {
            replaced = replaced.or(PARTIAL);
            for (says, name, value) in [
                (self.says_modified_since, &b"if-modified-since"[..], &cached.modified),
                (self.says_none_match, b"if-none-match", &cached.etag),
            ] {
                if let (true, Some(value)) = (says, value) {
                    Draft::field(name, value, out);
                }
            }
        }
        if self.passes_others {
            for (known, name, value) in ex.fields.iter_known() {
                let is_replaced = replaced.has(known) || known == Name::Other && self.replaced.has_other(name);
            if !is_replaced {
                    Draft::field(name, value, out);
                }
            }
        }
    }

    fn write_host(&self, ex: &mut Exchange, proxy_host: &str, is_http_10: bool, out: &mut Vec<u8>) {
        let Some(host) = &self.host else { return field(b"Host", proxy_host.as_bytes(), out) };
        let start = out.len();
        out.extend_from_slice(b"Host: ");
        let empty = out.len();
        host.fill(ex, out);
        if out.len() == empty {
            // HTTP/1.1 needs a Host: the upstream's own name stands in.
            if is_http_10 {
                return out.truncate(start);
            }
            out.extend_from_slice(proxy_host.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
