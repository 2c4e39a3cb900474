//! A non-blocking TCP or Unix stream: receive into pooled blocks, send, connect, and learn that the peer has left.

use std::cell::OnceCell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foregate_wire::{Block, Buf};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};

use crate::addr::Addr;
use crate::pipe::Pipe;
use crate::reactor::{BROKEN, PEER_CLOSED, READABLE, Received, Registered, WRITABLE, Watch};
use crate::sys;

/// Slices handed to the kernel in one call; Linux takes 1024 (IOV_MAX), more than 64 gain nothing.
const SLICES_MAX: usize = 64;

/// Bytes sent from a file in one call, so that one fast client does not hold up the thread (nginx: sendfile_max_chunk 2m).
const SENDFILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A connected stream. It belongs to the thread that made it. At most one task waits for each of: data, room to
/// send, the peer's leaving.
pub struct Stream {
    source: Registered,
    peer: Addr,
    local: OnceCell<Addr>,
}

/// How an outgoing connection is made.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// The local address (nginx: proxy_bind); with port 0 the kernel chooses one at connect.
    pub bind: Option<SocketAddr>,
    /// The local address may be somebody else's (`proxy_bind ... transparent`, IP_TRANSPARENT).
    pub transparent: bool,
    /// SO_KEEPALIVE (nginx: proxy_socket_keepalive).
    pub keepalive: bool,
    /// SO_RCVBUF and SO_SNDBUF in bytes; the system's own when unset.
    pub recv_buffer_bytes: Option<usize>,
    pub send_buffer_bytes: Option<usize>,
}

/// TCP keep-alive of a listener (nginx: `so_keepalive=[keepidle]:[keepintvl]:[keepcnt]`); unset parts are the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    pub on: bool,
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub probes: Option<u32>,
}

impl Stream {
    /// Connects to `addr`. The time this may take is the caller's to limit.
    pub async fn connect(addr: &Addr, options: &ConnectOptions) -> io::Result<Stream> {
        let fd = open(addr, options)?;
        match rustix::net::connect(&fd, &addr.to_os()?) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = Stream::register(fd, addr.clone(), 0)?;
        poll_fn(|cx| stream.source.poll_writable(cx)).await;
        // An attempt that failed is reported with ERR; without it no question need be asked.
        if stream.source.is(BROKEN) {
            sockopt::socket_error(stream.source.fd())??;
        }
        Ok(stream)
    }

    /// Takes over a connected, non-blocking socket.
    pub fn from_fd(fd: OwnedFd, peer: Addr) -> io::Result<Stream> {
        Stream::register(fd, peer, WRITABLE)
    }

    /// Whether a `Crowd` can take it: what io_uring does for a socket cannot be handed over.
    pub fn may_join_crowd(&self) -> bool {
        self.source.is_free()
    }

