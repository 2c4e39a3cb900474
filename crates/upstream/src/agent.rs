//! What the server itself asks others over HTTP (an identity provider's keys and tokens): one bounded exchange on a
//! connection of its own, without blocking the thread.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::Files;
use foregate_net::tls::{self, certs, provider, verify::ServerChain};
use foregate_net::{Addr, Conn, ConnectOptions, Stream, clock, dns};
use foregate_wire::h1::{ChunkedDecoder, Framing, ResponseHead, ResponseRules, Step, parse_response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::resolvers::Resolvers;

/// A whole exchange, from the look-up of the name on.
const PATIENCE: Duration = Duration::from_secs(10);
/// To get a connection to one of the addresses.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Sets of keys and metadata are a few KiB.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Exchanges of one thread at once; who comes then is turned away.
const AT_ONCE_MAX: usize = 64;
/// Certificates between a server's own and a trusted one.
const CHAIN_DEPTH_MAX: usize = 10;

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
    /// `None`: neither http nor https, without a host, or with what does not belong into a request line.
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let sound = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty()
            || !host.chars().all(sound)
            || path.bytes().any(|b| b <= b' ' || b >= 127 || b == b'#')
        {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Url { tls, host: host.to_owned(), port, path })
    }

    /// As `Host` says it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// An answer; fields are of no interest.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for Unanswered {
    fn from(why: T) -> Self {
        Self(why.into())
    }
}

/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// The authorities that the system trusts (PEM); `None`: it has none.
pub fn system_authorities(files: &dyn Files) -> Option<Vec<u8>> {
    BUNDLES.iter().find_map(|it| files.read(it.as_ref()).ok())
}

/// Asks.
#[derive(Clone)]
pub struct Agent {
    tls: tls::Client,
}

impl Agent {
    /// One that believes servers whose certificates come from one of these authorities (PEM), and are on none of
    /// these lists (PEM). Without an authority no server over TLS is believed.
    ///
    /// # Errors
    /// One of the texts cannot be read.
    pub fn new(authorities: &[u8], revoked: &[u8]) -> Result<Agent, String> {
        let authorities = match authorities.is_empty() {
            true => Vec::new(),
            false => certs::chain(authorities).map_err(|why| why.to_string())?,
        };
        let revoked = match revoked.is_empty() {
            true => Vec::new(),
            false => certs::revocation_lists(revoked).map_err(|why| why.to_string())?,
        };
        let chain = Arc::new(ServerChain::new(&authorities, revoked, CHAIN_DEPTH_MAX));
        let builder = ClientConfig::builder_with_provider(provider().clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|why| why.to_string())?;
        let config = builder.dangerous().with_custom_certificate_verifier(chain).with_no_client_auth();
        Ok(Agent { tls: tls::Client::new(config) })
    }

    /// Sends one request and waits for its answer. `fields` are whole lines without their ends.
    ///
    /// # Errors
    /// No answer came, or none that can be understood.
    pub async fn send(
        &self,
        resolvers: Option<&Resolvers>,
        method: &str,
        url: &Url,
        fields: &[String],
        body: &[u8],
    ) -> Result<Answer, Unanswered> {
        let _room = Room::take().ok_or("too many such requests are under way")?;
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", url.path, url.authority());
        head += concat!("User-Agent: foregate/", env!("CARGO_PKG_VERSION"), "\r\nConnection: close\r\n");
        for field in fields {
            if field.bytes().any(|b| b < b' ' || b == 127) {
                return Err("a field has a control character".into());
            }
            head += field;
            head += "\r\n";
        }
        if method != "GET" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let request = [head.as_bytes(), b"\r\n", body].concat();
        let work = self.exchange(resolvers, url, &request);
        clock::timeout(PATIENCE, work)
            .await
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
    }

    async fn exchange(
        &self,
        resolvers: Option<&Resolvers>,
        url: &Url,
        request: &[u8],
    ) -> Result<Answer, Unanswered> {
        let stream = connect(&look_up(resolvers, url).await?).await?;
        let conn = match url.tls {
            false => Conn::Plain(stream),
            true => {
                let name =
                    ServerName::try_from(url.host.clone()).map_err(|_| "the host cannot be named in TLS")?;
                let done = tls::connect(stream, &self.tls, name).await;
                Conn::Tls(Box::new(done.map_err(|why| format!("the TLS handshake failed ({why})"))?))
            }
        };
        conn.send_all(request).await.map_err(|why| broken(&why))?;
        receive(&conn).await
    }
}

fn broken(why: &io::Error) -> Unanswered {
    Unanswered(format!("the connection broke ({why})"))
}

async fn look_up(resolvers: Option<&Resolvers>, url: &Url) -> Result<Vec<Addr>, Unanswered> {
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return Ok(vec![Addr::Ip((ip, url.port).into())]);
    }
    // Names without a dot, such as localhost, are the machine's own.
    if let Some(resolvers) = resolvers.filter(|_| url.host.contains('.')) {
        let found = resolvers.resolve(&url.host, url.port).await;
        return found.map_err(|why| format!("{} could not be resolved ({why})", url.host).into());
    }
    let found =
        dns::system(&url.host).await.map_err(|why| format!("{} could not be resolved ({why})", url.host))?;
    Ok(found.into_iter().map(|ip| Addr::Ip(SocketAddr::new(ip, url.port))).collect())
}

