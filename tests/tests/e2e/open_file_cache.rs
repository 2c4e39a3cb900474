//! `open_file_cache`: what is remembered of files, and for how long.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use foregate_testkit::{Server, Setup, both, check_on};

/// Puts another file in the place of one, as deployments do.
fn replace(server: &Server, name: &str, text: &str) {
    server.write("new", text);
    fs::rename(server.path("new"), server.path(name)).expect("because the folder is the test's");
}

fn body(server: &Server, path: &str) -> String {
    let seen = server.get(path);
    format!("{} {}", seen.status, seen.text())
}

#[test]
fn a_file_stays_as_it_was_opened_until_it_is_looked_at_again() {
    both(|subject| {
        let server = Setup::http(
            "open_file_cache max=100 inactive=1h;
             open_file_cache_valid 1h;
             server { listen 127.0.0.1:{port:0}; root {dir};
                 location /off/ { open_file_cache off; alias {dir}/; }
                 location /own/ { open_file_cache max=10; open_file_cache_valid 1s; alias {dir}/; }
                 location /often/ { open_file_cache max=10; open_file_cache_min_uses 2; alias {dir}/; }
                 location /test/ { alias {dir}/; try_files $arg_f =404; } }",
        )
        .file("a", "one")
        .file("gone", "here")
        .start(subject);
        let of = |path: &str| body(&server, path);
        for place in ["/a", "/off/a", "/own/a", "/often/a", "/gone"] {
            assert!(of(place).starts_with("200 "), "{place}");
        }
        replace(&server, "a", "two");
        fs::remove_file(server.path("gone")).expect("because it is there");
        assert_eq!((of("/a"), of("/gone")), ("200 one".into(), "200 here".into()));
        assert_eq!(
            (of("/off/a"), of("/own/a"), of("/often/a")),
            ("200 two".into(), "200 one".into(), "200 two".into())
        );
        replace(&server, "a", "three");
        assert_eq!(of("/often/a"), "200 two");
        // The same path in the same cache.
        assert_eq!(of("/test/x?f=a"), "200 one");
        sleep(Duration::from_millis(2100));
        assert_eq!((of("/own/a"), of("/a")), ("200 three".into(), "200 one".into()));
    });
}

#[test]
fn errors_are_remembered_where_that_is_asked_for() {
    both(|subject| {
        let server = Setup::http(
            "open_file_cache max=100; open_file_cache_valid 1h;
             server { listen 127.0.0.1:{port:0}; root {dir};
                 location /on/ { open_file_cache max=10; open_file_cache_errors on; alias {dir}/; } }",
        )
        .file("x", "x")
        .start(subject);
        check_on(&server, &[("GET /a", "404"), ("GET /on/a", "404")]);
        replace(&server, "a", "now");
        check_on(&server, &[("GET /a", "200 | = now"), ("GET /on/a", "404")]);
    });
}

#[test]
fn the_longest_unused_file_goes_first() {
    both(|subject| {
        let server = Setup::http(
            "open_file_cache max=2 inactive=1h; open_file_cache_valid 1h;
             server { listen 127.0.0.1:{port:0}; root {dir}; }",
        )
        .file("a", "1")
        .file("b", "1")
        .file("c", "1")
        .start(subject);
        check_on(&server, &[("GET /a", "200"), ("GET /b", "200"), ("GET /a", "200"), ("GET /c", "200")]);
        for name in ["a", "b", "c"] {
            replace(&server, name, "2");
        }
        check_on(&server, &[("GET /a", "200 | = 1"), ("GET /c", "200 | = 1"), ("GET /b", "200 | = 2")]);
    });
}

#[test]
fn what_nobody_asks_for_is_closed() {
    both(|subject| {
        let server = Setup::http(
            "open_file_cache max=10 inactive=1s; open_file_cache_valid 1h;
             server { listen 127.0.0.1:{port:0}; root {dir}; }",
        )
        .file("a", "1")
        .file("b", "1")
        .start(subject);
        check_on(&server, &[("GET /a", "200 | = 1")]);
        replace(&server, "a", "2");
        sleep(Duration::from_millis(2100));
        check_on(&server, &[("GET /b", "200"), ("GET /a", "200 | = 2")]);
    });
}
