//! Every rule: a snippet that has its trap, and one that looks alike and has not.

use super::{RULES, lint};

/// The codes found in what stands inside of `http { }`, without doubles.
fn codes(http: &str) -> Vec<&'static str> {
    in_main(&format!("events {{}} http {{ {http} }}"))
}

fn in_main(text: &str) -> Vec<&'static str> {
    let tree = foregate_conf::parse(text).expect("because the snippet is written right");
    let mut codes: Vec<_> = lint(&tree.nodes).into_iter().map(|it| it.code).collect();
    codes.dedup();
    codes
}

/// `(code, what has the trap, what has not)`, each inside of a server.
const IN_SERVER: &[(&str, &str, &str)] = &[
    (
        "add-header-lost",
        "add_header X-A 1; location / { add_header X-B 2; }",
        "add_header X-A 1; location / { add_header X-B 2; add_header x-a 3; }",
    ),
    (
        "add-header-lost",
        "location /a/ { add_header X-A 1; location /a/b { add_header X-B 1; } }",
        "add_header_inherit merge; add_header X-A 1; location / { add_header X-B 2; }",
    ),
    (
        "proxy-set-header-lost",
        "proxy_set_header Host $host; location / { proxy_set_header X-A 1; proxy_pass http://a; }",
        "proxy_set_header Host $host; location / { proxy_pass http://a; }",
    ),
    (
        "add-header-always",
        "add_header Strict-Transport-Security max-age=1;",
        "add_header Strict-Transport-Security max-age=1 always; add_header Cache-Control public;",
    ),
    ("add-header-content-type", "add_header Content-Type text/plain;", "default_type text/plain;"),
    ("header-multiline", "add_header X-A 'a\nb';", "add_header X-A 'a b';"),
    (
        "host-spoofing",
        "location / { proxy_set_header Host $http_host; proxy_pass http://a; }",
        "location / { proxy_set_header Host $host; proxy_set_header X-A $http_host; proxy_pass http://a; }",
    ),
    ("uri-in-redirect", "return 301 https://$host$uri;", "return 301 https://$host$request_uri;"),
    (
        "uri-in-redirect",
        "rewrite ^ https://a$document_uri permanent;",
        "rewrite ^ /x$uri last; return 200 $uri; set $uri_path 1; return 301 /$uri_path;",
    ),
    ("uri-in-header", "add_header X-Path $uri;", "add_header X-Path $request_uri;"),
    (
        "uri-in-proxy-pass",
        "location / { proxy_pass http://127.0.0.1$uri; }",
        "location / { proxy_pass http://127.0.0.1$request_uri; }",
    ),
    (
        "uri-in-proxy-pass",
        "location ~ ^/a/(.*) { proxy_pass http://127.0.0.1/b/$1; }",
        "location ~ ^/a/(.*) { rewrite ^/a/(.*) /b/$1 break; proxy_pass http://127.0.0.1; }",
    ),
    ("redirect-to-any-host", "return 301 https://$http_host/;", "return 301 https://$host/;"),
    (
        "redirect-to-any-host",
        "listen 80 default_server; server_name _; return 301 https://$host$request_uri;",
        "listen 80 default_server; server_name a.test; return 301 https://$host$request_uri;",
    ),
    ("alias-traversal", "location /i { alias /srv/i/; }", "location /i/ { alias /srv/i/; }"),
    ("alias-traversal", "location /i/ { alias /srv/i; }", "location = /i { alias /srv/i/x; }"),
    (
        "if-is-a-location",
        "location / { if ($arg_a) { proxy_pass http://127.0.0.1; } }",
        "location / { if ($arg_a) { return 403; } if ($arg_b) { rewrite ^ /x last; } if ($c) { set $d 1; } }",
    ),
    (
        "if-is-a-location",
        "location / { if ($arg_a) { add_header X-A 1; } }",
        "location / { if ($arg_a) { add_header X-A 1; return 204; } } if ($arg_b) { set $x 1; }",
    ),
    (
        "if-loses-try-files",
        "location / { try_files $uri /index.html; if ($arg_a) { set $b 1; } }",
        "location / { try_files $uri /index.html; if ($arg_a) { return 403; } }",
    ),
    (
        "try-files-and-pass",
        "location / { try_files $uri $uri/ =404; proxy_pass http://127.0.0.1; }",
        "location / { try_files $uri @a; } location @a { proxy_pass http://127.0.0.1; }",
    ),
    (
        "root-in-location",
        "location / { root /srv; } location /img/ { expires 1d; }",
        "root /srv; location / { root /other; } location /img/ { expires 1d; }",
    ),
    (
        "root-in-location",
        "location / { root /srv; } location = /x { }",
        "location / { root /srv; } location /api/ { proxy_pass http://127.0.0.1/; } location ~ /\\. { deny all; }",
    ),
    (
        "location-shadowed",
        "location ~* \\.(js|css|png)$ { } location ~ \\.css$ { expires 1d; }",
        "location ~ \\.css$ { } location ~* \\.(js|css)$ { } location ~ ^/a { } location ~ ^/ab { }",
    ),
    ("location-shadowed", "location ~ ^/a { } location ~ ^/a { }", "location ~ ^/a { } location ~* ^/a { }"),
    (
        "regex-dot",
        "server_name ~^www\\d.example.com$;",
        "server_name ~^www\\d\\.example\\.com$ ~^.+\\.a\\.b$;",
    ),
    (
        "regex-dot",
        "location ~ .php$ { }",
        "location ~ \\.php$ { } location ~ ^/a/.*$ { } location ~ [.]php$ { }",
    ),
    (
        "merge-slashes-off",
        "merge_slashes off; location /a { deny all; }",
        "merge_slashes off; location /a { }",
    ),
    (
        "upstream-tls-unverified",
        "location / { proxy_pass https://a.test; }",
        "proxy_ssl_verify on; location / { proxy_pass https://a.test; } location /b { proxy_pass https://127.0.0.1; }",
    ),
    (
        "proxy-pass-no-resolver",
        "location / { proxy_pass http://$arg_to; }",
        "resolver 127.0.0.53; location / { proxy_pass http://$arg_to; }",
    ),
    (
        "proxy-pass-no-resolver",
        "set $to app.test; location / { proxy_pass http://$to; }",
        "set $to 127.0.0.1:81; location / { proxy_pass http://$to; }",
    ),
    (
        "proxy-pass-slash",
        "location /api { proxy_pass http://127.0.0.1/; }",
        "location /api/ { proxy_pass http://127.0.0.1/; } location /b { proxy_pass http://127.0.0.1; }",
    ),
    (
        "proxy-pass-slash",
        "location /api/ { proxy_pass http://127.0.0.1/v1; }",
        "location /api { proxy_pass http://127.0.0.1/v1; } location / { proxy_pass http://127.0.0.1/; }",
    ),
    (
        "websocket-half",
        "location / { proxy_set_header Upgrade $http_upgrade; proxy_pass http://127.0.0.1; }",
        "location / { proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }",
    ),
    (
        "websocket-half",
        "location / { proxy_http_version 1.0; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade; }",
        "location / { proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade; }",
    ),
    (
        "resolver-public",
        "resolver 8.8.8.8; location / { proxy_pass http://$arg_a; }",
        "resolver 127.0.0.53; location / { proxy_pass http://$arg_a; }",
    ),
    (
        "return-before-access",
        "location /a { deny all; return 200 x; }",
        "location /a { deny all; } return 301 /x;",
    ),
    ("allow-without-deny", "allow 10.0.0.0/8;", "allow 10.0.0.0/8; deny all;"),
    ("valid-referers-none", "valid_referers none a.test;", "valid_referers server_names a.test;"),
    (
        "internal-missing",
        "location /protected/ { alias /srv/; }",
        "location /protected/ { internal; alias /srv/; }",
    ),
    ("old-tls", "ssl_protocols TLSv1 TLSv1.2;", "ssl_protocols TLSv1.2 TLSv1.3;"),
    ("server-tokens", "server_tokens on;", "server_tokens off;"),
];

