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
use foregate_wire::Url;
use foregate_wire::h1::{self, Answer, Collector};
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
/// Steps from a resource to where it is now.
const REDIRECTS_MAX: usize = 5;
/// Certificates between a server's own and a trusted one.
const CHAIN_DEPTH_MAX: usize = 10;

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
                let pem = certs::SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
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
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let request = h1::request(method, to, &lines, body).map_err(io::Error::other)?;
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
    let mut collector = Collector::new(no_body);
    let mut chunk = [0; 8192];
    loop {
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => {
                if let Some(answer) = collector.take(&chunk[..n]).map_err(io::Error::other)? {
                    return Ok(answer);
                }
            }
            // Some end TLS without a word; what came is judged by its own length.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return collector.close().map_err(io::Error::other),
        }
    }
}
