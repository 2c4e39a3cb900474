//! Variables of a request: as sent, as normalised, as nginx names them.

use foregate_testkit::{check, check_since};

#[test]
fn the_request_s_own_variables() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            server_name srv.example;
            location /uri { return 200 "$uri|$request_uri|$document_uri"; }
            location /args { return 200 "[$args][$query_string][$is_args][$arg_a][$arg_A][$arg_b]"; }
            location /host { return 200 "$host|$http_host|$server_name|$server_port"; }
            location /head { return 200 "[$http_x_a][$http_user_agent][$http_referer][$http_nope][$content_type]"; }
            location /cookie { return 200 "[$cookie_a][$cookie_b][$http_cookie]"; }
            location /method { return 200 "$request_method $server_protocol $scheme|$request"; }
            location /length { return 200 "[$content_length]"; }
            location /client { return 200 "$remote_addr|$binary_remote_addr"; }
            location /set { set $x a; return 200 "${x}b$x-$x"; }
            location /place { root /r/$arg_v; return 200 "$document_root|$request_filename"; }
            location /https { return 200 "[$https]"; }
            location /xff { return 200 "$proxy_add_x_forwarded_for"; }
            location /misc { return 200 "$request_completion|$pipe|$nginx_version"; }
            location ~ ^/cap/(?<name>.*)$ { return 200 "$1|$name|$2"; }
        }"#,
        &[
            ("GET /uri/a%20b//c/../d?q=1", "200 | = /uri/a b/d|/uri/a%20b//c/../d?q=1|/uri/a b/d"),
            ("GET /args?a=1&a=2&b=%20", "200 | = [a=1&a=2&b=%20][a=1&a=2&b=%20][?][1][1][%20]"),
            ("GET /args", "200 | = [][][][][][]"),
            ("GET /args?", "200 | = [][][][][][]"),
            ("GET /args?xa=1&A=2", "200 | = [xa=1&A=2][xa=1&A=2][?][2][2][]"),
            (
                "GET /host\nHost: UPPER.example:99",
                "200 | = upper.example|UPPER.example:99|srv.example|{port:0}",
            ),
            ("GET /host HTTP/1.0", "200 | = srv.example||srv.example|{port:0}"),
            ("GET http://In.Line:1/host\nHost: other", "200 | = in.line|other|srv.example|{port:0}"),
            ("GET /head\nX-A: 1\nUser-Agent: ua\nReferer: r", "200 | = [1][ua][r][][]"),
            ("GET /cookie\nCookie: a=1; b=2; ab=3", "200 | = [1][2][a=1; b=2; ab=3]"),
            ("GET /cookie\nCookie: a=1\nCookie: b=2", "200 | = [1][2][a=1; b=2]"),
            ("GET /method", "200 | = GET HTTP/1.1 http|GET /method HTTP/1.1"),
            ("POST /length\n\nabc", "200 | = [3]"),
            ("GET /client", "200 | ~ 127.0.0.1|"),
            ("GET /set", "200 | = aba-a"),
            ("GET /place/x?v=w", "200 | = /r/w|/r/w/place/x"),
            ("GET /https", "200 | = []"),
            ("GET /xff", "200 | = 127.0.0.1"),
            ("GET /xff\nX-Forwarded-For: 1.2.3.4", "200 | = 1.2.3.4, 127.0.0.1"),
            ("GET /xff\nX-Forwarded-For: a\nX-Forwarded-For: b", "200 | = a, b, 127.0.0.1"),
            ("GET /misc", "200 | ~ |.|"),
            ("GET /cap/x/y", "200 | = x/y|x/y|"),
        ],
    );
}

#[test]
fn repeated_fields_are_joined() {
    check_since(
        "1.23.0",
        r#"server { listen 127.0.0.1:{port:0}; location / { return 200 "[$http_x]"; } }"#,
        &[("GET /\nX: 1\nX: 2", "200 | = [1, 2]")],
    );
}

#[test]
fn the_kernel_is_asked_about_the_connection() {
    check(
        r#"map $tcpinfo_rtt:$tcpinfo_rttvar:$tcpinfo_snd_cwnd:$tcpinfo_rcv_space $known {
            "~^[1-9]\d*:\d+:[1-9]\d*:[1-9]\d*$" yes;
            default no;
        }
        server { listen 127.0.0.1:{port:0}; location / { return 200 $known; } }"#,
        &[("GET /", "200 | = yes")],
    );
}

#[test]
fn a_text_may_say_its_own_status() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            location /text { return 418 "$status"; }
            location /to { return 302 /$status; }
        }"#,
        &[("GET /text", "418 | = 418"), ("GET /to", "302 | Location: http://localhost:{port:0}/302")],
    );
}
