//! The client's side of HTTP/2: a connection that carries one request at a time (RFC 9113).
//!
//! Like nginx we have no second stream beside the first: a connection that is free serves again, and busy ones stand
//! side by side, so that a body never waits for another one. Windows are as large as may be; what is not taken stays in
//! the socket.

mod control;
mod draft;
mod head;
mod receive;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::flood::Flood;
use super::frame;
use super::hpack::{Decoder, Encoder, HpackError, Pseudo};
use super::out::Out;
use super::{Code, FRAME_BYTES, PREFACE, STREAM_MAX, WINDOW_FIRST, WINDOW_MAX};
use crate::buf::Buf;
use crate::fields::Fields;
use crate::name::Name;

pub use draft::{Draft, Open};
pub use head::FOREIGN;
use receive::Reading;

/// The longest name or value that a block may have; each head has a limit of its own besides.
const STRING_BYTES_MAX: usize = 1 << 20;

/// What the peer did wrong, in the words of nginx's error log (level error). The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub Cow<'static, str>);

/// What has come.
#[derive(Debug)]
pub enum Event {
    /// A head, written as HTTP/1.1 has it. 103 may come before the final one.
    Head(Buf),
    /// A piece of the body, never empty.
    Data(Buf),
    /// The answer is over.
    Over,
}

/// How far the answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request has been made.
    Idle,
    Head,
    Body,
    Over,
}

/// The connection as a client has it.
pub struct Client {
    pub out: Out,
    encoder: Encoder,
    decoder: Decoder,
    reading: Reading,
    stage: Stage,
    /// The current stream; 0 before the first.
    id: u32,
    /// We have sent END_STREAM.
    request_over: bool,
    /// END_STREAM has come, and nobody has been told.
    over_untold: bool,
    /// RST_STREAM has come behind the end of the answer.
    was_reset: bool,
    trailers: Option<Fields>,
    /// What we may send on the stream, on all, and on a new one. A change of settings can make the first negative.
    stream_window: i64,
    send_window: i64,
    window_first: i64,
    /// What the peer may send on the stream, and on all.
    stream_recv: u32,
    recv_window: u32,
    going_away: bool,
    /// The peer has said that it has not looked at the request.
    was_refused: bool,
    flood: Flood,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A connection that begins: the preface and our settings are in `out`.
    pub fn new() -> Self {
        let mut out = Out::default();
        out.bytes.extend_from_slice(PREFACE);
        // As nginx: answers shrink little by a table, and each idle connection would hold one.
        let settings = [
            (frame::HEADER_TABLE_SIZE, 0),
            (frame::ENABLE_PUSH, 0),
            (frame::INITIAL_WINDOW_SIZE, WINDOW_MAX),
        ];
        frame::push_settings(&settings, &mut out.bytes);
        frame::push_window_update(0, WINDOW_MAX - WINDOW_FIRST, &mut out.bytes);
        Self {
            out,
            encoder: Encoder::default(),
            decoder: Decoder::without_table(STRING_BYTES_MAX),
            reading: Reading::default(),
            stage: Stage::Idle,
            id: 0,
            request_over: true,
            over_untold: false,
            was_reset: false,
            trailers: None,
            stream_window: 0,
            send_window: WINDOW_FIRST.into(),
            window_first: WINDOW_FIRST.into(),
            stream_recv: WINDOW_MAX,
            recv_window: WINDOW_MAX,
            going_away: false,
            was_refused: false,
            flood: Flood::default(),
        }
    }

    /// Sends the head of a request, which may only follow the end of the last one ([`Client::may_serve_again`]).
    pub fn begin(&mut self, draft: &Draft<'_>, ends: bool) {
        self.id = if self.id == 0 { 1 } else { self.id + 2 };
        self.stage = Stage::Head;
        (self.request_over, self.over_untold, self.was_reset) = (ends, false, false);
        self.trailers = None;
        self.stream_window = self.window_first;
        self.stream_recv = WINDOW_MAX;
        self.block(ends, |encoder, out| {
            for (name, value) in draft.fields() {
                match name {
                    b":method" => encoder.pseudo(Pseudo::Method, value, out),
                    b":scheme" => encoder.pseudo(Pseudo::Scheme, value, out),
                    b":path" => encoder.pseudo(Pseudo::Path, value, out),
                    b":authority" => encoder.pseudo(Pseudo::Authority, value, out),
                    name => encoder.field(Name::of(name), name, value, out),
                }
            }
        });
    }

