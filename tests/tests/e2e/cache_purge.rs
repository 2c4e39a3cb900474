//! Purges: by key, by what keys begin with, by tag; by method and by the API; over restarts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use foregate_testkit::process::signal;
use foregate_testkit::{Backend, Redis, Reply, Server, Setup, Signal, check_on, foregate_only};

use crate::resilience::is_full;

const FRONT: &str = "proxy_cache_path {dir}/cache keys_zone=one:64m;
    map $request_method $purges { PURGE 1; }
    server {
        listen 127.0.0.1:{port:0};
        keepalive_requests 1000000;
        add_header X-Cache $upstream_cache_status;
        location / {
            proxy_pass http://{app};
            proxy_cache one;
            proxy_cache_key $uri;
            proxy_cache_valid 200 10m;
            proxy_cache_purge $purges;
            INSIDE
        }
        location /api { api write=on; }
        location /read { rewrite ^/read(.*) /api$1 break; api; }
    }";

fn front(inside: &str) -> Setup {
    Setup::http(&FRONT.replace("INSIDE", inside)).allow_log("exited on signal 9")
}

/// Counts requests. Tags are what the path's folder and the last digit say; `/v/` varies by a field.
fn tagged() -> Backend {
    let n = AtomicUsize::new(0);
    Backend::new(move |seen| {
        let n = n.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.header("If-None-Match") == Some("\"e\"") {
            return Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n");
        }
        let path = seen.target.split('?').next().unwrap_or_default();
        let folder = path.split('/').nth(1).unwrap_or_default();
        let lines = format!(
            "Cache-Tag: folder-{folder}, all\r\nSurrogate-Key: last-{} x\r\n{}{}",
            &path[path.len() - 1..],
            if folder == "v" { "Vary: X-Kind\r\n" } else { "" },
            if folder == "e" { "ETag: \"e\"\r\n" } else { "" },
        );
        Reply::status(200, &lines, format!("answer {n}"))
    })
}

fn cached(server: &Server, path: &str) -> String {
    server.get(path).header("X-Cache").unwrap_or_default().to_owned()
}

fn fill(server: &Server, paths: &[&str]) {
    for path in paths {
        assert_eq!(cached(server, path), "MISS", "{path}");
        assert_eq!(cached(server, path), "HIT", "{path}");
    }
}

#[test]
fn what_has_a_tag_is_purged_by_it() {
    foregate_only(|subject| {
        let app = tagged();
        let server = front("").backend("app", &app).start(subject);
        fill(&server, &["/a/1", "/a/2", "/b/1", "/b/2"]);
        check_on(
            &server,
            &[
                ("PURGE /\nCache-Tag: folder-a", "204"),
                ("GET /a/1", "200 | X-Cache: MISS"),
                ("GET /a/2", "200 | X-Cache: MISS"),
                ("GET /b/1", "200 | X-Cache: HIT"),
                ("GET /a/1", "200 | X-Cache: HIT"),
                ("PURGE /\nSurrogate-Key: last-2 nothing", "204"),
                ("GET /a/1", "200 | X-Cache: HIT"),
                ("GET /a/2", "200 | X-Cache: MISS"),
                ("GET /b/2", "200 | X-Cache: MISS"),
            ],
        );
    });
}

#[test]
fn a_soft_purge_puts_out_of_date() {
    foregate_only(|subject| {
        let app = tagged();
        let server = front("proxy_cache_use_stale updating; proxy_cache_background_update on;")
            .backend("app", &app)
            .start(subject);
        fill(&server, &["/a/1"]);
        check_on(&server, &[("PURGE /\nCache-Tag: all\nSoft-Purge: 1", "204")]);
        let stale = server.get("/a/1");
        assert_eq!((stale.header("X-Cache"), &*stale.text()), (Some("STALE"), "answer 1"));
        server.eventually(|server| server.get("/a/1").text() == "answer 2");
        assert_eq!(cached(&server, "/a/1"), "HIT");
        let server = front("proxy_cache_revalidate on;").backend("app", &app).start(subject);
        fill(&server, &["/e/1"]);
        let before = server.get("/e/1").text();
        check_on(&server, &[("PURGE /e/1\nSoft-Purge: 1", "204"), ("PURGE /e/2\nSoft-Purge: 1", "404")]);
        let again = server.get("/e/1");
        assert_eq!((again.header("X-Cache"), again.text()), (Some("REVALIDATED"), before));
        server.eventually(|server| cached(server, "/e/1") == "HIT");
    });
}

#[test]
fn purges_outlive_the_worker() {
    foregate_only(|subject| {
        let app = tagged();
        let server = front("").backend("app", &app).start(subject);
        let kind = |path: &str, kind: &str| {
            let answer = server.ask(&format!("GET {path}\nX-Kind: {kind}"));
            answer.and_then(|it| it.header("X-Cache").map(str::to_owned)).unwrap_or_default()
        };
        fill(&server, &["/a/1", "/b/1", "/c/1"]);
        for (path, it) in [("/v/1", "one"), ("/v/1", "two")] {
            assert_eq!([kind(path, it), kind(path, it)], ["MISS", "HIT"]);
        }
        check_on(
            &server,
            &[
                ("PURGE /\nCache-Tag: folder-a", "204"),
                ("PURGE /b/*", "204"),
                ("PURGE /v/1\nX-Kind: one", "204"),
            ],
        );
        let before = server.worker();
        signal(before, Signal::KILL);
        server.eventually(|server| {
            server.worker() != before && server.try_ask("GET /c/1").is_ok_and(|it| it.is_some())
        });
        // The first one fetched leads to the others of its key.
        assert_eq!([kind("/v/1", "one"), kind("/v/1", "two")], ["MISS", "MISS"]);
        assert_eq!([cached(&server, "/a/1"), cached(&server, "/b/1")], ["MISS", "MISS"]);
        assert_eq!(cached(&server, "/c/1"), "HIT");
    });
}

