//! One question to an OCSP responder over HTTP (RFC 6960 appendix A), with time and size bounded.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use foregate_core::base64;
use foregate_net::stream::ConnectOptions;
use foregate_net::{Addr, Stream, clock, dns, names};
use foregate_upstream::Resolvers;
use foregate_wire::uri;

/// For the whole exchange; nginx waits as long for each step of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer, head included: a response with a few certificates has some 10 KB.
const ANSWER_BYTES_MAX: usize = 128 * 1024;
const PORT: u16 = 80;

/// Where questions go.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    pub(super) host: String,
    port: u16,
    path: String,
    /// What the name stood for when the configuration was loaded; empty: it was not looked up.
    addrs: Vec<SocketAddr>,
    /// Where there is no `resolver`, the system is asked for the name each time.
    pub(super) by_system: bool,
}

impl Responder {
    /// # Errors
    /// What is wrong with the address, in nginx's words.
    pub(super) fn parse(url: &str) -> Result<Responder, &'static str> {
        let rest = match url.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http://") => &url[7..],
            _ => return Err("invalid URL prefix"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|it| *it > 0).ok_or("invalid port")?)
            }
            _ => (authority, PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_clean = |it: &str| it.bytes().all(|b| b.is_ascii_graphic());
        match (host.is_empty(), is_clean(host) && is_clean(path)) {
            (true, _) => Err("no host"),
            (_, false) => Err("invalid host"),
            _ => Ok(Responder { host: host.to_owned(), port, path: path.to_owned(), addrs: Vec::new(), by_system: false }),
        }
    }

    /// Whether questions go to the same place.
    pub(super) fn is_same(&self, other: &Responder) -> bool {
        (&self.host, self.port, &self.path) == (&other.host, other.port, &other.path)
    }

    /// Looks the host up now, by the system's resolver; blocks, and is for configurations.
    pub(super) fn look_up(&mut self) -> Result<(), &'static str> {
        self.addrs = names::look_up(&self.host, self.port).map_err(|_| "host not found")?;
        Ok(())
    }

    /// Sends a question and waits for the response (DER).
    ///
    /// # Errors
    /// What went wrong, for the error log.
    pub(super) async fn ask(&self, question: &[u8], resolver: Option<&Resolvers>) -> Result<Vec<u8>, String> {
        let exchange = async {
            let addrs = self.addrs(resolver).await?;
            let mut why = io::Error::other("no address");
            for addr in &addrs {
                match self.exchange(addr, question).await {
                    Ok(bytes) => return body(&bytes).map(<[u8]>::to_vec).map_err(str::to_owned),
                    Err(error) => why = error,
                }
            }
            Err(foregate_net::sys::errno_text(&why))
        };
        match clock::timeout(PATIENCE, exchange).await {
            Ok(done) => done,
            Err(_) => Err("OCSP responder timed out".to_owned()),
        }
    }

    async fn addrs(&self, resolver: Option<&Resolvers>) -> Result<Vec<Addr>, String> {
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![Addr::Ip(SocketAddr::new(ip, self.port))]);
        }
        match resolver {
            Some(resolver) => {
                let found = resolver.resolve(&self.host, self.port).await;
                found.map_err(|why| format!("{} could not be resolved ({why})", self.host))
            }
            None if self.by_system => {
                let found = dns::system(&self.host).await;
                let found = found.map_err(|_| format!("{} could not be resolved", self.host))?;
                Ok(found.into_iter().map(|ip| Addr::Ip(SocketAddr::new(ip, self.port))).collect())
            }
            None if self.addrs.is_empty() => Err(format!("no resolver defined to resolve {}", self.host)),
            None => Ok(self.addrs.iter().copied().map(Addr::Ip).collect()),
        }
    }

    /// By GET, which caches on the way may answer.
    async fn exchange(&self, addr: &Addr, question: &[u8]) -> io::Result<Vec<u8>> {
        let stream = Stream::connect(addr, &ConnectOptions::default()).await?;
        let mut encoded = Vec::new();
        base64::encode(question, base64::Alphabet::Standard, &mut encoded);
        let mut request = format!("GET {}/", self.path.trim_end_matches('/')).into_bytes();
        uri::escape(&encoded, uri::Escape::UriComponent, &mut request);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = if self.port == PORT { String::new() } else { format!(":{}", self.port) };
        request.extend_from_slice(format!(" HTTP/1.0\r\nHost: {host}{port}\r\n\r\n").as_bytes());
        stream.send_all(&request).await?;
        let mut bytes = Vec::new();
        loop {
            let piece = stream.recv().await?;
            if piece.is_empty() || is_whole(&bytes) {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&piece);
            if is_whole(&bytes) {
                return Ok(bytes);
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::other("OCSP responder sent too much data"));
            }
        }
    }
}

/// Head and body; as nginx, lines may end without a carriage return.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = |mark: &[u8]| bytes.windows(mark.len()).position(|it| it == mark).map(|at| (at, at + mark.len()));
    let (head, start) = [end(b"\r\n\r\n"), end(b"\n\n")].into_iter().flatten().min()?;
    Some((std::str::from_utf8(&bytes[..head]).ok()?, &bytes[start..]))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Whether there is as much as the answer says it has; else its end is the connection's.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    field(head, "Content-Length").and_then(|it| it.parse().ok()).is_some_and(|len: usize| body.len() >= len)
}

fn body(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (head, body) = split(bytes).ok_or("OCSP responder prematurely closed connection")?;
    if head.split(' ').nth(1).is_none_or(|it| it.trim() != "200") {
        return Err("OCSP responder sent an answer other than 200");
    }
    if field(head, "Content-Type").is_none_or(|it| !it.eq_ignore_ascii_case("application/ocsp-response")) {
        return Err("OCSP responder sent invalid \"Content-Type\" header");
    }
    if field(head, "Transfer-Encoding").is_some() {
        return Err("OCSP responder sent chunks to HTTP/1.0");
    }
    let len = field(head, "Content-Length").and_then(|it| it.parse().ok()).unwrap_or(body.len());
    body.get(..len).ok_or("OCSP responder prematurely closed connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_answers_taken_apart() {
        let read = |url: &str| Responder::parse(url).map(|it| (it.host, it.port, it.path));
        assert_eq!(read("http://a.test/x/"), Ok(("a.test".into(), 80, "/x/".into())));
        assert_eq!(read("HTTP://[::1]:8080"), Ok(("::1".into(), 8080, String::new())));
        assert_eq!(read("https://a.test/").err(), Some("invalid URL prefix"));
        assert_eq!(read("http://a.test:x/").err(), Some("invalid port"));
        assert_eq!(read("http:///x").err(), Some("no host"));
        assert_eq!(read("http://a.test/\r\n").err(), Some("invalid host"));
        let answer = b"HTTP/1.1 200 OK\nConnection: close\nContent-Type: application/ocsp-response\n\nabc";
        assert_eq!(body(answer), Ok(&b"abc"[..]));
        let sized = b"HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: 2\r\n\r\nabc";
        assert_eq!((body(sized), is_whole(sized), is_whole(answer)), (Ok(&b"ab"[..]), true, false));
        assert!(body(b"HTTP/1.0 503 No\r\n\r\n").is_err() && body(b"HTTP/1.0 200").is_err());
    }
}
