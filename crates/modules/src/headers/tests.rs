//! Fields of answers under configurations.

use foregate_core::Reply;
use foregate_wire::{Buf, Fields, date};

use crate::testing::{Site, error};

const GET: &str = "GET /a?x=1 HTTP/1.1\nHost: h";

fn filtered(conf: &str, request: &str, mut reply: Reply) -> Reply {
    let site = Site::new(conf);
    let mut ex = site.exchange(request);
    if let Some(on) = &site.settings().headers {
        super::filter(on, &mut ex, &mut reply);
    }
    reply
}

fn text(fields: &Fields) -> String {
    let one = |(name, value): (&[u8], &[u8])| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The fields of a plain answer of this status.
fn check(conf: &str, status: u16) -> String {
    text(&filtered(conf, GET, Reply::status(status)).fields)
}

fn reply_with(fields: &[(&str, &str)]) -> Reply {
    let mut reply = Reply::bytes(200, b"", Buf::from("body"));
    reply.fields.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    reply
}

#[test]
fn headers_are_added_to_good_answers_and_always() {
    assert_eq!(check("add_header X-A \"$arg_x y\"; add_header X-Empty $arg_z;", 200), "X-A: 1 y");
    assert_eq!(check("add_header X-A 1; add_header X-B 2 always;", 404), "X-B: 2");
    assert_eq!(check("add_header X-A 1;", 308), "X-A: 1");
    assert_eq!(check("add_header X-A 1;", 202), "");
}

#[test]
fn levels_replace_or_merge() {
    assert_eq!(check("add_header A 1; server { location / { } }", 200), "A: 1");
    assert_eq!(check("add_header A 1; server { add_header B 2; }", 200), "B: 2");
    assert_eq!(check("add_header A 1; server { add_header B 2; add_header_inherit merge; }", 200), "B: 2; A: 1");
    assert_eq!(check("add_header A 1; add_header_inherit merge; server { add_header B 2; }", 200), "B: 2; A: 1");
    assert_eq!(check("add_header A 1; server { add_header_inherit off; }", 200), "");
    assert_eq!(check("add_header A 1; server { location / { if ($a) { add_header B 2; } } }", 200), "B: 2");
}

#[test]
fn some_names_take_the_place_of_what_is_there() {
    let reply = || reply_with(&[("ETag", "\"a\""), ("Last-Modified", "x"), ("Cache-Control", "private")]);
    let conf = "add_header etag '\"b\"'; add_header Last-Modified ''; add_header Cache-Control public;";
    assert_eq!(
        text(&filtered(conf, GET, reply()).fields),
        "Cache-Control: private; etag: \"b\"; Cache-Control: public"
    );
    let reply = filtered("add_header Last-Modified 'Thu, 01 Jan 1970 00:00:09 GMT';", GET, reply());
    assert_eq!(reply.mtime, Some(9));
}

#[test]
fn expires_says_until_when() {
    assert_eq!(check("expires off;", 200), "");
    assert_eq!(check("expires epoch;", 404), "");
    let epoch = "Expires: Thu, 01 Jan 1970 00:00:01 GMT; Cache-Control: no-cache";
    assert_eq!(check("expires epoch;", 200), epoch);
    assert_eq!(check("expires $arg_x$arg_y;", 200).split("; ").nth(1), Some("Cache-Control: max-age=1"));
    assert_eq!(check("expires $uri;", 200), "");
    let max = "Expires: Thu, 31 Dec 2037 23:55:55 GMT; Cache-Control: max-age=315360000";
    assert_eq!(check("expires max; server { location / { } }", 200), max);
    assert!(check("expires -1;", 200).ends_with("Cache-Control: no-cache"));
    assert!(check("expires 1h;", 200).ends_with("Cache-Control: max-age=3600"));
    assert!(check("expires @1h;", 200).contains("Cache-Control: max-age="));
    assert_eq!(check("expires 1h; server { expires off; }", 200), "");
}

#[test]
fn values_see_the_answer() {
    let reply = || reply_with(&[("Content-Type", "text/css"), ("X-Up", "1"), ("X-Up", "2")]);
    let conf = "map $sent_http_content_type $until { text/css max; default off; } expires $until; \
                add_header X-Seen \"$status $sent_http_x_up $sent_http_content_length $sent_http_x_seen\";";
    let fields = text(&filtered(conf, GET, reply()).fields);
    assert!(fields.contains("Expires: Thu, 31 Dec 2037"), "{fields}");
    assert!(fields.ends_with("X-Seen: 200 1, 2 4 "), "{fields}");
}

#[test]
fn expires_may_start_from_last_modified() {
    let mut reply = reply_with(&[("Cache-Control", "a"), ("Cache-Control", "b")]);
    reply.mtime = Some(0);
    let reply = filtered("expires modified 1h;", GET, reply);
    let fields = text(&reply.fields);
    assert_eq!(fields, "Cache-Control: no-cache; Expires: Thu, 01 Jan 1970 01:00:00 GMT");
    let far = "Thu, 31 Dec 2037 23:55:55 GMT";
    let reply = filtered("expires modified -1s;", GET, reply_with(&[("Last-Modified", far)]));
    assert_eq!(reply.fields.get(b"Cache-Control"), Some(&b"no-cache"[..]));
    let before = date::parse(far.as_bytes()).map(|it| date::format(it - 1).to_vec());
    assert_eq!(reply.fields.get(b"Expires"), before.as_deref());
}

#[test]
fn trailers_follow_the_body() {
    let conf = "add_trailer X-T $arg_x; add_trailer X-Empty ''; add_trailer X-Sent $sent_trailer_x_t always;";
    let check = |request: &str, status: u16| {
        let site = Site::new(conf);
        let on = site.settings().headers.as_ref().unwrap();
        let mut ex = site.exchange(request);
        let mut reply = Reply { status, ..reply_with(&[]) };
        super::make_room(on, &ex, &mut reply);
        ex.sent.status = status;
        super::trailers(&mut ex);
        (reply.content_length(), text(&ex.sent.trailers))
    };
    assert_eq!(check(GET, 200), (None, "X-T: 1; X-Sent: 1".into()));
    assert_eq!(check("GET / HTTP/1.0\nHost: h", 200).0, Some(4));
    assert_eq!(check("HEAD / HTTP/1.1\nHost: h", 200).0, Some(4));
    assert_eq!(check("GET / HTTP/2.0\nHost: h", 200).0, Some(4));
    assert_eq!(check(GET, 404), (None, String::new()));
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("add_header A b c;"), "invalid parameter \"c\"");
    assert_eq!(error("add_header A;"), "invalid number of arguments in \"add_header\" directive");
    assert_eq!(error("add_header_inherit maybe;"), "invalid value \"maybe\"");
    assert_eq!(error("expires 1h; expires 2h;"), "\"expires\" directive is duplicate");
    assert_eq!(error("expires soon;"), "\"expires\" directive invalid value");
    assert_eq!(error("expires changed 1h;"), "\"expires\" directive invalid value");
    assert_eq!(error("expires @25h;"), "\"expires\" directive daily time value must be less than 24 hours");
    assert_eq!(error("add_header A $no_such;"), "unknown \"no_such\" variable");
}