    /// Sends a header block in as many frames as it takes.
    fn block(&mut self, ends: bool, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        write(&mut self.encoder, &mut block);
        let n = block.len().div_ceil(FRAME_BYTES).max(1);
        let mut rest = &block[..];
        for idx in 0..n {
            let (part, more) = rest.split_at(rest.len().min(FRAME_BYTES));
            rest = more;
            let kind = if idx == 0 { frame::HEADERS } else { frame::CONTINUATION };
            let first = if idx == 0 && ends { frame::END_STREAM } else { 0 };
            let last = if idx + 1 == n { frame::END_HEADERS } else { 0 };
            frame::push_head(part.len(), kind, first | last, self.id, &mut self.out.bytes);
            self.out.bytes.extend_from_slice(part);
        }
    }

    /// How much of the body may be sent now, bytes.
    pub fn sendable(&self) -> usize {
        match self.request_over {
            true => 0,
            false => self.stream_window.min(self.send_window).max(0) as usize,
        }
    }

    /// Sends a piece of the body, no larger than [`Client::sendable`]; an empty one only to end it.
    pub fn send_data(&mut self, mut bytes: Buf, ends: bool) {
        if self.request_over {
            return;
        }
        self.stream_window -= bytes.len() as i64;
        self.send_window -= bytes.len() as i64;
        loop {
            let piece = bytes.split_to(bytes.len().min(FRAME_BYTES));
            let flags = if ends && bytes.is_empty() { frame::END_STREAM } else { 0 };
            self.flood.n_sent += 1;
            frame::push_head(piece.len(), frame::DATA, flags, self.id, &mut self.out.bytes);
            self.out.push(piece);
            if bytes.is_empty() {
                break;
            }
        }
        self.request_over = ends;
    }

    /// Sends the fields behind the body, which end the request.
    pub fn send_trailers(&mut self, fields: &Fields) {
        if self.request_over {
            return;
        }
        self.block(true, |encoder, out| {
            fields.iter_known().for_each(|(known, name, value)| encoder.field(known, name, value, out));
        });
        self.request_over = true;
    }

    /// Gives the request up, whatever of it and of its answer is still to come.
    pub fn cancel(&mut self) {
        let is_open = !self.request_over || !matches!(self.stage, Stage::Idle | Stage::Over);
        if is_open && self.id > 0 {
            frame::push_reset(self.id, Code::CANCEL, &mut self.out.bytes);
        }
        (self.request_over, self.stage, self.going_away) = (true, Stage::Over, true);
    }

    /// All of the request is on its way or in `out`.
    pub fn is_request_over(&self) -> bool {
        self.request_over
    }

    /// The answer is over, and it has been told.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Trailers of the answer, behind its end.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// Whether a fault is that the peer has not looked at the request, so that it may be sent elsewhere (RFC 9113,
    /// section 8.7).
    pub fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Nothing of the last request is open, and the peer takes another.
    pub fn may_serve_again(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Over)
            && self.request_over
            && !self.over_untold
            && !self.going_away
            && self.id < STREAM_MAX - 2
            && self.reading.is_between_frames()
    }

    /// Gives back what an idle connection does not need.
    pub fn shrink(&mut self) {
        self.out.shrink();
        self.decoder.shrink();
        self.reading.shrink();
    }
}

impl Fault {
    fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

/// Too much of what brings nobody anything.
impl From<super::Fault> for Fault {
    fn from(_: super::Fault) -> Self {
        Self::new("upstream sent too many http2 frames")
    }
}

impl From<HpackError> for Fault {
    fn from(error: HpackError) -> Self {
        Self::new(match error {
            HpackError::Truncated => "upstream sent truncated http2 header",
            HpackError::Number => "upstream sent http2 table index with continuation flag",
            HpackError::Index => "upstream sent invalid http2 table index",
            HpackError::Size => "upstream sent invalid http2 dynamic table size update",
            HpackError::Huffman => "upstream sent invalid encoded header",
            HpackError::TooLarge => "upstream sent too large http2 header",
        })
    }
}
