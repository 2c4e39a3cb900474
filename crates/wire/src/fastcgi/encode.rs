//! What a web server sends: the beginning of a request, its parameters and its body, record by record.

use super::{HEADER_BYTES, REQUEST, VERSION, kind};

/// `FCGI_RESPONDER`.
const RESPONDER: u8 = 1;
/// The peer leaves the connection open for another request.
const KEEP_CONN: u8 = 1;

/// The most content of one record; a multiple of 8, so that full ones need no padding.
const CONTENT_BYTES_MAX: usize = 65_528;

/// The most of a body in one record, as nginx sends it: small enough for peers to take it at once.
pub const STDIN_BYTES_MAX: usize = 32 << 10;

/// The record that ends a body.
pub const END_OF_STDIN: [u8; HEADER_BYTES] = header(kind::STDIN, 0, 0);

const fn header(kind: u8, length: u16, padding: u8) -> [u8; HEADER_BYTES] {
    let [high, low] = length.to_be_bytes();
    [VERSION, kind, 0, REQUEST, high, low, padding, 0]
}

/// Begins a request; `keep` says that the connection is for more than one.
pub fn begin(keep: bool, out: &mut Vec<u8>) {
    const BODY_BYTES: u16 = 8;
    let flags = if keep { KEEP_CONN } else { 0 };
    out.extend_from_slice(&header(kind::BEGIN_REQUEST, BODY_BYTES, 0));
    out.extend_from_slice(&[0, RESPONDER, flags, 0, 0, 0, 0, 0]);
}

/// Appends one parameter to the stream of parameters, which [`params`] makes records of.
pub fn param(name: &[u8], value: &[u8], stream: &mut Vec<u8>) {
    length(name.len(), stream);
    length(value.len(), stream);
    stream.extend_from_slice(name);
    stream.extend_from_slice(value);
}

/// One byte up to 127, four beyond (section 3.4).
fn length(length: usize, out: &mut Vec<u8>) {
    const LONG: u32 = 1 << 31;
    match u8::try_from(length) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => {
            let length = u32::try_from(length).unwrap_or(u32::MAX) | LONG;
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Appends all parameters as records, and the one that ends them.
pub fn params(stream: &[u8], out: &mut Vec<u8>) {
    for content in stream.chunks(CONTENT_BYTES_MAX) {
        record(kind::PARAMS, content, out);
    }
    out.extend_from_slice(&header(kind::PARAMS, 0, 0));
}

/// Appends a piece of a body as records.
pub fn stdin(piece: &[u8], out: &mut Vec<u8>) {
    for content in piece.chunks(STDIN_BYTES_MAX) {
        record(kind::STDIN, content, out);
    }
}

/// What stands before `length` bytes of a body, at most [`STDIN_BYTES_MAX`]; nothing need stand behind them.
pub fn stdin_header(length: usize) -> [u8; HEADER_BYTES] {
    assert!(length <= STDIN_BYTES_MAX, "a record holds no more");
    header(kind::STDIN, length as u16, 0)
}

/// A record, padded to a multiple of 8 bytes as the specification recommends.
fn record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    const ZEROS: [u8; 8] = [0; 8];
    let padding = content.len().next_multiple_of(8) - content.len();
    out.extend_from_slice(&header(kind, content.len() as u16, padding as u8));
    out.extend_from_slice(content);
    out.extend_from_slice(&ZEROS[..padding]);
}
