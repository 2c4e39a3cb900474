//! Reading a PROXY protocol header off the start of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    IPV4_BYTES, IPV6_BYTES, SIGNATURE, TCP_OVER_IPV4, TCP_OVER_IPV6, V1_BYTES_MAX, V2_BYTES_MAX,
    V2_FIXED_BYTES, V2_PROXY,
};

/// What the balancer says about the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The client and the address it connected to; `None` when the balancer does not say (a check of its own,
    /// UNKNOWN, a family other than TCP over IP): the connection's own addresses hold then.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// What follows the addresses in version 2, to be looked up with `TlvName::value`.
    pub tlvs: Vec<u8>,
}

/// The peer does not speak the protocol; the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The line or what came instead, without its end.
    Broken(Vec<u8>),
    UnknownVersion(u8),
    /// More than `V2_BYTES_MAX`.
    TooLarge,
    /// The addresses do not fit into the announced length.
    Truncated,
}

impl ReadError {
    /// The words of nginx's error log (level error).
    pub fn text(&self) -> Vec<u8> {
        match self {
            ReadError::Broken(line) => [b"broken header: \"", line.as_slice(), b"\""].concat(),
            ReadError::UnknownVersion(version) => format!("unknown PROXY protocol version: {version}").into(),
            ReadError::TooLarge => b"header is too large".to_vec(),
            ReadError::Truncated => b"header is truncated".to_vec(),
        }
    }
}

/// Reads a header off the start of `bytes`: its length and content, or `None` when more bytes are needed.
pub fn read(bytes: &[u8]) -> Result<Option<(usize, Header)>, ReadError> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] == SIGNATURE[..common] {
        return if bytes.len() < V2_FIXED_BYTES { Ok(None) } else { read_v2(bytes) };
    }
    read_v1(bytes)
}

fn read_v1(bytes: &[u8]) -> Result<Option<(usize, Header)>, ReadError> {
    const START: &[u8] = b"PROXY ";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(broken(bytes));
    }
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let over = window.len() == V1_BYTES_MAX || window.contains(&b'\n');
        return if over { Err(broken(bytes)) } else { Ok(None) };
    };
    let line = &bytes[START.len()..end];
    let addresses = if line.starts_with(b"UNKNOWN") {
        None
    } else {
        Some(parse_v1_addresses(line).ok_or_else(|| broken(bytes))?)
    };
    Ok(Some((end + 2, Header { addresses, tlvs: Vec::new() })))
}

/// `TCP4 1.2.3.4 5.6.7.8 1234 80`; exactly one blank between words.
fn parse_v1_addresses(line: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let family = words.next()?;
    if family != "TCP4" && family != "TCP6" {
        return None;
    }
    let (source, target): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (from, to) = (parse_port(words.next()?)?, parse_port(words.next()?)?);
    words.next().is_none().then_some((SocketAddr::new(source, from), SocketAddr::new(target, to)))
}

fn parse_port(text: &str) -> Option<u16> {
    // `parse` alone would take a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn broken(bytes: &[u8]) -> ReadError {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let end = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(window.len());
    ReadError::Broken(bytes[..end].to_vec())
}

/// ```text
/// signature (12)  version|command (1)  family|transport (1)  length (2)  addresses and ports  TLVs
/// ```
fn read_v2(bytes: &[u8]) -> Result<Option<(usize, Header)>, ReadError> {
    let (command, family) = (bytes[12], bytes[13]);
    if command >> 4 != 2 {
        return Err(ReadError::UnknownVersion(command >> 4));
    }
    let end = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if end > V2_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    let Some(body) = bytes.get(V2_FIXED_BYTES..end) else { return Ok(None) };
    let used = match family {
        TCP_OVER_IPV4 => IPV4_BYTES,
        TCP_OVER_IPV6 => IPV6_BYTES,
        _ => return Ok(Some((end, Header::default()))),
    };
    if command != V2_PROXY {
        return Ok(Some((end, Header::default())));
    }
    let (addresses, tlvs) = body.split_at_checked(used).ok_or(ReadError::Truncated)?;
    Ok(Some((end, Header { addresses: Some(parse_v2_addresses(addresses)), tlvs: tlvs.to_vec() })))
}

