//! `client_*`, `keepalive_*`, `lingering_*`: how a client's connection is read, kept and ended.

use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Args, BodyLimits, Compile, Directive, Exchange, InFile, Method, Scope, TempDir, TempPath, Template, Version, duplicate};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    header_buffer: Option<u64>,
    large_buffers: Option<(u64, u64)>,
    header_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    max_body: Option<u64>,
    body_buffer: Option<u64>,
    body_temp_path: Option<TempPath>,
    body_in_file_only: Option<usize>,
    body_in_single_buffer: Option<bool>,
    body_early_read: Option<bool>,
    keepalive_timeout: Option<(Duration, Option<Duration>)>,
    keepalive_min_timeout: Option<Duration>,
    keepalive_requests: Option<u64>,
    keepalive_time: Option<Duration>,
    keepalive_disable: Option<Vec<Word>>,
    lingering_close: Option<usize>,
    lingering_time: Option<Duration>,
    lingering_timeout: Option<Duration>,
    reset_timedout: Option<bool>,
    send_timeout: Option<Duration>,
    send_lowat: Option<u64>,
    underscores: Option<bool>,
    ignore_invalid: Option<bool>,
    merge_slashes: Option<bool>,
    max_headers: Option<u64>,
    server_tokens: Option<Word>,
    chunked: Option<bool>,
    nodelay: Option<bool>,
    limit_rate: Option<Word>,
    limit_rate_after: Option<Word>,
    msie_padding: Option<bool>,
    msie_refresh: Option<bool>,
    pool_size: Option<u64>,
    header_floor: Option<Option<Floor>>,
    body_floor: Option<Option<Floor>>,
    send_floor: Option<Option<Floor>>,
}

/// Who is slower than this is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    pub bytes_per_s: u64,
    /// For so long nobody looks.
    pub grace: Duration,
}

impl Floor {
    /// For how long one may wait in all for a client that has done so many bytes.
    pub fn patience(self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_per_s.max(1)).max(self.grace)
    }
}

