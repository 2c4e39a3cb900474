//! `sub_filter`: replaces strings in answers, whatever their case.

mod search;
#[cfg(test)]
mod tests;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Reply, Scope, Template, Types};

use search::{Pair, Search};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    pairs: Option<Vec<(Word, Word)>>,
    types: Option<Types>,
    once: Option<bool>,
    last_modified: Option<bool>,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    /// What to look for, in lower case, and what to put in its place.
    pairs: Box<[(Template, Template)]>,
    types: Types,
    once: bool,
    last_modified: bool,
}

/// Types that are looked at, whatever `sub_filter_types` says.
const TYPES: [&str; 1] = ["text/html"];
/// As nginx.
const PAIRS_MAX: usize = 255;

/// Header and body filter.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    if reply.content_length() == Some(0) || !on.types.fit(&reply.fields) {
        return;
    }
    let mut pairs = Vec::with_capacity(on.pairs.len());
    for (find, replace) in &on.pairs {
        let find = ex.seeing(reply, |ex| find.fill_new(ex)).to_ascii_lowercase();
        if !find.is_empty() {
            pairs.push(Pair { find, replace: ex.seeing(reply, |ex| replace.fill_new(ex)), used: false });
        }
    }
    if pairs.is_empty() {
        return;
    }
    if ex.subrequest_depth == 0 {
        reply.body_changes();
        if on.last_modified {
            reply.weaken_etag();
        } else {
            reply.fields.remove(b"Last-Modified");
            reply.fields.remove(b"ETag");
            reply.mtime = None;
        }
    }
    if !ex.header_only {
        reply.body = std::mem::take(&mut reply.body).transformed(Search::new(pairs, on.once));
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("sub_filter", Scope::ANY_HTTP, Args::Exactly(2), pair, |o, outer| {
            o.pairs = o.pairs.take().or_else(|| outer.pairs.clone());
        }),
        Directive::own("sub_filter_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::flag("sub_filter_once", Scope::ANY_HTTP, |o| &mut o.once),
        Directive::flag("sub_filter_last_modified", Scope::ANY_HTTP, |o| &mut o.last_modified),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let Some(pairs) = options.pairs else { return Ok(None) };
        let pairs = pairs.iter().map(|(find, replace)| Ok((cx.template(find)?, cx.template(replace)?)));
        Ok(Some(Settings {
            pairs: pairs.collect::<Result<_, Error>>()?,
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            once: options.once.unwrap_or(true),
            last_modified: options.last_modified.unwrap_or(false),
        }))
    }
}

fn pair(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let [find, replace] = &*node.args else { return Ok(()) };
    if find.bytes().is_empty() {
        return Err(Error::at(find.span, "empty search pattern"));
    }
    let pairs = o.pairs.get_or_insert_default();
    if pairs.len() == PAIRS_MAX {
        return Err(Error::at(find.span, format!("number of search patterns exceeds {PAIRS_MAX}")));
    }
    pairs.push((find.clone(), replace.clone()));
    Ok(())
}

fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    Types::read(&mut o.types, &TYPES, node, &mut o.warnings);
    Ok(())
}
