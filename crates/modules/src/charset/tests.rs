//! Character sets named and texts recoded.

use foregate_core::{Body, Reply, next};
use foregate_wire::Buf;

use crate::testing::{Site, error};

const MAP: &str = "charset_map one utf-8 { 80 E282AC; C0 D18E; 41 42; }";

/// `Content-Type`, body and its announced length.
fn check(conf: &str, content_type: &str, body: &[u8]) -> (String, Vec<u8>, Option<u64>) {
    let (conf, content_type, body) = (conf.to_owned(), content_type.to_owned(), body.to_vec());
    foregate_net::runtime::run(async move {
        let site = Site::new(&conf);
        let mut ex = site.exchange("GET /?c=UTF-8 HTTP/1.1\nHost: h");
        let mut reply = Reply { status: 200, body: Body::Bytes(Buf::from_vec(body)), ..Reply::default() };
        if !content_type.is_empty() {
            reply.fields.push(b"Content-Type", content_type.as_bytes());
        }
        if let Some(on) = &site.settings().charset {
            super::filter(on, &mut ex, &mut reply);
        }
        let value = String::from_utf8_lossy(reply.fields.get(b"Content-Type").unwrap_or_default()).into_owned();
        let length = reply.content_length();
        let (mut source, mut all) = (reply.body.into_source(), Vec::new());
        while let Some(bytes) = next(&mut *source).await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        (value, all, length)
    })
    .unwrap()
}

#[test]
fn texts_get_their_character_set() {
    for (conf, content_type, want) in [
        ("charset utf-8;", "text/html", "text/html; charset=utf-8"),
        ("charset utf-8;", "image/gif", "image/gif"),
        ("charset utf-8;", "", ""),
        ("charset utf-8;", "text/html; charset=x", "text/html; charset=x"),
        ("charset utf-8; override_charset on;", "text/html;Charset=\"UTF-8\"; a=b", "text/html; charset=utf-8"),
        ("charset utf-8; server { charset off; }", "text/html", "text/html"),
        ("charset $arg_c; charset_types *;", "a/b", "a/b; charset=UTF-8"),
        ("charset $arg_d;", "text/html", "text/html"),
        ("charset a; source_charset A;", "text/html", "text/html; charset=a"),
    ] {
        let (seen, body, length) = check(conf, content_type, b"body");
        assert_eq!((seen.as_str(), &body[..], length), (want, &b"body"[..], Some(4)), "{conf} {content_type}");
    }
}

#[test]
fn redirects_get_none() {
    let site = Site::new("charset utf-8;");
    let mut reply = Reply::bytes(302, b"text/html", Buf::from("x"));
    super::filter(
        site.settings().charset.as_ref().unwrap(),
        &mut site.exchange("GET / HTTP/1.1\nHost: h"),
        &mut reply,
    );
    assert_eq!(reply.fields.get(b"Content-Type"), Some(&b"text/html"[..]));
}

#[test]
fn texts_are_recoded() {
    let html = "text/html";
    let conf = format!("{MAP} charset utf-8; source_charset one;");
    let (value, body, length) = check(&conf, html, b"a\x80\xc0\x81A");
    assert_eq!((value.as_str(), length), ("text/html; charset=utf-8", None));
    assert_eq!(body, "a\u{20ac}\u{44e}?B".as_bytes());
    let conf = format!("{MAP} charset one; source_charset utf-8;");
    let (value, body, _) = check(&conf, html, "a\u{20ac}\u{44e}\u{44f}B\u{1f600}".as_bytes());
    assert_eq!(value, "text/html; charset=one");
    assert_eq!(body, b"a\x80\xc0&#1103;B&#128512;");
    assert_eq!(check(&conf, html, b"a\xff\xc3b\xe2\x82").1, b"a??");
    let conf = "charset_map B A { 58 59; } charset A; source_charset B;";
    assert_eq!(check(conf, html, b"XYZ"), ("text/html; charset=A".into(), b"YYZ".to_vec(), Some(3)));
    let conf = format!("{MAP} charset utf-8; override_charset on;");
    assert_eq!(check(&conf, "text/html; charset=ONE", b"\x80").1, "\u{20ac}".as_bytes());
}

#[test]
fn characters_may_come_in_pieces() {
    use foregate_core::Transform;
    let site = Site::new(&format!("{MAP} charset one; source_charset utf-8;"));
    let maps = &site.settings().charset.as_ref().unwrap().maps;
    let mut recoder = maps.find(b"utf-8", b"one").unwrap().start();
    let mut out = Vec::new();
    for byte in "\u{20ac}x\u{1f600}".bytes() {
        recoder.feed(&[byte], &mut out).unwrap();
    }
    assert_eq!(out, b"\x80x&#128512;");
}

#[test]
fn what_cannot_be_recoded_is_logged() {
    let site = Site::new("charset utf-8; override_charset on;");
    let mut reply = Reply::bytes(200, b"text/html; charset=koi8-r", Buf::from("x"));
    super::filter(
        site.settings().charset.as_ref().unwrap(),
        &mut site.exchange("GET / HTTP/1.1\nHost: h"),
        &mut reply,
    );
    assert_eq!(reply.fields.get(b"Content-Type"), Some(&b"text/html; charset=koi8-r"[..]));
    let want = "error: *1 no \"charset_map\" between the charsets \"koi8-r\" and \"utf-8\", ";
    assert!(site.house.logged()[0].starts_with(want));
}

#[test]
fn errors_are_nginx_s() {
    for (conf, want) in [
        ("charset a; source_charset b;", "no \"charset_map\" between the charsets \"b\" and \"a\""),
        ("charset a; charset b;", "\"charset\" directive is duplicate"),
        ("charset_map a A { }", "\"charset_map\" between the same charsets \"a\" and \"A\""),
        (
            "charset_map utf-8 a { }",
            "\"charset_map\" with \"utf-8\" charset should be given in the second column",
        ),
        ("charset_map a b { } charset_map B A { }", "duplicate \"charset_map\" between \"B\" and \"A\""),
        ("charset_map a b { 1 2 3; }", "invalid parameters number"),
        ("charset_map a b { 100 2; }", "invalid value \"100\""),
        ("charset_map a b { 1 x; }", "invalid value \"x\""),
        ("charset_map a utf-8 { 1 F09F9880; }", "invalid value \"F09F9880\""),
        ("charset_map a utf-8 { 1 112233445566; }", "invalid value \"112233445566\""),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
}
