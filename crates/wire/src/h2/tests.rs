//! The machine as a client sees it: frames in, events and frames out.

use super::hpack::{Decoder, Encoder};
use super::*;
use crate::buf::Buf;
use crate::h1::RequestRules;
use crate::name::Name;

const LIMITS: Limits = Limits {
    streams_max: 4,
    window: 65536,
    string_bytes_max: 8192,
    head_bytes_max: 32768,
    rules: RequestRules { underscores: false, ignore_invalid: true, fields_max: 20 },
};

/// What a client sends.
#[derive(Default)]
struct Client {
    bytes: Vec<u8>,
    encoder: Encoder,
}

const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "example.com")];

impl Client {
    fn new() -> Client {
        let mut client = Client { bytes: PREFACE.to_vec(), ..Client::default() };
        frame::push_settings(&[], &mut client.bytes);
        client
    }

    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            // Names as they are: the encoder would mend them.
            match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => {
                    block.extend_from_slice(&[0, name.len() as u8]);
                    block.extend_from_slice(name.as_bytes());
                    block.push(value.len() as u8);
                    block.extend_from_slice(value.as_bytes());
                }
                false => self.encoder.field(Name::Other, name.as_bytes(), value.as_bytes(), &mut block),
            }
        }
        block
    }

    fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Client {
        frame::push_head(payload.len(), kind, flags, stream, &mut self.bytes);
        self.bytes.extend_from_slice(payload);
        self
    }

    fn head(mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Client {
        let block = self.block(fields);
        self.frame(frame::HEADERS, flags | frame::END_HEADERS, stream, &block)
    }

    fn get(self, stream: u32) -> Client {
        self.head(stream, frame::END_STREAM, GET)
    }

    fn post(self, stream: u32) -> Client {
        self.head(stream, 0, GET)
    }
}

/// Events as text, one a line, and how the connection ended if it did.
fn events(mux: &mut Mux, bytes: &[u8], pieces: impl Fn(usize) -> usize) -> String {
    let mut text = String::new();
    let mut data: Option<(u32, usize)> = None;
    let (mut at, mut n) = (0, 0);
    while at < bytes.len() {
        let len = pieces(n).clamp(1, bytes.len() - at);
        n += 1;
        let mut piece = Buf::copy_from(&bytes[at..at + len]);
        at += len;
        loop {
            let event = match mux.receive(&mut piece, 0) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(fault) => return text + &format!("fault {}: {}", fault.code.0, fault.text),
            };
            // Pieces of data come as they came: how many says nothing.
            if let Event::Data { place, bytes, overhead, ends } = &event {
                let sum = data.map_or(0, |it| it.1) + bytes.len() + *overhead as usize;
                data = Some((*place, sum));
                if *ends {
                    text += &format!("data {place} {sum} ends\n");
                    data = None;
                }
                continue;
            }
            if let Some((place, sum)) = data.take() {
                text += &format!("data {place} {sum}\n");
            }
            text += &tell(mux, event);
        }
    }
    if let Some((place, sum)) = data {
        text += &format!("data {place} {sum}\n");
    }
    text
}

fn tell(mux: &mut Mux, event: Event) -> String {
    match event {
        Event::Request { place, ends } => {
            let head = mux.head_mut();
            if let Some(fault) = &head.fault {
                return format!("bad {place} {} {}\n", fault.status, fault.text.escape_ascii());
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let fields: Vec<_> = head.fields.iter().map(|(n, v)| text(n) + "=" + &text(v)).collect();
            let line = format!("{} {} {}", text(&head.method_name), text(&head.target), text(&head.host));
            format!("request {place} {line} {}{}\n", fields.join("|"), if ends { " ends" } else { "" })
        }
        Event::Trailers { place, fields } => format!("trailers {place} {fields:?}\n"),
        Event::Reset { place, code, by_client } => format!("reset {place} {} {by_client}\n", code.0),
        Event::Window { place } => format!("window {place:?}\n"),
        Event::ShutdownSeen => "seen\n".to_owned(),
        Event::GoAway => "goaway\n".to_owned(),
        Event::Data { .. } => String::new(),
    }
}

fn all(client: Client) -> String {
    events(&mut Mux::new(LIMITS), &client.bytes, |_| usize::MAX)
}

/// The frames that are waiting, and forgets them: kind, flags, stream, payload.
fn sent(mux: &mut Mux) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut slices = [&b""[..]; SLICES_MAX];
    let n = mux.out.slices(&mut slices);
    let bytes = slices[..n].concat();
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(head) = frame::Head::read(&bytes[at..]) {
        at += frame::HEAD_BYTES;
        frames.push((head.kind, head.flags, head.stream, bytes[at..at + head.len].to_vec()));
        at += head.len;
    }
    mux.out.advance(bytes.len());
    frames
}

