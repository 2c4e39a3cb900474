//! Who may: `allow`, `deny`, `auth_basic`, `satisfy`, `limit_except`, `auth_request`.

use foregate_testkit::{Backend, Reply, Setup, both, check, check_on};

#[test]
fn addresses_are_allowed_in_order() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location /all { allow all; return 204; }
            location /deny/ { deny all; }
            location /first/ { allow 127.0.0.1; deny all; }
            location /net/ { deny 127.0.0.0/8; allow all; }
            location /other/ { allow 10.0.0.0/8; allow 192.168.0.0/16; deny all; }
            location /v6/ { deny ::/0; }
            location /none/ { deny 1.2.3.4; }
            location /deny/inner/ { allow all; }
            location /return { deny all; return 200 rewrites-come-first; }
        }",
        &[
            ("GET /all", "204"),
            ("GET /deny/x", "403 | ~ 403 Forbidden"),
            ("GET /first/x", "404"),
            ("GET /net/x", "403"),
            ("GET /other/x", "403"),
            ("GET /v6/x", "404"),
            ("GET /none/x", "404"),
            ("GET /deny/inner/x", "404"),
            ("GET /return", "200 | = rewrites-come-first"),
        ],
    );
}

#[test]
fn auth_basic_asks_for_a_password() {
    // ann:secret in three schemes; the last is crypt's MD5 of "secret".
    let users = "plain:{PLAIN}secret\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\napr:$apr1$3S0HWd0k$SMUGEBCR3pd0Aj42lGlP9/\n# c\n";
    check(
        Setup::http(
            r#"server {
                listen 127.0.0.1:{port:0};
                auth_basic "the $host realm";
                auth_basic_user_file users;
                location / { try_files /f =404; }
                location /off/ { auth_basic off; }
                location /missing/ { auth_basic_user_file nowhere; }
                location /any/ { satisfy any; allow 127.0.0.1; deny all; }
                location /any-closed/ { satisfy any; deny all; }
                location /both/ { satisfy all; deny all; }
            }"#,
        )
        .file("users", users)
        .file("html/f", "file"),
        &[
            (
                "GET /",
                "401 | WWW-Authenticate: Basic realm=\"the localhost realm\" | ~ 401 Authorization Required",
            ),
            ("GET /\nAuthorization: Basic cGxhaW46c2VjcmV0", "200 | = file"),
            ("GET /\nAuthorization: basic cGxhaW46c2VjcmV0", "200"),
            ("GET /\nAuthorization: Basic c2hhOnNlY3JldA==", "200"),
            ("GET /\nAuthorization: Basic cGxhaW46d3Jvbmc=", "401"),
            ("GET /\nAuthorization: Basic bm9ib2R5OnNlY3JldA==", "401"),
            ("GET /\nAuthorization: Basic", "401"),
            ("GET /\nAuthorization: Basic !!!", "401"),
            ("GET /\nAuthorization: Bearer x", "401"),
            ("GET /off/x", "404"),
            ("GET /missing/x\nAuthorization: Basic cGxhaW46c2VjcmV0", "403"),
            ("GET /any/x", "404"),
            ("GET /any-closed/x", "401"),
            ("GET /any-closed/x\nAuthorization: Basic cGxhaW46c2VjcmV0", "404"),
            ("GET /both/x\nAuthorization: Basic cGxhaW46c2VjcmV0", "403"),
        ],
    );
}

#[test]
fn limit_except_is_a_location_for_the_other_methods() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                location / { limit_except GET { deny all; } proxy_pass http://{app}; }
                location /post { limit_except POST PUT { deny all; } proxy_pass http://{app}; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /", "200"),
                ("HEAD /", "200"),
                ("POST /\n\nx", "403"),
                ("DELETE /", "403"),
                ("POST /post\n\nx", "200"),
                ("PUT /post\n\nx", "200"),
                ("GET /post", "403"),
            ],
        );
    });
}

#[test]
fn auth_request_asks_a_backend() {
    both(|subject| {
        let judge = Backend::new(|seen| match seen.header("X-Token") {
            Some("good") => Reply::status(204, "X-User: ann\r\n", ""),
            Some("bad") => Reply::status(403, "", ""),
            Some("odd") => Reply::status(500, "", ""),
            _ => Reply::status(401, "WWW-Authenticate: Own\r\n", ""),
        });
        let app = Backend::echo();
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                location / {
                    auth_request /judge;
                    auth_request_set $user $upstream_http_x_user;
                    proxy_set_header X-User $user;
                    proxy_pass http://{app};
                }
                location = /judge {
                    internal;
                    proxy_pass http://{judge}/ask;
                    proxy_pass_request_body off;
                    proxy_set_header Content-Length '';
                    proxy_set_header X-Original $request_uri;
                }
            }",
        )
        .backend("app", &app)
        .backend("judge", &judge)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /x?y\nX-Token: good", "200 | ~ GET /x?y HTTP | ~ X-User: ann"),
                ("POST /x\nX-Token: good\n\nbody", "200 | ~ body | ~ X-User: ann"),
                ("GET /x\nX-Token: bad", "403"),
                ("GET /x\nX-Token: odd", "500"),
                ("GET /x", "401 | WWW-Authenticate: Own"),
                ("GET /judge", "404"),
            ],
        );
        let asked = &judge.requests()[0];
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str(), asked.header("X-Original")),
            ("GET", "/ask", Some("/x?y"))
        );
    });
}
