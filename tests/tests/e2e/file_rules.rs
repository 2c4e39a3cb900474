//! What a location says about files besides where they are: links, conditions, ranges, methods, charsets.

use std::os::unix::fs::symlink;

use foregate_testkit::{Setup, both, check, check_on};

#[test]
fn links_are_followed_as_far_as_they_are_trusted() {
    both(|subject| {
        let server = Setup::http(
            "disable_symlinks off;
             server { listen 127.0.0.1:{port:0}; root {dir};
                 location /on/ { disable_symlinks on; alias {dir}/html/; }
                 location /own/ { disable_symlinks if_not_owner; alias {dir}/html/; }
                 location /from/ { disable_symlinks on from={dir}/html/to; alias {dir}/html/; }
                 location /index/ { disable_symlinks on; alias {dir}/html/folder/; index link.txt; }
                 location /try/ { disable_symlinks on; alias {dir}/html/; try_files $arg_f =404; } }",
        )
        .file("html/a.txt", "a")
        .file("html/folder/b.txt", "b")
        .start(subject);
        let path = |name: &str| server.path(&format!("html/{name}"));
        let link =
            |to: &str, name: &str| symlink(path(to), path(name)).expect("because the folder is the test's");
        link("a.txt", "link.txt");
        link("folder", "to");
        link("a.txt", "folder/link.txt");
        check_on(
            &server,
            &[
                ("GET /html/link.txt", "200 | = a"),
                ("GET /html/to/b.txt", "200 | = b"),
                ("GET /on/a.txt", "200 | = a"),
                ("GET /on/link.txt", "403"),
                ("GET /on/to/b.txt", "404"),
                ("GET /own/link.txt", "200 | = a"),
                ("GET /own/to/b.txt", "200 | = b"),
                ("GET /from/to/b.txt", "200 | = b"),
                ("GET /from/to/link.txt", "403"),
                ("GET /from/link.txt", "403"),
                ("GET /index/", "403"),
                ("GET /try/x?f=a.txt", "200 | = a"),
                ("GET /try/x?f=none", "404"),
            ],
        );
    });
}

#[test]
fn conditions_and_ranges_are_ruled_by_the_location() {
    both(|subject| {
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; root {dir}/html;
                 location /off/ { if_modified_since off; alias {dir}/html/; }
                 location /before/ { if_modified_since before; alias {dir}/html/; }
                 location /bare/ { etag off; alias {dir}/html/; }
                 location /none/ { max_ranges 0; alias {dir}/html/; }
                 location /one/ { max_ranges 1; alias {dir}/html/; } }",
        )
        .file("html/a", "0123456789")
        .start(subject);
        let modified =
            server.get("/a").header("Last-Modified").expect("because a file has a time").to_owned();
        let since = |place: &str, date: &str, expected: &str| {
            let request = format!("GET /{place}a\nIf-Modified-Since: {date}");
            check_on(&server, &[(&request, expected)]);
        };
        let later = "Fri, 01 Jan 2100 00:00:00 GMT";
        since("", &modified, "304");
        since("", later, "200");
        since("off/", &modified, "200");
        since("before/", &modified, "304");
        since("before/", later, "304");
        since("before/", "Thu, 01 Jan 1970 00:00:01 GMT", "200");
        check_on(
            &server,
            &[
                ("GET /bare/a", "200 | !ETag"),
                ("GET /a\nRange: bytes=0-1,4-5", "206 | ~ Content-Range: bytes 4-5/10"),
                ("GET /none/a\nRange: bytes=0-1", "200 | = 0123456789 | !Accept-Ranges"),
                ("GET /one/a\nRange: bytes=0-1", "206 | = 01"),
                ("GET /one/a\nRange: bytes=0-1,4-5", "200 | = 0123456789"),
            ],
        );
    });
}

