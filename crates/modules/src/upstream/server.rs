//! `server ADDRESS [parameters]` inside of an `upstream` block.

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::Scope;
use foregate_upstream::{Address, PORT, ROUTE_CHARS_MAX, Resolve, Resolvers, Server, Unfit};

use super::{Options, invalid};

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
    if forbids_backup && matches!(name, "backup" | "slow_start") {
        let what = format!("balancing method does not support parameter \"{word}\"");
        return Err(Error::at(word.span, what));
    }
    server.set(name, given).map_err(|why| match why {
        Unfit::RouteEmpty => Error::at(word.span, "route is empty"),
        Unfit::RouteLong => Error::at(word.span, format!("route is longer than {ROUTE_CHARS_MAX}")),
        Unfit::Unknown | Unfit::Value => invalid(word),
    })
}
