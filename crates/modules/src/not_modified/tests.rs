//! Conditions and what becomes of a reply.

use foregate_core::Reply;
use foregate_wire::Buf;

use crate::testing::{Site, error};

/// What the reply says has last been modified.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn reply(tag: &str) -> Reply {
    let mut reply = Reply::bytes(200, b"text/plain", Buf::from("body"));
    reply.mtime = Some(784_111_777);
    reply.allow_ranges = true;
    reply.fields.push(b"Last-Modified", MODIFIED.as_bytes());
    reply.fields.push(b"Content-Encoding", b"gzip");
    if !tag.is_empty() {
        reply.fields.push(b"ETag", tag.as_bytes());
    }
    reply
}

fn filter(conf: &str, fields: &str, mut reply: Reply) -> Reply {
    let site = Site::new(conf);
    let ex = site.exchange(&format!("GET / HTTP/1.1\n{fields}"));
    let on = site.settings().not_modified.as_ref().expect("because it is resolved everywhere");
    super::filter(on, &ex, &mut reply);
    reply
}

fn check(conf: &str, fields: &str) -> u16 {
    filter(conf, fields, reply("\"a\"")).status
}

#[test]
fn times_are_compared() {
    for (conf, fields, want) in [
        ("", "Host: a".to_owned(), 200),
        ("", format!("If-Modified-Since: {MODIFIED}"), 304),
        ("", format!("If-Modified-Since: {LATER}"), 200),
        ("", format!("If-Modified-Since: {EARLIER}"), 200),
        ("", "If-Modified-Since: nonsense".to_owned(), 200),
        ("if_modified_since before;", format!("If-Modified-Since: {LATER}"), 304),
        ("if_modified_since before;", format!("If-Modified-Since: {MODIFIED}"), 304),
        ("if_modified_since before;", format!("If-Modified-Since: {EARLIER}"), 200),
        ("if_modified_since before;", "If-Modified-Since: nonsense".to_owned(), 200),
        ("if_modified_since off;", format!("If-Modified-Since: {MODIFIED}"), 200),
        ("", format!("If-Unmodified-Since: {MODIFIED}"), 200),
        ("", format!("If-Unmodified-Since: {LATER}"), 200),
        ("", format!("If-Unmodified-Since: {EARLIER}"), 412),
        ("", "If-Unmodified-Since: nonsense".to_owned(), 412),
    ] {
        assert_eq!(check(conf, &fields), want, "{conf} {fields}");
    }
}

#[test]
fn tags_are_compared() {
    for (fields, want) in [
        ("If-None-Match: \"a\"", 304),
        ("If-None-Match: W/\"a\"", 304),
        ("If-None-Match: \"b\"", 200),
        ("If-None-Match: \"b\", \"c\",\t\"a\" , \"d\"", 304),
        ("If-None-Match: \"b\",, W/\"a\"", 304),
        ("If-None-Match: \"a\"x, \"b\"", 200),
        ("If-None-Match: *", 304),
        ("If-None-Match: *,", 200),
        ("If-None-Match: ", 200),
        ("If-Match: \"a\"", 200),
        ("If-Match: W/\"a\"", 412),
        ("If-Match: \"b\"", 412),
        ("If-Match: \"b\", \"a\" ", 200),
        ("If-Match: *", 200),
    ] {
        assert_eq!(check("", fields), want, "{fields}");
    }
}

#[test]
fn a_weak_tag_matches_weakly_only() {
    assert_eq!(filter("", "If-None-Match: \"a\"", reply("W/\"a\"")).status, 304);
    assert_eq!(filter("", "If-Match: \"a\"", reply("W/\"a\"")).status, 412);
    assert_eq!(filter("", "If-Match: W/\"a\"", reply("W/\"a\"")).status, 200);
    assert_eq!(filter("", "If-Match: \"a\"", reply("")).status, 412);
    assert_eq!(filter("", "If-None-Match: \"a\"", reply("")).status, 200);
}

#[test]
fn both_conditions_must_hold() {
    let both = |tag: &str, since: &str| check("", &format!("If-None-Match: {tag}\nIf-Modified-Since: {since}"));
    assert_eq!(both("\"a\"", MODIFIED), 304);
    assert_eq!(both("\"b\"", MODIFIED), 200);
    assert_eq!(both("\"a\"", EARLIER), 200);
}

#[test]
fn a_304_keeps_what_describes_the_copy() {
    let reply = filter("", "If-None-Match: *", reply("\"a\""));
    let names: Vec<_> = reply.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["Last-Modified", "ETag"]);
    assert!(reply.body.is_empty() && !reply.allow_ranges && !reply.bare);
}

#[test]
fn a_412_starts_anew() {
    let reply = filter("", "If-Match: \"b\"", reply("\"a\""));
    assert!(reply.bare && reply.fields.is_empty() && reply.body.is_empty());
}

#[test]
fn only_what_is_ours_to_judge_is_judged() {
    let mut judged = reply("\"a\"");
    judged.conditions_judged = true;
    assert_eq!(filter("", "If-None-Match: *", judged).status, 200);
    let mut missing = reply("\"a\"");
    missing.status = 404;
    assert_eq!(filter("", "If-Match: \"b\"", missing).status, 404);
    let timeless = Reply { mtime: None, ..reply("") };
    assert_eq!(filter("if_modified_since before;", &format!("If-Modified-Since: {LATER}"), timeless).status, 200);
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("if_modified_since on;"), "invalid value \"on\"");
}
