//! Cookies that come and go.

use foregate_core::Reply;

use crate::testing::{Site, error};

/// `Set-Cookie` (or nothing) and the values of `$uid_got` and `$uid_set`.
fn check(conf: &str, cookie: &str) -> (String, String, String) {
    let site = Site::with(conf, &["$uid_got", "$uid_set"], foregate_conf::Strings::default());
    let field = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}") };
    let mut ex = site.exchange(&format!("GET / HTTP/1.1\n{field}"));
    let mut reply = Reply::status(200);
    if let Some(on) = &site.settings().userid {
        super::filter(on, &mut ex, &mut reply);
    }
    let sent = reply.fields.get(b"set-cookie").unwrap_or_default();
    let sent = String::from_utf8_lossy(sent).into_owned();
    (sent, site.value(&mut ex, 0), site.value(&mut ex, 1))
}

const COOKIE: &str = "fwAAAVZzPFa0AAAAAwMEAg==";
const NUMBERS: &str = "uid=0100007F563C7356000000B402040303";

#[test]
fn a_new_client_gets_a_number() {
    let (sent, got, set) = check("userid on;", "");
    assert!(sent.starts_with("uid=fwAAA") && sent.ends_with("==; path=/"), "{sent}");
    assert!(got.is_empty() && set.starts_with("uid=0100007F") && set.len() == NUMBERS.len(), "{set}");
    let (first, ..) = check("userid on; userid_service 7;", "");
    let (second, ..) = check("userid on; userid_service 7;", "");
    assert!(first.starts_with("uid=AAAAB") && first != second, "{first}");
    let conf = "userid v1; userid_name id; userid_domain example.com; userid_path /x; userid_flags secure \
         samesite=lax; userid_expires max; userid_mark q;";
    let (sent, ..) = check(conf, "");
    let end = "; expires=Thu, 31-Dec-37 23:55:55 GMT; domain=example.com; path=/x; secure; samesite=lax";
    assert!(sent.starts_with("id=AAAAA") && sent.contains("q=; ") && sent.ends_with(end), "{sent}");
    let (sent, ..) = check("userid on; userid_expires 1d;", "");
    let time = sent.split("; expires=").nth(1).unwrap();
    assert_eq!(time.len(), "Thu, 31-Dec-37 23:55:55 GMT; path=/".len(), "{time}");
}

#[test]
fn a_known_client_keeps_its_number() {
    let known = format!("a=b; uid={COOKIE}");
    let expect = |conf: &str, sent: &str, got: &str| {
        let (was_sent, was_got, _) = check(conf, &known);
        assert_eq!((was_sent.as_str(), was_got.as_str()), (sent, got), "{conf}");
    };
    expect("userid on;", "", NUMBERS);
    expect("userid log;", "", NUMBERS);
    expect("userid off;", "", "");
    expect("userid on; userid_mark =;", "", NUMBERS);
    expect("userid on; userid_mark q;", &format!("uid={}q=; path=/", &COOKIE[..22]), NUMBERS);
    let (sent, ..) = check("userid on; map $uri $uid_reset { default 1; }", &known);
    assert!(sent.starts_with("uid=fwAAA") && !sent.contains(COOKIE), "{sent}");
}

#[test]
fn broken_cookies_are_logged() {
    for (cookie, expected) in [
        ("uid=short", "error: *1 client sent too short userid cookie \"uid=short\""),
        ("uid=!!!!!!!!!!!!!!!!!!!!!!!!", "error: *1 client sent invalid userid cookie \"uid=!!!!!!!!!!!!!!!!!!!!!!!!\""),
    ] {
        let site = Site::with("userid log;", &["$uid_got"], foregate_conf::Strings::default());
        let mut ex = site.exchange(&format!("GET / HTTP/1.1\nCookie: {cookie}"));
        assert_eq!(site.value(&mut ex, 0), "");
        assert!(site.house.logged()[0].starts_with(expected), "{:?}", site.house.logged());
    }
}

#[test]
fn mistakes() {
    for (conf, expected) in [
        ("userid maybe;", "invalid value \"maybe\""),
        ("userid_flags fast;", "invalid value \"fast\""),
        ("userid_expires x;", "\"userid_expires\" directive invalid value"),
        (
            "userid_mark ab;",
            "\"userid_mark\" directive value must be \"off\" or a single letter, digit or \"=\"",
        ),
    ] {
        assert_eq!(error(conf), expected, "{conf}");
    }
}
