//! From the bytes of a request's head to an exchange.

use foregate_core::Exchange;
use foregate_wire::h1::RequestHead;
use foregate_wire::uri::{InvalidUri, normalise};

/// Fills in what the head says. After an error in the head, what was understood before it is enough for the log.
pub(crate) fn fill(
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
