//! `gzip`: compresses answers on their way out.

mod deflate;
#[cfg(test)]
mod tests;

use foregate_conf::{Error, Node, value as values};
use foregate_core::{
    Args, Compile, Directive, Exchange, Ratio, Reply, Scope, Types, Variable, duplicate,
};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    gzip: Option<bool>,
    types: Option<Types>,
    min_length: Option<u64>,
    comp_level: Option<u8>,
    no_buffer: Option<bool>,
    postpone: Option<u64>,
    /// Read and checked, and of no use to us.
    buffers: bool,
    window: bool,
    hash: bool,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    types: Types,
    min_length: u64,
    level: u8,
}

/// nginx's default for `gzip_min_length`.
const MIN_LENGTH: u64 = 20;
/// nginx's default for `gzip_comp_level`.
const LEVEL: u8 = 1;
/// Compressed, whatever `gzip_types` says.
const TYPES: [&str; 1] = ["text/html"];

/// Whether an answer is one to compress, for clients that take it so.
pub fn fits(on: &Settings, ex: &Exchange, reply: &Reply) -> bool {
    reply.may_encode(ex, on.min_length, &on.types)
}

/// Header and body filter. The answer [`fits`], and the client takes gzip.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    let ratio = reply.encode(b"gzip", deflate::Gzip::new(on.level));
    ex.notes.put(GzipRatio(ratio));
}

/// A note: how much smaller it became.
struct GzipRatio(Ratio);

/// `$gzip_ratio`: `3.08`.
fn ratio(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    ex.notes.get::<GzipRatio>().is_some_and(|it| it.0.push(out))
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("gzip", Scope::ANY_HTTP_IF, |o| &mut o.gzip),
        Directive::own("gzip_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::size("gzip_min_length", Scope::ANY_HTTP, |o| &mut o.min_length),
        Directive::own("gzip_comp_level", Scope::ANY_HTTP, Args::Exactly(1), level, |o, outer| {
            o.comp_level = o.comp_level.or(outer.comp_level);
        }),
        // Our buffers are the thread's, and the window is always the largest.
        Directive::own("gzip_buffers", Scope::ANY_HTTP, Args::Exactly(2), buffers, |_, _| ()),
        Directive::own("gzip_window", Scope::ANY_HTTP, Args::Exactly(1), window, |_, _| ()),
        Directive::own("gzip_hash", Scope::ANY_HTTP, Args::Exactly(1), hash, |_, _| ()),
        Directive::flag("gzip_no_buffer", Scope::ANY_HTTP, |o| &mut o.no_buffer),
        Directive::size("postpone_gzipping", Scope::ANY_HTTP, |o| &mut o.postpone),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("gzip_ratio", ratio)];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let settings = || Settings {
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            min_length: options.min_length.unwrap_or(MIN_LENGTH),
            level: options.comp_level.unwrap_or(LEVEL),
        };
        Ok(options.gzip.unwrap_or(false).then(settings))
    }
}

fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    Types::read(&mut o.types, &TYPES, node, &mut o.warnings);
    Ok(())
}

fn level(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.comp_level.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let level = values::number(word).ok_or_else(|| Error::at(word.span, "invalid number"))?;
    if !(1..=9).contains(&level) {
        return Err(Error::at(word.span, "value must be between 1 and 9"));
    }
    o.comp_level = Some(level as u8);
    Ok(())
}

fn buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    once(&mut o.buffers, node)?;
    let (count, size) = (&node.args[0], &node.args[1]);
    let good = values::number(count).is_some_and(|it| it > 0) && values::size(size).is_some_and(|it| it > 0);
    if good { Ok(()) } else { Err(Error::at(count.span, "\"gzip_buffers\" directive invalid value")) }
}

fn window(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    once(&mut o.window, node)?;
    power(node, 512..=32 << 10, "must be 512, 1k, 2k, 4k, 8k, 16k, or 32k")
}

fn hash(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    once(&mut o.hash, node)?;
    power(node, 512..=128 << 10, "must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k")
}

fn once(seen: &mut bool, node: &Node) -> Result<(), Error> {
    if std::mem::replace(seen, true) { Err(duplicate(node)) } else { Ok(()) }
}

fn power(node: &Node, range: std::ops::RangeInclusive<u64>, rule: &str) -> Result<(), Error> {
    let word = &node.args[0];
    let wrong = |what: &str| Error::at(word.span, format!("\"{}\" directive {what}", node.name));
    let size = values::size(word).ok_or_else(|| wrong("invalid value"))?;
    if size.is_power_of_two() && range.contains(&size) { Ok(()) } else { Err(wrong(rule)) }
}
