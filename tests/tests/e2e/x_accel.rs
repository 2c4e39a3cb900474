//! `X-Accel-*`: what a backend may tell the server, and how it is told to be ignored.

use foregate_testkit::{Backend, Reply, Setup, both, check_on};

#[test]
fn a_backend_steers_with_x_accel() {
    both(|subject| {
        let app = Backend::new(|seen| {
            let field = match seen.target.trim_start_matches("/ignored") {
                "/file" => {
                    "X-Accel-Redirect: /protected/f.txt\r\nX-From: app\r\nContent-Type: text/x-app\r\nSet-Cookie: a=b\r\n"
                }
                "/query" => "X-Accel-Redirect: /show?a=b\r\n",
                "/escaped" => "X-Accel-Redirect: /protected/sp%20ace.txt\r\n",
                "/named" => "X-Accel-Redirect: @named\r\n",
                "/missing" => "X-Accel-Redirect: /protected/none\r\n",
                "/charset" => "X-Accel-Charset: koi8-r\r\nContent-Type: text/html\r\n",
                "/expires" => {
                    "X-Accel-Expires: 10\r\nX-Accel-Buffering: no\r\nX-Accel-Limit-Rate: 100000\r\n"
                }
                _ => "",
            };
            Reply::status(200, field, "app's body")
        });
        let server = Setup::http(
            "types { text/plain txt; }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://{app}; }
                location /ignored { proxy_ignore_headers X-Accel-Redirect; proxy_pass http://{app}; }
                location /protected/ { internal; }
                location /show { return 200 show:$uri:$args; }
                location /own-charset { charset koi8-r; }
                location @named { return 200 named:$uri; }
            }",
        )
        .file("html/protected/f.txt", "the file")
        .file("html/protected/sp ace.txt", "space")
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                (
                    "GET /file",
                    "200 | = the file | Content-Type: text/x-app | Set-Cookie: a=b | !X-From | !X-Accel-Redirect",
                ),
                ("HEAD /file", "200 | Content-Length: 8 | ="),
                ("GET /file\nRange: bytes=0-2", "206 | = the"),
                ("GET /query", "200 | = show:/show:a=b"),
                ("GET /escaped", "200 | = space"),
                ("GET /named", "200 | = named:/named"),
                ("GET /missing", "404"),
                ("GET /ignored/file", "200 | = app's body | !X-Accel-Redirect"),
                ("GET /charset", "200 | Content-Type: text/html; charset=koi8-r | !X-Accel-Charset"),
                ("GET /expires", "200 | !X-Accel-Expires | !X-Accel-Buffering | !X-Accel-Limit-Rate"),
                ("GET /protected/f.txt", "404"),
            ],
        );
    });
}
