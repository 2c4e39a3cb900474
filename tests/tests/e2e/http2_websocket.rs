//! WebSockets on streams of HTTP/2 (RFC 8441), which a backend sees as it would in HTTP/1.1.

use foregate_testkit::{Backend, Reply, Setup, foregate_only};
use foregate_wire::h2::frame;

use crate::http2_client::Http2;

const CONNECT: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "localhost"),
    ("sec-websocket-version", "13"),
];

fn setup(app: &Backend) -> Setup {
    Setup::http(
        "server { listen 127.0.0.1:{port:0}; http2 on;
            location / { proxy_pass http://{app}; proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }
            location /plain { return 200 plain; } }",
    )
    .backend("app", app)
}

#[test]
fn bytes_go_both_ways() {
    foregate_only(|subject| {
        let app = Backend::new(|_| Reply::upgrade("websocket"));
        let server = setup(&app).start(subject);
        let mut h2 = Http2::new(server.connect());
        assert!(h2.is_alive());
        assert_eq!(h2.settings.get(&frame::ENABLE_CONNECT_PROTOCOL), Some(&1));
        let stream = h2.open(CONNECT, false);
        assert!(h2.read_until(|it| it.so_far(stream).status > 0));
        let head = h2.so_far(stream);
        assert_eq!((head.status, head.header("upgrade"), head.ended), (200, None, false));
        for n in 1..=20 {
            let piece = vec![b'a' + n as u8; 5000];
            h2.data(stream, &piece, false);
            assert!(h2.read_until(|it| it.so_far(stream).body.len() >= n * 5000));
            assert!(h2.so_far(stream).body.ends_with(&piece));
        }
        // Others go on beside it.
        assert_eq!(h2.get("/plain").text(), "plain");
        h2.data(stream, b"", true);
        assert!(h2.read_until(|it| it.so_far(stream).ended));
        let seen = app.requests().remove(0);
        assert!(seen.head.starts_with("GET /chat HTTP/1.1\r\n"), "{}", seen.head);
        let has = |name: &str| seen.head.to_ascii_lowercase().contains(name);
        assert!(
            has("upgrade: websocket\r\n") && has("sec-websocket-key: ") && has("sec-websocket-version: 13")
        );
        assert!(!has(":protocol"));
    });
}

#[test]
fn what_is_no_websocket_is_answered() {
    foregate_only(|subject| {
        let app = Backend::named("app");
        let server = setup(&app).start(subject);
        let mut h2 = Http2::new(server.connect());
        let stream = h2.open(CONNECT, false);
        assert_eq!(h2.answer(stream).text(), "app");
        let other = CONNECT.iter().map(|&(n, v)| (n, if n == ":protocol" { "other" } else { v }));
        let stream = h2.open(&other.collect::<Vec<_>>(), false);
        assert_eq!(h2.answer(stream).status, 501);
        let plain: Vec<_> = CONNECT.iter().filter(|(n, _)| *n != ":protocol").copied().collect();
        let stream = h2.open(&plain, true);
        assert_eq!(h2.answer(stream).status, 405);
    });
}
