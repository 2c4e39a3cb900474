//! HTTP/2 to clients: requests, bodies, windows, limits, the end of a connection.

use std::time::Duration;

use foregate_testkit::{
    Backend, Certificate, Client, Gate, Reply, Server, Setup, Signal, both, foregate_only,
};
use foregate_wire::h2::frame;

use crate::http2_client::{Http2, get_fields, post_fields};

const SERVER: &str = r#"server {
    listen 127.0.0.1:{port:0} http2;
    large_client_header_buffers 4 8k;
    location / { return 200 "$http2|$server_protocol|$request|$http_host|$http_cookie|$connection_requests"; }
    location /file { add_header X-Mixed-Case Yes; }
    location /moved { return 301 /to; }
    location /error { error_page 404 /page.html; return 404; }
    location = /page.html { }
    location /p/ { proxy_pass http://{app}/; }
    location /small/ { client_max_body_size 10; proxy_pass http://{app}/; }
    location /unbuffered/ { proxy_request_buffering off; proxy_http_version 1.1; proxy_pass http://{app}/; }
    location /slow { limit_rate 1k; root {dir}/html; try_files /file =404; }
    location /gone { return 444; }
}
server { listen 127.0.0.1:{port:1} http2; keepalive_requests 2; location / { return 200 x; } }
server { listen 127.0.0.1:{port:2} http2; http2_max_concurrent_streams 2; location / { proxy_pass http://{app}/; } }"#;

fn setup(app: &Backend) -> Setup {
    let file: String = (0..20_000).map(|n| format!("{n:07} ")).collect();
    Setup::http(SERVER).backend("app", app).file("html/file", file).file("html/page.html", "a page")
}

fn connect(server: &Server) -> Http2 {
    Http2::new(server.connect())
}

fn to_port(server: &Server, n: usize) -> Http2 {
    Http2::new(Client::connect(server.address(n)))
}

#[test]
fn requests_are_what_they_are_in_http_1() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        let fields = [get_fields("/a?b=c"), vec![("cookie", "a=1"), ("cookie", "b=2")]].concat();
        let stream = h2.open(&fields, true);
        let seen = h2.answer(stream);
        assert_eq!(seen.text(), "h2c|HTTP/2.0|GET /a?b=c HTTP/2.0|localhost|a=1; b=2|1");
        assert_eq!((seen.status, seen.header("content-type")), (200, Some("text/plain")));
        assert!(seen.header("date").is_some() && seen.header("connection").is_none());
        assert_eq!(h2.get("/error").text(), "a page");
        let moved = h2.get("/moved");
        assert_eq!((moved.status, moved.header("location").is_some()), (301, true));
        let file = h2.get("/file");
        assert_eq!((file.header("content-length"), file.body.len()), (Some("160000"), 160_000));
        assert_eq!(file.header("x-mixed-case"), Some("Yes"));
        let fields = [get_fields("/file"), vec![("if-none-match", file.header("etag").unwrap_or_default())]];
        let stream = h2.open(&fields.concat(), true);
        assert_eq!((h2.answer(stream).status, h2.so_far(stream).body.len()), (304, 0));
        let fields = [vec![(":method", "HEAD")], get_fields("/file")[1..].to_vec()].concat();
        let stream = h2.open(&fields, true);
        let head = h2.answer(stream);
        assert_eq!((head.header("content-length"), head.body.len()), (Some("160000"), 0));
    });
}

#[test]
fn the_access_log_has_its_lines() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        h2.get("/x");
        assert!(h2.get("/gone").reset.is_some());
        drop(h2);
        let log = server.wait_for("access.log", |text| text.contains("\"GET /gone HTTP/2.0\" 444 0"));
        assert!(log.contains("\"GET /x HTTP/2.0\" 200 "), "{log}");
    });
}

#[test]
fn bodies_go_both_ways_through_windows() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = Http2::with_settings(server.connect(), &[(frame::INITIAL_WINDOW_SIZE, 1000)]);
        let body: String = (0..7000).map(|n| format!("{n:06}\n")).collect();
        let length = body.len().to_string();
        for prefix in ["/p/", "/unbuffered/"] {
            let stream = h2.open(&[post_fields(prefix), vec![("content-length", &length)]].concat(), false);
            for piece in body.as_bytes().chunks(16_000) {
                h2.data(stream, piece, false);
            }
            h2.data(stream, b"", true);
            while !h2.so_far(stream).ended {
                let n = h2.so_far(stream).body.len();
                h2.read_until(|it| it.so_far(stream).body.len() > n || it.so_far(stream).ended);
                let more = (h2.so_far(stream).body.len() - n) as u32;
                if more > 0 && !h2.so_far(stream).ended {
                    h2.give(stream, more);
                    h2.give(0, more);
                }
            }
            let seen = h2.so_far(stream);
            assert_eq!(seen.status, 200);
            assert!(seen.text().ends_with(&body), "{} bytes of {}", seen.body.len(), body.len());
            assert!(seen.frames.iter().all(|n| *n <= 1000));
        }
    });
}