/// Sizes in bytes.
pub struct Settings {
    /// `client_header_buffer_size`.
    pub header_bytes: usize,
    /// `large_client_header_buffers`: how many, and how large each.
    pub large_buffers: (usize, usize),
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    /// 0: no limit.
    pub body_bytes_max: u64,
    pub body_memory_bytes: usize,
    pub body_temp: TempDir,
    pub body_in_file_only: InFile,
    pub keepalive_timeout: Duration,
    /// Said to the client in `Keep-Alive: timeout=`.
    pub keepalive_said: Option<Duration>,
    pub keepalive_min_timeout: Duration,
    pub keepalive_requests: u64,
    pub keepalive_time: Duration,
    disabled: Disabled,
    pub lingering: Lingering,
    pub lingering_time: Duration,
    pub lingering_timeout: Duration,
    pub reset_timedout: bool,
    pub send_timeout: Duration,
    pub underscores: bool,
    pub ignore_invalid: bool,
    pub merge_slashes: bool,
    pub max_headers: usize,
    pub server_tokens: Tokens,
    /// `chunked_transfer_encoding`.
    pub chunked: bool,
    pub msie_padding: bool,
    /// `msie_refresh`.
    refresh: bool,
    pub limit_rate: Option<Template>,
    pub limit_rate_after: Option<Template>,
    /// `client_header_min_rate`, `client_body_min_rate`, `send_min_rate`.
    pub header_floor: Option<Floor>,
    pub body_floor: Option<Floor>,
    pub send_floor: Option<Floor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingering {
    Off,
    On,
    Always,
}

/// What `Server` and error pages say.
#[derive(Clone)]
pub enum Tokens {
    /// Name and version.
    On,
    /// The name alone.
    Off,
    /// Any text of the user's; empty: no `Server` at all.
    Text(Template),
}

const IN_FILE: &[&str] = &["off", "on", "clean"];
const LINGERING: &[&str] = &["off", "on", "always"];
const S: Scope = Scope::HTTP_SERVER;
const ANY: Scope = Scope::ANY_HTTP;

impl Settings {
    /// How bodies are read whole.
    pub fn body_limits(&self) -> BodyLimits<'_> {
        BodyLimits { memory_max: self.body_memory_bytes, temp: &self.body_temp, in_file: self.body_in_file_only }
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::size("client_header_buffer_size", S, |o| &mut o.header_buffer),
        Directive::own("large_client_header_buffers", S, Args::Exactly(2), large_buffers, large_inherit),
        Directive::time("client_header_timeout", S, |o| &mut o.header_timeout),
        Directive::time("client_body_timeout", ANY, |o| &mut o.body_timeout),
        Directive::offset("client_max_body_size", ANY, |o| &mut o.max_body),
        Directive::size("client_body_buffer_size", ANY, |o| &mut o.body_buffer),
        Directive::own("client_body_temp_path", ANY, Args::Between(1, 4), temp_path, temp_inherit),
        Directive::choice("client_body_in_file_only", ANY, IN_FILE, |o| &mut o.body_in_file_only),
        Directive::flag("client_body_in_single_buffer", ANY, |o| &mut o.body_in_single_buffer),
        Directive::flag("client_body_early_read", ANY, |o| &mut o.body_early_read),
        Directive::own("keepalive_timeout", ANY, Args::Between(1, 2), keepalive_timeout, keepalive_inherit),
        Directive::time("keepalive_min_timeout", ANY, |o| &mut o.keepalive_min_timeout),
        Directive::number("keepalive_requests", ANY, |o| &mut o.keepalive_requests),
        Directive::time("keepalive_time", ANY, |o| &mut o.keepalive_time),
        Directive::words("keepalive_disable", ANY, |o| &mut o.keepalive_disable),
        Directive::choice("lingering_close", ANY, LINGERING, |o| &mut o.lingering_close),
        Directive::time("lingering_time", ANY, |o| &mut o.lingering_time),
        Directive::time("lingering_timeout", ANY, |o| &mut o.lingering_timeout),
        Directive::flag("reset_timedout_connection", ANY, |o| &mut o.reset_timedout),
        Directive::time("send_timeout", ANY, |o| &mut o.send_timeout),
        Directive::size("send_lowat", ANY, |o| &mut o.send_lowat),
        Directive::flag("underscores_in_headers", S, |o| &mut o.underscores),
        Directive::flag("ignore_invalid_headers", S, |o| &mut o.ignore_invalid),
        Directive::flag("merge_slashes", S, |o| &mut o.merge_slashes),
        Directive::number("max_headers", S, |o| &mut o.max_headers),
        Directive::text("server_tokens", ANY, |o| &mut o.server_tokens),
        Directive::flag("chunked_transfer_encoding", ANY, |o| &mut o.chunked),
        Directive::flag("tcp_nodelay", ANY, |o| &mut o.nodelay),
        Directive::text("limit_rate", Scope::ANY_HTTP_IF, |o| &mut o.limit_rate),
        Directive::text("limit_rate_after", Scope::ANY_HTTP_IF, |o| &mut o.limit_rate_after),
        Directive::flag("msie_padding", ANY, |o| &mut o.msie_padding),
        Directive::flag("msie_refresh", ANY, |o| &mut o.msie_refresh),
        Directive::size("connection_pool_size", S, |o| &mut o.pool_size),
        Directive::own(
            "client_header_min_rate",
            S,
            Args::Between(1, 2),
            |o, node, _| floor(&mut o.header_floor, node),
            |o, outer| o.header_floor = o.header_floor.or(outer.header_floor),
        ),
        Directive::own(
            "client_body_min_rate",
            S,
            Args::Between(1, 2),
            |o, node, _| floor(&mut o.body_floor, node),
            |o, outer| o.body_floor = o.body_floor.or(outer.body_floor),
        ),
        Directive::own(
            "send_min_rate",
            ANY,
            Args::Between(1, 2),
            |o, node, _| floor(&mut o.send_floor, node),
            |o, outer| o.send_floor = o.send_floor.or(outer.send_floor),
        ),
    ];

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let s = Duration::from_secs;
        let (keepalive, said) = o.keepalive_timeout.unwrap_or((s(75), None));
        let (n_large, large) = o.large_buffers.unwrap_or((4, 8 << 10));
        let body_temp = TempPath::resolve(o.body_temp_path.as_ref(), "client_body_temp", &[], cx);
        let template = |word: &Option<Word>, cx: &mut Compile<'_>| rate(word.as_ref(), cx);
        Ok(Some(Settings {
            header_bytes: o.header_buffer.unwrap_or(1 << 10) as usize,
            large_buffers: (n_large as usize, large as usize),
            header_timeout: o.header_timeout.unwrap_or(s(60)),
            body_timeout: o.body_timeout.unwrap_or(s(60)),
            body_bytes_max: o.max_body.unwrap_or(1 << 20),
            body_memory_bytes: o.body_buffer.unwrap_or(16 << 10) as usize,
            body_temp,
            body_in_file_only: [InFile::No, InFile::Keep, InFile::Clean][o.body_in_file_only.unwrap_or(0)],
            keepalive_timeout: keepalive,
            keepalive_said: said,
            keepalive_min_timeout: o.keepalive_min_timeout.unwrap_or_default(),
            keepalive_requests: o.keepalive_requests.unwrap_or(1000),
            keepalive_time: o.keepalive_time.unwrap_or(s(3600)),
            disabled: Disabled::read(o.keepalive_disable.as_deref())?,
            lingering: [Lingering::Off, Lingering::On, Lingering::Always][o.lingering_close.unwrap_or(1)],
            lingering_time: o.lingering_time.unwrap_or(s(30)),
            lingering_timeout: o.lingering_timeout.unwrap_or(s(5)),
            reset_timedout: o.reset_timedout.unwrap_or(false),
            send_timeout: o.send_timeout.unwrap_or(s(60)),
            underscores: o.underscores.unwrap_or(false),
            ignore_invalid: o.ignore_invalid.unwrap_or(true),
            merge_slashes: o.merge_slashes.unwrap_or(true),
            max_headers: o.max_headers.unwrap_or(foregate_wire::h1::REQUEST_FIELDS_MAX as u64) as usize,
            server_tokens: tokens(o.server_tokens.as_ref(), cx)?,
            chunked: o.chunked.unwrap_or(true),
            msie_padding: o.msie_padding.unwrap_or(true),
            refresh: o.msie_refresh.unwrap_or(false),
            limit_rate: template(&o.limit_rate, cx)?,
            limit_rate_after: template(&o.limit_rate_after, cx)?,
            header_floor: o.header_floor.flatten(),
            body_floor: o.body_floor.flatten(),
            send_floor: o.send_floor.flatten(),
        }))
    }
}

