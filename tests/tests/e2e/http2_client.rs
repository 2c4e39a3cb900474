//! A client that speaks HTTP/2 frame by frame, on any connection. It shares the codec with the server: that nginx
//! understands it, too, is what speaks for both.

use std::collections::HashMap;

use foregate_testkit::Client;
use foregate_wire::Name;
use foregate_wire::h2::frame::{self, HEAD_BYTES, Head};
use foregate_wire::h2::hpack::{Decoder, Encoder};
use foregate_wire::h2::{PREFACE, WINDOW_FIRST, WINDOW_MAX};

/// The longest field that a test may be sent, bytes.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// A client's side of a connection.
pub(crate) struct Http2 {
    pub(crate) client: Client,
    encoder: Encoder,
    decoder: Decoder,
    /// Received and not read yet.
    bytes: Vec<u8>,
    next_stream: u32,
    /// What streams have answered so far.
    answers: HashMap<u32, Answer>,
    /// What the server's SETTINGS frames said.
    pub(crate) settings: HashMap<u16, u32>,
    /// Its GOAWAY frames: last stream and code.
    pub(crate) goaways: Vec<(u32, u32)>,
    /// WINDOW_UPDATE frames: stream and increment.
    pub(crate) updates: Vec<(u32, u32)>,
    /// Payloads of PINGs that were answered.
    pub(crate) pongs: Vec<Vec<u8>>,
    block: Vec<u8>,
}

/// What a stream has been answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// 0 until its head has come.
    pub(crate) status: u16,
    /// Interim answers before it.
    pub(crate) interim: Vec<u16>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Lengths of its DATA frames.
    pub(crate) frames: Vec<usize>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The code of a RST_STREAM.
    pub(crate) reset: Option<u32>,
    /// END_STREAM has come.
    pub(crate) ended: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// Pseudo-header fields of a GET.
pub(crate) fn get_fields(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
}

/// Pseudo-header fields of a POST.
pub(crate) fn post_fields(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
}

impl Http2 {
    /// Begins with windows that never close.
    pub(crate) fn new(client: Client) -> Http2 {
        let mut it = Http2::with_settings(client, &[(frame::INITIAL_WINDOW_SIZE, WINDOW_MAX)]);
        it.give(0, WINDOW_MAX - WINDOW_FIRST);
        it
    }

    /// Begins with these settings, and the windows that follow from them.
    pub(crate) fn with_settings(client: Client, settings: &[(u16, u32)]) -> Http2 {
        let mut it = Http2 {
            client,
            encoder: Encoder::default(),
            decoder: Decoder::new(FIELD_BYTES_MAX),
            bytes: Vec::new(),
            next_stream: 1,
            answers: HashMap::new(),
            settings: HashMap::new(),
            goaways: Vec::new(),
            updates: Vec::new(),
            pongs: Vec::new(),
            block: Vec::new(),
        };
        let mut bytes = PREFACE.to_vec();
        frame::push_settings(settings, &mut bytes);
        it.client.send(bytes);
        it
    }

