//! Requests made on behalf of others: `mirror`, `slice`, `post_action`, `addition`.

use foregate_testkit::{Backend, Gate, Reply, Setup, both, check};

#[test]
fn mirrors_see_the_request_and_never_delay_it() {
    both(|subject| {
        let app = Backend::new(|seen| Reply::ok(format!("app {}", seen.text())));
        let gate = Gate::new();
        let answered = gate.clone();
        let copy = Backend::new(move |_| {
            Reply::new().until(&gate).send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        });
        let server = Setup::http(
            "server {
                 listen 127.0.0.1:{port:0};
                 location / { mirror /mirror; proxy_pass http://{app}; }
                 location /off { mirror /mirror; mirror_request_body off; proxy_pass http://{app}; }
                 location /mirror {
                     internal;
                     proxy_pass http://{copy}$request_uri;
                     proxy_set_header X-From $uri;
                 }
             }",
        )
        .backend("app", &app)
        .backend("copy", &copy)
        .start(subject);
        let answer = server.ask("POST /a?b=c\n\nbody").unwrap_or_default();
        assert_eq!(answer.text(), "app body");
        answered.open();
        server.eventually(|_| copy.requests().len() == 1);
        let seen = copy.requests().remove(0);
        assert_eq!((&*seen.method, &*seen.target, &*seen.text()), ("POST", "/a?b=c", "body"));
        assert_eq!(seen.header("X-From"), Some("/mirror"));
    });
}

#[test]
fn wholes_are_put_together_from_slices() {
    let whole = "0123456789abcdef";
    check(
        Setup::http(
            "server {
                 listen 127.0.0.1:{port:0};
                 slice 4;
                 proxy_set_header Range $slice_range;
                 proxy_http_version 1.1;
                 location / { proxy_pass http://127.0.0.1:{port:1}; }
                 location /off { slice 0; proxy_pass http://127.0.0.1:{port:1}/file; }
             }
             map $http_range $range { ~bytes=(.+) $1; }
             server {
                 listen 127.0.0.1:{port:1};
                 add_header X-Asked $http_range;
                 location / { }
                 location /etag { add_header Content-Range 'bytes $range/100'; add_header ETag $http_range; return 206 abcd; }
                 location /status {
                     add_header Content-Range 'bytes 0-3/100';
                     if ($http_range = bytes=4-7) { return 200; }
                     return 206 abcd;
                 }
                 location /unknown { add_header Content-Range 'bytes 0-3/*'; return 206 abcd; }
                 location /shifted { add_header Content-Range 'bytes 1-4/100'; return 206 abcd; }
                 location /none { return 206 abcd; }
                 location /whole { return 200 abcd; }
             }",
        )
        .file("html/file", whole)
        .file("html/empty", ""),
        &[
            ("GET /file", "200 | = 0123456789abcdef | Content-Length: 16 | Accept-Ranges: bytes | !Content-Range | X-Asked: bytes=0-3"),
            ("HEAD /file", "200 | Content-Length: 16"),
            ("GET /file\nRange: bytes=5-9", "206 | = 56789 | Content-Range: bytes 5-9/16 | X-Asked: bytes=4-7"),
            ("GET /file\nRange: bytes=14-", "206 | = ef"),
            ("GET /file\nRange: bytes=-3", "206 | = def | X-Asked: bytes=0-3"),
            ("GET /file\nRange: bytes=2-3,5-6", "200 | = 0123456789abcdef"),
            ("GET /file\nRange: bytes=99-", "416"),
            ("GET /empty", "200 | ="),
            ("GET /missing", "404"),
            ("GET /whole", "200 | = abcd"),
            ("GET /off", "200 | = 0123456789abcdef | !X-Asked"),
            ("GET /etag", "closed"),
            ("GET /status", "closed"),
            ("GET /unknown", "closed"),
            ("GET /shifted", "closed"),
            ("GET /none", "closed"),
        ],
    );
}

#[test]
fn an_action_follows_the_answer() {
    both(|subject| {
        let app = Backend::new(|_| Reply::ok("unseen"));
        let server = Setup::http(
            "log_format which '$uri $status $body_bytes_sent';
             server {
                 listen 127.0.0.1:{port:0};
                 access_log {dir}/which.log which;
                 location / { post_action /done; }
                 location /named { post_action @done; }
                 location /off { post_action /done; location /off/x { post_action /missing; } }
                 location /done { internal; proxy_pass http://{app}/done; proxy_set_header X-Sent $body_bytes_sent; }
                 location @done { proxy_pass http://{app}; }
             }",
        )
        .file("html/file", "hello")
        .file("html/named", "hi")
        .backend("app", &app)
        .start(subject);
        assert_eq!(server.get("/file").text(), "hello");
        server.eventually(|_| app.requests().len() == 1);
        assert_eq!(app.requests()[0].target, "/done");
        assert_eq!(app.requests()[0].header("X-Sent"), Some("5"));
        assert_eq!(server.get("/named").text(), "hi");
        server.eventually(|_| app.requests().len() == 2);
        assert_eq!(server.log_lines("which.log", 2), ["/done 200 5", "/named 200 2"]);
    });
}

#[test]
fn additions_stand_around_the_body() {
    check(
        Setup::http(
            "default_type text/html;
             server {
                 listen 127.0.0.1:{port:0};
                 location / { add_before_body /before; add_after_body /after; }
                 location /before { return 200 'before $request_uri '; }
                 location /after { return 200 ' after'; }
                 location /missing { add_before_body /none; add_after_body /after; }
                 location /none { return 204; }
                 location /text { default_type text/plain; add_after_body /after; }
             }",
        )
        .file("html/file", "body")
        .file("html/missing", "body")
        .file("html/text", "body"),
        &[
            ("GET /file?x", "200 | = before /file?x body after | !Content-Length | ETag~ W/"),
            ("HEAD /file", "200 | !Content-Length"),
            ("GET /missing", "200 | = body after"),
            ("GET /text", "200 | = body | Content-Length: 4"),
            ("GET /file/none", "404 | !~ after"),
        ],
    );
}
