//! `absolute_redirect`, `port_in_redirect`, `server_name_in_redirect`: what a `Location` of our own looks like.

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Exchange, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    absolute: Option<bool>,
    port: Option<bool>,
    server_name: Option<bool>,
}

pub struct Settings {
    absolute: bool,
    port: bool,
    server_name: bool,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("absolute_redirect", Scope::ANY_HTTP, |o| &mut o.absolute),
        Directive::flag("port_in_redirect", Scope::ANY_HTTP, |o| &mut o.port),
        Directive::flag("server_name_in_redirect", Scope::ANY_HTTP, |o| &mut o.server_name),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(Some(Settings {
            absolute: options.absolute.unwrap_or(true),
            port: options.port.unwrap_or(true),
            server_name: options.server_name.unwrap_or(false),
        }))
    }
}

/// Turns a `Location` that is only a path into an absolute URL, where the settings ask for it.
pub fn absolute(on: &Settings, ex: &Exchange, path: &[u8]) -> Option<Vec<u8>> {
    if !on.absolute || !path.starts_with(b"/") {
        return None;
    }
    let tls = ex.conn.tls.is_some();
    let mut url = if tls { b"https://".to_vec() } else { b"http://".to_vec() };
    match on.server_name {
        true => url.extend_from_slice(ex.cycle.server_name(ex.server).as_bytes()),
        false if ex.host.is_empty() => url.extend_from_slice(local_host(ex).as_bytes()),
        false => url.extend_from_slice(&ex.host),
    }
    let port = ex.conn.local.port();
    let usual = if tls { 443 } else { 80 };
    if on.port && port != usual && port != 0 {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    url.extend_from_slice(path);
    Some(url)
}

/// For clients that name no host: the address that they reached.
fn local_host(ex: &Exchange) -> String {
    match ex.conn.local.ip() {
        Some(addr) if addr.is_ipv6() => format!("[{}]", addr.ip()),
        Some(addr) => addr.ip().to_string(),
        None => String::new(),
    }
}
