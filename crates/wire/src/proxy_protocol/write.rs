//! Writing a PROXY protocol header for an upstream.

use std::net::{IpAddr, SocketAddr};

use super::{
    IPV4_BYTES, IPV6_BYTES, SIGNATURE, TCP_OVER_IPV4, TCP_OVER_IPV6, TLV_ALPN, TLV_AUTHORITY, TLV_CRC32C,
    TLV_SSL, TLV_SSL_CIPHER, TLV_SSL_CN, TLV_SSL_KEY_ALG, TLV_SSL_SIG_ALG, TLV_SSL_VERSION, V2_LOCAL,
    V2_PROXY,
};

/// Bits that say what the client did: it spoke TLS, showed a certificate on this connection, or in this session.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONNECTION: u8 = 2;
const CLIENT_CERT_SESSION: u8 = 4;

/// Most bytes of one value, so that all together stay below `V2_BYTES_MAX`.
const TLV_BYTES_MAX: usize = 512;

/// What a version 2 header says about the client's TLS. Empty values are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    pub server_name: &'a [u8],
    pub alpn: &'a [u8],
    pub version: &'a [u8],
    /// Common name of the client's certificate.
    pub client_cn: &'a [u8],
    pub cipher: &'a [u8],
    /// Of our certificate: `SHA256`, `RSA2048`.
    pub signature_algorithm: &'a [u8],
    pub key_algorithm: &'a [u8],
    /// The client's certificate was verified: 0 when it is good. `None` without a certificate.
    pub verified: Option<u32>,
    /// The session was resumed: the certificate was shown on an earlier connection.
    pub resumed: bool,
}

/// Appends a version 1 line; without addresses (a Unix socket) it says UNKNOWN.
pub fn write_v1(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let Some((source, target)) = addresses else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { 4 } else { 6 };
    let (from, to) = (source.port(), target.port());
    out.extend_from_slice(
        format!("PROXY TCP{family} {} {} {from} {to}\r\n", source.ip(), target.ip()).as_bytes(),
    );
}

/// Appends a version 2 header for a TCP connection, ending with its checksum; without addresses it says LOCAL.
pub fn write_v2(addresses: Option<(SocketAddr, SocketAddr)>, tls: Option<&Tls<'_>>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    write_addresses(addresses, out);
    if let Some(tls) = tls {
        write_tlv(TLV_AUTHORITY, tls.server_name, out);
        write_tlv(TLV_ALPN, tls.alpn, out);
        write_tls(tls, out);
    }
    // The checksum covers the whole header, with zeros in its own place.
    write_tlv(TLV_CRC32C, &[0; 4], out);
    let len = (out.len() - start - super::V2_FIXED_BYTES) as u16;
    out[start + 14..start + 16].copy_from_slice(&len.to_be_bytes());
    let checksum = crc32c(&out[start..]).to_be_bytes();
    let at = out.len() - checksum.len();
    out[at..].copy_from_slice(&checksum);
}

/// Command, family, room for the length, addresses and ports. IPv4 on one side only is written as mapped IPv6;
/// mapped addresses on both sides are written as IPv4.
fn write_addresses(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let Some((source, target)) = addresses else {
        return out.extend_from_slice(&[V2_LOCAL, 0, 0, 0]);
    };
    match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[V2_PROXY, TCP_OVER_IPV4, 0, 0]);
            out.reserve(IPV4_BYTES);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        _ => {
            out.extend_from_slice(&[V2_PROXY, TCP_OVER_IPV6, 0, 0]);
            out.reserve(IPV6_BYTES);
            out.extend_from_slice(&as_ipv6(source.ip()));
            out.extend_from_slice(&as_ipv6(target.ip()));
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&target.port().to_be_bytes());
}

