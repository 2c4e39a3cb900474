//! Clients that send exactly the bytes they are told to and wait for no answer longer than a test may last.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::message::{Incoming, Response};

/// How long any single read or write of a test may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What a client speaks over.
pub(crate) trait Wire: Read + Write + Send {
    fn end_writing(&mut self);
    fn wait_at_most(&mut self, limit: Duration);
}

impl Wire for TcpStream {
    fn end_writing(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
    fn wait_at_most(&mut self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("because the limit is not zero");
    }
}

impl Wire for UnixStream {
    fn end_writing(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
    fn wait_at_most(&mut self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("because the limit is not zero");
    }
}

/// A connection to a server.
pub struct Client {
    wire: Box<dyn Wire>,
    incoming: Incoming,
    local: Option<SocketAddr>,
}

impl Client {
    /// Connects by TCP.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = tcp(address);
        let local = stream.local_addr().ok();
        Client { local, ..Client::over(Box::new(stream)) }
    }

    /// Connects to a unix socket.
    pub fn connect_unix(path: impl AsRef<Path>) -> Client {
        let path = path.as_ref();
        let stream = UnixStream::connect(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        stream.set_read_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
        stream.set_write_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
        Client::over(Box::new(stream))
    }

    pub(crate) fn over(wire: Box<dyn Wire>) -> Client {
        Client { wire, incoming: Incoming::new(), local: None }
    }

    /// Our own address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local.expect("because only TCP clients are asked")
    }

    /// Sends bytes. That the server has closed already is no failure: its answer tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.write_all(bytes.as_ref()).and_then(|()| self.wire.flush());
    }

    /// Sends bytes in pieces with a pause between them.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, piece: usize, pause: Duration) {
        for part in bytes.as_ref().chunks(piece) {
            self.send(part);
            std::thread::sleep(pause);
        }
    }

    /// The next answer to a request other than HEAD; `None` when the server closed before its first byte.
    pub fn response(&mut self) -> Option<Response> {
        self.response_to(false)
    }

    /// The next answer; one to HEAD has no body.
    pub fn response_to(&mut self, head: bool) -> Option<Response> {
        self.try_response(head).unwrap_or_else(|why| panic!("no answer: {why}"))
    }

    /// The next answer; `Err` when what comes is none, or nothing comes in time.
    pub fn try_response(&mut self, to_head: bool) -> Result<Option<Response>, String> {
        self.incoming.response(&mut *self.wire, to_head).map_err(|e| e.to_string())
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &[u8], head: bool) -> Option<Response> {
        self.send(request);
        self.response_to(head)
    }

    /// `GET path` on this connection, which stays open.
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response().unwrap_or_else(|| panic!("GET {path}: closed without an answer"))
    }

    /// Whatever comes next, some bytes of it; empty when the server has closed.
    pub fn some(&mut self) -> Vec<u8> {
        self.incoming.some(&mut *self.wire).unwrap_or_else(|e| panic!("nothing to read: {e}"))
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let some = self.some();
            if some.is_empty() {
                return all;
            }
            all.extend_from_slice(&some);
        }
    }

    /// Whether the server closes within [`TIMEOUT`], sending nothing more.
    pub fn is_closed(&mut self) -> bool {
        self.some().is_empty()
    }

    /// Whether the connection stays open and silent for so long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.wire.wait_at_most(time);
        let seen = self.incoming.some(&mut *self.wire);
        self.wire.wait_at_most(TIMEOUT);
        seen.is_err_and(|e| matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn end_writing(&mut self) {
        self.wire.end_writing();
    }
}

/// `GET path` on a port of 127.0.0.1, on a connection of its own.
pub fn get(port: u16, path: &str) -> Response {
    http(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Sends bytes to a port of 127.0.0.1 and reads one answer; panics when there is none.
pub fn http(port: u16, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    let head = bytes.as_ref().starts_with(b"HEAD ");
    client.exchange(bytes.as_ref(), head).expect("because this request is answered")
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap_or_else(|e| panic!("{address}: {e}"));
    stream.set_read_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
    stream.set_write_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
    stream.set_nodelay(true).expect("because this is TCP");
    stream
}