/// A machine that has read this, and what it has sent since it began.
fn after(client: &Client) -> Mux {
    let mut mux = Mux::new(LIMITS);
    sent(&mut mux);
    events(&mut mux, &client.bytes, |_| usize::MAX);
    mux
}

#[test]
fn a_request_becomes_what_http_1_would_make_of_it() {
    let fields = [GET, &[("cookie", "a=b"), ("user-agent", "x"), ("cookie", "c=d")]].concat();
    let want = "request 0 GET / example.com user-agent=x|cookie=a=b; c=d|host=example.com ends\n";
    assert_eq!(all(Client::new().head(1, frame::END_STREAM, &fields)), want);
}

#[test]
fn heads_are_refused_as_nginx_does() {
    for (fields, want) in [
        (&[("x", "y")][..], "400 client sent no :method header"),
        (&[(":method", "GET"), (":path", "/")], "400 client sent no :scheme header"),
        (&[(":method", "GET"), (":scheme", "http")], "400 client sent no :path header"),
        (&[("A", "b")], "400 client sent invalid header name: \\\"A\\\""),
        (&[(":method", "get ")], "400 client sent invalid method: \\\"get \\\""),
        (&[(":method", "GET"), (":method", "GET")], "400 client sent duplicate :method header"),
        (&[(":path", "a")], "400 client sent invalid :path header: \\\"a\\\""),
        (&[(":status", "200")], "400 client sent unknown pseudo-header \\\":status\\\""),
        (&[(":authority", "a b")], "400 client sent invalid \\\":authority\\\" header"),
    ] {
        assert_eq!(all(Client::new().head(1, 1, fields)), format!("bad 0 {want}\n"), "{fields:?}");
    }
    for (field, want) in [
        (("connection", "close"), "400 client sent \\\"Connection\\\" header"),
        (("upgrade", "h2c"), "400 client sent \\\"Upgrade\\\" header"),
        (("transfer-encoding", "chunked"), "400 client sent \\\"Transfer-Encoding\\\" header"),
        (("te", "gzip"), "400 client sent invalid \\\"TE\\\" header"),
        (
            ("host", "other"),
            "400 client sent \\\":authority\\\" and \\\"Host\\\" headers with different values",
        ),
        (("content-length", "x"), "400 client sent invalid \\\"Content-Length\\\" header"),
        (("content-length", "5"), "400 client prematurely closed stream"),
        ((":path", "/"), "400 client sent out of order pseudo-headers"),
        (("a", "b\r\nc"), "400 client sent header \\\"a\\\" with invalid value: \\\"b\\r\\nc\\\""),
        ((":protocol", "websocket"), "400 client sent out of order pseudo-headers"),
    ] {
        let fields = [GET, &[("x", "y"), field]].concat();
        assert_eq!(all(Client::new().head(1, 1, &fields)), format!("bad 0 {want}\n"), "{field:?}");
    }
    let many = [GET, &[("x", "y"); 21]].concat();
    assert_eq!(all(Client::new().head(1, 1, &many)), "bad 0 494 client sent too many header lines\n");
    let odd = [GET, &[("a_b", "1"), ("c.d", "2")]].concat();
    assert_eq!(all(Client::new().head(1, 1, &odd)), "request 0 GET / example.com host=example.com ends\n");
    let no_host = all(Client::new().head(1, 1, &GET[..3]));
    assert_eq!(no_host, "bad 0 400 client sent neither \\\":authority\\\" nor \\\"Host\\\" header\n");
}

