//! `slice`: large answers asked for piece by piece, each with a request of its own (`proxy_set_header Range
//! $slice_range;`), so that a cache keeps pieces and a broken transfer loses one only.

mod body;
mod content_range;
#[cfg(test)]
mod tests;

use foregate_conf::Error;
use foregate_core::{
    Body, Compile, Directive, Exchange, Level, Method, Reply, Scope, Variable, log, push_number,
};
use foregate_wire::date;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    size: Option<u64>,
}

pub struct Settings {
    size_bytes: u64,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::size("slice", Scope::ANY_HTTP, |o| &mut o.size)];

    const VARIABLES: &'static [Variable] = &[Variable::new("slice_range", slice_range)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.size.filter(|it| *it > 0).map(|size_bytes| Settings { size_bytes }))
    }
}

/// A note: the piece that this request asks for, once somebody has looked at `$slice_range`.
#[derive(Clone)]
struct Asked {
    location: u32,
    start: u64,
    size: u64,
}

fn slice_range(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let asked = match ex.notes.get::<Asked>().filter(|it| it.location == ex.location) {
        Some(asked) => asked.clone(),
        None if ex.subrequest_depth > 0 || ex.sent.status != 0 => return false,
        None => {
            let cycle = ex.cycle.clone();
            let Some(on) = &crate::settings(&*cycle, ex.location).slice else { return false };
            let start = first_wanted(ex) / on.size_bytes * on.size_bytes;
            let asked = Asked { location: ex.location, start, size: on.size_bytes };
            ex.notes.put(asked.clone());
            asked
        }
    };
    out.extend_from_slice(b"bytes=");
    push_number(asked.start, out);
    out.push(b'-');
    push_number(asked.start.saturating_add(asked.size - 1), out);
    true
}

/// The first byte that the client wants, where it asks for one range and nothing may turn that into the whole.
fn first_wanted(ex: &Exchange) -> u64 {
    let range = ex.field(b"range").filter(|_| ex.field(b"if-range").is_none());
    let Some((unit, range)) = range.and_then(|it| it.split_at_checked(6)) else { return 0 };
    if !unit.eq_ignore_ascii_case(b"bytes=") || range.contains(&b',') {
        return 0;
    }
    let range = range.trim_ascii_start();
    let digits = range.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&range[..digits]).ok().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// As nginx's `postpone_output`: a head waits for so many bytes of its body.
const POSTPONED_BYTES: usize = 1460;

/// Waits for the first bytes of what [`filter`] has made, behind all other filters: where a piece fails before any of
/// it was sent, the client gets nothing. `None`: the connection is closed.
pub async fn begin(ex: &Exchange, reply: &mut Reply) -> Option<()> {
    let is_sliced = ex.subrequest_depth == 0 && ex.notes.get::<Sliced>().is_some();
    if !is_sliced || ex.method == Method::Head {
        return Some(());
    }
    reply.length = reply.content_length();
    reply.body = body::begun(std::mem::take(&mut reply.body), POSTPONED_BYTES).await.ok()?;
    Some(())
}

/// A note: the answer is put together from pieces.
struct Sliced;

/// Header and body filter, before all others: the first piece's answer becomes one for the whole.
///
/// `None`: it is no answer to what was asked; the connection is closed.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) -> Option<()> {
    let asked = ex.notes.get::<Asked>().filter(|it| it.location == ex.location);
    let Some(asked) = asked.filter(|_| ex.subrequest_depth == 0 && reply.status == 206) else { return Some(()) };
    let (start, size) = (asked.start, on.size_bytes);
    let part = match content_range::check(reply, start, size) {
        Ok(part) => part,
        Err(what) => {
            log!(ex, Level::Error, "{what}");
            return None;
        }
    };
    reply.status = 200;
    reply.reason = None;
    reply.length = Some(part.whole);
    reply.fields.remove(b"Content-Range");
    reply.fields.remove(b"Accept-Ranges");
    reply.allow_ranges = true;
    reply.mtime = reply.mtime.or_else(|| reply.fields.get(b"Last-Modified").and_then(date::parse));
    ex.notes.put(Sliced);
    let etag = reply.fields.get(b"ETag").map(<[u8]>::to_vec);
    let first = std::mem::take(&mut reply.body).into_source();
    reply.body = Body::Source(Box::new(body::Sliced::new(ex.twin(), size, etag, part, first)));
    Some(())
}
