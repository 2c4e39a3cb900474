//! From a question to an exchange: which listener hears it, and what it says.

use std::cell::{Cell, RefCell};
use std::future::{Future, ready};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use foregate_core::{Client, Connection, Exchange, Household, Nobody};
use foregate_modules::client;
use foregate_net::tls::Facts;
use foregate_net::{Addr, clock};
use foregate_wire::Fields;
use foregate_wire::h1::{RequestHead, RequestRules, parse_request};

use crate::address::{Address, Endpoint};
use crate::connection::request;

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct Question {
    /// `http://host[:port]/path?query` or `https://…`.
    pub url: String,
    pub method: String,
    /// Fields besides `Host`, or in its place.
    pub fields: Vec<(String, String)>,
    /// The client's address.
    pub from: IpAddr,
    /// What upstreams are taken to answer.
    pub upstream_status: u16,
}

/// The port of the client of every question.
const CLIENT_PORT: u16 = 40_000;

/// A URL taken apart.
pub(super) struct Target<'a> {
    pub(super) secure: bool,
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// The host with the port as it stands in the URL.
    authority: &'a str,
    path: String,
}

impl Question {
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn target(&self) -> Result<Target<'_>, String> {
        let url = &self.url;
        let (secure, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(format!("\"{url}\" is no URL: it begins with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let behind = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[behind..].find(':') {
            Some(at) => (&authority[..behind + at], authority[behind + at + 1..].parse().ok()),
            None => (authority, Some(if secure { 443 } else { 80 })),
        };
        match port {
            Some(port) if !host.is_empty() => Ok(Target { secure, host, port, authority, path }),
            Some(_) => Err(format!("\"{url}\" names no host")),
            None => Err(format!("\"{url}\" has no port behind its colon")),
        }
    }

    /// The head as a client would send it.
    pub(super) fn head(&self, target: &Target<'_>) -> Vec<u8> {
        let has = |name: &str| self.fields.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, target.path);
        if !has("host") {
            head.push_str(&format!("Host: {}\r\n", target.authority));
        }
        if !has("user-agent") {
            head.push_str("User-Agent: foregate-explain\r\n");
        }
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// The socket that hears a request, and the address of ours that it is sent to.
pub(super) fn listener<'a>(
    endpoints: &'a [Endpoint],
    target: &Target<'_>,
) -> Result<(&'a Endpoint, Addr), String> {
    let bare = target.host.trim_start_matches('[').trim_end_matches(']');
    let asked: Option<IpAddr> = bare.parse().ok();
    let port = |it: &&Endpoint| it.addr.ip().is_some_and(|addr| addr.port() == target.port);
    let on_port: Vec<_> = endpoints.iter().filter(port).collect();
    let exactly = |it: &&&Endpoint| asked.is_some() && it.addr.ip().map(|it| it.ip()) == asked;
    let wildcard = |it: &&&Endpoint| {
        let ip = it.addr.ip().map(|it| it.ip());
        ip.is_some_and(|ip| ip.is_unspecified() && asked.is_none_or(|asked| asked.is_ipv4() == ip.is_ipv4()))
    };
    // A name may stand for any address: a wildcard hears all of them.
    let other = |_: &&&Endpoint| asked.is_none();
    let found = on_port.iter().find(exactly).or_else(|| on_port.iter().find(wildcard));
    let Some(found) = found.or_else(|| on_port.iter().find(other)) else {
        let all: Vec<_> = endpoints.iter().map(|it| it.addr.to_string()).collect();
        return Err(format!(
            "nobody listens on port {} of {}; the listeners are: {}",
            target.port,
            target.host,
            all.join(", ")
        ));
    };
    let own = found.addr.ip().map(|it| it.ip()).filter(|it| !it.is_unspecified());
    let ip = own.or(asked).unwrap_or(Ipv4Addr::LOCALHOST.into());
    Ok((found, Addr::Ip(SocketAddr::new(ip, target.port))))
}

/// The connection that the question came over.
pub(super) fn connection(
    question: &Question,
    target: &Target<'_>,
    address: &Address,
    local: Addr,
) -> Connection {
    Connection {
        number: 1,
        peer: Addr::Ip(SocketAddr::new(question.from, CLIENT_PORT)),
        local,
        proxied: None,
        tls: (target.secure && address.ssl).then(|| Box::new(facts(target.host))),
        requests: Cell::new(1),
        started_ms: clock::ms(),
        notes: RefCell::default(),
    }
}

/// A handshake as today's browsers make it.
fn facts(host: &str) -> Facts {
    let is_name = host.parse::<IpAddr>().is_err() && !host.starts_with('[');
    Facts {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        curve: "X25519",
        server_name: is_name.then(|| host.to_ascii_lowercase().into()),
        ..Facts::default()
    }
}

/// An exchange that has read the head, and the status if the head is refused.
pub(super) fn exchange(
    house: Rc<dyn Household>,
    conn: Connection,
    on: &client::Settings,
    bytes: &[u8],
) -> (Exchange, Option<u16>) {
    let mut ex = Exchange::vacant(house, &Nobody::new());
    ex.begin(Rc::new(conn), Rc::new(Patient));
    ex.head_bytes = bytes.len() as u64;
    let rules = RequestRules {
        underscores: on.underscores,
        ignore_invalid: on.ignore_invalid,
        fields_max: on.max_headers,
    };
    let mut head = RequestHead::default();
    let refused = match parse_request(bytes, &rules, &mut head) {
        Ok(Some(_)) => request::fill(&mut ex, bytes, &head, on.merge_slashes).is_err().then_some(400),
        Ok(None) => Some(400),
        Err(error) => Some(error.status()),
    };
    let method = matches!(ex.method, foregate_core::Method::Trace | foregate_core::Method::Connect);
    // As `take_body` does for a request without a body.
    ex.body.length = None;
    (ex, refused.or(method.then_some(405)))
}

/// A client that waits for ever and takes everything.
struct Patient;

impl Client for Patient {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim<'a>(&'a self, _: u16, _: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(ready(()))
    }
}