#[test]
fn chunks_make_no_difference() {
    let big = "v".repeat(7000);
    let fields = [GET, &[("big", big.as_str())]].concat();
    let mut client = Client::new().get(1).head(3, 0, &fields);
    let block = client.block(&fields);
    client = client
        .frame(frame::DATA, frame::PADDED, 3, &[&[9][..], &[7; 5000]].concat())
        .frame(frame::PING, 0, 0, &[1; 8])
        .frame(frame::HEADERS, 1, 5, &block[..100])
        .frame(frame::CONTINUATION, 0, 5, &block[100..3000])
        .frame(frame::CONTINUATION, frame::END_HEADERS, 5, &block[3000..])
        .frame(77, 0, 9, &[0; 300])
        .frame(frame::DATA, 0, 3, &[7; 20000])
        .frame(frame::WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0])
        .head(3, frame::END_STREAM, &[("x-sum", "1")])
        .frame(frame::RST_STREAM, 0, 5, &[0, 0, 0, 8])
        .frame(frame::GOAWAY, 0, 0, &[0; 8]);
    let want = all(Client { bytes: client.bytes.clone(), ..Client::default() });
    assert_eq!(want.lines().count(), 8, "{want}");
    let mut seed = 7_u64;
    for round in 0..24 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let start = seed;
        let max = [2, 12, 100, 9000][round % 4];
        let pieces = |n: usize| (start.wrapping_mul(n as u64 + 3) >> 40) as usize % max + 1;
        let mut mux = Mux::new(LIMITS);
        assert_eq!(events(&mut mux, &client.bytes, pieces), want, "seed {start}");
        assert!(mux.reading.is_between_frames());
    }
}

