//! Requests as tables write them: a line, header lines, a body; what every request has is filled in.

use std::net::SocketAddr;

use crate::server::Server;

/// A request built step by step, for tests that compute theirs.
#[derive(Clone, Debug)]
pub struct Request(String);

impl Request {
    /// `GET target`.
    pub fn get(target: &str) -> Request {
        Request(format!("GET {target}"))
    }

    /// Any method.
    pub fn new(method: &str, target: &str) -> Request {
        Request(format!("{method} {target}"))
    }

    /// Adds a header field.
    pub fn header(self, name: &str, value: &str) -> Request {
        Request(format!("{}\n{name}: {value}", self.0))
    }

    /// Ends the head with a body; its length is filled in.
    pub fn body(self, body: &str) -> Request {
        Request(format!("{}\n\n{body}", self.0))
    }

    /// The bytes of the request.
    pub fn bytes(&self) -> Vec<u8> {
        Written::parse(&self.0).bytes
    }
}

/// A table's request, read.
///
/// `GET /path`, then header lines, then (after an empty line) a body, all ended by `\n`. Filled in unless written:
/// `HTTP/1.1`, `Host: localhost` (not for 1.0), `Connection: close`, and `Content-Length` when there is a body. A
/// number before the method is the port to ask: `{port:1} GET /`. `\r` may be written where it matters.
pub(crate) struct Written {
    port: Option<u16>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_head: bool,
}

impl Written {
    pub(crate) fn parse(text: &str) -> Written {
        let (port, text) = match text.split_once(' ') {
            Some((port, rest)) if port.parse::<u16>().is_ok() => (port.parse().ok(), rest),
            _ => (None, text),
        };
        let (head, body) = match text.split_once("\n\n") {
            Some((head, body)) => (head, Some(body)),
            None => (text, None),
        };
        let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
        let has = |name: &str| fields.lines().any(|l| starts_with_ignoring_case(l, name));
        let mut out = line.to_owned();
        if !line.contains(" HTTP/") {
            out.push_str(" HTTP/1.1");
        }
        let old = out.ends_with("HTTP/1.0");
        out.push_str("\r\n");
        if !old && !has("Host:") {
            out.push_str("Host: localhost\r\n");
        }
        for field in fields.lines() {
            out.push_str(field);
            out.push_str("\r\n");
        }
        if !has("Connection:") {
            out.push_str("Connection: close\r\n");
        }
        if let (Some(body), false) = (body, has("Content-Length:") || has("Transfer-Encoding:")) {
            out.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        out.push_str("\r\n");
        out.push_str(body.unwrap_or(""));
        Written { port, is_head: line.starts_with("HEAD "), bytes: out.into_bytes() }
    }

    pub(crate) fn address(&self, server: &Server) -> SocketAddr {
        match self.port {
            Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            None => server.address(0),
        }
    }
}

fn starts_with_ignoring_case(line: &str, name: &str) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_request_has_is_filled_in() {
        let text =
            |written: &str| String::from_utf8(Written::parse(written).bytes).expect("because it is text");
        assert_eq!(text("GET /a"), "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(text("81 GET / HTTP/1.0"), "GET / HTTP/1.0\r\nConnection: close\r\n\r\n");
        assert_eq!(
            text("POST /\nHost: x\nConnection: keep-alive\n\nab"),
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab"
        );
    }
}
