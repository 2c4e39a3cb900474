//! Reads a ClientHello without answering it: what decides on the certificate, and all that `ssl_preread` looks at.

/// The most a ClientHello may have (bytes): as much as rustls takes.
const HELLO_BYTES_MAX: usize = 0xffff;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_BYTES_MAX: usize = 1 << 14;

/// What a client offers (RFC 8446 section 4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host it wants, in lower case and without a final dot.
    pub server_name: Option<Box<str>>,
    /// ALPN protocols, its favourite first.
    pub alpn: Vec<Box<[u8]>>,
    /// Versions: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub versions: Vec<u16>,
    pub ciphers: Vec<u16>,
    pub curves: Vec<u16>,
    pub signature_schemes: Vec<u16>,
    /// The numbers of all extensions, in the order in which they came.
    pub extensions: Vec<u16>,
}

/// What the first bytes of a connection turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// More bytes are needed.
    Incomplete,
    Hello(Box<ClientHello>),
    /// Not TLS: most likely somebody speaks plain HTTP.
    NotTls,
    /// TLS, but not a valid ClientHello.
    Malformed,
}

/// Looks at the start of a connection.
pub fn peek(bytes: &[u8]) -> Peeked {
    match bytes.first() {
        None => return Peeked::Incomplete,
        Some(&HANDSHAKE_RECORD) => {}
        // nginx takes a set high bit for SSL 2.0, which no client speaks any more.
        Some(first) if first & 0x80 != 0 => return Peeked::Malformed,
        Some(_) => return Peeked::NotTls,
    }
    let message = match join_records(bytes) {
        Joined::Incomplete => return Peeked::Incomplete,
        Joined::Malformed => return Peeked::Malformed,
        Joined::Whole(message) => message,
    };
    match parse(&message) {
        Some(hello) => Peeked::Hello(Box::new(hello)),
        None => Peeked::Malformed,
    }
}

enum Joined {
    Incomplete,
    Malformed,
    /// The body of the ClientHello.
    Whole(Vec<u8>),
}

/// Puts the handshake message together from the records it may be spread over.
fn join_records(bytes: &[u8]) -> Joined {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let [kind, major, _, high, low, body @ ..] = rest else {
            let wrong = rest.first().is_some_and(|kind| *kind != HANDSHAKE_RECORD);
            return if wrong { Joined::Malformed } else { Joined::Incomplete };
        };
        let len = usize::from(*high) << 8 | usize::from(*low);
        if *kind != HANDSHAKE_RECORD || *major != 3 || len == 0 || len > RECORD_BYTES_MAX {
            return Joined::Malformed;
        }
        message.extend_from_slice(&body[..len.min(body.len())]);
        if let [kind, a, b, c, ..] = message[..] {
            let expected = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != CLIENT_HELLO || expected > HELLO_BYTES_MAX {
                return Joined::Malformed;
            }
            if message.len() >= 4 + expected {
                message.truncate(4 + expected);
                message.drain(..4);
                return Joined::Whole(message);
            }
        }
        if body.len() < len {
            return Joined::Incomplete;
        }
        rest = &body[len..];
    }
}

fn parse(message: &[u8]) -> Option<ClientHello> {
    let mut hello = ClientHello::default();
    let mut rest = message;
    let legacy_version = u16_from(&mut rest)?;
    take(&mut rest, 32)?;
    vector8(&mut rest)?;
    hello.ciphers = numbers(vector16(&mut rest)?)?;
    vector8(&mut rest)?;
    hello.versions = vec![legacy_version];
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = vector16(&mut rest)?;
    while !extensions.is_empty() {
        let kind = u16_from(&mut extensions)?;
        let body = vector16(&mut extensions)?;
        hello.extensions.push(kind);
        hello.read_extension(kind, body)?;
    }
    Some(hello)
}

impl ClientHello {
    fn read_extension(&mut self, kind: u16, mut body: &[u8]) -> Option<()> {
        match kind {
            0 => {
                let mut names = vector16(&mut body)?;
                let (name_type, rest) = names.split_first()?;
                names = rest;
                let name = vector16(&mut names)?;
                if *name_type == 0 {
                    let name = std::str::from_utf8(name).ok()?.trim_end_matches('.');
                    self.server_name = Some(name.to_ascii_lowercase().into_boxed_str());
                }
            }
            10 => self.curves = numbers(vector16(&mut body)?)?,
            13 => self.signature_schemes = numbers(vector16(&mut body)?)?,
            16 => {
                let mut list = vector16(&mut body)?;
                while !list.is_empty() {
                    self.alpn.push(vector8(&mut list)?.into());
                }
            }
            43 => self.versions = numbers(vector8(&mut body)?)?,
            _ => {}
        }
        Some(())
    }
}

fn take<'a>(from: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    from.split_off(..n)
}

fn u16_from(from: &mut &[u8]) -> Option<u16> {
    take(from, 2).map(|two| u16::from(two[0]) << 8 | u16::from(two[1]))
}

/// A vector with a length of one byte.
fn vector8<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take(from, 1)?[0];
    take(from, usize::from(len))
}

/// A vector with a length of two bytes.
fn vector16<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u16_from(from)?;
    take(from, usize::from(len))
}

fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let pairs = bytes.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|two| u16::from(two[0]) << 8 | u16::from(two[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;

    fn real_hello() -> Vec<u8> {
        let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("Some.Example.org").unwrap();
        let mut conn = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        conn.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_real_hello_is_read() {
        let bytes = real_hello();
        let Peeked::Hello(hello) = peek(&bytes) else { panic!("not understood") };
        assert_eq!(hello.server_name.as_deref(), Some("some.example.org"));
        assert_eq!(hello.alpn, [b"h2".as_slice().into(), b"http/1.1".as_slice().into()]);
        assert!(hello.versions.contains(&0x0303) && hello.versions.contains(&0x0304));
        assert!(hello.ciphers.contains(&0x1301) && hello.curves.contains(&0x001d));
        assert!(hello.signature_schemes.contains(&0x0403));
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Peeked::Incomplete, "cut at {end}");
        }
    }

    #[test]
    fn a_hello_spread_over_records_is_the_same() {
        let bytes = real_hello();
        let mut spread = Vec::new();
        for part in bytes[5..].chunks(7) {
            spread.extend_from_slice(&[22, 3, 1, 0, part.len() as u8]);
            spread.extend_from_slice(part);
        }
        assert_eq!(peek(&spread), peek(&bytes));
    }

    #[test]
    fn what_is_no_hello_is_told_apart() {
        assert_eq!(peek(b"GET / HTTP/1.1\r\n"), Peeked::NotTls);
        assert_eq!(peek(b"\x80\x2e\x01\x03\x01"), Peeked::Malformed);
        assert_eq!(peek(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Peeked::Malformed);
        assert_eq!(peek(&[22, 2, 1, 0, 4]), Peeked::Malformed);
        assert_eq!(peek(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3]), Peeked::Malformed);
        let mut bytes = real_hello();
        let lengths = bytes.len() - 20;
        for at in 9..lengths {
            let before = bytes[at];
            bytes[at] = before.wrapping_add(0x55);
            let _ = peek(&bytes);
            bytes[at] = before;
        }
    }
}