    /// Gives the socket up without closing it.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        self.source.into_fd()
    }

    pub(crate) fn accepted(
        fd: OwnedFd,
        peer: Addr,
        local: Option<Addr>,
        has_data: bool,
    ) -> io::Result<Stream> {
        let ready = if has_data { READABLE | WRITABLE } else { WRITABLE };
        let stream = Stream::register(fd, peer, ready)?;
        stream.source.guessed.set(has_data);
        if let Some(local) = local {
            let _ = stream.local.set(local);
        }
        Ok(stream)
    }

    fn register(fd: OwnedFd, peer: Addr, ready: u8) -> io::Result<Stream> {
        let source = Registered::new(fd, Watch::Stream, ready)?;
        Ok(Stream { source, peer, local: OnceCell::new() })
    }

    /// The other end, as known since accept or connect.
    pub fn peer_addr(&self) -> &Addr {
        &self.peer
    }

    /// This end. Asks the kernel the first time, unless the listener's address was definite.
    pub fn local_addr(&self) -> &Addr {
        self.local.get_or_init(|| Addr::from_os(rustix::net::getsockname(self.source.fd()).ok()))
    }

    /// Waits for data and receives up to one block; empty at the end of the stream. Holds no buffer while waiting.
    #[inline]
    pub async fn recv(&self) -> io::Result<Buf> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        loop {
            ready!(self.source.poll_readable(cx));
            if let Some(buf) = self.try_recv()? {
                return Poll::Ready(Ok(buf));
            }
        }
    }

    /// Receives what is there; `None` when nothing is. Makes no call when the last one left nothing.
    pub fn try_recv(&self) -> io::Result<Option<Buf>> {
        if !self.source.is(READABLE) {
            return Ok(None);
        }
        match self.source.take_received()? {
            Received::Bytes(buf) => return Ok(Some(buf)),
            Received::Nothing => return Ok(None),
            Received::Ask => {}
        }
        let mut block = Block::take();
        Ok(self.ask(block.spare())?.map(|n| block.fill(n)))
    }

    /// As `poll_recv`, into the caller's memory, which must not be empty; 0 at the end of the stream.
    pub fn poll_recv_into(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_readable(cx));
            if let Some(n) = self.try_recv_into(into)? {
                return Poll::Ready(Ok(n));
            }
        }
    }

    /// As `try_recv`, into the caller's memory.
    pub fn try_recv_into(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.source.is(READABLE) {
            return Ok(None);
        }
        match self.source.copy_received(into)? {
            Ok(n) => Ok(Some(n)),
            Err(Received::Ask) => self.ask(into),
            Err(_) => Ok(None),
        }
    }

    /// Receives by a call on the socket.
    fn ask(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let room = into.len();
        loop {
            if !self.source.is(READABLE) {
                return Ok(None);
            }
            match rustix::net::recv(self.source.fd(), &mut *into, RecvFlags::empty()) {
                Ok((n, _)) => {
                    self.note_received(n, room);
                    return Ok(Some(n));
                }
                Err(Errno::AGAIN) => self.source.clear(READABLE),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As `poll_recv`, up to `max` bytes, which stay within the kernel: an empty pipe is the end of the stream.
    /// `None` where no pipe is to be had: then they must be received.
    pub fn poll_recv_pipe(&self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Pipe>>> {
        loop {
            ready!(self.source.poll_readable(cx));
            // A driver that receives ahead has some of it already.
            let pipe = if self.source.is_ringed() { None } else { Pipe::take() };
            let Some(mut pipe) = pipe else { return Poll::Ready(Ok(None)) };
            match pipe.fill(self.source.fd(), max) {
                Ok(n) => {
                    // How much is left cannot be told from how much came.
                    self.source.guessed.set(n > 0);
                    return Poll::Ready(Ok(Some(pipe)));
                }
                Err(Errno::AGAIN) => self.source.clear(READABLE),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// A read shorter than its buffer has drained the socket: the next event tells of more, and no call need fail
    /// to learn it. Not so once the peer has closed, for then no further event comes.
    #[inline]
    fn note_received(&self, n: usize, room: usize) {
        self.source.note_asked(n);
        let drained = n < room && n > 0;
        if drained && !self.source.is(PEER_CLOSED | BROKEN) {
            self.source.clear(READABLE);
        }
        self.source.guessed.set(n == room);
    }

    /// Waits, without a buffer, until there is something to receive or the stream has ended.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// As `readable`. On an idle upstream connection ready means: closed, or sending what nobody asked for.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.source.poll_readable(cx));
            if !self.source.guessed.get() || self.source.is(PEER_CLOSED | BROKEN) {
                return Poll::Ready(Ok(()));
            }
            self.verify_readable()?;
        }
    }

    /// Whether something is there to receive, or the end is.
    pub fn is_readable(&self) -> bool {
        self.source.is(READABLE)
            && (!self.source.guessed.get() || self.verify_readable().is_err() || self.source.is(READABLE))
    }

    /// As `is_readable`, but may err where only a call could tell.
    #[inline]
    pub(crate) fn may_be_readable(&self) -> bool {
        self.source.is(READABLE)
    }

    fn verify_readable(&self) -> io::Result<()> {
        self.source.guessed.set(false);
        match rustix::net::recv(self.source.fd(), &mut [0_u8; 1], RecvFlags::PEEK) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(Errno::AGAIN) => {
                self.source.clear(READABLE);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a send may be tried.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.source.is(WRITABLE)
    }

    /// Sends all of `bytes`.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = poll_fn(|cx| self.poll_send(cx, rest)).await?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Sends the start of `bytes`, which must not be empty; returns how many were taken.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(queued) = self.source.poll_queue(cx, bytes.len(), &[bytes], 0) {
            return queued;
        }
        self.poll_write_with(cx, bytes.len(), || {
            rustix::net::send(self.source.fd(), bytes, SendFlags::NOSIGNAL)
        })
    }

    /// Sends what `pipe` holds, which must not be empty; returns how many bytes were taken.
    pub fn poll_send_pipe(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        // The kernel may stop in the middle though there is room, so only EAGAIN says that the socket is full.
        self.poll_write_with(cx, 0, || pipe.drain(self.source.fd()))
    }

    /// Sends all that `pipe` holds.
    pub async fn send_pipe(&self, mut pipe: Pipe) -> io::Result<()> {
        while !pipe.is_empty() {
            poll_fn(|cx| self.poll_send_pipe(cx, &mut pipe)).await?;
        }
        Ok(())
    }

    /// Sends all the slices, in order, in as few calls as may be.
    pub async fn send_vectored_all(&self, slices: &[&[u8]]) -> io::Result<()> {
        let (mut done, mut offset) = (0, 0);
        while done < slices.len() {
            if slices[done].len() == offset {
                (done, offset) = (done + 1, 0);
                continue;
            }
            let mut n = poll_fn(|cx| self.poll_send_from(cx, &slices[done..], offset)).await?;
            while done < slices.len() && n >= slices[done].len() - offset {
                n -= slices[done].len() - offset;
                (done, offset) = (done + 1, 0);
            }
            offset += n;
        }
        Ok(())
    }

    /// Sends what it can of `slices`; returns how many bytes were taken.
    pub fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        self.poll_send_from(cx, slices, 0)
    }

    /// As `poll_send_vectored`, leaving out the first `offset` bytes of the first slice.
    fn poll_send_from(
        &self,
        cx: &mut Context<'_>,
        slices: &[&[u8]],
        offset: usize,
    ) -> Poll<io::Result<usize>> {
        let first = &slices[0][offset..];
        if slices.len() == 1 {
            return self.poll_send(cx, first);
        }
        let total = slices.iter().map(|slice| slice.len()).sum::<usize>() - offset;
        if let Some(queued) = self.source.poll_queue(cx, total, slices, offset) {
            return queued;
        }
        let mut vector = [IoSlice::new(&[]); SLICES_MAX];
        let count = slices.len().min(SLICES_MAX);
        for (entry, slice) in vector.iter_mut().zip(slices) {
            *entry = IoSlice::new(slice);
        }
        vector[0] = IoSlice::new(first);
        let bytes = vector[..count].iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, bytes, || rustix::io::writev(self.source.fd(), &vector[..count]))
    }

    /// Sends `count` bytes of `file` from `offset` on, without copying them here. Fails with UnexpectedEof when the
    /// file turns out shorter. `offset` moves with what has been sent.
    pub async fn sendfile(&self, file: &File, offset: &mut u64, count: u64) -> io::Result<()> {
        let end = offset.saturating_add(count);
        while *offset < end {
            let n = poll_fn(|cx| self.poll_sendfile(cx, file, offset, end - *offset)).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if *offset < end {
                crate::runtime::yield_now().await;
            }
        }
        Ok(())
    }

    /// Sends up to `count` bytes of `file` from `offset` on, which moves; 0 at the end of the file.
    pub fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: &File,
        offset: &mut u64,
        count: u64,
    ) -> Poll<io::Result<usize>> {
        let chunk = count.min(SENDFILE_BYTES_MAX) as usize;
        // A short count may also mean that the file ends, so only EAGAIN says that the socket is full.
        self.poll_write_with(cx, 0, || rustix::fs::sendfile(self.source.fd(), file, Some(offset), chunk))
    }

    /// Tries `write` while the socket is writable; taking fewer bytes than `wanted` means that it no longer is.
    #[inline]
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut write: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_writable(cx));
            if !self.source.settle()? {
                self.source.clear(WRITABLE);
                continue;
            }
            match write() {
                Ok(n) => {
                    if n < wanted {
                        self.source.clear(WRITABLE);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) => self.source.clear(WRITABLE),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Ready once the peer has closed its half or the connection is broken.
    #[inline]
    pub fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_hangup(cx)
    }

    /// Waits until the peer has closed its half or the connection is broken.
    pub async fn hung_up(&self) {
        poll_fn(|cx| self.poll_hangup(cx)).await
    }

    #[inline]
    pub fn is_hung_up(&self) -> bool {
        self.source.is(PEER_CLOSED | BROKEN)
    }

    /// Says that nothing more will be sent. A peer that has gone already is no error.
    pub fn shutdown_write(&self) {
        if self.source.may_shut_down() {
            let _ = rustix::net::shutdown(self.source.fd(), Shutdown::Write);
        }
    }

    /// Closing will now send a reset (nginx: reset_timedout_connection).
    pub fn set_linger_reset(&self) {
        self.source.reset_on_close();
        let _ = sockopt::set_socket_linger(self.source.fd(), Some(Duration::ZERO));
    }

    /// What the kernel knows of the connection; `None` where it is no TCP connection.
    pub fn tcp_facts(&self) -> Option<sys::TcpFacts> {
        sys::tcp_facts(self.source.fd()).ok()
    }

    /// TCP_CORK: holds back partly filled segments while on (nginx: tcp_nopush).
    pub fn set_cork(&self, on: bool) {
        let _ = sockopt::set_tcp_cork(self.source.fd(), on);
    }

    /// TCP_NODELAY, on from the start (nginx: tcp_nodelay).
    pub fn set_nodelay(&self, on: bool) {
        let _ = sockopt::set_tcp_nodelay(self.source.fd(), on);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

/// A socket as `options` want it, not yet connected.
fn open(addr: &Addr, options: &ConnectOptions) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(addr.family(), SocketType::STREAM, flags, None)?;
    if let Some(bytes) = options.recv_buffer_bytes {
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(&fd, bytes)?;
    }
    let Addr::Ip(peer) = addr else { return Ok(fd) };
    sockopt::set_tcp_nodelay(&fd, true)?;
    if options.keepalive {
        sockopt::set_socket_keepalive(&fd, true)?;
    }
    // nginx likewise binds only where the families agree.
    if let Some(local) = options.bind.filter(|local| local.is_ipv4() == peer.is_ipv4()) {
        if options.transparent {
            sys::set_transparent(fd.as_fd(), peer.is_ipv6())?;
        }
        if local.port() == 0 {
            // Lets the kernel pick a port that is free for this very peer. Best effort, as in nginx.
            let _ = sys::set_bind_address_no_port(fd.as_fd());
        }
        rustix::net::bind(&fd, &local)?;
    }
    Ok(fd)
}
