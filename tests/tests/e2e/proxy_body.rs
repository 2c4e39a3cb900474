//! Request bodies on their way to a backend: buffered or not, in chunks, too large, expected.

use std::time::Duration;

use foregate_testkit::{Backend, Reply, Setup, both, check_on};

const CONF: &str = r#"server {
    listen 127.0.0.1:{port:0};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / { proxy_pass http://{app}; }
    location /stream { proxy_request_buffering off; proxy_pass http://{app}; }
    location /bulk { client_max_body_size 0; proxy_request_buffering off; proxy_pass http://{app}; }
    location /small { client_max_body_size 10; proxy_pass http://{app}; }
    location /small-stream { client_max_body_size 10; proxy_request_buffering off; proxy_pass http://{app}; }
    location /any { client_max_body_size 0; client_body_buffer_size 1k; proxy_pass http://{app}; }
    location /file { client_body_in_file_only clean; client_max_body_size 0; proxy_pass http://{app}; }
    location /slow { client_body_timeout 200ms; proxy_pass http://{app}; }
}"#;

#[test]
fn bodies_arrive_whole() {
    both(|subject| {
        let app = Backend::new(|seen| format!("{}:{}", seen.body.len(), seen.chunked));
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        check_on(
            &server,
            &[
                ("POST /\n\nhello", "200 | = 5:false"),
                (
                    "POST /\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
                    "200 | = 7:false",
                ),
                (
                    "POST /stream\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
                    "200 | ~ 7:",
                ),
                ("POST /stream\n\nhello", "200 | = 5:false"),
                ("GET /\n\nhello", "200 | = 5:false"),
                ("POST /small\n\n0123456789", "200 | = 10:false"),
                ("POST /small\n\n0123456789a", "413 | ~ 413 Request Entity Too Large"),
                ("POST /small\nTransfer-Encoding: chunked\n\nb\r\n0123456789a\r\n0\r\n\r\n", "413"),
                ("POST /small-stream\nTransfer-Encoding: chunked\n\nb\r\n0123456789a\r\n0\r\n\r\n", "413"),
                ("POST /small\nContent-Length: 1048577\n\nx", "413"),
            ],
        );
        server.wait_for_error("client intended to send too large body: 11 bytes, client: 127.0.0.1");
        let large = "x".repeat(500_000);
        for path in ["/", "/stream", "/any", "/file"] {
            let seen = server.ask(&format!("POST {path}\n\n{large}")).expect("because it is answered");
            assert_eq!(seen.text(), "500000:false", "{path}");
        }
        assert!(app.last().body == large.as_bytes());
    });
}

#[test]
fn bulk_passes_unchanged_and_the_connection_serves_on() {
    both(|subject| {
        let app = Backend::new(|seen| seen.body.len().to_string());
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        let mut client = server.connect();
        for round in 0..3_usize {
            let body: Vec<u8> = (0..3_000_000_usize).map(|it| b'a' + ((it / 7 + round) % 23) as u8).collect();
            let head = format!("POST /bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
            client.send(&head);
            client.send(&body);
            assert_eq!(client.response().expect("because it is answered").text(), "3000000");
            assert!(app.last().body == body, "round {round}");
            client.send("GET /bulk HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(client.response().expect("because it is answered").text(), "0");
        }
    });
}

#[test]
fn one_mebibyte_is_the_limit_by_default() {
    both(|subject| {
        let app = Backend::new(|seen| seen.body.len().to_string());
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        let ask = |n: usize| server.ask(&format!("POST /\n\n{}", "x".repeat(n))).map(|seen| seen.status);
        assert_eq!(ask(1_048_576), Some(200));
        assert_eq!(ask(1_048_577), Some(413));
    });
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(client.some(), b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        let seen = client.response().expect("because it is answered");
        assert!(seen.text().contains("hello") && !seen.text().contains("Expect"), "{}", seen.text());
        // Refused before the body: no 100.
        client.send("POST /small HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n");
        let seen = client.response().expect("because it is answered");
        assert_eq!((seen.status, seen.interim.len()), (413, 0));
    });
}

#[test]
fn an_unbuffered_body_flows_while_it_comes() {
    both(|subject| {
        let app = Backend::before_body(|_| Reply::new());
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        let mut client = server.connect();
        client.send("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
        // The backend sees the head although half the body is missing.
        assert_eq!(app.wait_for(1)[0].header("Content-Length"), Some("10"));
        drop(client);
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(app.requests().len(), 1, "a buffered request must wait for its body");
    });
}

#[test]
fn a_body_that_does_not_come_closes_the_connection() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        let mut client = server.connect();
        client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
        assert!(client.response().is_none());
        assert!(app.requests().is_empty());
    });
}

#[test]
fn a_backend_may_answer_before_it_has_read_the_body() {
    both(|subject| {
        let app = Backend::before_body(|_| Reply::status(403, "", "no").then(foregate_testkit::Step::Drain));
        let server = Setup::http(CONF).backend("app", &app).start(subject);
        for path in ["/", "/stream"] {
            let seen = server.ask(&format!("POST {path}\n\n{}", "x".repeat(200_000)));
            assert_eq!(seen.map(|seen| seen.text()).as_deref(), Some("no"), "{path}");
        }
    });
}
