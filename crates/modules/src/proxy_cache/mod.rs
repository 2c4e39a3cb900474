//! `proxy_cache` and its kin: which answers are kept, for how long, and when they are served.
//!
//! What is done with it happens where upstreams are asked (`foregate_upstream::look`), and what is written of it is what
//! every protocol's caches share (`foregate_upstream::draft::cache`).

#[cfg(test)]
mod tests;
mod variables;

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Scope, Variable};
use foregate_upstream::Caching;
use foregate_upstream::draft::Family;
use foregate_upstream::draft::cache::CacheDraft;

pub struct Module;

/// What requests read.
pub type Settings = Caching;

#[derive(Clone, Default)]
pub struct Options {
    cache: CacheDraft,
    convert_head: Option<bool>,
}

const FAMILY: Family = Family { name: "proxy", hidden: &[] };

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = foregate_upstream::cache_directives!["proxy", cache;
        Directive::flag("proxy_cache_convert_head", Scope::ANY_HTTP, |o| &mut o.convert_head),
    ];
    const VARIABLES: &'static [Variable] = variables::VARIABLES;

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        options.cache.prepare(cx)?;
        crate::purge_fleet::check(cx)
    }

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let convert_head = o.convert_head.unwrap_or(true);
        Ok(o.cache.compile(&FAMILY, cx)?.map(|it| Caching { convert_head, ..it }))
    }
}
