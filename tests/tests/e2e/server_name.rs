//! Which server answers: addresses, exact names, wildcards, regular expressions, the default.

use foregate_testkit::{Client, Setup, both, check, check_on};

#[test]
fn names_are_matched_by_kind_and_then_by_order() {
    check(
        r"server { listen 127.0.0.1:{port:0}; server_name exact.example; return 200 exact; }
        server { listen 127.0.0.1:{port:0}; server_name *.example; return 200 star-1; }
        server { listen 127.0.0.1:{port:0}; server_name *.sub.example; return 200 star-2; }
        server { listen 127.0.0.1:{port:0}; server_name www.*; return 200 tail-1; }
        server { listen 127.0.0.1:{port:0}; server_name www.long.*; return 200 tail-2; }
        server { listen 127.0.0.1:{port:0}; server_name .dot.test; return 200 dot; }
        server { listen 127.0.0.1:{port:0}; server_name ~^(?<user>.+)\.re\.test$; return 200 re:$user; }
        server { listen 127.0.0.1:{port:0}; server_name ~^a.*\.re\.test$; return 200 never; }
        server { listen 127.0.0.1:{port:0} default_server; server_name _; return 200 default:$host; }
        server { listen 127.0.0.1:{port:0}; server_name two.test other.test; return 200 $server_name; }",
        &[
            ("GET /\nHost: exact.example", "200 | = exact"),
            ("GET /\nHost: EXACT.example", "200 | = exact"),
            ("GET /\nHost: exact.example:8080", "200 | = exact"),
            ("GET /\nHost: exact.example.", "200 | = exact"),
            ("GET /\nHost: a.example", "200 | = star-1"),
            ("GET /\nHost: a.b.example", "200 | = star-1"),
            ("GET /\nHost: a.sub.example", "200 | = star-2"),
            ("GET /\nHost: www.x", "200 | = tail-1"),
            ("GET /\nHost: www.long.x", "200 | = tail-2"),
            ("GET /\nHost: www.example", "200 | = star-1"),
            ("GET /\nHost: dot.test", "200 | = dot"),
            ("GET /\nHost: a.b.dot.test", "200 | = dot"),
            ("GET /\nHost: ann.re.test", "200 | = re:ann"),
            ("GET /\nHost: other.test", "200 | = two.test"),
            ("GET /\nHost: nobody.test", "200 | = default:nobody.test"),
            ("GET / HTTP/1.0", "200 | = default:_"),
            ("GET http://exact.example/\nHost: nobody.test", "200 | = exact"),
            ("GET http://a.example:80\nHost: nobody.test", "200 | = star-1"),
        ],
    );
}

#[test]
fn servers_that_differ_in_their_names_alone_stay_themselves() {
    let block = r#"location / { return 200 "$server_name $uri"; }
        location /moved/ { server_name_in_redirect on; return 302 /new; }"#;
    check(
        format!(
            "server {{ listen 127.0.0.1:{{port:0}}; server_name a.test; {block} }}
            server {{ listen 127.0.0.1:{{port:0}}; server_name b.test c.test; {block} }}
            server {{ listen 127.0.0.1:{{port:1}}; server_name d.test; {block} }}"
        )
        .as_str(),
        &[
            ("GET /x\nHost: a.test", "200 | = a.test /x"),
            ("GET /x\nHost: c.test", "200 | = b.test /x"),
            ("GET /x\nHost: d.test", "200 | = a.test /x"),
            ("{port:1} GET /x\nHost: a.test", "200 | = d.test /x"),
            ("GET /moved/\nHost: c.test", "302 | location: http://b.test:{port:0}/new"),
        ],
    );
}

#[test]
fn the_first_server_of_an_address_is_its_default() {
    both(|subject| {
        let server = Setup::http(
            r#"server { listen 127.0.0.1:{port:0}; listen unix:{unix:0}; server_name a; return 200 a:$server_port; }
            server { listen 127.0.0.1:{port:0}; listen 127.0.0.1:{port:1}; server_name b; return 200 b:$server_port; }
            server { listen {port:2}; return 200 any:$server_addr; }
            server { listen 127.0.0.1:{port:3}; server_name ""; return 200 empty; }
            server { listen 127.0.0.1:{port:3}; server_name c; return 200 c; }
            server { listen 127.0.0.1:{port:4}; server_name named.test; return 200 x; }
            server { listen 127.0.0.1:{port:4}; server_name ""; return 200 no-name; }"#,
        )
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /\nHost: x", "200 | = a:{port:0}"),
                ("GET /\nHost: b", "200 | = b:{port:0}"),
                ("{port:1} GET /\nHost: x", "200 | = b:{port:1}"),
                ("{port:2} GET /", "200 | = any:127.0.0.1"),
                ("{port:3} GET /\nHost: x", "200 | = empty"),
                ("{port:4} GET / HTTP/1.0", "200 | = no-name"),
            ],
        );
        let mut client = Client::connect_unix(server.fill("{unix:0}"));
        assert_eq!(client.get("/").text(), "a:");
    });
}

#[test]
fn a_name_given_twice_is_a_warning_and_the_first_wins() {
    both(|subject| {
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; server_name a; return 200 first; }
             server { listen 127.0.0.1:{port:0}; server_name a; return 200 second; }",
        )
        .start(subject);
        check_on(&server, &[("GET /\nHost: a", "200 | = first")]);
        let warning = server.fill("[warn] ");
        let said = server.read("printed.log") + &server.read("error.log");
        assert!(
            said.contains(&warning) && said.contains("conflicting server name \"a\" on 127.0.0.1:"),
            "{said}"
        );
    });
}
