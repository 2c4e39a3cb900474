//! What the client sends: bytes to frames, frames to events (RFC 9113, section 6).

use super::flood::Nuisance;
use super::frame::{self, HEAD_BYTES, Head as FrameHead};
use super::hpack::{HpackError, has_bad_number};
use super::mux::{Event, Mux};
use super::partial::{BLOCK_BYTES_BESIDE, BLOCK_FRAMES_MAX, Partial};
use super::trailers::Trailers;
use super::{Code, Fault, PREFACE, WINDOW_MAX};
use crate::buf::Buf;
use crate::fields::Fields;

/// Settings in one frame: each has 6 bytes, and there are less than a dozen.
const SETTINGS_BYTES_MAX: usize = 6 * 64;
/// Text of a PRIORITY_UPDATE, and debug data of a GOAWAY that is read at all.
const SMALL_BYTES_MAX: usize = 1024;
/// Of a head that comes in pieces, only so much is looked at before it is whole.
const CHECKED_BYTES_MAX: usize = 64;

/// The part of a stream's window that may come beyond it: nginx opens the window of a body that it is to read before it looks at the
/// data behind the head, so that it never notices clients that count a little wrong.
const WINDOW_SLACK: u32 = 64;

/// How far the client's bytes have been read.
pub(super) struct Reading {
    /// Bytes of the preface that are still to come.
    preface_left: usize,
    partial: Partial,
    /// Bytes of a frame that nobody wants.
    skip: usize,
    data: Option<DataFrame>,
    /// A header block whose end has not come.
    block: Option<Block>,
}

/// A DATA frame whose payload has not come whole.
struct DataFrame {
    /// `None`: the stream is gone.
    place: Option<u32>,
    stream: u32,
    left: usize,
    padding: usize,
    /// Bytes that count for the window and are no data.
    overhead: u32,
    ends: bool,
}

struct Block {
    stream: u32,
    /// It opens the stream.
    is_new: bool,
    bytes: Vec<u8>,
    n_frames: u32,
    ends: bool,
}

impl Reading {
    pub(super) fn new(preface_left: usize) -> Reading {
        Reading { preface_left, partial: Partial::default(), skip: 0, data: None, block: None }
    }

    /// Whether nothing is waiting for its rest.
    #[cfg(test)]
    pub(super) fn is_between_frames(&self) -> bool {
        self.partial.is_empty() && self.skip == 0 && self.data.is_none() && self.block.is_none()
    }

    /// The stream that a head would open of which only a part has come.
    pub(super) fn partial_head(&self, last_id: u32) -> Option<u32> {
        if let Some(block) = &self.block {
            return block.is_new.then_some(block.stream);
        }
        let head = FrameHead::read(self.partial.bytes()).filter(|it| it.kind == frame::HEADERS)?;
        Some(head.stream).filter(|id| *id > last_id)
    }

    /// The stream that a block is for will not be opened by it.
    pub(super) fn abandon_block(&mut self) {
        if let Some(block) = &mut self.block {
            block.is_new = false;
        }
    }

    pub(super) fn shrink(&mut self) {
        self.partial.shrink();
    }
}

