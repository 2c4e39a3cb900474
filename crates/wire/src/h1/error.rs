//! What is wrong with a message: whose fault, the status to answer with, the words for the log.

use crate::span::{FieldSpan, Span};

/// A request that is the client's mistake. The connection cannot be reused: where the next request starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    InvalidMethod,
    /// The request line is none.
    InvalidRequest,
    /// HTTP/2.0 or later, spoken as HTTP/1.
    InvalidVersion,
    InvalidMethodInHttp09,
    InvalidHostInRequestLine,
    /// A line of the head up to the byte that must not stand there, which follows the span.
    InvalidField {
        line: Span,
    },
    TooManyFields,
    DuplicateHost {
        field: FieldSpan,
        previous: FieldSpan,
    },
    /// A field that may stand only once.
    DuplicateField {
        field: FieldSpan,
        previous: FieldSpan,
    },
    InvalidHost,
    MissingHost,
    InvalidContentLength,
    /// Transfer-Encoding before HTTP/1.1 had it.
    EarlyTransferEncoding,
    /// Anything but "chunked".
    UnknownTransferEncoding {
        value: Span,
    },
    /// Content-Length and Transfer-Encoding together: the classic of request smuggling (RFC 9112, section 6.3).
    LengthAndChunked,
}

impl RequestError {
    /// The status to answer with; 494 is nginx's own, shown to the client as 400.
    pub fn status(&self) -> u16 {
        match self {
            RequestError::InvalidVersion => 505,
            RequestError::TooManyFields => 494,
            RequestError::UnknownTransferEncoding { .. } => 501,
            _ => 400,
        }
    }

    /// The words of nginx's error log (level info); `head` is what was parsed.
    pub fn text(&self, head: &[u8]) -> Vec<u8> {
        let fixed = match *self {
            RequestError::InvalidField { line } => {
                return invalid_line("client sent invalid header line", head, line);
            }
            RequestError::DuplicateHost { field, previous } => {
                return duplicate("client sent duplicate host header", head, field, previous);
            }
            RequestError::DuplicateField { field, previous } => {
                return duplicate("client sent duplicate header line", head, field, previous);
            }
            RequestError::UnknownTransferEncoding { value } => {
                return unknown_encoding("client", head, value);
            }
            RequestError::InvalidMethod => "client sent invalid method",
            RequestError::InvalidRequest => "client sent invalid request",
            RequestError::InvalidVersion => "client sent invalid version",
            RequestError::InvalidMethodInHttp09 => "client sent invalid method in HTTP/0.9 request",
            RequestError::InvalidHostInRequestLine => "client sent invalid host in request line",
            RequestError::TooManyFields => "client sent too many header lines",
            RequestError::InvalidHost => "client sent invalid host header",
            RequestError::MissingHost => "client sent HTTP/1.1 request without \"Host\" header",
            RequestError::InvalidContentLength => "client sent invalid \"Content-Length\" header",
            RequestError::EarlyTransferEncoding => {
                "client sent HTTP/1.0 request with \"Transfer-Encoding\" header"
            }
            RequestError::LengthAndChunked => {
                "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
            }
        };
        fixed.into()
    }
}

/// A response that is the upstream's mistake; another upstream may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not HTTP/1.x: nginx takes such bytes for the body of an HTTP/0.9 response.
    NoStatusLine,
    /// A line of the head up to the byte that must not stand there, which follows the span.
    InvalidField {
        line: Span,
    },
    TooManyFields,
    DuplicateField {
        field: FieldSpan,
        previous: FieldSpan,
    },
    InvalidContentLength {
        field: FieldSpan,
    },
    UnknownTransferEncoding {
        value: Span,
    },
    LengthAndChunked,
    /// A CGI answer's `Status` that begins with no number.
    InvalidStatus {
        value: Span,
    },
    /// 103 in an HTTP/1.0 response.
    EarlyHintsInHttp10,
}

impl ResponseError {
    /// The words of nginx's error log (level error); `head` is what was parsed.
    pub fn text(&self, head: &[u8]) -> Vec<u8> {
        let fixed = match *self {
            ResponseError::InvalidField { line } => {
                return invalid_line("upstream sent invalid header", head, line);
            }
            ResponseError::DuplicateField { field, previous } => {
                return duplicate("upstream sent duplicate header line", head, field, previous);
            }
            ResponseError::InvalidContentLength { field } => {
                let mut text = b"upstream sent invalid \"Content-Length\" header: ".to_vec();
                push_field(&mut text, head, field);
                return text;
            }
            ResponseError::UnknownTransferEncoding { value } => {
                return unknown_encoding("upstream", head, value);
            }
            ResponseError::InvalidStatus { value } => {
                let mut text = b"upstream sent invalid status \"".to_vec();
                text.extend_from_slice(value.of(head));
                text.push(b'"');
                return text;
            }
            ResponseError::NoStatusLine => "upstream sent no valid HTTP/1.0 header",
            ResponseError::TooManyFields => "upstream sent too many header lines",
            ResponseError::LengthAndChunked => {
                "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
            }
            ResponseError::EarlyHintsInHttp10 => "upstream sent HTTP/1.0 response with early hints",
        };
        fixed.into()
    }
}

fn invalid_line(words: &str, head: &[u8], line: Span) -> Vec<u8> {
    let mut text = format!("{words}: \"").into_bytes();
    text.extend_from_slice(line.of(head));
    let offender = head.get(line.end as usize).copied().unwrap_or(0);
    text.extend_from_slice(format!("\\x{offender:02x}...\"").as_bytes());
    text
}

fn duplicate(words: &str, head: &[u8], field: FieldSpan, previous: FieldSpan) -> Vec<u8> {
    let mut text = format!("{words}: ").into_bytes();
    push_field(&mut text, head, field);
    text.extend_from_slice(b", previous value: ");
    push_field(&mut text, head, previous);
    text
}

fn push_field(text: &mut Vec<u8>, head: &[u8], field: FieldSpan) {
    text.push(b'"');
    text.extend_from_slice(field.name.of(head));
    text.extend_from_slice(b": ");
    text.extend_from_slice(field.value.of(head));
    text.push(b'"');
}

fn unknown_encoding(whose: &str, head: &[u8], value: Span) -> Vec<u8> {
    let mut text = format!("{whose} sent unknown \"Transfer-Encoding\": \"").into_bytes();
    text.extend_from_slice(value.of(head));
    text.push(b'"');
    text
}
