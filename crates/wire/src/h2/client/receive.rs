//! What the peer sends: bytes to frames, frames to events (RFC 9113, section 6).

use super::head::Reader;
use super::{Client, Event, Fault, Stage};
use crate::buf::Buf;
use crate::h2::flood::Nuisance;
use crate::h2::frame::{self, HEAD_BYTES, Head as FrameHead};
use crate::h2::partial::{BLOCK_BYTES_BESIDE, BLOCK_FRAMES_MAX, Partial};
use crate::h2::{FRAME_BYTES, WINDOW_MAX};

/// How far the peer's bytes have been read.
#[derive(Default)]
pub(super) struct Reading {
    partial: Partial,
    /// Bytes of a frame that nobody wants.
    skip: usize,
    data: Option<DataFrame>,
    /// A header block whose end has not come.
    block: Option<Block>,
}

/// A DATA frame whose payload has not come whole.
#[derive(Clone, Copy)]
struct DataFrame {
    left: usize,
    padding: usize,
    ends: bool,
}

struct Block {
    bytes: Vec<u8>,
    n_frames: u32,
    ends: bool,
}

impl Reading {
    pub(super) fn is_between_frames(&self) -> bool {
        self.partial.is_empty() && self.skip == 0 && self.data.is_none() && self.block.is_none()
    }

    pub(super) fn shrink(&mut self) {
        self.partial.shrink();
    }
}

impl Client {
    /// Takes bytes from the front of `bytes` until there is an event; `None` once more must come. A head's names and
    /// values may have `head_bytes_max` bytes, and so may trailers. `now_ms` is any clock that goes forward.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn receive(
        &mut self,
        bytes: &mut Buf,
        head_bytes_max: usize,
        now_ms: u64,
    ) -> Result<Option<Event>, Fault> {
        self.flood.at(now_ms);
        loop {
            if let Some(data) = self.reading.data {
                if let Some(piece) = self.go_on_with_data(data, bytes) {
                    return Ok(Some(Event::Data(piece)));
                }
                if self.reading.data.is_some() {
                    return Ok(None);
                }
            }
            if self.reading.skip > 0 {
                let n = self.reading.skip.min(bytes.len());
                bytes.advance(n);
                self.reading.skip -= n;
            }
            if std::mem::take(&mut self.over_untold) {
                return Ok(Some(Event::Over));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let had = self.reading.block.as_ref().map_or(0, |it| it.bytes.len());
            let left = (head_bytes_max + BLOCK_BYTES_BESIDE).saturating_sub(had);
            let frame = self.reading.partial.frame(bytes, |have| needed(have, left))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Some(event) = self.frame(&frame, head_bytes_max)? {
                return Ok(Some(event));
            }
        }
    }

    fn frame(&mut self, frame: &[u8], head_bytes_max: usize) -> Result<Option<Event>, Fault> {
        let Some(head) = FrameHead::read(frame) else { return Ok(None) };
        let payload = &frame[HEAD_BYTES..];
        if (head.kind == frame::CONTINUATION) != self.reading.block.is_some() {
            return Err(unexpected(head));
        }
        if head.stream != 0 && head.stream != self.id {
            return self.frame_of_another(head);
        }
        let is_late = head.stream != 0 && matches!(self.stage, Stage::Over | Stage::Idle);
        if is_late && !matches!(head.kind, frame::RST_STREAM | frame::WINDOW_UPDATE) {
            return Err(closed(head));
        }
        match head.kind {
            frame::DATA => self.data(head, payload)?,
            frame::HEADERS => return self.headers(head, payload, head_bytes_max),
            frame::CONTINUATION => return self.continuation(head, payload, head_bytes_max),
            frame::PRIORITY..=frame::WINDOW_UPDATE => self.control(head, payload)?,
            _ => {
                self.flood.count(Nuisance::Empty)?;
                self.reading.skip = head.len;
            }
        }
        Ok(None)
    }

    /// A stream that has ended may be told of once more; any other has not been opened.
    fn frame_of_another(&mut self, head: FrameHead) -> Result<Option<Event>, Fault> {
        let was_ours = head.stream < self.id && !head.stream.is_multiple_of(2);
        let may_be_late = matches!(head.kind, frame::RST_STREAM | frame::WINDOW_UPDATE | frame::PRIORITY);
        if !was_ours || !may_be_late {
            let what = if head.kind == frame::DATA { "data frame" } else { "frame" };
            let text = format!("upstream sent {what} for unknown stream {}", head.stream);
            return Err(Fault::new(text));
        }
        self.flood.count(Nuisance::Update)?;
        Ok(None)
    }

    /// The head of a DATA frame, and its length of padding if it has any; the payload is taken as it comes.
    fn data(&mut self, head: FrameHead, padding: &[u8]) -> Result<(), Fault> {
        if self.stage != Stage::Body || head.stream == 0 {
            return Err(unexpected(head));
        }
        let (mut left, mut pad) = (head.len, 0);
        if head.has(frame::PADDED) {
            let Some(&length) = padding.first() else {
                return Err(Fault::new("upstream sent too short http2 frame"));
            };
            left -= 1;
            pad = usize::from(length);
            if pad > left {
                return Err(too_padded(pad, left));
            }
        }
        self.count_received(head.len)?;
        let ends = head.has(frame::END_STREAM);
        if left == pad && !ends {
            self.flood.count(Nuisance::Empty)?;
        }
        self.reading.data = Some(DataFrame { left: left - pad, padding: pad, ends });
        Ok(())
    }

    /// The windows are so large that only a peer that does not look at them can pass them.
    fn count_received(&mut self, n: usize) -> Result<(), Fault> {
        let violated = |what: &str, window: u32| {
            let text = format!(
                "upstream violated {what} flow control, received {n} data frame with window {window}"
            );
            Fault::new(text)
        };
        let left = self.stream_recv.checked_sub(n as u32);
        self.stream_recv = left.ok_or_else(|| violated("stream", self.stream_recv))?;
        let left = self.recv_window.checked_sub(n as u32);
        self.recv_window = left.ok_or_else(|| violated("connection", self.recv_window))?;
        for (id, window) in [(self.id, &mut self.stream_recv), (0, &mut self.recv_window)] {
            if *window < WINDOW_MAX / 4 {
                frame::push_window_update(id, WINDOW_MAX - *window, &mut self.out.bytes);
                *window = WINDOW_MAX;
            }
        }
        Ok(())
    }

    /// The payload of a DATA frame, as far as it has come.
    fn go_on_with_data(&mut self, mut data: DataFrame, bytes: &mut Buf) -> Option<Buf> {
        if data.left > 0 && bytes.is_empty() {
            return None;
        }
        let piece = bytes.split_to(data.left.min(bytes.len()));
        data.left -= piece.len();
        self.reading.data = Some(data);
        if data.left == 0 {
            self.reading.data = None;
            self.reading.skip = data.padding;
            if data.ends {
                self.end();
            }
        }
        (!piece.is_empty()).then_some(piece)
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.over_untold = true;
    }

    fn headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        head_bytes_max: usize,
    ) -> Result<Option<Event>, Fault> {
        if head.stream == 0 {
            return Err(unexpected(head));
        }
        let before =
            usize::from(head.has(frame::PADDED)) + if head.has(frame::WITH_PRIORITY) { 5 } else { 0 };
        let Some(fragment) = payload.get(before..) else {
            let text = format!("upstream sent headers frame with invalid length: {}", payload.len());
            return Err(Fault::new(text));
        };
        let padding = if head.has(frame::PADDED) { usize::from(payload[0]) } else { 0 };
        let Some(end) = fragment.len().checked_sub(padding) else {
            return Err(too_padded(padding, fragment.len()));
        };
        let ends = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.whole_block(&fragment[..end], ends, head_bytes_max);
        }
        self.reading.block = Some(Block { bytes: fragment[..end].to_vec(), n_frames: 1, ends });
        Ok(None)
    }

    fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        head_bytes_max: usize,
    ) -> Result<Option<Event>, Fault> {
        let Some(mut block) = self.reading.block.take().filter(|_| head.stream != 0) else {
            return Err(unexpected(head));
        };
        block.bytes.extend_from_slice(payload);
        block.n_frames += 1;
        if block.n_frames > BLOCK_FRAMES_MAX {
            return Err(Fault::new("upstream sent too many http2 frames"));
        }
        if head.has(frame::END_HEADERS) {
            return self.whole_block(&block.bytes, block.ends, head_bytes_max);
        }
        self.reading.block = Some(block);
        Ok(None)
    }

    fn whole_block(
        &mut self,
        block: &[u8],
        ends: bool,
        head_bytes_max: usize,
    ) -> Result<Option<Event>, Fault> {
        let of_trailers = self.stage == Stage::Body;
        let mut reader = Reader::new(head_bytes_max, of_trailers);
        self.decoder.decode(block, |field| reader.take(field))?;
        if of_trailers {
            self.trailers = Some(reader.trailers()?).filter(|it| !it.is_empty());
            if !ends {
                return Err(Fault::new("upstream sent trailer without end stream flag"));
            }
            self.end();
            return Ok(None);
        }
        let (status, text) = reader.head()?;
        let is_interim = status < 200;
        if ends && is_interim {
            return Err(Fault::new("upstream prematurely closed stream"));
        }
        if ends {
            self.end();
        } else if !is_interim {
            self.stage = Stage::Body;
        } else {
            self.flood.count(Nuisance::Empty)?;
        }
        Ok(Some(Event::Head(Buf::from_vec(text))))
    }
}

