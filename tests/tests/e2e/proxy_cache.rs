//! `proxy_cache`: what is kept, for how long, who waits for whom, and what survives.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use foregate_testkit::process::signal;
use foregate_testkit::{Backend, Gate, Reply, Server, Setup, Signal, both, check_on, foregate_only};

const FRONT: &str = "proxy_cache_path {dir}/cache levels=1:2 keys_zone=one:1m;
    add_header X-Cache $upstream_cache_status;
    server {
        listen 127.0.0.1:{port:0};
        proxy_cache one;
        proxy_pass_request_body off;
        location / { proxy_pass http://{app}; INSIDE }
    }";

fn front(inside: &str) -> Setup {
    Setup::http(&FRONT.replace("INSIDE", inside))
}

/// As `front`, where what lies on the disk is looked at each time.
fn front_of_disk(inside: &str) -> Setup {
    Setup::http(&FRONT.replace("keys_zone=one:1m", "keys_zone=one:1m memory=off").replace("INSIDE", inside))
}

/// Counts requests: each answer is another one. `/say?LINES` sends header lines, separated by `;`.
fn counting() -> Backend {
    let n = AtomicUsize::new(0);
    Backend::new(move |seen| {
        let n = n.fetch_add(1, Ordering::Relaxed) + 1;
        let said = seen.target.split_once('?').map_or("", |(_, said)| said);
        let lines: String = said
            .split(';')
            .filter(|it| !it.is_empty())
            .map(|it| format!("{}\r\n", it.replace('+', " ")))
            .collect();
        Reply::status(200, &lines, format!("answer {n}"))
    })
}

/// All files of the cache.
fn objects(server: &Server) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                // Not the journal of purges.
                path if path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.')) => {}
                path => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(&server.path("cache")), &mut found);
    found
}

#[test]
fn what_is_fresh_is_served_again() {
    both(|subject| {
        let app = counting();
        let server = front("").backend("app", &app).start(subject);
        check_on(
            &server,
            &[
                ("GET /a?Cache-Control:+max-age=60", "200 | = answer 1 | X-Cache: MISS"),
                ("GET /a?Cache-Control:+max-age=60", "200 | = answer 1 | X-Cache: HIT"),
                ("HEAD /a?Cache-Control:+max-age=60", "200 | Content-Length: 8 | X-Cache: HIT"),
                ("POST /a?Cache-Control:+max-age=60", "200 | = answer 2 | !X-Cache"),
                ("GET /a?X-Accel-Expires:+60", "200 | = answer 3 | X-Cache: MISS | !X-Accel-Expires"),
                ("GET /a?X-Accel-Expires:+60", "200 | = answer 3 | X-Cache: HIT | !X-Accel-Expires"),
                ("GET /a?Cache-Control:+private", "200 | = answer 4 | X-Cache: MISS"),
                ("GET /a?Cache-Control:+private", "200 | = answer 5 | X-Cache: MISS"),
                ("GET /a?Cache-Control:+max-age=60;Set-Cookie:+a=b", "200 | = answer 6 | X-Cache: MISS"),
                ("GET /a?Cache-Control:+max-age=60;Set-Cookie:+a=b", "200 | = answer 7 | X-Cache: MISS"),
                ("GET /a", "200 | = answer 8 | X-Cache: MISS"),
                ("GET /a", "200 | = answer 9 | X-Cache: MISS"),
            ],
        );
    });
}

#[test]
fn representations_are_kept_side_by_side() {
    both(|subject| {
        let app = counting();
        let server = front("").backend("app", &app).start(subject);
        let ask = "GET /a?Cache-Control:+max-age=60;Vary:+X-Kind";
        check_on(
            &server,
            &[
                (&format!("{ask}\nX-Kind: one"), "200 | = answer 1 | X-Cache: MISS"),
                (&format!("{ask}\nX-Kind: two"), "200 | = answer 2 | X-Cache: MISS"),
                (&format!("{ask}\nX-Kind: one"), "200 | = answer 1 | X-Cache: HIT"),
                (&format!("{ask}\nX-Kind: two"), "200 | = answer 2 | X-Cache: HIT"),
                (ask, "200 | = answer 3 | X-Cache: MISS"),
            ],
        );
    });
}

