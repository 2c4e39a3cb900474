//! Content codings: gzip as nginx does it, brotli and zstd beside it, packed files.

use foregate_testkit::{Backend, Reply, Setup, check, check_on, foregate_only};

const TEXT: &str = "packed, unpacked, packed, unpacked, packed, unpacked, packed";

fn site(inside: &str) -> Setup {
    Setup::http(&format!(
        "types {{ text/html html; text/plain txt; }}
         server {{ listen 127.0.0.1:{{port:0}}; {inside} }}"
    ))
    .file("html/a.html", TEXT)
    .file("html/a.txt", TEXT)
    .file("html/short.html", "short")
    .file("html/p.txt", "plain file")
    .file("html/p.txt.gz", "gzip file")
    .file("html/p.txt.br", "brotli file")
    .file("html/p.txt.zst", "zstd file")
    .file("html/q.txt", "plain file")
    .file("html/q.txt.gz", "gzip file")
}

#[test]
fn gzip_alone_is_nginx_s() {
    check(
        site("gzip on; gzip_vary on; location /no/ { alias {dir}/html/; gzip off; }"),
        &[
            (
                "GET /a.html",
                "200 | = packed, unpacked, packed, unpacked, packed, unpacked, packed | Vary: Accept-Encoding | ETag~ \"",
            ),
            (
                "GET /a.html\nAccept-Encoding: gzip",
                "200 | Content-Encoding: gzip | Vary: Accept-Encoding | !Accept-Ranges | ETag~ W/",
            ),
            ("GET /a.html\nAccept-Encoding: br, zstd", "200 | !Content-Encoding | Vary: Accept-Encoding"),
            ("GET /a.html\nAccept-Encoding: *", "200 | !Content-Encoding"),
            ("GET /a.html\nAccept-Encoding: gzip;q=0", "200 | !Content-Encoding"),
            ("GET /a.html\nAccept-Encoding: identity, gzip;q=0.1", "200 | Content-Encoding: gzip"),
            ("GET /a.html\nAccept-Encoding: gzip\nVia: 1.1 x", "200 | !Content-Encoding"),
            (
                "GET /a.html\nAccept-Encoding: gzip\nRange: bytes=0-3",
                "200 | Content-Encoding: gzip | !Content-Range",
            ),
            ("HEAD /a.html\nAccept-Encoding: gzip", "200 | Content-Encoding: gzip | !Content-Length | ="),
            ("GET /a.txt\nAccept-Encoding: gzip", "200 | !Content-Encoding | !Vary"),
            ("GET /short.html\nAccept-Encoding: gzip", "200 | !Content-Encoding | = short"),
            ("GET /no/a.html\nAccept-Encoding: gzip", "200 | !Content-Encoding | !Vary"),
        ],
    );
}

#[test]
fn the_client_s_weights_choose_among_all() {
    let setup =
        site("gzip on; brotli on; zstd on; gzip_vary on; location = /a.txt { brotli_types text/plain; }");
    foregate_only(|subject| {
        check_on(
            &setup.start(subject),
            &[
                (
                    "GET /a.html\nAccept-Encoding: gzip, deflate, br, zstd",
                    "200 | Content-Encoding: zstd | Vary: Accept-Encoding | ETag~ W/ | !Accept-Ranges",
                ),
                (
                    "GET /a.html\nAccept-Encoding: gzip, deflate, br",
                    "200 | Content-Encoding: br | Vary: Accept-Encoding",
                ),
                ("GET /a.html\nAccept-Encoding: gzip, deflate", "200 | Content-Encoding: gzip"),
                ("GET /a.html\nAccept-Encoding: gzip, br;q=0.9, zstd;q=0", "200 | Content-Encoding: gzip"),
                ("GET /a.html\nAccept-Encoding: br, gzip;q=0.9, zstd;q=0.5", "200 | Content-Encoding: br"),
                ("GET /a.html\nAccept-Encoding: *;q=0.1, identity;q=0", "200 | Content-Encoding: zstd"),
                (
                    "GET /a.html\nAccept-Encoding: identity, br;q=0.5",
                    "200 | !Content-Encoding | Vary: Accept-Encoding",
                ),
                (
                    "GET /a.html",
                    "200 | !Content-Encoding | Vary: Accept-Encoding | = packed, unpacked, packed, unpacked, packed, unpacked, packed",
                ),
                ("GET /a.html\nAccept-Encoding: gzip, br\nVia: 1.1 x", "200 | Content-Encoding: br"),
                (
                    "GET /a.html\nAccept-Encoding: br\nRange: bytes=0-3",
                    "200 | Content-Encoding: br | !Content-Range",
                ),
                ("GET /a.html\nAccept-Encoding: br\nIf-None-Match: *", "304 | !Content-Encoding | ="),
                ("HEAD /a.html\nAccept-Encoding: br", "200 | Content-Encoding: br | !Content-Length | ="),
                ("GET /a.txt\nAccept-Encoding: zstd, br", "200 | Content-Encoding: br"),
                (
                    "GET /a.txt\nAccept-Encoding: zstd, gzip",
                    "200 | !Content-Encoding | Vary: Accept-Encoding",
                ),
                ("GET /short.html\nAccept-Encoding: zstd, br", "200 | !Content-Encoding | = short"),
            ],
        );
    });
}

