//! Before anything is measured: are the answers right, byte for byte?

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::{self, Answer};
use crate::link::{Certificate, Link};
use crate::workloads::{BASIC, BEARER, BROWSER, Extra, Load, SPREAD, Workload};
use crate::{Result, bodies};

/// Requests on one connection; the last of them find everything warm.
const N_EXCHANGES: usize = 20;

/// What checking showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) body_bytes: usize,
    /// The body's bytes with its transfer coding, if it has one.
    pub(crate) wire_bytes: usize,
    pub(crate) suite: Option<String>,
}

/// Asks as the workload will, and compares.
pub(crate) fn check(workload: &Workload, port: u16, certificate: &Certificate) -> Result<Facts> {
    let tls = workload.door.is_tls().then(|| certificate.visitor(true));
    match workload.load {
        Load::Wrk { path, extra, .. } => http(port, tls.as_ref(), path, extra),
        // By HTTP/1.1: how much comes by HTTP/2 is counted under load.
        Load::H2 { path, .. } => http(port, tls.as_ref(), path, Extra::None),
        Load::Rate { path, .. } => http(port, tls.as_ref(), path, Extra::None),
        Load::Idle => http(port, tls.as_ref(), "/1k", Extra::None),
        Load::Handshakes { resume, .. } => {
            let facts = http(port, tls.as_ref(), "/1k", Extra::Close)?;
            let mut link = open(port, tls.as_ref())?;
            client::exchange(&mut link, &request("/1k", Extra::None, 0))?;
            match link.resumed() {
                false if resume => Err("a session is not taken up again".to_owned()),
                _ => Ok(facts),
            }
        }
        Load::Echo { bytes, .. } => echo(port, bytes),
    }
}

fn http(port: u16, tls: Option<&Arc<ClientConfig>>, path: &str, extra: Extra) -> Result<Facts> {
    let expected = expected(path, extra);
    let mut link = open(port, tls)?;
    let mut facts = Facts::default();
    for n in 0..N_EXCHANGES {
        let target = n * (SPREAD - 1) / (N_EXCHANGES - 1);
        let answer = client::exchange(&mut link, &request(path, extra, target))?;
        compare(&answer, &expected, extra).map_err(|why| format!("answer {n} for {path}: {why}"))?;
        let (body_bytes, wire_bytes) = (answer.body.len(), answer.wire_bytes);
        facts = Facts { body_bytes, wire_bytes, suite: link.suite() };
        if extra == Extra::Close {
            match link.read(&mut [0; 16]) {
                Ok(0) => {}
                Ok(_) => return Err("bytes behind the last answer".to_owned()),
                Err(e) => return Err(format!("does not close: {e}")),
            }
            link = open(port, tls)?;
        }
    }
    Ok(facts)
}

fn compare(answer: &Answer, expected: &[u8], extra: Extra) -> Result<()> {
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let plain;
    let body = if extra == Extra::Gzip {
        if answer.field("content-encoding") != Some("gzip") {
            return Err("not compressed".to_owned());
        }
        plain = unzip(&answer.body)?;
        &plain
    } else {
        &answer.body
    };
    if body.len() != expected.len() {
        return Err(format!("{} bytes for {}", body.len(), expected.len()));
    }
    match body.iter().zip(expected).position(|(a, b)| a != b) {
        Some(at) => Err(format!("byte {at} is wrong")),
        None => Ok(()),
    }
}

fn expected(path: &str, extra: Extra) -> Vec<u8> {
    match (path.rsplit('/').next().unwrap_or(""), extra) {
        (_, Extra::Post(n)) => bodies::receipt(n),
        ("100k", _) => bodies::pattern(100 << 10),
        ("1m", _) => bodies::pattern(1 << 20),
        ("10m", _) => bodies::pattern(10 << 20),
        ("json", _) => bodies::json(64 << 10),
        _ => bodies::pattern(1 << 10),
    }
}

/// The request as the load generators send it; `n` chooses among many targets.
pub(crate) fn request(path: &str, extra: Extra, n: usize) -> Vec<u8> {
    let (mut host, mut path, mut method) = ("localhost".to_owned(), path.to_owned(), "GET");
    let (mut fields, mut body) = (String::new(), Vec::new());
    match extra {
        Extra::None => {}
        Extra::Close => fields.push_str("Connection: close\r\n"),
        Extra::Basic => fields.push_str(&format!("Authorization: {BASIC}\r\n")),
        Extra::Bearer => fields.push_str(&format!("Authorization: {BEARER}\r\n")),
        Extra::Forwarded => fields.push_str("X-Forwarded-For: 192.0.2.7, 198.51.100.9\r\n"),
        Extra::Gzip => fields.push_str("Accept-Encoding: gzip\r\n"),
        Extra::Browser => {
            BROWSER.iter().for_each(|(name, value)| fields.push_str(&format!("{name}: {value}\r\n")))
        }
        Extra::Spread(spread) => (host, path) = spread.target(n, &path),
        Extra::Post(n) => {
            (method, body) = ("POST", vec![b'x'; n]);
            fields.push_str(&format!("Content-Length: {n}\r\n"));
        }
    }
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes();
    bytes.extend(body);
    bytes
}

/// The request that asks for a WebSocket, with the key of RFC 6455, 1.3.
pub(crate) fn upgrade() -> Vec<u8> {
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec()
}

fn echo(port: u16, bytes: usize) -> Result<Facts> {
    let mut link = open(port, None)?;
    let answer = client::exchange(&mut link, &upgrade())?;
    if answer.status != 101 || answer.field("sec-websocket-accept").is_none() {
        return Err(format!("status {} for 101", answer.status));
    }
    let frame = bodies::frame(bytes);
    for _ in 0..N_EXCHANGES {
        link.write_all(&frame).map_err(|e| format!("cannot send: {e}"))?;
        let mut back = Vec::new();
        while back.len() < frame.len() {
            client::more(&mut link, &mut back)?;
        }
        if back != frame {
            return Err("a message comes back changed".to_owned());
        }
    }
    Ok(Facts { body_bytes: frame.len(), wire_bytes: frame.len(), suite: None })
}

fn open(port: u16, tls: Option<&Arc<ClientConfig>>) -> Result<Link> {
    Link::open(port, tls).map_err(|e| format!("cannot connect: {e}"))
}

/// What gzip, the program, makes of it.
fn unzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let text = |e: std::io::Error| format!("gzip: {e}");
    let mut command = Command::new("gzip");
    command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(text)?;
    // The input fits into the pipe's 64 KiB; what is longer would be no compression.
    child.stdin.take().ok_or("gzip: no pipe")?.write_all(bytes).map_err(text)?;
    let output = child.wait_with_output().map_err(text)?;
    if output.status.success() { Ok(output.stdout) } else { Err("gzip cannot read it".to_owned()) }
}
