//! Nextcloud in the root of a host: one front controller, hidden folders, `/.well-known`, assets that never change.

use foregate_testkit::{Certificate, Setup, both, check_on};

use super::php;
use crate::fastcgi::PARAMS;

const SITE: &str = "
    upstream php-handler { server {app}; }
    map $arg_v $asset_immutable { \"\" \"\"; default \", immutable\"; }
    server {
        listen 127.0.0.1:{port:1};
        server_name cloud.test;
        server_tokens off;
        return 301 https://$server_name$request_uri;
    }
    server {
        listen 127.0.0.1:{port:0};
        server_name cloud.test;
        root {dir}/cloud;
        ssl_certificate {dir}/cloud.crt;
        ssl_certificate_key {dir}/cloud.key;
        server_tokens off;
        client_max_body_size 512M;
        client_body_timeout 300s;
        fastcgi_buffers 64 4K;
        gzip on;
        gzip_vary on;
        gzip_comp_level 4;
        gzip_min_length 256;
        gzip_proxied expired no-cache no-store private no_last_modified no_etag auth;
        gzip_types application/json text/css text/javascript image/svg+xml;
        client_body_buffer_size 512k;
        add_header Referrer-Policy \"no-referrer\" always;
        add_header X-Content-Type-Options \"nosniff\" always;
        fastcgi_hide_header X-Powered-By;
        include {dir}/mime.types;
        types { text/javascript mjs; application/wasm wasm; }
        index index.php index.html /index.php$request_uri;

        location = / {
            if ( $http_user_agent ~ ^DavClnt ) { return 302 /remote.php/webdav/$is_args$args; }
        }
        location = /robots.txt { allow all; log_not_found off; access_log off; }
        location ^~ /.well-known {
            absolute_redirect off;
            location = /.well-known/carddav { return 301 /remote.php/dav/; }
            location = /.well-known/caldav { return 301 /remote.php/dav/; }
            location /.well-known/acme-challenge { try_files $uri $uri/ =404; }
            location /.well-known/pki-validation { try_files $uri $uri/ =404; }
            return 301 /index.php$request_uri;
        }
        location ~ ^/(?:build|tests|config|lib|3rdparty|templates|data)(?:$|/) { return 404; }
        location ~ ^/(?:\\.|autotest|occ|issue|indie|db_|console) { return 404; }

        location ~ \\.php(?:$|/) {
            rewrite ^/(?!index|remote|public|cron|core\\/ajax\\/update|status|ocs\\/v[12]|updater\\/.+|ocs-provider\\/.+|.+\\/richdocumentscode(_arm64)?\\/proxy) /index.php$request_uri;
            fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
            set $path_info $fastcgi_path_info;
            try_files $fastcgi_script_name =404;
            include {dir}/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param PATH_INFO $path_info;
            fastcgi_param HTTPS on;
            fastcgi_param modHeadersAvailable true;
            fastcgi_param front_controller_active true;
            fastcgi_pass php-handler;
            fastcgi_intercept_errors on;
            fastcgi_request_buffering off;
            fastcgi_max_temp_file_size 0;
        }
        location ~ \\.(?:css|js|mjs|svg|gif|ico|jpg|png|webp|wasm|map)$ {
            try_files $uri /index.php$request_uri;
            add_header Cache-Control \"public, max-age=15778463$asset_immutable\";
            add_header Referrer-Policy \"no-referrer\" always;
            access_log off;
        }
        location ~ \\.(otf|woff2?)$ { try_files $uri /index.php$request_uri; expires 7d; access_log off; }
        location /remote { return 301 /remote.php$request_uri; }
        location / { try_files $uri $uri/ /index.php$request_uri; }
    }";

#[test]
fn files_the_front_controller_and_what_is_hidden() {
    let app = php(&["PATH_INFO"]);
    let certificate = Certificate::self_signed(&["cloud.test"]);
    let script = "a".repeat(400);
    let setup = Setup::http(SITE)
        .set("app", app.address())
        .file("fastcgi_params", PARAMS)
        .file("cloud.crt", &certificate.cert_pem)
        .file("cloud.key", &certificate.key_pem)
        .file("mime.types", "types { text/html html; text/css css; text/javascript js; }")
        .file("cloud/index.php", "<?php")
        .file("cloud/remote.php", "<?php")
        .file("cloud/status.php", "<?php")
        .file("cloud/core/app.mjs", &script)
        .file("cloud/core/font.woff2", "woff")
        .file("cloud/config/config.php", "secret")
        .file("cloud/apps/x/index.php", "<?php");
    both(|subject| {
        let cases = [
            ("{port:1} GET /a?b\nHost: x", "301 | Location: https://cloud.test/a?b"),
            ("GET /", "200 | = php GET /index.php"),
            ("GET /\nUser-Agent: DavClnt", "302 | Location~ /remote.php/webdav/"),
            ("GET /apps/files/?dir=/", "200 | = php GET /index.php?dir=/ PATH_INFO=/apps/files/"),
            ("GET /index.php/login", "200 | = php GET /index.php PATH_INFO=/login"),
            ("GET /apps/x/index.php", "200 | = php GET /index.php PATH_INFO=/apps/x/index.php"),
            ("PROPFIND /remote.php/dav/files", "200 | = php PROPFIND /remote.php PATH_INFO=/dav/files"),
            ("GET /remote/dav", "301 | Location~ /remote.php/remote/dav"),
            ("GET /status.php", "200 | !X-Powered-By | = php GET /status.php"),
            ("GET /.well-known/carddav", "301 | Location: /remote.php/dav/ | Referrer-Policy: no-referrer"),
            ("GET /.well-known/webfinger?a=b", "301 | Location: /index.php/.well-known/webfinger?a=b"),
            ("GET /.well-known/acme-challenge/none", "404"),
            ("GET /config/config.php", "404 | !~ secret"),
            ("GET /data/x", "404"),
            ("GET /.htaccess", "404"),
            ("GET /occ", "404"),
            (
                "GET /core/app.mjs?v=1",
                "200 | Content-Type: text/javascript | Cache-Control: public, max-age=15778463, immutable",
            ),
            (
                "GET /core/app.mjs",
                "200 | Cache-Control: public, max-age=15778463 | !Content-Encoding | Vary:",
            ),
            ("GET /core/app.mjs\nAccept-Encoding: gzip", "200 | Content-Encoding: gzip | ETag~ W/"),
            ("GET /core/none.css", "200 | = php GET /index.php PATH_INFO=/core/none.css"),
            ("GET /core/font.woff2", "200 | Cache-Control: max-age=604800"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}