/// `keepalive_disable`: browsers that get a connection's reuse wrong.
struct Disabled {
    msie6: bool,
    safari: bool,
}

impl Disabled {
    fn read(words: Option<&[Word]>) -> Result<Self, Error> {
        let Some(words) = words else { return Ok(Self { msie6: true, safari: false }) };
        let mut disabled = Self { msie6: false, safari: false };
        for word in words {
            match word.text.as_str() {
                "none" => (),
                "msie6" => disabled.msie6 = true,
                "safari" => disabled.safari = true,
                _ => return Err(Error::at(word.span, format!("invalid value \"{word}\""))),
            }
        }
        Ok(disabled)
    }
}

/// Whether this client is one that `keepalive_disable` names: old Internet Explorers behind a POST, Safari on a Mac.
pub fn keepalive_is_disabled(on: &Settings, ex: &Exchange) -> bool {
    let old_ones = on.disabled.msie6 && ex.method == Method::Post;
    if !old_ones && !on.disabled.safari {
        return false;
    }
    let Some(agent) = ex.field(b"User-Agent") else { return false };
    let says = |what: &[u8]| memchr::memmem::find(agent, what);
    if old_ones {
        let old = says(b"MSIE ").and_then(|at| agent.get(at + 5..at + 7));
        if old.is_some_and(|it| matches!(it, b"4." | b"5.") || it == b"6." && says(b"SV1").is_none()) {
            return true;
        }
    }
    on.disabled.safari && says(b"Mac OS X").is_some() && says(b"Safari/").is_some() && says(b"Chrome/").is_none()
}

/// Whether this client would show a page of its own in the place of a short error page (`msie_padding`).
pub fn pads(on: &Settings, ex: &Exchange) -> bool {
    let hides = |agent: &[u8]| [&b"MSIE "[..], b"Chrome/"].iter().any(|it| memchr::memmem::find(agent, it).is_some());
    on.msie_padding && ex.version >= Version::H10 && ex.field(b"User-Agent").is_some_and(hides)
}

/// Characters that nginx wants from the beginning of `MSIE ` on, to take a browser for an Internet Explorer.
const MSIE_CHARS_MIN: usize = 8;

