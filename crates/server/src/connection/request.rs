//! From the bytes of a request's head to an exchange.

use std::rc::Rc;

use foregate_core::variable::Slot;
use foregate_core::{
    Captures, Client, Connection, Exchange, Notes, REDIRECTS_MAX, RequestBody, Sent, Version,
};
use foregate_net::clock;
use foregate_wire::h1::RequestHead;
use foregate_wire::uri::{InvalidUri, normalise};
use foregate_wire::{Fields, Method};

use crate::cycle::Local;

/// Memory of a buffer that is kept for the next exchange, bytes; what a stranger has blown up is given back.
const KEPT_BYTES_MAX: usize = 8 << 10;

/// The buffers of an exchange that has ended, for one that begins.
#[derive(Default)]
pub(super) struct Spare {
    method_name: Vec<u8>,
    line: Vec<u8>,
    target: Vec<u8>,
    host: Vec<u8>,
    uri: Vec<u8>,
    args: Vec<u8>,
    fields: Fields,
    captures: Captures,
    slots: Vec<Slot>,
    notes: Notes,
}

impl Spare {
    /// What is worth keeping of an exchange.
    pub(super) fn of(ex: Exchange) -> Self {
        let emptied = |mut buffer: Vec<u8>| {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
            buffer
        };
        let Exchange { mut fields, mut captures, mut slots, mut notes, .. } = ex;
        fields.clear();
        captures.clear();
        slots.clear();
        notes.clear();
        Self {
            method_name: emptied(ex.method_name),
            line: emptied(ex.line),
            target: emptied(ex.target),
            host: emptied(ex.host),
            uri: emptied(ex.uri),
            args: emptied(ex.args),
            fields: if ex.head_bytes <= KEPT_BYTES_MAX as u64 { fields } else { Fields::new() },
            captures,
            slots,
            notes,
        }
    }
}

/// An exchange of which nothing is known yet but its connection.
pub(super) fn blank(
    spare: Spare,
    local: Rc<Local>,
    conn: Rc<Connection>,
    client: Rc<dyn Client>,
) -> Exchange {
    Exchange {
        remote: conn.peer.clone(),
        conn,
        client,
        cycle: local,
        server: 0,
        location: 0,
        method: Method::Other,
        method_name: spare.method_name,
        line: spare.line,
        target: spare.target,
        version: Version::H09,
        fields: spare.fields,
        host: spare.host,
        host_port: None,
        head_bytes: 0,
        body: RequestBody::default(),
        uri: spare.uri,
        args: spare.args,
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
        captures: spare.captures,
        slots: spare.slots,
        variable_depth: 0,
        notes: spare.notes,
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
