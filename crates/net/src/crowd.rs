//! Many idle sockets watched as one: they stand in an epoll of their own, which is itself one descriptor of the thread.
//!
//! A stream has a place in the reactor with room for those who wait. One that nobody will ask for long needs no more
//! than its descriptor and a number to be told by.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::addr::Addr;
use crate::reactor::{READABLE, Registered, Watch};
use crate::stream::Stream;

/// Sockets told of at once.
const EVENTS_MAX: usize = 64;

/// Sockets that wait for their peers to send something, or to leave.
pub struct Crowd {
    /// The epoll.
    source: Registered,
}

impl Crowd {
    pub fn new() -> io::Result<Crowd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Crowd { source: Registered::new(epoll, Watch::Crowd, 0)? })
    }

    /// Watches the stream from now on; `key` will be told when something has come. Closing the descriptor is enough
    /// to leave. It must be one that [`Stream::may_join_crowd`].
    pub fn add(&self, stream: Stream, key: u64) -> io::Result<OwnedFd> {
        let fd = stream.into_fd().ok_or(io::ErrorKind::Unsupported)?;
        epoll::add(self.source.fd(), &fd, EventData::new_u64(key), EventFlags::IN | EventFlags::RDHUP)?;
        Ok(fd)
    }

    /// Makes the descriptor a stream again, of which more may be there to receive.
    pub fn take_back(&self, fd: OwnedFd, peer: Addr, local: Addr) -> io::Result<Stream> {
        epoll::delete(self.source.fd(), &fd)?;
        Stream::accepted(fd, peer, Some(local), true)
    }

    /// Ready with the keys of sockets to take back or to close: until that is done, they are told again.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u64>>> {
        loop {
            ready!(self.source.poll_readable(cx));
            let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            match epoll::wait(self.source.fd(), rustix::buffer::spare_capacity(&mut events), Some(&now)) {
                Ok(n) if n < EVENTS_MAX => self.source.clear(READABLE),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            if !events.is_empty() {
                return Poll::Ready(Ok(events.iter().map(|event| event.data.u64()).collect()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{self, Events};
    use crate::runtime;
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn each_socket_is_told_by_its_key_and_serves_again() {
        // What io_uring does for a socket cannot be handed over.
        events::choose_here(Events::Epoll);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        runtime::run(async move {
            let crowd = Crowd::new().unwrap();
            let mut clients = Vec::new();
            let mut fds = Vec::new();
            for key in 0..100 {
                clients.push(TcpStream::connect(addr).unwrap());
                let (socket, _) = listener.accept().unwrap();
                socket.set_nonblocking(true).unwrap();
                let stream = Stream::from_fd(socket.into(), Addr::Ip(addr)).unwrap();
                fds.push(Some(crowd.add(stream, key).unwrap()));
            }
            for round in [vec![7], (0..100).filter(|key| *key != 7).collect::<Vec<u64>>()] {
                round.iter().for_each(|key| clients[*key as usize].write_all(b"hello").unwrap());
                let mut left = round.len();
                while left > 0 {
                    for key in poll_fn(|cx| crowd.poll_ready(cx)).await.unwrap() {
                        assert!(round.contains(&key));
                        let fd = fds[key as usize].take().unwrap();
                        let stream = crowd.take_back(fd, Addr::Ip(addr), Addr::Ip(addr)).unwrap();
                        assert_eq!(&*stream.recv().await.unwrap(), b"hello");
                        left -= 1;
                    }
                }
            }
        })
        .unwrap();
    }
}
