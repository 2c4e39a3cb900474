//! `error_page` in all its forms, and the pages nginx writes itself.

use foregate_testkit::{Backend, Reply, Seen, Setup, both, check, check_on};

#[test]
fn error_pages_are_found_by_uri_name_or_url() {
    check(
        Setup::http(
            r"server {
            listen 127.0.0.1:{port:0};
            error_page 404 /404.html;
            error_page 500 502 503 504 /50x.html;
            location /own { error_page 404 /fb; return 404; }
            location /ok { error_page 404 =200 /fb; return 404; }
            location /take { error_page 404 = /fb418; return 404; }
            location /other { error_page 404 =403 /fb; return 404; }
            location /named { error_page 404 @named; return 404; }
            location /named-ok { error_page 404 = @named; return 404; }
            location /named-200 { error_page 404 =200 @named; return 404; }
            location /url { error_page 403 http://other.example/x; return 403; }
            location /url-301 { error_page 403 =301 http://other.example/x; return 403; }
            location /var { error_page 404 /fb?was=$uri; return 404; }
            location /empty { error_page 410 =200 /none.txt; return 410; }
            location /twice { error_page 404 /twice-again; return 404; }
            location /twice-again { error_page 404 /never; return 404; }
            location /503 { return 503; }
            location /418 { error_page 418 = @named; return 418; }
            location = /fb { return 200 fallback:$uri:$args; }
            location = /fb418 { return 418 teapot; }
            location @named { return 200 named:$uri; }
        }",
        )
        .file("html/404.html", "our own 404")
        .file("html/50x.html", "our own 50x")
        .file("html/none.txt", ""),
        &[
            ("GET /missing", "404 | = our own 404"),
            ("HEAD /missing", "404 | Content-Length: 11 | ="),
            ("POST /503\n\nx", "503 | = our own 50x"),
            ("GET /own", "404 | = fallback:/fb:"),
            ("GET /ok", "200 | = fallback:/fb:"),
            ("GET /take", "418 | = teapot"),
            ("GET /other", "403 | = fallback:/fb:"),
            ("GET /named", "404 | = named:/named"),
            ("GET /named-ok", "200 | = named:/named-ok"),
            ("GET /named-200", "200 | = named:/named-200"),
            ("GET /url", "302 | Location: http://other.example/x"),
            ("GET /url-301", "301 | Location: http://other.example/x"),
            ("GET /var", "404 | = fallback:/fb:was=/var"),
            ("GET /empty", "200 | ="),
            ("GET /twice", "404 | ~ 404 Not Found"),
            ("GET /503", "503 | = our own 50x"),
            ("GET /418", "200 | = named:/418"),
        ],
    );
}

#[test]
fn files_keep_the_status_of_the_error() {
    check(
        Setup::http(
            r"server {
            listen 127.0.0.1:{port:0};
            location /a { error_page 404 /e.html; return 404; }
            location /b { error_page 404 =200 /e.html; return 404; }
            location /c { error_page 404 =410 /e.html; return 404; }
            location /d { error_page 404 = /e.html; return 404; }
            location /f { error_page 404 /missing.html; return 404; }
            location /n { error_page 404 @n; return 404; }
            location @n { try_files /e.html =404; }
        }",
        )
        .file("html/e.html", "e"),
        &[
            ("GET /a", "404 | = e"),
            ("GET /b", "200 | = e"),
            ("GET /c", "410 | = e"),
            ("GET /d", "200 | = e"),
            ("GET /f", "404 | ~ 404 Not Found"),
            ("GET /n", "404 | = e"),
            ("POST /a\n\nx", "404 | = e"),
            ("DELETE /a", "404 | = e"),
        ],
    );
}

