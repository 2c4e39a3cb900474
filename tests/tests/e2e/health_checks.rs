//! `health_check` and `match`: peers that are not well get no visitors, and those that are get them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use foregate_testkit::{Backend, Certificate, Reply, Seen, Server, Setup, check_on, foregate_only};

use crate::balancing::share_most;

/// A backend whose `/health` answers 503 while the flag is down, and everything else its name.
fn patient(name: &'static str) -> (Backend, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let flag = well.clone();
    let backend = Backend::new(move |seen: &Seen| match seen.target.as_str() {
        "/health" if !flag.load(SeqCst) => Reply::status(503, "", "ill"),
        _ => Reply::status(200, "X-State: good\r\n", name),
    });
    (backend, well)
}

fn answers(server: &Server, n: usize) -> String {
    (0..n).map(|_| server.get("/").text()).collect()
}

fn visits(backend: &Backend) -> usize {
    backend.requests().iter().filter(|it| it.target != "/health").count()
}

#[test]
fn a_server_that_answers_503_gets_no_visitor_and_comes_back_slowly() {
    foregate_only(|subject| {
        let (ill, well) = patient("i");
        let other = Backend::named("o");
        let server = Setup::http(
            r"upstream u { zone u 64k; server {ill} slow_start=6s; server {other}; }
            error_log {dir}/notice.log notice;
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://u; health_check interval=1s uri=/health; }
            }",
        )
        .backend("ill", &ill)
        .backend("other", &other)
        .start(subject);
        assert_eq!(answers(&server, 8).matches('i').count(), 4);
        well.store(false, SeqCst);
        server.wait_for("notice.log", |it| {
            it.contains("peer is unhealthy while checking status code, health check \"\" of peer 127.0.0.1:")
        });
        let before = visits(&ill);
        assert_eq!(answers(&server, 20), "o".repeat(20));
        assert_eq!(visits(&ill), before, "no visitor comes any more");
        well.store(true, SeqCst);
        server.wait_for("notice.log", |it| it.contains("peer is healthy, health check"));
        let came_back = Instant::now();
        let early = answers(&server, 40).matches('i').count();
        let most = share_most(40, came_back.elapsed(), Duration::from_secs(6));
        std::thread::sleep(Duration::from_secs(6));
        let late = answers(&server, 40).matches('i').count();
        assert!(early <= most && late == 20, "{early} of 40 at first, {most} at most; {late} later");
    });
}

