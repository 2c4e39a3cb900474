//! HTTP/1 messages as they come over a socket: read strictly, kept in order, with every raw byte.

use std::io::{self, Read};

/// No test needs a longer head.
const HEAD_MAX: usize = 256 * 1024;
/// No test needs a longer body.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// The header fields of a message, in order, and questions about them.
pub(crate) type Fields = Vec<(String, String)>;

fn find<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    let name = name.to_owned();
    fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(&name)).map(|(_, v)| v.as_str())
}

/// An answer.
#[derive(Clone, Default, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// What follows it on the status line.
    pub reason: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Header fields in order, names as sent.
    pub headers: Fields,
    /// The body with its chunks joined.
    pub body: Vec<u8>,
    /// The sizes of its chunks, when it came in chunks.
    pub chunks: Vec<usize>,
    /// The fields after the last chunk.
    pub trailers: Fields,
    /// Status codes of the interim answers before it (100, 103).
    pub interim: Vec<u16>,
    /// Whether the body came to its end as its framing promised.
    pub complete: bool,
    /// Every byte of head and body as read.
    pub raw: Vec<u8>,
}

impl Response {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).next()
    }

    /// All values of a header field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        find(&self.headers, name).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request as a backend saw it.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// The head exactly as received, up to and including the empty line.
    pub head: String,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Header fields in order.
    pub headers: Fields,
    /// The body with its chunks joined.
    pub body: Vec<u8>,
    /// Whether the body came in chunks.
    pub chunked: bool,
    /// The fields after the last chunk.
    pub trailers: Fields,
    /// On which of the backend's connections, counted from 0.
    pub connection: usize,
    /// The how-manieth request of that connection, counted from 0.
    pub nth: usize,
}

impl Seen {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).next()
    }

    /// All values of a header field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        find(&self.headers, name).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Bytes from a stream, with what was read too far kept for the next message.
pub(crate) struct Incoming {
    held: Vec<u8>,
    /// Everything taken since the last `take_raw`.
    raw: Vec<u8>,
}