impl Mux {
    /// Takes bytes from the front of `bytes` until there is an event; `None` once more must come. `now_ms` is any clock
    /// that goes forward.
    ///
    /// # Errors
    /// The connection cannot go on: `goaway` with the fault's code, and close.
    pub fn receive(&mut self, bytes: &mut Buf, now_ms: u64) -> Result<Option<Event>, Fault> {
        self.flood.at(now_ms);
        loop {
            if let Some(data) = self.reading.data.take() {
                if let Some(event) = self.go_on_with_data(data, bytes) {
                    return Ok(Some(event));
                }
                if self.reading.data.is_some() {
                    return Ok(None);
                }
            }
            if self.reading.preface_left > 0 {
                self.preface(bytes)?;
            }
            if self.reading.skip > 0 {
                let n = self.reading.skip.min(bytes.len());
                bytes.advance(n);
                self.reading.skip -= n;
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let Some(frame) = self.whole_frame(bytes)? else { return Ok(None) };
            if let Some(event) = self.frame(frame)? {
                return Ok(Some(event));
            }
        }
    }

    fn preface(&mut self, bytes: &mut Buf) -> Result<(), Fault> {
        let rest = &PREFACE[PREFACE.len() - self.reading.preface_left..];
        let n = rest.len().min(bytes.len());
        if bytes[..n] != rest[..n] {
            return Err(Fault::protocol("invalid connection preface"));
        }
        bytes.advance(n);
        self.reading.preface_left -= n;
        Ok(())
    }

    fn whole_frame(&mut self, bytes: &mut Buf) -> Result<Option<Buf>, Fault> {
        let had = self.reading.block.as_ref().map_or(0, |it| it.bytes.len());
        let left = (self.limits.head_bytes_max + BLOCK_BYTES_BESIDE).saturating_sub(had);
        let frame = self.reading.partial.frame(bytes, |have| needed(have, left))?;
        if frame.is_none() {
            self.check_partial()?;
        }
        Ok(frame)
    }

    /// A head that is wrong as far as it has come is refused at once.
    #[cold]
    fn check_partial(&self) -> Result<(), Fault> {
        let partial = self.reading.partial.bytes();
        let Some(head) = FrameHead::read(partial) else { return Ok(()) };
        // A block that goes on in other frames is looked at when they have come, however it is cut.
        let is_plain = head.kind == frame::HEADERS
            && head.has(frame::END_HEADERS)
            && head.flags & (frame::PADDED | frame::WITH_PRIORITY) == 0;
        let seen = &partial[HEAD_BYTES..partial.len().min(CHECKED_BYTES_MAX)];
        match is_plain && has_bad_number(seen) {
            true => Err(HpackError::Number.into()),
            false => Ok(()),
        }
    }

    fn frame(&mut self, frame: Buf) -> Result<Option<Event>, Fault> {
        let Some(head) = FrameHead::read(&frame) else { return Ok(None) };
        if let Some(block) = &self.reading.block
            && (head.kind != frame::CONTINUATION || head.stream != block.stream)
        {
            return Err(Fault::protocol(match head.kind {
                frame::CONTINUATION => "client sent CONTINUATION frame with incorrect identifier",
                _ => "client sent inappropriate frame while CONTINUATION was expected",
            }));
        }
        let payload = &frame[HEAD_BYTES..];
        match head.kind {
            frame::DATA => self.data(head, payload),
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::PRIORITY..=frame::WINDOW_UPDATE | frame::PRIORITY_UPDATE => self.control(head, payload),
            _ => {
                self.flood.count(Nuisance::Empty)?;
                self.reading.skip = head.len;
                Ok(None)
            }
        }
    }

    /// The head of a DATA frame, and its length of padding if it has any; the payload is taken as it comes.
    fn data(&mut self, head: FrameHead, padding: &[u8]) -> Result<Option<Event>, Fault> {
        let mut overhead = 0;
        let mut left = head.len;
        if head.has(frame::PADDED) {
            let Some(&padding) = padding.first() else {
                return Err(Fault::new(
                    Code::FRAME_SIZE_ERROR,
                    "client sent padded DATA frame with incorrect length: 0",
                ));
            };
            left -= 1;
            if usize::from(padding) > left {
                return Err(Fault::new(
                    Code::PROTOCOL_ERROR,
                    format!(
                        "client sent padded DATA frame with incorrect length: {left}, padding: {padding}"
                    ),
                ));
            }
            overhead = usize::from(padding) + 1;
        }
        if head.stream == 0 {
            return Err(Fault::protocol("client sent DATA frame with incorrect identifier"));
        }
        if self.is_idle(head.stream) {
            return Err(Fault::protocol("client sent DATA frame for a stream that is idle"));
        }
        self.count_received(head.len)?;
        let ends = head.has(frame::END_STREAM);
        if head.len == overhead && !ends {
            self.flood.count(Nuisance::Empty)?;
        }
        let (place, event) = self.data_place(head)?;
        if place.is_none() {
            self.flood.count(Nuisance::Late(head.len))?;
        }
        let padding = overhead.saturating_sub(1);
        let overhead = overhead as u32;
        self.reading.data =
            Some(DataFrame { place, stream: head.stream, left: left - padding, padding, overhead, ends });
        Ok(event)
    }

    /// The connection's window: it is never what holds a body up, since each stream has its own.
    fn count_received(&mut self, n: usize) -> Result<(), Fault> {
        let window = self.recv_window;
        let Some(left) = window.checked_sub(n as u32) else {
            let text = format!(
                "client violated connection flow control: received DATA frame length {n}, available window {window}"
            );
            return Err(Fault::new(Code::FLOW_CONTROL_ERROR, text));
        };
        self.recv_window = left;
        if left < WINDOW_MAX / 4 {
            frame::push_window_update(0, WINDOW_MAX - left, &mut self.out.bytes);
            self.recv_window = WINDOW_MAX;
        }
        Ok(())
    }

    /// Where the data belongs; an event if it breaks its stream.
    fn data_place(&mut self, head: FrameHead) -> Result<(Option<u32>, Option<Event>), Fault> {
        let Some(place) = self.streams.find(head.stream) else { return Ok((None, None)) };
        let Some(stream) = self.streams.get_mut(place) else { return Ok((None, None)) };
        if head.len as i64 > stream.recv_window + i64::from(stream.recv_target / WINDOW_SLACK) {
            return Ok((None, Some(self.break_stream(place, Code::FLOW_CONTROL_ERROR)?)));
        }
        if stream.remote_closed {
            return Ok((None, Some(self.break_stream(place, Code::STREAM_CLOSED)?)));
        }
        stream.recv_window -= head.len as i64;
        stream.remote_closed = head.has(frame::END_STREAM);
        Ok((Some(place), None))
    }

    /// The payload of a DATA frame, as far as it has come.
    fn go_on_with_data(&mut self, mut data: DataFrame, bytes: &mut Buf) -> Option<Event> {
        if data.left > 0 && bytes.is_empty() {
            self.reading.data = Some(data);
            return None;
        }
        let piece = bytes.split_to(data.left.min(bytes.len()));
        data.left -= piece.len();
        let is_last = data.left == 0;
        // The stream may have been closed between two pieces, and its place given to another.
        let place = data.place.filter(|place| self.stream_id(*place) == Some(data.stream));
        let overhead = data.overhead;
        let ends = data.ends && is_last;
        if is_last {
            self.reading.skip = data.padding;
        } else {
            data.overhead = 0;
            self.reading.data = Some(data);
        }
        match place {
            Some(place) if !piece.is_empty() || ends || overhead > 0 => {
                Some(Event::Data { place, bytes: piece, overhead, ends })
            }
            _ => None,
        }
    }

    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream > self.last_id || stream.is_multiple_of(2)
    }

