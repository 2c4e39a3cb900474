//! How requests are spread: key by key as nginx does, slowly to who comes back, from a queue to who becomes free.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foregate_testkit::{Backend, Gate, Reply, Seen, Server, Setup, both, foregate_only};

const KEYS: usize = 10_000;

/// Who answers each of many keys: one letter for each.
fn owners(server: &Server, path: &str) -> Vec<u8> {
    let mut client = server.connect();
    (0..KEYS)
        .map(|key| {
            let request = format!("GET {path}?k=key-{key} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let response = client.exchange(request.as_bytes(), false).expect("because a backend answers");
            assert_eq!(response.status, 200);
            // A connection serves a thousand requests.
            if key % 900 == 899 {
                client = server.connect();
            }
            response.body[0]
        })
        .collect()
}

#[test]
fn every_key_of_a_consistent_hash_has_the_peer_that_nginx_gives_it() {
    let backends = ["a", "b", "c", "d"].map(Backend::named);
    let [a, b, c, d] = &backends;
    let setup = Setup::http(
        r"access_log off;
        upstream all { hash $arg_k consistent; server {a}; server {b} weight=3; server {c}; server {d}; keepalive 8; }
        upstream less { hash $arg_k consistent; server {a}; server {b} weight=3; server {d}; keepalive 8; }
        upstream down { hash $arg_k consistent; server {a}; server {b} weight=3; server {c} down; server {d}; keepalive 8; }
        server {
            listen 127.0.0.1:{port:0};
            proxy_http_version 1.1; proxy_set_header Connection '';
            location = /all { proxy_pass http://all; }
            location = /less { proxy_pass http://less; }
            location = /down { proxy_pass http://down; }
        }",
    );
    let setup = setup.backend("a", a).backend("b", b).backend("c", c).backend("d", d);
    let seen = Mutex::new(Vec::new());
    both(|subject| {
        let server = setup.start(subject);
        let [all, less, down] = ["/all", "/less", "/down"].map(|path| owners(&server, path));
        let moved = all.iter().zip(&less).filter(|(before, after)| **before != b'c' && before != after);
        assert_eq!(moved.count(), 0, "only the keys of the server that went away move");
        seen.lock().unwrap().push([all, less, down]);
    });
    if let [foregate, nginx] = &**seen.lock().unwrap() {
        for (mine, theirs) in foregate.iter().zip(nginx) {
            let differ = mine.iter().zip(theirs).filter(|(mine, theirs)| mine != theirs).count();
            assert_eq!(differ, 0, "of {KEYS} keys");
        }
    }
}

/// Of so many requests one of two servers gets at most this, while its weight grows from nothing (`slow_start`).
pub(crate) fn share_most(n: usize, passed: Duration, slow_start: Duration) -> usize {
    let weight = (passed.as_secs_f64() / slow_start.as_secs_f64()).min(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let by_then = (n as f64 * weight / (1.0 + weight)) as usize;
    // The weight grows in whole steps, and counts for a turn behind.
    by_then + n / 10
}

#[test]
fn a_server_that_comes_back_gets_its_share_slowly() {
    foregate_only(|subject| {
        // Fails at first, long enough to be taken out.
        let well = Arc::new(AtomicBool::new(false));
        let is_well = well.clone();
        let back = Backend::new(move |_: &Seen| match is_well.load(SeqCst) {
            true => Reply::ok("b"),
            false => Reply::close_at_once(),
        });
        let other = Backend::named("o");
        let server = Setup::http(
            r"upstream u { server {back} fail_timeout=1s slow_start=4s; server {other}; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("back", &back)
        .backend("other", &other)
        .start(subject);
        let share = |n: usize| (0..n).filter(|_| server.get("/").text() == "b").count();
        share(4);
        well.store(true, SeqCst);
        server.eventually(|server| server.get("/").text() == "b");
        let came_back = Instant::now();
        let early = share(40);
        let most = share_most(40, came_back.elapsed(), Duration::from_secs(4));
        std::thread::sleep(Duration::from_secs(4));
        let late = share(40);
        assert!(early <= most && late == 20, "{early} of 40 at first, {most} at most; {late} later");
    });
}

#[test]
fn requests_wait_in_the_queue_for_a_server_to_become_free() {
    foregate_only(|subject| {
        let gate = Gate::new();
        let queued = gate.clone();
        let let_go = Gate::new();
        let holds = let_go.clone();
        let slow = Backend::new(move |seen| {
            let gate = if seen.target.ends_with("held") { &holds } else { &gate };
            Reply::new().until(gate).wait(300).send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ns")
        });
        let server = Setup::http(
            r#"log_format q '$status $upstream_queue_time';
            upstream u { server {slow} max_conns=1; queue 2 timeout=30s; }
            upstream short { server {slow} max_conns=1; queue 2 timeout=100ms; }
            server {
                listen 127.0.0.1:{port:0};
                location / { access_log {dir}/q.log q; proxy_pass http://u; }
                location /short { proxy_pass http://short; }
            }"#,
        )
        .backend("slow", &slow)
        .start(subject);
        let ask = |path: &str| {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            client
        };
        let first = ask("/");
        slow.wait_for(1);
        let mut waiting = [first, ask("/"), ask("/")];
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ask("/").response().map(|it| it.status), Some(502), "the queue is full");
        queued.open();
        for client in &mut waiting {
            assert_eq!(client.response().map(|it| it.status), Some(200));
        }
        let lines = server.log_lines("q.log", 4);
        assert!(lines.iter().any(|it| it.starts_with("200 0.0")), "{lines:?}");
        let waited = |line: &String| line.strip_prefix("200 ")?.parse::<f64>().ok();
        assert!(lines.iter().filter_map(waited).any(|seconds| seconds > 0.5), "{lines:?}");
        let held = ask("/short?held");
        slow.wait_for(4);
        assert_eq!(ask("/short").response().map(|it| it.status), Some(502), "it did not wait any longer");
        let_go.open();
        drop(held);
    });
}

#[test]
fn a_server_that_fails_too_often_is_ejected_and_comes_back() {
    foregate_only(|subject| {
        let bad = Backend::new(|seen: &Seen| match seen.target.as_str() {
            "/good" => Reply::ok("b"),
            _ => Reply::status(500, "", "b"),
        });
        let good = Backend::named("g");
        let server = Setup::http(
            r"upstream u { server {bad}; server {good}; outlier_ejection failures=50% requests=4 time=2s; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("bad", &bad)
        .backend("good", &good)
        .start(subject);
        let answers = |path: &str, n: usize| (0..n).map(|_| server.get(path).text()).collect::<String>();
        assert_eq!(answers("/", 16), "bgbgbgbggggggggg");
        server.wait_for_error("upstream server ejected for its errors");
        server.eventually(|server| server.get("/good").text() == "b");
    });
}

#[test]
fn retries_are_kept_to_a_share_of_the_traffic() {
    foregate_only(|subject| {
        let bad = Backend::new(|_| Reply::close_at_once());
        let server = Setup::http(
            r"upstream u { server {bad} max_fails=0; server {bad} max_fails=0; retry_budget 10% min=2; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("bad", &bad)
        .start(subject);
        for _ in 0..40 {
            assert_eq!(server.get("/").status, 502);
        }
        let retries = bad.requests().len() - 40;
        assert!((4..=8).contains(&retries), "{retries} retries of 40 requests");
        server.wait_for_error("the retry budget of the upstream is spent");
    });
}

#[test]
fn draining_servers_keep_those_that_belong_to_them() {
    // nginx has `drain` since 1.29.6.
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let server = Setup::http(
            r"upstream u { sticky route $arg_r; server {a} route=a drain; server {b} route=b; }
            server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }",
        )
        .backend("a", &a)
        .backend("b", &b)
        .start(subject);
        let answers: String = ["/", "/", "/?r=a", "/?r=b", "/"].map(|path| server.get(path).text()).concat();
        assert_eq!(answers, "bbabb");
    });
}
