//! One connection's machine: its streams, windows and settings, and all that is sent (RFC 9113, sections 5 and 6).

use super::flood::Flood;
use super::frame;
use super::hpack::{Decoder, Encoder};
use super::out::Out;
use super::receive::Reading;
use super::streams::{Stream, Streams};
use super::{Code, FRAME_BYTES, Head, PREFACE, Priority, STREAM_MAX, WINDOW_FIRST, WINDOW_MAX};
use crate::buf::Buf;
use crate::fields::Fields;
use crate::h1::RequestRules;

/// What a stream's window may grow to where its body is taken as fast as it comes: 10 Gbit/s at one millisecond.
const STREAM_WINDOW_MAX: u32 = 1 << 20;
/// By how much all windows of a connection together may have grown: what a client can make us hold if bodies are not
/// taken any more.
const GROWTH_MAX: u32 = 8 << 20;
/// We take frames of any length: data is passed on as it comes.
const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;
/// The PING whose answer tells that the client has read the first GOAWAY.
pub(super) const SHUTDOWN_PING: [u8; 8] = *b"foregate";

/// Limits of one connection, which its default server sets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Streams open at once (`http2_max_concurrent_streams`).
    pub streams_max: u32,
    /// Each stream's window at first, bytes (`http2_body_preread_size`).
    pub window: u32,
    /// The longest name or value of a field as it comes, bytes; all fields of a head together, decoded, may have
    /// `head_bytes_max`.
    pub string_bytes_max: usize,
    pub head_bytes_max: usize,
    pub rules: RequestRules,
}

/// What has come.
#[derive(Debug)]
pub enum Event {
    /// A request: `Mux::head` has it until the next call.
    Request { place: u32, ends: bool },
    /// A piece of a body. What was taken of it is to be told by `Mux::taken`; `overhead` bytes of padding count too.
    Data { place: u32, bytes: Buf, overhead: u32, ends: bool },
    /// The fields behind a body, which end it.
    Trailers { place: u32, fields: Fields },
    /// The stream is gone: cancelled by the client, or by us for what has come on it. Its place is free.
    Reset { place: u32, code: Code, by_client: bool },
    /// More may be sent on this stream, or on all.
    Window { place: Option<u32> },
    /// The client has read our first GOAWAY.
    ShutdownSeen,
    /// The client will not open more streams.
    GoAway,
}

/// The connection as a server has it.
pub struct Mux {
    pub out: Out,
    pub(super) limits: Limits,
    pub(super) head: Head,
    pub(super) decoder: Decoder,
    encoder: Encoder,
    pub(super) reading: Reading,
    pub(super) streams: Streams,
    /// The largest stream that the client has opened.
    pub(super) last_id: u32,
    /// What we may send on all streams together.
    pub(super) send_window: i64,
    /// What the client may send on all together.
    pub(super) recv_window: u32,
    /// Each stream's window for what we send, at first.
    pub(super) send_window_first: u32,
    pub(super) frame_bytes_max: usize,
    /// Sum of what windows have grown by.
    growth: u32,
    pub(super) flood: Flood,
    /// Streams that were answered before the client had sent all: it is to be told that no more is wanted.
    unwanted: Vec<u32>,
    /// The client has read our settings.
    pub(super) was_acknowledged: bool,
    /// The last stream that is served, once we have said so.
    pub(super) goaway: Option<u32>,
}

impl Mux {
    /// A connection that begins: our settings are in `out`.
    pub fn new(limits: Limits) -> Mux {
        let mut out = Out::default();
        let settings = [
            (frame::MAX_CONCURRENT_STREAMS, limits.streams_max),
            (frame::INITIAL_WINDOW_SIZE, limits.window),
            (frame::MAX_FRAME_SIZE, FRAME_BYTES_MAX),
            (frame::ENABLE_CONNECT_PROTOCOL, 1),
            (frame::NO_RFC7540_PRIORITIES, 1),
        ];
        frame::push_settings(&settings, &mut out.bytes);
        frame::push_window_update(0, WINDOW_MAX - WINDOW_FIRST, &mut out.bytes);
        Mux {
            out,
            limits,
            head: Head::default(),
            decoder: Decoder::new(limits.string_bytes_max),
            encoder: Encoder::default(),
            reading: Reading::new(PREFACE.len()),
            streams: Streams::default(),
            last_id: 0,
            send_window: WINDOW_FIRST.into(),
            recv_window: WINDOW_MAX,
            send_window_first: WINDOW_FIRST,
            frame_bytes_max: FRAME_BYTES,
            growth: 0,
            flood: Flood::default(),
            unwanted: Vec::new(),
            was_acknowledged: false,
            goaway: None,
        }
    }

