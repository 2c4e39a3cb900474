//! The client's side against the server's, and against peers that do not keep the rules.

use super::{Client, Draft, Event, Fault};
use crate::buf::Buf;
use crate::fields::Fields;
use crate::h1::RequestRules;
use crate::h2::frame;
use crate::h2::{self, Limits, Mux, SLICES_MAX};
use crate::name::Name;

const HEAD_MAX: usize = 4096;

fn draft(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        Draft::field(name.as_bytes(), value.as_bytes(), &mut bytes);
    }
    Draft::end(&mut bytes);
    bytes.extend_from_slice(b"behind");
    bytes
}

fn request() -> Vec<u8> {
    draft(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a?b"),
        (":authority", "h"),
        ("TE", "trailers"),
    ])
}

fn sent(out: &mut h2::Out) -> Buf {
    let mut slices = [&b""[..]; SLICES_MAX];
    let n = out.slices(&mut slices);
    let all = slices[..n].concat();
    out.advance(all.len());
    Buf::from_vec(all)
}

fn server() -> Mux {
    let rules = RequestRules { fields_max: 100, underscores: false, ignore_invalid: true };
    Mux::new(Limits { streams_max: 10, window: 65_536, string_bytes_max: 4096, head_bytes_max: 8192, rules })
}

/// A client that has sent its head, in the stage before an answer.
fn asking(ends: bool) -> Client {
    let mut client = Client::new();
    client.begin(&Draft::new(&request()), ends);
    client
}

fn frames(parts: &[(u8, u8, u32, &[u8])]) -> Buf {
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in parts {
        frame::push_head(payload.len(), *kind, *flags, *stream, &mut bytes);
        bytes.extend_from_slice(payload);
    }
    Buf::from_vec(bytes)
}

/// What is told of these frames, and the fault that ends it.
fn told(client: &mut Client, mut bytes: Buf) -> String {
    let mut seen = Vec::new();
    loop {
        match client.receive(&mut bytes, HEAD_MAX, 0) {
            Ok(Some(Event::Head(text))) => seen.push(String::from_utf8_lossy(&text).replace("\r\n", "|")),
            Ok(Some(Event::Data(piece))) => seen.push(format!("{} bytes", piece.len())),
            Ok(Some(Event::Over)) => seen.push("over".into()),
            Ok(None) => break,
            Err(Fault(text)) => {
                seen.push(text.into());
                break;
            }
        }
    }
    seen.join(", ")
}

const OK: &[u8] = &[0x88];
const ENDS: u8 = frame::END_STREAM;
const WHOLE: u8 = frame::END_HEADERS;

#[test]
fn a_draft_is_read_as_it_was_written() {
    let bytes = request();
    let draft = Draft::new(&bytes);
    assert_eq!(draft.fields().count(), 5);
    assert_eq!(draft.fields().last(), Some((&b"TE"[..], &b"trailers"[..])));
    assert_eq!(draft.body(), b"behind");
    let mut out = Vec::new();
    Draft::open(b"a", &mut out).close_unless_empty(&mut out);
    assert!(out.is_empty());
}

