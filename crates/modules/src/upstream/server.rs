//! `server ADDRESS [parameters]` inside of an `upstream` block.

use std::sync::Arc;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::Scope;
use foregate_upstream::{Address, Resolve, Resolvers, Server};

use super::{Options, invalid};

/// The port of a server that names none.
const PORT: u16 = 80;
/// nginx's longest `route`: that of an MD5 in hexadecimal.
const ROUTE_CHARS_MAX: usize = 32;

/// A `server` line before it is known who resolves its name.
#[derive(Clone)]
pub(super) struct ServerDraft {
    pub(super) server: Server,
    /// `resolve`, and what `service=` says.
    pub(super) resolve: Option<Option<String>>,
}

impl ServerDraft {
    pub(super) fn with(&self, resolver: &Arc<Resolvers>) -> Server {
        let mut server = self.server.clone();
        if server.is_named() {
            let resolve = self.resolve.clone();
            server.resolve = resolve.map(|service| Resolve { resolver: resolver.clone(), service });
        }
        server
    }
}

pub(super) fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let written = &node.args[0];
    let address = Address::parse(written, PORT, false)
        .map_err(|why| Error::at(written.span, format!("{why} in upstream \"{written}\"")))?;
    let mut server = Server::new(&address, written);
    let (mut resolves, mut service) = (false, None);
    for word in &node.args[1..] {
        match word.split_once('=') {
            None if *word == "resolve" => resolves = true,
            Some(("service", "")) => return Err(Error::at(word.span, "service is empty")),
            Some(("service", name)) => service = Some(name.to_owned()),
            _ => parameter(&mut server, word, o.forbids_backup())?,
        }
    }
    if service.is_some() {
        let fail = |what: &str| Err(Error::at(written.span, format!("service upstream \"{written}\" {what}")));
        match () {
            () if !resolves => return fail("requires \"resolve\" parameter"),
            () if !address.no_port => return fail("may not have port"),
            () if address.fixed.is_some() => return fail("requires domain name"),
            () => (),
        }
    }
    o.servers.push(ServerDraft { server, resolve: resolves.then_some(service) });
    Ok(())
}

fn parameter(server: &mut Server, word: &Word, forbids_backup: bool) -> Result<(), Error> {
    let (name, given) = match word.split_once('=') {
        Some((name, given)) => (name, Some(given)),
        None => (word.text.as_str(), None),
    };
    let number = |given: &str| {
        let number = value::number(given).and_then(|it| u32::try_from(it).ok());
        number.ok_or_else(|| invalid(word))
    };
    match (name, given) {
        ("weight", Some(given)) => {
            server.weight = number(given)?;
            if server.weight == 0 {
                return Err(invalid(word));
            }
        }
        ("max_conns", Some(given)) => server.max_conns = number(given)?,
        ("max_fails", Some(given)) => server.max_fails = number(given)?,
        ("fail_timeout", Some(given)) => {
            server.fail_timeout_s = value::time_s(given).ok_or_else(|| invalid(word))?;
        }
        ("backup", None) if forbids_backup => {
            let what = format!("balancing method does not support parameter \"{word}\"");
            return Err(Error::at(word.span, what));
        }
        ("backup", None) => server.backup = true,
        ("down", None) => server.down = true,
        ("drain", None) => server.drain = true,
        ("route", Some("")) => return Err(Error::at(word.span, "route is empty")),
        ("route", Some(route)) if route.len() > ROUTE_CHARS_MAX => {
            return Err(Error::at(word.span, format!("route is longer than {ROUTE_CHARS_MAX}")));
        }
        ("route", Some(route)) => server.route = Some(route.to_owned()),
        ("slow_start", Some(_)) if forbids_backup => {
            let what = format!("balancing method does not support parameter \"{word}\"");
            return Err(Error::at(word.span, what));
        }
        ("slow_start", Some(given)) => {
            let seconds = value::time_s(given).ok_or_else(|| invalid(word))?;
            server.slow_start_ms = seconds.saturating_mul(1000);
        }
        _ => return Err(invalid(word)),
    }
    Ok(())
}
