//! The socket pair between master and worker: packets of bytes with open descriptors beside them (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One end. Its calls wait: it is for threads that have nothing else to do.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

/// What travels.
#[derive(Debug, Default)]
pub struct Packet {
    /// Chosen by those who talk.
    pub kind: u8,
    pub body: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// The most bytes a body may have: a guard against a damaged head, far above any configuration.
pub const BODY_BYTES_MAX: usize = 1 << 30;
/// The most descriptors a packet may carry: sockets times threads, and log files.
pub const FDS_MAX: usize = 65_536;

/// Descriptors sent with one call; the kernel takes 253 at most (SCM_MAX_FD).
const FDS_PER_CALL: usize = 64;
/// The kind, the number of descriptors and the length of the body.
const HEAD_BYTES: usize = 1 + 8 + 8;
/// Bytes read with one call.
const READ_BYTES: usize = 64 * 1024;

impl Channel {
    /// Both ends; neither outlives an exec unless it is made to.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// The end that was handed to this process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends one packet; its descriptors are closed here afterwards.
    pub fn send(&self, packet: Packet) -> io::Result<()> {
        let Packet { kind, body, fds } = packet;
        let mut head = [kind; HEAD_BYTES];
        head[1..9].copy_from_slice(&(fds.len() as u64).to_le_bytes());
        head[9..].copy_from_slice(&(body.len() as u64).to_le_bytes());
        // Descriptors need at least one byte to travel with: the first lot goes with the head, each further
        // lot with a byte of its own.
        let mut lots = fds.chunks(FDS_PER_CALL);
        self.send_all(&head, lots.next().unwrap_or_default())?;
        for lot in lots {
            self.send_all(&[0], lot)?;
        }
        self.send_all(&body, &[])
    }

    /// The next packet; `None` when the other end is gone.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        let mut fds = Vec::new();
        let mut head = [0; HEAD_BYTES];
        if self.fill(&mut head, &mut fds)? == 0 {
            return Ok(None);
        }
        let number = |bytes: &[u8]| {
            let eight = bytes.try_into().expect("because the head has two fields of eight bytes");
            usize::try_from(u64::from_le_bytes(eight)).unwrap_or(usize::MAX)
        };
        let (n_fds, length) = (number(&head[1..9]), number(&head[9..]));
        if n_fds > FDS_MAX || length > BODY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let further_lots = n_fds.div_ceil(FDS_PER_CALL).saturating_sub(1);
        self.whole(further_lots, &mut fds)?;
        let body = self.whole(length, &mut fds)?;
        if fds.len() != n_fds {
            // The kernel drops descriptors for which the process has no room left (RLIMIT_NOFILE).
            return Err(Errno::MFILE.into());
        }
        Ok(Some(Packet { kind: head[0], body, fds }))
    }

    fn send_all(&self, mut bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut fds = fds.as_slice();
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_PER_CALL))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(fds));
            }
            match sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    fds = &[];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Exactly `length` bytes.
    fn whole(&self, length: usize, fds: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = bytes.len();
            bytes.resize(length.min(start + READ_BYTES), 0);
            if self.fill(&mut bytes[start..], fds)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes)
    }

    /// Fills `into`; 0 when the other end was gone before the first byte.
    fn fill(&self, into: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_PER_CALL))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let mut room = [IoSliceMut::new(&mut into[filled..])];
            match recvmsg(&self.fd, &mut room, &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) if message.bytes == 0 && filled == 0 => return Ok(0),
                Ok(message) if message.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(message) => filled += message.bytes,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(arrived) = message {
                    fds.extend(arrived);
                }
            }
        }
        Ok(filled)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::thread;

    #[test]
    fn packets_arrive_whole_with_their_descriptors() {
        let (one, other) = Channel::pair().expect("because a pair needs only two free descriptors");
        let sender = thread::spawn(move || {
            let file = || OwnedFd::from(File::open("/proc/self/comm").expect("because this is Linux"));
            let fds = (0..150).map(|_| file()).collect();
            one.send(Packet { kind: 7, body: vec![42; 300_000], fds }).expect("because the other end reads");
            one.send(Packet { kind: 8, ..Packet::default() }).expect("because the other end reads");
        });
        let packet = other.receive().unwrap().unwrap();
        assert_eq!((packet.kind, packet.body.len(), packet.fds.len()), (7, 300_000, 150));
        let mut text = String::new();
        File::from(packet.fds.into_iter().next_back().unwrap()).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        assert_eq!(other.receive().unwrap().unwrap().kind, 8);
        sender.join().unwrap();
        assert!(other.receive().unwrap().is_none());
    }

    #[test]
    fn a_damaged_head_is_refused() {
        let (one, other) = Channel::pair().unwrap();
        one.send_all(&[0xff; HEAD_BYTES], &[]).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
