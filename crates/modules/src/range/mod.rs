//! Range requests (RFC 9110, section 14): 206 with one part or several, 416, `Accept-Ranges`.

mod cut;
mod multipart;
#[cfg(test)]
mod tests;

use std::ops::Range;

use foregate_conf::Error;
use foregate_core::{Body, Compile, Directive, Exchange, Part, Reply, Scope, Version};
use foregate_wire::date;
use foregate_wire::range::{Ranges, parse};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    max_ranges: Option<u64>,
}

/// Resolved everywhere.
pub struct Settings {
    /// `None`: as many as together are not larger than the whole.
    parts_max: Option<usize>,
}

/// From here on nginx takes a number for no limit.
const UNLIMITED: u64 = i32::MAX as u64;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::number("max_ranges", Scope::ANY_HTTP, |o| &mut o.max_ranges)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let parts_max = options.max_ranges.filter(|it| *it < UNLIMITED).map(|it| it as usize);
        Ok(Some(Settings { parts_max }))
    }
}

/// Cuts the body to what the client asks for. It comes behind every filter that changes the body. After it the
/// reply may be a bare 416 that wants its page.
pub fn filter(on: &Settings, ex: &Exchange, reply: &mut Reply) {
    if !reply.allow_ranges
        || reply.status != 200
        || ex.subrequest_depth > 0
        || ex.version < Version::H10
        || on.parts_max == Some(0)
    {
        return;
    }
    let Some(length) = reply.content_length() else { return };
    let asked = ex.field(b"range").filter(|_| if_range_holds(ex, reply));
    // A stream is cut once: what has passed cannot be sent again.
    let parts_max = if is_stream(&reply.body) { Some(1) } else { on.parts_max };
    match asked.map_or(Ranges::Whole, |value| parse(value, length, parts_max)) {
        Ranges::Whole => reply.fields.set(b"Accept-Ranges", b"bytes"),
        Ranges::NotSatisfiable => not_satisfiable(reply, length),
        Ranges::Parts(parts) => {
            reply.status = 206;
            reply.reason = None;
            match &*parts {
                [part] => single(reply, part, length),
                parts => multipart::put(reply, parts, length),
            }
        }
    }
}

/// `If-Range`: the client's first part is of this very version; else it gets the whole.
fn if_range_holds(ex: &Exchange, reply: &Reply) -> bool {
    match ex.field(b"if-range") {
        None => true,
        Some(tag) if tag.len() >= 2 && tag.ends_with(b"\"") => reply.fields.get(b"ETag") == Some(tag),
        Some(time) => reply.mtime.is_some() && date::parse(time) == reply.mtime,
    }
}

fn is_stream(body: &Body) -> bool {
    !matches!(body, Body::Empty | Body::Bytes(_) | Body::File(_))
}

fn not_satisfiable(reply: &mut Reply, length: u64) {
    *reply = Reply::status(416);
    reply.fields.push(b"Content-Range", format!("bytes */{length}").as_bytes());
}

fn single(reply: &mut Reply, part: &Range<u64>, length: u64) {
    let says = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    reply.fields.set(b"Content-Range", says.as_bytes());
    reply.length = Some(part.end - part.start);
    reply.body = match std::mem::take(&mut reply.body) {
        body if is_stream(&body) => Body::Source(cut::Cut::boxed(body.into_source(), part)),
        body => match slice(&body, part) {
            Some(Part::Bytes(bytes)) => Body::Bytes(bytes),
            Some(Part::File(slice)) => Body::File(slice),
            None => Body::Empty,
        },
    };
}

/// A part of a body at hand; `None` where there is only a length, as for HEAD.
fn slice(body: &Body, part: &Range<u64>) -> Option<Part> {
    match body {
        Body::Bytes(bytes) => Some(Part::Bytes(bytes.slice(part.start as usize..part.end as usize))),
        Body::File(whole) => {
            let mut slice = whole.clone();
            slice.end = slice.start + part.end;
            slice.start += part.start;
            Some(Part::File(slice))
        }
        _ => None,
    }
}
