//! `fastcgi_param` and the request's fields: what a script is told of its request.

use foregate_conf::{Error, Span, Word};
use foregate_core::{Compile, Exchange, Template};
use foregate_wire::fastcgi::param;

/// One `fastcgi_param` as written.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) name: Word,
    pub(super) value: Word,
    /// Not sent where the value is empty.
    pub(super) if_not_empty: bool,
}

/// Compiled parameters.
pub(super) struct Params {
    set: Box<[Param]>,
    /// Fields that stay behind, since a parameter has their name: in lower case, with underscores for hyphens.
    replaced: Box<[Box<[u8]>]>,
    passes_fields: bool,
}

struct Param {
    name: Box<[u8]>,
    value: Template,
    if_not_empty: bool,
}

/// What the names of fields begin with as parameters (RFC 3875, section 4.1.18).
const HTTP: &str = "HTTP_";

/// Parameters that are set unless the configuration sets them itself.
const DEFAULTS: &[(&str, &str)] = &[("HTTP_HOST", "$host$is_request_port$request_port")];

/// Those of a request that is made for a cache, which wants the whole, whatever the client asks for.
const FOR_CACHE: &[(&str, &str)] = &[
    ("HTTP_HOST", "$host$is_request_port$request_port"),
    ("HTTP_IF_MODIFIED_SINCE", "$upstream_cache_last_modified"),
    ("HTTP_IF_UNMODIFIED_SINCE", ""),
    ("HTTP_IF_NONE_MATCH", "$upstream_cache_etag"),
    ("HTTP_IF_MATCH", ""),
    ("HTTP_RANGE", ""),
    ("HTTP_IF_RANGE", ""),
];

impl Params {
    pub(super) fn compile(
        written: &[Line],
        for_cache: bool,
        passes_fields: bool,
        cx: &mut Compile<'_>,
    ) -> Result<Self, Error> {
        let word = |text: &str| Word::new(text.as_bytes().to_vec(), Span::default(), false);
        let defaults = if for_cache { FOR_CACHE } else { DEFAULTS };
        let defaults = defaults
            .iter()
            .filter(|(name, _)| !written.iter().any(|it| it.name.eq_ignore_ascii_case(name)))
            .map(|(name, value)| Line { name: word(name), value: word(value), if_not_empty: true });
        let (mut set, mut replaced) = (Vec::new(), Vec::<Box<[u8]>>::new());
        for line in written.iter().cloned().chain(defaults) {
            if let Some(name) = line.name.strip_prefix(HTTP).filter(|it| !it.is_empty()) {
                replaced.push(name.to_ascii_lowercase().into_bytes().into());
                if line.value.is_empty() {
                    continue;
                }
            }
            let (name, value) = (line.name.bytes().into(), cx.template(&line.value)?);
            set.push(Param { name, value, if_not_empty: line.if_not_empty });
        }
        Ok(Self { set: set.into(), replaced: replaced.into(), passes_fields })
    }

    /// Hands every parameter to `each`, those of the configuration first.
    pub(super) fn each(&self, ex: &mut Exchange, mut each: impl FnMut(&[u8], &[u8])) {
        let mut value = Vec::new();
        for it in &self.set {
            value.clear();
            it.value.fill(ex, &mut value);
            if !value.is_empty() || !it.if_not_empty {
                each(&it.name, &value);
            }
        }
        if self.passes_fields {
            self.fields(ex, each);
        }
    }

    /// The parameters as FastCGI's stream of them.
    pub(super) fn stream(&self, ex: &mut Exchange) -> Vec<u8> {
        let mut stream = Vec::with_capacity(STREAM_BYTES);
        self.each(ex, |name, value| param(name, value, &mut stream));
        stream
    }

    /// The request's fields; those of one name as one.
    fn fields(&self, ex: &Exchange, mut each: impl FnMut(&[u8], &[u8])) {
        let (mut name, mut joined) = (HTTP.as_bytes().to_vec(), Vec::new());
        for (at, (field, value)) in ex.fields.iter().enumerate() {
            name.truncate(HTTP.len());
            name.extend(field.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }));
            if self.replaced.iter().any(|it| it.eq_ignore_ascii_case(&name[HTTP.len()..])) {
                continue;
            }
            let same = |it: &(&[u8], &[u8])| it.0.eq_ignore_ascii_case(field);
            if ex.fields.iter().take(at).any(|it| same(&it)) {
                continue;
            }
            name.make_ascii_uppercase();
            let between: &[u8] = if field.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
            let mut more = ex.fields.iter().skip(at + 1).filter(same).peekable();
            if more.peek().is_none() {
                each(&name, value);
                continue;
            }
            joined.clear();
            joined.extend_from_slice(value);
            for (_, value) in more {
                joined.extend_from_slice(between);
                joined.extend_from_slice(value);
            }
            each(&name, &joined);
        }
    }
}

/// What most requests' parameters take.
const STREAM_BYTES: usize = 2048;
