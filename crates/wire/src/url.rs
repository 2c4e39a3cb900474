//! Addresses of the web, as configurations and other servers name them.

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// An IPv6 address has no brackets.
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
        if host.is_empty() || !host.chars().all(sound) || !is_target(path) {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Url { tls, host: host.to_owned(), port, path })
    }

    /// Where a `Location` leads (RFC 9110, section 10.2.2): to a path of this server, or to an address. `None`: nowhere,
    /// or out of TLS.
    pub fn onward(&self, place: &str) -> Option<Url> {
        // A fragment is the reader's own.
        let place = place.split_once('#').map_or(place, |it| it.0);
        let next = match place.starts_with('/') && !place.starts_with("//") {
            true => Url { path: place.to_owned(), ..self.clone() },
            false => Url::parse(place)?,
        };
        (is_target(&next.path) && (next.tls || !self.tls)).then_some(next)
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

/// Nothing in it ends a request's target or is no part of one.
fn is_target(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(url: Option<Url>) -> Option<String> {
        url.map(|it| format!("{}{}", it.authority(), it.path))
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, want) in [
            ("https://a.test/dir", Some("a.test/dir")),
            ("http://127.0.0.1:14000", Some("127.0.0.1:14000/")),
            ("https://[::1]:9/x?y", Some("[::1]:9/x?y")),
            ("https://[::1]", Some("[::1]/")),
            ("https://a.test?x", Some("a.test/?x")),
            ("ftp://a.test/", None),
            ("https:///x", None),
            ("https://u@a/", None),
            ("https://a b/", None),
            ("https://a/#x", None),
            ("https://a/\r\n", None),
            ("https://a/\u{e4}", None),
        ] {
            assert_eq!(show(Url::parse(text)).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn redirects_stay_within_tls() {
        let from = Url::parse("https://a.test:8/x").unwrap();
        for (place, want) in [
            ("/dir", Some("a.test:8/dir")),
            ("/dir#part", Some("a.test:8/dir")),
            ("https://b.test/dir", Some("b.test/dir")),
            ("https://b.test/dir#part", Some("b.test/dir")),
            ("http://a.test/dir", None),
            ("//b.test/dir", None),
            ("/a b", None),
            ("dir", None),
        ] {
            assert_eq!(show(from.onward(place)).as_deref(), want, "{place}");
        }
    }
}
