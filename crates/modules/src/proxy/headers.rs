//! The fields of a request that is passed on: `proxy_set_header`, what is set by default, and the client's own.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, push_number};
use foregate_upstream::{AskedFor, SetFields};
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
    set: SetFields,
    /// `Content-Length` and `Transfer-Encoding` are ours to say.
    says_length: bool,
    says_chunked: bool,
    /// So are these, where a cache has something to compare with.
    says_modified_since: bool,
    says_none_match: bool,
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
        Ok(Self {
            set: SetFields::compile(written, &OURS, cx)?,
            says_length: SetFields::leaves(written, "Content-Length"),
            says_chunked: SetFields::leaves(written, "Transfer-Encoding"),
            says_modified_since: SetFields::leaves(written, "If-Modified-Since"),
            says_none_match: SetFields::leaves(written, "If-None-Match"),
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
        for (name, value) in &self.set.others {
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
        let mut replaced = self.set.replaced.known();
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
            let hides = |name: &[u8]| self.set.replaced.has_other(name);
            ex.fields.write_lines(replaced, hides, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// As [`Headers::write`], for HTTP/2: `:authority`, and all fields.
    pub(super) fn draft(&self, ex: &mut Exchange, to: &To<'_>, out: &mut Vec<u8>) {
        self.set.draft(to.host, ex, out);
        if let (Length::Bytes(n), true) = (to.length, self.says_length) {
            let open = Draft::open(b"content-length", out);
            push_number(n, out);
            open.close(out);
        }
        let mut besides = NameSet::EMPTY;
        if let Some(cached) = to.cached.filter(|it| it.whole) {
            besides = PARTIAL;
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
            self.set.draft_clients(besides, ex, out);
        }
    }

    fn write_host(&self, ex: &mut Exchange, proxy_host: &str, is_http_10: bool, out: &mut Vec<u8>) {
        let Some(host) = &self.set.host else { return field(b"Host", proxy_host.as_bytes(), out) };
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
