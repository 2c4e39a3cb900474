//! `listen`: the addresses of a server and what their sockets are like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use foregate_conf::{Error, Node, Span, Word, value};
use foregate_net::{Addr, names};

/// The widest range that one `listen` may name.
const PORTS_MAX: usize = 65535;

/// One address of one server.
#[derive(Clone, Debug)]
pub struct Listen {
    pub addr: Addr,
    pub default_server: bool,
    pub ssl: bool,
    pub http2: bool,
    pub quic: bool,
    pub proxy_protocol: bool,
    pub socket: Socket,
    pub span: Span,
}

/// What belongs to the socket and not to the server: it may be said once for each address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    pub bind: bool,
    pub backlog: Option<i32>,
    pub rcvbuf: Option<u64>,
    pub sndbuf: Option<u64>,
    pub deferred: bool,
    pub fastopen: Option<i32>,
    pub ipv6only: Option<bool>,
    pub reuseport: bool,
    pub keepalive: Option<Keepalive>,
    /// Whether any of these was written.
    pub set: bool,
}

/// `so_keepalive=on|off|idle:interval:count`; unset parts are the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    pub on: bool,
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
}

impl Listen {
    /// What a server without `listen` gets.
    pub fn default_for(span: Span, privileged: bool) -> Self {
        let port = if privileged { 80 } else { 8000 };
        Self::on(Addr::Ip((Ipv4Addr::UNSPECIFIED, port).into()), span)
    }

    fn on(addr: Addr, span: Span) -> Self {
        Self {
            addr,
            default_server: false,
            ssl: false,
            http2: false,
            quic: false,
            proxy_protocol: false,
            socket: Socket::default(),
            span,
        }
    }

    /// Whether it takes connections to every address of its family.
    pub fn is_wildcard(&self) -> bool {
        self.addr.ip().is_some_and(|it| it.ip().is_unspecified())
    }

    /// Reads one directive: several, where it names a range of ports or a host with several addresses.
    pub fn read(node: &Node) -> Result<Vec<Self>, Error> {
        let Some((address, parameters)) = node.args.split_first() else { return Err(Error::arity(node)) };
        let mut model = Self::on(Addr::Ip((Ipv4Addr::UNSPECIFIED, 0).into()), node.span);
        for word in parameters {
            model.parameter(word)?;
        }
        let addrs = addresses(address)?;
        Ok(addrs.into_iter().map(|addr| Self { addr, ..model.clone() }).collect())
    }

    fn parameter(&mut self, word: &Word) -> Result<(), Error> {
        let text = word.text.as_str();
        match text {
            "default_server" | "default" => self.default_server = true,
            "ssl" => self.ssl = true,
            "http2" => self.http2 = true,
            "quic" => self.quic = true,
            "proxy_protocol" => self.proxy_protocol = true,
            "multipath" => self.socket.bind = true,
            "spdy" => return Err(invalid(word)),
            _ => return self.socket.parameter(word),
        }
        Ok(())
    }
}

impl Socket {
    fn parameter(&mut self, word: &Word) -> Result<(), Error> {
        let (name, text) = word.text.split_once('=').unwrap_or((&word.text, ""));
        let bad = |what: &str| Error::at(word.span, format!("invalid {what} \"{text}\""));
        self.set = true;
        self.bind = true;
        match name {
            "bind" => (),
            "reuseport" => self.reuseport = true,
            "deferred" => self.deferred = true,
            "backlog" => {
                let n = text.parse().ok().filter(|n| *n > 0);
                self.backlog = Some(n.ok_or_else(|| bad("backlog"))?);
            }
            "rcvbuf" => self.rcvbuf = Some(value::size(text).ok_or_else(|| bad("rcvbuf"))?),
            "sndbuf" => self.sndbuf = Some(value::size(text).ok_or_else(|| bad("sndbuf"))?),
            "fastopen" => self.fastopen = Some(text.parse().map_err(|_| bad("fastopen"))?),
            "ipv6only" => self.ipv6only = Some(value::flag(text).ok_or_else(|| bad("ipv6only flags"))?),
            "so_keepalive" => {
                self.keepalive = Some(keepalive(text).ok_or_else(|| bad("so_keepalive value:"))?)
            }
            "setfib" | "accept_filter" => {
                return Err(Error::at(
                    word.span,
                    format!("{name} is not supported on this platform, ignored"),
                ));
            }
            _ => return Err(invalid(word)),
        }
        Ok(())
    }
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}

