//! Files: types, indexes, directories, conditional requests, methods.

use foregate_testkit::{Server, Setup, both, check, check_on};

fn site(inside: &str) -> Setup {
    Setup::http(&format!(
        "types {{ text/html html; text/plain txt; text/css css; image/png png; }}
         default_type application/x-other;
         server {{ listen 127.0.0.1:{{port:0}}; {inside} }}"
    ))
    .file("html/index.html", "the index\n")
    .file("html/a.txt", "hello")
    .file("html/a.PNG", "png")
    .file("html/odd", "odd")
    .file("html/empty.txt", "")
    .file("html/sp ace.txt", "space")
    .file("html/ümlaut.txt", "umlaut")
    .file("html/per%cent.txt", "percent")
    .file("html/dir/index.html", "index of dir")
    .file("html/dir/other.html", "other of dir")
    .file("html/bare/x.txt", "x")
    .file("other/a.txt", "other a")
    .file_mode("html/secret.txt", "secret", 0o600)
}

#[test]
fn files_are_served_with_their_type_and_length() {
    check(
        site(""),
        &[
            (
                "GET /",
                "200 | = the index | Content-Type: text/html | Content-Length: 10 | Accept-Ranges: bytes",
            ),
            ("GET /a.txt", "200 | = hello | Content-Type: text/plain | ETag: | Last-Modified:"),
            ("GET /a.txt?query", "200 | = hello"),
            ("GET /a.PNG", "200 | Content-Type: image/png"),
            ("GET /odd", "200 | Content-Type: application/x-other"),
            ("GET /empty.txt", "200 | Content-Length: 0 | ="),
            ("GET /sp%20ace.txt", "200 | = space"),
            ("GET /%C3%BCmlaut.txt", "200 | = umlaut"),
            ("GET /per%25cent.txt", "200 | = percent"),
            ("HEAD /a.txt", "200 | Content-Length: 5 | ="),
            ("GET /dir/", "200 | = index of dir"),
            ("GET /dir/../a.txt", "200 | = hello"),
            ("GET /missing", "404"),
            ("GET /missing/", "404"),
            ("GET /a.txt/", "404"),
            ("GET /a.txt/more", "404"),
            ("GET /secret.txt", "403"),
            ("GET /bare/", "403 | ~ 403 Forbidden"),
            ("POST /a.txt\n\nx", "405 | ~ 405 Not Allowed"),
            ("PUT /a.txt\n\nx", "405"),
            ("DELETE /a.txt", "405"),
            ("OPTIONS /a.txt", "405"),
            ("TRACE /a.txt", "405"),
            ("BREW /a.txt", "405"),
        ],
    );
}

#[test]
fn a_folder_without_its_slash_redirects() {
    check(
        site(
            "location /aliased/ { alias {dir}/html/dir/; } location /rel/ { absolute_redirect off; alias {dir}/html/; }",
        ),
        &[
            ("GET /dir", "301 | Location: http://localhost:{port:0}/dir/"),
            ("GET /dir?a=b", "301 | Location: http://localhost:{port:0}/dir/?a=b"),
            ("GET /bare", "301 | Location: http://localhost:{port:0}/bare/"),
            ("GET /rel/dir", "301 | Location: /rel/dir/"),
            ("GET /aliased", "404"),
            ("GET /aliased/", "200 | = index of dir"),
        ],
    );
}

#[test]
fn root_and_alias_name_the_folder() {
    check(
        site(
            "location /other/ { root {dir}; }
             location /al/ { alias {dir}/other/; }
             location /alx { alias {dir}/other; }
             location = /one { alias {dir}/other/a.txt; }
             location ~ ^/re/(.*)$ { alias {dir}/other/$1; }
             location /var/ { root {dir}/$arg_r; }",
        )
        .file("v/var/f.txt", "by variable"),
        &[
            ("GET /other/a.txt", "200 | = other a"),
            ("GET /al/a.txt", "200 | = other a"),
            ("GET /alx/a.txt", "200 | = other a"),
            ("GET /one", "200 | = other a"),
            ("GET /re/a.txt", "200 | = other a"),
            ("GET /var/f.txt?r=v", "200 | = by variable"),
            ("GET /var/f.txt", "404"),
            ("GET /al/../a.txt", "200 | = hello"),
        ],
    );
}

#[test]
fn index_tries_its_names_in_order_and_redirects_inside() {
    check(
        site(
            "index none.html other.html index.html;
             location /bare/ { index none /a.txt; }
             location /v/ { alias {dir}/html/dir/; index $arg_i.html index.html; }
             location = /dir/other.html { add_header X-Location exact; }",
        ),
        &[
            ("GET /dir/", "200 | = other of dir | X-Location: exact"),
            ("GET /", "200 | = the index"),
            ("GET /bare/", "200 | = hello"),
            ("GET /v/?i=other", "200 | = other of dir"),
            ("GET /v/", "200 | = index of dir"),
        ],
    );
}

