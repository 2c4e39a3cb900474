//! Every variable for a request, and what it says.

use foregate_core::testing::House;
use foregate_core::{Exchange, Proxied};
use foregate_net::Addr;

use crate::testing::{error, value};

const POST: &str = "POST /a/b?X=1&y=%20&x=2&=z HTTP/1.1
Host: Example.com:8080
User-Agent: one
X-Two-Words: a
x-two-words: b
Cookie: sid=1; Name = two ;three=3
Cookie: four=4
Content-Type: text/plain
Content-Length: 4
Authorization: basic  dXNlcjpwYXNz

body";

#[test]
fn a_request_speaks() {
    for (template, expected) in [
        ("$request", "POST /a/b?X=1&y=%20&x=2&=z HTTP/1.1"),
        ("$request_method $request_uri $server_protocol", "POST /a/b?X=1&y=%20&x=2&=z HTTP/1.1"),
        ("$uri$is_args$args", "/a/b?X=1&y=%20&x=2&=z"),
        ("$document_uri?$query_string", "/a/b?X=1&y=%20&x=2&=z"),
        ("$host$is_request_port$request_port", "example.com:8080"),
        ("$arg_x,$arg_Y,$arg_z,$arg_", "1,%20,,"),
        ("$http_host|$http_user_agent|$http_x_two_words|$http_no", "Example.com:8080|one|a, b|"),
        ("$http_cookie", "sid=1; Name = two ;three=3; four=4"),
        ("$cookie_sid,$cookie_name,$cookie_THREE,$cookie_four,$cookie_none", "1,two ,3,4,"),
        ("$content_length $content_type $request_body", "4 text/plain body"),
        ("$remote_user", "user"),
        ("$remote_addr:$remote_port -> $server_addr:$server_port", "127.0.0.1:40000 -> 127.0.0.1:8080"),
        ("$scheme,$https,$http2,$http3", "http,,,"),
        ("$connection $connection_requests $pipe", "1 1 ."),
        ("$status $bytes_sent $body_bytes_sent '$request_completion'", "000 0 0 ''"),
        ("$server_name $nginx_version $limit_rate", "localhost 1.31.5 0"),
        ("$sent_http_connection,$sent_http_content_length,$sent_http_x,$sent_trailer_x", "keep-alive,,,"),
        ("$proxy_protocol_addr$proxy_protocol_port$proxy_protocol_tlv_alpn$tcpinfo_rtt", ""),
    ] {
        assert_eq!(value("", POST, template), expected, "{template}");
    }
    assert_eq!(value("", "GET /", "$binary_remote_addr"), "\u{7f}\0\0\u{1}");
    assert_eq!(value("", "GET /", "$request_length"), "9");
}

#[test]
fn a_user_is_told_only_by_well_formed_credentials() {
    for (credentials, expected) in [
        ("Basic dXNlcjpwYXNz", "user"),
        ("Basic dXNlcg==", ""),
        ("Basic OnBhc3M=", ""),
        ("Basic ", ""),
        ("Bearer dXNlcjpwYXNz", ""),
        ("Basic !!!!", ""),
    ] {
        let request = format!("GET / HTTP/1.1\nAuthorization: {credentials}");
        assert_eq!(value("", &request, "$remote_user"), expected, "{credentials}");
    }
}