#[test]
fn the_built_in_pages_are_nginx_s() {
    both(|subject| {
        let server = Setup::http(
            "server_tokens off;
             server {
                listen 127.0.0.1:{port:0};
                location ~ ^/(?<code>4..|5..)$ { return 404; }
                location /403 { deny all; }
                location = /502 { proxy_pass http://127.0.0.1:1; }
             }",
        )
        .start(subject);
        let page = |code: &str| {
            format!(
                "<html>\r\n<head><title>{code}</title></head>\r\n<body>\r\n<center><h1>{code}</h1></center>\r\n\
                 <hr><center>{}</center>\r\n</body>\r\n</html>\r\n",
                subject.product()
            )
        };
        assert_eq!(server.get("/404").text(), page("404 Not Found"));
        assert_eq!(server.get("/502").text(), page("502 Bad Gateway"));
        let padded = server.ask("GET /404\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)");
        let padded = padded.expect("because it is answered").text();
        assert!(
            padded.len() > 512 && padded.contains("disable MSIE and Chrome friendly error page"),
            "{padded}"
        );
    });
}

#[test]
fn codes_have_nginx_s_words() {
    let codes = [
        (400, "400 Bad Request"),
        (401, "401 Authorization Required"),
        (402, "402 Payment Required"),
        (403, "403 Forbidden"),
        (404, "404 Not Found"),
        (405, "405 Not Allowed"),
        (406, "406 Not Acceptable"),
        (409, "409 Conflict"),
        (410, "410 Gone"),
        (411, "411 Length Required"),
        (412, "412 Precondition Failed"),
        (413, "413 Request Entity Too Large"),
        (414, "414 Request-URI Too Large"),
        (415, "415 Unsupported Media Type"),
        (416, "416 Requested Range Not Satisfiable"),
        (421, "421 Misdirected Request"),
        (429, "429 Too Many Requests"),
        (500, "500 Internal Server Error"),
        (501, "501 Not Implemented"),
        (502, "502 Bad Gateway"),
        (503, "503 Service Temporarily Unavailable"),
        (504, "504 Gateway Time-out"),
        (505, "505 HTTP Version Not Supported"),
        (507, "507 Insufficient Storage"),
    ];
    let locations: String =
        codes.iter().map(|(code, _)| format!("location = /{code} {{ return {code}; }}\n")).collect();
    let setup = Setup::http(&format!("server {{ listen 127.0.0.1:{{port:0}}; {locations} }}"));
    both(|subject| {
        let server = setup.start(subject);
        for (code, words) in codes {
            let seen = server.get(&format!("/{code}"));
            assert_eq!(seen.status, code);
            assert!(seen.text().contains(&format!("<h1>{words}</h1>")), "{code}: {}", seen.text());
        }
    });
}

#[test]
fn a_backend_s_errors_are_intercepted_when_asked() {
    both(|subject| {
        let app = Backend::new(|seen| {
            let code = seen.target.trim_start_matches("/on").trim_start_matches('/').parse().unwrap_or(200);
            Reply::status(code, "X-From: app\r\n", "app's words")
        });
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                error_page 404 /nf;
                error_page 503 = /fb;
                location / { proxy_pass http://{app}; }
                location /on/ { proxy_intercept_errors on; proxy_pass http://{app}; }
                location = /nf { return 200 not-found; }
                location = /fb { return 503 fallback; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /404", "404 | = app's words"),
                ("GET /on/404", "404 | = not-found | !X-From"),
                ("GET /on/503", "503 | = fallback"),
                ("GET /on/500", "500 | = app's words"),
                ("GET /on/200", "200 | = app's words"),
            ],
        );
    });
}

#[test]
fn recursive_error_pages_must_be_asked_for() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            recursive_error_pages on;
            location /a { error_page 404 = /b; return 404; }
            location /b { error_page 403 = /c; return 403; }
            location /c { return 200 c; }
            location /loop { error_page 404 /loop; return 404; }
        }",
        &[("GET /a", "200 | = c"), ("GET /loop", "500")],
    );
}

#[test]
fn pages_of_errors_have_no_age() {
    let date = "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let backend = Backend::new(move |_: &Seen| Reply::status(404, date, ""));
    let setup = Setup::http(
        "server {
            listen 127.0.0.1:{port:0};
            error_page 404 /404.html;
            location /app { proxy_pass http://{backend}; }
        }",
    )
    .backend("backend", &backend)
    .file("html/404.html", "not here");
    both(|subject| {
        let cases = [
            ("GET /none", "404 | = not here | !Last-Modified | ETag:"),
            ("GET /404.html", "200 | Last-Modified:"),
            ("GET /app", "404 | Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}