/// How many bytes of the frame that `have` begins with must be there before anything can be done with it.
/// Of its header block, so many bytes may still come.
fn needed(have: &[u8], block_bytes_left: usize) -> Result<usize, Fault> {
    let Some(head) = FrameHead::read(have) else { return Ok(HEAD_BYTES) };
    if head.len > FRAME_BYTES {
        return Err(Fault::new(format!("upstream sent too large http2 frame: {}", head.len)));
    }
    Ok(match head.kind {
        frame::DATA => HEAD_BYTES + usize::from(head.has(frame::PADDED) && head.len > 0),
        frame::HEADERS | frame::CONTINUATION => {
            if head.len > block_bytes_left {
                return Err(Fault::new("upstream sent too large http2 header"));
            }
            HEAD_BYTES + head.len
        }
        frame::PRIORITY..=frame::WINDOW_UPDATE => HEAD_BYTES + head.len,
        // Unknown: passed over.
        _ => HEAD_BYTES,
    })
}

pub(super) fn unexpected(head: FrameHead) -> Fault {
    Fault::new(format!("upstream sent unexpected http2 frame: {}", head.kind))
}

pub(super) fn closed(head: FrameHead) -> Fault {
    Fault::new(format!("upstream sent frame for closed stream {}", head.stream))
}

fn too_padded(padding: usize, left: usize) -> Fault {
    Fault::new(format!("upstream sent http2 frame with too long padding: {padding} in frame {left}"))
}
