//! `rewrite`, `set` and `break`: flags, arguments, loops.

use foregate_testkit::{Backend, Setup, both, check, check_on};

#[test]
fn flags_decide_what_follows() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            rewrite ^/srv/(.*)$ /show/$1;
            location /show { return 200 show:$uri:$args; }
            location /last/ { rewrite ^/last/(.*)$ /show/$1 last; return 200 not-reached; }
            location /break/ { rewrite ^/break/(.*)$ /show/$1 break; return 200 not-reached; }
            location /none/ { rewrite ^/none/(.*)$ /show/$1; return 200 same:$uri; }
            location /chain/ { rewrite ^/chain/(.*)$ /step/$1; rewrite ^/step/(.*)$ /show/$1 last; }
            location /redirect/ { rewrite ^/redirect/(.*)$ /show/$1 redirect; }
            location /permanent/ { rewrite ^/permanent/(.*)$ /show/$1 permanent; }
            location /abs/ { rewrite ^/abs/(.*)$ http://other.example/$1; }
            location /scheme/ { rewrite ^/scheme/(.*)$ $scheme://other.example/$1; }
            location /drop/ { rewrite ^/drop/(.*)$ /show/$1? redirect; }
            location /add/ { rewrite ^/add/(.*)$ /show?n=$1 last; }
            location /replace/ { rewrite ^/replace/(.*)$ /show?n=$1? last; }
            location /case/ { rewrite (?i)^/CASE/(.*)$ /show/$1 last; }
            location /loop { rewrite ^ /loop last; }
            location /plain-break { break; return 200 not-reached; }
            location /skip/ { rewrite ^/nomatch /show last; return 200 skipped; }
        }",
        &[
            ("GET /srv/x?a=b", "200 | = show:/show/x:a=b"),
            ("GET /last/x?a=b", "200 | = show:/show/x:a=b"),
            ("GET /break/x", "404"),
            ("GET /none/x", "200 | = same:/show/x"),
            ("GET /chain/x", "200 | = show:/show/x:"),
            ("GET /redirect/x?a=b", "302 | Location: http://localhost:{port:0}/show/x?a=b"),
            ("GET /permanent/x?a=b", "301 | Location: http://localhost:{port:0}/show/x?a=b"),
            ("GET /abs/x?a=b", "302 | Location: http://other.example/x?a=b"),
            ("GET /scheme/x", "302 | Location: http://other.example/x"),
            ("GET /drop/x?a=b", "302 | Location: http://localhost:{port:0}/show/x"),
            ("GET /add/5?a=b", "200 | = show:/show:n=5&a=b"),
            ("GET /replace/5?a=b", "200 | = show:/show:n=5"),
            ("GET /case/x", "200 | = show:/show/x:"),
            ("GET /loop", "500"),
            ("GET /plain-break", "404"),
            ("GET /skip/", "200 | = skipped"),
            ("GET /last/a%20b", "200 | = show:/show/a b:"),
            ("GET /redirect/a%20b", "302 | Location: http://localhost:{port:0}/show/a%20b"),
            ("GET /add/a%26b", "200 | = show:/show:n=a%26b"),
        ],
    );
}

#[test]
fn a_rewritten_uri_is_proxied_whole() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                location /a/ { rewrite ^/a/(.*)$ /b/$1 break; proxy_pass http://{app}; }
                location /c/ { rewrite ^/c/(.*)$ /d/$1 break; proxy_pass http://{app}/ignored/; }
                location /e/ { rewrite ^/e/(.*)$ /f/$1?x=1 break; proxy_pass http://{app}; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /a/x?q", "200 | ~ GET /b/x?q HTTP"),
                ("GET /a/x%20y", "200 | ~ GET /b/x%20y HTTP"),
                ("GET /c/x", "200 | ~ GET /d/x HTTP"),
                ("GET /e/x?q", "200 | ~ GET /f/x?x=1&q HTTP"),
            ],
        );
    });
}

#[test]
fn set_gives_variables_values_in_order() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            set $a server;
            set $b "$a-b";
            location /show { return 200 [$a][$b][$late]; set $late never; }
            location /over { set $a over; return 200 [$a][$b]; }
            location /capture { rewrite ^/capture/(.*)$ /x; set $a $1; return 200 [$a]; }
            location /args { set $args changed=1; return 200 $args:$arg_changed:$is_args; }
            location /inner { set $c kept; rewrite ^ /after last; }
            location /after { return 200 [$c]; }
        }"#,
        &[
            ("GET /show", "200 | = [server][server-b][]"),
            ("GET /over", "200 | = [over][server-b]"),
            ("GET /capture/xyz", "200 | = [xyz]"),
            ("GET /args?a=b", "200 | = changed=1:1:?"),
            ("GET /inner", "200 | = [kept]"),
        ],
    );
}

#[test]
fn rewrites_in_the_server_come_before_the_location() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            rewrite ^/old/(.*)$ /new/$1 last;
            rewrite ^/new/(.*)$ /newer/$1;
            location /new/ { return 200 new:$uri; }
            location /newer/ { return 200 newer:$uri; }
        }",
        &[("GET /old/x", "200 | = new:/new/x"), ("GET /new/x", "200 | = newer:/newer/x")],
    );
}
