//! Datagrams: for the resolver and for syslog.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::addr::Addr;
use crate::reactor::{READABLE, Registered, WRITABLE, Watch};

/// A datagram socket connected to one peer, UDP or Unix: the kernel drops what comes from anybody else.
pub struct UdpSocket {
    source: Registered,
    local: OnceCell<Addr>,
}

impl UdpSocket {
    /// A socket from a port of the kernel's choice to `peer`.
    pub fn connect(peer: &Addr) -> io::Result<UdpSocket> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(peer.family(), SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&fd, &peer.to_os()?)?;
        let source = Registered::new(fd, Watch::Datagrams, WRITABLE)?;
        Ok(UdpSocket { source, local: OnceCell::new() })
    }

    /// The address and port the kernel chose.
    pub fn local_addr(&self) -> &Addr {
        self.local.get_or_init(|| Addr::from_os(rustix::net::getsockname(self.source.fd()).ok()))
    }

    /// Sends one datagram, waiting while the socket's buffer is full.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            loop {
                ready!(self.source.poll_writable(cx));
                if let Some(n) = self.try_send(datagram)? {
                    return Poll::Ready(Ok(n));
                }
            }
        })
        .await
    }

    /// Sends one datagram; `None`, and nothing sent, when the socket's buffer is full.
    pub fn try_send(&self, datagram: &[u8]) -> io::Result<Option<usize>> {
        match rustix::net::send(self.source.fd(), datagram, SendFlags::NOSIGNAL) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN) => {
                self.source.clear(WRITABLE);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Receives one datagram; what does not fit `into` is lost.
    pub async fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, into)).await
    }

    pub fn poll_recv(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_readable(cx));
            match rustix::net::recv(self.source.fd(), &mut *into, RecvFlags::empty()) {
                Ok((n, _)) => return Poll::Ready(Ok(n)),
                Err(Errno::AGAIN) => self.source.clear(READABLE),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    #[test]
    fn datagrams_go_and_come() {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = Addr::Ip(peer.local_addr().unwrap());
        runtime::run(async move {
            let socket = UdpSocket::connect(&addr).unwrap();
            socket.send(b"ping").await.unwrap();
            let mut space = [0; 64];
            let (n, from) = peer.recv_from(&mut space).unwrap();
            assert_eq!((&space[..n], Addr::Ip(from)), (&b"ping"[..], socket.local_addr().clone()));
            peer.send_to(b"pong", from).unwrap();
            let n = socket.recv(&mut space).await.unwrap();
            assert_eq!(&space[..n], b"pong");
        })
        .unwrap();
    }
}
