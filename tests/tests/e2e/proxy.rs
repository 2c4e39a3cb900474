//! `proxy_pass`: what the backend is asked.

use foregate_testkit::{Backend, Setup, Subject, both, check, check_on, since};

fn echoed(inside: &str) -> (Setup, Backend) {
    let app = Backend::echo();
    let setup = Setup::http(&format!(
        "upstream u {{ server {{app}}; }}\nserver {{ listen 127.0.0.1:{{port:0}}; {inside} }}"
    ));
    (setup.backend("app", &app), app)
}

#[test]
fn the_uri_is_replaced_or_passed_as_it_came() {
    let (setup, _app) = echoed(
        r"location /p1/ { proxy_pass http://u/; }
        location /p2 { proxy_pass http://u; }
        location /p3 { proxy_pass http://u/z; }
        location /p4/ { proxy_pass http://u/a/b/; }
        location ~ ^/p5/(.*)$ { proxy_pass http://u/q/$1; }
        location ~ ^/p6/ { proxy_pass http://u; }
        location /p7/ { set $b u; proxy_pass http://$b; }
        location /p8/ { set $b u; proxy_pass http://$b/fixed; }
        location /p9/ { set $b u; proxy_pass http://$b$request_uri; }
        location = /p10 { proxy_pass http://u/exact; }
        location /p11/ { proxy_pass http://u/?own=1; }
        location / { proxy_pass http://u; }",
    );
    both(|subject| {
        check_on(
            &setup.start(subject),
            &[
                ("GET /p1/a?q=1", "200 | ~ GET /a?q=1 HTTP"),
                ("GET /p1/a%2Fb?q=1", "200 | ~ GET /a/b?q=1 HTTP"),
                ("GET /p1/a//b", "200 | ~ GET /a/b HTTP"),
                ("GET /p1/", "200 | ~ GET / HTTP"),
                ("GET /p1/a%20b%25", "200 | ~ GET /a%20b%25 HTTP"),
                ("GET /p1/%C3%BC", "200 | ~ GET /%C3%BC HTTP"),
                ("GET /p1/a+b:c@d", "200 | ~ GET /a+b:c@d HTTP"),
                ("GET /p1/%3Fx%23y", "200 | ~ GET /%3Fx%23y HTTP"),
                ("GET /p2//x/../y", "200 | ~ GET /p2//x/../y HTTP"),
                ("GET /p2/a%2Fb", "200 | ~ GET /p2/a%2Fb HTTP"),
                ("GET /p2/a%2fb?x=%20", "200 | ~ GET /p2/a%2fb?x=%20 HTTP"),
                ("GET /p2?", "200 | ~ GET /p2? HTTP"),
                ("GET /p3xyz", "200 | ~ GET /zxyz HTTP"),
                ("GET /p3/a/../b", "200 | ~ GET /z/b HTTP"),
                ("GET /p4/c", "200 | ~ GET /a/b/c HTTP"),
                ("GET /p5/x/y?q", "200 | ~ GET /q/x/y HTTP"),
                ("GET /p6/x%20y?q", "200 | ~ GET /p6/x%20y?q HTTP"),
                ("GET /p7/x%20y?q", "200 | ~ GET /p7/x%20y?q HTTP"),
                ("GET /p8/x?q", "200 | ~ GET /fixed HTTP"),
                ("GET /p9/x?q", "200 | ~ GET /p9/x?q HTTP"),
                ("GET /p10?q", "200 | ~ GET /exact?q HTTP"),
                ("GET /p11/x", "200 | ~ GET /?own=1x HTTP"),
                ("GET http://other.example/abs?q", "200 | ~ GET /abs?q HTTP"),
                ("GET http://other.example", "200 | ~ GET / HTTP"),
            ],
        );
    });
}

#[test]
fn headers_pass_and_are_set() {
    let (setup, _app) = echoed(
        r#"proxy_set_header X-Server s;
        location / { proxy_pass http://u; }
        location /direct { proxy_pass http://{app}; }
        location /own {
            proxy_set_header Host $host:$server_port;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Empty "";
            proxy_set_header X-None $http_nope;
            proxy_set_header Accept-Encoding "";
            proxy_set_header User-Agent ours;
            proxy_pass http://u;
        }
        location /http-host { proxy_set_header Host $http_host; proxy_pass http://u; }
        location /no-headers { proxy_pass_request_headers off; proxy_pass http://u; }
        location /method { proxy_method PATCH; proxy_pass http://u; }
        location /body { proxy_set_body "own $arg_a"; proxy_pass http://u; }
        location /no-body { proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_pass http://u; }"#,
    );
    both(|subject| {
        check_on(
            &setup.start(subject),
            &[
                (
                    "GET /\nX-A: 1\nX-B:2\nHost: client",
                    "200 | ~ Host: u\n | ~ X-A: 1\n | ~ X-B: 2\n | ~ X-Server: s",
                ),
                (
                    "GET /\nUser-Agent: ua\nAccept: */*\nCookie: a=b",
                    "200 | ~ User-Agent: ua\n | ~ Accept: */*\n | ~ Cookie: a=b",
                ),
                ("GET /direct", "200 | ~ Host: {app}\n"),
                (
                    "GET /own\nX-Empty: x\nUser-Agent: theirs\nAccept-Encoding: gzip",
                    "200 | ~ Host: localhost:{port:0}\n | ~ X-Real-IP: 127.0.0.1\n | ~ X-Forwarded-For: 127.0.0.1\n | !~ X-Empty | !~ X-None | !~ Accept-Encoding | ~ User-Agent: ours\n | !~ theirs | !~ X-Server",
                ),
                ("GET /own\nX-Forwarded-For: 9.9.9.9", "200 | ~ X-Forwarded-For: 9.9.9.9, 127.0.0.1\n"),
                ("GET /http-host\nHost: A.example:1", "200 | ~ Host: A.example:1\n"),
                (
                    "GET /\nUpgrade: websocket\nConnection: upgrade\nExpect: 100-continue\nKeep-Alive: 1\nTE: gzip",
                    "200 | !~ Upgrade | !~ Expect | !~ Keep-Alive | !~ TE:",
                ),
                ("GET /no-headers\nX-A: 1", "200 | !~ X-A | ~ Host: u\n | ~ X-Server: s"),
                ("GET /method", "200 | ~ PATCH /method HTTP"),
                ("BREW /x", "200 | ~ BREW /x HTTP"),
                ("POST /body?a=b\n\noriginal", "200 | ~ Content-Length: 5\n | ~ own b | !~ original"),
                ("POST /no-body\n\noriginal", "200 | !~ Content-Length | !~ original"),
                ("DELETE /x", "200 | ~ DELETE /x HTTP | !~ Content-Length"),
                ("POST /x\nContent-Length: 0", "200 | ~ Content-Length: 0"),
                ("HEAD /x", "200 | ="),
            ],
        );
    });
}

#[test]
fn the_version_and_connection_of_old() {
    let (setup, app) = echoed(
        r#"location /old { proxy_http_version 1.0; proxy_set_header Connection close; proxy_pass http://u; }
        location /new { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; }"#,
    );
    both(|subject| {
        let server = setup.start(subject);
        check_on(
            &server,
            &[
                ("GET /old", "200 | ~ GET /old HTTP/1.0\n | ~ Connection: close\n"),
                ("GET /new", "200 | ~ GET /new HTTP/1.1\n | !~ Connection:"),
            ],
        );
        assert_eq!(app.last().all("Host"), ["u"]);
    });
}

#[test]
fn http_1_1_and_no_connection_header_are_the_default() {
    let (setup, _app) = echoed("location / { proxy_pass http://u; }");
    since("1.29.7", |subject| {
        check_on(&setup.start(subject), &[("GET /x", "200 | ~ GET /x HTTP/1.1\n | !~ Connection:")]);
    });
}

#[test]
fn a_refused_connection_is_502() {
    both(|subject| {
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://127.0.0.1:{port:9}; }
                      location /unix { proxy_pass http://unix:{dir}/none.sock; } }",
        )
        .start(subject);
        check_on(
            &server,
            &[("GET /", "502 | ~ 502 Bad Gateway"), ("POST /\n\nx", "502"), ("GET /unix", "502")],
        );
        server.wait_for_error(&server.fill(
            "connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , \
             request: \"GET / HTTP/1.1\", upstream: \"http://127.0.0.1:{port:9}/\", host: \"localhost\"",
        ));
        server.wait_for_error("connect() to unix:");
    });
}

#[test]
fn names_unknown_at_load_time_need_a_resolver() {
    both(|subject| {
        let setup = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://no.such.host.invalid; } }",
        );
        let unknown = "host not found in upstream \"no.such.host.invalid\" in";
        if subject == Subject::Foregate {
            // One name that does not resolve is no reason to keep all the others from being served.
            let (right, printed) = setup.test(subject);
            assert!(right && printed.contains(unknown), "{printed}");
            check_on(&setup.start(subject), &[("GET /", "502")]);
        } else {
            let refused = setup.try_start(subject).err().unwrap_or_default();
            assert!(refused.contains(unknown), "{refused}");
        }
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location / { set $h no.such.host.invalid; proxy_pass http://$h; } }",
        )
        .start(subject);
        check_on(&server, &[("GET /", "502")]);
        server.wait_for_error("no resolver defined to resolve no.such.host.invalid");
    });
}

#[test]
fn another_address_is_bound_to_with_the_right_for_it() {
    use std::os::unix::fs::MetadataExt;
    // Only root may, and what it leaves to the worker is what is tested.
    if std::fs::metadata("/proc/self").map_or(true, |it| it.uid() != 0) {
        return;
    }
    check(
        "server { listen 127.0.0.1:{port:0}; location / { proxy_bind 127.0.0.2 transparent; proxy_pass http://127.0.0.1:{port:1}; } }
         server { listen 127.0.0.1:{port:1}; return 200 $remote_addr; }",
        &[("GET /", "200 | = 127.0.0.2")],
    );
}
