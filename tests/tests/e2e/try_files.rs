//! `try_files`: names in order, folders, codes, named locations, the last one as a redirect inside.

use foregate_testkit::{Backend, Setup, both, check, check_on};

fn site(inside: &str) -> Setup {
    Setup::http(&format!("server {{ listen 127.0.0.1:{{port:0}}; {inside} }}"))
        .file("html/index.html", "index")
        .file("html/a", "a")
        .file("html/b.html", "b")
        .file("html/d/index.html", "d")
        .file("html/bare/x", "x")
}

#[test]
fn the_first_that_exists_is_served() {
    check(
        site(
            "location / { try_files $uri $uri.html $uri/ /fallback?u=$uri&$args; }
             location /fallback { return 200 fallback:$args; }
             location /code/ { try_files $uri =418; }
             location /not/ { try_files $uri =404; }
             location /named/ { try_files $uri @n; }
             location @n { return 200 named:$uri; }
             location /file/ { try_files /none /a =404; }
             location /dir-only/ { try_files /bare/ /a =404; }
             location /al/ { alias {dir}/html/; try_files $uri =404; }",
        ),
        &[
            ("GET /a", "200 | = a"),
            ("GET /b", "200 | = b"),
            ("GET /d/", "200 | = d"),
            ("GET /d", "301 | Location: http://localhost:{port:0}/d/"),
            ("GET /none?q=1", "200 | = fallback:u=/none&q=1"),
            ("GET /code/x", "418"),
            ("GET /not/x", "404"),
            ("GET /named/x", "200 | = named:/named/x"),
            ("GET /file/x", "200 | = a"),
            ("GET /dir-only/x", "301 | Location: http://localhost:{port:0}/bare/"),
            ("GET /al/a", "200 | = a"),
            ("GET /al/none", "404"),
        ],
    );
}

#[test]
fn the_front_controller_gets_what_is_no_file() {
    both(|subject| {
        let app = Backend::echo();
        let server = site(
            "location / { try_files $uri @app; }
             location @app { proxy_pass http://{app}; proxy_set_header X-App yes; }",
        )
        .backend("app", &app)
        .start(subject);
        check_on(
            &server,
            &[("GET /a", "200 | = a"), ("GET /x%20y?z", "200 | ~ GET /x%20y?z HTTP/1. | ~ X-App: yes")],
        );
    });
}

#[test]
fn an_if_that_holds_loses_the_try_files_beside_it() {
    check(
        site("location / { if ($arg_x) { set $y 1; } try_files /a =404; }"),
        &[("GET /none", "200 | = a"), ("GET /none?x=1", "404")],
    );
}

#[test]
fn it_stands_in_the_server_too() {
    check(
        site("try_files /a =404; location /l { return 200 l; }"),
        &[("GET /whatever", "200 | = a"), ("GET /l", "200 | = l")],
    );
}
