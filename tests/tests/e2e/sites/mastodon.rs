//! Mastodon: packs and media from disk, pages from Rails through a cache, streaming from another process.

use foregate_testkit::{Backend, Certificate, Reply, Seen, Setup, both, check_on};

use super::application;

const SITE: &str = "
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream backend { server {web} fail_timeout=0; }
    upstream streaming {
        least_conn;
        server {stream} fail_timeout=0;
    }
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=CACHE:10m inactive=7d max_size=1g;
    server {
        listen 127.0.0.1:{port:1};
        server_name social.test;
        root {dir}/public;
        location /.well-known/acme-challenge/ { allow all; }
        location / { return 301 https://$host$request_uri; }
    }
    server {
        listen 127.0.0.1:{port:0};
        server_name social.test;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;
        ssl_prefer_server_ciphers off;
        ssl_session_timeout 1d;
        ssl_session_cache shared:MozSSL:10m;
        ssl_session_tickets off;
        ssl_certificate {dir}/social.crt;
        ssl_certificate_key {dir}/social.key;
        keepalive_timeout 70;
        sendfile on;
        client_max_body_size 99m;
        root {dir}/public;
        gzip on;
        gzip_disable \"msie6\";
        gzip_vary on;
        gzip_proxied any;
        gzip_comp_level 6;
        gzip_buffers 16 8k;
        gzip_http_version 1.1;
        gzip_types text/plain text/css application/json application/javascript text/xml image/svg+xml image/x-icon;
        gzip_static on;

        location / { try_files $uri @proxy; }
        location = /sw.js {
            add_header Cache-Control \"public, max-age=604800, must-revalidate\";
            add_header Strict-Transport-Security \"max-age=63072000; includeSubDomains\";
            try_files $uri =404;
        }
        location ~ ^/assets/ {
            add_header Cache-Control \"public, max-age=2419200, must-revalidate\";
            try_files $uri =404;
        }
        location ~ ^/packs/ {
            add_header Cache-Control \"public, max-age=2419200, must-revalidate\";
            add_header Strict-Transport-Security \"max-age=63072000; includeSubDomains\";
            try_files $uri =404;
        }
        location ~ ^/system/ {
            add_header Cache-Control \"public, max-age=2419200, immutable\";
            add_header X-Content-Type-Options nosniff;
            add_header Content-Security-Policy \"default-src 'none'; form-action 'none'\";
            try_files $uri =404;
        }
        location ^~ /api/v1/streaming {
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Proxy \"\";
            proxy_pass http://streaming;
            proxy_buffering off;
            proxy_redirect off;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            add_header Strict-Transport-Security \"max-age=63072000; includeSubDomains\";
            tcp_nodelay on;
        }
        location @proxy {
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Proxy \"\";
            proxy_pass_header Server;
            proxy_pass http://backend;
            proxy_buffering on;
            proxy_redirect off;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_cache CACHE;
            proxy_cache_valid 200 7d;
            proxy_cache_valid 410 24h;
            proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
            add_header X-Cached $upstream_cache_status;
            tcp_nodelay on;
        }
        error_page 404 500 501 502 503 504 /500.html;
    }";

fn web(seen: &Seen) -> Reply {
    match seen.target.as_str() {
        "/@private" => Reply::status(200, "Cache-Control: private\r\n", "private"),
        "/gone" => Reply::status(410, "", "gone"),
        target => Reply::status(200, "Server: Mastodon\r\n", format!("web {target}")),
    }
}

#[test]
fn packs_pages_from_the_cache_and_streams() {
    both(|subject| {
        let (app, stream) = (Backend::new(web), application("stream", &["Host"]));
        let certificate = Certificate::self_signed(&["social.test"]);
        let setup = Setup::http(SITE)
            .backend("web", &app)
            .backend("stream", &stream)
            .file("social.crt", &certificate.cert_pem)
            .file("social.key", &certificate.key_pem)
            .file("public/sw.js", "worker")
            .file("public/packs/app.js", "let it = 'be';")
            .file("public/system/media/1.png", "png")
            .file("public/500.html", "We are sorry")
            .file("public/.well-known/acme-challenge/token", "proof");
        let server = setup.start(subject);
        let cases = [
            ("{port:1} GET /about\nHost: social.test", "301 | Location: https://social.test/about"),
            ("{port:1} GET /.well-known/acme-challenge/token", "200 | = proof"),
            ("GET /sw.js", "200 | = worker | Cache-Control: public, max-age=604800, must-revalidate"),
            ("GET /packs/app.js", "200 | Strict-Transport-Security: max-age=63072000; includeSubDomains"),
            ("GET /packs/none.js", "404 | = We are sorry | !Strict-Transport-Security"),
            ("GET /system/media/1.png", "200 | X-Content-Type-Options: nosniff | = png"),
            ("GET /@me", "200 | = web /@me | X-Cached: MISS | Server: Mastodon"),
            ("GET /@me", "200 | = web /@me | X-Cached: HIT | Server: Mastodon"),
            ("GET /@private", "200 | = private | X-Cached: MISS"),
            ("GET /@private", "200 | = private | X-Cached: MISS"),
            ("GET /gone", "410 | = gone"),
            (
                "GET /api/v1/streaming/health\nHost: social.test",
                "200 | = stream GET /api/v1/streaming/health Host=social.test",
            ),
        ];
        check_on(&server, &cases);
        let mut client = server.connect();
        client.send("GET /api/v1/streaming/ HTTP/1.1\r\nHost: social.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let upgraded = client.response().expect("because it is answered");
        assert_eq!((upgraded.status, upgraded.header("Upgrade")), (101, Some("websocket")));
        client.send("toot");
        assert_eq!(client.some(), b"toot");
        drop(app);
        let down = [("GET /@me", "200 | X-Cached: HIT"), ("GET /@new", "502 | = We are sorry | !X-Cached")];
        check_on(&server, &down);
    });
}
