//! `https_redirect on;`: who comes without TLS is sent to the same place with it.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Exchange, Flow, Reply, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: Option<bool>,
}

pub struct Settings;

/// What issuers ask over plain HTTP (RFC 8555 section 8.3) is answered there, by whoever answers it.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::flag("https_redirect", Scope::HTTP_SERVER, |o| &mut o.on)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.on.filter(|on| *on).map(|_| Settings))
    }
}

/// Before the server's rewrites. `is_ours`: the host is one of the server's names; a made-up one must not end up in
/// an answer that caches may keep.
pub fn check(ex: &Exchange, is_ours: bool, own_name: &str) -> Flow {
    if ex.conn.tls.is_some() || ex.uri.starts_with(CHALLENGES) {
        return Continue(());
    }
    let host = if is_ours && !ex.host.is_empty() { &ex.host[..] } else { own_name.as_bytes() };
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    if host.is_empty() || !host.iter().all(is_name) {
        return Break(Reply::status(421).into());
    }
    let mut reply = Reply::status(301);
    reply.fields.push(b"Location", &[b"https://", host, &ex.target].concat());
    Break(reply.into())
}
