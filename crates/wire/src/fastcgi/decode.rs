//! What an application sends: records taken apart without a copy, however they are split.

use super::{HEADER_BYTES, REQUEST, VERSION, kind};
use crate::buf::Buf;

/// What a peer says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A piece of the answer, never empty.
    Stdout(Buf),
    /// The answer is over.
    StdoutOver,
    /// A piece of what goes into a log, never empty.
    Stderr(Buf),
    /// The request is over. `clean`: nothing has come behind it.
    End { clean: bool },
}

/// A record that none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    Version(u8),
    Kind(u8),
    RequestHigh(u8),
    RequestLow(u8),
}

impl RecordError {
    /// The words of nginx's error log (level error).
    pub fn text(self) -> String {
        let (what, byte) = match self {
            RecordError::Version(byte) => ("unsupported FastCGI protocol version", byte),
            RecordError::Kind(byte) => ("invalid FastCGI record type", byte),
            RecordError::RequestHigh(byte) => ("unexpected FastCGI request id high byte", byte),
            RecordError::RequestLow(byte) => ("unexpected FastCGI request id low byte", byte),
        };
        format!("upstream sent {what}: {byte}")
    }
}

/// Takes records apart.
///
/// ```text
/// Header ──▶ Content ──▶ Padding ──▶ Header … ──▶ (End of request) ──▶ Over
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    come: usize,
    /// Of the current record.
    content: usize,
    padding: usize,
    /// The request is over.
    over: bool,
}

/// Positions within a header (section 3.3).
const TYPE: usize = 1;
const REQUEST_HIGH: usize = 2;
const REQUEST_LOW: usize = 3;
const CONTENT_HIGH: usize = 4;
const CONTENT_LOW: usize = 5;
const PADDING: usize = 6;

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// The next record out of `bytes`, or a part of it; `None`: more bytes are needed, and all of these are used.
    ///
    /// # Errors
    /// The peer speaks something else. Nothing that follows makes sense.
    pub fn next(&mut self, bytes: &mut Buf) -> Result<Option<Record>, RecordError> {
        loop {
            if self.over {
                return Ok(None);
            }
            if self.come < HEADER_BYTES {
                if !self.read_header(bytes)? {
                    return Ok(None);
                }
                if self.content == 0 && self.header[TYPE] == kind::STDOUT {
                    return Ok(Some(Record::StdoutOver));
                }
            }
            if self.content > 0 {
                if bytes.is_empty() {
                    return Ok(None);
                }
                let piece = bytes.split_to(self.content.min(bytes.len()));
                self.content -= piece.len();
                match self.header[TYPE] {
                    kind::STDOUT => return Ok(Some(Record::Stdout(piece))),
                    kind::STDERR => return Ok(Some(Record::Stderr(piece))),
                    _ => continue,
                }
            }
            let padding = self.padding.min(bytes.len());
            bytes.advance(padding);
            self.padding -= padding;
            if self.padding > 0 {
                return Ok(None);
            }
            self.come = 0;
            if self.header[TYPE] == kind::END_REQUEST {
                self.over = true;
                return Ok(Some(Record::End { clean: bytes.is_empty() }));
            }
        }
    }

    /// Reads on in the header; true once it is there.
    fn read_header(&mut self, bytes: &mut Buf) -> Result<bool, RecordError> {
        while self.come < HEADER_BYTES {
            let Some(&byte) = bytes.first() else { return Ok(false) };
            let wrong = match self.come {
                0 if byte != VERSION => Some(RecordError::Version(byte)),
                TYPE if !matches!(byte, kind::STDOUT | kind::STDERR | kind::END_REQUEST) => {
                    Some(RecordError::Kind(byte))
                }
                REQUEST_HIGH if byte != 0 => Some(RecordError::RequestHigh(byte)),
                REQUEST_LOW if byte != REQUEST => Some(RecordError::RequestLow(byte)),
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(wrong);
            }
            self.header[self.come] = byte;
            self.come += 1;
            bytes.advance(1);
        }
        self.content = usize::from(u16::from_be_bytes([self.header[CONTENT_HIGH], self.header[CONTENT_LOW]]));
        self.padding = usize::from(self.header[PADDING]);
        Ok(true)
    }
}
