//! Finds the server by host and the location by path.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Exchange, Flow, Level, Reply, Stop, log};
use foregate_modules::internal;
use foregate_wire::uri;

use crate::address::Address;
use crate::cycle::Local;
use crate::locations::Found;

/// The client must not have this server over a connection that was opened for another.
pub(crate) struct Misdirected;

/// The server for the host that the client asked for; its level is where the exchange begins.
///
/// # Errors
/// The name in the TLS handshake was another one, and the server wants certificates from its clients.
pub(crate) fn find_server(local: &Local, address: &Address, ex: &mut Exchange) -> Result<(), Misdirected> {
    let asked = ex.conn.tls.as_ref().and_then(|it| it.server_name.as_deref()).map(str::as_bytes);
    let negotiated = asked.filter(|it| **it != ex.host[..]).and_then(|it| address.names.find(it));
    let mut server = address.names.find_for(ex).unwrap_or(address.default_server);
    let mut verdict = Ok(());
    if let Some(negotiated) = negotiated {
        let on = local.cycle.settings(local.cycle.server(server).place);
        if on.ssl.as_ref().is_some_and(|it| it.verifies_clients()) {
            server = negotiated;
            verdict = Err(Misdirected);
        }
    }
    ex.server = server;
    ex.location = local.cycle.server(server).place;
    verdict
}

/// Whether the host that the client asked for is one of its server's names.
pub(crate) fn is_named(local: &Local, ex: &mut Exchange) -> bool {
    let conn = ex.conn.clone();
    let port = |addr: &foregate_net::Addr| addr.ip().map(|it| it.port());
    let mut here = local.cycle.endpoints.iter().filter(|it| port(&it.addr) == port(&conn.local));
    here.any(|it| it.address(&conn.local).names.find_for(ex) == Some(ex.server))
}

/// The location for the URI, and the checks that come with it.
pub(crate) fn find_location(local: &Local, ex: &mut Exchange) -> Flow {
    ex.uri_changed = false;
    ex.location_holds = true;
    let server = local.cycle.server(ex.server);
    match server.locations.find(ex) {
        Ok(None) => {
            ex.location = server.place;
            ex.matched_prefix = 0;
        }
        Ok(Some(Found::Place { place, prefix_len })) => {
            ex.location = place;
            ex.matched_prefix = prefix_len;
        }
        Ok(Some(Found::Redirect { place })) => return add_slash(local, ex, place),
        Err(_) => {
            log!(ex, Level::Error, "pcre2_match() failed: match limit exceeded");
            return Break(Stop::status(500));
        }
    }
    let on = local.cycle.settings(ex.location);
    if let Some(on) = &on.internal {
        internal::check(on, ex)?;
    }
    let client = on.client.as_ref().expect("because the client module always resolves");
    let max = client.body_bytes_max;
    if let Some(source) = &mut ex.body.source {
        source.limit(max, client.body_timeout);
    }
    match ex.body.length {
        Some(length) if max > 0 && length > max && ex.body.exists() => {
            log!(ex, Level::Error, "client intended to send too large body: {length} bytes");
            Break(Stop::status(413))
        }
        _ => Continue(()),
    }
}

/// `limit_except`: methods outside of its list have a place of their own.
pub(crate) fn limit_except(local: &Local, ex: &mut Exchange) {
    if let Some(limit) = &local.cycle.places[ex.location as usize].limit_except
        && !limit.0.contains(&ex.method)
    {
        ex.location = limit.1;
    }
}

/// `/dir` where only `/dir/` is passed on: the client is told to ask for that.
fn add_slash(local: &Local, ex: &mut Exchange, place: u32) -> Flow {
    ex.location = place;
    let name = local.cycle.places[place as usize].name.as_bytes();
    let mut to = Vec::with_capacity(name.len() + ex.args.len() + 1);
    uri::escape(name, uri::Escape::Uri, &mut to);
    if !ex.args.is_empty() {
        to.push(b'?');
        to.extend_from_slice(&ex.args);
    }
    let mut reply = Reply::status(301);
    reply.fields.push(b"Location", &to);
    Break(reply.into())
}