/// Whether this client is sent on by a page instead of a redirect (`msie_refresh`).
pub fn refreshes(on: &Settings, ex: &Exchange) -> bool {
    let is_msie = |agent: &[u8]| {
        let at = memchr::memmem::find(agent, b"MSIE ");
        at.is_some_and(|at| agent.len() - at >= MSIE_CHARS_MIN) && memchr::memmem::find(agent, b"Opera").is_none()
    };
    on.refresh && ex.field(b"User-Agent").is_some_and(is_msie)
}

/// A rate or an amount in bytes: a constant is checked here, variables are read per request.
fn rate(word: Option<&Word>, cx: &mut Compile<'_>) -> Result<Option<Template>, Error> {
    let Some(word) = word else { return Ok(None) };
    let template = cx.template(word)?;
    if template.as_constant().is_some() {
        return match value::size(&word.text) {
            Some(0) => Ok(None),
            Some(bytes) => Ok(Some(Template::constant(bytes.to_string().as_bytes()))),
            None => Err(Error::at(word.span, "invalid value")),
        };
    }
    Ok(Some(template))
}

fn tokens(word: Option<&Word>, cx: &mut Compile<'_>) -> Result<Tokens, Error> {
    match word.map(|it| it.text.as_str()) {
        None | Some("on" | "build") => Ok(Tokens::On),
        Some("off") => Ok(Tokens::Off),
        Some(text) if text.is_empty() || text.contains('$') => {
            Ok(Tokens::Text(cx.template(word.expect("because its text was matched"))?))
        }
        Some(text) => Ok(Tokens::Text(Template::constant(text.as_bytes()))),
    }
}

/// For so long a client may be slower than a floor, if nothing else is said.
const GRACE: Duration = Duration::from_secs(5);

/// `RATE [grace=TIME]` in bytes a second; 0 is none.
fn floor(slot: &mut Option<Option<Floor>>, node: &Node) -> Result<(), Error> {
    let bad = |word: &Word| Error::at(word.span, format!("invalid value \"{word}\" in \"{}\" directive", node.name));
    let bytes_per_s = value::size(&node.args[0]).ok_or_else(|| bad(&node.args[0]))?;
    let grace = match node.args.get(1) {
        None => GRACE,
        Some(word) => {
            let time = word.strip_prefix("grace=").and_then(value::time_ms);
            Duration::from_millis(time.ok_or_else(|| bad(word))?)
        }
    };
    match slot.replace((bytes_per_s > 0).then_some(Floor { bytes_per_s, grace })) {
        None => Ok(()),
        Some(_) => Err(duplicate(node)),
    }
}

fn large_buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.large_buffers.is_some() {
        return Err(duplicate(node));
    }
    let bad = || Error::at(node.span, "\"large_client_header_buffers\" directive invalid value");
    let n = value::number(&node.args[0]).filter(|n| *n > 0).ok_or_else(bad)?;
    let bytes = value::size(&node.args[1]).filter(|n| *n > 0).ok_or_else(bad)?;
    o.large_buffers = Some((n, bytes));
    Ok(())
}

fn large_inherit(o: &mut Options, outer: &Options) {
    o.large_buffers = o.large_buffers.or(outer.large_buffers);
}

fn temp_path(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.body_temp_path.is_some() {
        return Err(duplicate(node));
    }
    o.body_temp_path = Some(TempPath::read(node)?);
    Ok(())
}

fn temp_inherit(o: &mut Options, outer: &Options) {
    if o.body_temp_path.is_none() {
        o.body_temp_path.clone_from(&outer.body_temp_path);
    }
}

fn keepalive_timeout(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.keepalive_timeout.is_some() {
        return Err(duplicate(node));
    }
    let bad = || Error::at(node.span, "\"keepalive_timeout\" directive invalid value");
    let timeout = value::time_ms(&node.args[0]).map(Duration::from_millis).ok_or_else(bad)?;
    let said = match node.args.get(1) {
        Some(word) => Some(value::time_s(word).map(Duration::from_secs).ok_or_else(bad)?),
        None => None,
    };
    o.keepalive_timeout = Some((timeout, said));
    Ok(())
}

fn keepalive_inherit(o: &mut Options, outer: &Options) {
    o.keepalive_timeout = o.keepalive_timeout.or(outer.keepalive_timeout);
}
