//! The HTML5 boilerplate's server configuration: headers chosen by the type of the answer, through `map`.

use foregate_testkit::{Setup, both, check_on};

/// Its parts are files that include one another; `{dir}/h5bp/…` here.
const HTTP: &str = "
    include h5bp/security/server_software_information.conf;
    include mime.types;
    default_type application/octet-stream;
    charset utf-8;
    charset_types text/css text/plain text/javascript application/json application/manifest+json;
    keepalive_timeout 20s;
    sendfile on;
    tcp_nopush on;
    gzip on;
    gzip_comp_level 5;
    gzip_min_length 256;
    gzip_proxied any;
    gzip_vary on;
    gzip_types application/json font/ttf image/svg+xml text/css text/javascript text/plain;
    map $sent_http_content_type $expires {
        default 1y;
        \"\" off;
        ~*image/x-icon 1w;
        ~*application/manifest\\+json 1w;
        ~*text/html epoch;
        ~*json epoch;
    }
    expires $expires;
    map $sent_http_content_type $cache_control {
        default \"public, immutable, stale-while-revalidate\";
        \"\" \"no-store\";
        ~*text/html \"private, must-revalidate\";
        ~*json \"\";
    }
    map $sent_http_content_type $x_frame_options { ~*text/html DENY; }
    map $sent_http_content_type $content_security_policy {
        ~*text/(html|javascript)|application/pdf|xml \"default-src 'self'; base-uri 'none'\";
    }
    map $sent_http_content_type $referrer_policy {
        ~*text/(css|html|javascript)|application\\/pdf|xml \"strict-origin-when-cross-origin\";
    }
    map $sent_http_content_type $cors { ~*image/ \"*\"; ~*font/ \"*\"; }
    include sites/*.conf;";

const SITES: &str = "
    server { listen 127.0.0.1:{port:0} default_server deferred; server_name _; return 444; }
    server { listen 127.0.0.1:{port:0}; server_name www.site.test; return 301 $scheme://site.test$request_uri; }
    server {
        listen 127.0.0.1:{port:0};
        server_name site.test;
        root {dir}/public;
        include h5bp/errors/custom_errors.conf;
        include h5bp/basic.conf;
        include h5bp/web_performance/cache-control.conf;
        include h5bp/location/cache_busting.conf;
        location ~* \\.svgz$ {
            gzip off;
            add_header Content-Encoding gzip;
            include h5bp/security/referrer-policy.conf;
        }
    }";

fn site() -> Setup {
    let basic = "include h5bp/security/referrer-policy.conf;
        include h5bp/security/x-content-type-options.conf;
        include h5bp/security/x-frame-options.conf;
        include h5bp/security/content-security-policy.conf;
        include h5bp/location/security_file_access.conf;
        include h5bp/cross-origin/requests.conf;";
    let files = [
        ("h5bp/basic.conf", basic),
        ("h5bp/security/server_software_information.conf", "server_tokens off;"),
        ("h5bp/security/referrer-policy.conf", "add_header Referrer-Policy $referrer_policy always;"),
        ("h5bp/security/x-content-type-options.conf", "add_header X-Content-Type-Options nosniff always;"),
        ("h5bp/security/x-frame-options.conf", "add_header X-Frame-Options $x_frame_options always;"),
        (
            "h5bp/security/content-security-policy.conf",
            "add_header Content-Security-Policy $content_security_policy always;",
        ),
        ("h5bp/cross-origin/requests.conf", "add_header Access-Control-Allow-Origin $cors;"),
        ("h5bp/web_performance/cache-control.conf", "add_header Cache-Control $cache_control;"),
        ("h5bp/errors/custom_errors.conf", "error_page 404 /404.html;"),
        (
            "h5bp/location/security_file_access.conf",
            "location ~* /\\.(?!well-known\\/) { deny all; }
             location ~* (?:#.*#|\\.(?:bak|conf|dist|fla|in[ci]|log|orig|psd|sh|sql|sw[op])|~)$ { deny all; }",
        ),
        (
            "h5bp/location/cache_busting.conf",
            "location ~* (.+)\\.(?:\\w+)\\.(avifs?|bmp|css|cur|gif|ico|jpe?g|jxl|m?js|a?png|svgz?|webp)$ {
                try_files $uri $1.$2;
             }",
        ),
        ("mime.types", "types { text/html html; text/css css; text/javascript js; image/svg+xml svg svgz;
            font/ttf ttf; application/json json; image/x-icon ico; }"),
        ("sites/site.conf", SITES),
        ("public/index.html", "home"),
        ("public/404.html", "not here"),
        ("public/main.css", "a{}"),
        ("public/f.ttf", "ttf"),
        ("public/data.json", "{}"),
        ("public/logo.svgz", "packed"),
        ("public/dump.sql", "secret"),
        ("public/.git/config", "secret"),
        ("public/.well-known/security.txt", "contact"),
        ("public/raw", "raw"),
    ];
    files.into_iter().fold(Setup::http(HTTP), |setup, (path, text)| setup.file(path, text))
}

#[test]
fn headers_follow_the_type_of_the_answer() {
    both(|subject| {
        let cases = [
            ("GET /\nHost: other.test", "closed"),
            ("GET /a?b\nHost: www.site.test", "301 | Location: http://site.test/a?b"),
            (
                "GET /\nHost: site.test",
                "200 | = home | Content-Type: text/html; charset=utf-8 | X-Frame-Options: DENY | Cache-Control: no-cache \
                 | Cache-Control: private, must-revalidate | Referrer-Policy: strict-origin-when-cross-origin \
                 | Content-Security-Policy: default-src 'self'; base-uri 'none' | Expires: Thu, 01 Jan 1970 00:00:01 GMT",
            ),
            (
                "GET /main.css\nHost: site.test",
                "200 | = a{} | Content-Type: text/css; charset=utf-8 | !X-Frame-Options | Cache-Control: max-age=31536000 \
                 | X-Content-Type-Options: nosniff | !Content-Security-Policy | !Access-Control-Allow-Origin",
            ),
            ("GET /main.4f2a.css\nHost: site.test", "200 | = a{}"),
            ("GET /f.ttf\nHost: site.test", "200 | Access-Control-Allow-Origin: * | !Referrer-Policy"),
            (
                "GET /data.json\nHost: site.test",
                "200 | Cache-Control: no-cache | Content-Type: application/json; charset=utf-8",
            ),
            ("GET /raw\nHost: site.test", "200 | Content-Type: application/octet-stream | Expires:"),
            (
                "GET /logo.svgz\nHost: site.test",
                "200 | = packed | Content-Encoding: gzip | !X-Content-Type-Options",
            ),
            ("GET /dump.sql\nHost: site.test", "403 | !~ secret | X-Frame-Options: DENY"),
            ("GET /.git/config\nHost: site.test", "403 | !~ secret"),
            ("GET /.well-known/security.txt\nHost: site.test", "200 | = contact"),
            (
                "GET /none\nHost: site.test",
                "404 | = not here | X-Frame-Options: DENY | !Expires | !Cache-Control",
            ),
        ];
        check_on(&site().start(subject), &cases);
    });
}