#[test]
fn parts_and_conditions_are_served_from_what_is_kept() {
    both(|subject| {
        let app = Backend::new(|seen| {
            assert_eq!((seen.header("Range"), seen.header("If-None-Match")), (None, None));
            Reply::status(
                200,
                "ETag: \"e\"\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=60\r\n",
                "0123456789",
            )
        });
        // A client with its 304 in hand may be gone before the body that is to be kept has been read, and another
        // may ask for it before it is kept.
        let kept = "proxy_ignore_client_abort on; proxy_cache_lock on;";
        let server = front(kept).backend("app", &app).start(subject);
        check_on(
            &server,
            &[
                ("GET /a\nRange: bytes=2-3", "206 | = 23 | Content-Range: bytes 2-3/10 | X-Cache: MISS"),
                ("GET /a\nRange: bytes=4-", "206 | = 456789 | X-Cache: HIT"),
                ("GET /a\nRange: bytes=0-0,9-9", "206 | ~ bytes 9-9/10 | X-Cache: HIT"),
                ("GET /a\nIf-None-Match: \"e\"", "304 | X-Cache: HIT"),
                ("GET /a\nIf-Match: \"f\"", "412"),
                ("GET /b\nIf-None-Match: \"e\"", "304 | X-Cache: MISS"),
                ("GET /b", "200 | = 0123456789 | X-Cache: HIT"),
            ],
        );
        assert_eq!(app.requests().len(), 2);
    });
}

#[test]
fn what_is_out_of_date_is_asked_for_again() {
    both(|subject| {
        let n = AtomicUsize::new(0);
        let app = Backend::new(move |seen| {
            let n = n.fetch_add(1, Ordering::Relaxed) + 1;
            match (seen.header("If-None-Match"), &*seen.target) {
                (Some("\"same\""), _) => Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
                (_, "/same") => Reply::status(200, "ETag: \"same\"\r\n", format!("same {n}")),
                (_, "/breaks") if n > 2 => Reply::status(503, "", "broken"),
                _ => Reply::status(200, "", format!("answer {n}")),
            }
        });
        let server =
            front("proxy_cache_valid 200 2s; proxy_cache_revalidate on; proxy_cache_use_stale http_503;")
                .backend("app", &app)
                .start(subject);
        check_on(
            &server,
            &[
                ("GET /same", "200 | = same 1 | X-Cache: MISS"),
                ("GET /breaks", "200 | = answer 2 | X-Cache: MISS"),
                ("GET /other", "200 | = answer 3 | X-Cache: MISS"),
            ],
        );
        thread::sleep(Duration::from_millis(3200));
        check_on(
            &server,
            &[
                ("GET /same", "200 | = same 1 | X-Cache: REVALIDATED"),
                ("GET /same", "200 | = same 1 | X-Cache: HIT"),
                ("GET /breaks", "200 | = answer 2 | X-Cache: STALE"),
                ("GET /other", "200 | = answer 6 | X-Cache: EXPIRED"),
            ],
        );
    });
}

#[test]
fn nobody_waits_while_somebody_fetches_anew() {
    both(|subject| {
        let n = AtomicUsize::new(0);
        let gate = Gate::new();
        let nobody_waited = gate.clone();
        let app = Backend::new(move |_| {
            let n = n.fetch_add(1, Ordering::Relaxed) + 1;
            let body = format!("answer {n}");
            let length = body.len();
            let reply = if n == 2 { Reply::new().until(&gate) } else { Reply::new() };
            reply.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
        });
        let inside =
            "proxy_cache_valid 200 1s; proxy_cache_use_stale updating; proxy_cache_background_update on;";
        let server = front(inside).backend("app", &app).start(subject);
        assert_eq!(server.get("/a").text(), "answer 1");
        thread::sleep(Duration::from_millis(2200));
        let mut first = server.connect();
        first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        let first = first.response().unwrap_or_default();
        assert_eq!((first.header("X-Cache"), &*first.text()), (Some("STALE"), "answer 1"));
        check_on(&server, &[("GET /a", "200 | = answer 1 | X-Cache: UPDATING")]);
        nobody_waited.open();
        server.eventually(|server| server.get("/a").text() == "answer 2");
        assert_eq!(app.requests().len(), 2);
    });
}

