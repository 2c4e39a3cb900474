//! Discourse: public files first, cached avatars, backups and uploads only through the application.

use foregate_testkit::{Backend, Reply, Seen, Setup, both, check_on};

const SITE: &str = "
    types { text/csv csv; }
    upstream discourse { server {app}; }
    proxy_cache_path {dir}/cache inactive=1440m levels=1:2 keys_zone=one:10m max_size=600m;
    map $http_x_forwarded_proto $thescheme { default $scheme; https https; }
    log_format log_discourse '[$time_local] \"$http_host\" $remote_addr \"$request\" \"$http_user_agent\" '
        '\"$sent_http_x_discourse_route\" $status $bytes_sent \"$http_referer\" $upstream_response_time $request_time '
        '\"$upstream_http_x_discourse_username\" \"$upstream_http_x_discourse_trackview\"';
    server {
        access_log {dir}/site.log log_discourse;
        listen 127.0.0.1:{port:0};
        gzip on;
        gzip_vary on;
        gzip_min_length 1000;
        gzip_comp_level 5;
        gzip_types application/json text/css text/javascript application/javascript image/svg+xml;
        gzip_proxied any;
        server_name forum.test;
        server_tokens off;
        sendfile on;
        keepalive_timeout 65;
        client_max_body_size 10m;
        set $public {dir}/public;
        etag off;

        location ^~ /backups/ { internal; }
        location /favicon.ico { return 204; access_log off; log_not_found off; }

        location / {
            root $public;
            add_header ETag \"\";

            location ~ ^/uploads/short-url/ {
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-Proto $thescheme;
                proxy_pass http://discourse;
                break;
            }
            location ~* (assets|plugins|uploads)/.*\\.(eot|ttf|woff|woff2|ico|otf)$ {
                expires 1y;
                add_header Cache-Control public,immutable;
                add_header Access-Control-Allow-Origin *;
            }
            location = /srv/status {
                access_log off;
                log_not_found off;
                proxy_set_header Host $http_host;
                proxy_pass http://discourse;
                break;
            }
            location ~ ^/javascripts/ { expires 1d; add_header Cache-Control public,immutable; }
            location ~ ^/assets/(?<asset_path>.+)$ {
                expires 1y;
                gzip_static on;
                add_header Cache-Control public,immutable;
                break;
            }
            location ~ ^/uploads/ {
                proxy_set_header Host $http_host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $thescheme;
                proxy_set_header X-Sendfile-Type X-Accel-Redirect;
                proxy_set_header X-Accel-Mapping $public/=/downloads/;
                expires 1y;
                add_header Cache-Control public,immutable;
                location ~ /stylesheet-cache/ { try_files $uri =404; }
                location ~* \\.(gif|png|jpg|jpeg|bmp|tif|tiff|ico|webp|avif)$ { try_files $uri =404; }
                location ~ /_?optimized/ { try_files $uri =404; }
                proxy_pass http://discourse;
                break;
            }
            location ~ ^/(svg-sprite/|letter_avatar/|letter_avatar_proxy/|user_avatar|highlight-js|stylesheets) {
                proxy_set_header Host $http_host;
                proxy_ignore_headers \"Set-Cookie\";
                proxy_hide_header \"Set-Cookie\";
                proxy_hide_header \"X-Discourse-Username\";
                proxy_hide_header \"X-Runtime\";
                proxy_cache one;
                proxy_cache_key \"$scheme,$host,$request_uri\";
                proxy_cache_valid 200 301 302 7d;
                proxy_cache_bypass $bypass_cache;
                proxy_pass http://discourse;
                break;
            }
            location /message-bus/ {
                proxy_set_header Host $http_host;
                proxy_http_version 1.1;
                proxy_buffering off;
                proxy_pass http://discourse;
                break;
            }
            try_files $uri @discourse;
        }
        location /downloads/ { internal; alias $public/; }
        location @discourse {
            proxy_set_header Host $http_host;
            proxy_set_header X-Request-Start \"t=${msec}\";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Proto $thescheme;
            proxy_pass http://discourse;
        }
        set $bypass_cache 0;
        if ($http_x_bypass) { set $bypass_cache 1; }
    }";

fn forum(seen: &Seen) -> Reply {
    let of = |field: &str| seen.header(field).unwrap_or("-").to_owned();
    match seen.target.as_str() {
        "/uploads/private.pdf" => {
            Reply::status(200, "X-Accel-Redirect: /downloads/store/private.pdf\r\n", "")
        }
        target if target.starts_with("/letter_avatar/") => {
            Reply::status(200, "Set-Cookie: a=b\r\nX-Runtime: 1\r\n", "avatar")
        }
        target => Reply::ok(format!("forum {target} {} {}", of("X-Forwarded-Proto"), of("X-Accel-Mapping"))),
    }
}

#[test]
fn topics_assets_uploads_and_avatars() {
    both(|subject| {
        let app = Backend::unix(forum);
        let setup = Setup::http(SITE)
            .backend("app", &app)
            .file("public/robots.csv", "a,b")
            .file("public/assets/app.js", "let it = 'be';")
            .file("public/assets/f.woff2", "woff")
            .file("public/uploads/default/cat.png", "png")
            .file("public/store/private.pdf", "pdf")
            .file("public/backups/all.tar", "secret");
        let server = setup.start(subject);
        let cases = [
            ("GET /t/topic/1?page=2", "200 | = forum /t/topic/1?page=2 http -"),
            ("GET /t/1\nX-Forwarded-Proto: https", "200 | = forum /t/1 https -"),
            ("GET /robots.csv", "200 | = a,b | Content-Type: text/csv | !ETag"),
            ("GET /favicon.ico", "204"),
            ("GET /srv/status", "200 | = forum /srv/status - -"),
            (
                "GET /assets/app.js",
                "200 | Cache-Control: max-age=31536000 | Cache-Control: public,immutable | !ETag",
            ),
            ("GET /assets/f.woff2", "200 | Access-Control-Allow-Origin: * | Expires:"),
            ("GET /uploads/default/cat.png", "200 | = png | Expires:"),
            ("GET /uploads/default/none.png", "404"),
            ("GET /uploads/short-url/x.png", "200 | = forum /uploads/short-url/x.png http -"),
            ("GET /uploads/file.zip", "200 | = forum /uploads/file.zip http {dir}/public/=/downloads/"),
            ("GET /uploads/private.pdf", "200 | = pdf | !X-Accel-Redirect"),
            ("GET /downloads/store/private.pdf", "404"),
            ("GET /backups/all.tar", "404"),
            ("POST /message-bus/poll\n\nx=1", "200 | = forum /message-bus/poll - -"),
            ("GET /letter_avatar/a/1.png", "200 | = avatar | !Set-Cookie | !X-Runtime"),
            ("GET /letter_avatar/a/1.png", "200 | = avatar | !Set-Cookie"),
        ];
        check_on(&server, &cases);
        let avatars = || app.requests().iter().filter(|seen| seen.target.contains("avatar")).count();
        assert_eq!(avatars(), 1, "the second comes from the cache");
        check_on(&server, &[("GET /letter_avatar/a/1.png\nX-Bypass: 1", "200 | = avatar")]);
        assert_eq!(avatars(), 2, "a bypass asks the application");
    });
}
