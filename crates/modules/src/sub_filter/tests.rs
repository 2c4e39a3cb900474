//! Strings replaced in answers.

use foregate_core::{Body, Reply, Transform, next};
use foregate_wire::Buf;

use super::search::{Pair, Search};
use crate::testing::{Site, error};

/// The body after replacement, fed in pieces of every size.
fn replaced(pairs: &[(&str, &str)], once: bool, text: &str) -> String {
    let pair = |(find, replace): &(&str, &str)| Pair {
        find: find.as_bytes().to_vec(),
        replace: replace.as_bytes().to_vec(),
        used: false,
    };
    let mut seen: Option<Vec<u8>> = None;
    for n in 1..=text.len().max(1) {
        let mut search = Search::new(pairs.iter().map(pair).collect(), once);
        let mut out = Vec::new();
        text.as_bytes().chunks(n).for_each(|it| search.feed(it, &mut out).unwrap());
        search.end(&mut out).unwrap();
        assert!(seen.as_ref().is_none_or(|it| *it == out), "pieces of {n}");
        seen = Some(out);
    }
    String::from_utf8(seen.unwrap()).unwrap()
}

#[test]
fn strings_are_replaced_wherever_they_break() {
    for (pairs, once, text, want) in [
        (&[("ab", "_")][..], false, "xabABaab", "x__a_"),
        (&[("ab", "_")], true, "xabab", "x_ab"),
        (&[("ab", "1"), ("b", "2")], false, "abba", "12a"),
        (&[("b", "2"), ("ab", "1")], false, "abba", "12a"),
        (&[("a", "1"), ("ab", "2")], false, "ab", "1b"),
        (&[("ab", "2"), ("a", "1")], false, "aab", "12"),
        (&[("a", "1"), ("b", "2")], true, "abab", "12ab"),
        (&[("aab", "_")], false, "aaab", "a_"),
        (&[("abcd", "_"), ("b", "2")], false, "abc", "a2c"),
        (&[("x", "")], false, "axxb", "ab"),
        (&[("</head>", "<i></head>")], true, "<head></HEAD>", "<head><i></head>"),
        (&[("abc", "_")], false, "ab", "ab"),
        (&[("abc", "_")], false, "", ""),
    ] {
        assert_eq!(replaced(pairs, once, text), want, "{pairs:?} {text}");
    }
}

/// The body and some fields of an html answer.
fn check(conf: &str, body: &'static str) -> (String, bool, Option<String>) {
    let conf = conf.to_owned();
    foregate_net::runtime::run(async move {
        let site = Site::new(&conf);
        let mut ex = site.exchange("GET /?x=Find HTTP/1.1\nHost: h");
        let mut reply = Reply { status: 404, body: Body::Bytes(Buf::from(body)), ..Reply::default() };
        for (name, value) in [("Content-Type", "text/html"), ("Last-Modified", "m"), ("ETag", "\"e\"")] {
            reply.fields.push(name.as_bytes(), value.as_bytes());
        }
        super::filter(site.settings().sub_filter.as_ref().unwrap(), &mut ex, &mut reply);
        let field = |name: &[u8]| reply.fields.get(name).map(|it| String::from_utf8_lossy(it).into_owned());
        let (modified, etag) = (field(b"Last-Modified").is_some(), field(b"ETag"));
        let (mut source, mut all) = (reply.body.into_source(), Vec::new());
        while let Some(bytes) = next(&mut *source).await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        (String::from_utf8(all).unwrap(), modified, etag)
    })
    .unwrap()
}

#[test]
fn answers_are_changed_as_configured() {
    assert_eq!(check("sub_filter FOO $uri;", "a foo foo"), ("a / foo".into(), false, None));
    let conf = "sub_filter $arg_x 1; sub_filter $arg_y 2; sub_filter_once off; sub_filter_last_modified on;
        server { sub_filter_types a/b; }";
    assert_eq!(check(conf, "find FIND"), ("1 1".into(), true, Some("W/\"e\"".into())));
    assert_eq!(check("sub_filter a b;", ""), (String::new(), true, Some("\"e\"".into())));
    assert_eq!(check("sub_filter $arg_y b;", "a"), ("a".into(), true, Some("\"e\"".into())));
    assert_eq!(check("sub_filter a b; server { sub_filter c d; }", "ac").0, "ad");
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("sub_filter '' b;"), "empty search pattern");
    assert_eq!(error(&"sub_filter a b;".repeat(256)), "number of search patterns exceeds 255");
    assert!(Site::new("sub_filter_once off;").settings().sub_filter.is_none());
}