    /// The head of the request that the last event has told of.
    pub fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    pub fn n_streams(&self) -> usize {
        self.streams.len()
    }

    /// The stream's number.
    pub fn stream_id(&self, place: u32) -> Option<u32> {
        self.streams.get(place).map(|it| it.id)
    }

    pub fn priority(&self, place: u32) -> Priority {
        self.streams.get(place).map_or_else(Priority::default, |it| it.priority)
    }

    /// Whether the client has opened any stream.
    pub fn had_streams(&self) -> bool {
        self.last_id > 0
    }

    /// Whether a head has come in part, and waits for its rest.
    pub fn has_partial_head(&self) -> bool {
        self.reading.partial_head(self.last_id).is_some()
    }

    /// The rest of a head has not come in time: its stream is cancelled. What still comes of it is read and forgotten.
    pub fn abandon_head(&mut self) {
        if let Some(id) = self.reading.partial_head(self.last_id) {
            self.reading.abandon_block();
            self.last_id = id;
            self.streams.note_closed(id);
            frame::push_reset(id, Code::PROTOCOL_ERROR, &mut self.out.bytes);
        }
    }

    /// How much may be sent on a stream: 0 while the client wants no more.
    #[inline]
    pub fn sendable(&self, place: u32) -> usize {
        let window = self.streams.get(place).map_or(0, |it| it.send_window);
        window.min(self.send_window).max(0) as usize
    }

    pub(super) fn open(&mut self, id: u32, ends: bool) -> u32 {
        self.streams.insert(Stream {
            id,
            send_window: self.send_window_first.into(),
            recv_window: self.limits.window.into(),
            taken: 0,
            recv_target: self.limits.window,
            remote_closed: ends,
            priority: Priority::default(),
        })
    }

