//! A connection, encrypted or not: the same calls on both, so that nothing above needs to know which it is.

use std::fs::File;
use std::io;
use std::task::{Context, Poll};

use foregate_wire::Buf;

use crate::addr::Addr;
use crate::stream::Stream;
use crate::tls::{Facts, TlsStream};

/// A connected stream of bytes, as everything above uses it. Methods are those of `Stream`.
pub enum Conn {
    Plain(Stream),
    Tls(Box<TlsStream>),
}

impl Conn {
    /// The socket below.
    pub fn stream(&self) -> &Stream {
        match self {
            Conn::Plain(stream) => stream,
            Conn::Tls(tls) => tls.stream(),
        }
    }

    /// What the TLS handshake has settled; `None` on a plain connection.
    pub fn tls(&self) -> Option<&Facts> {
        match self {
            Conn::Plain(_) => None,
            Conn::Tls(tls) => Some(tls.facts()),
        }
    }

    pub fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    pub fn peer_addr(&self) -> &Addr {
        self.stream().peer_addr()
    }

    pub fn local_addr(&self) -> &Addr {
        self.stream().local_addr()
    }

    /// Waits until a handshake is done that goes on while early data are served.
    pub async fn finish_handshake(&self) -> io::Result<()> {
        match self {
            Conn::Plain(_) => Ok(()),
            Conn::Tls(tls) => tls.finish_handshake().await,
        }
    }

    pub async fn recv(&self) -> io::Result<Buf> {
        match self {
            Conn::Plain(stream) => stream.recv().await,
            Conn::Tls(tls) => tls.recv().await,
        }
    }

    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        match self {
            Conn::Plain(stream) => stream.poll_recv(cx),
            Conn::Tls(tls) => tls.poll_recv(cx),
        }
    }

    pub fn try_recv(&self) -> io::Result<Option<Buf>> {
        match self {
            Conn::Plain(stream) => stream.try_recv(),
            Conn::Tls(tls) => tls.try_recv(),
        }
    }

    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.readable().await,
            Conn::Tls(tls) => tls.readable().await,
        }
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Conn::Plain(stream) => stream.poll_readable(cx),
            Conn::Tls(tls) => tls.poll_readable(cx),
        }
    }

    /// Whether something is there to receive, or the end is: on an idle connection, that it is of no more use.
    pub fn is_readable(&self) -> bool {
        match self {
            Conn::Plain(stream) => stream.is_readable(),
            Conn::Tls(tls) => tls.is_readable(),
        }
    }

    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.send_all(bytes).await,
            Conn::Tls(tls) => tls.send_all(bytes).await,
        }
    }

    pub async fn send_vectored_all(&self, slices: &[&[u8]]) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.send_vectored_all(slices).await,
            Conn::Tls(tls) => tls.send_vectored_all(slices).await,
        }
    }

    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Conn::Plain(stream) => stream.poll_send(cx, bytes),
            Conn::Tls(tls) => tls.poll_send(cx, bytes),
        }
    }

    pub fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        match self {
            Conn::Plain(stream) => stream.poll_send_vectored(cx, slices),
            Conn::Tls(tls) => tls.poll_send_vectored(cx, slices),
        }
    }

    /// Waits until the socket has taken what `poll_send` took; sends by `send_all` and its like need no flush.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Conn::Plain(_) => Poll::Ready(Ok(())),
            Conn::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Sends `count` bytes of `file` from `offset` on, which moves.
    pub async fn sendfile(&self, file: &File, offset: &mut u64, count: u64) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.sendfile(file, offset, count).await,
            Conn::Tls(tls) => tls.sendfile(file, offset, count).await,
        }
    }

    pub fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream().poll_hangup(cx)
    }

    pub async fn hung_up(&self) {
        self.stream().hung_up().await
    }

    pub fn is_hung_up(&self) -> bool {
        self.stream().is_hung_up()
    }

    /// Says that nothing more will be sent.
    pub fn shutdown_write(&self) {
        match self {
            Conn::Plain(stream) => stream.shutdown_write(),
            Conn::Tls(tls) => tls.shutdown_write(),
        }
    }

    /// Closing will now send a reset.
    pub fn set_linger_reset(&self) {
        match self {
            Conn::Plain(stream) => stream.set_linger_reset(),
            Conn::Tls(tls) => tls.set_linger_reset(),
        }
    }
}