#[test]
fn the_cache_is_passed_by_where_that_is_asked_for() {
    both(|subject| {
        let app = counting();
        let inside = "proxy_cache_valid 200 1m; proxy_cache_key $uri; proxy_cache_bypass $arg_fresh; proxy_no_cache $arg_secret;";
        let server = front(inside).backend("app", &app).start(subject);
        check_on(
            &server,
            &[
                ("GET /a", "200 | = answer 1 | X-Cache: MISS"),
                ("GET /a?fresh=1", "200 | = answer 2 | X-Cache: BYPASS"),
                ("GET /a?fresh=0", "200 | = answer 2 | X-Cache: HIT"),
                ("GET /b?secret=1", "200 | = answer 3 | X-Cache: MISS"),
                ("GET /b", "200 | = answer 4 | X-Cache: MISS"),
            ],
        );
    });
}

#[test]
fn one_asks_for_all() {
    both(|subject| {
        let app = Backend::new(|_| {
            Reply::new()
                .wait(500)
                .send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nonce")
        });
        let server = front("proxy_cache_lock on;").backend("app", &app).start(subject);
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|it| it.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"));
        for client in &mut clients {
            assert_eq!(client.response().unwrap_or_default().text(), "once");
        }
        assert_eq!(app.requests().len(), 1);
    });
}

#[test]
fn errors_of_the_way_there_are_kept_as_well() {
    both(|subject| {
        let app = Backend::new(|_| Reply::close_at_once());
        let server = front("proxy_cache_valid any 1m;").backend("app", &app).start(subject);
        check_on(&server, &[("GET /a", "502"), ("GET /a", "502")]);
        assert_eq!(app.connections(), 1);
    });
}

#[test]
fn what_is_kept_outlives_the_worker() {
    foregate_only(|subject| {
        let app = counting();
        let server = front("proxy_cache_valid 200 1m;")
            .backend("app", &app)
            .allow_log("exited on signal 9")
            .start(subject);
        check_on(
            &server,
            &[("GET /a", "200 | = answer 1 | X-Cache: MISS"), ("GET /b", "200 | = answer 2 | X-Cache: MISS")],
        );
        let before = server.worker();
        signal(before, Signal::KILL);
        server.eventually(|server| {
            server.worker() != before && server.try_ask("GET /a").is_ok_and(|it| it.is_some())
        });
        check_on(
            &server,
            &[("GET /a", "200 | = answer 1 | X-Cache: HIT"), ("GET /b", "200 | = answer 2 | X-Cache: HIT")],
        );
        server.reload(|server| server.worker() > 0);
        check_on(&server, &[("GET /b", "200 | = answer 2 | X-Cache: HIT")]);
    });
}

/// What becomes of a file's bytes.
type Spoil = fn(&[u8]) -> Vec<u8>;

#[test]
fn torn_and_foreign_files_are_not_served() {
    foregate_only(|subject| {
        let app = counting();
        let server = front_of_disk("proxy_cache_valid 200 1m;")
            .backend("app", &app)
            .allow_log("cache file")
            .start(subject);
        let spoil: [Spoil; 5] = [
            |whole| whole[..whole.len() - 1].to_vec(),
            |whole| whole[..60].to_vec(),
            |_| Vec::new(),
            |_| b"\x05\0\0\0\0\0\0\0 of another cache".to_vec(),
            |whole| {
                let mut changed = whole.to_vec();
                changed[whole.len() / 2] ^= 1;
                changed
            },
        ];
        for (n, spoil) in spoil.into_iter().enumerate() {
            let fetched = server.get("/a");
            assert_eq!(
                (fetched.header("X-Cache"), &*fetched.text()),
                (Some("MISS"), &*format!("answer {}", n + 1))
            );
            assert_eq!(server.get("/a").header("X-Cache"), Some("HIT"));
            let files = objects(&server);
            assert_eq!(files.len(), 1, "{files:?}");
            let whole = fs::read(&files[0]).expect("because it was found");
            fs::write(&files[0], spoil(&whole)).expect("because it was read");
        }
    });
}