#[test]
fn an_id_is_random_and_stays() {
    let text = value("", "GET /", "$request_id $request_id");
    let (one, two) = text.split_once(' ').unwrap();
    assert!(one == two && one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
    assert_ne!(value("", "GET /", "$request_id"), one);
}

#[test]
fn times_have_the_forms_of_logs() {
    let shape = |text: String| text.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(shape(value("", "GET /", "$request_time $connection_time")), "0.000 0.000");
    assert_eq!(shape(value("", "GET /", "$msec")), "0000000000.000");
    assert!(shape(value("", "GET /", "$time_iso8601")).starts_with("0000-00-00T00:00:00"));
    assert!(shape(value("", "GET /", "$time_local")).contains("/0000:00:00:00 "));
}

#[test]
fn args_and_limit_rate_can_be_set() {
    let mut ex = House::default().exchange("GET /?a=1");
    let set = |name: &str| crate::variable(name).and_then(|it| it.set).unwrap();
    set("args")(&mut ex, b"b=2");
    assert_eq!((&*ex.args, ex.target_holds), (&b"b=2"[..], false));
    set("limit_rate")(&mut ex, b"4k");
    set("limit_rate")(&mut ex, b"many");
    assert_eq!(ex.limit_rate, Some(4096));
    assert!(crate::variable("host").unwrap().set.is_none());
}

#[test]
fn a_proxys_header_speaks() {
    let mut conn = foregate_core::testing::connection();
    let ssl = b"\x20\0\x14\x01\0\0\0\x02\x21\0\x07TLSv1.3\x22\0\x02me";
    conn.proxied = Some(Box::new(Proxied {
        source: Addr::Ip("192.0.2.1:1234".parse().unwrap()),
        destination: Addr::Ip("[2001:db8::1]:443".parse().unwrap()),
        tlvs: [&b"\x02\0\x0bexample.org"[..], ssl, b"\xee\0\x03own"].concat(),
    }));
    let mut ex = House::default().exchange("GET /");
    ex.conn = conn.into();
    for (name, expected) in [
        ("proxy_protocol_addr", Some("192.0.2.1")),
        ("proxy_protocol_port", Some("1234")),
        ("proxy_protocol_server_addr", Some("2001:db8::1")),
        ("proxy_protocol_server_port", Some("443")),
        ("proxy_protocol_tlv_authority", Some("example.org")),
        ("proxy_protocol_tlv_0xee", Some("own")),
        ("proxy_protocol_tlv_ssl_verify", Some("2")),
        ("proxy_protocol_tlv_ssl_version", Some("TLSv1.3")),
        ("proxy_protocol_tlv_ssl_cn", Some("me")),
        ("proxy_protocol_tlv_ssl_cipher", None),
        ("proxy_protocol_tlv_alpn", None),
        ("proxy_protocol_tlv_what", None),
    ] {
        assert_eq!(get(&mut ex, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn an_answer_speaks() {
    let mut ex = House::default().exchange("GET /");
    ex.sent.status = 200;
    ex.sent.bytes = 300;
    ex.sent.head_bytes = 100;
    ex.sent.complete = true;
    ex.sent.content_length = Some(200);
    ex.sent.fields.push(b"X-Cache-Status", b"HIT");
    ex.sent.fields.push(b"Set-Cookie", b"a");
    ex.sent.fields.push(b"Set-Cookie", b"b");
    ex.keepalive = false;
    for (name, expected) in [
        ("status", "200"),
        ("bytes_sent", "300"),
        ("body_bytes_sent", "200"),
        ("request_completion", "OK"),
        ("sent_http_content_length", "200"),
        ("sent_http_x_cache_status", "HIT"),
        ("sent_http_set_cookie", "a, b"),
        ("sent_http_connection", "close"),
    ] {
        assert_eq!(get(&mut ex, name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn sizes_of_tables_are_numbers() {
    assert_eq!(error("variables_hash_max_size 2048; variables_hash_bucket_size 128;"), "");
    assert_eq!(error("variables_hash_max_size x;"), "invalid number");
}

fn get(ex: &mut Exchange, name: &str) -> Option<String> {
    let mut out = Vec::new();
    let found = match crate::variable(name) {
        Some(variable) => (variable.get)(ex, &mut out),
        None => {
            let family = crate::family(name).unwrap();
            (family.get)(ex, &name[family.name.len()..], &mut out)
        }
    };
    found.then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_variable_that_is_misspelt_is_told() {
    let advice = |conf: &str| {
        let error = crate::testing::try_with(conf, foregate_conf::Strings::default()).err().unwrap();
        assert!(error.what.starts_with("unknown \""), "{}", error.what);
        error.advice.unwrap_or_default()
    };
    assert_eq!(advice("server { root /$htpp_host; }"), "did you mean $http_host?");
    assert_eq!(advice("map $uri $mapped { default 1; } server { root /$maped; }"), "did you mean $mapped?");
    assert_eq!(advice("server { root /$quite_another_thing; }"), "");
}