#[test]
fn every_trap_is_found_and_its_repair_is_silent() {
    for (code, bad, good) in IN_SERVER {
        let server = |inside: &str| codes(&format!("server {{ {inside} }}"));
        assert_eq!(server(bad), [*code], "{bad}");
        assert_eq!(server(good), [] as [&str; 0], "{good}");
    }
}

#[test]
fn traps_of_whole_configurations_are_found() {
    let same = "server { listen 80; server_name a; } server { listen *:80; server_name b A; }";
    assert_eq!(codes(same), ["server-conflict"]);
    assert_eq!(
        codes("server { listen 80; server_name a; } server { listen 81; server_name a; }"),
        [] as [&str; 0]
    );
    let zone = "limit_req_zone $remote_addr zone=z:1m rate=1r/s;";
    assert_eq!(codes(zone), ["limit-zone-unused"]);
    assert_eq!(codes(&format!("{zone} server {{ limit_req zone=z; }}")), [] as [&str; 0]);
    let conns = "limit_conn_zone $remote_addr zone=z:1m; server { limit_conn z 5; }";
    assert_eq!(codes(conns), [] as [&str; 0]);
    let many = "worker_rlimit_nofile 1024; events { worker_connections 4096; }";
    assert_eq!(in_main(many), ["worker-connections"]);
    assert_eq!(in_main("worker_rlimit_nofile 9000; events { worker_connections 4096; }"), [] as [&str; 0]);
}

#[test]
fn variables_that_hold_groups_need_no_resolver() {
    let map = "upstream a { server 127.0.0.1; } map $arg_x $to { default a; b 127.0.0.1:81; }
        server { location / { proxy_pass http://$to; } }";
    assert_eq!(codes(map), [] as [&str; 0]);
}

#[test]
fn usual_sites_are_silent() {
    let sites = "
        upstream apps { server 10.0.0.1:3000; server 10.0.0.2:3000; }
        server { listen 80; server_name site.test; return 301 https://$host$request_uri; }
        server {
            listen 443 ssl; server_name site.test;
            location /api/ { proxy_pass http://localhost:4000/; }
            location /assets/ { root /var/www; expires 1y; add_header Cache-Control \"public, immutable\"; }
            location /ws/ {
                proxy_pass http://localhost:3000; proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";
            }
            location / {
                proxy_pass http://apps; proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            }
        }
        server {
            listen 80; server_name www.php.test; root /srv/php; index index.php;
            location / { try_files $uri $uri/ /index.php?$args; }
            location ~ \\.php$ { try_files $uri =404; fastcgi_pass unix:/run/php.sock; }
            location ~* \\.(js|css|png|jpg)$ { expires max; log_not_found off; }
            location ~ /\\. { deny all; }
        }";
    assert_eq!(codes(sites), [] as [&str; 0]);
}

#[test]
fn rules_have_names_of_their_own_and_each_is_tested() {
    let mut names: Vec<_> = RULES.iter().copied().flatten().map(|it| it.code).collect();
    let n_rules = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == n_rules && n_rules >= 25, "{n_rules}");
    let elsewhere = ["server-conflict", "limit-zone-unused", "worker-connections"];
    let documented = include_str!("../../../../../docs/diagnostics.md");
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/diagnostics.md");
        assert!(IN_SERVER.iter().any(|(code, ..)| *code == name) || elsewhere.contains(&name), "{name}");
    }
}
