//! Where a socket stands: an IP address with port, or the path of a Unix socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

/// The address of one end of a stream. Cheap to clone; prints as nginx writes it (`unix:/path`, `[::1]:80`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// TCP or UDP.
    Ip(SocketAddr),
    /// A Unix socket; the path of an unnamed peer is empty.
    Unix(Arc<Path>),
}

impl Addr {
    /// A Unix socket's address.
    pub fn unix(path: impl AsRef<Path>) -> Addr {
        Addr::Unix(Arc::from(path.as_ref()))
    }

    /// The IP address and port, when it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Addr::Ip(addr) => Some(*addr),
            Addr::Unix(_) => None,
        }
    }

    /// The port, 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.ip().map_or(0, |addr| addr.port())
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, Addr::Unix(_))
    }

    pub(crate) fn family(&self) -> AddressFamily {
        match self {
            Addr::Ip(SocketAddr::V4(_)) => AddressFamily::INET,
            Addr::Ip(SocketAddr::V6(_)) => AddressFamily::INET6,
            Addr::Unix(_) => AddressFamily::UNIX,
        }
    }

    /// The form the kernel takes. Fails for a Unix path that is too long or holds a NUL.
    pub(crate) fn to_os(&self) -> io::Result<SocketAddrAny> {
        Ok(match self {
            Addr::Ip(addr) => SocketAddrAny::from(*addr),
            Addr::Unix(path) => SocketAddrUnix::new(&**path)?.into(),
        })
    }

    /// From what the kernel reports; a family we do not speak counts as an unnamed Unix socket.
    pub(crate) fn from_os(addr: Option<SocketAddrAny>) -> Addr {
        let Some(addr) = addr else { return Addr::unix("") };
        if let Ok(ip) = SocketAddr::try_from(addr.clone()) {
            return Addr::Ip(ip);
        }
        let unix = SocketAddrUnix::try_from(addr).ok();
        let path = unix.as_ref().and_then(|unix| unix.path_bytes()).unwrap_or_default();
        let path = path.strip_suffix(b"\0").unwrap_or(path);
        Addr::unix(std::ffi::OsStr::from_bytes(path))
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Ip(addr) => addr.fmt(f),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Addr {
        Addr::Ip(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form_and_print_as_nginx_does() {
        for text in ["127.0.0.1:80", "[::1]:8080"] {
            let addr = Addr::Ip(text.parse().unwrap());
            assert_eq!(addr.to_string(), text);
            assert_eq!(Addr::from_os(Some(addr.to_os().unwrap())), addr);
        }
        let addr = Addr::unix("/tmp/some.sock");
        assert_eq!(addr.to_string(), "unix:/tmp/some.sock");
        assert_eq!(Addr::from_os(Some(addr.to_os().unwrap())), addr);
    }
}
