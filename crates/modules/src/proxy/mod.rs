//! `proxy_pass` and its kin: requests passed on to HTTP servers.

mod checks;
mod cookies;
mod headers;
mod options;
mod pass;
mod read;
mod request;
mod rewrites;
mod settings;
#[cfg(test)]
mod tests;
mod variables;

use foregate_conf::Error;
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Prefix, Reply, Scope, Variable};

use foregate_upstream::Caching;

pub use options::Options;
pub use settings::Settings;

pub struct Module;

pub use request::preview;

/// Passes the request on and brings the answer.
pub fn run(on: &Settings, ex: &mut Exchange) -> impl Future<Output = Flow<Reply>> {
    request::run(on, ex)
}

/// As [`run`], where answers are kept and may be there already (`proxy_cache`).
pub async fn run_cached(on: &Settings, cache: &Caching, ex: &mut Exchange) -> Flow<Reply> {
    // What is stored is not kept twice.
    match on.rules.store {
        Some(_) => request::run(on, ex).await,
        None => request::run_cached(on, cache, ex).await,
    }
}

/// What the cache has in memory and may be served at once. `None`: [`run_cached`] is to be asked.
pub fn cached_now(on: &Settings, cache: &Caching, ex: &mut Exchange) -> Option<Reply> {
    match on.rules.store {
        Some(_) => None,
        None => request::cached_now(on, cache, ex),
    }
}

const ANY: Scope = Scope::ANY_HTTP;
const PASS: Scope = Scope::LOCATION.or(Scope::LOCATION_IF).or(Scope::LIMIT_EXCEPT);
const VERSIONS: &[&str] = &["1.0", "1.1", "2"];
const ONE: Args = Args::Exactly(1);
const ONE_OR_TWO: Args = Args::Between(1, 2);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = foregate_upstream::tls_directives!["proxy", upstream, ssl;
        Directive::own("proxy_pass", PASS, ONE, read::pass, read::own_block_only),
        Directive::own("health_check", Scope::LOCATION, Args::AtLeast(0), checks::read, read::own_block_only),
        Directive::block("match", Scope::HTTP, ONE, checks::read_match, read::own_block_only),
        Directive::own("proxy_redirect", ANY, ONE_OR_TWO, read::redirect, |o, from| {
            read::whole(&mut o.redirects, &from.redirects)
        }),
        Directive::own("proxy_cookie_domain", ANY, ONE_OR_TWO, read::cookie_domain, |o, from| {
            read::whole(&mut o.cookie_domains, &from.cookie_domains)
        }),
        Directive::own("proxy_cookie_path", ANY, ONE_OR_TWO, read::cookie_path, |o, from| {
            read::whole(&mut o.cookie_paths, &from.cookie_paths)
        }),
        Directive::own("proxy_cookie_flags", ANY, Args::Between(1, 4), read::cookie_flags, |o, from| {
            read::whole(&mut o.cookie_flags, &from.cookie_flags)
        }),
        Directive::own("proxy_set_header", ANY, Args::Exactly(2), read::set_header, |o, from| {
            read::whole(&mut o.headers, &from.headers)
        }),
        Directive::number("proxy_headers_hash_max_size", ANY, |o| &mut o.hash_max),
        Directive::number("proxy_headers_hash_bucket_size", ANY, |o| &mut o.hash_bucket),
        Directive::text("proxy_set_body", ANY, |o| &mut o.body),
        Directive::text("proxy_method", ANY, |o| &mut o.method),
        Directive::flag("proxy_pass_trailers", ANY, |o| &mut o.pass_trailers),
        Directive::choice("proxy_http_version", ANY, VERSIONS, |o| &mut o.http_version),
        Directive::words("early_hints", ANY, |o| &mut o.early_hints),
    ];
    const VARIABLES: &'static [Variable] = variables::VARIABLES;
    const PREFIXES: &'static [Prefix] = &[];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        foregate_upstream::draft::checks::prepare(&options.matches, cx)
    }

    /// `if` and `limit_except` pass on to where their location does.
    fn inherit_handler(options: &mut Options, outer: &Options) {
        if options.pass.is_none() {
            options.pass.clone_from(&outer.pass);
        }
    }

    fn has_handler(options: &Options) -> bool {
        options.pass.is_some()
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Settings::resolve(options, cx)
    }
}