async fn connect(addrs: &[Addr]) -> Result<Stream, Unanswered> {
    let mut last = Unanswered("the name has no address".into());
    for addr in addrs {
        match clock::timeout(CONNECT_PATIENCE, Stream::connect(addr, &ConnectOptions::default())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => last = Unanswered(format!("connect() failed ({why})")),
            Err(_) => last = Unanswered("connect() took too long".into()),
        }
    }
    Err(last)
}

async fn receive(conn: &Conn) -> Result<Answer, Unanswered> {
    let (mut bytes, mut head, rules) = (Vec::new(), ResponseHead::new(), ResponseRules::default());
    let begin = loop {
        let more = conn.recv().await.map_err(|why| broken(&why))?;
        if more.is_empty() {
            return Err("the connection was closed without an answer".into());
        }
        bytes.extend_from_slice(&more);
        let mut parsed = parse_response(&bytes, &rules, &mut head).map_err(|_| "the answer is not HTTP")?;
        while let Some(n) = parsed.filter(|_| head.is_interim()) {
            bytes.drain(..n);
            head.clear();
            parsed = parse_response(&bytes, &rules, &mut head).map_err(|_| "the answer is not HTTP")?;
        }
        match parsed {
            Some(n) => break n,
            None if bytes.len() > HEAD_BYTES_MAX => return Err("the answer's head is too long".into()),
            None => (),
        }
    };
    let mut rest = bytes.split_off(begin);
    let mut body = Vec::new();
    let mut chunks = ChunkedDecoder::new();
    loop {
        let over = match head.framing {
            Framing::Empty => true,
            Framing::Chunked => unchunk(&mut chunks, &rest, &mut body)?,
            Framing::Length(length) => {
                body.append(&mut rest);
                body.len() as u64 >= length
            }
            Framing::UntilClose => {
                body.append(&mut rest);
                false
            }
        };
        if body.len() > BODY_BYTES_MAX {
            return Err("the answer is too long".into());
        }
        if over {
            if let Framing::Length(length) = head.framing {
                body.truncate(length as usize);
            }
            return Ok(Answer { status: head.status, body });
        }
        match conn.recv().await {
            Ok(more) if !more.is_empty() => rest = more.to_vec(),
            Ok(_) if head.framing == Framing::UntilClose => return Ok(Answer { status: head.status, body }),
            Ok(_) => return Err("the answer ends before its end".into()),
            Err(why) => return Err(broken(&why)),
        }
    }
}

/// Takes what `input` holds of a body; `true`: that is its end.
fn unchunk(chunks: &mut ChunkedDecoder, input: &[u8], body: &mut Vec<u8>) -> Result<bool, Unanswered> {
    let mut at = 0;
    loop {
        match chunks.decode(&input[at..]).map_err(|_| "the answer's chunks are broken")? {
            Step::Data(range) => {
                body.extend_from_slice(&input[at..][range.clone()]);
                at += range.end;
            }
            Step::More => return Ok(false),
            Step::End(_) => return Ok(true),
        }
    }
}

thread_local! {
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// Counts an exchange.
struct Room;

impl Room {
    fn take() -> Option<Room> {
        let n = UNDER_WAY.get();
        (n < AT_ONCE_MAX).then(|| {
            UNDER_WAY.set(n + 1);
            Room
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_net::runtime;
    use foregate_testkit::{Authority, Backend, Reply};

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
            ("https://u@a/", None),
            ("https://a/#x", None),
            ("https://a/\r\n", None),
        ] {
            assert_eq!(show(text).as_deref(), want, "{text}");
        }
    }

    fn ask(reply: fn() -> Reply) -> Result<(u16, String), String> {
        let backend = Backend::new(move |_| reply());
        let url = Url::parse(&format!("http://{}/x", backend.address())).unwrap();
        let authority = Authority::new("Root");
        let agent = Agent::new(authority.cert_pem().as_bytes(), b"").unwrap();
        let answer =
            runtime::run(async move { agent.send(None, "POST", &url, &["A: b".into()], b"body").await })
                .unwrap();
        if let Ok(seen) = &answer {
            assert_eq!(
                (backend.last().header("A"), backend.last().text().as_str()),
                (Some("b"), "body"),
                "{seen:?}"
            );
        }
        answer
            .map(|it| (it.status, String::from_utf8_lossy(&it.body).into_owned()))
            .map_err(|why| why.to_string())
    }

    #[test]
    fn answers_are_read_whole() {
        assert_eq!(ask(|| Reply::ok("text")), Ok((200, "text".into())));
        assert_eq!(ask(|| Reply::chunked(&["te", "xt"])), Ok((200, "text".into())));
        assert_eq!(ask(|| Reply::raw("HTTP/1.0 404 No\r\n\r\ntext").close()), Ok((404, "text".into())));
        assert_eq!(
            ask(|| Reply::raw("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n")),
            Ok((204, String::new()))
        );
        let short = ask(|| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntext").close());
        assert_eq!(short, Err("the answer ends before its end".into()));
        assert_eq!(ask(Reply::close_at_once), Err("the connection was closed without an answer".into()));
        assert_eq!(ask(|| Reply::raw("nonsense\r\n\r\n").close()), Err("the answer is not HTTP".into()));
    }
}
