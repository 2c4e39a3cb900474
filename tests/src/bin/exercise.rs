//! Does one thing many times, for tools that count what it costs: `exercise request|response|template TIMES`.

use std::hint::black_box;

use foregate_conf::{Span, Word};
use foregate_core::{Exchange, Template, Variable, Variables, testing};
use foregate_wire::h1::{
    RequestHead, RequestRules, ResponseHead, ResponseRules, parse_request, parse_response,
};

/// As a browser sends it.
const REQUEST: &[u8] = b"GET /some/page.html?with=a&query=string HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/some/page\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; lang=en\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Cache-Control: max-age=0\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Sat, 21 Nov 2026 09:21:48 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Last-Modified: Fri, 20 Nov 2026 10:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"655b2f40-400\"\r\n\
    Cache-Control: private, max-age=60\r\n\
    Vary: Accept-Encoding\r\n\
    Accept-Ranges: bytes\r\n\r\n";

const TEMPLATE: &str = "$method http://example.com:8080$uri?from=$uri&how=${method}";

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let times: usize = args.next().and_then(|it| it.parse().ok()).unwrap_or(1);
    match what.as_str() {
        "request" => request(times),
        "response" => response(times),
        "template" => template(times),
        _ => panic!("usage: exercise request|response|template TIMES"),
    }
}

fn request(times: usize) {
    let (rules, mut head) = (RequestRules::default(), RequestHead::new());
    for _ in 0..times {
        head.clear();
        let parsed = parse_request(black_box(REQUEST), &rules, &mut head);
        assert!(matches!(parsed, Ok(Some(n)) if n == REQUEST.len()), "{parsed:?}");
    }
}

fn response(times: usize) {
    let (rules, mut head) = (ResponseRules::default(), ResponseHead::new());
    for _ in 0..times {
        head.clear();
        let parsed = parse_response(black_box(RESPONSE), &rules, &mut head);
        assert!(matches!(parsed, Ok(Some(n)) if n == RESPONSE.len()), "{parsed:?}");
    }
}

fn template(times: usize) {
    let variables = Variables::new(provided, |_| None);
    let word = Word::new(TEMPLATE.into(), Span::default(), false);
    let Ok(template) = Template::compile(&word, &variables) else {
        panic!("because its variables are known")
    };
    let mut ex = testing::exchange("GET /some/page.html HTTP/1.1\nHost: example.com");
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        template.fill(black_box(&mut ex), &mut out);
    }
    assert!(out.ends_with(b"how=GET"));
}

fn provided(name: &str) -> Option<&'static Variable> {
    static KNOWN: [Variable; 2] = [Variable::new("method", method), Variable::new("uri", uri)];
    KNOWN.iter().find(|it| it.name == name)
}

fn method(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.method_name);
    true
}

fn uri(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&ex.uri);
    true
}
