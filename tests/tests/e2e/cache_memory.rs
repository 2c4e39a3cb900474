//! What a cache has in memory, and the files it keeps open: the same bytes by every way to the client.

use std::fs;
use std::path::{Path, PathBuf};

use foregate_testkit::{Backend, Certificate, Client, Reply, Server, Setup, foregate_only};

use crate::http2_client::{Http2, get_fields};

const FRONT: &str = "proxy_cache_path {dir}/cache levels=1:2 keys_zone=one:1m memory=MEMORY;
    add_header X-Cache $upstream_cache_status;
    proxy_cache one;
    proxy_cache_key $request_uri;
    proxy_cache_valid 200 1m;
    proxy_cache_purge $http_x_purge;
    server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://{app}; } }
    server {
        listen 127.0.0.1:{port:1} ssl;
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        location / { proxy_pass http://{app}; }
    }
    server { listen 127.0.0.1:{port:2} http2; location / { proxy_pass http://{app}; } }
    server {
        listen 127.0.0.1:{port:3};
        sub_filter_once off;
        sub_filter_types *;
        sub_filter 000007 _SEVEN;
        location / { proxy_pass http://{app}; }
    }";
/// Copied into the socket; kept open as well; only the header in memory.
const SIZES: [usize; 3] = [20_000, 100_000, 400_000];

/// Every eight bytes tell where they stand.
fn body(bytes: usize) -> Vec<u8> {
    (0..bytes / 8).flat_map(|n| format!("{n:07} ").into_bytes()).collect()
}

fn front(app: &Backend) -> Setup {
    setup("", "16m", app)
}

fn setup(main: &str, memory: &str, app: &Backend) -> Setup {
    let certificate = Certificate::self_signed(&["localhost"]);
    Setup::framed(main, &FRONT.replace("MEMORY", memory))
        .backend("app", app)
        .file("cert.pem", &certificate.cert_pem)
        .file("key.pem", &certificate.key_pem)
}

/// `/BYTES`
fn backend() -> Backend {
    Backend::new(|seen| {
        Reply::status(200, "Accept-Ranges: bytes\r\n", body(seen.target[1..].parse().unwrap_or(0)))
    })
}

/// Files of the cache that the worker has open.
fn open_files(server: &Server) -> usize {
    let (cache, folder) = (server.path("cache"), format!("/proc/{}/fd", server.worker()));
    let open = fs::read_dir(folder).expect("because the worker is ours").flatten();
    let targets = open.filter_map(|it| fs::read_link(it.path()).ok());
    targets.filter(|it| it.starts_with(&cache) && is_object(it)).count()
}

/// Its name is a key.
fn is_object(file: &Path) -> bool {
    file.file_name().is_some_and(|it| it.len() == 32)
}

#[test]
fn an_object_in_memory_is_the_same_by_every_way() {
    foregate_only(|subject| {
        let app = backend();
        let server = front(&app).start(subject);
        for bytes in SIZES {
            let (path, expected) = (format!("/{bytes}"), body(bytes));
            for want in ["MISS", "HIT", "HIT", "HIT"] {
                let seen = server.get(&path);
                assert_eq!((seen.header("X-Cache"), seen.body == expected), (Some(want), true), "{path}");
            }
            let tls = Client::connect_tls(server.address(1), "localhost", &[]).map(|it| it.client);
            let mut tls = tls.expect("because it serves TLS");
            for range in ["", "Range: bytes=9-19999\r\n"] {
                tls.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{range}\r\n"));
                let seen = tls.response().expect("because it stays");
                let part = if range.is_empty() { &expected[..] } else { &expected[9..20_000] };
                assert_eq!(
                    (seen.header("X-Cache"), seen.body == part),
                    (Some("HIT"), true),
                    "{path} {range}"
                );
            }
            let mut h2 = Http2::new(Client::connect(server.address(2)));
            let stream = h2.open(&get_fields(&path), true);
            assert!(h2.answer(stream).body == expected, "{path} by HTTP/2");
            let mut filtered = Client::connect(server.address(3));
            filtered.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            let seen = filtered.response().expect("because it answers");
            let text = String::from_utf8(expected.clone()).expect("because it is text");
            assert!(seen.text() == text.replace("000007", "_SEVEN"), "{path} filtered");
            for range in ["0-8", "19990-19999", "0-0,16000-16007"] {
                let seen =
                    server.ask(&format!("GET {path}\nRange: bytes={range}")).expect("because it answers");
                assert_eq!((seen.status, seen.header("X-Cache")), (206, Some("HIT")));
                assert!(seen.text().contains("0002000 ") == range.contains(','), "{path} {range}");
            }
        }
        assert_eq!(app.requests().len(), SIZES.len());
    });
}

#[test]
fn files_stay_open_while_their_objects_are_in_memory() {
    foregate_only(|subject| {
        let app = backend();
        let server = front(&app).start(subject);
        for bytes in SIZES {
            (0..3).for_each(|_| assert_eq!(server.get(&format!("/{bytes}")).body.len(), bytes));
        }
        // The shortest is sent with its head.
        server.eventually(|server| open_files(server) == 2);
        for bytes in SIZES {
            let purged = server.ask(&format!("GET /{bytes}\nX-Purge: 1"));
            assert_eq!(purged.map(|it| it.status), Some(204));
        }
        server.eventually(|server| open_files(server) == 0);
        assert_eq!(server.get("/400000").header("X-Cache"), Some("MISS"));
    });
}

#[test]
fn there_is_a_limit_to_files_that_stay_open() {
    foregate_only(|subject| {
        let app = backend();
        // An eighth of 200.
        let server = setup("worker_rlimit_nofile 200;", "64m", &app).start(subject);
        for n in 0..60 {
            let bytes = 40_000 + 8 * n;
            (0..3).for_each(|_| assert!(server.get(&format!("/{bytes}")).body == body(bytes)));
        }
        assert_eq!(open_files(&server), 25);
        assert_eq!(app.requests().len(), 60);
    });
}

#[test]
fn a_file_cut_short_by_hand_is_never_made_up_for() {
    foregate_only(|subject| {
        let app = backend();
        let server = front(&app).allow_log("[alert]").allow_log("[crit]").start(subject);
        for bytes in [100_000, 400_000] {
            (0..3).for_each(|_| assert_eq!(server.get(&format!("/{bytes}")).body.len(), bytes));
        }
        for file in objects(&server.path("cache")) {
            let file = fs::OpenOptions::new().write(true).open(file).expect("because it was found");
            let length = file.metadata().map(|it| it.len()).expect("because it is open");
            file.set_len(length - 1000).expect("because there is more");
        }
        // Until it is looked at again the answer breaks off; then it is fetched anew.
        for bytes in [100_000, 400_000] {
            server.eventually(|server| {
                let mut client = Client::connect(server.address(0));
                client.send(format!("GET /{bytes} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
                let seen = client.rest();
                let at =
                    seen.windows(4).position(|it| it == b"\r\n\r\n").expect("because there is a head") + 4;
                assert!(body(bytes).starts_with(&seen[at..]), "bytes that never were there");
                seen.len() - at == bytes
            });
        }
    });
}

fn objects(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(objects(&path.to_string_lossy())),
            false if is_object(&path) => found.push(path),
            false => {}
        }
    }
    found
}