    /// Sends a head: an answer's, an interim one's, or trailers. `write` appends its fields.
    pub fn send_head(
        &mut self,
        place: u32,
        ends: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> usize {
        let Some(id) = self.stream_id(place) else { return 0 };
        let out = &mut self.out.bytes;
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEAD_BYTES]);
        self.encoder.begin(out);
        write(&mut self.encoder, out);
        let len = out.len() - start - frame::HEAD_BYTES;
        let flags = if ends { frame::END_STREAM } else { 0 };
        if len <= self.frame_bytes_max {
            let flags = flags | frame::END_HEADERS;
            let head = frame::Head { len, kind: frame::HEADERS, flags, stream: id };
            out[start..start + frame::HEAD_BYTES].copy_from_slice(&head.to_bytes());
        } else {
            let block = out.split_off(start + frame::HEAD_BYTES);
            out.truncate(start);
            self.split_head(id, flags, &block);
        }
        if ends {
            self.end(place);
        }
        self.out.bytes.len() - start
    }

    /// A block that is larger than a frame may be.
    #[cold]
    fn split_head(&mut self, id: u32, flags: u8, block: &[u8]) {
        let n = block.len().div_ceil(self.frame_bytes_max);
        for (idx, part) in block.chunks(self.frame_bytes_max).enumerate() {
            let kind = if idx == 0 { frame::HEADERS } else { frame::CONTINUATION };
            let flags = if idx == 0 { flags } else { 0 };
            let last = if idx + 1 == n { frame::END_HEADERS } else { 0 };
            frame::push_head(part.len(), kind, flags | last, id, &mut self.out.bytes);
            self.out.bytes.extend_from_slice(part);
        }
    }

    /// Sends a piece of a body, no larger than `sendable`, in frames of at most `frame_bytes`.
    pub fn send_data(&mut self, place: u32, mut bytes: Buf, frame_bytes: usize, ends: bool) {
        let max = frame_bytes.min(self.frame_bytes_max).max(1);
        let mut left = bytes.len();
        loop {
            let n = left.min(max);
            left -= n;
            let last = ends && left == 0;
            if !self.data_head(place, n, last) {
                return;
            }
            self.out.push(bytes.split_to(n));
            if left == 0 {
                break;
            }
        }
        if ends {
            self.end(place);
        }
    }

    /// As `send_data`, for a piece that is copied.
    pub fn send_data_copied(&mut self, place: u32, bytes: &[u8], frame_bytes: usize, ends: bool) {
        let max = frame_bytes.min(self.frame_bytes_max).max(1);
        let mut rest = bytes;
        loop {
            let (now, more) = rest.split_at(rest.len().min(max));
            rest = more;
            if !self.data_head(place, now.len(), ends && rest.is_empty()) {
                return;
            }
            self.out.bytes.extend_from_slice(now);
            if rest.is_empty() {
                break;
            }
        }
        if ends {
            self.end(place);
        }
    }

    #[inline]
    fn data_head(&mut self, place: u32, len: usize, last: bool) -> bool {
        let Some(stream) = self.streams.get_mut(place) else { return false };
        stream.send_window -= len as i64;
        self.send_window -= len as i64;
        self.flood.n_sent += 1;
        let flags = if last { frame::END_STREAM } else { 0 };
        frame::push_head(len, frame::DATA, flags, stream.id, &mut self.out.bytes);
        true
    }

    /// Our end of the stream is closed. If the client's is not, it will be told that no more is wanted.
    fn end(&mut self, place: u32) {
        self.flood.n_answered += 1;
        let Some(stream) = self.remove(place, true) else { return };
        if !stream.remote_closed {
            self.unwanted.push(stream.id);
        }
    }

    /// Tells the client of which streams no more is wanted (RFC 9113, section 8.1); says whether there were any. To be
    /// called when the answers have gone: clients that read both at once may forget the answer.
    pub fn decline_rest(&mut self) -> bool {
        let unwanted = std::mem::take(&mut self.unwanted);
        unwanted.iter().for_each(|id| frame::push_reset(*id, Code::NO_ERROR, &mut self.out.bytes));
        !unwanted.is_empty()
    }

    /// Cancels a stream.
    pub fn reset(&mut self, place: u32, code: Code) {
        if let Some(stream) = self.remove(place, true) {
            frame::push_reset(stream.id, code, &mut self.out.bytes);
        }
    }

    pub(super) fn remove(&mut self, place: u32, by_us: bool) -> Option<Stream> {
        let stream = self.streams.remove(place, by_us)?;
        self.growth -= stream.recv_target.saturating_sub(self.limits.window);
        Some(stream)
    }

    /// `n` bytes of a body have been taken: the client may send as many more. `eager`: the body is taken as it comes,
    /// so that a larger window would make it faster.
    pub fn taken(&mut self, place: u32, n: usize, eager: bool) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        stream.taken += n as u32;
        if stream.remote_closed || stream.taken < stream.recv_target / 2 {
            return;
        }
        if eager && stream.recv_target < STREAM_WINDOW_MAX && stream.recv_target > 0 {
            let more = stream.recv_target.min(STREAM_WINDOW_MAX - stream.recv_target);
            if self.growth + more <= GROWTH_MAX {
                self.growth += more;
                stream.recv_target += more;
                stream.taken += more;
            }
        }
        self.give(place);
    }

    /// A body is wanted whose stream has a window that is smaller than usual: it gets one of this size.
    pub fn want(&mut self, place: u32, window: u32) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let more = window.saturating_sub(stream.recv_target);
        if more > 0 && !stream.remote_closed && self.growth + more <= GROWTH_MAX {
            self.growth += more;
            stream.recv_target += more;
            stream.taken += more;
            self.give(place);
        }
    }

    fn give(&mut self, place: u32) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let n = std::mem::take(&mut stream.taken);
        stream.recv_window += i64::from(n);
        frame::push_window_update(stream.id, n, &mut self.out.bytes);
    }

    /// The client is asked to open no more streams; those that are on their way are still served. An answer to the
    /// PING behind it (`Event::ShutdownSeen`) tells that `goaway` will lose none.
    pub fn announce_goaway(&mut self) {
        if self.goaway.is_none() {
            frame::push_goaway(STREAM_MAX, Code::NO_ERROR, &mut self.out.bytes);
            frame::push_ping(0, SHUTDOWN_PING, &mut self.out.bytes);
        }
    }

    /// From now on streams that the client opens are not served, and it is told so.
    pub fn goaway(&mut self, code: Code) {
        if self.goaway.is_none() || code != Code::NO_ERROR {
            self.goaway = Some(self.last_id);
            frame::push_goaway(self.last_id, code, &mut self.out.bytes);
        }
    }

    pub fn is_going_away(&self) -> bool {
        self.goaway.is_some()
    }

    pub(super) fn allow_table(&mut self, size: usize) {
        self.encoder.allow(size);
    }

    /// Gives back what an idle connection does not need.
    pub fn shrink(&mut self) {
        if self.streams.len() == 0 {
            self.streams.shrink();
            self.decoder.shrink();
            self.out.shrink();
            self.head = Head::default();
            self.reading.shrink();
        }
    }
}