    /// Cancels a stream for what has come on it.
    pub(super) fn break_stream(&mut self, place: u32, code: Code) -> Result<Event, Fault> {
        self.flood.count(Nuisance::Broken)?;
        self.reset(place, code);
        Ok(Event::Reset { place, code, by_client: false })
    }

    fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let (mut start, mut end) = (0, payload.len());
        let before =
            usize::from(head.has(frame::PADDED)) + if head.has(frame::WITH_PRIORITY) { 5 } else { 0 };
        if end < before {
            return Err(Fault::length("HEADERS", end));
        }
        if end == before && head.has(frame::END_HEADERS) {
            return Err(Fault::new(
                Code::FRAME_SIZE_ERROR,
                "client sent HEADERS frame with empty header block",
            ));
        }
        if head.has(frame::PADDED) {
            let padding = usize::from(payload[0]);
            start = 1;
            if padding > end - before {
                let left = end - before;
                let text = format!(
                    "client sent padded HEADERS frame with incorrect length: {left}, padding: {padding}"
                );
                return Err(Fault::new(Code::PROTOCOL_ERROR, text));
            }
            end -= padding;
        }
        if head.has(frame::WITH_PRIORITY) {
            let depends = payload[start..].first_chunk().map_or(0, |it| u32::from_be_bytes(*it));
            start += 5;
            if depends & super::STREAM_MAX == head.stream {
                let text =
                    format!("client sent HEADERS frame for stream {} with incorrect dependency", head.stream);
                return Err(Fault::new(Code::PROTOCOL_ERROR, text));
            }
        }
        let ends = head.has(frame::END_STREAM);
        let is_new = self.is_new(head.stream, ends)?;
        self.last_id = self.last_id.max(head.stream);
        let block = &payload[start..end];
        if head.has(frame::END_HEADERS) {
            return self.block(head.stream, is_new, ends, block);
        }
        let bytes = block.to_vec();
        self.reading.block = Some(Block { stream: head.stream, is_new, bytes, n_frames: 1, ends });
        Ok(None)
    }

    /// A header block opens a stream or ends one; there are no others.
    fn is_new(&mut self, id: u32, ends: bool) -> Result<bool, Fault> {
        if !id.is_multiple_of(2) && id > self.last_id {
            return Ok(true);
        }
        let is_open = self.streams.find(id).is_some();
        if id != 0 && (is_open && ends || self.streams.was_closed_by_us(id)) {
            return Ok(false);
        }
        let last = self.last_id;
        let text = format!("client sent HEADERS frame with incorrect identifier {id}, the last was {last}");
        Err(Fault::new(Code::PROTOCOL_ERROR, text))
    }

    fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Some(mut block) = self.reading.block.take() else {
            return Err(Fault::protocol("client sent unexpected CONTINUATION frame"));
        };
        block.n_frames += 1;
        if block.n_frames > BLOCK_FRAMES_MAX {
            return Err(Fault::flood());
        }
        block.bytes.extend_from_slice(payload);
        if head.has(frame::END_HEADERS) {
            return self.block(block.stream, block.is_new, block.ends, &block.bytes);
        }
        self.reading.block = Some(block);
        Ok(None)
    }

    /// A whole header block.
    fn block(&mut self, id: u32, is_new: bool, ends: bool, block: &[u8]) -> Result<Option<Event>, Fault> {
        if !is_new {
            return self.trailers(id, block);
        }
        // A client that does not know its window yet may send more of a body than we want.
        let is_early = !ends && !self.was_acknowledged && self.limits.window < super::WINDOW_FIRST;
        let is_full = self.streams.len() >= self.limits.streams_max as usize;
        let refused = self.goaway.is_some() || is_full || is_early;
        self.head.begin(self.limits.rules, self.limits.head_bytes_max);
        let request = &mut self.head;
        self.decoder.decode(block, |field| request.take(field))?;
        if request.is_too_large {
            return Err(Fault::new(Code::ENHANCE_YOUR_CALM, "client sent too large header"));
        }
        if refused {
            return self.refuse(id);
        }
        request.block_bytes = block.len();
        request.finish(ends);
        let priority = request.priority;
        let place = self.open(id, ends);
        if let Some(stream) = self.streams.get_mut(place) {
            stream.priority = priority;
        }
        Ok(Some(Event::Request { place, ends }))
    }

    fn refuse(&mut self, id: u32) -> Result<Option<Event>, Fault> {
        if self.flood.count(Nuisance::Refused).is_err() {
            return Err(Fault::new(Code::ENHANCE_YOUR_CALM, "client sent too many refused streams"));
        }
        self.streams.note_closed(id);
        // After a GOAWAY the client knows.
        if self.goaway.is_none() {
            frame::push_reset(id, Code::REFUSED_STREAM, &mut self.out.bytes);
        }
        Ok(None)
    }

    fn trailers(&mut self, id: u32, block: &[u8]) -> Result<Option<Event>, Fault> {
        let mut trailers = Trailers {
            fields: Fields::new(),
            bytes_left: self.limits.head_bytes_max,
            fields_max: self.limits.rules.fields_max,
            is_malformed: false,
            is_too_large: false,
        };
        self.decoder.decode(block, |field| trailers.take(field))?;
        if trailers.is_too_large {
            return Err(Fault::new(Code::ENHANCE_YOUR_CALM, "client sent too large header"));
        }
        let Some(place) = self.streams.find(id) else {
            self.flood.count(Nuisance::Late(block.len()))?;
            return Ok(None);
        };
        let Some(stream) = self.streams.get_mut(place) else { return Ok(None) };
        if stream.remote_closed {
            return Ok(Some(self.break_stream(place, Code::STREAM_CLOSED)?));
        }
        if trailers.is_malformed {
            return Ok(Some(self.break_stream(place, Code::PROTOCOL_ERROR)?));
        }
        stream.remote_closed = true;
        Ok(Some(Event::Trailers { place, fields: trailers.fields }))
    }
}

