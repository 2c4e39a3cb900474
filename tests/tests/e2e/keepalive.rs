//! Connections: kept, closed, pipelined, timed out.

use std::time::Duration;

use foregate_testkit::{Backend, Client, Setup, Signal, both, foregate_only};

const SERVER: &str = r"server {
    listen 127.0.0.1:{port:0};
    location / { return 200 $connection_requests:$uri; }
    location /never { keepalive_timeout 0; return 200 never; }
    location /close { return 444; }
    location /hint { keepalive_timeout 30s 20s; return 200 hint; }
    location /file { }
}
server { listen 127.0.0.1:{port:1}; keepalive_requests 2; location / { return 200 $connection_requests; } }
server { listen 127.0.0.1:{port:2}; keepalive_timeout 200ms; location / { return 200 x; } }
server { listen 127.0.0.1:{port:3}; client_header_timeout 200ms; location / { return 200 x; } }
server { listen 127.0.0.1:{port:4}; keepalive_disable none; lingering_close off; location / { return 200 x; } }";

fn setup() -> Setup {
    Setup::http(SERVER).file("html/file", "a file")
}

#[test]
fn a_connection_serves_many_requests() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        for n in 1..=5 {
            let seen = client.get("/x");
            assert_eq!(
                (seen.text().as_str(), seen.header("Connection")),
                (&*format!("{n}:/x"), Some("keep-alive"))
            );
        }
        assert_eq!(client.get("/file").text(), "a file");
        assert_eq!(client.get("/missing-file").status, 200);
        assert_eq!(client.get("/never").header("Connection"), Some("close"));
        assert!(client.is_closed());
    });
}

/// Longer than the server holds a task for a connection on which nothing comes.
const LONG: Duration = Duration::from_millis(250);

#[test]
fn a_connection_that_was_idle_for_long_is_the_same_as_before() {
    both(|subject| {
        let server = setup().start(subject);
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for n in 1..=3 {
            for client in &mut clients {
                assert_eq!(client.get("/x").text(), format!("{n}:/x"));
            }
            std::thread::sleep(LONG);
        }
        let mut pieces = clients.pop().expect("because there are eight");
        pieces.send("GET /a HT");
        std::thread::sleep(LONG);
        pieces.send("TP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(pieces.response().expect("because it is answered").text(), "4:/a");
        drop(clients.pop());
        server.signal(Signal::QUIT);
        assert!(clients.iter_mut().all(Client::is_closed));
    });
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let seen = client.response().expect("because it is answered");
        assert_eq!((seen.text().as_str(), seen.header("Connection")), ("1:/a", Some("keep-alive")));
        client.send("GET /b HTTP/1.0\r\n\r\n");
        let seen = client.response().expect("because it is answered");
        assert_eq!((seen.text().as_str(), seen.header("Connection")), ("2:/b", Some("close")));
        assert!(client.is_closed());
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(["/1", "/file", "/3", "/4"].map(ask).concat());
        let texts: Vec<String> = (0..4).filter_map(|_| client.response()).map(|seen| seen.text()).collect();
        assert_eq!(texts, ["1:/1", "a file", "3:/3", "4:/4"]);
        // A hundred in one write, so that they do not end where a read does.
        client.send((0..100).map(|n| ask(&format!("/{n}"))).collect::<String>());
        for n in 0..100 {
            assert_eq!(client.response().expect("because it is answered").text(), format!("{}:/{n}", n + 5));
        }
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        client.send_slowly(
            "GET /slow HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n",
            1,
            Duration::from_millis(1),
        );
        assert_eq!(client.response().expect("because it is answered").text(), "1:/slow");
    });
}

#[test]
fn bodies_that_nobody_reads_do_not_become_requests() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        client.send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 27\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n");
        client.send("POST /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        client.send("GET /c HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let texts: Vec<String> = (0..3).filter_map(|_| client.response()).map(|seen| seen.text()).collect();
        assert_eq!(texts, ["1:/a", "2:/b", "3:/c"]);
    });
}

#[test]
fn limits_close_the_connection() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = Client::connect(server.address(1));
        assert_eq!(client.get("/").header("Connection"), Some("keep-alive"));
        assert_eq!(client.get("/").header("Connection"), Some("close"));
        assert!(client.is_closed());
        let mut idle = Client::connect(server.address(2));
        assert_eq!(idle.get("/").status, 200);
        assert!(idle.is_closed());
        let mut slow = Client::connect(server.address(3));
        slow.send("GET / HTTP/1.1\r\nHost:");
        let end = slow.response().map(|seen| seen.status);
        assert!(matches!(end, None | Some(408)), "{end:?}");
        let mut hint = server.connect();
        assert_eq!(hint.get("/hint").header("Keep-Alive"), Some("timeout=20"));
        let mut dropped = server.connect();
        dropped.send("GET /close HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(dropped.is_closed());
    });
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    both(|subject| {
        let server = setup().start(subject);
        let mut client = server.connect();
        client.send("\r\n\r\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().expect("because it is answered").text(), "1:/a");
    });
}

#[test]
fn half_closed_clients_get_their_answer() {
    both(|subject| {
        let app = Backend::new(|_| {
            foregate_testkit::Reply::new().wait(50).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        });
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { return 200 own; }
                      location /p { proxy_ignore_client_abort on; proxy_pass http://{app}; } }",
        )
        .backend("app", &app)
        .start(subject);
        for (path, text) in [("/", "own"), ("/p", "ok")] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            client.end_writing();
            assert_eq!(client.response().expect("because it is answered").text(), text);
        }
    });
}

#[test]
fn backends_connections_are_kept_when_asked() {
    both(|subject| {
        let app = Backend::new(|seen| format!("{}:{}", seen.connection, seen.nth));
        let server = Setup::http(
            r#"upstream app { server {app}; keepalive 4; }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
            }"#,
        )
        .backend("app", &app)
        .start(subject);
        let mut client = server.connect();
        for n in 0..5 {
            assert_eq!(client.get("/").text(), format!("0:{n}"));
        }
        assert_eq!(app.connections(), 1);
        // The backend closes its idle connection: the next request must not notice.
        app.close_all();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(client.get("/").text(), "1:0");
    });
}

/// `local` is newer than Debian's nginx.
#[test]
fn locations_that_say_the_same_keep_connections_of_their_own_when_asked() {
    foregate_only(|subject| {
        let app = Backend::new(|seen| format!("{}:{}", seen.connection, seen.nth));
        let server = Setup::http(
            r"upstream own { server {app}; keepalive 4 local; }
            upstream shared { server {app}; keepalive 4; }
            server {
                listen 127.0.0.1:{port:0};
                location /a { proxy_pass http://own; }
                location /b { proxy_pass http://own; }
                location /c { proxy_pass http://shared; }
                location /d { proxy_pass http://shared; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        let mut client = server.connect();
        let mut get = |path| client.get(path).text();
        assert_eq!(["/a", "/b", "/a", "/b"].map(&mut get), ["0:0", "1:0", "0:1", "1:1"]);
        assert_eq!(["/c", "/d"].map(&mut get), ["2:0", "2:1"]);
    });
}
