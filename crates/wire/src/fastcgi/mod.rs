//! FastCGI: requests as records, a peer's records taken apart, and the head of a CGI answer.
//!
//! The FastCGI Specification 1.0 (<https://fastcgi-archives.github.io/FastCGI_Specification.html>), sections 3.3, 3.4
//! and 5; RFC 3875 for what an application answers. One request at a time goes over a connection, always number 1.

mod decode;
mod encode;
mod head;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Record, RecordError};
pub use encode::{END_OF_STDIN, STDIN_BYTES_MAX, begin, param, params, stdin, stdin_header};
pub use head::parse_head;

/// `FCGI_VERSION_1`.
const VERSION: u8 = 1;
/// The id of the one request that is on its way.
const REQUEST: u8 = 1;
/// Bytes of what stands before each record's content.
const HEADER_BYTES: usize = 8;

/// What a record is about (section 8).
mod kind {
    pub(super) const BEGIN_REQUEST: u8 = 1;
    pub(super) const END_REQUEST: u8 = 3;
    pub(super) const PARAMS: u8 = 4;
    pub(super) const STDIN: u8 = 5;
    pub(super) const STDOUT: u8 = 6;
    pub(super) const STDERR: u8 = 7;
}
