//! Getting a connection to a peer: an idle one, or a new one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;

use foregate_core::{Exchange, Template};
use foregate_net::{Addr, Conn, ConnectOptions, Stream, clock};

use crate::rules::{Rules, bind_address};

/// A connection to a peer and what must be known to use it again.
pub struct Link {
    pub conn: Conn,
    /// The timer of whoever waits for this connection.
    pub deadline: clock::Deadline,
    /// Requests sent over it, the current one included.
    pub requests: u64,
    pub since: Instant,
}

impl Link {
    pub(crate) fn new(conn: Conn) -> Box<Self> {
        Box::new(Self { conn, deadline: clock::Deadline::new(), requests: 0, since: clock::now() })
    }
}

/// What connections must have in common, besides the peer, to stand in for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The location, where connections are not shared between locations.
    pub owner: u32,
    /// Identity of the TLS configuration and of the name asked for; 0 is plain.
    pub secure: u64,
    pub bind: Option<SocketAddr>,
}

/// `proxy_bind`: the local address of new connections.
pub enum Bind {
    To {
        addr: SocketAddr,
        transparent: bool,
    },
    /// Known per request; an empty value leaves it to the system.
    By {
        value: Template,
        transparent: bool,
    },
}

impl Bind {
    pub(crate) fn address(&self, ex: &mut Exchange) -> Option<(SocketAddr, bool)> {
        match self {
            Self::To { addr, transparent } => Some((*addr, *transparent)),
            Self::By { value, transparent } => {
                let text = value.fill_new(ex);
                let addr = std::str::from_utf8(&text).ok().and_then(bind_address);
                if addr.is_none() && !text.is_empty() {
                    let text = String::from_utf8_lossy(&text);
                    foregate_core::log!(ex, foregate_core::Level::Error, "invalid local address \"{text}\"");
                }
                addr.map(|addr| (addr, *transparent))
            }
        }
    }
}

/// The client's side of a TLS handshake with a peer. One box for each new connection is no cost beside it.
pub trait Secure {
    /// Never 0; equal only where sessions may be shared.
    fn identity(&self) -> u64;

    fn handshake(&self, stream: Stream) -> Pin<Box<dyn Future<Output = Result<Conn, TlsError>> + '_>>;
}

/// Why a handshake failed, in the words of the error log.
pub struct TlsError(pub String);

/// A new connection without TLS.
pub(crate) async fn connect(
    addr: &Addr,
    rules: &Rules,
    bind: Option<(SocketAddr, bool)>,
) -> io::Result<Stream> {
    let options = ConnectOptions {
        bind: bind.map(|it| it.0),
        transparent: bind.is_some_and(|it| it.1),
        keepalive: rules.socket_keepalive,
        recv_buffer_bytes: rules.recv_buffer,
        send_buffer_bytes: rules.send_buffer,
    };
    Stream::connect(addr, &options).await
}
