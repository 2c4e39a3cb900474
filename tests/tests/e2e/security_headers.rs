//! `security_headers`: what browsers are told for a site's safety, and never twice.

use foregate_testkit::{Backend, Reply, Setup, foregate_only};

#[test]
fn every_page_has_them_once() {
    foregate_only(|subject| {
        let app = Backend::new(|_| {
            let fields =
                "Content-Type: text/html\r\nX-Frame-Options: DENY\r\nx-content-type-options: nosniff\r\n";
            Reply::status(200, fields, "x")
        });
        let server = Setup::http(
            "security_headers on;
             server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://{app}; }
                location /gone { return 404; }
                location /own { security_headers_referrer_policy no-referrer; add_header Cross-Origin-Opener-Policy same-origin-allow-popups; return 200 x; }
                location /none { security_headers off; return 200 x; }
             }",
        )
        .backend("app", &app)
        .start(subject);
        let page = server.get("/");
        for (name, value) in [
            ("X-Frame-Options", "DENY"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "frame-ancestors 'self'"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        ] {
            assert_eq!(page.all(name), [value], "{name}");
        }
        assert_eq!(server.get("/gone").all("X-Frame-Options"), ["SAMEORIGIN"], "error pages have them");
        let own = server.get("/own");
        assert_eq!(own.all("Referrer-Policy"), ["no-referrer"]);
        assert_eq!(own.all("Cross-Origin-Opener-Policy"), ["same-origin-allow-popups"]);
        assert!(server.get("/none").all("Referrer-Policy").is_empty());
    });
}
