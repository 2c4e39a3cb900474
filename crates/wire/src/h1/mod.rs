//! HTTP/1.x and HTTP/0.9 messages: heads parsed in place, bodies in chunks (RFC 9112).

mod answer;
mod chunked;
mod error;
mod field;
mod line;
mod request;
mod response;
mod scan;

#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod response_tests;

pub use answer::{Answer, Collector, request};
pub use chunked::{
    CHUNK_EXTENSION_BYTES_MAX, ChunkError, ChunkedDecoder, LAST_CHUNK, Step, TRAILER_BYTES_MAX, chunk_header,
};
pub use error::{RequestError, ResponseError};
pub(crate) use request::ONCE;
pub use request::{HostSpan, RequestHead, RequestRules, parse_request};
pub use response::{Framing, ResponseHead, ResponseRules, parse_fields, parse_response};

/// Most fields a request may have when nothing else is configured (nginx `max_headers`).
pub const REQUEST_FIELDS_MAX: usize = 1000;

/// Most fields a response of an upstream may have; nginx limits only their bytes.
pub const RESPONSE_FIELDS_MAX: usize = 10_000;

/// The version of a message, ordered by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// A bare `GET /path` without fields.
    H09,
    H10,
    /// HTTP/1.1, or any later 1.x.
    #[default]
    H11,
    H2,
    H3,
}

impl Version {
    /// As `$server_protocol` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Version::H09 => "HTTP/0.9",
            Version::H10 => "HTTP/1.0",
            Version::H11 => "HTTP/1.1",
            Version::H2 => "HTTP/2.0",
            Version::H3 => "HTTP/3.0",
        }
    }
}

/// A Content-Length: digits only, at most 2^63-1, the largest file offset.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit).filter(|&length| length <= i64::MAX as u64)
    })
}

/// Whether `value` has `word` (in lower case) anywhere, letters compared without case: how nginx reads Connection.
fn mentions(value: &[u8], word: &[u8]) -> bool {
    let Some(room) = value.len().checked_sub(word.len()) else { return false };
    (0..=room).any(|at| value[at] | 0x20 == word[0] && value[at..at + word.len()].eq_ignore_ascii_case(word))
}
