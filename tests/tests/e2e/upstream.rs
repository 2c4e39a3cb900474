//! `upstream`: balancing, weights, backup and down servers, hashes, the next one after a failure.

use foregate_testkit::{Backend, Reply, Server, Setup, both, check_on};

/// What `n` requests in a row are answered, joined.
fn answers(server: &Server, path: &str, n: usize) -> String {
    (0..n).map(|_| server.get(path).text()).collect()
}

fn three(inside: &str) -> (Setup, [Backend; 3]) {
    let backends = [Backend::named("a"), Backend::named("b"), Backend::named("c")];
    let [a, b, c] = &backends;
    let setup = Setup::http(inside).backend("a", a).backend("b", b).backend("c", c);
    (setup, backends)
}

#[test]
fn round_robin_is_smooth() {
    let (setup, _backends) = three(
        r"upstream even { server {a}; server {b}; server {c}; }
        upstream weighted { server {a} weight=5; server {b}; server {c}; }
        upstream some { server {a}; server {b} down; server {c} backup; }
        upstream one { server {a} down; server {b}; }
        server {
            listen 127.0.0.1:{port:0};
            location /even { proxy_pass http://even; }
            location /weighted { proxy_pass http://weighted; }
            location /some { proxy_pass http://some; }
            location /one { proxy_pass http://one; }
        }",
    );
    both(|subject| {
        let server = setup.start(subject);
        assert_eq!(answers(&server, "/even", 6), "abcabc");
        assert_eq!(answers(&server, "/weighted", 14), "aabacaaaabacaa");
        assert_eq!(answers(&server, "/some", 3), "aaa");
        assert_eq!(answers(&server, "/one", 3), "bbb");
    });
}

#[test]
fn failures_are_taken_to_the_next_server() {
    let (setup, _backends) = three(
        r"upstream dead { server 127.0.0.1:{port:9}; server {b}; }
        upstream backup { server 127.0.0.1:{port:9}; server {c} backup; }
        upstream none { server 127.0.0.1:{port:9}; server 127.0.0.1:{port:8}; }
        server {
            listen 127.0.0.1:{port:0};
            location /dead { proxy_pass http://dead; }
            location /backup { proxy_pass http://backup; }
            location /none { proxy_pass http://none; }
            location /off { proxy_next_upstream off; proxy_pass http://none; }
        }",
    );
    both(|subject| {
        let server = setup.start(subject);
        assert_eq!(answers(&server, "/dead", 4), "bbbb");
        assert_eq!(answers(&server, "/backup", 2), "cc");
        check_on(&server, &[("GET /none", "502 | ~ 502 Bad Gateway"), ("GET /none", "502")]);
        server.wait_for_error("no live upstreams while connecting to upstream, client: 127.0.0.1");
    });
}

#[test]
fn proxy_next_upstream_says_which_failures_count() {
    both(|subject| {
        let bad = Backend::new(|seen| match seen.target.as_str() {
            "/close" => Reply::close_at_once(),
            "/garbage" => Reply::raw("HTTP/1.1 200 OK\r\nA\0B: c\r\n\r\n").close(),
            "/timeout" => Reply::hang(),
            code => Reply::status(code.trim_start_matches('/').parse().unwrap_or(200), "", "bad"),
        });
        let good = Backend::named("good");
        let server = Setup::http(
            r"upstream u { server {bad} max_fails=0; server {good} backup; }
            proxy_read_timeout 200ms;
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }
            server {
                listen 127.0.0.1:{port:1};
                proxy_next_upstream error timeout invalid_header http_500 http_404 http_429 non_idempotent;
                location / { proxy_pass http://u; }
            }",
        )
        .backend("bad", &bad)
        .backend("good", &good)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /close", "200 | = good"),
                ("GET /timeout", "200 | = good"),
                ("GET /500", "500 | = bad"),
                ("GET /garbage", "502"),
                ("POST /close\n\nx", "502"),
                ("POST /timeout\n\nx", "504 | ~ 504 Gateway Time-out"),
                ("{port:1} GET /garbage", "200 | = good"),
                ("{port:1} GET /500", "200 | = good"),
                ("{port:1} GET /404", "200 | = good"),
                ("{port:1} GET /429", "200 | = good"),
                ("{port:1} GET /503", "503 | = bad"),
                ("{port:1} POST /close\n\nx", "200 | = good"),
            ],
        );
        server.wait_for_error(
            "upstream timed out (110: Connection timed out) while reading response header from upstream",
        );
        server.wait_for_error(
            "upstream prematurely closed connection while reading response header from upstream",
        );
    });
}

#[test]
fn tries_are_counted() {
    let (setup, _backends) = three(
        r"upstream u { server 127.0.0.1:{port:9} max_fails=0; server 127.0.0.1:{port:8} max_fails=0; server {c}; }
        server {
            listen 127.0.0.1:{port:0};
            location /two { proxy_next_upstream_tries 2; proxy_pass http://u; }
            location / { proxy_pass http://u; }
        }",
    );
    both(|subject| {
        let server = setup.start(subject);
        check_on(&server, &[("GET /two", "502"), ("GET /", "200 | = c")]);
    });
}

#[test]
fn a_failed_server_rests_for_fail_timeout() {
    both(|subject| {
        let flaky = Backend::new(|_| Reply::close_at_once());
        let good = Backend::named("g");
        let server = Setup::http(
            r"upstream u { server {flaky} max_fails=2 fail_timeout=60s; server {good}; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("flaky", &flaky)
        .backend("good", &good)
        .start(subject);
        assert_eq!(answers(&server, "/", 8), "gggggggg");
        assert_eq!(flaky.requests().len(), 2);
        server.wait_for_error(
            "upstream server temporarily disabled while reading response header from upstream",
        );
    });
}

#[test]
fn hashes_are_those_of_nginx() {
    let (setup, _backends) = three(
        r"upstream plain { hash $arg_k; server {a}; server {b}; server {c}; }
        upstream ip { ip_hash; server {a}; server {b}; server {c}; }
        server {
            listen 127.0.0.1:{port:0};
            location /plain { proxy_pass http://plain; }
            location /ip { proxy_pass http://ip; }
        }",
    );
    both(|subject| {
        let server = setup.start(subject);
        let plain: String = (0..12).map(|k| server.get(&format!("/plain?k={k}")).text()).collect();
        assert_eq!(plain, "cbcbabaaccac");
        assert_eq!(answers(&server, "/ip", 3), "ccc");
    });
}

#[test]
fn least_conn_prefers_the_idle() {
    both(|subject| {
        let slow = Backend::new(|_| Reply::hang());
        let free = Backend::named("f");
        let server = Setup::http(
            r"upstream u { least_conn; server {slow}; server {free}; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("slow", &slow)
        .backend("free", &free)
        .start(subject);
        let mut held = server.connect();
        held.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        slow.wait_for(1);
        assert_eq!(answers(&server, "/", 4), "ffff");
        slow.close_all();
        assert_eq!(held.response().expect("because the next server answers").text(), "f");
    });
}

#[test]
fn servers_may_be_unix_sockets_and_names() {
    both(|subject| {
        let unix = Backend::unix(|_| "unix");
        let app = Backend::named("tcp");
        let server = Setup::http(
            r"upstream u { server {unix}; }
            server {
                listen 127.0.0.1:{port:0};
                location /u { proxy_pass http://u; }
                location /direct { proxy_pass http://{unix}:/path; }
                location /name { proxy_pass http://localhost:{port}; }
                location /vars { set $b u; proxy_pass http://$b; }
            }",
        )
        .backend("unix", &unix)
        .set("port", app.port())
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /u", "200 | = unix"),
                ("GET /direct", "200 | = unix"),
                ("GET /name", "200 | = tcp"),
                ("GET /vars", "200 | = unix"),
            ],
        );
        assert_eq!(unix.requests()[0].header("Host"), Some("u"));
        assert_eq!(
            (unix.requests()[1].target.as_str(), unix.requests()[1].header("Host")),
            ("/path", Some("localhost"))
        );
    });
}
