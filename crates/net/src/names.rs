//! Names looked up by the system's resolver while a configuration is loaded, or not at all.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};

/// Stands for every name that is not looked up: an address for documentation (RFC 5737), which nobody has.
pub const STAND_IN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// From now on this process asks no name server: it only looks at configurations, and every name is [`STAND_IN`].
pub fn go_offline() {
    OFFLINE.store(true, Ordering::Relaxed);
}

/// The addresses of a host: a name, or an address as written. Blocks.
///
/// # Errors
/// The resolver's.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if OFFLINE.load(Ordering::Relaxed) && host.parse::<std::net::IpAddr>().is_err() {
        return Ok(vec![(STAND_IN, port).into()]);
    }
    Ok((host, port).to_socket_addrs()?.collect())
}