#[test]
fn bodies_that_are_too_large_or_broken_are_refused() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        let announced = h2.open(&[post_fields("/small/"), vec![("content-length", "100")]].concat(), false);
        assert_eq!(h2.answer(announced).status, 413);
        let stream = h2.open(&post_fields("/small/"), false);
        h2.data(stream, &[b'x'; 11], true);
        assert_eq!(h2.answer(stream).status, 413);
        for body in ["four", "fivefive"] {
            let fields = [post_fields("/p/"), vec![("content-length", "5")]].concat();
            let stream = h2.open(&fields, false);
            h2.data(stream, body.as_bytes(), true);
            assert_eq!(h2.answer(stream).status, 400, "{body}");
        }
        assert!(h2.is_alive());
    });
}

#[test]
fn many_streams_share_a_connection() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        let streams: Vec<_> = (0..100).map(|n| h2.ask(if n % 2 == 0 { "/file" } else { "/p/x" })).collect();
        for (n, stream) in streams.into_iter().enumerate() {
            let seen = h2.answer(stream);
            assert_eq!(seen.status, 200);
            assert_eq!(seen.body.len() == 160_000, n % 2 == 0);
        }
    });
}

#[test]
fn a_slow_stream_does_not_hold_up_the_others() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        let slow = h2.ask("/slow");
        assert!(h2.read_until(|it| it.so_far(slow).status == 200));
        assert_eq!(h2.get("/file").body.len(), 160_000);
        assert!(h2.so_far(slow).body.len() < 20_000);
        h2.frame(frame::RST_STREAM, 0, slow, &[0, 0, 0, 8]);
        assert!(h2.is_alive());
    });
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    both(|subject| {
        let gate = Gate::new();
        let refused = gate.clone();
        let held = Backend::new(move |_| {
            Reply::new().until(&gate).send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        });
        let server = setup(&held).start(subject);
        let mut h2 = to_port(&server, 2);
        let streams: Vec<_> = (0..3).map(|_| h2.ask("/")).collect();
        assert_eq!(h2.answer(streams[2]).reset, Some(7));
        refused.open();
        assert_eq!((h2.answer(streams[0]).status, h2.answer(streams[1]).status), (200, 200));
        assert_eq!(h2.get("/").status, 200);
        assert_eq!(h2.settings.get(&frame::MAX_CONCURRENT_STREAMS), Some(&2));
    });
}

#[test]
fn after_keepalive_requests_the_client_is_sent_away() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = to_port(&server, 1);
        assert_eq!((h2.get("/").status, h2.goaways.len()), (200, 0));
        assert_eq!(h2.get("/").status, 200);
        h2.read_to_end();
        assert_eq!(h2.goaways, [(3, 0)]);
    });
}

#[test]
fn heads_are_bounded() {
    both(|subject| {
        let app = Backend::echo();
        let server = setup(&app).start(subject);
        let mut h2 = connect(&server);
        let long = "x".repeat(10_000);
        h2.open(&[get_fields("/"), vec![("a", &long)]].concat(), true);
        h2.read_until(|it| !it.goaways.is_empty());
        assert_eq!(h2.goaways.last().map(|it| it.1), Some(11));
        let mut h2 = connect(&server);
        let fields = [get_fields("/"), vec![("a", &long[..7000]); 5]].concat();
        let block = h2.block(&fields);
        let parts: Vec<_> = block.chunks(10_000).collect();
        h2.frame(frame::HEADERS, frame::END_STREAM, 1, parts[0]);
        for part in &parts[1..] {
            h2.frame(frame::CONTINUATION, 0, 1, part);
        }
        h2.frame(frame::CONTINUATION, frame::END_HEADERS, 1, b"");
        h2.read_until(|it| !it.goaways.is_empty());
        assert_eq!(h2.goaways.last().map(|it| it.1), Some(11));
    });
}

