//! From the bytes of a request's head to an exchange.

use std::rc::Rc;

use foregate_core::{Client, Connection, Exchange, Notes, REDIRECTS_MAX, RequestBody, Sent, Version};
use foregate_net::clock;
use foregate_wire::h1::RequestHead;
use foregate_wire::uri::{InvalidUri, normalise};
use foregate_wire::{Fields, Method};

use crate::cycle::Local;

/// An exchange of which nothing is known yet but its connection.
pub(super) fn blank(local: Rc<Local>, conn: Rc<Connection>, client: Rc<dyn Client>) -> Exchange {
    Exchange {
        remote: conn.proxied.as_ref().map_or(&conn.peer, |_| &conn.peer).clone(),
        conn,
        client,
        cycle: local,
        server: 0,
        location: 0,
        method: Method::Other,
        method_name: Vec::new(),
        line: Vec::new(),
        target: Vec::new(),
        version: Version::H09,
        fields: Fields::new(),
        host: Vec::new(),
        host_port: None,
        head_bytes: 0,
        body: RequestBody::default(),
        uri: Vec::new(),
        args: Vec::new(),
        matched_prefix: 0,
        target_holds: true,
        uri_changed: false,
        location_holds: true,
        internal: false,
        redirects_left: REDIRECTS_MAX,
        error_page: false,
        status_override: None,
        subrequest_depth: 0,
        header_only: false,
        started: clock::now(),
        started_unix_ms: clock::unix_ms(),
        limit_rate: None,
        limit_rate_after: None,
        keepalive: true,
        sent: Sent::default(),
        captures: Default::default(),
        slots: Vec::new(),
        variable_depth: 0,
        notes: Notes::default(),
    }
}

/// Fills in what the head says. After an error in the head, what was understood before it is enough for the log.
pub(super) fn fill(
    ex: &mut Exchange,
    bytes: &[u8],
    head: &RequestHead,
    merge_slashes: bool,
) -> Result<(), InvalidUri> {
    ex.method = head.method;
    ex.method_name.extend_from_slice(head.method_name.of(bytes));
    ex.line.extend_from_slice(head.line.of(bytes));
    ex.version = head.version;
    ex.fields.load(bytes, &head.fields);
    if let Some(host) = head.host {
        ex.host.extend_from_slice(host.name.of(bytes));
        if host.has_upper {
            ex.host.make_ascii_lowercase();
        }
        ex.host_port = (host.port != 0).then_some(host.port);
    }
    let target = head.uri.of(bytes);
    ex.target.extend_from_slice(target);
    if head.needs_normalising() || target.first() != Some(&b'/') {
        let parts = normalise(target, merge_slashes, &mut ex.uri).inspect_err(|_| ex.uri.clear())?;
        ex.args.extend_from_slice(&target[parts.args]);
        if head.empty_path {
            ex.target.insert(0, b'/');
        }
        return Ok(());
    }
    let (path, args) = foregate_wire::uri::split_args(target);
    ex.uri.extend_from_slice(path);
    ex.args.extend_from_slice(args);
    Ok(())
}
