//! `add_header`: inheritance, `always`, empty values.

use foregate_testkit::{Backend, Setup, both, check, check_on};

#[test]
fn the_innermost_level_that_adds_replaces_the_others() {
    check(
        r#"add_header X-Http h;
        server {
            listen 127.0.0.1:{port:0};
            add_header X-Server s;
            location /inherits { return 200 x; }
            location /own { add_header X-Location l; return 200 x; }
            location /not-found { return 404; }
            location /always { add_header X-Always a always; return 404; }
            location /empty { add_header X-Empty ""; add_header X-Full $arg_v; return 200 x; }
            location /twice { add_header X-Two 1; add_header X-Two 2; return 200 x; }
            location /redirect { return 302 /x; }
            location /none { return 204; }
            location /etag { add_header ETag own; add_header Last-Modified ""; }
        }
        server { listen 127.0.0.1:{port:1}; location / { return 200 x; } }"#,
        &[
            ("GET /inherits", "200 | X-Server: s | !X-Http"),
            ("GET /own", "200 | X-Location: l | !X-Server"),
            ("GET /not-found", "404 | !X-Server"),
            ("GET /missing", "404 | !X-Server"),
            ("GET /always", "404 | X-Always: a"),
            ("GET /empty", "200 | !X-Empty | !X-Full"),
            ("GET /empty?v=1", "200 | X-Full: 1"),
            ("GET /twice", "200 | X-Two: 1 | X-Two: 2"),
            ("GET /redirect", "302 | X-Server: s"),
            ("GET /none", "204 | X-Server: s"),
            ("{port:1} GET /", "200 | X-Http: h"),
        ],
    );
}

#[test]
fn it_adds_beside_what_the_backend_says() {
    both(|subject| {
        let app = Backend::new(|_| {
            foregate_testkit::Reply::status(200, "X-A: backend\r\nCache-Control: private\r\n", "x")
        });
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                proxy_pass_header Server;
                location / { add_header X-A ours; add_header X-Up $upstream_http_x_a; proxy_pass http://{app}; }
                location /cc { add_header Cache-Control public; proxy_pass http://{app}; }
                location /hidden { proxy_hide_header X-A; add_header X-A ours; proxy_pass http://{app}; }
                location /expires { expires 1m; proxy_pass http://{app}; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /", "200 | X-A: backend | X-A: ours | X-Up: backend"),
                ("GET /cc", "200 | Cache-Control: private | Cache-Control: public"),
                ("GET /hidden", "200 | X-A: ours"),
                ("GET /expires", "200 | Cache-Control: max-age=60"),
            ],
        );
        let seen = server.get("/hidden");
        assert_eq!(seen.all("X-A"), ["ours"]);
    });
}
