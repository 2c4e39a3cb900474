//! Listening sockets: bound as a `listen` directive wants them, shared between threads, accepting in bounded batches.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, sockopt};

use crate::addr::Addr;
use crate::reactor::{READABLE, Registered, Watch};
use crate::stream::{KeepAlive, Stream};
use crate::{runtime, sys};

/// nginx's default on Linux.
pub const BACKLOG_DEFAULT: i32 = 511;

/// Connections accepted in one loop turn before the other tasks get theirs.
const ACCEPTS_PER_TURN_MAX: u32 = 64;

/// What is asked of a listening socket (nginx: the parameters of `listen`).
#[derive(Clone, Debug, PartialEq)]
pub struct ListenSpec {
    pub addr: Addr,
    /// Connections the kernel holds for us.
    pub backlog: i32,
    /// SO_REUSEPORT: several sockets on this address, among which the kernel spreads connections.
    pub reuseport: bool,
    /// IPV6_V6ONLY; nginx's default is on.
    pub ipv6only: bool,
    /// SO_RCVBUF and SO_SNDBUF in bytes.
    pub recv_buffer_bytes: Option<usize>,
    pub send_buffer_bytes: Option<usize>,
    /// TCP_DEFER_ACCEPT: a connection counts only once it has sent something.
    pub deferred: bool,
    /// TCP_FASTOPEN: the length of its queue.
    pub fastopen: Option<i32>,
    pub keepalive: Option<KeepAlive>,
}

impl ListenSpec {
    /// A socket at `addr` as nginx makes it without further parameters.
    pub fn new(addr: Addr) -> ListenSpec {
        ListenSpec {
            addr,
            backlog: BACKLOG_DEFAULT,
            reuseport: false,
            ipv6only: true,
            recv_buffer_bytes: None,
            send_buffer_bytes: None,
            deferred: false,
            fastopen: None,
            keepalive: None,
        }
    }

    /// Creates, binds and listens; the descriptor may then be given to other threads or processes.
    ///
    /// The error says which call failed, in nginx's form: `bind() to 127.0.0.1:80 failed (98: Address already in use)`.
    pub fn open(&self) -> Result<OwnedFd, ListenError> {
        let failed = |call| move |error: io::Error| ListenError { call, addr: self.addr.clone(), error };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(self.addr.family(), SocketType::STREAM, flags, None)
            .map_err(io::Error::from)
            .map_err(failed("socket()"))?;
        self.set_before_bind(&fd).map_err(failed("setsockopt()"))?;
        let addr = self.addr.to_os().map_err(failed("bind()"))?;
        rustix::net::bind(&fd, &addr).map_err(io::Error::from).map_err(failed("bind()"))?;
        if let Addr::Unix(path) = &self.addr {
            // As nginx: anybody may connect.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
                .map_err(failed("chmod()"))?;
        }
        self.apply(fd.as_fd()).map_err(failed("setsockopt()"))?;
        rustix::net::listen(&fd, self.backlog).map_err(io::Error::from).map_err(failed("listen()"))?;
        Ok(fd)
    }

    fn set_before_bind(&self, fd: &OwnedFd) -> io::Result<()> {
        sockopt::set_socket_reuseaddr(fd, true)?;
        if self.reuseport {
            sockopt::set_socket_reuseport(fd, true)?;
        }
        if matches!(self.addr, Addr::Ip(SocketAddr::V6(_))) {
            sockopt::set_ipv6_v6only(fd, self.ipv6only)?;
        }
        Ok(())
    }

    /// Sets what may change while the socket listens: at the start and for a socket kept over a reload.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(bytes) = self.recv_buffer_bytes {
            sockopt::set_socket_recv_buffer_size(fd, bytes)?;
        }
        if let Some(bytes) = self.send_buffer_bytes {
            sockopt::set_socket_send_buffer_size(fd, bytes)?;
        }
        if self.addr.is_unix() {
            return Ok(());
        }
        // Accepted sockets inherit it: no call per connection.
        sockopt::set_tcp_nodelay(fd, true)?;
        if let Some(keepalive) = self.keepalive {
            keepalive.apply(fd)?;
        }
        sys::set_defer_accept(fd, self.deferred)?;
        if let Some(queue) = self.fastopen {
            sys::set_fastopen(fd, queue)?;
        }
        Ok(())
    }

    /// Changes the backlog of a socket that listens already.
    pub fn relisten(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::net::listen(fd, self.backlog)?)
    }
}

impl KeepAlive {
    fn apply(self, fd: BorrowedFd<'_>) -> io::Result<()> {
        sockopt::set_socket_keepalive(fd, self.on)?;
        if let Some(idle) = self.idle {
            sockopt::set_tcp_keepidle(fd, idle)?;
        }
        if let Some(interval) = self.interval {
            sockopt::set_tcp_keepintvl(fd, interval)?;
        }
        if let Some(probes) = self.probes {
            sockopt::set_tcp_keepcnt(fd, probes)?;
        }
        Ok(())
    }
}