#[test]
fn types_are_replaced_below_and_charset_is_added() {
    check(
        site(
            "charset utf-8;
             location /dir/ { types { text/x-own html; } }
             location /bare/ { charset off; }
             location /only/ { types { } default_type text/only; alias {dir}/html/; }",
        ),
        &[
            ("GET /a.txt", "200 | Content-Type: text/plain; charset=utf-8"),
            ("GET /a.PNG", "200 | Content-Type: image/png"),
            ("GET /dir/", "200 | Content-Type: text/x-own"),
            ("GET /bare/x.txt", "200 | Content-Type: text/plain"),
            ("GET /only/a.txt", "200 | Content-Type: text/only"),
        ],
    );
}

/// The file's validators, as the server says them.
fn validators(server: &Server) -> (String, String) {
    let seen = server.get("/a.txt");
    let value = |name: &str| seen.header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    (value("ETag"), value("Last-Modified"))
}

#[test]
fn conditional_requests_are_judged_as_nginx_judges_them() {
    both(|subject| {
        let server =
            site("location /any.txt { alias {dir}/html/a.txt; if_modified_since before; }").start(subject);
        let (etag, date) = validators(&server);
        let old = "Mon, 01 Jan 2001 00:00:00 GMT";
        let new = "Fri, 01 Jan 2038 00:00:00 GMT";
        let case = |fields: &str, status: &str| {
            let fields =
                fields.replace("ETAG", &etag).replace("DATE", &date).replace("OLD", old).replace("NEW", new);
            (format!("GET {fields}"), status.to_owned())
        };
        let cases = [
            case(
                "/a.txt\nIf-None-Match: ETAG",
                "304 | = | !Content-Length | !Content-Type | ETag: | Last-Modified:",
            ),
            case("/a.txt\nIf-None-Match: W/ETAG", "304"),
            case("/a.txt\nIf-None-Match: \"x\", ETAG", "304"),
            case("/a.txt\nIf-None-Match: *", "304"),
            case("/a.txt\nIf-None-Match: \"x\"", "200 | = hello"),
            case("/a.txt\nIf-Modified-Since: DATE", "304"),
            case("/a.txt\nIf-Modified-Since: NEW", "200"),
            case("/a.txt\nIf-Modified-Since: OLD", "200"),
            case("/a.txt\nIf-Modified-Since: nonsense", "200"),
            case("/any.txt\nIf-Modified-Since: NEW", "304"),
            case("/a.txt\nIf-None-Match: \"x\"\nIf-Modified-Since: DATE", "200"),
            case("/a.txt\nIf-None-Match: ETAG\nIf-Modified-Since: OLD", "200"),
            case("/a.txt\nIf-Match: ETAG", "200"),
            case("/a.txt\nIf-Match: *", "200"),
            case("/a.txt\nIf-Match: \"x\"", "412 | ~ 412 Precondition Failed"),
            case("/a.txt\nIf-Match: W/ETAG", "412"),
            case("/a.txt\nIf-Unmodified-Since: DATE", "200"),
            case("/a.txt\nIf-Unmodified-Since: OLD", "412"),
            case("/a.txt\nIf-Unmodified-Since: NEW", "200"),
        ];
        let cases: Vec<(&str, &str)> = cases.iter().map(|(r, e)| (r.as_str(), e.as_str())).collect();
        check_on(&server, &cases);
    });
}

#[test]
fn the_etag_is_time_and_length_in_hexadecimal() {
    both(|subject| {
        let server = site("").start(subject);
        let modified = std::fs::metadata(server.path("html/a.txt")).and_then(|m| m.modified());
        let modified = modified.expect("because the file was written");
        let secs = modified.duration_since(std::time::UNIX_EPOCH).expect("because it is past 1970").as_secs();
        assert_eq!(validators(&server).0, format!("\"{secs:x}-5\""));
    });
}

#[test]
fn etag_off_and_expires_set_the_headers() {
    check(
        site(
            "location /a.txt { etag off; expires 1h; }
             location /odd { expires -1; }
             location /empty.txt { expires max; }
             location /dir/ { expires epoch; }
             location /a.PNG { expires off; }",
        ),
        &[
            ("GET /a.txt", "200 | !ETag | Cache-Control: max-age=3600 | Expires:"),
            ("GET /odd", "200 | Cache-Control: no-cache | Expires:"),
            (
                "GET /empty.txt",
                "200 | Cache-Control: max-age=315360000 | Expires: Thu, 31 Dec 2037 23:55:55 GMT",
            ),
            ("GET /dir/", "200 | Cache-Control: no-cache | Expires: Thu, 01 Jan 1970 00:00:01 GMT"),
            ("GET /a.PNG", "200 | !Cache-Control | !Expires"),
            ("GET /a.txt-missing", "404 | !Cache-Control"),
        ],
    );
}

