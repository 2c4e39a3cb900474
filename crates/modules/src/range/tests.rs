//! Ranges of bodies of every kind.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use foregate_core::{Body, BodyError, FileSlice, Reply, Source, next};
use foregate_wire::Buf;

use crate::testing::{Site, error};

const TEXT: &str = "0123456789";

/// A stream that comes in pieces of three bytes.
struct Stream(&'static str);

impl Source for Stream {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        let (now, later) = self.0.split_at(self.0.len().min(3));
        self.0 = later;
        Poll::Ready(Ok((!now.is_empty()).then(|| Buf::from(now))))
    }

    fn len(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

fn bytes() -> Body {
    Body::Bytes(Buf::from(TEXT))
}

fn reply(body: Body) -> Reply {
    let mut reply = Reply { status: 200, body, mtime: Some(784_111_777), allow_ranges: true, ..Reply::default() };
    reply.fields.push(b"Content-Type", b"text/x");
    reply.fields.push(b"ETag", b"\"a\"");
    reply
}

fn filter(conf: &str, fields: &str, mut reply: Reply) -> Reply {
    let site = Site::new(conf);
    let ex = site.exchange(&format!("GET / HTTP/1.1\n{fields}"));
    let on = site.settings().range.as_ref().expect("because it is resolved everywhere");
    super::filter(on, &ex, &mut reply);
    reply
}

fn text(body: Body) -> String {
    let mut source = body.into_source();
    let mut text = String::new();
    loop {
        match pin!(next(&mut *source)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(bytes))) => text.push_str(&String::from_utf8_lossy(&bytes)),
            _ => return text,
        }
    }
}

fn field(reply: &Reply, name: &str) -> String {
    String::from_utf8_lossy(reply.fields.get(name.as_bytes()).unwrap_or(b"-")).into_owned()
}

/// `206 bytes 1-2/10: 12`, `200 bytes` for a whole with `Accept-Ranges`.
fn check(conf: &str, fields: &str, body: Body) -> String {
    let reply = filter(conf, fields, reply(body));
    if reply.status == 200 {
        return format!("200 {}", field(&reply, "Accept-Ranges"));
    }
    assert_eq!(reply.content_length(), reply.body.len());
    assert_eq!(field(&reply, "Accept-Ranges"), "-");
    format!("{} {}: {}", reply.status, field(&reply, "Content-Range"), text(reply.body))
}

#[test]
fn one_part_is_cut_out() {
    for (range, want) in [
        ("bytes=0-2", "206 bytes 0-2/10: 012"),
        ("BYTES=8-", "206 bytes 8-9/10: 89"),
        ("bytes=-3", "206 bytes 7-9/10: 789"),
        ("bytes=-30", "206 bytes 0-9/10: 0123456789"),
        ("bytes=4-400", "206 bytes 4-9/10: 456789"),
        ("bytes=5-5,20-", "206 bytes 5-5/10: 5"),
        ("bytes=20-", "416 bytes */10: "),
        ("bytes=x", "416 bytes */10: "),
        ("bytes=1-2 3-4", "416 bytes */10: "),
        ("lines=1-2", "200 bytes"),
        ("bytes=", "200 bytes"),
        ("bytes=0-9,0-9", "200 bytes"),
    ] {
        assert_eq!(check("", &format!("Range: {range}"), bytes()), want, "{range}");
    }
    assert_eq!(check("", "Host: a", bytes()), "200 bytes");
}

