//! Log lines as datagrams to a syslog server (RFC 3164), over UDP or a Unix socket, never waiting for it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use foregate_conf::{Error, Word};
use foregate_net::names;

use crate::digits::push_number;
use crate::error_log::{self, Level, Lines};
use crate::{machine, time};

/// Where `syslog:` lines go, and what stands in front of them.
pub struct Syslog {
    server: Server,
    facility: u8,
    severity: u8,
    tag: String,
    hostname: bool,
    /// Opened at the first line, and again after an error.
    socket: RwLock<Option<Socket>>,
}

enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// By their numbers (RFC 3164, 4.1.1), named as nginx names them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const LOCAL7: u8 = 23;
const PORT: u16 = 514;
/// RFC 3164, 4.1.3.
const TAG_BYTES_MAX: usize = 32;

impl Syslog {
    /// Whether a target asks for syslog.
    pub fn is_meant(target: &str) -> bool {
        target.starts_with("syslog:")
    }

    /// Reads `syslog:server=…,facility=…,severity=…,tag=…,nohostname`.
    ///
    /// # Errors
    /// Worded as nginx words them.
    pub fn parse(word: &Word) -> Result<Self, Error> {
        let fail = |what: String| Error::at(word.span, what);
        let mut written = Written::default();
        for part in word.strip_prefix("syslog:").unwrap_or_default().split(',') {
            written.part(part).map_err(fail)?;
        }
        Ok(Self {
            server: written.server.ok_or_else(|| fail("no syslog server specified".to_owned()))?,
            facility: written.facility.unwrap_or(LOCAL7),
            severity: written.severity.unwrap_or(Level::Info as u8),
            tag: written.tag.unwrap_or_else(|| "nginx".to_owned()),
            hostname: !written.nohostname,
            socket: RwLock::new(None),
        })
    }

    /// Sends one line with the severity of the configuration.
    ///
    /// # Errors
    /// The line is lost; the next one tries with a new socket.
    pub fn send(&self, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.send_as(self.severity, fill)
    }

    fn send_as(&self, severity: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut message = Vec::new();
        self.head(severity, &mut message);
        fill(&mut message);
        let done = self.deliver(&message);
        if done.is_err() {
            *self.socket.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    /// `<190>Nov 21 09:21:48 host tag: `
    fn head(&self, severity: u8, out: &mut Vec<u8>) {
        out.push(b'<');
        push_number(u64::from(self.facility) * 8 + u64::from(severity), out);
        out.push(b'>');
        time::syslog(time::now_s(), out);
        out.push(b' ');
        if self.hostname {
            out.extend_from_slice(machine::hostname().as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.tag.as_bytes());
        out.extend_from_slice(b": ");
    }

    fn deliver(&self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &*self.socket.read().unwrap_or_else(PoisonError::into_inner) {
            return socket.send(message);
        }
        let socket = self.server.connect()?;
        let done = socket.send(message);
        *self.socket.write().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        done
    }
}

/// A line of an error log: with time and pid as in a file, and the line's own level as severity.
impl Lines for Syslog {
    fn line(&self, level: Level, text: &str) {
        let line = error_log::line(level, text);
        // Where should a failure of the error log be told?
        _ = self.send_as(level as u8, |message| message.extend_from_slice(line.as_bytes()));
    }
}

impl Server {
    fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Udp(to) => {
                let any: SocketAddr = match to {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(to)?;
                Ok(Socket::Udp(socket))
            }
            Self::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Socket::Unix(socket))
            }
        }
    }
}

impl Socket {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Unix(socket) => socket.send(message).map(drop),
        }
    }
}

#[derive(Default)]
struct Written {
    server: Option<Server>,
    facility: Option<u8>,
    severity: Option<u8>,
    tag: Option<String>,
    nohostname: bool,
}

