//! `proxy_cache` and its kin: which answers are kept, for how long, and when they are served.
//!
//! What is done with it happens where upstreams are asked (`foregate_upstream::look`); here it is read and compiled.

mod path;
mod read;
#[cfg(test)]
mod tests;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use foregate_cache::{Valid, Zone, Zones};
use foregate_conf::{Error, Word};
use foregate_core::{Args, Compile, Directive, Scope, Template, Variable, ZoneNames};
use foregate_upstream::{By, Caching, Conditions};

pub struct Module;

/// What requests read.
pub type Settings = Caching;

#[derive(Clone, Default)]
pub struct Options {
    paths: Vec<path::Line>,
    zone: Option<Word>,
    key: Option<Word>,
    valid: Option<Vec<(u16, i64)>>,
    /// Whether POST is among them.
    methods: Option<bool>,
    min_uses: Option<u64>,
    bypass: Option<Vec<Word>>,
    no_cache: Option<Vec<Word>>,
    purge: Option<Vec<Word>>,
    lock: Option<bool>,
    lock_age: Option<Duration>,
    lock_timeout: Option<Duration>,
    /// The conditions, and whether `updating` is among them.
    use_stale: Option<(Conditions, bool)>,
    background_update: Option<bool>,
    revalidate: Option<bool>,
    convert_head: Option<bool>,
    max_range_offset: Option<u64>,
}

const ANY: Scope = Scope::HTTP.or(Scope::SERVER).or(Scope::LOCATION);
const ONE: Args = Args::Exactly(1);
const SOME: Args = Args::AtLeast(1);

/// nginx's defaults.
const LOCK_TIME: Duration = Duration::from_secs(5);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("proxy_cache_path", Scope::HTTP, Args::AtLeast(2), path::read, |_, _| ()),
        Directive::text("proxy_cache", ANY, |o| &mut o.zone),
        Directive::text("proxy_cache_key", ANY, |o| &mut o.key),
        Directive::own("proxy_cache_valid", ANY, SOME, read::valid, |o, from| {
            read::whole(&mut o.valid, &from.valid)
        }),
        Directive::own("proxy_cache_methods", ANY, SOME, read::methods, |o, from| {
            read::whole(&mut o.methods, &from.methods)
        }),
        Directive::number("proxy_cache_min_uses", ANY, |o| &mut o.min_uses),
        Directive::own("proxy_cache_bypass", ANY, SOME, read::bypass, |o, from| {
            read::whole(&mut o.bypass, &from.bypass)
        }),
        Directive::own("proxy_no_cache", ANY, SOME, read::no_cache, |o, from| {
            read::whole(&mut o.no_cache, &from.no_cache)
        }),
        Directive::own("proxy_cache_purge", ANY, SOME, read::purge, |o, from| {
            read::whole(&mut o.purge, &from.purge)
        }),
        Directive::flag("proxy_cache_lock", ANY, |o| &mut o.lock),
        Directive::time("proxy_cache_lock_age", ANY, |o| &mut o.lock_age),
        Directive::time("proxy_cache_lock_timeout", ANY, |o| &mut o.lock_timeout),
        Directive::own("proxy_cache_use_stale", ANY, SOME, read::use_stale, |o, from| {
            read::whole(&mut o.use_stale, &from.use_stale)
        }),
        Directive::flag("proxy_cache_background_update", ANY, |o| &mut o.background_update),
        Directive::flag("proxy_cache_revalidate", ANY, |o| &mut o.revalidate),
        Directive::flag("proxy_cache_convert_head", ANY, |o| &mut o.convert_head),
        Directive::own("proxy_cache_max_range_offset", ANY, ONE, read::max_range_offset, |o, from| {
            read::whole(&mut o.max_range_offset, &from.max_range_offset)
        }),
    ];
    const VARIABLES: &'static [Variable] = variables::VARIABLES;

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for line in &options.paths {
            let names = cx.shared.get_or_default::<ZoneNames>();
            if !names.declare(&line.zone, path::DIRECTIVE, line.span)? {
                return Err(Error::at(line.span, format!("duplicate zone \"{}\"", line.zone.name)));
            }
            let spec = line.spec(cx);
            cx.temp_dirs.push(spec.path.clone());
            let before = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(&spec.name));
            let zone = Zone::new(spec, before.map(|it| &**it));
            cx.shared.get_or_default::<Zones>().0.insert(line.zone.name.clone(), Arc::new(zone));
        }
        Ok(())
    }

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(word) = o.zone.as_ref().filter(|it| **it != "off") else { return Ok(None) };
        let (use_stale, use_stale_updating) = o.use_stale.unwrap_or((Conditions::OFF, false));
        Ok(Some(Caching {
            zone: zone(word, cx)?,
            key: o.key.as_ref().map(|it| cx.template(it)).transpose()?,
            valid: Valid { by_status: o.valid.unwrap_or_default() },
            caches_post: o.methods.unwrap_or(false),
            min_uses: u32::try_from(o.min_uses.unwrap_or(1)).unwrap_or(u32::MAX),
            bypass: templates(o.bypass, cx)?,
            no_cache: templates(o.no_cache, cx)?,
            purge: templates(o.purge, cx)?,
            lock: o.lock.unwrap_or(false),
            lock_age: o.lock_age.unwrap_or(LOCK_TIME),
            lock_timeout: o.lock_timeout.unwrap_or(LOCK_TIME),
            use_stale,
            use_stale_updating,
            background_update: o.background_update.unwrap_or(false),
            revalidate: o.revalidate.unwrap_or(false),
            convert_head: o.convert_head.unwrap_or(true),
            max_range_offset: o.max_range_offset,
        }))
    }
}

fn zone(word: &Word, cx: &mut Compile<'_>) -> Result<By, Error> {
    if word.contains('$') {
        return Ok(By::Name(cx.template(word)?));
    }
    let zone = cx.shared.get::<Zones>().and_then(|it| it.0.get(&word.text));
    let zone = zone.cloned().ok_or_else(|| {
        // Without a place, as nginx, which finds out at the end.
        Error::plain(format!("\"proxy_cache\" zone \"{word}\" is unknown"))
            .advise(format!("declare it in http: proxy_cache_path /var/cache/nginx keys_zone={word}:10m;"))
    })?;
    Ok(By::Zone(zone))
}

fn templates(words: Option<Vec<Word>>, cx: &mut Compile<'_>) -> Result<Vec<Template>, Error> {
    words.iter().flatten().map(|it| cx.template(it)).collect()
}