/// A body, as far as it came.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    chunks: Vec<usize>,
    trailers: Fields,
    complete: bool,
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Incoming {
    pub(crate) fn new() -> Incoming {
        Incoming { held: Vec::new(), raw: Vec::new() }
    }

    /// Reads some; false at the end of the stream. A reset is an end, too.
    fn more(&mut self, from: &mut dyn Read) -> io::Result<bool> {
        let mut block = [0; 16 * 1024];
        match from.read(&mut block) {
            // The process was stopped and went on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.more(from),
            Ok(n) => {
                self.held.extend_from_slice(&block[..n]);
                Ok(n > 0)
            }
            Err(e) if ends(e.kind()) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.held.split_off(n);
        let taken = std::mem::replace(&mut self.held, rest);
        self.raw.extend_from_slice(&taken);
        taken
    }

    fn line(&mut self, from: &mut dyn Read) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.held.windows(2).position(|w| w == b"\r\n") {
                let line = self.take(end + 2);
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.held.len() > HEAD_MAX || !self.more(from)? {
                return Ok(None);
            }
        }
    }

    /// First line and fields; `None` when the stream ends before the first byte.
    fn head(&mut self, from: &mut dyn Read) -> io::Result<Option<(String, Fields)>> {
        self.raw.clear();
        while self.held.is_empty() {
            if !self.more(from)? {
                return Ok(None);
            }
        }
        let first =
            self.line(from)?.ok_or_else(|| bad("the stream ends within the first line", &self.held))?;
        let fields = self.fields(from)?.ok_or_else(|| bad("the stream ends within the head", &self.raw))?;
        Ok(Some((first, fields)))
    }

    fn fields(&mut self, from: &mut dyn Read) -> io::Result<Option<Fields>> {
        let mut fields = Vec::new();
        loop {
            let Some(line) = self.line(from)? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(fields));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("no colon in", line.as_bytes()))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Exactly `n` bytes, or fewer at the end of the stream.
    fn exactly(&mut self, n: usize, from: &mut dyn Read) -> io::Result<Vec<u8>> {
        while self.held.len() < n && self.more(from)? {}
        let n = n.min(self.held.len());
        Ok(self.take(n))
    }

    fn body(&mut self, framing: Framing, from: &mut dyn Read) -> io::Result<Body> {
        match framing {
            Framing::None => Ok(Body { complete: true, ..Body::default() }),
            Framing::Length(n) => {
                let bytes = self.exactly(n, from)?;
                Ok(Body { complete: bytes.len() == n, bytes, ..Body::default() })
            }
            Framing::Chunked => self.chunked(from),
            Framing::UntilClose => {
                while self.held.len() < BODY_MAX && self.more(from)? {}
                Ok(Body { bytes: self.take(self.held.len()), complete: true, ..Body::default() })
            }
        }
    }

    /// RFC 9112, section 7.1: stops where the stream does, `complete` telling which.
    fn chunked(&mut self, from: &mut dyn Read) -> io::Result<Body> {
        let mut body = Body::default();
        while let Some(line) = self.line(from)? {
            let size = line.split(';').next().unwrap_or("");
            let size = usize::from_str_radix(size, 16).map_err(|_| bad("no chunk size:", line.as_bytes()))?;
            if size == 0 {
                let trailers = self.fields(from)?;
                body.complete = trailers.is_some();
                body.trailers = trailers.unwrap_or_default();
                break;
            }
            let chunk = self.exactly(size, from)?;
            let short = chunk.len() < size;
            body.bytes.extend_from_slice(&chunk);
            body.chunks.push(chunk.len());
            let end = self.exactly(2, from)?;
            if short || end != b"\r\n" {
                break;
            }
        }
        Ok(body)
    }

    /// The next final answer, its interim ones before it; `None` when the stream ends first.
    pub(crate) fn response(&mut self, from: &mut dyn Read, to_head: bool) -> io::Result<Option<Response>> {
        let mut interim = Vec::new();
        loop {
            let Some((first, headers)) = self.head(from)? else { return Ok(None) };
            let mut parts = first.splitn(3, ' ');
            let version = parts.next().unwrap_or("").to_owned();
            let status = parts.next().and_then(|s| s.parse().ok());
            let status: u16 = status.ok_or_else(|| bad("no status line:", first.as_bytes()))?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let framing = match status {
                101 | 204 | 304 => Framing::None,
                _ if to_head => Framing::None,
                _ => framing(&headers, Framing::UntilClose)?,
            };
            let body = self.body(framing, from)?;
            return Ok(Some(Response {
                status,
                reason: parts.next().unwrap_or("").to_owned(),
                version,
                headers,
                body: body.bytes,
                chunks: body.chunks,
                trailers: body.trailers,
                interim,
                complete: body.complete,
                raw: std::mem::take(&mut self.raw),
            }));
        }
    }

    /// The head of the next request; `None` when the client is gone.
    pub(crate) fn request_head(&mut self, from: &mut dyn Read) -> io::Result<Option<Seen>> {
        let Some((first, headers)) = self.head(from)? else { return Ok(None) };
        let chunked = find(&headers, "Transfer-Encoding").any(|v| v.eq_ignore_ascii_case("chunked"));
        let mut parts = first.split(' ');
        let mut next = || parts.next().unwrap_or("").to_owned();
        Ok(Some(Seen {
            head: String::from_utf8_lossy(&self.raw).into_owned(),
            method: next(),
            target: next(),
            version: next(),
            chunked,
            headers,
            ..Seen::default()
        }))
    }

    /// Reads the body of a request whose head was read.
    pub(crate) fn request_body(&mut self, seen: &mut Seen, from: &mut dyn Read) -> io::Result<()> {
        let body = self.body(framing(&seen.headers, Framing::None)?, from)?;
        seen.body = body.bytes;
        seen.trailers = body.trailers;
        Ok(())
    }

    /// What has come since: up to `n` bytes of no particular message; empty at the end of the stream.
    pub(crate) fn some(&mut self, from: &mut dyn Read) -> io::Result<Vec<u8>> {
        if self.held.is_empty() {
            self.more(from)?;
        }
        Ok(self.take(self.held.len()))
    }
}

/// RFC 9112, section 6.3, for what tests need.
fn framing(fields: &Fields, otherwise: Framing) -> io::Result<Framing> {
    if find(fields, "Transfer-Encoding").any(|v| v.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match find(fields, "Content-Length").next() {
        Some(n) => match n.parse() {
            Ok(n) if n <= BODY_MAX => Ok(Framing::Length(n)),
            _ => Err(bad("no length:", n.as_bytes())),
        },
        None => Ok(otherwise),
    }
}

/// A TLS stream cut off says `UnexpectedEof`.
fn ends(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
}

fn bad(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} {:?}", String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Response {
        let mut from = bytes;
        Incoming::new()
            .response(&mut from, false)
            .expect("because it is well formed")
            .expect("because it is there")
    }

    #[test]
    fn an_interim_answer_comes_before_the_final_one() {
        let seen = read(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        );
        assert_eq!((seen.interim, seen.status, seen.body), (vec![103], 200, b"ok".to_vec()));
    }

    #[test]
    fn a_cut_body_is_not_complete() {
        assert!(!read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok").complete);
        assert!(!read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").complete);
        let whole =
            read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n");
        assert!(whole.complete && whole.chunks == [2] && whole.trailers.len() == 1);
    }
}
