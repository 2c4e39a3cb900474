//! What was answered, as far as known.

use foregate_conf::value as values;
use foregate_core::{Exchange, Level, Version, log, push_number};

/// The status written with at least three digits; 009 for an answer of HTTP/0.9, 000 before there is any.
pub(super) fn status(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let status = match ex.sent.status {
        0 if ex.version == Version::H09 => 9,
        status => status,
    };
    for pad in [100, 10] {
        if status < pad {
            out.push(b'0');
        }
    }
    push_number(status.into(), out);
    true
}

pub(super) fn bytes(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.sent.bytes, out);
    true
}

/// What was sent behind the head, framing included: as Apache's `%B` counts it.
pub(super) fn body_bytes(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.sent.bytes.saturating_sub(ex.sent.head_bytes), out);
    true
}

pub(super) fn completion(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.sent.complete {
        out.extend_from_slice(b"OK");
    }
    true
}

pub(super) fn content_length(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if let Some(value) = ex.sent.fields.get(b"content-length") {
        out.extend_from_slice(value);
        return true;
    }
    let Some(length) = ex.sent.content_length else { return false };
    push_number(length, out);
    true
}

pub(super) fn connection(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(match (ex.sent.status, ex.keepalive) {
        (101, _) => b"upgrade",
        (_, true) => b"keep-alive",
        (_, false) => b"close",
    });
    true
}

pub(super) fn transfer_encoding(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    if ex.sent.chunked {
        out.extend_from_slice(b"chunked");
    }
    ex.sent.chunked
}

/// Bytes a second; 0 is no limit.
pub(super) fn limit_rate(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(ex.limit_rate.unwrap_or(0), out);
    true
}

pub(super) fn set_limit_rate(ex: &mut Exchange, value: &[u8]) {
    match std::str::from_utf8(value).ok().and_then(values::size) {
        Some(rate) => ex.limit_rate = Some(rate),
        None => {
            log!(ex, Level::Error, "invalid $limit_rate \"{}\"", String::from_utf8_lossy(value));
        }
    }
}
