//! Frames: their head, their kinds and flags, and how the short ones are written (RFC 9113, sections 4 and 6).

use super::Code;

/// Bytes before each frame's payload.
pub const HEAD_BYTES: usize = 9;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// RFC 9218, section 7.1.
pub const PRIORITY_UPDATE: u8 = 16;

/// Of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;

pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
/// RFC 8441, section 3.
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// RFC 9218, section 2.1.
pub const NO_RFC7540_PRIORITIES: u16 = 9;

/// Bytes of one setting.
pub const SETTING_BYTES: usize = 6;

/// A frame's first nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the payload, bytes.
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Reads the head that `bytes` begin with.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Head { len, kind, flags, stream: u32::from_be_bytes(stream) & super::STREAM_MAX })
    }

    #[inline]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s, t, u, v] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s, t, u, v]
    }
}

/// Appends the head of a frame.
#[inline]
pub fn push_head(len: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&Head { len, kind, flags, stream }.to_bytes());
}

pub fn push_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    push_head(settings.len() * SETTING_BYTES, SETTINGS, 0, 0, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn push_settings_ack(out: &mut Vec<u8>) {
    push_head(0, SETTINGS, ACK, 0, out);
}

pub fn push_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    push_head(4, RST_STREAM, 0, stream, out);
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn push_window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    push_head(4, WINDOW_UPDATE, 0, stream, out);
    out.extend_from_slice(&increment.to_be_bytes());
}

pub fn push_ping(flags: u8, payload: [u8; 8], out: &mut Vec<u8>) {
    push_head(payload.len(), PING, flags, 0, out);
    out.extend_from_slice(&payload);
}

pub fn push_goaway(last_stream: u32, code: Code, out: &mut Vec<u8>) {
    push_head(8, GOAWAY, 0, 0, out);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}
