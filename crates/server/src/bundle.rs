//! What the master hands to the worker: a configuration with every byte it refers to, and open descriptors.
//!
//! A packet is a body of bytes and a list of descriptors. The body is written and read here; the descriptors travel
//! beside it in the order in which the body mentions them.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use foregate_conf::Replay;
use foregate_net::channel::Packet;

use crate::Setup;

/// Everything a worker needs to serve one configuration without touching a file that only root may read.
#[derive(Debug)]
pub struct Bundle {
    /// The command line, as the master understood it.
    pub setup: Setup,
    /// What the master read while it compiled the configuration.
    pub files: Replay,
    /// The listening sockets.
    pub sockets: Vec<Socket>,
    /// The log files, opened for appending.
    pub logs: Vec<Log>,
    /// Two channels to the porter, for files and for programs; none where the worker already has them, or needs none.
    pub doors: Vec<OwnedFd>,
}

/// The sockets of one `listen`: one, or with `reuseport` one for each thread.
#[derive(Debug)]
pub struct Socket {
    /// Names the socket across reloads: equal names mean the same socket.
    pub name: String,
    pub fds: Vec<OwnedFd>,
}

/// One log file, opened by the master.
#[derive(Debug)]
pub struct Log {
    pub path: PathBuf,
    pub fd: OwnedFd,
}

/// What the master says.
#[derive(Debug)]
pub enum Order {
    /// Serve this configuration: the first one, or the next one in its place.
    Load(Box<Bundle>),
    /// Go on writing to these files.
    Reopen(Vec<Log>),
    /// Accept nothing more, finish what is under way, exit.
    Quit,
    /// Exit.
    Stop,
}

/// What the worker says to a `Load`.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Ready,
    /// It could not use the configuration and goes on with the one before, if there was one.
    Refused(String),
}

const LOAD: u8 = 1;
const REOPEN: u8 = 2;
const QUIT: u8 = 3;
const STOP: u8 = 4;
const READY: u8 = 5;
const REFUSED: u8 = 6;

impl Order {
    pub fn into_packet(self) -> Packet {
        match self {
            Self::Load(bundle) => bundle.into_packet(),
            Self::Reopen(logs) => {
                let mut writer = Writer::default();
                writer.put_logs(logs);
                writer.packet(REOPEN)
            }
            Self::Quit => Packet { kind: QUIT, ..Packet::default() },
            Self::Stop => Packet { kind: STOP, ..Packet::default() },
        }
    }

    /// `None` where the packet is not an order's.
    pub fn from_packet(packet: Packet) -> Option<Self> {
        let Packet { kind, body, fds } = packet;
        let mut reader = Reader { body: &body, fds: fds.into_iter() };
        let order = match kind {
            LOAD => Self::Load(Box::new(Bundle::read(&mut reader)?)),
            REOPEN => Self::Reopen(reader.logs()?),
            QUIT => Self::Quit,
            STOP => Self::Stop,
            _ => return None,
        };
        reader.body.is_empty().then_some(order)
    }
}

impl Answer {
    pub fn into_packet(self) -> Packet {
        match self {
            Self::Ready => Packet { kind: READY, ..Packet::default() },
            Self::Refused(why) => Packet { kind: REFUSED, body: why.into_bytes(), ..Packet::default() },
        }
    }

    pub fn from_packet(packet: Packet) -> Option<Self> {
        match packet.kind {
            READY => Some(Self::Ready),
            REFUSED => Some(Self::Refused(String::from_utf8_lossy(&packet.body).into_owned())),
            _ => None,
        }
    }
}

impl Bundle {
    fn into_packet(self) -> Packet {
        let mut writer = Writer::default();
        writer.put_setup(&self.setup);
        writer.put(&self.files.to_bytes());
        writer.put_count(self.sockets.len());
        for socket in self.sockets {
            writer.put(socket.name.as_bytes());
            writer.put_count(socket.fds.len());
            writer.fds.extend(socket.fds);
        }
        writer.put_logs(self.logs);
        writer.put_count(self.doors.len());
        writer.fds.extend(self.doors);
        writer.packet(LOAD)
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let setup = from.setup()?;
        let files = Replay::from_bytes(from.bytes()?)?;
        let sockets = (0..from.count()?).map(|_| from.socket()).collect::<Option<_>>()?;
        let logs = from.logs()?;
        let doors = (0..from.count()?).map(|_| from.fds.next()).collect::<Option<_>>()?;
        Some(Self { setup, files, sockets, logs, doors })
    }
}