#[test]
fn client_and_server_understand_each_other() {
    let (mut client, mut server) = (Client::new(), server());
    for round in 0..3 {
        client.begin(&Draft::new(&request()), false);
        let mut bytes = sent(&mut client.out);
        let place = loop {
            match server.receive(&mut bytes, 0) {
                Ok(Some(h2::Event::Request { place, ends: false })) => break place,
                Ok(Some(h2::Event::Window { .. })) => {}
                other => panic!("round {round}: {other:?}"),
            }
        };
        assert_eq!(server.head_mut().target, b"/a?b");
        assert_eq!(server.head_mut().authority, b"h");
        client.send_data(Buf::copy_from(b"ping"), false);
        let mut trailers = Fields::new();
        trailers.push(b"x-t", b"1");
        client.send_trailers(&trailers);
        let mut bytes = sent(&mut client.out);
        assert!(matches!(server.receive(&mut bytes, 0), Ok(Some(h2::Event::Data { ends: false, .. }))));
        assert!(matches!(server.receive(&mut bytes, 0), Ok(Some(h2::Event::Trailers { .. }))));
        server.send_head(place, false, |encoder, out| {
            encoder.status(200, out);
            encoder.field(Name::Other, b"x-a", b"b", out);
        });
        server.send_data(place, Buf::copy_from(b"pong!"), 3, false);
        server.send_head(place, true, |encoder, out| encoder.field(Name::Other, b"grpc-status", b"0", out));
        let answer = sent(&mut server.out);
        assert_eq!(told(&mut client, answer), "HTTP/1.1 200 OK|x-a: b||, 3 bytes, 2 bytes, over");
        let trailers = client.take_trailers().expect("because they were sent");
        assert_eq!(trailers.get(b"grpc-status"), Some(&b"0"[..]));
        assert!(client.may_serve_again());
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let early = [0x48, 3, b'1', b'0', b'3', 0x00, 1, b'l', 1, b'v'];
    let all = frames(&[
        (frame::SETTINGS, 0, 0, &[]),
        (frame::HEADERS, WHOLE, 1, &early),
        (frame::HEADERS, frame::PADDED | frame::WITH_PRIORITY, 1, &[2, 0, 0, 0, 0, 9, 0x88, 0, 0]),
        (frame::CONTINUATION, WHOLE, 1, &[0x00, 1, b'a', 1, b'b']),
        (frame::DATA, frame::PADDED, 1, &[2, b'x', b'y', 0, 0]),
        (99, 0, 1, b"unknown"),
        (frame::DATA, ENDS, 1, b"z"),
    ]);
    for step in 1..all.len() {
        let mut client = asking(true);
        let mut seen = String::new();
        for part in all.chunks(step) {
            seen += &told(&mut client, Buf::copy_from(part)).replace(", ", "");
        }
        let want = "HTTP/1.1 103 |l: v||HTTP/1.1 200 OK|a: b||";
        assert!(seen.starts_with(want) && seen.ends_with("over"), "step {step}: {seen}");
        assert!(client.may_serve_again(), "step {step}");
    }
}

#[test]
fn windows_hold_the_body_back() {
    let mut client = asking(false);
    assert_eq!(client.sendable(), 65_535);
    client.send_data(Buf::from_vec(vec![0; 65_535]), false);
    assert_eq!(client.sendable(), 0);
    let more = |stream, n: u32| frames(&[(frame::WINDOW_UPDATE, 0, stream, &n.to_be_bytes())]);
    assert_eq!(told(&mut client, more(1, 10)), "");
    assert_eq!(client.sendable(), 0);
    assert_eq!(told(&mut client, more(0, 7)), "");
    assert_eq!(client.sendable(), 7);
    let shrink = frames(&[(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 5])]);
    assert_eq!(told(&mut client, shrink), "");
    assert_eq!(client.sendable(), 0);
    assert_eq!(told(&mut client, more(0, u32::MAX)), "upstream sent too large window update");
}

