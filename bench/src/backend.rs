//! The backend behind every proxy: a small epoll server, a process of its own beside the load generator.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::{Result, bodies};

/// Longer heads are none of ours: the connection ends.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 256;
/// The key of `Sec-WebSocket-Key` in RFC 6455, 1.3, which every visitor here sends, makes this answer.
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const MISTAKE: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n";
const LISTENER: u64 = u64::MAX;

/// Asks for the number of pages that have been asked for so far.
pub(crate) const COUNT: &str = "count";

/// All that can be asked for.
struct Site {
    pages: Vec<Page>,
    n_asked: Cell<u64>,
}

/// An answer, complete with its head: to stay, and to close after it.
struct Page {
    name: &'static str,
    stay: Vec<u8>,
    close: Vec<u8>,
}

enum Mode {
    Head,
    /// Bytes of the body still to come, and its size.
    Upload(usize, usize),
    Echo,
}

struct Conn {
    socket: TcpStream,
    mode: Mode,
    /// An unfinished head.
    input: Vec<u8>,
    /// What is written now: a page, or bytes of this connection.
    page: Option<(usize, bool)>,
    own: Vec<u8>,
    written: usize,
    close: bool,
}

/// Serves until killed. The first line printed is the port.
pub(crate) fn run() -> Result<()> {
    let text = |e: std::io::Error| format!("backend: {e}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    listener.set_nonblocking(true).map_err(text)?;
    println!("{}", listener.local_addr().map_err(text)?.port());
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|e| text(e.into()))?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)
        .map_err(|e| text(e.into()))?;
    serve(&epoll, &listener).map_err(text)
}

fn serve(epoll: &OwnedFd, listener: &TcpListener) -> std::io::Result<()> {
    let site = Site { pages: pages(), n_asked: Cell::new(0) };
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            done => done?,
        };
        for event in &events {
            let at = event.data.u64();
            if at == LISTENER {
                accept(epoll, listener, &mut conns, &mut free)?;
                continue;
            }
            let at = at as usize;
            let Some(Some(conn)) = conns.get_mut(at) else { continue };
            if conn.turn(&site, &mut buffer).is_err() {
                conns[at] = None;
                free.push(at);
            }
        }
    }
}

fn accept(
    epoll: &OwnedFd,
    listener: &TcpListener,
    conns: &mut Vec<Option<Conn>>,
    free: &mut Vec<usize>,
) -> std::io::Result<()> {
    while let Ok((socket, _)) = listener.accept() {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let at = free.pop().unwrap_or(conns.len());
        if at == conns.len() {
            conns.push(None);
        }
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(at as u64), flags)?;
        let (input, own) = (Vec::new(), Vec::new());
        conns[at] = Some(Conn { socket, mode: Mode::Head, input, page: None, own, written: 0, close: false });
    }
    Ok(())
}

impl Conn {
    /// Writes and reads until neither goes on. An error, or the end, closes the connection.
    fn turn(&mut self, site: &Site, buffer: &mut [u8]) -> std::io::Result<()> {
        loop {
            if !self.flush(&site.pages)? {
                return Ok(());
            }
            if self.close {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let n = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            self.take(site, &buffer[..n])?;
        }
    }

    /// Whether all is written.
    fn flush(&mut self, pages: &[Page]) -> std::io::Result<bool> {
        loop {
            let bytes: &[u8] = match self.page {
                Some((at, close)) if close => &pages[at].close,
                Some((at, _)) => &pages[at].stay,
                None => &self.own,
            };
            if self.written == bytes.len() {
                (self.page, self.written) = (None, 0);
                self.own.clear();
                return Ok(true);
            }
            match self.socket.write(&bytes[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }

    fn take(&mut self, site: &Site, bytes: &[u8]) -> std::io::Result<()> {
        match self.mode {
            Mode::Echo => self.own.extend_from_slice(bytes),
            Mode::Upload(left, all) => self.upload(left, all, bytes.len()),
            Mode::Head if self.input.is_empty() && bytes.ends_with(b"\r\n\r\n") => self.head(site, bytes),
            Mode::Head => {
                self.input.extend_from_slice(bytes);
                let input = std::mem::take(&mut self.input);
                match input.windows(4).position(|w| w == b"\r\n\r\n") {
                    None if input.len() > HEAD_BYTES_MAX => return Err(ErrorKind::InvalidData.into()),
                    None => self.input = input,
                    Some(end) => {
                        self.head(site, &input[..end + 4]);
                        if input.len() > end + 4 {
                            self.take(site, &input[end + 4..])?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn upload(&mut self, left: usize, all: usize, came: usize) {
        self.mode = Mode::Upload(left.saturating_sub(came), all);
        if came >= left {
            self.mode = Mode::Head;
            let body = bodies::receipt(all);
            self.own = head(body.len(), self.close);
            self.own.extend(body);
        }
    }

    /// Decides on the answer to a complete head.
    fn head(&mut self, site: &Site, head: &[u8]) {
        let path = head.split(|b| *b == b' ').nth(1).unwrap_or(b"");
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(b"");
        self.close = field(head, b"connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
        if name == b"ws" {
            (self.mode, self.close) = (Mode::Echo, false);
            self.own = SWITCH.to_vec();
        } else if let Some(at) = site.pages.iter().position(|page| page.name.as_bytes() == name) {
            site.n_asked.set(site.n_asked.get() + 1);
            self.page = Some((at, self.close));
        } else if name == COUNT.as_bytes() {
            let body = site.n_asked.get().to_string().into_bytes();
            self.own = [self::head(body.len(), self.close), body].concat();
        } else if let (b"upload", Some(n)) = (name, field(head, b"content-length").and_then(number)) {
            self.upload(n, n, 0);
        } else {
            self.own = MISTAKE.to_vec();
        }
    }
}

fn pages() -> Vec<Page> {
    let page = |name, body: Vec<u8>| {
        let with = |close| [head(body.len(), close), body.clone()].concat();
        Page { name, stay: with(false), close: with(true) }
    };
    vec![
        page("1k", bodies::pattern(1 << 10)),
        page("100k", bodies::pattern(100 << 10)),
        page("1m", bodies::pattern(1 << 20)),
        page("10m", bodies::pattern(10 << 20)),
        page("json", bodies::json(64 << 10)),
    ]
}

fn head(body_bytes: usize, close: bool) -> Vec<u8> {
    let last = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: application/json\r\n\
         Content-Length: {body_bytes}\r\nCache-Control: max-age=3600\r\n{last}\r\n"
    )
    .into_bytes()
}

/// The value of the first field of this name.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let (at, line) = (line.iter().position(|b| *b == b':')?, line.trim_ascii_end());
        line[..at].eq_ignore_ascii_case(name).then(|| line[at + 1..].trim_ascii())
    })
}

fn number(bytes: &[u8]) -> Option<usize> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