/// Where a socket that somebody else opened is bound.
pub fn bound_to(fd: impl AsFd) -> io::Result<Addr> {
    Ok(Addr::from_os(Some(rustix::net::getsockname(fd)?)))
}

/// Lets further sockets bind to the address of this one (SO_REUSEPORT), when a reload adds `reuseport`.
pub fn share(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(fd, true)?)
}

/// Why a listening socket could not be had.
#[derive(Debug)]
pub struct ListenError {
    /// The call that failed, as nginx names it: `bind()`.
    pub call: &'static str,
    pub addr: Addr,
    pub error: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} failed ({})", self.call, self.addr, sys::errno_text(&self.error))
    }
}

impl std::error::Error for ListenError {}

/// A listening socket as one thread uses it. Each thread has its own, on a descriptor of its own (`try_clone`).
pub struct Listener {
    source: Registered,
    addr: Addr,
    /// The local address of every connection, when the socket is not bound to a wildcard.
    definite: Option<Addr>,
    deferred: bool,
    batch: Batch,
    /// Taken out of epoll after an error, until somebody asks again: its event would come each turn.
    resting: Cell<bool>,
}

/// Whether to try for another connection after one: a try that fails costs a call, one too few costs a loop turn.
#[derive(Default)]
struct Batch {
    turn: Cell<u64>,
    accepted: Cell<u32>,
    eager: Cell<bool>,
}

impl Listener {
    /// Takes over a listening, non-blocking socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        let addr = Addr::from_os(Some(rustix::net::getsockname(&fd)?));
        let definite = match &addr {
            Addr::Ip(ip) if ip.ip().is_unspecified() => None,
            _ => Some(addr.clone()),
        };
        let deferred = !addr.is_unix() && sys::defer_accept(fd.as_fd()).unwrap_or(false);
        Ok(Listener {
            source: Registered::new(fd, Watch::Listener, 0)?,
            addr,
            definite,
            deferred,
            batch: Batch::default(),
            resting: Cell::new(false),
        })
    }

    /// Opens a socket for this thread alone.
    pub fn bind(spec: &ListenSpec) -> io::Result<Listener> {
        Listener::from_fd(spec.open().map_err(|error| io::Error::new(error.error.kind(), error.to_string()))?)
    }

    /// The address it is bound to, with the port the kernel chose.
    pub fn addr(&self) -> &Addr {
        &self.addr
    }

    /// The next connection. ECONNABORTED, EMFILE and ENFILE come as they are: the first may be ignored, after the
    /// others the caller waits a while before it asks again.
    pub async fn accept(&self) -> io::Result<(Stream, Addr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Addr)>> {
        if self.resting.replace(false) {
            self.source.restore(Watch::Listener)?;
        }
        ready!(self.source.poll_readable(cx));
        if self.batch.is_full() {
            // Level-triggered: the next turn reports it again.
            self.source.clear(READABLE);
            ready!(self.source.poll_readable(cx));
        }
        loop {
            match self.take() {
                Ok(Some(taken)) => {
                    if !self.batch.go_on() {
                        // Level-triggered: if more are waiting, the next turn says so.
                        self.source.clear(READABLE);
                    }
                    return Poll::Ready(Ok(taken));
                }
                Ok(None) => {
                    self.batch.found_nothing();
                    self.source.clear(READABLE);
                    ready!(self.source.poll_readable(cx));
                }
                Err(error) => {
                    self.source.withdraw();
                    self.source.clear(READABLE);
                    self.resting.set(true);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Hears of no connection from now on; others that listen on this socket do.
    pub fn withdraw(&self) {
        self.source.withdraw();
    }

    /// A connection that waits already; never waits for one itself.
    pub fn accept_waiting(&self) -> io::Result<Option<Stream>> {
        Ok(self.take()?.map(|(stream, _)| stream))
    }

    fn take(&self) -> io::Result<Option<(Stream, Addr)>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            match rustix::net::acceptfrom_with(self.source.fd(), flags) {
                Ok((fd, peer)) => {
                    let peer = Addr::from_os(peer);
                    let stream = Stream::accepted(fd, peer.clone(), self.definite.clone(), self.deferred)?;
                    return Ok(Some((stream, peer)));
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The socket may live on in other threads: closing would not take it out of this thread's epoll.
        self.source.withdraw();
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.turn.get() == runtime::turn_number() && self.accepted.get() >= ACCEPTS_PER_TURN_MAX
    }

    /// Counts one accepted connection; whether to try for the next at once. So it is while two turns in a row, or
    /// one turn twice, had one for us.
    fn go_on(&self) -> bool {
        let (turn, last) = (runtime::turn_number(), self.turn.get());
        if turn == last {
            self.accepted.set(self.accepted.get() + 1);
        } else {
            self.turn.set(turn);
            self.accepted.set(1);
            self.eager.set(self.eager.get() || turn == last + 1);
        }
        self.eager.get()
    }

    fn found_nothing(&self) {
        if self.turn.get() == runtime::turn_number() && self.accepted.get() == 1 {
            self.eager.set(false);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}