#[test]
fn what_breaks_the_rules_ends_the_connection() {
    let code = |n: u32| n.to_be_bytes();
    let rejected = "upstream rejected request with error 7";
    type Frame<'a> = (u8, u8, u32, &'a [u8]);
    let cases: &[(&[Frame<'_>], &str)] = &[
        (&[(frame::DATA, ENDS, 1, b"x")], "upstream sent unexpected http2 frame: 0"),
        (&[(frame::HEADERS, WHOLE, 1, &[0x82])], "upstream sent invalid header: \":method: GET\""),
        (&[(frame::HEADERS, WHOLE, 1, &[0x8f])], "upstream sent no :status header"),
        (&[(frame::HEADERS, WHOLE, 1, &[0x88, 0x88])], "upstream sent duplicate :status header"),
        (
            &[(frame::HEADERS, WHOLE, 1, &[0x88, 0, 1, b'N', 1, b'v'])],
            "upstream sent invalid header: \"N: v\"",
        ),
        (&[(frame::HEADERS, WHOLE, 3, OK)], "upstream sent frame for unknown stream 3"),
        (
            &[(frame::HEADERS, 0, 1, OK), (frame::PING, 0, 0, &[0; 8])],
            "upstream sent unexpected http2 frame: 6",
        ),
        (
            &[(frame::HEADERS, 0, 1, OK), (frame::CONTINUATION, WHOLE, 0, &[])],
            "upstream sent unexpected http2 frame: 9",
        ),
        (&[(frame::RST_STREAM, 0, 0, &code(7))], "upstream sent unexpected http2 frame: 3"),
        (&[(frame::RST_STREAM, 0, 1, &code(7))], rejected),
        (&[(frame::GOAWAY, 0, 0, &[0; 8])], "upstream sent goaway with error 0"),
        (&[(frame::PUSH_PROMISE, WHOLE, 1, OK)], "upstream sent unexpected push promise frame"),
        (&[(frame::WINDOW_UPDATE, 0, 0, &code(0))], "upstream sent zero window update"),
        (&[(frame::SETTINGS, 0, 0, b"x")], "upstream sent settings frame with invalid length: 1"),
    ];
    for (parts, want) in cases {
        assert_eq!(told(&mut asking(true), frames(parts)), *want, "{parts:?}");
    }
    let trailers = frames(&[(frame::HEADERS, WHOLE, 1, OK), (frame::HEADERS, WHOLE, 1, &[0x0f, 0, 1, b'x'])]);
    let seen = told(&mut asking(true), trailers);
    assert_eq!(seen, "HTTP/1.1 200 OK||, upstream sent trailer without end stream flag");
}

#[test]
fn behind_the_end_a_peer_may_decline_the_rest_once() {
    let reset = |n: u32| frames(&[(frame::RST_STREAM, 0, 1, &n.to_be_bytes())]);
    let answered = || {
        let mut client = asking(false);
        let answer = frames(&[(frame::HEADERS, WHOLE | ENDS, 1, OK)]);
        assert_eq!(told(&mut client, answer), "HTTP/1.1 200 OK||, over");
        client
    };
    let mut client = answered();
    assert!(!client.may_serve_again(), "because the request is not over");
    assert_eq!(told(&mut client, reset(0)), "");
    assert_eq!(told(&mut client, reset(0)), "upstream sent frame for closed stream 1");
    assert_eq!(told(&mut answered(), reset(8)), "upstream rejected request with error 8");
    let late = frames(&[(frame::DATA, 0, 1, b"x")]);
    assert_eq!(told(&mut answered(), late), "upstream sent frame for closed stream 1");
}

#[test]
fn a_flood_ends_the_connection() {
    for (kind, payload, want) in [
        (frame::PING, &[0; 8][..], "upstream sent too many ping frames"),
        (frame::SETTINGS, &[], "upstream sent too many settings frames"),
        (99, &[], "upstream sent too many http2 frames"),
    ] {
        let flood = frames(&vec![(kind, 0, 0, payload); 2000]);
        assert_eq!(told(&mut asking(true), flood), want);
    }
    let mut parts = vec![(frame::HEADERS, 0, 1, OK)];
    parts.extend([(frame::CONTINUATION, 0, 1, &b""[..]); 100]);
    assert_eq!(told(&mut asking(true), frames(&parts)), "upstream sent too many http2 frames");
    let large = vec![0; 16_384];
    let parts = [(frame::HEADERS, 0, 1, &large[..]), (frame::CONTINUATION, 0, 1, &large[..])];
    assert_eq!(told(&mut asking(true), frames(&parts)), "upstream sent too large http2 header");
}

#[test]
fn an_idle_connection_hears_what_is_said() {
    let mut client = asking(true);
    told(&mut client, frames(&[(frame::HEADERS, WHOLE | ENDS, 1, OK)]));
    sent(&mut client.out);
    assert_eq!(told(&mut client, frames(&[(frame::PING, 0, 0, &[1; 8])])), "");
    assert!(client.may_serve_again() && sent(&mut client.out).len() == 17);
    assert_eq!(told(&mut client, frames(&[(frame::GOAWAY, 0, 0, &[0; 8])])), "");
    assert!(!client.may_serve_again());
}
