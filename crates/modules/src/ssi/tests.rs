//! Pages as they are sent.

use foregate_core::{Body, Exchange, Reply, next};
use foregate_wire::Buf;

use crate::testing::Site;

/// The answers to what pages include.
fn serve(ex: &mut Exchange) -> Option<Reply> {
    let text = match &*ex.uri {
        b"/none" => return None,
        b"/missing" => return Some(Reply::status(404)),
        b"/a" => "A".to_owned(),
        b"/long" => "x".repeat(10_000),
        _ => format!("[{}?{}]", String::from_utf8_lossy(&ex.uri), String::from_utf8_lossy(&ex.args)),
    };
    let mut reply = Reply::bytes(200, b"text/html", Buf::from_vec(text.into_bytes()));
    if ex.uri == b"/page" {
        reply.body = Body::Bytes(Buf::from("<!--#echo var='v' --><!--#set var='v' value='inner' -->"));
        let rules = super::page::Rules { silent_errors: false, value_bytes_max: 255 };
        reply.body = Body::Source(super::page::Page::new(rules, ex, &mut reply));
    }
    Some(reply)
}

/// The page as the client gets it; `!` at its end where it breaks off.
fn check(conf: &str, page: &str) -> String {
    let (conf, page) = (format!("ssi on; {conf}"), page.to_owned());
    foregate_net::runtime::run(async move {
        let site = Site::serving(&conf, serve);
        let mut ex = site.exchange("GET /dir/x.html?q=%3C HTTP/1.1\nHost: h");
        let mut reply = Reply::bytes(200, b"text/html", Buf::copy_from(page.as_bytes()));
        let on = site.settings().ssi.as_ref().unwrap();
        assert!(super::fits(on, &reply));
        if super::filter(on, &mut ex, &mut reply).await.is_err() {
            return "!".to_owned();
        }
        let (mut source, mut all) = (reply.body.into_source(), Vec::new());
        loop {
            match next(&mut *source).await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(_) => {
                    all.push(b'!');
                    break;
                }
            }
        }
        String::from_utf8(all).unwrap()
    })
    .unwrap()
}

const OOPS: &str = "[an error occurred while processing the directive]";

#[test]
fn pages_are_sent_as_written() {
    for (page, want) in [
        ("plain <!-- comment -->", "plain <!-- comment -->".to_owned()),
        ("x<!--#include virtual='/a' -->y<!--#include virtual='b?c' -->z", "xAy[/dir/b?c]z".into()),
        ("<!--#include file='f' -->", "[/dir/f?]".into()),
        ("x<!--#include virtual='/none' -->y", "xy".into()),
        ("x<!--#include virtual='/a' wait='yes' -->y", "xAy".into()),
        ("<!--#include virtual='/a' set='v' -->x<!--#echo var='v' -->", "xA".into()),
        ("<!--#set var='v' value='1' --><!--#include virtual='/missing' set='v' --><!--#echo var='v' -->", "1".into()),
        ("a<!--#include virtual='/long' set='v' -->b", "a!".into()),
        ("<!--#include virtual='/long' set='v' -->b", "!".into()),
        (
            "<!--#block name='b' -->in <!--#echo var='uri' --><!--#endblock -->x<!--#include virtual='/missing' stub='b' -->",
            "xin /missing".into(),
        ),
        ("<!--#block name='b' -->b<!--#endblock --><!--#include virtual='/a' stub='b' -->", "A".into()),
        (
            "<!--#set var='v' value='outer' --><!--#include virtual='/page' wait='yes' --><!--#echo var='v' -->",
            "outerinner".into(),
        ),
        ("<!--#echo var='arg_q' --><!--#echo var='nothing' -->", "%3C(none)".into()),
        ("<!--#set var='v' value='<&\"' --><!--#echo var='v' -->", "&lt;&amp;&quot;".into()),
        (
            "<!--#set var='v' value='<' --><!--#echo var='v' encoding='url' --><!--#echo var='v' -->",
            "%3C%3C".into(),
        ),
        ("<!--#echo var='v' default='d' encoding='none' -->", "d".into()),
        ("<!--#if expr='$arg_q' -->a<!--#else -->b<!--#endif -->c", "ac".into()),
        ("<!--#if expr='$no' -->a<!--#elif expr='$no' -->b<!--#else -->c<!--#endif -->d", "cd".into()),
        ("<!--#if expr='$no' --><!--#nonsense --><!--#endif -->d", "d".into()),
        ("<!--#nonsense -->", OOPS.into()),
        ("<!--#endif -->", OOPS.into()),
        ("<!--#echo -->", OOPS.into()),
        ("<!--#echo var='a' var='b' -->", OOPS.into()),
        ("<!--#echo vra='a' -->", OOPS.into()),
        ("<!--#include virtual='/a' file='b' -->", OOPS.into()),
        ("<!--#include virtual='/../b' -->", OOPS.into()),
        ("<!--#include virtual='/a' stub='unknown' -->", OOPS.into()),
        ("<!--#config errmsg='oops' --><!--#x- -->.", "oops.".into()),
        ("<!--#config timefmt='%%%Y' --><!--#echo var='date_gmt' -->", format!("%{}", year())),
    ] {
        assert_eq!(check("", page), want, "{page}");
    }
    assert_eq!(check("ssi_silent_errors on;", "a<!--#x -->b"), "ab");
    assert_eq!(check("ssi_value_length 3;", "<!--#echo var='long' -->"), OOPS);
}

fn year() -> String {
    foregate_core::time::strftime(foregate_core::time::now_s(), "%Y", true).unwrap()
}

#[test]
fn heads_lose_what_no_longer_holds() {
    foregate_net::runtime::run(async {
        for (conf, want) in [("", (false, None)), ("ssi_last_modified on;", (true, Some("W/\"e\"")))] {
            let site = Site::new(&format!("ssi on; {conf}"));
            let mut ex = site.exchange("HEAD / HTTP/1.1\nHost: h");
            let mut reply = Reply { status: 200, length: Some(5), ..Reply::default() };
            for (name, value) in [("Content-Type", "text/html"), ("Last-Modified", "m"), ("ETag", "\"e\"")] {
                reply.fields.push(name.as_bytes(), value.as_bytes());
            }
            let on = site.settings().ssi.as_ref().unwrap();
            assert!(super::fits(on, &reply));
            super::filter(on, &mut ex, &mut reply).await.unwrap();
            assert_eq!(reply.content_length(), None);
            let etag = reply.fields.get(b"ETag").map(|it| std::str::from_utf8(it).unwrap());
            assert_eq!((reply.fields.contains(b"Last-Modified"), etag), want);
        }
    })
    .unwrap();
}

#[test]
fn settings_are_nginx_s() {
    assert!(Site::new("ssi off;").settings().ssi.is_none());
    let site = Site::new("subrequest_output_buffer_size 8k;");
    let on = site.settings().ssi.as_ref().unwrap();
    assert_eq!((on.on, on.set_bytes_max, on.value_bytes_max), (false, 8192, 255));
}
