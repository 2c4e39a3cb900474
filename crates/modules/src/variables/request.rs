//! What the client asked for.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;

use foregate_core::base64::{self, Alphabet};
use foregate_core::{Exchange, Method, Notes, Version, push_hex, push_number, push_seconds};
use foregate_wire::Name;

pub(super) fn content_length(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if let Some(value) = ex.field(b"content-length") {
        out.extend_from_slice(value);
        return true;
    }
    let Some(length) = ex.body.length else { return false };
    push_number(length, out);
    true
}

pub(super) fn content_type(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    super::families::push_joined(&ex.fields, Name::ContentType, b", ", out)
}

/// From the request line, the `Host` field or the server's name, in this order.
pub(super) fn host(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    match &*ex.host {
        b"" => server_name(ex, out),
        host => {
            out.extend_from_slice(host);
            true
        }
    }
}

pub(super) fn request_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    super::connection::push_port(ex.host_port.unwrap_or(0), out)
}

pub(super) fn is_request_port(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.host_port.is_some_and(|port| port > 0) {
        out.push(b':');
    }
    true
}

pub(super) fn request_uri(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.target);
    true
}

pub(super) fn uri(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.uri);
    true
}

pub(super) fn line(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.line);
    !ex.line.is_empty()
}

pub(super) fn args(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.args);
    !ex.args.is_empty()
}

/// `set $args …`: what goes upstream is made anew from path and query string.
pub(super) fn set_args(ex: &mut Exchange, value: &[u8]) {
    ex.args = value.into();
    ex.target_holds = false;
}

pub(super) fn is_args(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if !ex.args.is_empty() {
        out.push(b'?');
    }
    true
}

pub(super) fn method(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.method_name);
    !ex.method_name.is_empty()
}

pub(super) fn protocol(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(ex.version.name().as_bytes());
    true
}

pub(super) fn server_name(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(ex.cycle.server_name(ex.server).as_bytes());
    true
}

/// The user that the client claims to be (RFC 7617), whether or not anybody checked the password.
pub(super) fn remote_user(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let name = if ex.method == Method::Connect { Name::ProxyAuthorization } else { Name::Authorization };
    let Some((scheme, rest)) = ex.fields.get(name).and_then(|it| it.split_at_checked(b"Basic ".len())) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return false;
    }
    let Some(plain) = base64::decode(rest.trim_ascii_start(), Alphabet::Standard) else { return false };
    match plain.iter().position(|b| *b == b':') {
        None | Some(0) => false,
        Some(end) => {
            out.extend_from_slice(&plain[..end]);
            true
        }
    }
}

/// Bytes of the request so far: line, fields and body.
pub(super) fn length(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.head_bytes + ex.body.read_bytes, out);
    true
}

/// Seconds since the first byte of the request.
pub(super) fn time(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let ms = foregate_net::clock::now().saturating_duration_since(ex.started).as_millis();
    push_seconds(ms as u64, out);
    true
}

/// 16 random bytes, the same for the whole exchange and those made on its behalf.
struct Id([u8; 16]);

pub(super) fn id(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let id = match &ex.kin {
        Some(kin) => known(&mut kin.notes.borrow_mut()),
        None => known(&mut ex.notes),
    };
    push_hex(&id, out);
    true
}

fn known(notes: &mut Notes) -> [u8; 16] {
    if let Some(Id(id)) = notes.get() {
        return *id;
    }
    let id = random_id();
    notes.put(Id(id));
    id
}

/// A counter under a keyed hash: unpredictable outside, cheap inside, as nginx makes them.
fn random_id() -> [u8; 16] {
    use std::cell::Cell;
    thread_local! {
        static KEY: RandomState = RandomState::new();
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let mut id = [0; 16];
    for half in id.chunks_mut(8) {
        let count = COUNTER.get().wrapping_add(1);
        COUNTER.set(count);
        half.copy_from_slice(&KEY.with(|key| key.hash_one(count)).to_ne_bytes());
    }
    id
}

pub(super) fn body(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.body.file.is_some() {
        return false;
    }
    let Some(bytes) = &ex.body.memory else { return false };
    out.extend_from_slice(bytes);
    true
}

pub(super) fn body_file(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(name) = &ex.body.file_name else { return false };
    out.extend_from_slice(name.as_os_str().as_bytes());
    true
}

/// `h2` over TLS, `h2c` without; empty otherwise.
pub(super) fn http2(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.version == Version::H2 {
        out.extend_from_slice(if ex.conn.tls.is_some() { b"h2" } else { b"h2c" });
    }
    true
}

pub(super) fn http3(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.version == Version::H3 {
        out.extend_from_slice(b"h3");
    }
    true
}
