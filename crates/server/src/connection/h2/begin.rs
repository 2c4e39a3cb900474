//! From a request's head to an exchange.

use foregate_core::{Exchange, Method, Version};
use foregate_wire::h2::Head;
use foregate_wire::uri::{InvalidUri, normalise, split_args};

use super::websocket;

/// What the rest of the exchange needs of a head that is gone by then.
pub(super) struct Begun {
    /// What the client is told if the head was none, and the words for the log.
    pub(super) fault: Option<(u16, Vec<u8>)>,
    /// An extended CONNECT, which the exchange sees as an Upgrade.
    pub(super) tunnels: bool,
    pub(super) expects: bool,
    pub(super) n_dropped: u32,
}

/// Fills in what the head says. After a fault, what was understood before it is enough for the log.
pub(super) fn fill(ex: &mut Exchange, head: &mut Head, merge_slashes: bool) -> Begun {
    ex.version = Version::H2;
    ex.head_bytes = head.block_bytes as u64;
    ex.method = head.method;
    ex.method_name.extend_from_slice(&head.method_name);
    if !head.method_name.is_empty() && !head.target.is_empty() {
        for part in [&head.method_name[..], b" ", &head.target, b" HTTP/2.0"] {
            ex.line.extend_from_slice(part);
        }
    }
    std::mem::swap(&mut ex.fields, &mut head.fields);
    ex.host.extend_from_slice(&head.host);
    ex.host_port = head.port;
    ex.target.extend_from_slice(&head.target);
    let mut begun = Begun {
        fault: head.fault.take().map(|it| (it.status, it.text)),
        tunnels: !head.protocol.is_empty() && head.method == Method::Connect,
        expects: head.expect_continue,
        n_dropped: head.n_dropped,
    };
    if begun.fault.is_none() && path(ex, head, merge_slashes).is_err() {
        ex.uri.clear();
        begun.fault = Some((400, b"client sent invalid :path header".to_vec()));
    }
    if begun.tunnels && begun.fault.is_none() {
        websocket::disguise(ex, &head.protocol, &mut begun);
    }
    begun
}

fn path(ex: &mut Exchange, head: &Head, merge_slashes: bool) -> Result<(), InvalidUri> {
    if head.needs_normalising {
        let parts = normalise(&head.target, merge_slashes, &mut ex.uri)?;
        ex.args.extend_from_slice(&head.target[parts.args]);
        return Ok(());
    }
    let (path, args) = split_args(&head.target);
    ex.uri.extend_from_slice(path);
    ex.args.extend_from_slice(args);
    Ok(())
}
