//! Compressed answers, read back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use flate2::read::{GzDecoder, MultiGzDecoder};
use foregate_core::{Body, BodyError, Reply, Source, next};
use foregate_wire::Buf;

use crate::testing::{Site, error};

const GET: &str = "GET / HTTP/1.1\nHost: h";

fn html(status: u16, body: Body) -> Reply {
    let mut reply = Reply { status, body, ..Reply::default() };
    reply.fields.push(b"Content-Type", b"text/html; charset=x");
    reply
}

fn check(conf: &str, request: &str, reply: &Reply) -> bool {
    let site = Site::new(conf);
    let on = site.settings().gzip.as_ref();
    on.is_some_and(|on| super::fits(on, &site.exchange(request), reply))
}

/// All of a body.
async fn read(body: Body) -> Vec<u8> {
    let (mut source, mut all) = (body.into_source(), Vec::new());
    while let Some(bytes) = next(&mut *source).await.unwrap() {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    all
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// Pieces in order; an empty one is a pause.
struct Script(Rc<RefCell<VecDeque<Buf>>>);

impl Script {
    fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Body {
        let pieces = pieces.into_iter().map(Buf::from_vec).collect();
        Body::Source(Box::new(Self(Rc::new(RefCell::new(pieces)))))
    }
}

impl Source for Script {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        match self.0.borrow_mut().pop_front() {
            Some(bytes) if bytes.is_empty() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            piece => Poll::Ready(Ok(piece)),
        }
    }
}

#[test]
fn answers_worth_it_are_compressed() {
    let long = || Body::Bytes(Buf::from_vec(vec![b'x'; 20]));
    assert!(check("gzip on;", GET, &html(200, long())));
    assert!(check("gzip on;", GET, &html(404, long())));
    assert!(!check("gzip on;", GET, &html(500, long())));
    assert!(!check("gzip on;", GET, &html(200, Body::Bytes(Buf::from("short")))));
    assert!(check("gzip on; gzip_min_length 0;", GET, &html(200, Body::Bytes(Buf::from("short")))));
    assert!(check("gzip on;", GET, &html(200, Script::of([]))));
    assert!(!check("gzip on;", "HEAD / HTTP/1.1\nHost: h", &html(200, long())));
    assert!(!check("", GET, &html(200, long())));
    let mut css = html(200, long());
    css.fields.set(b"Content-Type", b"text/css");
    assert!(!check("gzip on;", GET, &css));
    assert!(check("gzip on; gzip_types a/b text/css; server { location / { } }", GET, &css));
    let mut brotli = html(200, long());
    brotli.fields.push(b"Content-Encoding", b"br");
    assert!(!check("gzip on;", GET, &brotli));
}

#[test]
fn the_head_says_so() {
    let site = Site::with("gzip on;", &["$gzip_ratio"], Default::default());
    let on = site.settings().gzip.as_ref().unwrap();
    let mut ex = site.exchange(GET);
    assert_eq!(site.value(&mut ex, 0), "");
    let mut reply = html(200, Body::Bytes(Buf::from_vec(vec![b'x'; 1000])));
    reply.length = Some(1000);
    reply.allow_ranges = true;
    reply.fields.push(b"ETag", b"\"a\"");
    reply.fields.push(b"Accept-Ranges", b"bytes");
    super::filter(on, &mut ex, &mut reply);
    assert_eq!(reply.fields.get(b"Content-Encoding"), Some(&b"gzip"[..]));
    assert_eq!(reply.fields.get(b"ETag"), Some(&b"W/\"a\""[..]));
    assert!(!reply.fields.contains(b"Accept-Ranges") && !reply.allow_ranges);
    let Body::Bytes(bytes) = reply.body else { panic!("a small body stays in one piece") };
    assert_eq!(unzipped(&bytes), vec![b'x'; 1000]);
    let want = (1000.0 / bytes.len() as f64 * 100.0).round() / 100.0;
    assert_eq!(site.value(&mut ex, 0), format!("{want:.2}"));
}

#[test]
fn bodies_of_all_sizes_come_back() {
    let noise = |n: usize| {
        let mut x = 1_u32;
        (0..n).map(move |_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
    };
    foregate_net::runtime::run(async move {
        let site = Site::new("gzip on; gzip_comp_level 6;");
        let on = site.settings().gzip.as_ref().unwrap();
        for (n, piece) in [(0, 1), (1, 1), (1000, 7), (300_000, 65_536), (3_000_000, 65_536), (70_000, 70_000)] {
            for random in [false, true] {
                let plain: Vec<u8> = if random { noise(n).collect() } else { vec![b'a'; n] };
                for body in [
                    Script::of(plain.chunks(piece).map(<[u8]>::to_vec)),
                    Script::of(plain.chunks(piece).flat_map(|it| [it.to_vec(), Vec::new()])),
                    Body::Bytes(Buf::from_vec(plain.clone())),
                ] {
                    let (mut ex, mut reply) = (site.exchange(GET), html(200, body));
                    super::filter(on, &mut ex, &mut reply);
                    assert!(unzipped(&read(reply.body).await) == plain, "{n} {piece} {random}");
                }
            }
        }
    })
    .unwrap();
}

#[test]
fn what_has_come_goes_out_at_a_pause() {
    let site = Site::new("gzip on;");
    let pieces: Vec<Vec<u8>> = vec![b"data: 1\n\n".to_vec(), Vec::new(), b"data: 2\n\n".to_vec()];
    let mut reply = html(200, Script::of(pieces));
    super::filter(site.settings().gzip.as_ref().unwrap(), &mut site.exchange(GET), &mut reply);
    let mut source = reply.body.into_source();
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(Some(first))) = source.poll_next(&mut cx) else { panic!("the first event is held back") };
    let mut seen = vec![0; 100];
    let n = GzDecoder::new(&first[..]).read(&mut seen).unwrap();
    assert_eq!(&seen[..n], b"data: 1\n\n");
    let Poll::Ready(Ok(Some(rest))) = source.poll_next(&mut cx) else { panic!("the rest is ready") };
    assert_eq!(unzipped(&[&first[..], &rest[..]].concat()), b"data: 1\n\ndata: 2\n\n");
    assert_eq!(source.poll_next(&mut cx), Poll::Ready(Ok(None)));
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("gzip_comp_level 10;"), "value must be between 1 and 9");
    assert_eq!(error("gzip_comp_level x;"), "invalid number");
    assert_eq!(error("gzip_window 3k;"), "\"gzip_window\" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k");
    assert_eq!(error("gzip_buffers 0 4k;"), "\"gzip_buffers\" directive invalid value");
    assert_eq!(error("gzip maybe;"), "invalid value \"maybe\" in \"gzip\" directive, it must be \"on\" or \"off\"");
    assert_eq!(error("gzip_buffers 4 4k; gzip_hash 64k; postpone_gzipping 1k; gzip_no_buffer on;"), "");
    assert_eq!(Site::new("gzip_types text/html a/b;").warnings, ["duplicate MIME type \"text/html\""]);
}