/// Writes the parts of a body.
#[derive(Default)]
struct Writer {
    body: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Writer {
    fn packet(self, kind: u8) -> Packet {
        Packet { kind, body: self.body, fds: self.fds }
    }

    fn put_count(&mut self, n: usize) {
        self.body.extend_from_slice(&(n as u64).to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.body.extend_from_slice(bytes);
    }

    fn put_path(&mut self, path: &Path) {
        self.put(path.as_os_str().as_bytes());
    }

    fn put_setup(&mut self, setup: &Setup) {
        for path in [&setup.conf, &setup.prefix, &setup.error_log, &setup.pid] {
            self.put_path(path);
        }
        self.put_count(setup.globals.len());
        setup.globals.iter().for_each(|text| self.put(text.as_bytes()));
        self.put_count(usize::from(setup.privileged));
    }

    fn put_logs(&mut self, logs: Vec<Log>) {
        self.put_count(logs.len());
        for log in logs {
            self.put_path(&log.path);
            self.fds.push(log.fd);
        }
    }
}

struct Reader<'a> {
    body: &'a [u8],
    fds: std::vec::IntoIter<OwnedFd>,
}

impl<'a> Reader<'a> {
    fn count(&mut self) -> Option<usize> {
        let (count, rest) = self.body.split_first_chunk()?;
        self.body = rest;
        usize::try_from(u64::from_le_bytes(*count)).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.count()?;
        let (bytes, rest) = self.body.split_at_checked(n)?;
        self.body = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.bytes()?.to_vec()).into())
    }

    fn setup(&mut self) -> Option<Setup> {
        let (conf, prefix, error_log, pid) = (self.path()?, self.path()?, self.path()?, self.path()?);
        let globals = (0..self.count()?).map(|_| self.text()).collect::<Option<_>>()?;
        Some(Setup { conf, prefix, error_log, globals, pid, privileged: self.count()? != 0 })
    }

    fn socket(&mut self) -> Option<Socket> {
        let name = self.text()?;
        let fds = (0..self.count()?).map(|_| self.fds.next()).collect::<Option<_>>()?;
        Some(Socket { name, fds })
    }

    fn logs(&mut self) -> Option<Vec<Log>> {
        (0..self.count()?).map(|_| Some(Log { path: self.path()?, fd: self.fds.next()? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    fn fd() -> OwnedFd {
        File::open("/dev/null").expect("because every Linux has it").into()
    }

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        let fds = [fd(), fd(), fd(), fd()];
        let numbers = fds.each_ref().map(AsRawFd::as_raw_fd);
        let [one, two, three, four] = fds;
        let setup = Setup {
            conf: "/etc/x".into(),
            prefix: "/p".into(),
            error_log: "stderr".into(),
            globals: vec!["daemon off;".into()],
            pid: "/run/x".into(),
            privileged: true,
        };
        let bundle = Bundle {
            setup,
            files: Replay::default(),
            sockets: vec![Socket { name: "80".into(), fds: vec![one, two] }],
            logs: vec![Log { path: "/log".into(), fd: three }],
            doors: vec![four],
        };
        let packet = Order::Load(Box::new(bundle)).into_packet();
        assert_eq!((packet.kind, packet.fds.len()), (LOAD, 4));
        let Some(Order::Load(bundle)) = Order::from_packet(packet) else { panic!("a load") };
        assert_eq!(bundle.setup.conf, Path::new("/etc/x"));
        assert_eq!((bundle.setup.globals, bundle.setup.privileged), (vec!["daemon off;".to_owned()], true));
        assert_eq!(bundle.sockets[0].fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers[..2]);
        assert_eq!(bundle.logs[0].fd.as_raw_fd(), numbers[2]);
        assert_eq!(bundle.doors[0].as_raw_fd(), numbers[3]);
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        for answer in [Answer::Ready, Answer::Refused("no".into())] {
            let text = format!("{answer:?}");
            assert_eq!(format!("{:?}", Answer::from_packet(answer.into_packet()).unwrap()), text);
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let damaged = |kind, body: &[u8]| Packet { kind, body: body.into(), fds: vec![] };
        assert!(Order::from_packet(damaged(99, b"")).is_none());
        assert!(Order::from_packet(damaged(LOAD, b"xx")).is_none());
        assert!(Order::from_packet(damaged(REOPEN, &1u64.to_le_bytes())).is_none());
        assert!(Order::from_packet(damaged(QUIT, b"x")).is_none());
    }
}
