//! The end of a connection: when it is due, and how it is gone through.

use std::time::Duration;

use foregate_core::{Connection, ErrorLog, Level};
use foregate_modules::client::Lingering;
use foregate_net::{Conn, clock, runtime};

use super::link::Link;
use crate::address::Address;
use crate::cycle::Local;

/// Read of a client that should have understood: more than one that behaves has on its way.
pub(super) const LINGER_BYTES_MAX: usize = 1 << 20;
/// The same of one that has broken the rules: to read more of a flood is what it wants.
pub(super) const LINGER_BYTES_MAX_FAILED: usize = 128 << 10;

/// Whether the limits of the default server let the client open more streams.
pub(super) fn may_go_on(link: &Link, local: &Local, address: &Address) -> bool {
    let on = super::super::client_settings(local, address.default_server);
    !on.keepalive_timeout.is_zero()
        && link.facts.requests.get() < on.keepalive_requests
        && clock::ms() - link.facts.started_ms < clock::as_ms(on.keepalive_time)
}

/// Says that no more will come, and reads until the client has understood: what it still sends would otherwise make
/// the kernel throw away what is on its way to it. No more than `bytes_max` are read.
pub(super) async fn linger(conn: &Conn, local: &Local, address: Option<&Address>, bytes_max: usize) {
    conn.shutdown_write();
    let Some(address) = address else { return };
    let on = super::super::client_settings(local, address.default_server);
    if on.lingering == Lingering::Off {
        return;
    }
    let (total, between): (Duration, Duration) = (on.lingering_time, on.lingering_timeout);
    let drain = async {
        let mut drained = 0;
        while drained < bytes_max {
            match clock::timeout(between, conn.recv()).await {
                Ok(Ok(bytes)) if !bytes.is_empty() => drained += bytes.len(),
                _ => return,
            }
            // A client that floods always has more.
            runtime::rest().await;
        }
    };
    _ = clock::timeout(total, drain).await;
}

/// A line about the connection and no request of it.
pub(super) fn log(log: &ErrorLog, level: Level, facts: &Connection, text: impl FnOnce() -> String) {
    if log.wants(level) {
        let describe = |out: &mut String| {
            *out += &format!(", client: {}", foregate_core::addr_text(&facts.peer));
        };
        let text = format!("{} while processing HTTP/2 connection", text());
        log.write_about(level, facts.number, &text, &describe);
    }
}