#[test]
fn an_object_under_another_name_is_not_served() {
    foregate_only(|subject| {
        let app = counting();
        let server = front_of_disk("proxy_cache_valid 200 1m;")
            .backend("app", &app)
            .allow_log("cache file")
            .start(subject);
        assert_eq!(server.get("/a").text(), "answer 1");
        let first = objects(&server);
        assert_eq!(server.get("/b").text(), "answer 2");
        let second =
            objects(&server).into_iter().find(|it| !first.contains(it)).expect("because /b was kept");
        fs::copy(&first[0], &second).expect("because both exist");
        check_on(
            &server,
            &[("GET /b", "200 | = answer 3 | X-Cache: MISS"), ("GET /a", "200 | = answer 1 | X-Cache: HIT")],
        );
    });
}

#[test]
fn a_zone_grows_no_larger_than_it_may() {
    foregate_only(|subject| {
        let app = Backend::new(|_| Reply::ok(vec![b'x'; 10_000]));
        let server = Setup::http(
            "proxy_cache_path {dir}/cache keys_zone=one:1m max_size=200k;
             server {
                 listen 127.0.0.1:{port:0};
                 location / { proxy_pass http://{app}; proxy_cache one; proxy_cache_valid 200 1m; }
             }",
        )
        .backend("app", &app)
        .start(subject);
        let size =
            || objects(&server).iter().filter_map(|it| fs::metadata(it).ok()).map(|it| it.len()).sum::<u64>();
        for n in 0..100 {
            assert_eq!(server.get(&format!("/{n}")).body.len(), 10_000);
            assert!(size() <= (200 << 10) * 5 / 4, "{}", size());
        }
        server.eventually(|_| size() <= 200 << 10);
        assert!(size() > 100 << 10, "{}", size());
    });
}

#[test]
fn keys_are_purged_one_by_one_and_by_how_they_begin() {
    foregate_only(|subject| {
        let app = counting();
        let server = Setup::http(
            "proxy_cache_path {dir}/cache keys_zone=one:1m;
             map $request_method $purges { PURGE 1; }
             server {
                 listen 127.0.0.1:{port:0};
                 add_header X-Cache $upstream_cache_status;
                 location / {
                     proxy_pass http://{app};
                     proxy_cache one;
                     proxy_cache_key $request_uri;
                     proxy_cache_valid 200 1m;
                     proxy_cache_purge $purges;
                 }
             }",
        )
        .backend("app", &app)
        .start(subject);
        for path in ["/a", "/d/1", "/d/2"] {
            assert_eq!(server.get(path).header("X-Cache"), Some("MISS"));
        }
        check_on(
            &server,
            &[
                ("PURGE /a", "204"),
                ("PURGE /a", "404"),
                ("GET /a", "200 | = answer 4 | X-Cache: MISS"),
                ("GET /a", "200 | = answer 4 | X-Cache: HIT"),
                ("PURGE /d/*", "204"),
                ("GET /d/1", "200 | = answer 5 | X-Cache: MISS"),
                ("GET /d/1", "200 | = answer 5 | X-Cache: HIT"),
                ("GET /a", "200 | = answer 4 | X-Cache: HIT"),
            ],
        );
        server.eventually(|server| objects(server).len() == 2);
    });
}

#[test]
fn slices_are_kept_one_by_one() {
    both(|subject| {
        let server = Setup::http(
            "proxy_cache_path {dir}/cache keys_zone=one:1m;
             server {
                 listen 127.0.0.1:{port:0};
                 add_header X-Cache $upstream_cache_status;
                 location / {
                     slice 4;
                     proxy_pass http://127.0.0.1:{port:1};
                     proxy_set_header Range $slice_range;
                     proxy_cache one;
                     proxy_cache_key $uri$slice_range;
                     proxy_cache_valid 200 206 1m;
                 }
             }
             server { listen 127.0.0.1:{port:1}; }",
        )
        .file("html/file", "0123456789abcdef")
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /file\nRange: bytes=5-6", "206 | = 56 | X-Cache: MISS"),
                ("GET /file\nRange: bytes=4-4", "206 | = 4 | X-Cache: HIT"),
                ("GET /file", "200 | = 0123456789abcdef | X-Cache: MISS"),
                ("GET /file", "200 | = 0123456789abcdef | X-Cache: HIT"),
                ("GET /file\nRange: bytes=3-12", "206 | = 3456789abc | X-Cache: HIT"),
            ],
        );
        assert_eq!(objects(&server).len(), 4);
    });
}

