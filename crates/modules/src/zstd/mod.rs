//! `zstd`: packs answers for clients that take it, with the names and defaults of zstd-nginx-module.

mod encoder;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::{Args, Compile, Directive, Exchange, Ratio, Reply, Scope, Types, Variable, duplicate};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    zstd: Option<bool>,
    types: Option<Types>,
    min_length: Option<u64>,
    comp_level: Option<u8>,
    /// In the http block alone, for all of it.
    dict_file: Option<Word>,
    /// Read and checked; our buffers are the thread's.
    buffers: bool,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    types: Types,
    min_length: u64,
    level: u8,
    dictionary: encoder::Dictionary,
}

/// zstd-nginx-module's defaults.
const MIN_LENGTH: u64 = 20;
const LEVEL: u8 = 1;
const LEVEL_MAX: u64 = 22;
/// Packed, whatever `zstd_types` says.
const TYPES: [&str; 1] = ["text/html"];
/// Whether an answer is one to pack, for clients that take it so.
pub fn fits(on: &Settings, ex: &Exchange, reply: &Reply) -> bool {
    reply.may_encode(ex, on.min_length, &on.types)
}

/// Header and body filter. The answer [`fits`], and the client takes zstd.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    let encoder = encoder::Zstd::new(on.level, on.dictionary.clone(), reply.body.len());
    let ratio = reply.encode(b"zstd", encoder);
    ex.notes.put(ZstdRatio(ratio));
}

/// A note: how much smaller it became.
struct ZstdRatio(Ratio);

/// `$zstd_ratio`: `3.08`.
fn ratio(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    ex.notes.get::<ZstdRatio>().is_some_and(|it| it.0.push(out))
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("zstd", Scope::ANY_HTTP_IF, |o| &mut o.zstd),
        Directive::own("zstd_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::size("zstd_min_length", Scope::ANY_HTTP, |o| &mut o.min_length),
        Directive::own("zstd_comp_level", Scope::ANY_HTTP, Args::Exactly(1), level, |o, outer| {
            o.comp_level = o.comp_level.or(outer.comp_level);
        }),
        Directive::text("zstd_dict_file", Scope::HTTP, |o| &mut o.dict_file),
        Directive::own("zstd_buffers", Scope::ANY_HTTP, Args::Exactly(2), buffers, |_, _| ()),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("zstd_ratio", ratio)];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        if !options.zstd.unwrap_or(false) {
            return Ok(None);
        }
        Ok(Some(Settings {
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            min_length: options.min_length.unwrap_or(MIN_LENGTH),
            level: options.comp_level.unwrap_or(LEVEL),
            dictionary: options.dict_file.map(|it| dictionary(&it, cx)).transpose()?,
        }))
    }
}

/// Reads a dictionary, once for all who name it. Clients must have the same one: browsers have none.
fn dictionary(word: &Word, cx: &mut Compile<'_>) -> Result<Arc<Vec<u8>>, Error> {
    let path = cx.conf_path(word);
    if let Some(known) = cx.shared.get_or_default::<Dictionaries>().0.get(&path) {
        return Ok(known.clone());
    }
    let read = cx.files.read(&path).map_err(|why| {
        let why = foregate_net::sys::errno_text(&why);
        Error::at(word.span, format!("cannot read dictionary \"{}\": {why}", path.display()))
    })?;
    let dictionary = Arc::new(read);
    cx.shared.get_or_default::<Dictionaries>().0.insert(path, dictionary.clone());
    Ok(dictionary)
}

/// By path.
#[derive(Default)]
struct Dictionaries(HashMap<PathBuf, Arc<Vec<u8>>>);

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
    if !(1..=LEVEL_MAX).contains(&level) {
        return Err(Error::at(word.span, format!("value must be between 1 and {LEVEL_MAX}")));
    }
    o.comp_level = Some(level as u8);
    Ok(())
}

fn buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if std::mem::replace(&mut o.buffers, true) {
        return Err(duplicate(node));
    }
    let (count, size) = (&node.args[0], &node.args[1]);
    let good = values::number(count).is_some_and(|it| it > 0) && values::size(size).is_some_and(|it| it > 0);
    if good { Ok(()) } else { Err(Error::at(count.span, "\"zstd_buffers\" directive invalid value")) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use foregate_conf::Strings;
    use foregate_core::{Body, Reply};
    use foregate_wire::Buf;

    use crate::testing::{Site, error};

    #[test]
    fn errors_name_the_limits() {
        assert_eq!(error("zstd_comp_level 0;"), "value must be between 1 and 22");
        assert_eq!(error("zstd_comp_level 23;"), "value must be between 1 and 22");
        assert_eq!(error("zstd_buffers 0 4k;"), "\"zstd_buffers\" directive invalid value");
        assert!(error("zstd on; zstd_dict_file none;").starts_with("cannot read dictionary \"/etc/nginx/none\": "));
    }

    #[test]
    fn a_dictionary_is_needed_to_unpack_what_was_packed_with_it() {
        let text = b"what both sides know need not be sent, what both sides know need not be sent";
        let mut files = Strings::default();
        files.insert("/etc/nginx/words", &text[..]);
        let site = Site::with("zstd on; zstd_dict_file words;", &[], files);
        for _ in 0..2 {
            let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
            let mut reply = Reply::bytes(200, b"text/html", Buf::copy_from(&text[..70]));
            super::filter(site.settings().zstd.as_ref().unwrap(), &mut ex, &mut reply);
            let Body::Bytes(packed) = reply.body else { panic!("a short body stays in one piece") };
            assert!(packed.len() < 30, "{}", packed.len());
            let mut seen = Vec::new();
            let decoder = ::zstd::stream::read::Decoder::with_dictionary(&packed[..], text);
            decoder.unwrap().read_to_end(&mut seen).unwrap();
            assert_eq!(seen, text[..70]);
        }
    }
}
