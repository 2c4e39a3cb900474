//! Who asked, and over which connection.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use foregate_core::{Exchange, Level, Proxied, log, push_number, push_seconds};
use foregate_net::Addr;

pub(super) fn remote_addr(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_addr(&ex.remote, out);
    true
}

pub(super) fn remote_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_port(ex.remote.port(), out)
}

/// 4 or 16 bytes, the cheapest key there is for limits; the text for a Unix socket.
pub(super) fn binary_remote_addr(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    match ex.remote.ip().map(|it| it.ip()) {
        Some(std::net::IpAddr::V4(ip)) => out.extend(ip.octets()),
        Some(std::net::IpAddr::V6(ip)) => out.extend(ip.octets()),
        None => push_addr(&ex.remote, out),
    }
    true
}

pub(super) fn server_addr(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_addr(&ex.conn.local, out);
    true
}

pub(super) fn server_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_port(ex.conn.local.port(), out)
}

pub(super) fn scheme(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(if ex.conn.tls.is_some() { b"https" } else { b"http" });
    true
}

pub(super) fn https(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.conn.tls.is_some() {
        out.extend_from_slice(b"on");
    }
    true
}

pub(super) fn number(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.conn.number, out);
    true
}

pub(super) fn requests(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.conn.requests.get(), out);
    true
}

pub(super) fn time(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let ms = foregate_net::clock::now().saturating_duration_since(ex.conn.started).as_millis();
    push_seconds(ms as u64, out);
    true
}

/// `p` for a request that was sent before the answer to the one before it; that is not told apart here.
pub(super) fn pipe(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.push(b'.');
    true
}

pub(super) fn proxied_addr(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    proxied(ex, |it| push_addr(&it.source, out))
}

pub(super) fn proxied_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    proxied(ex, |it| _ = push_port(it.source.port(), out))
}

pub(super) fn proxied_server_addr(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    proxied(ex, |it| push_addr(&it.destination, out))
}

pub(super) fn proxied_server_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    proxied(ex, |it| _ = push_port(it.destination.port(), out))
}

fn proxied(ex: &Exchange, push: impl FnOnce(&Proxied)) -> bool {
    let Some(facts) = &ex.conn.proxied else { return false };
    push(facts);
    true
}

/// Types of TLVs by name (PROXY protocol, 2.2).
const TLVS: [(&str, u8); 5] =
    [("alpn", 0x01), ("authority", 0x02), ("unique_id", 0x05), ("ssl", 0x20), ("netns", 0x30)];
/// Types inside of `PP2_TYPE_SSL` (2.2.6).
const SSL_TLVS: [(&str, u8); 5] =
    [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];
const PP2_TYPE_SSL: u8 = 0x20;
/// `client` and `verify`, in front of the TLVs inside of `PP2_TYPE_SSL`.
const SSL_HEAD_BYTES: usize = 5;

/// `$proxy_protocol_tlv_…`: by name, by number (`0xee`), and with `ssl_` inside of the TLS facts.
pub(super) fn proxied_tlv(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(facts) = &ex.conn.proxied else { return false };
    let of_type = |kind: u8| facts.tlvs.iter().find(|it| it.0 == kind).map(|it| &*it.1);
    let Some(inner) = name.strip_prefix("ssl_") else {
        let Some(kind) = tlv_type(ex, name, name, &TLVS) else { return false };
        return push_found(of_type(kind), out);
    };
    let Some(ssl) = of_type(PP2_TYPE_SSL) else { return false };
    let Some((head, tlvs)) = ssl.split_at_checked(SSL_HEAD_BYTES) else { return false };
    if inner == "verify" {
        let verify = head.last_chunk().map_or(0, |it| u32::from_be_bytes(*it));
        push_number(verify.into(), out);
        return true;
    }
    let Some(kind) = tlv_type(ex, name, inner, &SSL_TLVS) else { return false };
    push_found(inner_tlv(ex, tlvs, kind), out)
}

fn tlv_type(ex: &Exchange, whole: &str, name: &str, names: &[(&str, u8)]) -> Option<u8> {
    if let Some(digits) = name.strip_prefix("0x") {
        let kind = u8::from_str_radix(digits, 16).ok();
        if kind.is_none() {
            log!(ex, Level::Error, "invalid PROXY protocol TLV \"{whole}\"");
        }
        return kind;
    }
    let kind = names.iter().find(|it| it.0 == name).map(|it| it.1);
    if kind.is_none() {
        log!(ex, Level::Error, "unknown PROXY protocol TLV \"{whole}\"");
    }
    kind
}

/// One type, two bytes of length, the value; one after the other.
fn inner_tlv<'a>(ex: &Exchange, mut tlvs: &'a [u8], kind: u8) -> Option<&'a [u8]> {
    while !tlvs.is_empty() {
        let split = tlvs.split_first_chunk::<3>().and_then(|([it, high, low], rest)| {
            Some((*it, rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?))
        });
        let Some((found, (value, rest))) = split else {
            log!(ex, Level::Error, "broken PROXY protocol TLV");
            return None;
        };
        if found == kind {
            return Some(value);
        }
        tlvs = rest;
    }
    None
}

fn push_found(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

/// Without the port; `unix:` and the path for Unix sockets.
fn push_addr(addr: &Addr, out: &mut Vec<u8>) {
    match addr {
        Addr::Ip(addr) => match addr.ip() {
            std::net::IpAddr::V4(ip) => push_v4(ip.octets(), out),
            std::net::IpAddr::V6(ip) => _ = write!(out, "{ip}"),
        },
        Addr::Unix(path) => {
            out.extend_from_slice(b"unix:");
            out.extend_from_slice(path.as_os_str().as_bytes());
        }
    }
}

fn push_v4(octets: [u8; 4], out: &mut Vec<u8>) {
    for (n, octet) in octets.into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        push_number(octet.into(), out);
    }
}

/// A port; nothing for 0, which still is a value.
pub(super) fn push_port(port: u16, out: &mut Vec<u8>) -> bool {
    if port > 0 {
        push_number(port.into(), out);
    }
    true
}