#[test]
fn broken_frames_end_the_connection() {
    let new = Client::new;
    let cases: Vec<(Client, &str)> = vec![
        (
            Client { bytes: b"GET / HTTP/1.1\r\n".to_vec(), ..Client::default() },
            "1: invalid connection preface",
        ),
        (new().frame(frame::DATA, 0, 0, b"x"), "1: client sent DATA frame with incorrect identifier"),
        (new().frame(frame::DATA, 0, 1, b"x"), "1: client sent DATA frame for a stream that is idle"),
        (new().post(1).frame(frame::DATA, 8, 1, b""), "6: client sent padded DATA"),
        (new().post(1).frame(frame::DATA, 8, 1, b"\x02x"), "1: client sent padded DATA"),
        (new().get(2), "1: client sent HEADERS frame with incorrect identifier 2, the last was 0"),
        (new().get(3).get(1), "1: client sent HEADERS frame with incorrect identifier 1, the last was 3"),
        (new().frame(frame::HEADERS, 4, 1, b""), "6: client sent HEADERS frame with empty"),
        (new().frame(frame::HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff"), "9: "),
        (new().frame(frame::HEADERS, 0, 1, b"\x82").get(3), "1: client sent inappropriate frame while"),
        (new().frame(frame::CONTINUATION, 4, 1, b""), "1: client sent unexpected CONTINUATION"),
        (new().frame(frame::PRIORITY, 0, 1, b"123"), "6: client sent PRIORITY"),
        (new().frame(frame::PRIORITY, 0, 1, b"\0\0\0\x01\0"), "1: client sent PRIORITY"),
        (new().frame(frame::RST_STREAM, 0, 1, b"123"), "6: client sent RST_STREAM"),
        (new().frame(frame::RST_STREAM, 0, 1, b"1234"), "1: client sent RST_STREAM"),
        (new().frame(frame::SETTINGS, 1, 0, b"123456"), "6: client sent SETTINGS"),
        (new().frame(frame::SETTINGS, 0, 0, b"12345"), "6: client sent SETTINGS"),
        (new().frame(frame::SETTINGS, 0, 1, b""), "1: client sent SETTINGS"),
        (new().frame(frame::SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), "1: client sent SETTINGS"),
        (new().frame(frame::SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), "3: client sent SETTINGS"),
        (new().frame(frame::SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"), "1: client sent SETTINGS"),
        (new().frame(frame::PUSH_PROMISE, 0, 1, b""), "1: client sent PUSH_PROMISE"),
        (new().frame(frame::PING, 0, 0, b"1"), "6: client sent PING"),
        (new().frame(frame::PING, 0, 1, b"12345678"), "1: client sent PING"),
        (new().frame(frame::GOAWAY, 0, 0, b"1"), "6: client sent GOAWAY"),
        (new().frame(frame::GOAWAY, 0, 1, b"12345678"), "1: client sent GOAWAY"),
        (new().frame(frame::WINDOW_UPDATE, 0, 0, b"123"), "6: client sent WINDOW_UPDATE"),
        (new().frame(frame::WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), "1: client sent WINDOW_UPDATE"),
        (new().frame(frame::WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), "3: client violated connection"),
        (new().frame(frame::WINDOW_UPDATE, 0, 5, b"\0\0\0\x01"), "1: client sent WINDOW_UPDATE"),
        (new().frame(frame::PRIORITY_UPDATE, 0, 5, b"12345"), "1: client sent PRIORITY_UPDATE"),
    ];
    for (client, want) in cases {
        let bytes = client.bytes.escape_ascii().to_string();
        let seen = all(client);
        let last = seen.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("fault {want}")), "{bytes}: {seen}");
    }
}

#[test]
fn broken_streams_leave_the_connection_alone() {
    let new = Client::new;
    for (client, code) in [
        (new().get(1).frame(frame::DATA, 0, 1, b"x"), 5),
        (new().post(1).frame(frame::WINDOW_UPDATE, 0, 1, b"\0\0\0\0"), 1),
        (new().post(1).frame(frame::WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), 3),
        (new().post(1).head(1, frame::END_STREAM, &[(":path", "/")]), 1),
        (new().post(1).frame(frame::DATA, 0, 1, &[0; 65536 + 1025]), 3),
    ] {
        let mut mux = Mux::new(LIMITS);
        sent(&mut mux);
        let seen = events(&mut mux, &client.get(3).bytes, |_| usize::MAX);
        assert!(seen.contains(&format!("reset 0 {code} false\nrequest 0")), "{code}: {seen}");
        let reset = (frame::RST_STREAM, 0, 1, u32::to_be_bytes(code).to_vec());
        assert!(sent(&mut mux).contains(&reset));
    }
}

#[test]
fn what_comes_late_is_passed_over() {
    let mut mux = after(&Client::new().post(1));
    mux.reset(0, Code::CANCEL);
    let late = Client::default()
        .frame(frame::DATA, 0, 1, &[0; 3000])
        .frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])
        .head(1, frame::END_STREAM, &[("a", "b")])
        .frame(frame::RST_STREAM, 0, 1, &[0; 4]);
    assert_eq!(events(&mut mux, &late.bytes, |_| usize::MAX), "");
    assert_eq!(mux.n_streams(), 0);
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let whole = Client::new().get(1).get(3);
    let cut = whole.bytes.len() - 5;
    let mut mux = after(&Client { bytes: whole.bytes[..cut].to_vec(), ..Client::default() });
    sent(&mut mux);
    assert!(mux.has_partial_head());
    mux.abandon_head();
    assert!(!mux.has_partial_head());
    assert_eq!(sent(&mut mux), [(frame::RST_STREAM, 0, 3, vec![0, 0, 0, 1])]);
    let rest = [&whole.bytes[cut..], &Client::default().get(5).bytes].concat();
    assert!(events(&mut mux, &rest, |_| usize::MAX).starts_with("request 1 GET"));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_tables_stay_in_step() {
    let mut client = Client::new();
    for stream in 0..6 {
        let fields = [GET, &[("x-long-lived", "value")]].concat();
        client = client.head(stream * 2 + 1, frame::END_STREAM, &fields);
    }
    let mut mux = Mux::new(LIMITS);
    sent(&mut mux);
    let seen = events(&mut mux, &client.bytes, |_| usize::MAX);
    assert_eq!(seen.lines().filter(|line| line.contains("x-long-lived=value")).count(), 4);
    let refused: Vec<_> = sent(&mut mux).into_iter().filter(|it| it.0 == frame::RST_STREAM).collect();
    assert_eq!(refused, [9, 11].map(|id| (frame::RST_STREAM, 0, id, vec![0, 0, 0, 7])));
}

#[test]
fn floods_are_noticed() {
    let flood = |step: &dyn Fn(Client, u32) -> Client| {
        let mut client = Client::new();
        for n in 0..12_000 {
            client = step(client, n);
        }
        let seen = all(client);
        seen.lines().last().map(str::to_owned).unwrap_or_default()
    };
    let want = "fault 11: http2 flood detected";
    assert_eq!(flood(&|it, n| it.get(n * 2 + 1).frame(frame::RST_STREAM, 0, n * 2 + 1, &[0; 4])), want);
    assert_eq!(flood(&|it, n| it.get(n * 2 + 1).frame(frame::WINDOW_UPDATE, 0, n * 2 + 1, &[0; 4])), want);
    assert_eq!(flood(&|it, _| it.frame(frame::PING, 0, 0, &[0; 8])), want);
    assert_eq!(flood(&|it, _| it.frame(frame::SETTINGS, 0, 0, &[])), want);
    assert_eq!(flood(&|it, n| if n == 0 { it.post(1) } else { it.frame(frame::DATA, 0, 1, &[]) }), want);
    assert_eq!(flood(&|it, n| it.frame(frame::PRIORITY, 0, n * 2 + 1, &[0; 5])), want);
    assert_eq!(
        flood(&|it, n| if n == 0 { it.get(1) } else { it.frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]) }),
        want
    );
    let continued = |it: Client, n| match n {
        0 => it.frame(frame::HEADERS, 1, 1, b"\x82"),
        _ => it.frame(frame::CONTINUATION, 0, 1, b""),
    };
    assert_eq!(flood(&continued), want);
    assert_eq!(flood(&|it, n| it.get(n * 2 + 1)), "fault 11: client sent too many refused streams");
}

