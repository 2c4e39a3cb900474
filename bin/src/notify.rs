//! What systemd wants to hear from a service of `Type=notify` or `notify-reload` (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use foregate_net::process::monotonic_us;

/// The service answers requests.
pub(crate) fn ready() {
    tell(&format!("READY=1\nMAINPID={}\n", std::process::id()));
}

/// The configuration is being read again; `ready` follows.
pub(crate) fn reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()));
}

/// The service is on its way out.
pub(crate) fn stopping() {
    tell("STOPPING=1\n");
}

fn tell(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    // Whoever set the variable reads or does not: serving does not depend on it.
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        _ = socket.send_to_addr(text.as_bytes(), &address);
    }
}
