//! Configurations that are refused, and in which words; the grammar's odd corners.

use foregate_testkit::{Setup, Subject, both, check};

/// Whether `-t` refuses the inside of `http { }` with this message.
fn refuses(subject: Subject, http: &str, message: &str) -> Option<String> {
    verdict(&Setup::http(http), subject, http, message)
}

fn verdict(setup: &Setup, subject: Subject, conf: &str, message: &str) -> Option<String> {
    let (ok, printed) = setup.test(subject);
    let right = !ok && printed.contains(message) && printed.contains("test failed");
    (!right).then(|| format!("{conf}\n  must be refused with: {message}\n  but printed: {printed}"))
}

#[test]
fn mistakes_are_named_in_nginx_s_words() {
    let cases = [
        ("nonsense on;", "unknown directive \"nonsense\" in {dir}/nginx.conf:"),
        ("proxy_pass http://a;", "\"proxy_pass\" directive is not allowed here in {dir}/nginx.conf:"),
        ("location / { }", "\"location\" directive is not allowed here in"),
        ("server { server { } }", "\"server\" directive is not allowed here in"),
        ("server { listen; }", "invalid number of arguments in \"listen\" directive in"),
        ("sendfile on off;", "invalid number of arguments in \"sendfile\" directive in"),
        (
            "sendfile maybe;",
            "invalid value \"maybe\" in \"sendfile\" directive, it must be \"on\" or \"off\" in",
        ),
        ("sendfile on; sendfile off;", "\"sendfile\" directive is duplicate in"),
        ("keepalive_timeout x;", "\"keepalive_timeout\" directive invalid value in"),
        ("client_max_body_size 1x;", "\"client_max_body_size\" directive invalid value in"),
        ("server_names_hash_max_size x;", "invalid number in"),
        ("server { location / { root; } }", "invalid number of arguments in \"root\" directive in"),
        (
            "server { listen 127.0.0.1:99999; }",
            "invalid port in \"127.0.0.1:99999\" of the \"listen\" directive in",
        ),
        ("server { listen 127.0.0.1:1 nonsense; }", "invalid parameter \"nonsense\" in"),
        (
            "server { listen 127.0.0.1:1 default_server; } server { listen 127.0.0.1:1 default_server; }",
            "a duplicate default server for 127.0.0.1:1 in",
        ),
        ("server { location /a { } location /a { } }", "duplicate location \"/a\" in"),
        ("server { location = /a { } location = /a { } }", "duplicate location \"/a\" in"),
        ("server { location ~ ( { } }", "pcre"),
        (
            "server { location @n { location /x { } } }",
            "location \"/x\" cannot be inside the named location \"@n\" in",
        ),
        ("server { location /a { location /b { } } }", "location \"/b\" is outside location \"/a\" in"),
        (
            "server { location = /a { location /a/b { } } }",
            "location \"/a/b\" cannot be inside the exact location \"/a\" in",
        ),
        ("server { location ! /x { } }", "invalid location modifier \"!\" in"),
        ("upstream u { }", "no servers are inside upstream in"),
        (
            "upstream u { server 127.0.0.1:1; } upstream u { server 127.0.0.1:1; }",
            "duplicate upstream \"u\" in",
        ),
        ("upstream u { server 127.0.0.1:1 weight=x; }", "invalid parameter \"weight=x\" in"),
        ("server { location / { proxy_pass a; } }", "invalid URL prefix in"),
        (
            "server { location ~ x { proxy_pass http://127.0.0.1/x; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression",
        ),
        ("server { location / { return 200 $undefined_one; } }", "unknown \"undefined_one\" variable"),
        ("server { location / { return x; } }", "invalid return code \"x\" in"),
        ("server { location / { rewrite a b c; } }", "invalid parameter \"c\" in"),
        ("server { location / { rewrite ( b; } }", "pcre"),
        ("server { location / { if ($uri); } }", "directive \"if\" has no opening \"{\" in"),
        ("server { location / { set a b; } }", "invalid variable name \"a\" in"),
        ("server { location / { error_page 600 /x; } }", "value \"600\" must be between 300 and 599 in"),
        (
            "server { location / { try_files /a; } }",
            "invalid number of arguments in \"try_files\" directive in",
        ),
        (
            "server { location / { alias /a; root /b; } }",
            "\"root\" directive is duplicate, \"alias\" directive was specified earlier in",
        ),
        ("server { location / { allow 1.2.3.400; } }", "invalid parameter \"1.2.3.400\" in"),
        ("server { location / { limit_req zone=z; } }", "zero size shared memory zone \"z\""),
        ("server { access_log logs/x nope; }", "unknown log format \"nope\" in"),
        ("log_format a; ", "invalid number of arguments in \"log_format\" directive in"),
        ("map $uri $b { a 1; a 2; }", "conflicting parameter \"a\" in"),
        ("include none.conf;", "open() \"{dir}/none.conf\" failed (2: No such file or directory) in"),
        ("server {", "unexpected end of file, expecting \"}\" in"),
        ("} }", "unexpected \"}\" in"),
        ("sendfile on", "unexpected \"}\" in"),
        ("root \"a;", "unexpected end of file, expecting \";\" or \"}\" in"),
        ("root \"a\"b;", "unexpected \"b\" in"),
        ("{ }", "unexpected \"{\" in"),
        (";", "unexpected \";\" in"),
    ];
    both(|subject| {
        let wrong: Vec<String> =
            cases.iter().filter_map(|(conf, message)| refuses(subject, conf, message)).collect();
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    });
}