fn call(server: &Server, request: &str) -> (u16, String) {
    server.ask(request).map(|it| (it.status, it.text())).unwrap_or_default()
}

#[test]
fn the_api_purges_and_counts() {
    foregate_only(|subject| {
        let app = tagged();
        let server = front("").backend("app", &app).start(subject);
        fill(&server, &["/a/1", "/a/2", "/b/1"]);
        let purge = |body: &str| call(&server, &format!("POST /api/9/http/caches/one/purge\n\n{body}"));
        assert_eq!(purge("{\"tag\":\"folder-a\"}"), (200, "{\"found\":true,\"soft\":false}".to_owned()));
        assert_eq!([cached(&server, "/a/1"), cached(&server, "/b/1")], ["MISS", "HIT"]);
        assert_eq!(purge("{\"key\":\"/b/1\"}"), (200, "{\"found\":true,\"soft\":false}".to_owned()));
        assert_eq!(purge("{\"key\":\"/b/1\"}"), (200, "{\"found\":false,\"soft\":false}".to_owned()));
        assert_eq!(purge("{\"prefix\":\"/a/\",\"soft\":true}").0, 200);
        assert_eq!([cached(&server, "/a/1"), cached(&server, "/b/1")], ["EXPIRED", "MISS"]);
        for bad in ["{}", "{\"what\":\"x\"}", "{\"tag\":\"\"}", "{\"soft\":\"x\"}"] {
            assert_eq!(purge(bad).0, 400, "{bad}");
        }
        assert_eq!(purge("x").0, 415);
        assert_eq!(call(&server, "POST /api/9/http/caches/two/purge\n\n{\"tag\":\"x\"}").0, 404);
        assert_eq!(call(&server, "POST /read/9/http/caches/one/purge\n\n{\"tag\":\"x\"}").0, 405);
        let (status, told) = call(&server, "GET /api/9/http/caches/one");
        assert_eq!(status, 200);
        for part in [
            "\"hit\":{\"responses\":4,\"bytes\":32}",
            "\"miss\":{\"responses\":5,",
            "\"expired\":{\"responses\":1,",
            "\"hit_ratio\":\"40.0\"",
            "\"cold\":false",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(call(&server, "GET /api/9/http/caches").1.starts_with("{\"one\":{"));
        (0..3).for_each(|_| assert_eq!(cached(&server, "/b/1"), "HIT"));
        let (_, top) = call(&server, "GET /api/9/http/caches/one/top");
        assert!(top.starts_with("[{\"key\":\"/b/1\","), "{top}");
    });
}

#[test]
fn a_tag_of_many_objects_is_purged_at_once() {
    foregate_only(|subject| {
        let n_objects = if is_full() { 100_000 } else { 500 };
        let app = tagged();
        let server = front("").backend("app", &app).start(subject);
        let mut client = server.connect();
        for n in 0..n_objects {
            client.send(format!("GET /a/{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(client.response().is_some());
        }
        assert_eq!(cached(&server, "/a/7"), "HIT");
        let began = Instant::now();
        check_on(&server, &[("PURGE /\nCache-Tag: folder-a", "204")]);
        let took = began.elapsed();
        for n in [0, 7, n_objects / 2, n_objects - 1] {
            assert_eq!(cached(&server, &format!("/a/{n}")), "MISS");
        }
        println!("a tag of {n_objects} objects was purged in {took:?}");
    });
}

#[test]
fn instances_with_one_redis_purge_together() {
    foregate_only(|subject| {
        let Some(mut redis) = Redis::start() else { return };
        let app = tagged();
        let setup = || {
            let text =
                FRONT.replace("INSIDE", "").replace("keys_zone=one:64m", "keys_zone=one:1m redis={redis}");
            Setup::http(&text)
                .backend("app", &app)
                .set("redis", redis.address())
                .allow_log("redis")
                .start(subject)
        };
        let (one, two) = (setup(), setup());
        for server in [&one, &two] {
            fill(server, &["/a/1", "/b/1", "/c/1", "/d/1"]);
        }
        check_on(&one, &[("PURGE /\nCache-Tag: folder-a", "204"), ("PURGE /b/1", "204")]);
        two.eventually(|two| cached(two, "/a/1") == "MISS");
        two.eventually(|two| cached(two, "/b/1") == "MISS");
        assert_eq!([cached(&two, "/c/1"), cached(&one, "/c/1")], ["HIT", "HIT"]);
        assert_eq!([cached(&two, "/a/1"), cached(&one, "/a/1")], ["HIT", "MISS"]);
        // Without it each goes on, and tells the others when it is back.
        redis.stop();
        check_on(
            &two,
            &[("PURGE /c/*", "204"), ("GET /c/1", "200 | X-Cache: MISS"), ("GET /d/1", "200 | X-Cache: HIT")],
        );
        assert_eq!(cached(&one, "/c/1"), "HIT");
        redis.run();
        one.eventually(|one| cached(one, "/c/1") == "MISS");
        assert_eq!(cached(&two, "/d/1"), "HIT");
    });
}