#[test]
fn bombs_are_refused() {
    let value = "v".repeat(4000);
    let mut client = Client::new();
    // Sent twice, so that the encoder remembers it, and then again and again with one byte.
    let mut block = Vec::new();
    block.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    block.extend_from_slice(value.as_bytes());
    block.extend_from_slice(&[0xbe; 10_000]);
    client = client.frame(frame::HEADERS, 5, 1, &block);
    assert_eq!(all(client), "fault 11: client sent too large header");
    let client = Client::new().frame(frame::HEADERS, 5, 1, &[0; 60_000]);
    assert_eq!(all(client), "fault 11: client sent too large header");
}

#[test]
fn answers_go_out_as_far_as_windows_allow() {
    let mut mux = after(&Client::new().get(1).get(3));
    sent(&mut mux);
    mux.send_head(0, false, |it, out| {
        it.status(200, out);
        it.field(Name::ContentType, b"Content-Type", b"text/plain", out);
    });
    assert_eq!(mux.sendable(0), 65535);
    mux.send_data(0, Buf::from_vec(vec![1; 60000]), 8192, false);
    assert_eq!((mux.sendable(0), mux.sendable(1)), (5535, 5535));
    mux.send_data_copied(1, &[2; 5535], 100_000, false);
    assert_eq!(mux.sendable(0), 0);
    let frames = sent(&mut mux);
    let mut head = String::new();
    Decoder::new(100).decode(&frames[0].3, |it| head += &format!("{}|", it.value.escape_ascii())).unwrap();
    assert_eq!(head, "200|text/plain|");
    let lens: Vec<_> = frames[1..].iter().map(|it| it.3.len()).collect();
    assert_eq!(lens, [8192, 8192, 8192, 8192, 8192, 8192, 8192, 2656, 5535]);
    let more = Client::default().frame(frame::WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]);
    assert_eq!(events(&mut mux, &more.bytes, |_| usize::MAX), "window None\n");
    assert_eq!((mux.sendable(0), mux.sendable(1)), (5535, 60000));
    let shut = Client::default().frame(frame::SETTINGS, 0, 0, b"\0\x04\0\0\0\0");
    assert_eq!(events(&mut mux, &shut.bytes, |_| usize::MAX), "");
    assert_eq!((mux.sendable(0), mux.sendable(1)), (0, 0));
    mux.send_data_copied(0, b"", 8192, true);
    assert_eq!(sent(&mut mux).last(), Some(&(frame::DATA, frame::END_STREAM, 1, vec![])));
    assert_eq!(mux.n_streams(), 1);
}