#[test]
fn mistakes_of_the_main_context_too() {
    let cases = [
        ("http { }", "no \"events\" section in configuration"),
        ("events { } events { }", "\"events\" directive is duplicate in {dir}/nginx.conf:1"),
        (
            "events { } worker_processes x;",
            "\"worker_processes\" directive invalid value in {dir}/nginx.conf:1",
        ),
        (
            "events { } worker_processes 1; worker_processes 2;",
            "\"worker_processes\" directive is duplicate in",
        ),
        ("events { worker_connections x; }", "invalid number"),
        ("events { }\n\nhttp {\n  nonsense;\n}", "unknown directive \"nonsense\" in {dir}/nginx.conf:4"),
        ("events { }\nhttp {\n  server { listen \"a\n b\" }\n}", "in {dir}/nginx.conf:4"),
    ];
    both(|subject| {
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|(conf, message)| verdict(&Setup::conf(conf), subject, conf, message))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn success_is_two_lines() {
    both(|subject| {
        let (ok, printed) = Setup::http("server { listen 127.0.0.1:{port:0}; }").test(subject);
        let said =
            printed.lines().map(|l| l.split_once(": ").map_or(l, |(_, rest)| rest)).collect::<Vec<_>>();
        assert!(ok, "{printed}");
        assert_eq!(
            said,
            [
                "the configuration file {dir}/nginx.conf syntax is ok",
                "configuration file {dir}/nginx.conf test is successful"
            ]
        );
    });
}

#[test]
fn includes_are_found_beside_the_configuration() {
    check(
        Setup::http("include conf.d/*.conf; include none/*.conf; server { listen 127.0.0.1:{port:0}; include inner; }")
            .file("conf.d/10-b.conf", "server { listen 127.0.0.1:{port:1}; return 200 second; }")
            .file("conf.d/05-a.conf", "server { listen 127.0.0.1:{port:1}; return 200 first; }")
            .file("conf.d/x.txt", "nonsense")
            .file("inner", "location / { include deeper/x; }")
            .file("deeper/x", "return 200 deep;"),
        &[("GET /", "200 | = deep"), ("{port:1} GET /", "200 | = first")],
    );
}

#[test]
fn the_grammar_s_odd_corners() {
    check(
        r#"# a comment
        server { # another
            listen 127.0.0.1:{port:0}; set $a x; set
                $b
                "y"; # after
            location /quotes { return 200 'single "double" \'x\''; }
            location /double { return 200 "a\"b\\c\td"; }
            location /braces { return 200 ${a}b$b; }
            location /hash { return 200 a#b; }
            location /semi { return 200 "a;b{c}"; }
            location "/with space" { return 200 spaced; }
            location /escaped\ space { return 200 escaped; }
            location ~ "^/q/\d{3}$" { return 200 digits; }
            location /empty { return 200 ""; }
            location /long { return 200 "{long}"; }
        }"#
        .replace("{long}", &"x".repeat(3000))
        .as_str(),
        &[
            ("GET /quotes", "200 | = single \"double\" 'x'"),
            ("GET /double", "200 | = a\"b\\c\td"),
            ("GET /braces", "200 | = xby"),
            ("GET /hash", "200 | = a#b"),
            ("GET /semi", "200 | = a;b{c}"),
            ("GET /with%20space", "200 | = spaced"),
            ("GET /q/123", "200 | = digits"),
            ("GET /empty", "200 | ="),
            ("GET /long", "200 | Content-Length: 3000"),
        ],
    );
}