impl Written {
    fn part(&mut self, part: &str) -> Result<(), String> {
        if part == "nohostname" {
            self.nohostname = true;
            return Ok(());
        }
        match part.split_once('=') {
            Some(("server", value)) => once(&mut self.server, "server", server(value)?),
            Some(("facility", value)) => {
                let found = FACILITIES.iter().position(|it| *it == value).map(|it| it as u8);
                let found = found.ok_or_else(|| format!("unknown syslog facility \"{value}\""))?;
                once(&mut self.facility, "facility", found)
            }
            Some(("severity", value)) => {
                let found = Level::named(value).map(|it| it as u8);
                let found = found.ok_or_else(|| format!("unknown syslog severity \"{value}\""))?;
                once(&mut self.severity, "severity", found)
            }
            Some(("tag", value)) => once(&mut self.tag, "tag", tag(value)?),
            _ => Err(format!("unknown syslog parameter \"{part}\"")),
        }
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("duplicate syslog \"{name}\"")),
        None => Ok(()),
    }
}

fn tag(value: &str) -> Result<String, String> {
    if value.len() > TAG_BYTES_MAX {
        return Err(format!("syslog tag length exceeds {TAG_BYTES_MAX}"));
    }
    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("syslog \"tag\" only allows alphanumeric characters and underscore".to_owned());
    }
    Ok(value.to_owned())
}

/// `host`, `host:port`, `[::1]:port` or `unix:/path`. Names are looked up once, while the configuration is read.
fn server(value: &str) -> Result<Server, String> {
    let fail = |why: &str| format!("{why} in syslog server \"{value}\"");
    if let Some(path) = value.strip_prefix("unix:") {
        return match path.is_empty() {
            true => Err(fail("no path in the unix domain socket")),
            false => Ok(Server::Unix(Path::new(path).to_owned())),
        };
    }
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (value, ""),
    };
    let port = match port {
        "" if !value.ends_with(':') => PORT,
        port => port.parse().ok().filter(|it| *it > 0).ok_or_else(|| fail("invalid port"))?,
    };
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(fail("no host"));
    }
    let found = names::look_up(host, port).map_err(|_| fail("host not found"))?;
    found.into_iter().next().map(Server::Udp).ok_or_else(|| fail("host not found"))
}

#[cfg(test)]
mod tests {
    use foregate_conf::Span;

    use super::*;

    fn parse(text: &str) -> Result<Syslog, String> {
        Syslog::parse(&Word::new(text.into(), Span::default(), false)).map_err(|it| it.what)
    }

    #[test]
    fn mistakes_are_told_as_nginx_tells_them() {
        for (text, expected) in [
            ("syslog:tag=a", "no syslog server specified"),
            ("syslog:server=127.0.0.1,server=127.0.0.1", "duplicate syslog \"server\""),
            ("syslog:server=127.0.0.1:0", "invalid port in syslog server \"127.0.0.1:0\""),
            ("syslog:server=", "no host in syslog server \"\""),
            ("syslog:server=unix:", "no path in the unix domain socket in syslog server \"unix:\""),
            ("syslog:server=127.0.0.1,facility=x", "unknown syslog facility \"x\""),
            ("syslog:server=127.0.0.1,severity=err", "unknown syslog severity \"err\""),
            (
                "syslog:server=127.0.0.1,tag=a-b",
                "syslog \"tag\" only allows alphanumeric characters and underscore",
            ),
            ("syslog:server=127.0.0.1,nohost", "unknown syslog parameter \"nohost\""),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn lines_arrive_with_their_head() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut bytes = [0; 512];
        let mut receive = || {
            let n = listener.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..n]).into_owned()
        };
        let syslog =
            parse(&format!("syslog:server=127.0.0.1:{port},tag=web,nohostname,facility=user")).unwrap();
        syslog.send(|out| out.extend_from_slice(b"hello")).unwrap();
        let line = receive();
        assert!(line.starts_with("<14>") && line.ends_with(" web: hello"), "{line}");
        syslog.line(Level::Error, "oops");
        let line = receive();
        assert!(
            line.starts_with("<11>") && line.contains(" web: 20") && line.contains(" [error] "),
            "{line}"
        );
        assert!(line.ends_with(": oops"), "{line}");
        let syslog = parse(&format!("syslog:server=127.0.0.1:{port}")).unwrap();
        syslog.send(|_| ()).unwrap();
        let line = receive();
        assert!(
            line.starts_with("<190>") && line.ends_with(&format!(" {} nginx: ", machine::hostname())),
            "{line}"
        );
    }
}