#[test]
fn an_answer_before_the_end_of_the_request_says_that_no_more_is_wanted() {
    let mut mux = after(&Client::new().post(1));
    sent(&mut mux);
    mux.send_head(0, true, |it, out| it.status(413, out));
    assert_eq!(sent(&mut mux).len(), 1);
    assert!(mux.decline_rest() && !mux.decline_rest());
    assert_eq!(sent(&mut mux), [(frame::RST_STREAM, 0, 1, vec![0; 4])]);
}

#[test]
fn windows_grow_where_bodies_are_taken_fast() {
    let mut mux = after(&Client::new().post(1).frame(frame::DATA, 0, 1, &[0; 40_000]));
    sent(&mut mux);
    mux.taken(0, 20_000, true);
    assert!(sent(&mut mux).is_empty());
    mux.taken(0, 20_000, true);
    let more = 40_000 + 65_536_u32;
    assert_eq!(sent(&mut mux), [(frame::WINDOW_UPDATE, 0, 1, more.to_be_bytes().to_vec())]);
    mux.taken(0, 70_000, false);
    assert_eq!(sent(&mut mux), [(frame::WINDOW_UPDATE, 0, 1, 70_000_u32.to_be_bytes().to_vec())]);
}

#[test]
fn a_large_head_is_continued() {
    let mut mux = after(&Client::new().get(1));
    sent(&mut mux);
    let value = vec![0xff; 40_000];
    mux.send_head(0, true, |it, out| it.field(Name::Other, b"X-Large", &value, out));
    let frames = sent(&mut mux);
    let kinds: Vec<_> = frames.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(kinds, [(1, 1), (9, 0), (9, 4)]);
    let block: Vec<u8> = frames.into_iter().flat_map(|it| it.3).collect();
    let mut seen = 0;
    Decoder::new(50_000).decode(&block, |it| seen = it.value.len()).unwrap();
    assert_eq!(seen, 40_000);
}

#[test]
fn the_end_is_announced_and_loses_nothing() {
    let mut mux = after(&Client::new().get(1));
    sent(&mut mux);
    mux.announce_goaway();
    let frames = sent(&mut mux);
    assert_eq!(frames[0].3, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let ping = frames[1].3.clone();
    let more = Client::default().get(3).frame(frame::PING, frame::ACK, 0, &ping);
    assert!(events(&mut mux, &more.bytes, |_| usize::MAX).ends_with("ends\nseen\n"));
    mux.goaway(Code::NO_ERROR);
    assert_eq!(sent(&mut mux)[0].3, [0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(events(&mut mux, &Client::default().get(5).bytes, |_| usize::MAX), "");
    assert!(sent(&mut mux).is_empty() && mux.n_streams() == 2);
}
