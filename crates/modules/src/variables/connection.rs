//! Who asked, and over which connection.


use foregate_core::{Exchange, Level, Pipelined, Proxied, log, push_addr, push_number, push_seconds};
use foregate_net::sys::TcpFacts;
use foregate_wire::proxy_protocol::TlvName;

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

/// What the kernel knows of the client's connection.
pub(super) fn tcp_fact(ex: &Exchange, out: &mut Vec<u8>, fact: fn(&TcpFacts) -> u32) -> bool {
    let Some(facts) = ex.client.tcp_facts() else { return false };
    push_number(u64::from(fact(&facts)), out);
    true
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
    let ms = foregate_net::clock::ms().saturating_sub(ex.conn.started_ms);
    push_seconds(ms, out);
    true
}

/// `p` for a request that was there before the answer to the one before it was sent.
pub(super) fn pipe(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.push(if ex.notes.get::<Pipelined>().is_some() { b'p' } else { b'.' });
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

/// `$proxy_protocol_tlv_…`: by name, by number (`0xee`), and with `ssl_` inside of the TLS facts.
pub(super) fn proxied_tlv(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(facts) = &ex.conn.proxied else { return false };
    let Some(which) = TlvName::parse(name) else {
        log!(ex, Level::Error, "unknown PROXY protocol TLV \"{name}\"");
        return false;
    };
    match which.value(&facts.tlvs) {
        Ok(Some(value)) => {
            out.extend_from_slice(&value);
            true
        }
        Ok(None) => false,
        Err(_) => {
            log!(ex, Level::Error, "broken PROXY protocol TLV");
            false
        }
    }
}

/// A port; nothing for 0, which still is a value.
pub(super) fn push_port(port: u16, out: &mut Vec<u8>) -> bool {
    if port > 0 {
        push_number(port.into(), out);
    }
    true
}