#[test]
fn methods_are_excepted_from_limits() {
    check(
        Setup::http(
            "server { listen 127.0.0.1:{port:0};
                 location / { limit_except GET { deny all; } }
                 location /post { limit_except POST { deny all; } return 200 r; }
                 location /allow { limit_except POST { allow 127.0.0.1; deny all; } }
                 location /if { limit_except GET { deny all; } if ($request_method = POST) { return 200 if; } }
                 location /re { limit_except GET { deny all; } rewrite ^ /both last; }
                 location @named { limit_except GET { deny all; } return 200 named; }
                 location /named { error_page 418 = @named; return 418; }
                 location /both { limit_except GET POST { deny all; } } }",
        )
        .file("html/a", "a")
        .file("html/both", "b"),
        &[
            ("GET /a", "200 | = a"),
            ("HEAD /a", "200"),
            ("POST /a\n\nx", "403"),
            ("DELETE /a", "403"),
            ("BREW /a", "403"),
            ("GET /post", "403"),
            ("POST /post\n\nx", "200 | = r"),
            ("GET /both", "200 | = b"),
            ("POST /both\n\nx", "405"),
            ("PUT /both\n\nx", "403"),
            ("GET /allow", "404"),
            ("POST /if\n\nx", "403"),
            ("POST /re\n\nx", "403"),
            ("GET /re", "200 | = b"),
            ("GET /named", "200 | = named"),
            ("POST /named\n\nx", "403"),
        ],
    );
}

#[test]
fn charsets_are_named_and_recoded() {
    check(
        Setup::http(
            "charset_map koi8-r utf-8 { C1 D0B0; C2 D0B1; }
             types { text/html html; text/plain txt; text/x-own own; }
             server { listen 127.0.0.1:{port:0}; charset utf-8;
                 location /types/ { charset_types text/x-own; alias {dir}/html/; }
                 location /all/ { charset_types *; alias {dir}/html/; }
                 location /koi/ { source_charset koi8-r; alias {dir}/html/; }
                 location /to/ { charset koi8-r; source_charset utf-8; alias {dir}/html/; }
                 location /off/ { charset off; alias {dir}/html/; }
                 location /var/ { charset $arg_c; alias {dir}/html/; } }",
        )
        .file("html/a.txt", "plain")
        .file("html/a.own", "own")
        .file("html/k.txt", b"\xc1\xc2 a")
        .file("html/u.txt", "аб a"),
        &[
            ("GET /a.txt", "200 | Content-Type: text/plain; charset=utf-8"),
            ("GET /a.own", "200 | Content-Type: text/x-own"),
            ("GET /types/a.own", "200 | Content-Type: text/x-own; charset=utf-8"),
            ("GET /types/a.txt", "200 | Content-Type: text/plain"),
            ("GET /all/a.own", "200 | Content-Type: text/x-own; charset=utf-8"),
            ("GET /koi/k.txt", "200 | Content-Type: text/plain; charset=utf-8 | = аб a"),
            ("GET /to/u.txt", "200 | Content-Type: text/plain; charset=koi8-r"),
            ("GET /off/a.txt", "200 | Content-Type: text/plain"),
            ("GET /var/a.txt?c=koi8-r", "200 | Content-Type: text/plain; charset=koi8-r"),
        ],
    );
}

#[test]
fn the_charset_of_an_upstream_stays_unless_it_is_overridden() {
    check(
        "charset_map koi8-r utf-8 { C1 D0B0; }
         server { listen 127.0.0.1:{port:0}; charset utf-8;
             location / { proxy_pass http://127.0.0.1:{port:1}; }
             location /over/ { override_charset on; proxy_pass http://127.0.0.1:{port:1}/; } }
         server { listen 127.0.0.1:{port:1};
             location / { default_type 'text/html; charset=koi8-r'; return 200 a; }
             location /bare { default_type text/html; return 200 a; } }",
        &[
            ("GET /", "200 | Content-Type: text/html; charset=koi8-r"),
            ("GET /bare", "200 | Content-Type: text/html; charset=utf-8"),
            ("GET /over/", "200 | Content-Type: text/html; charset=utf-8"),
        ],
    );
}

#[test]
fn what_only_tunes_is_accepted() {
    check(
        Setup::http(
            "directio 4m; directio_alignment 4k; output_buffers 2 32k; read_ahead 1m; sendfile_max_chunk 1m;
             aio threads; aio_write on; postpone_output 1460; tcp_nopush on; sendfile on; open_file_cache_events off;
             server { listen 127.0.0.1:{port:0};
                 location /d/ { directio off; aio off; sendfile off; alias {dir}/html/; }
                 location /c/ { sendfile_max_chunk 10; alias {dir}/html/; } }",
        )
        .file("html/a", "0123456789012345678901234567890123456789"),
        &[
            ("GET /a", "200 | = 0123456789012345678901234567890123456789"),
            ("GET /d/a", "200 | = 0123456789012345678901234567890123456789"),
            ("GET /c/a", "200 | = 0123456789012345678901234567890123456789"),
        ],
    );
}
