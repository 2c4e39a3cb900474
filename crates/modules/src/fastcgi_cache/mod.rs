//! `fastcgi_cache` and its kin: which answers of FastCGI applications are kept, and when they are served.
//!
//! As `proxy_cache`; `$upstream_cache_status` and its like are declared there.

use foregate_conf::Error;
use foregate_core::{Compile, Directive};
use foregate_upstream::Caching;
use foregate_upstream::draft::Family;
use foregate_upstream::draft::cache::CacheDraft;

pub struct Module;

/// What requests read.
pub type Settings = Caching;

#[derive(Clone, Default)]
pub struct Options {
    cache: CacheDraft,
}

const FAMILY: Family = Family { name: "fastcgi", hidden: &[] };

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = foregate_upstream::cache_directives!["fastcgi", cache;];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        options.cache.prepare(cx)?;
        crate::purge_fleet::check(cx)
    }

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let caching = o.cache.compile(&FAMILY, cx)?;
        if caching.as_ref().is_some_and(|it| it.key.is_none()) {
            // Applications are told everything by parameters, so that nothing else tells requests apart.
            cx.warn(Error::plain("no \"fastcgi_cache_key\" for \"fastcgi_cache\"").warn());
        }
        Ok(caching)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Site, error};

    #[test]
    fn a_zone_is_found_by_its_name() {
        let path = "fastcgi_cache_path /c keys_zone=one:1m;";
        let site = Site::new(&format!("{path} fastcgi_cache one; fastcgi_cache_key $uri; fastcgi_cache_valid 200 1m;"));
        let on = site.settings().fastcgi_cache.as_ref().expect("because it is set");
        assert_eq!((on.valid.seconds(200), on.valid.seconds(404), on.convert_head), (60, 0, false));
        assert_eq!(error("fastcgi_cache one;"), "\"fastcgi_cache\" zone \"one\" is unknown");
        assert_eq!(
            error("fastcgi_cache_path /c levels=1;"),
            "\"fastcgi_cache_path\" must have \"keys_zone\" parameter"
        );
        assert_eq!(error("fastcgi_no_cache;"), "invalid number of arguments in \"fastcgi_no_cache\" directive");
    }
}
