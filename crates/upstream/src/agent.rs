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
use foregate_wire::Url;
use foregate_wire::h1::{self, Answer, Collector};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::resolvers::Resolvers;

/// A whole exchange, from the look-up of the name on.
const PATIENCE: Duration = Duration::from_secs(10);
/// To get a connection to one of the addresses.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// Exchanges of one thread at once; who comes then is turned away.
const AT_ONCE_MAX: usize = 64;
/// Certificates between a server's own and a trusted one.
const CHAIN_DEPTH_MAX: usize = 10;

/// Why there is no answer.
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

/// The authorities that the system trusts (PEM); `None`: it has none.
pub fn system_authorities(files: &dyn Files) -> Option<Vec<u8>> {
    certs::SYSTEM_BUNDLES.iter().find_map(|it| files.read(it.as_ref()).ok())
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
        let request = h1::request(method, url, fields, body)?;
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
    let mut collector = Collector::new(false);
    loop {
        let more = conn.recv().await.map_err(|why| broken(&why))?;
        if more.is_empty() {
            return Ok(collector.close()?);
        }
        if let Some(answer) = collector.take(&more)? {
            return Ok(answer);
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
                "{}",
                seen.status
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
