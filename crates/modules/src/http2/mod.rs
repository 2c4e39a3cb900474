//! `http2` and `http2_*`: whether clients may speak HTTP/2, and its limits.

#[cfg(test)]
mod tests;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Args, Compile, Directive, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: Option<bool>,
    streams_max: Option<u64>,
    preread: Option<u64>,
    chunk: Option<u64>,
    recv_buffer: Option<u64>,
    pool_size: Option<u64>,
    streams_index: Option<u64>,
    warnings: Vec<Error>,
}

/// Sizes in bytes.
pub struct Settings {
    pub on: bool,
    /// `http2_max_concurrent_streams`.
    pub streams_max: u32,
    /// `http2_body_preread_size`: what a client may send of a body before anybody wants it.
    pub preread: u32,
    /// `http2_chunk_size`: the longest frame of data that we send.
    pub chunk: usize,
}

/// The largest window, which no preread may exceed (RFC 9113, section 6.9.1).
const WINDOW_MAX: u64 = (1 << 31) - 1;
/// The largest frame (section 4.2).
const FRAME_MAX: u64 = (1 << 24) - 1;
/// nginx's `http2_recv_buffer_size` must be larger.
const RECV_BUFFER_MIN: u64 = 16;

const S: Scope = Scope::HTTP_SERVER;
const ANY: Scope = Scope::ANY_HTTP;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("http2", S, |o| &mut o.on),
        Directive::number("http2_max_concurrent_streams", S, |o| &mut o.streams_max),
        Directive::own("http2_body_preread_size", S, Args::Exactly(1), preread, preread_inherit),
        Directive::own("http2_chunk_size", ANY, Args::Exactly(1), chunk, chunk_inherit),
        Directive::own("http2_recv_buffer_size", Scope::HTTP, Args::Exactly(1), recv_buffer, nothing),
        Directive::size("http2_pool_size", S, |o| &mut o.pool_size),
        Directive::own("http2_streams_index_size", S, Args::Exactly(1), streams_index, nothing),
        Directive::own("http2_max_requests", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_max_field_size", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_max_header_size", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_recv_timeout", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_idle_timeout", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_max_concurrent_pushes", S, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_push", ANY, Args::Exactly(1), obsolete, nothing),
        Directive::own("http2_push_preload", ANY, Args::Exactly(1), obsolete, nothing),
    ];

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        o.warnings.into_iter().for_each(|it| cx.warn(it));
        Ok(Some(Settings {
            on: o.on.unwrap_or(false),
            streams_max: o.streams_max.unwrap_or(128).min(u32::MAX.into()) as u32,
            preread: o.preread.unwrap_or(64 << 10) as u32,
            chunk: o.chunk.unwrap_or(8 << 10).min(FRAME_MAX) as usize,
        }))
    }
}

fn nothing(_: &mut Options, _: &Options) {}

fn size(slot: &mut Option<u64>, node: &Node) -> Result<u64, Error> {
    if slot.is_some() {
        return Err(foregate_core::duplicate(node));
    }
    let word = &node.args[0];
    let bytes = value::size(word).ok_or_else(|| Error::at(word.span, "invalid value"))?;
    *slot = Some(bytes);
    Ok(bytes)
}

fn preread(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    match size(&mut o.preread, node)? {
        0..=WINDOW_MAX => Ok(()),
        _ => {
            let what = format!("the maximum body preread buffer size is {WINDOW_MAX}");
            Err(Error::at(node.args[0].span, what))
        }
    }
}

fn preread_inherit(o: &mut Options, outer: &Options) {
    o.preread = o.preread.or(outer.preread);
}

fn chunk(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    match size(&mut o.chunk, node)? {
        0 => Err(Error::at(node.args[0].span, "the http2 chunk size cannot be zero")),
        _ => Ok(()),
    }
}

fn chunk_inherit(o: &mut Options, outer: &Options) {
    o.chunk = o.chunk.or(outer.chunk);
}

/// Blocks of the thread take its place.
fn recv_buffer(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    match size(&mut o.recv_buffer, node)? {
        0..=RECV_BUFFER_MIN => Err(Error::at(node.name.span, "\"http2_recv_buffer_size\" directive value is too small")),
        _ => Ok(()),
    }
}

/// Streams are found without a table whose size could be set.
fn streams_index(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word: &Word = &node.args[0];
    let n = value::number(word).ok_or_else(|| Error::at(word.span, "invalid number"))?;
    if o.streams_index.replace(n).is_some() {
        return Err(foregate_core::duplicate(node));
    }
    if !n.is_power_of_two() {
        return Err(Error::at(node.name.span, "\"http2_streams_index_size\" directive must be a power of two"));
    }
    Ok(())
}

/// What nginx does not have any more either.
fn obsolete(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = node.name.text.as_str();
    let instead = match name {
        "http2_max_requests" => "keepalive_requests",
        "http2_max_field_size" | "http2_max_header_size" => "large_client_header_buffers",
        "http2_recv_timeout" => "client_header_timeout",
        "http2_idle_timeout" => "keepalive_timeout",
        _ => {
            let what = format!("the \"{name}\" directive is obsolete, ignored");
            o.warnings.push(Error::at(node.span, what).warn());
            return Ok(());
        }
    };
    let what = format!("the \"{name}\" directive is obsolete, use the \"{instead}\" directive instead");
    o.warnings.push(Error::at(node.span, what).warn());
    Ok(())
}