fn keepalive(text: &str) -> Option<Keepalive> {
    match text {
        "on" => return Some(Keepalive { on: true, ..Keepalive::default() }),
        "off" => return Some(Keepalive::default()),
        _ => (),
    }
    let mut parts = text.split(':');
    let mut seconds = || match parts.next() {
        None | Some("") => Some(None),
        Some(text) => value::time_s(text).map(|s| Some(Duration::from_secs(s))),
    };
    let (idle, interval) = (seconds()?, seconds()?);
    let count = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(text.parse().ok()?),
    };
    (idle.is_some() || interval.is_some() || count.is_some()).then_some(Keepalive {
        on: true,
        idle,
        interval,
        count,
    })
}

/// Every address that the first argument names.
fn addresses(word: &Word) -> Result<Vec<Addr>, Error> {
    let text = word.text.as_str();
    let fail = |what: &str| Error::at(word.span, format!("{what} in \"{text}\" of the \"listen\" directive"));
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(fail("no path in the unix domain socket")),
            _ => Ok(vec![Addr::unix(path)]),
        };
    }
    let (host, ports) = split_port(text).ok_or_else(|| fail("invalid IPv6 address"))?;
    let ports = match ports {
        Some(ports) => port_range(ports).ok_or_else(|| fail("invalid port"))?,
        None => (80, 80),
    };
    let hosts = match host {
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        "" => return Err(fail("no host")),
        _ => resolve(host).ok_or_else(|| fail("host not found"))?,
    };
    let each = hosts.iter().flat_map(|host| (ports.0..=ports.1).map(|port| SocketAddr::new(*host, port)));
    Ok(each.map(Addr::Ip).take(PORTS_MAX).collect())
}

/// `host`, `host:port`, `port`, `[v6]`, `[v6]:port` into host and port.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let rest = &text[end + 1..];
        return match rest.strip_prefix(':') {
            Some(port) => Some((&text[..=end], Some(port))),
            None if rest.is_empty() => Some((text, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && !text.is_empty() => {
            Some(("*", Some(text)))
        }
        None => Some((text, None)),
    }
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|it| *it > 0);
    match text.split_once('-') {
        Some((first, last)) => Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last),
        None => port(text).map(|it| (it, it)),
    }
}

fn resolve(host: &str) -> Option<Vec<IpAddr>> {
    if let Some(v6) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().ok().map(|it| vec![it.into()]);
    }
    if let Ok(v4) = host.parse::<Ipv4Addr>() {
        return Some(vec![v4.into()]);
    }
    let found: Vec<_> = names::look_up(host, 0).ok()?.iter().map(|it| it.ip()).collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::Listen;

    fn read(text: &str) -> Vec<String> {
        let tree = foregate_conf::parse(&format!("listen {text};")).unwrap();
        match Listen::read(&tree.nodes[0]) {
            Ok(all) => all.iter().map(|it| it.addr.to_string()).collect(),
            Err(error) => vec![error.what],
        }
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, want) in [
            ("80", "0.0.0.0:80"),
            ("*:81 default_server", "0.0.0.0:81"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("[::1]:8080 ipv6only=on", "[::1]:8080"),
            ("[::]", "[::]:80"),
            ("unix:/tmp/x.sock", "unix:/tmp/x.sock"),
            ("127.0.0.1:x", "invalid port in \"127.0.0.1:x\" of the \"listen\" directive"),
            ("80 so_keepalive=:::", "invalid so_keepalive value: \":::\""),
            ("80 fast", "invalid parameter \"fast\""),
        ] {
            assert_eq!(read(text), [want], "{text}");
        }
        assert_eq!(read("127.0.0.1:80-82").len(), 3);
    }
}
