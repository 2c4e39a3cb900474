//! `ssl_early_data`: requests that come with the first message of a handshake, and which of them wait for its end.

use foregate_testkit::{Backend, Client, ClientConfig, Server, Setup, any_certificate, both, foregate_only};

fn setup(more: &str) -> Setup {
    let own = foregate_testkit::Certificate::self_signed(&["a.test"]);
    Setup::http(&format!(
        "server {{
            listen 127.0.0.1:{{port:0}} ssl;
            ssl_certificate {{dir}}/c; ssl_certificate_key {{dir}}/k;
            ssl_session_cache shared:s:1m;
            {more}
            location / {{ return 200 [$ssl_early_data]; }}
        }}"
    ))
    .file("c", &own.cert_pem)
    .file("k", &own.key_pem)
}

/// A configuration with a session, and its tickets.
fn session(server: &Server, alpn: &[&str]) -> ClientConfig {
    let mut config = any_certificate();
    config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    let tls = Client::connect_tls_with(server.address(0), "a.test", config.clone());
    let mut client = tls.expect("because it is served").client;
    if alpn.is_empty() {
        assert_eq!(client.get("/").text(), "[]");
    } else {
        client.send(H2_PREFACE);
        client.some();
    }
    config
}

/// What comes of a request in early data, and whether it was taken as such.
fn early(server: &Server, config: &ClientConfig, request: &str) -> (String, bool) {
    let done = Client::connect_tls_early(server.address(0), "a.test", config, request.as_bytes());
    let (mut client, taken) = done.expect("because there is a session");
    if !taken {
        client.send(request);
    }
    let first = client.response().expect("because it is answered").text();
    assert_eq!(client.get("/").text(), "[]", "the handshake is done by then");
    (first, taken)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_request_in_early_data_is_answered_before_the_handshake_is_done() {
    foregate_only(|subject| {
        let server = setup("ssl_early_data on;").start(subject);
        let config = session(&server, &[]);
        assert_eq!(early(&server, &config, GET), ("[1]".to_owned(), true));
    });
}

#[test]
fn requests_that_may_change_something_wait() {
    foregate_only(|subject| {
        let server = setup("ssl_early_data on;").start(subject);
        let config = session(&server, &[]);
        assert_eq!(early(&server, &config, POST), ("[]".to_owned(), true));
        let server = setup("ssl_early_data all;").start(subject);
        let config = session(&server, &[]);
        assert_eq!(early(&server, &config, POST), ("[1]".to_owned(), true));
    });
}

#[test]
fn nothing_is_taken_early_unless_it_is_asked_for() {
    both(|subject| {
        let server = setup("").start(subject);
        let config = session(&server, &[]);
        let done = Client::connect_tls_early(server.address(0), "a.test", &config, GET.as_bytes());
        assert!(done.is_err(), "the session allows none");
    });
}

#[test]
fn backends_hear_of_it_and_may_ask_for_patience() {
    foregate_only(|subject| {
        let backend = Backend::new(|seen| match seen.header("Early-Data") {
            Some(_) => foregate_testkit::Reply::status(425, "", "too early"),
            None => foregate_testkit::Reply::ok("in time"),
        });
        let more = format!(
            "ssl_early_data on;
             location /app {{ proxy_set_header Early-Data $ssl_early_data; proxy_pass http://{}; }}",
            backend.address()
        );
        let server = setup(&more).start(subject);
        let config = session(&server, &[]);
        let request = "GET /app HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let done = Client::connect_tls_early(server.address(0), "a.test", &config, request.as_bytes());
        let (mut client, _) = done.expect("because there is a session");
        assert_eq!(client.response().map(|it| it.status), Some(425));
        client.send(request);
        assert_eq!(client.response().map(|it| it.text()), Some("in time".to_owned()));
    });
}

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A request over HTTP/2 by indexed fields: scheme https, path /, authority a.test, and this method.
fn h2_request(method: u8) -> Vec<u8> {
    let block = [&[method, 0x87, 0x84, 0x41, 6][..], b"a.test"].concat();
    let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    [H2_PREFACE, &head, &block].concat()
}

#[test]
fn http2_has_it_too() {
    foregate_only(|subject| {
        for (method, expected) in [(0x82, "[1]"), (0x83, "[]")] {
            let server = setup("ssl_early_data on; http2 on;").start(subject);
            let config = session(&server, &["h2"]);
            let request = h2_request(method);
            let done = Client::connect_tls_early(server.address(0), "a.test", &config, &request);
            let (mut client, taken) = done.expect("because there is a session");
            assert!(taken);
            let mut all = Vec::new();
            while !String::from_utf8_lossy(&all).contains(expected) {
                let more = client.some();
                assert!(!more.is_empty(), "{}", String::from_utf8_lossy(&all));
                all.extend(more);
            }
        }
    });
}
