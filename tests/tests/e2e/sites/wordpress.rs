//! WordPress: PHP behind permalinks, uploads that must never run, files that caches may keep for ever.

use foregate_testkit::{Setup, both, check_on};

use super::php;
use crate::fastcgi::PARAMS;

const SITE: &str = "
    upstream php { server {app}; }
    server {
        listen 127.0.0.1:{port:0};
        server_name blog.test;
        root {dir}/blog;
        index index.php;

        location = /favicon.ico { log_not_found off; access_log off; }
        location = /robots.txt { allow all; log_not_found off; access_log off; }
        location ~ /\\. { deny all; }
        location ~* /(?:uploads|files)/.*\\.php$ { deny all; }

        location / { try_files $uri $uri/ /index.php?$args; }
        rewrite /wp-admin$ $scheme://$host$request_uri/ permanent;

        location ~* ^.+\\.(css|js|ogg|ogv|svg|svgz|eot|otf|woff|mp4|ttf|rss|atom|jpg|jpeg|gif|png|ico|zip|gz)$ {
            access_log off;
            log_not_found off;
            expires max;
        }
        location ~ [^/]\\.php(/|$) {
            fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
            if (!-f $document_root$fastcgi_script_name) { return 404; }
            include {dir}/fastcgi_params;
            fastcgi_param HTTP_PROXY \"\";
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param PATH_INFO $fastcgi_path_info;
            fastcgi_pass php;
            fastcgi_index index.php;
            fastcgi_intercept_errors on;
            fastcgi_buffers 16 16k;
            fastcgi_buffer_size 32k;
        }
        location ~ ^/wp-json/ { rewrite ^/wp-json/(.*?)$ /?rest_route=/$1 last; }
        client_max_body_size 64m;
    }";

#[test]
fn posts_uploads_and_the_back_office() {
    let app = php(&["HTTP_HOST", "PATH_INFO", "HTTP_PROXY"]);
    let setup = Setup::http(SITE)
        .set("app", app.address())
        .file("fastcgi_params", PARAMS)
        .file("blog/index.php", "<?php")
        .file("blog/wp-login.php", "<?php")
        .file("blog/wp-admin/index.php", "<?php")
        .file("blog/wp-content/uploads/shell.php", "<?php")
        .file("blog/wp-content/uploads/2026/photo.jpg", "jpeg")
        .file("blog/wp-content/themes/t/style.css", "a{}")
        .file("blog/.htaccess", "secret")
        .file("blog/robots.txt", "User-agent: *\n");
    both(|subject| {
        let cases = [
            ("GET /\nHost: blog.test", "200 | = php GET /index.php HTTP_HOST=blog.test"),
            (
                "GET /2026/11/hello/?p=1\nHost: blog.test",
                "200 | = php GET /index.php?p=1 HTTP_HOST=blog.test",
            ),
            (
                "GET /wp-login.php?a=b\nHost: blog.test\nProxy: evil",
                "200 | = php GET /wp-login.php?a=b HTTP_HOST=blog.test",
            ),
            (
                "POST /wp-login.php\nHost: blog.test\n\nlog=me",
                "200 | = php POST /wp-login.php HTTP_HOST=blog.test",
            ),
            ("GET /wp-admin\nHost: blog.test", "301 | Location: http://blog.test/wp-admin/"),
            ("GET /wp-admin/\nHost: blog.test", "200 | = php GET /wp-admin/index.php HTTP_HOST=blog.test"),
            ("GET /missing.php\nHost: blog.test", "404 | !~ php GET"),
            (
                "GET /index.php/path/info\nHost: blog.test",
                "200 | = php GET /index.php HTTP_HOST=blog.test PATH_INFO=/path/info",
            ),
            ("GET /wp-json/wp/v2/posts\nHost: blog.test", "200 | ~ rest_route=/wp/v2/posts"),
            ("GET /wp-content/uploads/shell.php\nHost: blog.test", "403"),
            ("GET /.htaccess\nHost: blog.test", "403"),
            ("GET /robots.txt\nHost: blog.test", "200 | = User-agent: *"),
            (
                "GET /wp-content/uploads/2026/photo.jpg\nHost: blog.test",
                "200 | = jpeg | Cache-Control: max-age=315360000 | Expires: Thu, 31 Dec 2037 23:55:55 GMT",
            ),
            ("GET /wp-content/themes/t/style.css?ver=6\nHost: blog.test", "200 | = a{} | Expires:"),
            ("GET /wp-content/themes/t/none.css\nHost: blog.test", "404 | !Expires"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}