#[test]
fn a_slow_client_does_not_hold_up_the_others() {
    both(|subject| {
        const BYTES: usize = 8 << 20;
        let app = Backend::new(|_| Reply::status(200, "Cache-Control: max-age=60\r\n", vec![b'x'; BYTES]));
        let server = front("proxy_cache_lock on;").backend("app", &app).start(subject);
        let mut slow = server.connect();
        slow.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        // It reads nothing: what was fetched for it is kept all the same.
        let fast = server.get("/a");
        assert_eq!((fast.body.len(), fast.header("X-Cache")), (BYTES, Some("HIT")));
        assert_eq!(slow.response().map(|it| it.body.len()), Some(BYTES));
        assert_eq!(app.requests().len(), 1);
    });
}

#[test]
fn what_is_asked_for_again_is_served_out_of_memory_as_from_its_file() {
    foregate_only(|subject| {
        let app = Backend::new(|seen| match seen.target.starts_with("/vary") {
            true => Reply::status(
                200,
                "Vary: X-Kind\r\nCache-Control: max-age=60\r\n",
                seen.header("X-Kind").unwrap_or("none"),
            ),
            false => Reply::status(
                200,
                "ETag: \"e\"\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=60\r\n",
                "0123456789".repeat(2000),
            ),
        });
        let server = front("proxy_cache_purge $http_x_purge;").backend("app", &app).start(subject);
        for want in ["MISS", "HIT", "HIT", "HIT"] {
            let seen = server.get("/a");
            assert_eq!((seen.header("X-Cache"), seen.body.len()), (Some(want), 20_000));
            assert!(seen.text() == "0123456789".repeat(2000));
        }
        check_on(
            &server,
            &[
                (
                    "GET /a\nRange: bytes=12-13",
                    "206 | = 23 | Content-Range: bytes 12-13/20000 | X-Cache: HIT",
                ),
                ("GET /a\nRange: bytes=0-0,19999-", "206 | ~ bytes 19999-19999/20000 | X-Cache: HIT"),
                ("GET /a\nIf-None-Match: \"e\"", "304 | X-Cache: HIT"),
                ("HEAD /a", "200 | Content-Length: 20000 | X-Cache: HIT"),
                ("GET /a\nX-Purge: 1", "204"),
                ("GET /a", "200 | X-Cache: MISS"),
                ("GET /a", "200 | X-Cache: HIT"),
                ("GET /vary\nX-Kind: one", "200 | = one | X-Cache: MISS"),
                ("GET /vary\nX-Kind: two", "200 | = two | X-Cache: MISS"),
                ("GET /vary\nX-Kind: one", "200 | = one | X-Cache: HIT"),
                ("GET /vary\nX-Kind: two", "200 | = two | X-Cache: HIT"),
                ("GET /vary\nX-Kind: one", "200 | = one | X-Cache: HIT"),
                ("GET /vary\nX-Kind: two", "200 | = two | X-Cache: HIT"),
                ("GET /vary\nX-Purge: 1", "204"),
                ("GET /vary\nX-Kind: two", "200 | = two | X-Cache: MISS"),
                ("GET /vary\nX-Kind: one", "200 | = one | X-Cache: MISS"),
            ],
        );
    });
}

#[test]
fn who_removes_files_by_hand_is_heard_within_a_second() {
    foregate_only(|subject| {
        let app = counting();
        let server = front("proxy_cache_valid 200 1m;").backend("app", &app).start(subject);
        for _ in 0..3 {
            assert_eq!(server.get("/a").text(), "answer 1");
        }
        objects(&server).iter().for_each(|it| fs::remove_file(it).expect("because it was found"));
        server.eventually(|server| server.get("/a").text() == "answer 2");
    });
}
