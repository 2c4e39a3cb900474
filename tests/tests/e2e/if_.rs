//! `if`: its operators, and that it is a location of its own.

use foregate_testkit::{Backend, Setup, both, check, check_on};

#[test]
fn operators_compare() {
    check(
        Setup::http(
            r#"server {
            listen 127.0.0.1:{port:0};
            location /truth { if ($arg_v) { return 200 yes; } return 200 no; }
            location /eq { if ($arg_v = "a b") { return 200 yes; } return 200 no; }
            location /ne { if ($arg_v != x) { return 200 yes; } return 200 no; }
            location /re { if ($arg_v ~ ^a(.)c$) { return 200 yes:$1; } return 200 no; }
            location /ire { if ($arg_v ~* ^a(?<mid>.)c$) { return 200 yes:$mid; } return 200 no; }
            location /nre { if ($arg_v !~ ^a) { return 200 yes; } return 200 no; }
            location /nire { if ($arg_v !~* ^a) { return 200 yes; } return 200 no; }
            location /f { if (-f $document_root$arg_v) { return 200 yes; } return 200 no; }
            location /nf { if (!-f $document_root$arg_v) { return 200 yes; } return 200 no; }
            location /d { if (-d $document_root$arg_v) { return 200 yes; } return 200 no; }
            location /e { if (-e $document_root$arg_v) { return 200 yes; } return 200 no; }
            location /x { if (-x $document_root$arg_v) { return 200 yes; } return 200 no; }
            location /tight { if ($arg_v=x) { return 200 yes; } return 200 no; }
            location /braces { if ($arg_v ~ "^\d{2}$") { return 200 yes; } return 200 no; }
            location /method { if ($request_method = POST) { return 405; } return 200 ok; }
        }"#,
        )
        .file("html/file", "x")
        .file_mode("html/run", "x", 0o755),
        &[
            ("GET /truth?v=1", "200 | = yes"),
            ("GET /truth?v=0", "200 | = no"),
            ("GET /truth?v=00", "200 | = yes"),
            ("GET /truth?v=", "200 | = no"),
            ("GET /truth", "200 | = no"),
            ("GET /eq?v=a%20b", "200 | = no"),
            ("GET /ne?v=x", "200 | = no"),
            ("GET /ne", "200 | = yes"),
            ("GET /re?v=abc", "200 | = yes:b"),
            ("GET /re?v=ABC", "200 | = no"),
            ("GET /ire?v=ABC", "200 | = yes:B"),
            ("GET /nre?v=b", "200 | = yes"),
            ("GET /nre?v=a", "200 | = no"),
            ("GET /nire?v=A", "200 | = no"),
            ("GET /f?v=/file", "200 | = yes"),
            ("GET /f?v=/none", "200 | = no"),
            ("GET /f?v=/", "200 | = no"),
            ("GET /nf?v=/none", "200 | = yes"),
            ("GET /d?v=/", "200 | = yes"),
            ("GET /d?v=/file", "200 | = no"),
            ("GET /e?v=/", "200 | = yes"),
            ("GET /x?v=/run", "200 | = yes"),
            ("GET /x?v=/file", "200 | = no"),
            ("GET /braces?v=12", "200 | = yes"),
            ("GET /braces?v=123", "200 | = no"),
            ("POST /method\n\nx", "405"),
            ("GET /method", "200 | = ok"),
        ],
    );
}

#[test]
fn it_is_a_location_of_its_own() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                location /h { add_header X-A a; if ($arg_x) { add_header X-If if; } return 200 h; }
                location /two {
                    if ($arg_a) { add_header X-If a; }
                    if ($arg_b) { add_header X-If b; }
                    add_header X-If none;
                    proxy_pass http://{app};
                }
                location /proxy/ {
                    proxy_set_header X-Outer o;
                    if ($arg_x) { set $y 1; }
                    proxy_pass http://{app}/p/;
                }
                location /other { if ($arg_x) { proxy_pass http://{app}; } return 200 own; }
            }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /h", "200 | X-A: a | !X-If"),
                ("GET /two", "200 | X-If: none"),
                ("GET /two?a=1", "200 | X-If: a"),
                ("GET /two?a=1&b=1", "200 | X-If: b"),
                ("GET /proxy/z?x=1", "200 | ~ GET /p/z?x=1 HTTP | ~ X-Outer: o"),
                ("GET /other", "200 | = own"),
            ],
        );
    });
}

#[test]
fn an_if_that_passes_on_and_one_behind_it_that_does_not_are_an_error() {
    both(|subject| {
        let app = Backend::echo();
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                location / {
                    if ($arg_a) { proxy_pass http://{app}; }
                    if ($arg_b) { set $x 1; }
                    if ($arg_c) { set $y 1; }
                }
                location /in {
                    proxy_pass http://{app};
                    if ($arg_a) { set $x 1; }
                    if ($arg_b) { set $x 1; }
                }
            }",
        )
        .backend("app", &app)
        .allow_log("no upstream configuration")
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /?a=1", "200 | ~ GET"),
                ("GET /?b=1", "403"),
                ("GET /?a=1&b=1", "500"),
                ("GET /?a=1&c=1", "500"),
                ("GET /?a=1&b=1&c=1", "500"),
                ("GET /?b=1&c=1", "403"),
                ("GET /in?a=1&b=1", "200 | ~ GET"),
            ],
        );
    });
}
