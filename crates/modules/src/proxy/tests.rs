//! `proxy_pass` as written: what is understood and what is refused, in nginx's words.

use crate::testing::{Site, error};

fn in_location(location: &str, inside: &str) -> String {
    error(&format!("server {{ location {location} {{ {inside} }} }}"))
}

#[test]
fn mistakes_are_named_as_nginx_names_them() {
    for (location, inside, want) in [
        ("/", "proxy_pass http://127.0.0.1:1/;", ""),
        ("/", "proxy_pass 127.0.0.1;", "invalid URL prefix"),
        ("/", "proxy_pass http://;", "no host in upstream \"\""),
        ("/", "proxy_pass http://127.0.0.1:x;", "invalid port in upstream \"127.0.0.1:x\""),
        ("~ x", "proxy_pass http://127.0.0.1:1/a;", NO_URI),
        ("@x", "proxy_pass http://127.0.0.1:1/;", NO_URI),
        ("/", "if ($uri) { proxy_pass http://127.0.0.1:1/; }", NO_URI),
        ("~ x", "proxy_pass http://127.0.0.1:1/$1;", ""),
        ("/", "proxy_redirect default;", DEFAULT_FIRST),
        ("/", "proxy_pass http://$host; proxy_redirect default;", DEFAULT_VARIABLE),
        ("/", "proxy_redirect nonsense;", "invalid parameter \"nonsense\""),
        ("/", "proxy_redirect off; proxy_redirect a b;", "\"proxy_redirect\" directive is duplicate"),
        ("/", "proxy_buffers 1 4k;", "there must be at least 2 \"proxy_buffers\""),
        ("/", "proxy_next_upstream sometimes;", "invalid value \"sometimes\""),
        ("/", "proxy_bind nonsense;", "invalid address \"nonsense\""),
        ("/", "proxy_pass https://127.0.0.1:1; proxy_ssl_verify on;", NO_TRUST),
        ("/", "proxy_pass http://127.0.0.1:1; proxy_pass http://127.0.0.1:2;", TWICE),
    ] {
        assert_eq!(in_location(location, inside), want, "location {location} {{ {inside} }}");
    }
}

const NO_URI: &str = "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named \
                      location, or inside \"if\" statement, or inside \"limit_except\" block";
const DEFAULT_FIRST: &str = "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive";
const DEFAULT_VARIABLE: &str =
    "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
const NO_TRUST: &str = "no proxy_ssl_trusted_certificate for proxy_ssl_verify";
const TWICE: &str = "\"proxy_pass\" directive is duplicate";

#[test]
fn an_if_passes_on_where_its_location_does() {
    let site = Site::new("server { location /a/ { proxy_pass http://127.0.0.1:1/b/; if ($uri) { set $x 1; } } }");
    assert!(site.settings().proxy.is_some());
    let site = Site::new("server { location /a/ { proxy_pass http://127.0.0.1:1; location /a/b { internal; } } }");
    assert!(site.settings().proxy.is_none());
}

#[test]
fn a_port_beside_an_upstreams_name_is_refused() {
    let conf = "upstream u { server 127.0.0.1:1; } server { location / { proxy_pass http://u:80; } }";
    assert_eq!(error(conf), "upstream \"u\" may not have port 80");
}

#[test]
fn the_future_of_a_request_stays_small() {
    let site = Site::new("server { location / { proxy_pass http://127.0.0.1:1; } }");
    let mut ex = site.exchange("GET / HTTP/1.1\nHost: a");
    let on = site.settings().proxy.as_ref().expect("because it passes on");
    let bytes = std::mem::size_of_val(&super::run(on, &mut ex));
    assert!(bytes <= FUTURE_BYTES_MAX, "{bytes}");
}

/// Every exchange holds one such future while it waits.
const FUTURE_BYTES_MAX: usize = 2304;