fn as_ipv6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The extension about TLS, with its own ones inside.
fn write_tls(tls: &Tls<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let client = match tls.verified {
        None => CLIENT_SSL,
        Some(_) if tls.resumed => CLIENT_SSL | CLIENT_CERT_SESSION,
        Some(_) => CLIENT_SSL | CLIENT_CERT_SESSION | CLIENT_CERT_CONNECTION,
    };
    out.extend_from_slice(&[TLV_SSL, 0, 0, client]);
    // Not verified is 1: anything but 0 means that no good certificate was shown.
    out.extend_from_slice(&tls.verified.unwrap_or(1).to_be_bytes());
    write_tlv(TLV_SSL_VERSION, tls.version, out);
    write_tlv(TLV_SSL_CN, tls.client_cn, out);
    write_tlv(TLV_SSL_CIPHER, tls.cipher, out);
    write_tlv(TLV_SSL_SIG_ALG, tls.signature_algorithm, out);
    write_tlv(TLV_SSL_KEY_ALG, tls.key_algorithm, out);
    let len = (out.len() - start - 3) as u16;
    out[start + 1..start + 3].copy_from_slice(&len.to_be_bytes());
}

/// An empty value is left out; one longer than `TLV_BYTES_MAX` is cut.
fn write_tlv(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    let value = &value[..value.len().min(TLV_BYTES_MAX)];
    out.push(kind);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), bit by bit: a header is short and comes once per connection.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8)
            .fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{TlvName, read};
    use super::*;

    fn pair(source: &str, target: &str) -> Option<(SocketAddr, SocketAddr)> {
        source.parse().ok().zip(target.parse().ok())
    }

    fn v1(addresses: Option<(SocketAddr, SocketAddr)>) -> String {
        let mut out = Vec::new();
        write_v1(addresses, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn version_1_is_written() {
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
        assert_eq!(v1(pair("1.2.3.4:5", "6.7.8.9:10")), "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n");
        assert_eq!(v1(pair("[::1]:5", "[2001:db8::2]:10")), "PROXY TCP6 ::1 2001:db8::2 5 10\r\n");
    }

    #[test]
    fn version_2_is_read_back() {
        for (addresses, seen) in [
            (pair("1.2.3.4:5", "6.7.8.9:10"), pair("1.2.3.4:5", "6.7.8.9:10")),
            (pair("[::1]:5", "[::2]:10"), pair("[::1]:5", "[::2]:10")),
            (pair("[::ffff:1.2.3.4]:5", "[::ffff:6.7.8.9]:10"), pair("1.2.3.4:5", "6.7.8.9:10")),
            (pair("[2001:db8::1]:5", "6.7.8.9:10"), pair("[2001:db8::1]:5", "[::ffff:6.7.8.9]:10")),
            (None, None),
        ] {
            let mut out = Vec::new();
            write_v2(addresses, None, &mut out);
            let (len, header) = read(&out).expect("because it is valid").expect("because it is complete");
            assert_eq!((len, header.addresses), (out.len(), seen));
        }
    }

    #[test]
    fn extensions_and_checksum_are_written() {
        let tls = Tls {
            server_name: b"a.b",
            version: b"TLSv1.3",
            client_cn: b"c",
            verified: Some(0),
            ..Tls::default()
        };
        let mut out = b"before".to_vec();
        write_v2(pair("1.2.3.4:5", "6.7.8.9:10"), Some(&tls), &mut out);
        let mut header = out.split_off(6);
        let (_, read) = read(&header).expect("because it is valid").expect("because it is complete");
        let get = |name| {
            let value = TlvName::parse(name).map(|name| name.value(&read.tlvs));
            value.and_then(Result::ok).flatten().map(|value| value.into_owned())
        };
        assert_eq!(get("authority").as_deref(), Some(&b"a.b"[..]));
        assert_eq!(get("ssl_version").as_deref(), Some(&b"TLSv1.3"[..]));
        assert_eq!(get("ssl_cn").as_deref(), Some(&b"c"[..]));
        assert_eq!(get("ssl_verify").as_deref(), Some(&b"0"[..]));
        assert_eq!(get("ssl").map(|ssl| ssl[0]), Some(7));
        assert_eq!((get("alpn"), get("ssl_cipher")), (None, None));
        let at = header.len() - 4;
        let checksum = header[at..].to_vec();
        header[at..].fill(0);
        assert_eq!(crc32c(&header).to_be_bytes(), checksum[..]);
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