/// How many bytes of the frame that `have` begins with must be there before anything can be done with it.
/// Of its header block, so many bytes may still come.
#[inline]
fn needed(have: &[u8], block_bytes_left: usize) -> Result<usize, Fault> {
    let Some(head) = FrameHead::read(have) else { return Ok(HEAD_BYTES) };
    let whole = HEAD_BYTES + head.len;
    let max = match head.kind {
        frame::DATA => return Ok(HEAD_BYTES + usize::from(head.has(frame::PADDED) && head.len > 0)),
        frame::HEADERS | frame::CONTINUATION => {
            if head.len > block_bytes_left {
                return Err(Fault::new(Code::ENHANCE_YOUR_CALM, "client sent too large header"));
            }
            return Ok(whole);
        }
        frame::SETTINGS => SETTINGS_BYTES_MAX,
        frame::PUSH_PROMISE => return Err(Fault::protocol("client sent PUSH_PROMISE frame")),
        frame::GOAWAY | frame::PRIORITY_UPDATE => SMALL_BYTES_MAX,
        frame::PRIORITY..=frame::WINDOW_UPDATE => 8,
        // Unknown: passed over.
        _ => return Ok(HEAD_BYTES),
    };
    match head.len <= max {
        true => Ok(whole),
        false => Err(Fault::length(name(head.kind), head.len)),
    }
}

fn name(kind: u8) -> &'static str {
    match kind {
        frame::PRIORITY => "PRIORITY",
        frame::RST_STREAM => "RST_STREAM",
        frame::SETTINGS => "SETTINGS",
        frame::PING => "PING",
        frame::GOAWAY => "GOAWAY",
        frame::PRIORITY_UPDATE => "PRIORITY_UPDATE",
        _ => "WINDOW_UPDATE",
    }
}
