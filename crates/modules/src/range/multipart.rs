//! `multipart/byteranges` (RFC 9110, section 14.6), in the form that nginx gives it.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use foregate_core::{Body, Part, Reply};
use foregate_wire::Buf;

/// Makes the body of several parts. Each begins with a line end, a boundary and its fields.
pub(super) fn put(reply: &mut Reply, parts: &[Range<u64>], length: u64) {
    // The body cannot know a number that it has not been told, so it cannot hold the boundary.
    let boundary = format!("{:020}", RandomState::new().hash_one(length));
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = reply.fields.get(b"Content-Type") {
        head.extend_from_slice(&[b"Content-Type: ", content_type, b"\r\n"].concat());
    }
    head.extend_from_slice(b"Content-Range: bytes ");
    let whole = std::mem::take(&mut reply.body);
    let mut total = 0;
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    for part in parts {
        let place = format!("{}-{}/{length}\r\n\r\n", part.start, part.end - 1);
        let head = [&*head, place.as_bytes()].concat();
        total += head.len() as u64 + (part.end - part.start);
        pieces.push(Part::Bytes(Buf::from_vec(head)));
        pieces.extend(super::slice(&whole, part));
    }
    let end = format!("\r\n--{boundary}--\r\n").into_bytes();
    total += end.len() as u64;
    pieces.push(Part::Bytes(Buf::from_vec(end)));
    // For HEAD there is no body to be cut, only its length.
    reply.body = if matches!(whole, Body::Empty) { Body::Empty } else { Body::Parts(pieces) };
    reply.length = Some(total);
    reply.fields.remove(b"Content-Range");
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    reply.fields.set(b"Content-Type", content_type.as_bytes());
}
