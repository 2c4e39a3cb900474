//! HTTP/2 to an upstream that is written frame by frame.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use foregate_testkit::{Setup, foregate_only};
use foregate_wire::h2::frame::{self, HEAD_BYTES, Head};
use foregate_wire::h2::{PREFACE, WINDOW_FIRST};

use crate::api::bytes;

/// For what must come, on a slow machine as well.
const PATIENCE: Duration = Duration::from_secs(60);
/// `:status: 200` (RFC 7541, appendix A).
const OK: &[u8] = &[0x88];

/// The upstream's side of its first connection, behind the preface.
fn accepted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("because somebody connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("because it is a socket");
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).expect("because the preface comes");
    assert_eq!(preface, PREFACE);
    let mut settings = Vec::new();
    frame::push_settings(&[], &mut settings);
    stream.write_all(&settings).expect("because somebody reads");
    stream
}

/// Reads DATA frames until `enough` says so of one's end and the bytes until then; how many bytes these were.
fn read_data(stream: &mut TcpStream, had: usize, enough: impl Fn(bool, usize) -> bool) -> usize {
    let mut n = had;
    loop {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).expect("because more frames come");
        let head = Head::read(&head).expect("because it is whole");
        let mut payload = vec![0; head.len];
        stream.read_exact(&mut payload).expect("because the frame comes whole");
        if head.kind == frame::DATA {
            n += head.len;
            if enough(head.has(frame::END_STREAM), n) {
                return n;
            }
        }
    }
}

#[test]
fn a_body_that_fills_the_window_ends_without_another() {
    foregate_only(|subject| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because there are ports");
        let port = listener.local_addr().expect("because it is bound").port();
        let (full, is_full) = mpsc::channel();
        let upstream = thread::spawn(move || {
            let mut stream = accepted(&listener);
            let n = read_data(&mut stream, 0, |_, n| n == WINDOW_FIRST as usize);
            full.send(()).expect("because the test waits");
            let n = read_data(&mut stream, n, |ends, _| ends);
            let mut answer = Vec::new();
            frame::push_head(
                OK.len(),
                frame::HEADERS,
                frame::END_HEADERS | frame::END_STREAM,
                1,
                &mut answer,
            );
            answer.extend_from_slice(OK);
            stream.write_all(&answer).expect("because somebody reads");
            n
        });
        let conf = "upstream u { zone u 64k; server 127.0.0.1:{to}; }
            server { listen 127.0.0.1:{port:0}; location / { grpc_pass u; } location /api { api; } }";
        let server = Setup::http(conf).set("to", port).start(subject);
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        client
            .send([format!("{WINDOW_FIRST:x}\r\n").as_bytes(), &vec![b'x'; WINDOW_FIRST as usize]].concat());
        is_full.recv_timeout(PATIENCE).expect("because the body goes on as it comes");
        client.send("\r\n0\r\n\r\n");
        assert_eq!(client.response().map(|it| it.status), Some(200));
        assert_eq!(upstream.join().expect("because nothing is amiss there"), WINDOW_FIRST as usize);
        server.eventually(|server| bytes(server, "u", "sent") > WINDOW_FIRST.into());
        assert!(bytes(&server, "u", "received") > 0);
    });
}
