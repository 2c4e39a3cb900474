//! Getting a connection to a peer: an idle one, or a new one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use foregate_core::{Exchange, Level, Template};
use foregate_net::{Addr, Conn, ConnectOptions, Stream, clock, sys};
use foregate_wire::Buf;

use crate::carrier::{Carrier, News};
use crate::guard::guarded;
use crate::h2::Http2;
use crate::records::Records;
use crate::rules::{Conditions, Rules, bind_address};
use crate::run::{Fault, Protocol, Run};

/// A connection to a peer and what must be known to use it again.
pub struct Link {
    pub conn: Conn,
    /// The timer of whoever waits for this connection.
    pub deadline: clock::Deadline,
    /// Requests sent over it, the current one included.
    pub requests: u64,
    /// `clock::ms` of its start.
    pub since: u64,
    /// What takes answers out of what comes, where that is more than they.
    pub(crate) carrier: Option<Box<Carrier>>,
}

impl Link {
    pub(crate) fn new(conn: Conn) -> Box<Self> {
        Box::new(Self {
            conn,
            deadline: clock::Deadline::new(),
            requests: 0,
            since: clock::ms(),
            carrier: None,
        })
    }

    /// More of the answer, empty at its end; where there is a carrier, see [`Carrier::poll_recv`].
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        match &mut self.carrier {
            None => self.conn.poll_recv(cx),
            Some(carrier) => carrier.poll_recv(&self.conn, cx),
        }
    }

    /// What was said beside the answer.
    pub(crate) fn news(&mut self) -> Option<News> {
        self.carrier.as_mut()?.news()
    }

    /// The carrier, where it speaks HTTP/2, and its connection.
    pub(crate) fn h2(&mut self) -> Option<(&mut Http2, &Conn)> {
        Some((self.carrier.as_mut()?.h2()?, &self.conn))
    }

    /// On a connection that nobody uses: whether it was closed, or sent what nobody asked for.
    pub(crate) fn has_stirred(&mut self, cx: &mut Context<'_>) -> bool {
        self.conn.poll_readable(cx).is_ready() && !self.h2().is_some_and(|(h2, conn)| h2.tend(conn, cx))
    }
}

/// What connections must have in common, besides the peer, to stand in for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The location, by its settings and its place, where connections are not shared between locations.
    pub owner: (u32, u32),
    /// Identity of the TLS configuration and of the name asked for; 0 is plain.
    pub secure: u64,
    pub bind: Option<SocketAddr>,
    /// Answers come in records.
    pub records: bool,
    /// HTTP/2 is spoken.
    pub h2: bool,
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
                    foregate_core::log!(ex, Level::Error, "invalid local address \"{text}\"");
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

impl<P: Protocol> Run<'_, P> {
    /// A connection to the chosen peer: an idle one if there is one.
    pub(crate) async fn connect(&mut self) -> Result<(Box<Link>, Lane), Fault> {
        let bind = self.rules.bind.as_ref().and_then(|it| it.address(self.ex));
        let view = self.route.view.clone();
        let local = view.keepalive().is_some_and(|it| it.local);
        let lane = Lane {
            owner: if local { (self.rules.id, self.ex.location) } else { (0, 0) },
            secure: self.route.secure.map_or(0, |it| it.identity()),
            bind: bind.map(|it| it.0),
            records: P::RECORDS,
            h2: P::H2,
        };
        let Some(peer) = self.pick.peer() else { return Err(Fault::Next(Conditions::NO_LIVE)) };
        if let Some(idle) = &view.idle
            && let Some(mut link) = idle.take(&peer.addr, &lane)
        {
            link.requests += 1;
            self.reused = true;
            self.note_connected();
            self.expect_carrier(&mut link);
            return Ok((link, lane));
        }
        let mut link = Box::pin(self.connect_new(bind)).await?;
        self.expect_carrier(&mut link);
        Ok((link, lane))
    }

    fn expect_carrier(&self, link: &mut Link) {
        if P::RECORDS {
            let records = Records::new(self.protocol.keeps_connection());
            link.carrier = Some(Box::new(Carrier::Records(records)));
        } else if P::H2 && link.carrier.is_none() {
            link.carrier = Some(Box::new(Carrier::H2(Http2::new())));
        }
    }

    async fn connect_new(&mut self, bind: Option<(SocketAddr, bool)>) -> Result<Box<Link>, Fault> {
        let Some(peer) = self.pick.peer().cloned() else { return Err(Fault::Next(Conditions::NO_LIVE)) };
        let work = connect(&peer.addr, self.rules, bind);
        let client = self.watches_client().then(|| self.ex.client.clone());
        let deadline = clock::Deadline::new();
        let limit = self.rules.connect_timeout;
        let stream = match guarded(&deadline, limit, client.as_deref(), work).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.connect_failed(&error)),
            Err(cut) => return Err(self.cut(cut, "connecting to upstream")),
        };
        let conn = match self.route.secure {
            None => Conn::Plain(stream),
            Some(secure) => {
                let work = secure.handshake(stream);
                match guarded(&deadline, limit, client.as_deref(), work).await {
                    Ok(Ok(conn)) => conn,
                    Ok(Err(error)) => {
                        let text = format_args!("{} while SSL handshaking to upstream", error.0);
                        self.report(Level::Error, text);
                        return Err(Fault::Next(Conditions::ERROR));
                    }
                    Err(cut) => return Err(self.cut(cut, "SSL handshaking to upstream")),
                }
            }
        };
        self.note_connected();
        let mut link = Link::new(conn);
        link.requests = 1;
        Ok(link)
    }

    fn note_connected(&mut self) {
        let mut attempts = self.attempts();
        let age = attempts.age_ms(clock::ms());
        attempts.last().connect_ms = Some(age);
    }

    fn connect_failed(&mut self, error: &std::io::Error) -> Fault {
        let why = sys::errno_text(error);
        let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        match self.pick.peer().filter(|it| it.addr.is_unix()).map(|it| it.name.clone()) {
            Some(name) => {
                let level = if refused { Level::Error } else { Level::Crit };
                self.report(
                    level,
                    format_args!("connect() to {name} failed ({why}) while connecting to upstream"),
                );
            }
            None => {
                self.report(
                    Level::Error,
                    format_args!("connect() failed ({why}) while connecting to upstream"),
                );
            }
        }
        Fault::Next(Conditions::ERROR)
    }
}
