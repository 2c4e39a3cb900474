//! Requests made to be read in two ways: refused, or passed on in one way only.

use foregate_testkit::{Backend, Setup, both, check, check_on, check_since};

const OWN: &str = "server { listen 127.0.0.1:{port:0}; location / { return 200 ok; } }";

#[test]
fn malformed_requests_are_refused() {
    check(
        OWN,
        &[
            ("GET / HTTP/1.1\nHost:", "400"),
            ("GET / HTTP/1.1\nHost: a b", "400"),
            ("GET / HTTP/1.1\nHost: a/b", "400"),
            ("GET / HTTP/1.1\nHost: a\nHost: b", "400"),
            ("GET / HTTP/1.1\nHost: a\nHost: a", "400"),
            ("GET / HTTP/1.1\nHost: a\nX : b", "400"),
            ("GET  /\nHost: a", "200"),
            ("GET /a b\nHost: a", "400"),
            ("GET\t/ HTTP/1.1\nHost: a", "400"),
            ("GET x", "400"),
            ("get /", "400"),
            ("GET / HTTP/1.1 x", "400"),
            ("GET / HTTQ/1.1", "400"),
            ("GET / HTTP/2.0", "505"),
            ("GET / HTTP/3.0", "505"),
            ("GET / HTTP/11.1", "505"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1\n\na", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 2\n\na", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: -1", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: +1\n\na", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 0x1\n\na", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1 1\n\na", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 99999999999999999999", "400"),
            ("GET / HTTP/1.1\nHost: a\nContent-Length:", "400"),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n0\r\n\r\n", "400"),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: identity", "501"),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, chunked\n\n0\r\n\r\n", "501"),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n0\r\n\r\n", "501"),
            (
                "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
                "400",
            ),
            ("POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n0\r\n\r\n", "400"),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: CHUNKED\n\n0\r\n\r\n", "200"),
            ("GET / HTTP/1.1\nHost: a\nX: a\u{1}b", "200"),
            ("CONNECT / HTTP/1.1", "since 1.31.0: 400"),
        ],
    );
}

#[test]
fn a_request_1_1_needs_a_host() {
    both(|subject| {
        let server = Setup::http(OWN).start(subject);
        let ask = |bytes: &str| foregate_testkit::http(server.port(0), bytes).status;
        assert_eq!(ask("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(ask("GET / HTTP/1.0\r\n\r\n"), 200);
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
        assert_eq!(ask("GET / HTTP/1.1\nHost: x\nConnection: close\n\n"), 200);
        assert_eq!(ask("GET /\x07 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
        assert_eq!(ask("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"), 400);
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\nA\0b: c\r\n\r\n"), 400);
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"), 400);
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n"), 400);
    });
}

#[test]
fn heads_have_limits() {
    both(|subject| {
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; client_header_buffer_size 128; large_client_header_buffers 2 512;
                      location / { return 200 ok; } }",
        )
        .start(subject);
        let ask = |target: &str, field: &str| {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: {field}\r\n\r\n");
            foregate_testkit::http(server.port(0), request).status
        };
        assert_eq!(ask("/", "x"), 200);
        assert_eq!(ask(&format!("/{}", "a".repeat(400)), "x"), 200);
        assert_eq!(ask(&format!("/{}", "a".repeat(600)), "x"), 414);
        assert_eq!(ask("/", &"a".repeat(600)), 400);
        let many: String = (0..40).map(|n| format!("{n}: {}\r\nB", "b".repeat(40))).collect();
        assert_eq!(ask("/", &format!("x\r\nB{many}: x")), 400);
    });
}

#[test]
fn chunks_must_be_well_formed() {
    let post = |body: &str| format!("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n{body}");
    both(|subject| {
        let app = Backend::echo();
        let server =
            Setup::http("server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://{app}; } }")
                .backend("app", &app)
                .start(subject);
        let cases = [
            (post("5\r\nhello\r\n0\r\n\r\n"), "200 | ~ hello"),
            (post("05\r\nhello\r\n0\r\n\r\n"), "200 | ~ hello"),
            (post("5;a=b\r\nhello\r\n0\r\n\r\n"), "200 | ~ hello"),
            (post("A\r\n0123456789\r\n0\r\nT: x\r\n\r\n"), "200 | ~ 0123456789"),
            (post("x\r\nhello\r\n0\r\n\r\n"), "400"),
            (post("-1\r\nhello\r\n0\r\n\r\n"), "400"),
            (post("5\r\nhelloX\r\n0\r\n\r\n"), "400"),
            (post("ffffffffffffffff0\r\nhello"), "400"),
            (post("\r\n5\r\nhello\r\n0\r\n\r\n"), "400"),
        ];
        let cases: Vec<(&str, &str)> = cases.iter().map(|(r, e)| (r.as_str(), *e)).collect();
        check_on(&server, &cases);
    });
}

#[test]
fn a_lone_line_feed_ends_no_chunk_line() {
    check_since(
        "1.29.4",
        "server { listen 127.0.0.1:{port:0}; location / { client_max_body_size 10; return 200; } }
         server { listen 127.0.0.1:{port:1}; location / { proxy_pass http://127.0.0.1:{port:0}; } }",
        &[("{port:1} POST /\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", "400")],
    );
}

#[test]
fn what_is_passed_on_can_be_read_in_one_way() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://{app}; }
                      location /under { underscores_in_headers on; proxy_pass http://{app}; } }
             server { listen 127.0.0.1:{port:1}; underscores_in_headers on; location / { proxy_pass http://{app}; } }
             server { listen 127.0.0.1:{port:2}; ignore_invalid_headers off; location / { proxy_pass http://{app}; } }",
        )
        .backend("app", &app);
        // `underscores_in_headers` stands in a server only.
        let refused = server.try_start(subject).err().unwrap_or_default();
        assert!(refused.contains("\"underscores_in_headers\" directive is not allowed here"), "{refused}");
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://{app}; } }
             server { listen 127.0.0.1:{port:1}; underscores_in_headers on; location / { proxy_pass http://{app}; } }
             server { listen 127.0.0.1:{port:2}; ignore_invalid_headers off; location / { proxy_pass http://{app}; } }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /\nX_Y: z", "200 | !~ X_Y"),
                ("{port:1} GET /\nX_Y: z", "200 | ~ X_Y: z"),
                ("GET /\nX.Y: z\nX-Y: ok", "200 | !~ X.Y | ~ X-Y: ok"),
                ("{port:2} GET /\nX.Y: z", "200 | ~ X.Y: z"),
                ("GET /\nConnection: close, X-Hop\nX-Hop: a", "200 | ~ X-Hop: a"),
                ("GET /\nTE: trailers\nKeep-Alive: x\nProxy-Connection: x", "200 | !~ TE: | !~ Keep-Alive:"),
                ("POST /\nContent-Length: 005\n\nhello", "200 | ~ Content-Length: 5 | ~ hello"),
                (
                    "POST /\nTransfer-Encoding: chunked\n\n5\r\nhello\r\n0\r\n\r\n",
                    "200 | ~ Content-Length: 5 | !~ Transfer-Encoding",
                ),
            ],
        );
    });
}