#[test]
fn a_large_file_comes_whole() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for sendfile in ["on", "off"] {
        let setup = Setup::http(&format!("sendfile {sendfile}; server {{ listen 127.0.0.1:{{port:0}}; }}"))
            .file("html/large", &bytes);
        both(|subject| {
            let server = setup.start(subject);
            let seen = server.get("/large");
            assert!(seen.complete && seen.body == bytes, "sendfile {sendfile}: {} bytes", seen.body.len());
        });
    }
}

#[test]
fn the_error_log_names_the_file_that_is_missing() {
    both(|subject| {
        let server = site("").start(subject);
        server.get("/missing");
        server.wait_for_error(&server.fill(
            "open() \"{dir}/html/missing\" failed (2: No such file or directory), client: 127.0.0.1, server: , \
             request: \"GET /missing HTTP/1.1\", host: \"localhost\"",
        ));
        server.get("/bare/");
        server.wait_for_error(&server.fill("directory index of \"{dir}/html/bare/\" is forbidden"));
        server.get("/secret.txt");
        server
            .wait_for_error(&server.fill("open() \"{dir}/html/secret.txt\" failed (13: Permission denied)"));
    });
}

#[test]
fn autoindex_lists_a_folder() {
    check(
        site(
            "location /bare/ { autoindex on; } location /json/ { alias {dir}/html/bare/; autoindex on; autoindex_format json; }
             location /xml/ { alias {dir}/html/bare/; autoindex on; autoindex_format xml; }
             location /jsonp/ { alias {dir}/html/bare/; autoindex on; autoindex_format jsonp; }",
        ),
        &[
            (
                "GET /bare/",
                "200 | Content-Type: text/html | ~ <h1>Index of /bare/</h1> | ~ <a href=\"x.txt\">x.txt</a>",
            ),
            ("GET /bare/", "200 | ~ <html>\r\n<head><title>Index of /bare/</title> | ~ </h1><hr><pre><a href=\"../\">../</a>\r\n"),
            ("GET /xml/", "200 | Content-Type: text/xml; charset=utf-8 | ~ <list>\r\n<file mtime= | ~ size=\"1\">x.txt</file>"),
            ("GET /jsonp/?callback=a.b", "200 | Content-Type: application/javascript | ~ a.b([ | ~ ]);"),
            ("GET /jsonp/", "200 | Content-Type: application/json"),
            ("GET /jsonp/?callback=a(", "400"),
            ("GET /json/", "200 | Content-Type: application/json | ~ \"name\":\"x.txt\", \"type\":\"file\""),
            ("GET /dir/", "200 | = index of dir"),
        ],
    );
}

#[test]
fn a_video_is_sent_from_where_it_is_asked_for() {
    check(
        Setup::http("server { listen 127.0.0.1:{port:0}; location / { flv; } }")
            .file("html/a.flv", "0123456789")
            .file("html/d/index.html", "index"),
        &[
            ("GET /a.flv", "200 | = 0123456789"),
            ("GET /a.flv?start=7", "200 | Content-Length: 16 | ~ FLV | ~ 789"),
            ("GET /a.flv?start=7\nRange: bytes=13-14", "206 | = 78 | Content-Range: bytes 13-14/16"),
            ("GET /a.flv?start=10", "200 | = 0123456789"),
            ("GET /a.flv?start=x", "200 | = 0123456789"),
            ("GET /d/", "200 | = index"),
            ("GET /d", "301"),
            ("POST /a.flv\n\nx", "405"),
        ],
    );
}

#[test]
fn an_old_browser_is_sent_on_by_a_page() {
    check(
        "server { listen 127.0.0.1:{port:0}; msie_refresh on; absolute_redirect off;
           location /to { return 302 \"/a b'\"; }
           location /off { msie_refresh off; return 302 /a; }
           location /other { return 303 /a; } }",
        &[
            ("GET /to\nUser-Agent: Mozilla (MSIE 7.0)", "200 | ~ URL=/a%20b%27\" | !Location"),
            ("GET /to\nUser-Agent: MSIE 7", "302 | Location: /a b'"),
            ("GET /to\nUser-Agent: MSIE 7.0 Opera", "302"),
            ("GET /off\nUser-Agent: MSIE 7.0", "302"),
            ("GET /other\nUser-Agent: MSIE 7.0", "303"),
            ("GET /to", "302 | Location: /a b'"),
        ],
    );
}
