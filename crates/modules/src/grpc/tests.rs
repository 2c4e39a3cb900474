//! `grpc_pass` as written, and what a server is told.

use foregate_wire::h2::client::Draft;

use crate::testing::{Site, error};

#[test]
fn mistakes_are_named_as_nginx_names_them() {
    for (inside, want) in [
        ("grpc_pass 127.0.0.1:9000;", ""),
        ("grpc_pass grpc://127.0.0.1:9000;", ""),
        ("grpc_pass GRPCS://127.0.0.1:9000;", ""),
        ("grpc_pass unix:/run/s.sock;", ""),
        ("grpc_pass grpc://unix:/run/s.sock;", ""),
        ("grpc_pass $host;", ""),
        ("grpc_pass $name;", "unknown \"name\" variable"),
        ("grpc_pass grpc://127.0.0.1;", "no port in upstream \"127.0.0.1\""),
        ("grpc_pass 127.0.0.1:9000/x;", "invalid host in upstream \"127.0.0.1:9000/x\""),
        ("grpc_pass a:1; grpc_pass a:1;", "\"grpc_pass\" directive is duplicate"),
        ("grpc_set_header A;", "invalid number of arguments in \"grpc_set_header\" directive"),
        (
            "grpc_pass grpcs://127.0.0.1:1; grpc_ssl_verify on;",
            "no grpc_ssl_trusted_certificate for grpc_ssl_verify",
        ),
        ("grpc_next_upstream never;", "invalid value \"never\""),
        ("grpc_pass a:1; health_check type=grpc mandatory persistent;", ""),
        ("grpc_pass a:1; health_check type=grpc grpc_service=s grpc_status=12;", ""),
        ("grpc_pass a:1; health_check;", "\"health_check\" beside \"grpc_pass\" needs \"type=grpc\""),
        (
            "grpc_pass a:1; health_check grpc_status=12 type=grpc;",
            "\"grpc_status=12\" must stand behind \"type=grpc\"",
        ),
        ("grpc_pass a:1; health_check type=grpc uri=/x;", "\"uri=/x\" has no meaning with \"type=grpc\""),
        ("grpc_pass a:1; health_check type=grpc grpc_status=17;", "invalid parameter \"grpc_status=17\""),
        ("proxy_pass http://a:1; health_check type=grpc;", NEEDS_GRPC),
        ("health_check type=grpc;", NEEDS_PASS),
    ] {
        let upstream = "upstream a { server 127.0.0.1:1; }";
        let inside = inside.replace("a:1", "a");
        let seen = error(&format!("{upstream} server {{ location / {{ {inside} }} }}"));
        assert_eq!(seen, want, "{inside}");
    }
}

const NEEDS_GRPC: &str = "\"health_check\" with \"type=grpc\" needs a \"grpc_pass\" in its location";
const NEEDS_PASS: &str = "\"health_check\" needs a \"proxy_pass\" without variables in its location";

fn told(conf: &str, request: &str) -> Vec<String> {
    let site = Site::new(&format!("server {{ location / {{ grpc_pass 127.0.0.1:1; {conf} }} }}"));
    let mut ex = site.exchange(request);
    let on = site.settings().grpc.as_ref().expect("because it passes on");
    let mut out = Vec::new();
    on.fields.draft(&mut ex, "127.0.0.1:1", &mut out);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Draft::new(&out).fields().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
}

#[test]
fn servers_are_told_what_the_configuration_and_the_client_say() {
    let request = "POST /a HTTP/1.1\nHost: site\nTE: trailers\nContent-Length: 5\nConnection: x\nA: 1\nB: 2\n\nhello";
    assert_eq!(
        told("", request),
        [":authority=127.0.0.1:1", "content-length=5", "te=trailers", "A=1", "B=2"]
    );
    let conf = "grpc_set_header Host custom; grpc_set_header TE ''; grpc_set_header B $arg_no; grpc_set_header C c; grpc_set_header Connection upgrade;";
    assert_eq!(told(conf, request), [":authority=custom", "C=c", "content-length=5", "A=1"]);
}

#[test]
fn an_if_passes_on_where_its_location_does() {
    let site = Site::new("server { location /a/ { grpc_pass 127.0.0.1:1; if ($uri) { set $x 1; } } }");
    assert!(site.settings().grpc.is_some());
    let site = Site::new("server { location /a/ { grpc_pass 127.0.0.1:1; location /a/b { internal; } } }");
    assert!(site.settings().grpc.is_none());
}
