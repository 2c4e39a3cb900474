//! What a backend answers, on its way to the client: headers, framing, buffering, redirects, cookies, upgrades.

use std::time::Duration;

use foregate_testkit::{Backend, Gate, Reply, Seen, Setup, both, check_on, since};

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

fn script(seen: &Seen) -> Reply {
    match seen.target.as_str() {
        "/length" => Reply::ok("hello"),
        "/chunked" => Reply::chunked(&["hel", "lo"]),
        "/until-close" => Reply::raw(format!("{HEAD}\r\nhello")).close(),
        "/old" => Reply::raw("HTTP/1.0 200 OK\r\n\r\nhello").close(),
        "/cut-length" => Reply::raw(format!("{HEAD}Content-Length: 10\r\n\r\nhello")).close(),
        "/cut-chunk" => Reply::raw(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")).close(),
        "/too-much" => Reply::raw(format!("{HEAD}Content-Length: 5\r\n\r\nhello world")),
        "/no-content" => Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/not-modified" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        "/odd-status" => Reply::raw("HTTP/1.1 299 Odd Words\r\nContent-Length: 0\r\n\r\n"),
        "/no-words" => Reply::raw("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        "/headers" => Reply::status(
            200,
            "Server: app\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Pad: x\r\nX-Accel-Foo: x\r\nX-Own: 1\r\nX-Own: 2\r\n\
             Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: x-hop\r\nX-Hop: h\r\nKeep-Alive: timeout=5\r\n\
             Content-Type: text/x\r\nETag: \"e\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Empty:\r\n",
            "x",
        ),
        "/early" => Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            .send(format!("{HEAD}Content-Length: 2\r\n\r\nok")),
        "/both" => Reply::raw(format!(
            "{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ))
        .close(),
        "/two-lengths" => {
            Reply::raw(format!("{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello")).close()
        }
        "/bad-length" => Reply::raw(format!("{HEAD}Content-Length: x\r\n\r\nhello")).close(),
        "/large-head" => Reply::raw(format!("{HEAD}X: {}\r\n\r\n", "x".repeat(10_000))).close(),
        "/trickle" => Reply::raw(HEAD)
            .wait(20)
            .send("Content-Le")
            .wait(20)
            .send("ngth: 4\r\n\r\nok")
            .wait(20)
            .send("ok"),
        target => Reply::status(
            302,
            &format!("Location: {}\r\n", target.split_once('?').map_or("", |(_, to)| to)),
            "",
        ),
    }
}

fn proxied(inside: &str) -> (Setup, Backend) {
    let app = Backend::new(script);
    let setup = Setup::http(&format!(
        "upstream u {{ server {{app}}; }}
         server {{ listen 127.0.0.1:{{port:0}}; proxy_http_version 1.1; proxy_set_header Connection \"\"; {inside} }}"
    ));
    (setup.backend("app", &app), app)
}

#[test]
fn every_framing_of_a_body_is_understood() {
    for buffering in ["on", "off"] {
        let (setup, _app) =
            proxied(&format!("proxy_buffering {buffering}; location / {{ proxy_pass http://u; }}"));
        both(|subject| {
            check_on(
                &setup.start(subject),
                &[
                    ("GET /length", "200 | = hello | Content-Length: 5 | !Transfer-Encoding"),
                    ("GET /chunked", "200 | = hello | Transfer-Encoding: chunked | !Content-Length"),
                    ("GET /chunked HTTP/1.0", "200 | = hello | !Transfer-Encoding | Connection: close"),
                    ("GET /until-close", "200 | = hello | Transfer-Encoding: chunked"),
                    ("GET /old", "200 | = hello"),
                    ("GET /cut-length", "200 | cut"),
                    ("GET /cut-chunk", "200 | cut"),
                    ("GET /too-much", "200 | = hello"),
                    ("GET /no-content", "204 | = | !Transfer-Encoding"),
                    ("GET /not-modified", "304 | ETag: \"x\" | !Transfer-Encoding"),
                    ("HEAD /length", "200 | Content-Length: 5 | ="),
                    ("GET /trickle", "200 | = okok"),
                    ("GET /early", "since 1.29.0: 200 | = ok | !Link"),
                    ("GET /large-head", "502"),
                    ("GET /bad-length", "since 1.23.0: 502"),
                ],
            );
        });
    }
}

#[test]
fn answers_that_can_be_read_in_two_ways_are_refused() {
    let (setup, _app) = proxied("location / { proxy_pass http://u; }");
    since("1.23.0", |subject| {
        check_on(&setup.start(subject), &[("GET /both", "502"), ("GET /two-lengths", "502")]);
    });
}

#[test]
fn headers_of_the_backend_pass_but_for_its_own_business() {
    let (setup, _app) = proxied(
        "location / { proxy_pass http://u; }
         location /hide/ { proxy_hide_header X-Own; proxy_hide_header Set-Cookie; proxy_pass http://u/; }
         location /pass/ { proxy_pass_header Server; proxy_pass_header Date; proxy_pass_header X-Pad; proxy_pass http://u/; }",
    );
    both(|subject| {
        check_on(
            &setup.start(subject),
            &[
                (
                    "GET /headers",
                    "200 | X-Own: 1 | X-Own: 2 | Set-Cookie: a=1 | Set-Cookie: b=2 | Server~ {product} | !X-Pad | X-Accel-Foo: x \
                     | Content-Type: text/x | ETag: \"e\" | Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT | X-Hop: h \
                     | !Keep-Alive | Connection: close",
                ),
                ("GET /hide/headers", "200 | !X-Own | !Set-Cookie | Content-Type: text/x"),
                ("GET /pass/headers", "200 | Server: app | Date: Thu, 01 Jan 1970 00:00:00 GMT | X-Pad: x"),
                ("GET /odd-status", "299"),
                ("GET /no-words", "200 | = ok"),
            ],
        );
        let seen = setup.start(subject).get("/odd-status");
        assert_eq!(seen.reason, "Odd Words");
    });
}

#[test]
fn locations_and_cookies_are_rewritten() {
    let (setup, _app) = proxied(
        r"location /p/ { proxy_pass http://u/; }
        location /full { proxy_pass http://u; }
        location /off/ { proxy_redirect off; proxy_pass http://u/; }
        location /own/ { proxy_redirect http://intern/ /extern/; proxy_redirect ~^http://re/(.*)$ http://$host/$1; proxy_pass http://u/; }
        location /c/ { proxy_cookie_domain intern.example $host; proxy_cookie_path / /c/; proxy_pass http://{cookies}/; }",
    );
    let cookies = Backend::new(|_| {
        Reply::status(200, "Set-Cookie: a=b; Domain=intern.example; Path=/x; Secure\r\n", "")
    });
    let setup = setup.backend("cookies", &cookies);
    both(|subject| {
        check_on(
            &setup.start(subject),
            &[
                ("GET /p/?http://u/x", "302 | Location: http://localhost:{port:0}/p/x"),
                ("GET /p/?http://elsewhere/x", "302 | Location: http://elsewhere/x"),
                ("GET /p/?/x", "302 | Location: /x"),
                ("GET /off/?http://u/x", "302 | Location: http://u/x"),
                ("GET /own/?http://intern/x", "302 | Location: http://localhost:{port:0}/extern/x"),
                ("GET /own/?http://re/x/y", "302 | Location: http://localhost/x/y"),
                ("GET /own/?http://u/x", "302 | Location: http://u/x"),
                ("GET /c/", "200 | Set-Cookie: a=b; Domain=localhost; Path=/c/x; Secure"),
            ],
        );
    });
}

#[test]
fn an_unbuffered_answer_flows_while_it_comes() {
    both(|subject| {
        let gate = Gate::new();
        let seen_half = gate.clone();
        let app = Backend::new(move |_| {
            Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").until(&gate).send("cd")
        });
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { proxy_buffering off; proxy_pass http://{app}; } }",
        )
        .backend("app", &app)
        .start(subject);
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut seen = Vec::new();
        while !seen.ends_with(b"ab") {
            let some = client.some();
            assert!(!some.is_empty(), "closed before the first half");
            seen.extend(some);
        }
        seen_half.open();
        assert_eq!(client.some(), b"cd");
    });
}

#[test]
fn large_answers_come_whole_to_a_slow_reader() {
    let body: String = (0..400_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    both(|subject| {
        let text = body.clone();
        let app = Backend::new(move |_| text.clone());
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://{app}; }
                location /off { proxy_buffering off; proxy_pass http://{app}; }
                location /no-file { proxy_max_temp_file_size 0; proxy_pass http://{app}; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        for path in ["/", "/off", "/no-file"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            std::thread::sleep(Duration::from_millis(100));
            let seen = client.response().expect("because it is answered");
            assert!(seen.complete && seen.text() == body, "{path}: {} bytes", seen.body.len());
        }
    });
}

#[test]
fn upgraded_connections_become_a_tunnel() {
    both(|subject| {
        let app = Backend::new(|seen| match seen.header("Upgrade") {
            Some("websocket") => Reply::upgrade("websocket"),
            _ => Reply::status(426, "", "upgrade"),
        });
        let server = Setup::http(
            "log_format bytes '$status $upstream_bytes_sent';
            server {
                access_log {dir}/bytes.log bytes;
                listen 127.0.0.1:{port:0};
                location / {
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    proxy_pass http://{app};
                }
            }",
        )
        .backend("app", &app)
        .start(subject);
        let mut client = server.connect();
        client.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
        let seen = client.response().expect("because it is answered");
        assert_eq!((seen.status, seen.header("Upgrade")), (101, Some("websocket")));
        let mut echoed = Vec::new();
        let long = "hello".repeat(1000);
        client.send(&long);
        while echoed.len() < 5 + long.len() {
            let some = client.some();
            assert!(!some.is_empty(), "closed after {echoed:?}");
            echoed.extend(some);
        }
        assert_eq!(String::from_utf8_lossy(&echoed), format!("early{long}"));
        client.end_writing();
        assert!(client.is_closed());
        let line = server.log_lines("bytes.log", 1).concat();
        let sent = line.strip_prefix("101 ").and_then(|it| it.parse().ok());
        assert!(sent.is_some_and(|it| (5005..6000).contains(&it)), "{line}");
        assert_eq!(server.get("/plain").status, 426);
    });
}

#[test]
fn timeouts_and_hangs_are_answered() {
    both(|subject| {
        let app = Backend::new(|seen| match seen.target.as_str() {
            "/hang" => Reply::hang(),
            _ => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .then(foregate_testkit::Step::Drain),
        });
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; proxy_read_timeout 200ms; location / { proxy_pass http://{app}; } }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(&server, &[("GET /hang", "504 | ~ 504 Gateway Time-out"), ("GET /half", "200 | cut")]);
        server.wait_for_error("upstream timed out (110: Connection timed out) while reading upstream");
    });
}
