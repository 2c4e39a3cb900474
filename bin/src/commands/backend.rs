//! The toy backends of `foregate demo`: plain threads and sockets that answer every request with what they saw.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections one backend serves at the same time; those beyond it are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head that a backend reads before it gives up.
const HEAD_BYTES_MAX: u64 = 32 * 1024;
/// How long a backend waits for the next request on an open connection.
const IDLE: Duration = Duration::from_secs(75);

/// Starts a backend on a free port of the loopback interface; it lives as long as the process.
pub(super) fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name(format!("backend {name}")).spawn(move || accept(&listener, name))?;
    Ok(address)
}

fn accept(listener: &TcpListener, name: &'static str) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let count = Arc::clone(&open);
        let served = thread::Builder::new().spawn(move || {
            // A toy has nobody to tell: the proxy logs what it saw of the broken connection.
            let _ = converse(stream, name);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if served.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn converse(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((head, length)) = read_head(&mut reader)? {
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        let body = format!("Hello from backend {name}. It was asked:\n\n{head}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        reader.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The head of the next request and the length of its body; `None` when the connection ends.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, u64)>> {
    let mut reader = reader.take(HEAD_BYTES_MAX);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim_end().is_empty() {
            return Ok(Some((head, length)));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        }
        head.push_str(&line);
    }
}