    /// Sends a frame as it is given.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::push_head(payload.len(), kind, flags, stream, &mut bytes);
        bytes.extend_from_slice(payload);
        self.client.send(bytes);
    }

    /// Lets the server send so many bytes more on a stream, or on all.
    pub(crate) fn give(&mut self, stream: u32, bytes: u32) {
        self.frame(frame::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// A header block of these fields.
    pub(crate) fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            self.encoder.field(Name::Other, name.as_bytes(), value.as_bytes(), &mut block);
        }
        block
    }

    /// Opens a stream; `ends`: there is no body.
    pub(crate) fn open(&mut self, fields: &[(&str, &str)], ends: bool) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let block = self.block(fields);
        let flags = frame::END_HEADERS | if ends { frame::END_STREAM } else { 0 };
        self.frame(frame::HEADERS, flags, stream, &block);
        stream
    }

    /// Opens a stream that asks for a path.
    pub(crate) fn ask(&mut self, path: &str) -> u32 {
        self.open(&get_fields(path), true)
    }

    /// Asks for a path and waits for the answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let stream = self.ask(path);
        self.answer(stream)
    }

    /// Sends a piece of a body.
    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.frame(frame::DATA, u8::from(ends), stream, bytes);
    }

    /// Waits for the whole answer on a stream; what there is of it where the connection ends before.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        while !self.so_far(stream).is_over() && self.read() {}
        self.so_far(stream)
    }

    /// What has been answered on a stream until now.
    pub(crate) fn so_far(&mut self, stream: u32) -> Answer {
        self.answers.entry(stream).or_default().clone()
    }

    /// Reads until `found` is true of what has come; `false`: the connection ended before.
    pub(crate) fn read_until(&mut self, found: impl Fn(&mut Http2) -> bool) -> bool {
        while !found(self) {
            if !self.read() {
                return false;
            }
        }
        true
    }

    /// Reads until the server closes.
    pub(crate) fn read_to_end(&mut self) {
        while self.read() {}
    }

    /// Whether the server answers a PING: all that was sent before has been read by then.
    pub(crate) fn is_alive(&mut self) -> bool {
        let n = self.pongs.len();
        self.frame(frame::PING, 0, 0, b"aliveyet");
        self.read_until(|it| it.pongs.len() > n)
    }

    /// Reads one frame; `false`: the server has closed.
    fn read(&mut self) -> bool {
        loop {
            if let Some(head) = Head::read(&self.bytes)
                && self.bytes.len() >= HEAD_BYTES + head.len
            {
                let rest = self.bytes.split_off(HEAD_BYTES + head.len);
                let frame = std::mem::replace(&mut self.bytes, rest);
                self.take(head, &frame[HEAD_BYTES..]);
                return true;
            }
            let some = self.client.some();
            if some.is_empty() {
                return false;
            }
            self.bytes.extend_from_slice(&some);
        }
    }

    fn take(&mut self, head: Head, payload: &[u8]) {
        let number =
            |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("because four are four"));
        match head.kind {
            frame::DATA => {
                let answer = self.answers.entry(head.stream).or_default();
                answer.body.extend_from_slice(payload);
                answer.frames.push(payload.len());
                answer.ended |= head.has(frame::END_STREAM);
            }
            frame::HEADERS | frame::CONTINUATION => self.take_head(head, payload),
            frame::RST_STREAM => self.answers.entry(head.stream).or_default().reset = Some(number(0)),
            frame::SETTINGS if !head.has(frame::ACK) => {
                for setting in payload.chunks_exact(frame::SETTING_BYTES) {
                    let name = u16::from_be_bytes([setting[0], setting[1]]);
                    let value = [setting[2], setting[3], setting[4], setting[5]];
                    self.settings.insert(name, u32::from_be_bytes(value));
                }
                self.frame(frame::SETTINGS, frame::ACK, 0, &[]);
            }
            frame::PING if head.has(frame::ACK) => self.pongs.push(payload.to_vec()),
            frame::PING => self.frame(frame::PING, frame::ACK, 0, payload),
            frame::GOAWAY => self.goaways.push((number(0), number(4))),
            frame::WINDOW_UPDATE => self.updates.push((head.stream, number(0))),
            _ => {}
        }
    }

    fn take_head(&mut self, head: Head, payload: &[u8]) {
        self.block.extend_from_slice(payload);
        let answer = self.answers.entry(head.stream).or_default();
        answer.ended |= head.kind == frame::HEADERS && head.has(frame::END_STREAM);
        if !head.has(frame::END_HEADERS) {
            return;
        }
        let block = std::mem::take(&mut self.block);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        self.decoder
            .decode(&block, |it| fields.push((text(it.name), text(it.value))))
            .expect("because the server encodes as it should");
        match fields.first() {
            Some((name, value)) if name == ":status" => match value.parse() {
                Ok(status @ 100..200) => answer.interim.push(status),
                Ok(status) => {
                    answer.status = status;
                    answer.fields = fields.split_off(1);
                }
                Err(_) => panic!("{value:?} is no status"),
            },
            _ => answer.trailers = fields,
        }
    }
}
