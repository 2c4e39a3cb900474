//! What ends a connection or a stream, and the numbers by which it is told (RFC 9113, section 7).

use std::borrow::Cow;

use super::hpack::HpackError;

/// An error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    pub const NO_ERROR: Code = Code(0);
    pub const PROTOCOL_ERROR: Code = Code(1);
    pub const INTERNAL_ERROR: Code = Code(2);
    pub const FLOW_CONTROL_ERROR: Code = Code(3);
    pub const STREAM_CLOSED: Code = Code(5);
    pub const FRAME_SIZE_ERROR: Code = Code(6);
    pub const REFUSED_STREAM: Code = Code(7);
    pub const CANCEL: Code = Code(8);
    pub const COMPRESSION_ERROR: Code = Code(9);
    pub const ENHANCE_YOUR_CALM: Code = Code(11);
}

/// The connection cannot go on: what to tell the client in GOAWAY, and the log (level info).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    pub text: Cow<'static, str>,
}

impl Fault {
    pub(super) fn protocol(text: &'static str) -> Fault {
        Fault { code: Code::PROTOCOL_ERROR, text: text.into() }
    }

    pub(super) fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// A frame whose length no frame of its kind has.
    pub(super) fn length(kind: &str, length: usize) -> Fault {
        Fault::new(Code::FRAME_SIZE_ERROR, format!("client sent {kind} frame with incorrect length {length}"))
    }

    /// More of something than anybody needs.
    pub(super) fn flood() -> Fault {
        Fault::new(Code::ENHANCE_YOUR_CALM, "http2 flood detected")
    }
}

impl From<HpackError> for Fault {
    fn from(error: HpackError) -> Fault {
        let (code, text) = match error {
            HpackError::Truncated => {
                // nginx's code: the block is shorter than its fields.
                (Code::FRAME_SIZE_ERROR, "client sent header block with incorrect length")
            }
            HpackError::Number => {
                (Code::COMPRESSION_ERROR, "client sent header block with too long header index value")
            }
            HpackError::Index => (Code::COMPRESSION_ERROR, "client sent invalid hpack table index"),
            HpackError::Size => (Code::COMPRESSION_ERROR, "client sent invalid table size update"),
            HpackError::Huffman => (Code::COMPRESSION_ERROR, "client sent invalid encoded header field"),
            HpackError::TooLarge => (Code::ENHANCE_YOUR_CALM, "client sent too large header field"),
        };
        Fault::new(code, text)
    }
}