#[test]
fn a_worker_that_is_to_end_loses_no_stream() {
    both(|subject| {
        let held =
            Backend::new(|_| Reply::new().wait(500).send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"));
        let server = setup(&held).start(subject);
        let mut busy = to_port(&server, 2);
        let stream = busy.ask("/");
        assert!(busy.is_alive());
        let mut idle = connect(&server);
        assert_eq!(idle.get("/x").status, 200);
        server.signal(Signal::QUIT);
        idle.read_to_end();
        assert_eq!(idle.goaways.last().map(|it| it.1), Some(0));
        assert_eq!(busy.answer(stream).text(), "late");
        busy.read_to_end();
    });
}

fn tls_setup(certificate: &Certificate) -> Setup {
    Setup::http(
        "ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
        server { listen 127.0.0.1:{port:0} ssl http2; server_name a; location / { return 200 $http2:$ssl_alpn_protocol; } }
        server { listen 127.0.0.1:{port:1} ssl; server_name a; location / { return 200 $http2:$ssl_alpn_protocol; } }",
    )
    .file("c", &certificate.cert_pem)
    .file("k", &certificate.key_pem)
}

#[test]
fn alpn_decides_over_tls() {
    let certificate = Certificate::self_signed(&["a"]);
    both(|subject| {
        let server = tls_setup(&certificate).start(subject);
        let shake = |n: usize, alpn: &[&str]| {
            Client::connect_tls(server.address(n), "a", alpn).expect("because the handshake succeeds")
        };
        let tls = shake(0, &["h2", "http/1.1"]);
        assert_eq!(tls.alpn.as_deref(), Some("h2"));
        let seen = Http2::new(tls.client).get("/");
        if subject.has("1.21.4") {
            assert_eq!(seen.text(), "h2:h2");
        }
        for (n, alpn) in [(0, &["http/1.1"][..]), (1, &["h2", "http/1.1"])] {
            let mut tls = shake(n, alpn);
            assert_eq!(tls.alpn.as_deref(), Some("http/1.1"));
            assert_eq!(tls.client.get("/").text(), ":http/1.1");
        }
    });
}

#[test]
fn http2_on_belongs_to_a_server() {
    let certificate = Certificate::self_signed(&["a"]);
    foregate_only(|subject| {
        let setup = Setup::http(
            "ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
            server { listen 127.0.0.1:{port:0} ssl; server_name a; http2 on; location / { return 200 a; } }
            server { listen 127.0.0.1:{port:0} ssl; server_name b; location / { return 200 b; } }
            server { listen 127.0.0.1:{port:1}; http2 on; location / { return 200 $http2; } }",
        )
        .file("c", &certificate.cert_pem)
        .file("k", &certificate.key_pem);
        let server = setup.start(subject);
        let alpn = |name| {
            let tls = Client::connect_tls(server.address(0), name, &["h2", "http/1.1"]);
            tls.expect("because the handshake succeeds")
        };
        assert_eq!(alpn("b").alpn.as_deref(), Some("http/1.1"));
        let mut h2 = Http2::new(alpn("a").client);
        assert_eq!(h2.get("/").status, 200);
        let fields = [&get_fields("/")[..3], &[(":authority", "b")]].concat();
        let stream = h2.open(&fields, true);
        assert_eq!(h2.answer(stream).status, 421);
        // On a plain port both protocols are spoken, and the first bytes may come one by one.
        let mut plain = Client::connect(server.address(1));
        assert_eq!(plain.get("/").text(), "");
        assert_eq!(Http2::new(Client::connect(server.address(1))).get("/").text(), "h2c");
        let mut pieces = Client::connect(server.address(1));
        pieces.send("PRI * HT");
        std::thread::sleep(Duration::from_millis(50));
        pieces.send("TP/3.0\r\n\r\n");
        assert_eq!(pieces.response().map(|it| it.status), Some(400));
    });
}

#[test]
fn hints_and_trailers_pass() {
    foregate_only(|subject| {
        let app = Backend::new(|_| {
            Reply::raw(
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                 Trailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n",
            )
        });
        let setup = Setup::http(
            "server { listen 127.0.0.1:{port:0}; http2 on; early_hints 1; add_trailer X-Own $status;
                location / { proxy_http_version 1.1; proxy_pass_trailers on; proxy_pass http://{app}; }
                location /own { return 200 ab; } }",
        );
        let server = setup.backend("app", &app).start(subject);
        let mut h2 = connect(&server);
        let seen = h2.get("/");
        assert_eq!((seen.interim.as_slice(), seen.status, seen.text()), (&[103][..], 200, "ab".to_owned()));
        let named = |all: &[(String, String)], name: &str| all.iter().any(|it| it.0 == name);
        assert!(named(&seen.trailers, "x-sum") && named(&seen.trailers, "x-own"), "{:?}", seen.trailers);
        let own = h2.get("/own");
        assert_eq!(
            (own.text().as_str(), own.trailers.as_slice()),
            ("ab", &[("x-own".into(), "200".into())][..])
        );
    });
}
