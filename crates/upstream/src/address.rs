//! Where an upstream stands, as configurations write it: `host:port/uri`, `[::1]:port`, `unix:/path:/uri`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use foregate_net::Addr;

/// A parsed `host[:port][/uri]`, by the rules of nginx's `ngx_parse_url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The host as written; the path of a Unix socket.
    pub host: String,
    /// The port as written, or the scheme's. 0 for Unix sockets.
    pub port: u16,
    /// No port was written.
    pub no_port: bool,
    /// From the first `/` or `?` on; behind the second `:` of a Unix socket's.
    pub uri: String,
    /// The address, unless the host is a name.
    pub fixed: Option<Addr>,
}

/// A Unix socket's path fits into `sockaddr_un` with its NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

impl Address {
    /// Reads what stands behind the scheme. `with_uri` says whether a URI may follow.
    ///
    /// # Errors
    /// nginx's words: `no host`, `invalid host`, `invalid port`, `no path in the unix domain socket`.
    pub fn parse(text: &str, default_port: u16, with_uri: bool) -> Result<Self, &'static str> {
        if text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("unix:")) {
            return Self::unix(&text[5..], with_uri);
        }
        let uri_at = text.find(['/', '?']).unwrap_or(text.len());
        let (authority, uri) = text.split_at(uri_at);
        if !uri.is_empty() && !with_uri {
            return Err("invalid host");
        }
        if let Some(inside) = authority.strip_prefix('[') {
            return Self::v6(inside, uri, default_port);
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let number = port.map(port_number).transpose()?;
        if host.is_empty() {
            return Err("no host");
        }
        let fixed = host.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        Ok(Self::new(host.to_owned(), number, default_port, uri, fixed))
    }

    fn v6(inside: &str, uri: &str, default_port: u16) -> Result<Self, &'static str> {
        let (host, rest) = inside.split_once(']').ok_or("invalid host")?;
        let number = match rest.strip_prefix(':') {
            Some(port) => Some(port_number(port)?),
            None if rest.is_empty() => None,
            None => return Err("invalid host"),
        };
        let ip = host.parse::<Ipv6Addr>().map_err(|_| "invalid IPv6 address")?;
        Ok(Self::new(format!("[{host}]"), number, default_port, uri, Some(IpAddr::V6(ip))))
    }

    fn unix(text: &str, with_uri: bool) -> Result<Self, &'static str> {
        let (path, uri) = match text.split_once(':') {
            Some((path, uri)) if with_uri => (path, uri),
            _ => (text, ""),
        };
        if path.is_empty() {
            return Err("no path in the unix domain socket");
        }
        if path.len() > UNIX_PATH_BYTES_MAX {
            return Err("too long path in the unix domain socket");
        }
        let fixed = Some(Addr::unix(path));
        Ok(Self { host: path.to_owned(), port: 0, no_port: true, uri: uri.to_owned(), fixed })
    }

    fn new(host: String, port: Option<u16>, default_port: u16, uri: &str, ip: Option<IpAddr>) -> Self {
        let number = port.unwrap_or(default_port);
        let fixed = ip.map(|ip| Addr::Ip(SocketAddr::new(ip, number)));
        Self { host, port: number, no_port: port.is_none(), uri: uri.to_owned(), fixed }
    }

    pub fn is_unix(&self) -> bool {
        self.fixed.as_ref().is_some_and(Addr::is_unix)
    }

    /// `$proxy_host`: the host, with the port where that is not the scheme's own; `localhost` for Unix sockets.
    pub fn host_header(&self, default_port: u16) -> String {
        if self.is_unix() {
            return "localhost".to_owned();
        }
        match self.no_port || self.port == default_port {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn port_number(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or("invalid port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_nginx_reads_them() {
        for (text, want) in [
            ("a", Ok(("a", 80, true, "", false))),
            ("a:81/x?y", Ok(("a", 81, false, "/x?y", false))),
            ("127.0.0.1?q:/", Ok(("127.0.0.1", 80, true, "?q:/", true))),
            ("[::1]:8080/", Ok(("[::1]", 8080, false, "/", true))),
            ("unix:/tmp/s:/x", Ok(("/tmp/s", 0, true, "/x", true))),
            ("unix:/tmp/s", Ok(("/tmp/s", 0, true, "", true))),
            ("unix::/x", Err("no path in the unix domain socket")),
            ("", Err("no host")),
            (":80", Err("no host")),
            ("a:", Err("invalid port")),
            ("a:0", Err("invalid port")),
            ("a:65536", Err("invalid port")),
            ("a:8x", Err("invalid port")),
        ] {
            let got = Address::parse(text, 80, true);
            let got = got
                .as_ref()
                .map(|it| (it.host.as_str(), it.port, it.no_port, it.uri.as_str(), it.fixed.is_some()));
            assert_eq!(got.map_err(|it| *it), want, "{text}");
        }
        assert_eq!(Address::parse("a/b", 80, false), Err("invalid host"));
    }

    #[test]
    fn the_host_header_names_a_port_only_where_it_is_not_the_schemes() {
        for (text, want) in
            [("a:80", "a"), ("a:81", "a:81"), ("[::1]:81", "[::1]:81"), ("unix:/s", "localhost")]
        {
            let address = Address::parse(text, 80, true).expect("because it is valid");
            assert_eq!(address.host_header(80), want);
        }
    }
}