#[test]
fn match_blocks_say_what_is_good() {
    foregate_only(|subject| {
        let (app, _well) = patient("the body");
        let expect = [
            ("status 200-299; header X-State = good; header ! X-None; body ~ 'the (body|soul)';", 200),
            ("status ! 500-599 404;", 200),
            ("header X-State ~ ^g; header X-State != bad; header X-State !~ ^b;", 200),
            ("require $upstream_http_x_state;", 200),
            ("require $upstream_http_x_none;", 502),
            ("status 301 302;", 502),
            ("header X-State = bad;", 502),
            ("header X-None;", 502),
            ("body !~ body;", 502),
        ];
        let mut conf = String::new();
        for (n, (rules, _)) in expect.iter().enumerate() {
            conf += &format!(
                "match m{n} {{ {rules} }}
                upstream u{n} {{ server {{app}}; }}
                server {{ listen 127.0.0.1:{{port:{n}}}; location / {{
                    proxy_pass http://u{n}; health_check interval=100ms uri=/h match=m{n} mandatory; }} }}\n"
            );
        }
        let server = Setup::http(&conf).backend("app", &app).start(subject);
        for (n, (rules, status)) in expect.iter().enumerate() {
            let get = || foregate_testkit::get(server.port(n), "/").status;
            server.eventually(|_| get() == *status);
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(get(), *status, "{rules}");
        }
    });
}

#[test]
fn what_is_asked_is_what_the_location_would_ask() {
    foregate_only(|subject| {
        let app = Backend::named("x");
        let server = Setup::http(
            r"upstream u { server 127.0.0.1:{port:9}; }
            server {
                listen 127.0.0.1:{port:0};
                location / {
                    proxy_pass http://u/base/; proxy_set_header Host $host; proxy_set_header X-Check yes;
                    health_check interval=100ms port={app} uri=/h?full keepalive_time=60s;
                }
            }",
        )
        .set("app", app.port())
        .start(subject);
        let seen = app.wait_for(3);
        assert_eq!((seen[0].target.as_str(), seen[0].header("Host")), ("/h?full", Some("u")));
        assert_eq!(seen[0].header("X-Check"), Some("yes"));
        assert_eq!(app.connections(), 1, "one connection serves all checks");
        assert_eq!(server.get("/").status, 502, "visitors go to the server itself");
    });
}

#[test]
fn states_outlive_reloads_but_not_their_check() {
    foregate_only(|subject| {
        let (ill, well) = patient("i");
        let other = Backend::named("o");
        let setup = |check: &str, version: usize| {
            let text = r"upstream u { server {ill}; server {other}; }
                server {
                    listen 127.0.0.1:{port:0};
                    location = /version { return 200 VERSION; }
                    location / { proxy_pass http://u; CHECK }
                }";
            let text = text.replace("CHECK", check).replace("VERSION", &version.to_string());
            Setup::http(&text).backend("ill", &ill).backend("other", &other)
        };
        let check = "health_check interval=200ms fails=2 passes=2 uri=/health;";
        let server = setup(check, 0).start(subject);
        well.store(false, SeqCst);
        server.eventually(|server| answers(server, 8) == "o".repeat(8));
        server.write_conf(&setup(check, 1));
        server.reload(|server| server.get("/version").text() == "1");
        assert_eq!(answers(&server, 8), "o".repeat(8), "it is not asked again only because of a reload");
        server.write_conf(&setup("", 2));
        server.reload(|server| server.get("/version").text() == "2");
        server.eventually(|server| answers(server, 8).contains('i'));
    });
}

#[test]
fn servers_are_checked_before_their_first_visitor_where_that_is_mandatory() {
    foregate_only(|subject| {
        let checks = Arc::new(AtomicUsize::new(0));
        let seen = checks.clone();
        let slow = Backend::new(move |it: &Seen| {
            let first = it.target == "/health" && seen.fetch_add(1, SeqCst) == 0;
            if first {
                Reply::new().wait(600).send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ns")
            } else {
                Reply::ok("s")
            }
        });
        let server = Setup::http(
            r"upstream u { server {slow}; }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://u; health_check interval=1s uri=/health mandatory persistent; }
            }",
        )
        .backend("slow", &slow)
        .start(subject);
        assert_eq!(server.get("/").status, 502);
        server.wait_for_error("no live upstreams while connecting to upstream");
        server.eventually(|server| server.get("/").status == 200);
    });
}

#[test]
fn mistakes_are_told() {
    for (inside, want) in [
        (
            "location / { health_check; }",
            "\"health_check\" needs a \"proxy_pass\" without variables in its location",
        ),
        (
            "location / { proxy_pass http://127.0.0.1; health_check fails=0; }",
            "invalid parameter \"fails=0\"",
        ),
        ("location / { proxy_pass http://127.0.0.1; health_check match=m; }", "match \"m\" is not defined"),
        (
            "location / { proxy_pass http://127.0.0.1; health_check type=grpc; }",
            "\"health_check\" with \"type=grpc\" needs a \"grpc_pass\" in its location",
        ),
    ] {
        let setup = Setup::http(&format!("server {{ listen 127.0.0.1:{{port:0}}; {inside} }}"));
        foregate_only(|subject| {
            let (good, said) = setup.test(subject);
            assert!(!good && said.contains(want), "{inside}: {said}");
        });
    }
}

#[test]
fn servers_are_checked_over_tls_where_the_location_speaks_it() {
    foregate_only(|subject| {
        let (ill, well) = patient("i");
        let server = Setup::http(
            r"upstream u { server 127.0.0.1:{port:1}; }
            server {
                listen 127.0.0.1:{port:1} ssl; ssl_certificate {dir}/c.pem; ssl_certificate_key {dir}/c.key;
                location / { proxy_pass http://{ill}; }
            }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass https://u; health_check interval=100ms uri=/health; }
            }",
        );
        let own = Certificate::self_signed(&["u"]);
        let server = server.file("c.pem", own.cert_pem).file("c.key", own.key_pem);
        let server = server.backend("ill", &ill).start(subject);
        check_on(&server, &[("GET /", "200 | = i")]);
        well.store(false, SeqCst);
        server.eventually(|server| server.get("/").status == 502);
        well.store(true, SeqCst);
        server.eventually(|server| server.get("/").text() == "i");
    });
}
