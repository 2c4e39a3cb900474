//! A small HTTP client: one blocking request at a time, each on a connection of its own, everything bounded.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_net::tls::{
    certs, provider,
    verify::{AnyServer, ServerChain},
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// For one address; a name may have several.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// For a question to a name server.
const NAME_PATIENCE: Duration = Duration::from_secs(5);
/// Without a byte from the other side.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// For a whole exchange.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(90);
/// An answer with its head: chains of certificates and directories are a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Steps from a resource to where it is now.
const REDIRECTS_MAX: usize = 5;
/// Certificates between a server's own and a trusted one.
const CHAIN_DEPTH_MAX: usize = 10;

/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The system's authorities.
    System,
    /// Those of a PEM text.
    Pem(Vec<u8>),
    /// Anybody's (nginx-acme: `ssl_verify off`).
    Anybody,
}

/// An address of the web, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// With the query.
    pub path: String,
}

impl Url {
    /// `None`: neither http nor https, or without a host.
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let sound = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(sound) || path.bytes().any(|b| b <= b' ' || b == 127) {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Url { tls, host: host.to_owned(), port, path })
    }

    /// Where a redirect leads; `None`: nowhere, or out of TLS.
    fn onward(&self, place: &str) -> Option<Url> {
        let next = match place.starts_with('/') && !place.starts_with("//") {
            true => Url { path: place.to_owned(), ..self.clone() },
            false => Url::parse(place)?,
        };
        let sound = next.path.bytes().all(|b| b > b' ' && b != 127);
        (sound && (next.tls || !self.tls)).then_some(next)
    }

    /// As `Host` says it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of this name, given in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    /// All fields of this name, given in lower case.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(it, _)| it == name).map(|(_, value)| &**value)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Http {
    tls: Arc<ClientConfig>,
    name_servers: Vec<SocketAddr>,
}

impl Http {
    /// # Errors
    /// Without a single authority nobody could be believed.
    pub(crate) fn new(trust: &Trust) -> Result<Http, Unanswered> {
        let builder = ClientConfig::builder_with_provider(provider().clone());
        let builder =
            builder.with_safe_default_protocol_versions().map_err(|why| Unanswered(why.to_string()))?;
        let config = match trust {
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer))
                .with_no_client_auth(),
            Trust::Pem(pem) => {
                // As lenient as nginx: whoever names a file may name a server's own certificate, of old even.
                let named =
                    certs::chain(pem).map_err(|why| Unanswered(format!("trusted certificates: {why}")))?;
                let chain = Arc::new(ServerChain::new(&named, Vec::new(), CHAIN_DEPTH_MAX));
                builder.dangerous().with_custom_certificate_verifier(chain).with_no_client_auth()
            }
            Trust::System => {
                let pem = BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
                let pem = pem.ok_or_else(|| {
                    Unanswered("the system has no certificate authorities: install ca-certificates".into())
                })?;
                builder.with_root_certificates(roots(&pem)?).with_no_client_auth()
            }
        };
        Ok(Http { tls: Arc::new(config), name_servers: Vec::new() })
    }

    /// The same, asking these name servers first (nginx: `resolver`).
    pub(crate) fn asking(self, name_servers: &[SocketAddr]) -> Http {
        Http { name_servers: name_servers.to_vec(), ..self }
    }

    fn look_up(&self, to: &Url) -> io::Result<Vec<SocketAddr>> {
        let is_name = to.host.contains('.') && to.host.parse::<IpAddr>().is_err();
        if is_name && !self.name_servers.is_empty() {
            // They may serve inner names alone: then the system is asked.
            if let Ok(found) = foregate_net::dns::ask_now(&self.name_servers, &to.host, NAME_PATIENCE) {
                return Ok(found.into_iter().map(|ip| (ip, to.port).into()).collect());
            }
        }
        foregate_net::names::look_up(&to.host, to.port)
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// No answer came, or none that can be understood; which, in a text that names the address.
    pub(crate) fn send(
        &self,
        method: &str,
        url: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Unanswered> {
        let fail = |why: String| Unanswered(format!("{method} {url}: {why}"));
        let mut to = Url::parse(url).ok_or_else(|| fail("is no http or https address".into()))?;
        for _ in 0..REDIRECTS_MAX {
            let answer = self.exchange(method, &to, fields, body).map_err(|why| fail(why.to_string()))?;
            match answer.field("location").filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308)) {
                Some(place) if matches!(method, "GET" | "HEAD") => {
                    to = to.onward(place).ok_or_else(|| fail(format!("leads to \"{place}\"")))?;
                }
                _ => return Ok(answer),
            }
        }
        Err(fail("leads from one place to the next without end".into()))
    }

    fn exchange(&self, method: &str, to: &Url, fields: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let until = Instant::now() + EXCHANGE_PATIENCE;
        let socket = connect(&self.look_up(to)?)?;
        let mut text = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", to.path, to.authority());
        text += concat!("User-Agent: foregate/", env!("CARGO_PKG_VERSION"), "\r\nConnection: close\r\n");
        for (name, value) in fields {
            if value.bytes().any(|b| b < b' ' && b != b'\t') {
                return Err(io::Error::other("a field's value has a line end"));
            }
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let request = [text.as_bytes(), body].concat();
        if !to.tls {
            return converse(socket, &request, method == "HEAD", until);
        }
        let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.tls.clone(), name).map_err(io::Error::other)?;
        converse(StreamOwned::new(connection, socket), &request, method == "HEAD", until)
    }
}

