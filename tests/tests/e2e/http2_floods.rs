//! What an HTTP/2 client may not do without end: each flood ends its own connection and nobody else's.

use std::time::{Duration, Instant};

use foregate_testkit::{Backend, Client, Reply, Server, Setup, TIMEOUT, foregate_only};
use foregate_wire::h2::frame;

use crate::http2_client::{Http2, get_fields, post_fields};

/// Frames of a flood: far more than any limit.
const FRAMES: u32 = 30_000;
const CALM: u32 = 11;

const SERVER: &str =
    "server { listen 127.0.0.1:{port:0}; http2 on; send_timeout 1s; client_header_timeout 1s;
    location / { return 200 x; }
    location /app { proxy_pass http://{app}; }
    location /big { } }";

fn with_server(test: impl Fn(&Server)) {
    foregate_only(|subject| {
        let app = Backend::new(|_| Reply::hang());
        let setup = Setup::http(SERVER).backend("app", &app).file("html/big", vec![b'x'; 4 << 20]);
        let server = setup.start(subject);
        test(&server);
        assert_eq!(Http2::new(server.connect()).get("/").status, 200);
    });
}

/// Sends the same bytes again and again until the server closes; the code of its GOAWAY.
fn flood(server: &Server, mut bytes: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut h2 = Http2::new(server.connect());
    for n in 0..FRAMES {
        h2.client.send(bytes(n));
    }
    h2.read_to_end();
    h2.goaways.last().map(|it| it.1)
}

fn bytes_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_head(payload.len(), kind, flags, stream, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A request whose fields stand in the static table, but for the host.
fn request(stream: u32, ends: bool) -> Vec<u8> {
    let block = b"\x82\x86\x84\x41\x01h";
    bytes_of(frame::HEADERS, frame::END_HEADERS | u8::from(ends), stream, block)
}

#[test]
fn control_frames_are_counted() {
    with_server(|server| {
        assert_eq!(flood(server, |_| bytes_of(frame::PING, 0, 0, &[0; 8])), Some(CALM));
        assert_eq!(flood(server, |_| bytes_of(frame::SETTINGS, 0, 0, &[])), Some(CALM));
        assert_eq!(flood(server, |n| bytes_of(frame::PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1])), Some(CALM));
        assert_eq!(flood(server, |_| bytes_of(99, 0, 0, &[])), Some(CALM));
    });
}

#[test]
fn streams_that_are_cancelled_at_once_are_counted() {
    with_server(|server| {
        let reset = |n: u32| bytes_of(frame::RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]);
        assert_eq!(flood(server, |n| [request(2 * n + 1, true), reset(n)].concat()), Some(CALM));
        // The server is made to cancel them.
        let update = |n: u32| bytes_of(frame::WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4]);
        assert_eq!(flood(server, |n| [request(2 * n + 1, true), update(n)].concat()), Some(CALM));
    });
}

#[test]
fn heads_and_bodies_without_end_are_bounded() {
    with_server(|server| {
        let continued = |n: u32| match n {
            0 => bytes_of(frame::HEADERS, frame::END_STREAM, 1, b"\x82"),
            _ => bytes_of(frame::CONTINUATION, 0, 1, b""),
        };
        assert_eq!(flood(server, continued), Some(CALM));
        let grown = |n: u32| match n {
            0 => bytes_of(frame::HEADERS, frame::END_STREAM, 1, b"\x82"),
            _ => bytes_of(frame::CONTINUATION, 0, 1, &[0x82; 10_000]),
        };
        assert_eq!(flood(server, grown), Some(CALM));
        let empty = |n: u32| if n == 0 { request(1, false) } else { bytes_of(frame::DATA, 0, 1, b"") };
        assert_eq!(flood(server, empty), Some(CALM));
    });
}

#[test]
fn clients_that_take_nothing_are_left() {
    with_server(|server| {
        let mut h2 = Http2::with_settings(server.connect(), &[(frame::INITIAL_WINDOW_SIZE, 0)]);
        let stream = h2.ask("/big");
        let began = Instant::now();
        let seen = h2.answer(stream);
        assert_eq!((seen.status, seen.body.len()), (200, 0));
        assert!(seen.reset.is_some() && began.elapsed() < TIMEOUT);
        // One that opens its windows and does not read.
        let mut deaf = Http2::new(server.connect());
        let streams: Vec<u32> = (0..4).map(|_| deaf.ask("/big")).collect();
        std::thread::sleep(Duration::from_millis(2500));
        deaf.read_to_end();
        assert!(streams.iter().any(|it| !deaf.so_far(*it).ended));
    });
}

#[test]
fn a_head_that_stays_half_is_given_up() {
    with_server(|server| {
        let mut h2 = Http2::new(server.connect());
        // The answer to the server's settings must not come in the middle.
        assert!(h2.is_alive());
        let whole = request(1, true);
        h2.client.send(&whole[..whole.len() - 3]);
        assert_eq!(h2.answer(1).reset, Some(1));
        h2.client.send(&whole[whole.len() - 3..]);
        assert!(h2.is_alive());
    });
}

#[test]
fn a_client_that_leaves_is_noticed_by_its_exchange() {
    with_server(|server| {
        let mut h2 = Http2::new(server.connect());
        let stream = h2.open(&get_fields("/app"), true);
        assert!(h2.is_alive());
        h2.frame(frame::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        server.wait_for("access.log", |text| text.contains("GET /app HTTP/2.0\" 499"));
        let stream = h2.open(&post_fields("/app"), false);
        h2.data(stream, b"half", false);
        assert!(h2.is_alive());
        drop(h2);
        server.wait_for("access.log", |text| text.contains("POST /app HTTP/2.0\" 4"));
    });
}

#[test]
fn http_1_on_the_same_port_is_not_held_up() {
    with_server(|server| {
        let mut h2 = Http2::new(server.connect());
        for n in 0..FRAMES {
            h2.client.send(bytes_of(frame::PING, 0, 0, &[0; 8]));
            if n % 10_000 == 0 {
                assert_eq!(Client::connect(server.address(0)).get("/").status, 200);
            }
        }
    });
}
