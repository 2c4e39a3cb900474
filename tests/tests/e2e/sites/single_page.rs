//! A single-page application as Vite builds it: hashed assets, one page for all routes, an API beside it.

use foregate_testkit::{Setup, both, check_on};

use super::application;

const SITE: &str = "
    server {
        listen 127.0.0.1:{port:0};
        server_name app.test;
        root {dir}/dist;
        index index.html;
        include {dir}/mime.types;
        gzip on;
        gzip_types text/css application/javascript application/json image/svg+xml;
        gzip_static on;

        location /assets/ {
            add_header Cache-Control \"public, max-age=31536000, immutable\";
            try_files $uri =404;
        }
        location = /index.html { add_header Cache-Control \"no-cache\"; }
        location /api/ {
            proxy_pass http://{api}/;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Prefix /api;
        }
        location ~* \\.(?:map|env)$ { return 404; }
        location / { try_files $uri $uri/ /index.html; }
        error_page 500 502 503 504 /50x.html;
        location = /50x.html { internal; }
    }";

#[test]
fn routes_of_the_page_its_assets_and_its_api() {
    both(|subject| {
        let api = application("api", &["X-Forwarded-Prefix"]);
        let server = Setup::http(SITE)
            .backend("api", &api)
            .file("mime.types", "types { text/html html; text/css css; application/javascript js; }")
            .file("dist/index.html", "<div id=app>")
            .file("dist/50x.html", "later")
            .file("dist/assets/index-4f2a.js", "let it = 'be';")
            .file("dist/assets/index-4f2a.js.gz", "packed")
            .file("dist/assets/index-4f2a.js.map", "source")
            .start(subject);
        let cases = [
            ("GET /", "200 | = <div id=app> | Cache-Control: no-cache | Content-Type: text/html"),
            ("GET /users/7/edit?tab=2", "200 | = <div id=app> | Cache-Control: no-cache"),
            ("GET /index.html", "200 | = <div id=app>"),
            (
                "GET /assets/index-4f2a.js",
                "200 | = let it = 'be'; | Cache-Control: public, max-age=31536000, immutable",
            ),
            (
                "GET /assets/index-4f2a.js\nAccept-Encoding: gzip, br",
                "200 | = packed | Content-Encoding: gzip",
            ),
            ("GET /assets/index-0000.js", "404 | !~ <div | !Cache-Control"),
            ("GET /assets/index-4f2a.js.map", "404 | !~ source"),
            ("GET /assets", "301 | Location~ /assets/"),
            ("GET /api/users?id=7", "200 | = api GET /users?id=7 X-Forwarded-Prefix=/api"),
            ("DELETE /api/users/7", "200 | = api DELETE /users/7 X-Forwarded-Prefix=/api"),
            ("POST /users", "405"),
            ("GET /50x.html", "404"),
        ];
        check_on(&server, &cases);
        drop(api);
        check_on(&server, &[("GET /api/users", "502 | = later")]);
    });
}
