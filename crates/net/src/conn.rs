//! A connection, encrypted or not: the same calls on both, so that nothing above needs to know which it is.

use std::fs::File;
use std::io;
use std::task::{Context, Poll};

use foregate_wire::Buf;

use crate::addr::Addr;
use crate::stream::Stream;
use crate::tls;

/// A connected stream of bytes, as everything above uses it. Methods are those of `Stream`.
pub enum Conn {
    Plain(Stream),
}

impl Conn {
    /// The socket below.
    pub fn stream(&self) -> &Stream {
        match self {
            Conn::Plain(stream) => stream,
        }
    }

    /// What the TLS handshake has settled; `None` on a plain connection.
    pub fn tls(&self) -> Option<&tls::Facts> {
        match self {
            Conn::Plain(_) => None,
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

    pub async fn recv(&self) -> io::Result<Buf> {
        match self {
            Conn::Plain(stream) => stream.recv().await,
        }
    }

    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        match self {
            Conn::Plain(stream) => stream.poll_recv(cx),
        }
    }

    pub fn try_recv(&self) -> io::Result<Option<Buf>> {
        match self {
            Conn::Plain(stream) => stream.try_recv(),
        }
    }

    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.readable().await,
        }
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Conn::Plain(stream) => stream.poll_readable(cx),
        }
    }

    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.send_all(bytes).await,
        }
    }

    pub async fn send_vectored_all(&self, slices: &[&[u8]]) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.send_vectored_all(slices).await,
        }
    }

    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Conn::Plain(stream) => stream.poll_send(cx, bytes),
        }
    }

    /// Sends `count` bytes of `file` from `offset` on, which moves.
    pub async fn sendfile(&self, file: &File, offset: &mut u64, count: u64) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.sendfile(file, offset, count).await,
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
        self.stream().shutdown_write()
    }

    /// Closing will now send a reset.
    pub fn set_linger_reset(&self) {
        self.stream().set_linger_reset()
    }
}
