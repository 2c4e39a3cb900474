//! `proxy_pass` and its kin: requests passed on to HTTP servers.

mod client_certificates;
mod cookies;
mod headers;
mod options;
mod pass;
mod read;
mod request;
mod rewrites;
mod settings;
mod ssl;
#[cfg(test)]
mod tests;
mod variables;

use foregate_conf::Error;
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Prefix, Reply, Scope, Variable};

use foregate_upstream::Caching;

pub use options::Options;
pub use settings::Settings;

pub struct Module;

pub use request::{Preview, preview};

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

const ANY: Scope = Scope::ANY_HTTP;
const PASS: Scope = Scope::LOCATION.or(Scope::LOCATION_IF).or(Scope::LIMIT_EXCEPT);
const VERSIONS: &[&str] = &["1.0", "1.1"];
const ONE: Args = Args::Exactly(1);
const ONE_OR_TWO: Args = Args::Between(1, 2);
const SOME: Args = Args::AtLeast(1);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("proxy_pass", PASS, ONE, read::pass, read::own_block_only),
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
        Directive::own("proxy_store", ANY, ONE, read::store, |o, from| read::whole(&mut o.store, &from.store)),
        Directive::own("proxy_store_access", ANY, Args::Between(1, 3), read::store_access, |o, from| {
            read::whole(&mut o.store_access, &from.store_access)
        }),
        Directive::flag("proxy_buffering", ANY, |o| &mut o.buffering),
        Directive::flag("proxy_request_buffering", ANY, |o| &mut o.request_buffering),
        Directive::flag("proxy_ignore_client_abort", ANY, |o| &mut o.ignore_client_abort),
        Directive::own("proxy_bind", ANY, ONE_OR_TWO, read::bind, |o, from| {
            read::whole(&mut o.bind, &from.bind)
        }),
        Directive::flag("proxy_socket_keepalive", ANY, |o| &mut o.socket_keepalive),
        Directive::size("proxy_socket_rcvbuf", ANY, |o| &mut o.recv_buffer),
        Directive::size("proxy_socket_sndbuf", ANY, |o| &mut o.send_buffer),
        Directive::time("proxy_connect_timeout", ANY, |o| &mut o.connect_timeout),
        Directive::time("proxy_send_timeout", ANY, |o| &mut o.send_timeout),
        Directive::time("proxy_read_timeout", ANY, |o| &mut o.read_timeout),
        Directive::size("proxy_send_lowat", ANY, |o| &mut o.send_lowat),
        Directive::flag("proxy_intercept_errors", ANY, |o| &mut o.intercept_errors),
        Directive::own("proxy_set_header", ANY, Args::Exactly(2), read::set_header, |o, from| {
            read::whole(&mut o.headers, &from.headers)
        }),
        Directive::number("proxy_headers_hash_max_size", ANY, |o| &mut o.hash_max),
        Directive::number("proxy_headers_hash_bucket_size", ANY, |o| &mut o.hash_bucket),
        Directive::text("proxy_set_body", ANY, |o| &mut o.body),
        Directive::text("proxy_method", ANY, |o| &mut o.method),
        Directive::flag("proxy_pass_request_headers", ANY, |o| &mut o.pass_request_headers),
        Directive::flag("proxy_pass_request_body", ANY, |o| &mut o.pass_request_body),
        Directive::flag("proxy_pass_trailers", ANY, |o| &mut o.pass_trailers),
        Directive::size("proxy_buffer_size", ANY, |o| &mut o.buffer_size),
        Directive::own("proxy_buffers", ANY, Args::Exactly(2), read::buffers, |o, from| {
            read::whole(&mut o.buffers, &from.buffers)
        }),
        Directive::size("proxy_busy_buffers_size", ANY, |o| &mut o.busy_buffers_size),
        Directive::flag("proxy_force_ranges", ANY, |o| &mut o.force_ranges),
        Directive::text("proxy_limit_rate", ANY, |o| &mut o.limit_rate),
        Directive::own("proxy_temp_path", ANY, Args::Between(1, 4), read::temp_path, |o, from| {
            read::whole(&mut o.temp_path, &from.temp_path)
        }),
        Directive::size("proxy_max_temp_file_size", ANY, |o| &mut o.max_temp_file_size),
        Directive::size("proxy_temp_file_write_size", ANY, |o| &mut o.temp_file_write_size),
        Directive::own("proxy_next_upstream", ANY, SOME, read::next_upstream, |o, from| {
            read::whole(&mut o.next, &from.next)
        }),
        Directive::number("proxy_next_upstream_tries", ANY, |o| &mut o.next_tries),
        Directive::time("proxy_next_upstream_timeout", ANY, |o| &mut o.next_timeout),
        Directive::own("proxy_pass_header", ANY, ONE, read::pass_header, |o, from| {
            read::whole(&mut o.pass_header, &from.pass_header)
        }),
        Directive::own("proxy_hide_header", ANY, ONE, read::hide_header, |o, from| {
            read::whole(&mut o.hide_header, &from.hide_header)
        }),
        Directive::own("proxy_ignore_headers", ANY, SOME, read::ignore_headers, |o, from| {
            read::whole(&mut o.ignored, &from.ignored)
        }),
        Directive::choice("proxy_http_version", ANY, VERSIONS, |o| &mut o.http_version),
        Directive::words("early_hints", ANY, |o| &mut o.early_hints),
        Directive::flag("proxy_ssl_session_reuse", ANY, |o| &mut o.ssl.session_reuse),
        Directive::own("proxy_ssl_protocols", ANY, SOME, ssl::protocols, |o, from| {
            read::whole(&mut o.ssl.protocols, &from.ssl.protocols)
        }),
        Directive::text("proxy_ssl_ciphers", ANY, |o| &mut o.ssl.ciphers),
        Directive::text("proxy_ssl_name", ANY, |o| &mut o.ssl.name),
        Directive::flag("proxy_ssl_server_name", ANY, |o| &mut o.ssl.server_name),
        Directive::flag("proxy_ssl_verify", ANY, |o| &mut o.ssl.verify),
        Directive::number("proxy_ssl_verify_depth", ANY, |o| &mut o.ssl.verify_depth),
        Directive::text("proxy_ssl_trusted_certificate", ANY, |o| &mut o.ssl.trusted),
        Directive::text("proxy_ssl_crl", ANY, |o| &mut o.ssl.crl),
        Directive::text("proxy_ssl_certificate", ANY, |o| &mut o.ssl.certificate),
        Directive::text("proxy_ssl_certificate_key", ANY, |o| &mut o.ssl.key),
        Directive::own("proxy_ssl_certificate_cache", ANY, Args::Between(1, 3), ssl::cache, |o, from| {
            read::whole(&mut o.ssl.certificate_cache, &from.ssl.certificate_cache)
        }),
        Directive::text("proxy_ssl_password_file", ANY, |o| &mut o.ssl.password_file),
        Directive::own("proxy_ssl_conf_command", ANY, Args::Exactly(2), ssl::conf_command, |o, from| {
            read::whole(&mut o.ssl.commands, &from.ssl.commands)
        }),
    ];
    const VARIABLES: &'static [Variable] = variables::VARIABLES;
    const PREFIXES: &'static [Prefix] = &[];

    /// `if` and `limit_except` pass on to where their location does.
    fn inherit_handler(options: &mut Options, outer: &Options) {
        if options.pass.is_none() {
            options.pass.clone_from(&outer.pass);
        }
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Settings::resolve(options, cx)
    }
}