/// What stands at an address of the web, up to a mebibyte of it; believed if the system's authorities vouch for it.
/// Blocks for as long as it takes, a minute and a half at most.
///
/// # Errors
/// It did not come, in a text that names the address.
pub fn get(url: &str) -> Result<Vec<u8>, String> {
    let answer = Http::new(&Trust::System).and_then(|it| it.send("GET", url, &[], b""));
    match answer {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(format!("GET {url}: answered with {}", answer.status)),
        Err(why) => Err(why.to_string()),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Unanswered> {
    let certs = certs::chain(pem).map_err(|why| Unanswered(format!("trusted certificates: {why}")))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certs);
    match store.is_empty() {
        true => Err(Unanswered("none of the trusted certificates can be used".into())),
        false => Ok(store),
    }
}

fn connect(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut why = io::Error::other("the name has no address");
    for addr in addrs {
        match TcpStream::connect_timeout(addr, CONNECT_PATIENCE) {
            Ok(socket) => {
                socket.set_read_timeout(Some(READ_PATIENCE))?;
                socket.set_write_timeout(Some(READ_PATIENCE))?;
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn converse(
    mut stream: impl Read + Write,
    request: &[u8],
    no_body: bool,
    until: Instant,
) -> io::Result<Answer> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        if let Some(answer) = complete(&bytes, no_body, false)? {
            return Ok(answer);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is too long"));
        }
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            // Some end TLS without a word; what came is judged by its own length.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {
                let answer = complete(&bytes, no_body, true)?;
                return answer.ok_or_else(|| io::Error::other("the answer ends before its end"));
            }
        }
    }
}

/// The answer, once all of it is there.
fn complete(bytes: &[u8], no_body: bool, ended: bool) -> io::Result<Option<Answer>> {
    let bad = || io::Error::other("the answer is not HTTP");
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(bad)?;
    let field = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    let fields: Vec<_> = lines.filter_map(field).collect();
    let mut answer = Answer { status, fields, body: Vec::new() };
    let rest = &bytes[end + 4..];
    if (100..200).contains(&status) {
        return complete(rest, no_body, ended);
    }
    if no_body || matches!(status, 204 | 304) {
        return Ok(Some(answer));
    }
    if answer.field("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
        let Some(body) = unchunk(rest).map_err(|()| bad())? else { return Ok(None) };
        answer.body = body;
        return Ok(Some(answer));
    }
    match answer.field("content-length") {
        Some(text) => {
            let length: usize = text.parse().map_err(|_| bad())?;
            let Some(body) = rest.get(..length) else { return Ok(None) };
            answer.body = body.to_vec();
        }
        None if ended => answer.body = rest.to_vec(),
        None => return Ok(None),
    }
    Ok(Some(answer))
}

/// `None`: the last chunk has not come.
fn unchunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|it| it == b"\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&rest[..at]).map_err(|_| ())?;
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|it| *it <= ANSWER_BYTES_MAX).ok_or(())?;
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(data) = rest.get(at + 2..at + 2 + size) else { return Ok(None) };
        body.extend_from_slice(data);
        let Some(after) = rest.get(at + 4 + size..) else { return Ok(None) };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let show = |text: &str| Url::parse(text).map(|it| format!("{}{}", it.authority(), it.path));
        for (text, want) in [
            ("https://a.test/dir", Some("a.test/dir")),
            ("http://127.0.0.1:14000", Some("127.0.0.1:14000/")),
            ("https://[::1]:9/x?y", Some("[::1]:9/x?y")),
            ("https://a.test?x", Some("a.test/?x")),
            ("ftp://a.test/", None),
            ("https:///x", None),
            ("https://a b/", None),
            ("https://a/\r\n", None),
        ] {
            assert_eq!(show(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn redirects_stay_within_tls() {
        let from = Url::parse("https://a.test:8/x").unwrap();
        let to = |place: &str| from.onward(place).map(|it| format!("{}{}", it.authority(), it.path));
        assert_eq!(to("/dir").as_deref(), Some("a.test:8/dir"));
        assert_eq!(to("https://b.test/dir").as_deref(), Some("b.test/dir"));
        assert_eq!(
            (to("http://a.test/dir"), to("//b.test/dir"), to("/a b"), to("dir")),
            (None, None, None, None)
        );
    }

    #[test]
    fn answers_are_read_whole() {
        let whole =
            |text: &str, ended| complete(text.as_bytes(), false, ended).map(|it| it.map(|it| it.body));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(whole(chunked, false).unwrap(), Some(b"abcde".to_vec()));
        for cut in 0..chunked.len() - 4 {
            assert_eq!(whole(&chunked[..cut], false).unwrap(), None, "{cut}");
        }
        let sized = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc";
        assert_eq!(whole(sized, false).unwrap(), Some(b"ab".to_vec()));
        assert_eq!(whole("HTTP/1.1 200 OK\r\n\r\nabc", true).unwrap(), Some(b"abc".to_vec()));
        assert!(whole("nonsense\r\n\r\n", true).is_err());
        assert!(whole("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true).is_err());
    }
}
