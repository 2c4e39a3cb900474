//! `charset`: says in which character set a text is, and recodes it where a map is given.

mod map;
mod recode;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Body, Compile, Directive, Exchange, Level, Reply, Scope, Template, Transform as _, Types, duplicate, log,
};
use foregate_wire::Buf;

use map::Maps;
use recode::Recode;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    charset: Option<Word>,
    source: Option<Word>,
    override_: Option<bool>,
    types: Option<Types>,
    /// At the http level only.
    maps: Maps,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    /// Unset: only what an upstream asks for is done.
    charset: Option<Template>,
    source: Option<Template>,
    override_: bool,
    types: Types,
    maps: Maps,
}

/// nginx's default for `charset_types`.
const TYPES: [&str; 6] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

/// Header and body filter.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    let Some(template) = on.charset.as_ref().filter(|_| ex.subrequest_depth == 0) else { return };
    let Some(value) = reply.fields.get(b"Content-Type").filter(|it| !it.is_empty()) else { return };
    let (content_type, said) = split(value);
    let (content_type, said) = (content_type.to_vec(), said.map(<[u8]>::to_vec));
    let fits = if said.is_some() { on.override_ } else { on.types.fit(&reply.fields) };
    let charset = if fits { ex.seeing(reply, |ex| template.fill_new(ex)) } else { Vec::new() };
    if charset.is_empty() {
        return;
    }
    let source = said.or_else(|| on.source.as_ref().map(|it| ex.seeing(reply, |ex| it.fill_new(ex))));
    let Some(source) = source.filter(|it| !it.eq_ignore_ascii_case(&charset)) else {
        return say(&content_type, &charset, reply);
    };
    if reply.fields.get(b"Content-Encoding").is_some_and(|it| !it.is_empty()) {
        return;
    }
    let Some(recode) = on.maps.find(&source, &charset) else {
        let (from, to) = (text(&source), text(&charset));
        log!(ex, Level::Error, "no \"charset_map\" between the charsets \"{from}\" and \"{to}\"");
        return;
    };
    say(&content_type, &charset, reply);
    apply(recode, ex, reply);
}

/// As [`filter`], where an upstream names the character set (X-Accel-Charset): that counts, and texts are recoded where
/// there is a map for it.
pub fn override_(on: Option<&Settings>, charset: &[u8], ex: &Exchange, reply: &mut Reply) {
    let Some(value) = reply.fields.get(b"Content-Type").filter(|it| !it.is_empty()) else { return };
    if reply.fields.contains(b"Content-Encoding") {
        return;
    }
    let mut named = Vec::with_capacity(value.len() + charset.len());
    let is_charset = |part: &[u8]| part.get(..8).is_some_and(|it| it.eq_ignore_ascii_case(b"charset="));
    for part in value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|it| !is_charset(it)) {
        named.extend_from_slice(if named.is_empty() { b"" } else { b"; " });
        named.extend_from_slice(part);
    }
    named.extend_from_slice(b"; charset=");
    named.extend_from_slice(charset);
    let recode = split(value).1.and_then(|source| on?.maps.find(source, charset));
    reply.fields.set(b"Content-Type", &named);
    if let Some(recode) = recode {
        apply(recode, ex, reply);
    }
}

fn apply(recode: &Recode, ex: &Exchange, reply: &mut Reply) {
    if recode.keeps_length() {
        reply.length = reply.content_length();
    } else {
        reply.body_changes();
    }
    if !ex.header_only {
        let body = std::mem::take(&mut reply.body);
        reply.body = match whole(recode, &body).filter(|_| reply.allow_ranges) {
            Some(bytes) => Body::Bytes(bytes),
            None => body.transformed(recode.start()),
        };
    }
}

/// A short body that is at hand, recoded at once: several ranges can be cut of it.
fn whole(recode: &Recode, body: &Body) -> Option<Buf> {
    let mut bytes = Vec::new();
    match body {
        _ if body.len()? > WHOLE_BYTES_MAX => return None,
        Body::Bytes(it) => bytes.extend_from_slice(it),
        Body::File(slice) => _ = slice.clone().read_all(&mut bytes).ok().filter(|whole| *whole)?,
        _ => return None,
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut state = recode.start();
    state.feed(&bytes, &mut out).ok()?;
    state.end(&mut out).ok()?;
    Some(Buf::from_vec(out))
}

/// Longer bodies are recoded as they are sent.
const WHOLE_BYTES_MAX: u64 = 64 << 10;

/// Old browsers took a redirect's character set for that of the page it leads to.
fn say(content_type: &[u8], charset: &[u8], reply: &mut Reply) {
    let value = match reply.status {
        301 | 302 => content_type.to_vec(),
        _ => [content_type, b"; charset=", charset].concat(),
    };
    reply.fields.set(b"Content-Type", &value);
}

/// A `Content-Type` without its character set, and that.
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    const NAME: &[u8] = b"charset=";
    for (at, _) in value.iter().enumerate().filter(|(_, b)| **b == b';') {
        let rest = value[at + 1..].trim_ascii_start();
        if let Some((name, charset)) = rest.split_at_checked(NAME.len())
            && name.eq_ignore_ascii_case(NAME)
        {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            let end = charset.iter().position(|b| matches!(b, b'"' | b';' | b' ')).unwrap_or(charset.len());
            return (&value[..at], Some(&charset[..end]));
        }
    }
    (value, None)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("charset", Scope::ANY_HTTP_IF, Args::Exactly(1), charset, |o, outer| {
            o.charset = o.charset.take().or_else(|| outer.charset.clone());
        }),
        Directive::own("source_charset", Scope::ANY_HTTP_IF, Args::Exactly(1), source, |o, outer| {
            o.source = o.source.take().or_else(|| outer.source.clone());
        }),
        Directive::flag("override_charset", Scope::ANY_HTTP_IF, |o| &mut o.override_),
        Directive::own("charset_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::block("charset_map", Scope::HTTP, Args::Exactly(2), map, |o, outer| {
            if o.maps.is_empty() {
                o.maps = outer.maps.clone();
            }
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let word = options.charset.filter(|it| *it != "off");
        if word.is_none() && options.maps.is_empty() {
            return Ok(None);
        }
        let charset = word.map(|it| cx.template(&it)).transpose()?;
        let source = options.source.map(|it| cx.template(&it)).transpose()?;
        if let Some(to) = charset.as_ref().and_then(Template::as_constant)
            && let Some(from) = source.as_ref().and_then(Template::as_constant)
            && !from.eq_ignore_ascii_case(to)
            && options.maps.find(from, to).is_none()
        {
            let (from, to) = (text(from), text(to));
            let what = format!("no \"charset_map\" between the charsets \"{from}\" and \"{to}\"");
            return Err(Error::plain(what).advise("leave source_charset out, if texts are not to be recoded"));
        }
        Ok(Some(Settings {
            charset,
            source,
            override_: options.override_.unwrap_or(false),
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            maps: options.maps,
        }))
    }
}

fn charset(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    set(&mut o.charset, node)
}

fn source(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    set(&mut o.source, node)
}

fn set(slot: &mut Option<Word>, node: &Node) -> Result<(), Error> {
    if slot.is_some() {
        return Err(duplicate(node));
    }
    *slot = Some(node.args[0].clone());
    Ok(())
}

fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    // Of the default only pages stay where other types are named.
    Types::read(&mut o.types, &TYPES[..1], node, &mut o.warnings);
    Ok(())
}

fn map(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.maps.read(node)
}
