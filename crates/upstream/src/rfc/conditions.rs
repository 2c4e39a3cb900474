//! Conditional requests answered by a cache (RFC 9111, section 4.3.2): whether the client's copy is still good.

use foregate_core::{Body, Exchange, Method, Reply};
use foregate_wire::{Name, date};

/// Judges the request's conditions: the answer may become a 304. Whether it may be cut is judged as well.
///
/// `dated_s`: what `Date` says, which stands in where `Last-Modified` is missing.
pub(super) fn judge(ex: &Exchange, reply: &mut Reply, dated_s: i64) {
    if reply.status != 200 || ex.subrequest_depth > 0 || !matches!(ex.method, Method::Get | Method::Head) {
        return;
    }
    reply.conditions_judged = true;
    if ex.fields.get(Name::IfRange).is_some_and(|it| it.starts_with(b"W/")) {
        // A weak tag says nothing about bytes (RFC 9110, section 13.1.5): the whole it is.
        reply.allow_ranges = false;
    }
    if has_copy(ex, reply, dated_s) {
        not_modified(reply);
    }
}

/// If-None-Match goes before If-Modified-Since, which is not looked at then (RFC 9110, section 13.1.3).
fn has_copy(ex: &Exchange, reply: &Reply, dated_s: i64) -> bool {
    if ex.fields.contains(Name::IfNoneMatch) {
        let etag = reply.fields.get(Name::ETag).map(opaque);
        return ex.fields.get_all(Name::IfNoneMatch).any(|list| lists(list, etag));
    }
    let since = ex.fields.get(Name::IfModifiedSince).and_then(date::parse);
    since.is_some_and(|since| reply.mtime.unwrap_or(dated_s) <= since)
}

/// Whether a list of entity tags has this one, by the weak comparison (RFC 9110, section 8.8.3.2).
fn lists(list: &[u8], etag: Option<&[u8]>) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let mut rest = list;
    loop {
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b',')).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return false;
        }
        let tag = opaque(rest);
        let end = match tag.strip_prefix(b"\"") {
            Some(inner) => inner.iter().position(|b| *b == b'"').map_or(tag.len(), |at| at + 2),
            None => tag.iter().position(|b| *b == b',').unwrap_or(tag.len()),
        };
        if tag[..end].trim_ascii() == etag {
            return true;
        }
        rest = &tag[end..];
    }
}

/// Without what says that it is weak.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn not_modified(reply: &mut Reply) {
    reply.status = 304;
    reply.reason = None;
    reply.body = Body::Empty;
    reply.length = None;
    reply.type_by_uri = false;
    reply.allow_ranges = false;
    for name in [Name::ContentType, Name::ContentEncoding, Name::AcceptRanges] {
        reply.fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        for (list, found) in [
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("\"x, \\\"a\", \"c\"", false),
            // A comma inside of a tag is the tag's.
            ("\"b,\", \"a\"", true),
            ("\"b,\"a\"", false),
            ("a", false),
            ("", false),
            ("\"ab\"", false),
        ] {
            assert_eq!(lists(list.as_bytes(), Some(b"\"a\"")), found, "{list}");
        }
        assert!(!lists(b"\"a\"", None) && lists(b"*", None));
    }
}