/// Both addresses, then both ports; the length tells the family.
fn parse_v2_addresses(bytes: &[u8]) -> (SocketAddr, SocketAddr) {
    let address_len = (bytes.len() - 4) / 2;
    let (source, rest) = bytes.split_at(address_len);
    let (target, ports) = rest.split_at(address_len);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    (SocketAddr::new(address(source), port(0)), SocketAddr::new(address(target), port(2)))
}

fn address(bytes: &[u8]) -> IpAddr {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(octets).into();
    }
    let octets: [u8; 16] = bytes.try_into().expect("because an address that is not IPv4 has 16 bytes here");
    Ipv6Addr::from(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(bytes: &[u8]) -> Result<Option<(SocketAddr, SocketAddr)>, ReadError> {
        for end in 0..bytes.len() {
            // Less of a good header asks for more; only a bad one may be refused early.
            if let Err(error) = read(&bytes[..end]) {
                assert!(read(bytes).is_err(), "{error:?} at {end}");
            }
        }
        read(bytes).map(|read| read.and_then(|(_, header)| header.addresses))
    }

    fn pair(source: &str, target: &str) -> (SocketAddr, SocketAddr) {
        let parse = |text: &str| text.parse().expect("because the test says so");
        (parse(source), parse(target))
    }

    #[test]
    fn version_1_lines() {
        assert_eq!(
            addresses(b"PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r\nGET"),
            Ok(Some(pair("1.2.3.4:1234", "5.6.7.8:80")))
        );
        assert_eq!(
            addresses(b"PROXY TCP6 ::1 2001:db8::2 1 65535\r\n"),
            Ok(Some(pair("[::1]:1", "[2001:db8::2]:65535")))
        );
        assert_eq!(addresses(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(read(b"PROXY UNKNOWN whatever\r\nrest"), Ok(Some((24, Header::default()))));
        assert_eq!(read(b"PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r"), Ok(None));
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            "GET / HTTP/1.1",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.400 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 ",
            "PROXY ",
        ] {
            let error = addresses(format!("{line}\r\n").as_bytes()).expect_err("because it is broken");
            assert_eq!(String::from_utf8_lossy(&error.text()), format!("broken header: \"{line}\""));
        }
        assert!(addresses(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n").is_err(), "a lone line feed");
        assert!(addresses(format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX)).as_bytes()).is_err());
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, body].concat()
    }

    #[test]
    fn version_2_headers() {
        let ipv4 = [1, 2, 3, 4, 5, 6, 7, 8, 0x04, 0xd2, 0, 80];
        assert_eq!(addresses(&v2(0x21, 0x11, &ipv4)), Ok(Some(pair("1.2.3.4:1234", "5.6.7.8:80"))));
        let mut ipv6 = [0; 36];
        (ipv6[15], ipv6[31], ipv6[33], ipv6[35]) = (1, 2, 3, 4);
        assert_eq!(addresses(&v2(0x21, 0x21, &ipv6)), Ok(Some(pair("[::1]:3", "[::2]:4"))));
        for (command, family) in [(0x20, 0x11), (0x21, 0x12), (0x21, 0x31), (0x21, 0x00), (0x2f, 0x11)] {
            assert_eq!(addresses(&v2(command, family, &ipv4)), Ok(None), "{command:x} {family:x}");
        }
    }

    #[test]
    fn version_2_is_checked() {
        assert_eq!(addresses(&v2(0x11, 0x11, &[0; 12])), Err(ReadError::UnknownVersion(1)));
        assert_eq!(addresses(&v2(0x21, 0x11, &[0; 11])), Err(ReadError::Truncated));
        assert_eq!(addresses(&v2(0x21, 0x11, &[0; V2_BYTES_MAX])), Err(ReadError::TooLarge));
        let header = v2(0x21, 0x11, &[&[0; 12][..], &[1, 0, 2, b'h', b'2']].concat());
        let (len, read) = read(&header).expect("because it is valid").expect("because it is complete");
        assert_eq!((len, read.tlvs.as_slice()), (header.len(), &[1, 0, 2, b'h', b'2'][..]));
    }
}
