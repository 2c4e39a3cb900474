//! Conditional requests (RFC 9110, section 13): 304 for what the client has, 412 for what is not what it thinks.

#[cfg(test)]
mod tests;

use foregate_conf::Error;
use foregate_core::{Body, Compile, Directive, Exchange, Reply, Scope};
use foregate_wire::date;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    if_modified_since: Option<usize>,
}

/// Resolved everywhere.
pub struct Settings {
    since: Since,
}

/// How `If-Modified-Since` is compared (`if_modified_since`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Whatever it says, the reply counts as modified.
    Off,
    /// Only the very time of `Last-Modified` counts.
    Exact,
    /// So does any later time.
    Before,
}

const SINCE: &[&str] = &["off", "exact", "before"];

/// What is no date compares as this: earlier than everything.
const NO_DATE: i64 = -1;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::choice("if_modified_since", Scope::ANY_HTTP, SINCE, |o| &mut o.if_modified_since)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let since = match options.if_modified_since {
            Some(0) => Since::Off,
            Some(2) => Since::Before,
            _ => Since::Exact,
        };
        Ok(Some(Settings { since }))
    }
}

/// Judges the request's conditions. After it the reply may be a 304, or a bare 412 that wants its page.
pub fn filter(on: &Settings, ex: &Exchange, reply: &mut Reply) {
    if reply.status != 200 || ex.subrequest_depth > 0 || reply.conditions_judged {
        return;
    }
    let failed = ex.field(b"if-unmodified-since").is_some_and(|it| !is_unmodified(it, reply))
        || ex.field(b"if-match").is_some_and(|it| !lists(it, reply, Compare::Strong));
    if failed {
        *reply = Reply::status(412);
        return;
    }
    let since = ex.field(b"if-modified-since");
    let tags = ex.field(b"if-none-match");
    if since.is_none() && tags.is_none() {
        return;
    }
    // Where both are there, both must find the client's copy good.
    let fresh = since.is_none_or(|it| !is_modified(on.since, it, reply))
        && tags.is_none_or(|it| lists(it, reply, Compare::Weak));
    if fresh {
        not_modified(reply);
    }
}

/// The fields that stay describe the copy that the client has; those that describe a body go.
fn not_modified(reply: &mut Reply) {
    reply.status = 304;
    reply.reason = None;
    reply.body = Body::Empty;
    reply.length = None;
    reply.type_by_uri = false;
    reply.allow_ranges = false;
    for name in [&b"Content-Type"[..], b"Content-Encoding", b"Accept-Ranges"] {
        reply.fields.remove(name);
    }
}

fn is_unmodified(since: &[u8], reply: &Reply) -> bool {
    reply.mtime.is_some_and(|mtime| date::parse(since).unwrap_or(NO_DATE) >= mtime)
}

fn is_modified(how: Since, since: &[u8], reply: &Reply) -> bool {
    let Some(mtime) = reply.mtime else { return true };
    let since = date::parse(since).unwrap_or(NO_DATE);
    match how {
        Since::Off => true,
        Since::Exact => since != mtime,
        Since::Before => since < mtime,
    }
}

/// RFC 9110, section 8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// Whether a list of entity tags has the reply's, or is `*`.
fn lists(list: &[u8], reply: &Reply, how: Compare) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(tag) = reply.fields.get(b"ETag") else { return false };
    let opaque = |tag: &[u8]| tag.starts_with(b"W/") && tag.len() > 2 && how == Compare::Weak;
    let tag = if opaque(tag) { &tag[2..] } else { tag };
    let mut rest = list;
    while !rest.is_empty() {
        rest = if opaque(rest) { &rest[2..] } else { rest };
        if let Some(behind) = rest.strip_prefix(tag)
            && matches!(skip(behind, b" \t").first(), None | Some(b','))
        {
            return true;
        }
        let comma = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        rest = skip(&rest[comma..], b" \t,");
    }
    false
}

fn skip<'a>(text: &'a [u8], what: &[u8]) -> &'a [u8] {
    &text[text.iter().take_while(|byte| what.contains(byte)).count()..]
}