#[test]
fn nothing_is_packed_twice() {
    let backend = Backend::new(|request| match request.target.as_str() {
        "/packed" => Reply::status(200, "Content-Type: text/html\nContent-Encoding: br\n", "already"),
        _ => Reply::status(200, "Content-Type: text/html\nETag: \"x\"\n", TEXT),
    });
    let proxy = format!("brotli on; zstd on; location / {{ proxy_pass http://{}; }}", backend.address());
    let setup = site(&proxy);
    foregate_only(|subject| {
        check_on(
            &setup.start(subject),
            &[
                ("GET /packed\nAccept-Encoding: zstd, br", "200 | Content-Encoding: br | = already"),
                (
                    "GET /plain\nAccept-Encoding: zstd, br",
                    "200 | Content-Encoding: zstd | ETag: W/\"x\" | !Vary",
                ),
                ("GET /plain\nAccept-Encoding: br", "200 | Content-Encoding: br | ETag: W/\"x\""),
            ],
        );
    });
}

#[test]
fn packed_files_stand_in() {
    let setup = site(
        "gzip_static on; brotli_static on; zstd_static on; gzip_vary on;
         location /always/ { alias {dir}/html/; brotli_static always; zstd_static off; }",
    );
    foregate_only(|subject| {
        check_on(
            &setup.start(subject),
            &[
                (
                    "GET /p.txt\nAccept-Encoding: gzip, br, zstd",
                    "200 | Content-Encoding: zstd | = zstd file | Vary: Accept-Encoding | Content-Type: text/plain",
                ),
                ("GET /p.txt\nAccept-Encoding: gzip, br", "200 | Content-Encoding: br | = brotli file"),
                ("GET /p.txt\nAccept-Encoding: gzip, br;q=0.1", "200 | Content-Encoding: gzip | = gzip file"),
                ("GET /q.txt\nAccept-Encoding: gzip, br, zstd", "200 | Content-Encoding: gzip | = gzip file"),
                (
                    "GET /q.txt\nAccept-Encoding: br",
                    "200 | !Content-Encoding | = plain file | Vary: Accept-Encoding",
                ),
                ("GET /p.txt", "200 | !Content-Encoding | = plain file | Vary: Accept-Encoding"),
                ("GET /a.txt\nAccept-Encoding: br", "200 | !Content-Encoding | !Vary"),
                ("HEAD /p.txt\nAccept-Encoding: br", "200 | Content-Encoding: br | Content-Length: 11"),
                (
                    "GET /p.txt\nAccept-Encoding: br\nRange: bytes=0-5",
                    "206 | Content-Encoding: br | = brotli",
                ),
                ("GET /always/p.txt", "200 | Content-Encoding: br | = brotli file | !Vary"),
                ("GET /always/p.txt\nAccept-Encoding: gzip", "200 | Content-Encoding: gzip | = gzip file"),
            ],
        );
    });
}