#[test]
fn files_and_streams_are_cut_as_bytes_are() {
    let path = std::env::temp_dir().join(format!("foregate-range-{}", std::process::id()));
    std::fs::write(&path, format!("xx{TEXT}yy")).expect("because tests may write to the temporary folder");
    let file = Arc::new(std::fs::File::open(&path).expect("because it was written above"));
    _ = std::fs::remove_file(&path);
    let file = || Body::File(FileSlice::new(file.clone(), 2, 12));
    let stream = || Body::Source(Box::new(Stream(TEXT)));
    for (range, want) in [
        ("bytes=0-2", "206 bytes 0-2/10: 012"),
        ("bytes=2-6", "206 bytes 2-6/10: 23456"),
        ("bytes=9-", "206 bytes 9-9/10: 9"),
    ] {
        let range = format!("Range: {range}");
        assert_eq!(check("", &range, file()), want, "{range}");
        assert_eq!(check("", &range, stream()), want, "{range}");
    }
    let parts = filter("", "Range: bytes=0-0,9-9", reply(file()));
    assert!(text(parts.body).contains("Content-Range: bytes 9-9/10\r\n\r\n9\r\n--"));
    assert_eq!(check("", "Range: bytes=0-0,9-9", stream()), "200 bytes");
}

#[test]
fn several_parts_come_in_nginx_s_form() {
    let reply = filter("", "Range: bytes=0-1,-1", reply(bytes()));
    assert_eq!((reply.status, field(&reply, "Content-Range")), (206, "-".to_owned()));
    let content_type = field(&reply, "Content-Type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
    assert!(boundary.len() == 20 && boundary.bytes().all(|b| b.is_ascii_digit()), "{content_type}");
    let part = |place, bytes| {
        format!("\r\n--{boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes {place}/10\r\n\r\n{bytes}")
    };
    let want = format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("9-9", "9"));
    assert_eq!(reply.content_length(), Some(want.len() as u64));
    assert_eq!(text(reply.body), want);
}

#[test]
fn a_head_gets_the_lengths_alone() {
    let head = || Reply { length: Some(10), ..reply(Body::Empty) };
    let one = filter("", "Range: bytes=1-2", head());
    assert_eq!((one.status, one.content_length()), (206, Some(2)));
    let whole = filter("", "Range: bytes=0-1,-1", reply(bytes()));
    let several = filter("", "Range: bytes=0-1,-1", head());
    assert_eq!((several.status, several.content_length()), (206, whole.content_length()));
}

#[test]
fn the_number_of_parts_is_limited() {
    assert_eq!(check("max_ranges 0;", "Range: bytes=0-1", bytes()), "200 -");
    assert_eq!(check("max_ranges 1;", "Range: bytes=0-1,2-2", bytes()), "200 bytes");
    assert_eq!(filter("max_ranges 2;", "Range: bytes=0-1,2-2,90-", reply(bytes())).status, 206);
}

#[test]
fn if_range_must_name_this_version() {
    let check = |if_range: &str| filter("", &format!("Range: bytes=0-1\nIf-Range: {if_range}"), reply(bytes())).status;
    assert_eq!(check("\"a\""), 206);
    assert_eq!(check("W/\"a\""), 200);
    assert_eq!(check("\"b\""), 200);
    assert_eq!(check("Sun, 06 Nov 1994 08:49:37 GMT"), 206);
    assert_eq!(check("Sun, 06 Nov 1994 08:49:38 GMT"), 200);
    assert_eq!(check("nonsense"), 200);
}

#[test]
fn only_what_may_be_cut_is_cut() {
    let status = |reply| filter("", "Range: bytes=0-1", reply).status;
    assert_eq!(status(Reply { allow_ranges: false, ..reply(bytes()) }), 200);
    assert_eq!(status(Reply { status: 404, ..reply(bytes()) }), 404);
    let empty = filter("", "Range: bytes=0-1", reply(Body::Empty));
    assert_eq!((empty.status, field(&empty, "Accept-Ranges")), (200, "bytes".to_owned()));
}

#[test]
fn a_416_keeps_only_what_it_is_about() {
    let reply = filter("", "Range: bytes=10-", reply(bytes()));
    assert!(reply.bare);
    let names: Vec<_> = reply.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["Content-Range"]);
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("max_ranges many;"), "invalid number");
}
