//! `brotli`: packs answers for clients that take `br`, with the names and defaults of ngx_brotli.

mod encoder;

use foregate_conf::{Error, Node, value as values};
use foregate_core::{Args, Compile, Directive, Exchange, Ratio, Reply, Scope, Types, Variable, duplicate};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    brotli: Option<bool>,
    types: Option<Types>,
    min_length: Option<u64>,
    comp_level: Option<u8>,
    window: Option<u32>,
    /// Read and checked; our buffers are the thread's.
    buffers: bool,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    types: Types,
    min_length: u64,
    level: u8,
    window_bits: u32,
}

/// ngx_brotli's defaults.
const MIN_LENGTH: u64 = 20;
const LEVEL: u8 = 6;
const LEVEL_MAX: u64 = 11;
const WINDOW_BITS: u32 = 19;
/// Packed, whatever `brotli_types` says.
const TYPES: [&str; 1] = ["text/html"];
/// What `brotli_window` may say.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=16 << 20;

/// Whether an answer is one to pack, for clients that take it so.
pub fn fits(on: &Settings, ex: &Exchange, reply: &Reply) -> bool {
    reply.may_encode(ex, on.min_length, &on.types)
}

/// Header and body filter. The answer [`fits`], and the client takes brotli.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    let encoder = encoder::Brotli::new(on.level, on.window_bits, reply.body.len());
    let ratio = reply.encode(b"br", encoder);
    ex.notes.put(BrotliRatio(ratio));
}

/// A note: how much smaller it became.
struct BrotliRatio(Ratio);

/// `$brotli_ratio`: `3.08`.
fn ratio(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    ex.notes.get::<BrotliRatio>().is_some_and(|it| it.0.push(out))
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("brotli", Scope::ANY_HTTP_IF, |o| &mut o.brotli),
        Directive::own("brotli_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::size("brotli_min_length", Scope::ANY_HTTP, |o| &mut o.min_length),
        Directive::own("brotli_comp_level", Scope::ANY_HTTP, Args::Exactly(1), level, |o, outer| {
            o.comp_level = o.comp_level.or(outer.comp_level);
        }),
        Directive::own("brotli_window", Scope::ANY_HTTP, Args::Exactly(1), window, |o, outer| {
            o.window = o.window.or(outer.window);
        }),
        Directive::own("brotli_buffers", Scope::ANY_HTTP, Args::Exactly(2), buffers, |_, _| ()),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("brotli_ratio", ratio)];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let settings = || Settings {
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            min_length: options.min_length.unwrap_or(MIN_LENGTH),
            level: options.comp_level.unwrap_or(LEVEL),
            window_bits: options.window.unwrap_or(WINDOW_BITS),
        };
        Ok(options.brotli.unwrap_or(false).then(settings))
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
    if level > LEVEL_MAX {
        return Err(Error::at(word.span, format!("value must be between 0 and {LEVEL_MAX}")));
    }
    o.comp_level = Some(level as u8);
    Ok(())
}

fn window(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.window.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let size = values::size(word).filter(|it| it.is_power_of_two() && WINDOW_BYTES.contains(it));
    let wrong = || Error::at(word.span, "\"brotli_window\" must be a power of two from 1k to 16m");
    o.window = Some(size.ok_or_else(wrong)?.trailing_zeros());
    Ok(())
}

fn buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if std::mem::replace(&mut o.buffers, true) {
        return Err(duplicate(node));
    }
    let (count, size) = (&node.args[0], &node.args[1]);
    let good = values::number(count).is_some_and(|it| it > 0) && values::size(size).is_some_and(|it| it > 0);
    if good { Ok(()) } else { Err(Error::at(count.span, "\"brotli_buffers\" directive invalid value")) }
}

#[cfg(test)]
mod tests {
    use foregate_core::Reply;
    use foregate_wire::Buf;

    use crate::testing::{Site, error};

    #[test]
    fn errors_name_the_limits() {
        assert_eq!(error("brotli_comp_level 12;"), "value must be between 0 and 11");
        assert_eq!(error("brotli_window 3k;"), "\"brotli_window\" must be a power of two from 1k to 16m");
        assert_eq!(error("brotli_window 32m;"), "\"brotli_window\" must be a power of two from 1k to 16m");
        assert_eq!(error("brotli_buffers 0 4k;"), "\"brotli_buffers\" directive invalid value");
        assert_eq!(error("brotli on; brotli_window 512k; brotli_buffers 16 8k; brotli_types *;"), "");
    }

    #[test]
    fn the_ratio_is_told() {
        let site = Site::with("brotli on;", &["$brotli_ratio"], Default::default());
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        assert_eq!(site.value(&mut ex, 0), "");
        let mut reply = Reply::bytes(200, b"text/html", Buf::from_vec(vec![b'x'; 1000]));
        super::filter(site.settings().brotli.as_ref().unwrap(), &mut ex, &mut reply);
        let packed = reply.body.len().unwrap();
        assert_eq!(site.value(&mut ex, 0), format!("{:.2}", 1000.0 / packed as f64));
    }
}
