//! Heads as nginx 1.31.5 took or refused them: every row was asked of the real one.

use super::*;
use crate::method::Method;
use crate::span::Span;

type Refused = (u16, &'static [u8]);

/// Request lines, each followed by `Host: h`: `$request_uri`, `$host`, `$server_protocol`.
type LineSeen = Result<(&'static [u8], &'static [u8], &'static [u8]), Refused>;

#[rustfmt::skip]
const LINES: &[(&[u8], LineSeen)] = &[
    (b"\r\n\r\nGET / HTTP/1.1", Ok((b"/", b"h", b"HTTP/1.1"))),
    (b"\nGET / HTTP/1.1", Ok((b"/", b"h", b"HTTP/1.1"))),
    (b"get / HTTP/1.1", Err((400, b"client sent invalid method"))),
    (b"G_-T / HTTP/1.1", Ok((b"/", b"h", b"HTTP/1.1"))),
    (b"GET1 / HTTP/1.1", Err((400, b"client sent invalid method"))),
    (b" GET / HTTP/1.1", Err((400, b"client sent invalid method"))),
    (b"GET\t/ HTTP/1.1", Err((400, b"client sent invalid method"))),
    (b"GET  /  HTTP/1.1  ", Ok((b"/", b"h", b"HTTP/1.1  "))),
    (b"OPTIONS * HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET * HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/1.2", Ok((b"/", b"h", b"HTTP/1.2"))),
    (b"GET / HTTP/1.999", Ok((b"/", b"h", b"HTTP/1.999"))),
    (b"GET / HTTP/1.1000", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/2.0", Err((505, b"client sent invalid version"))),
    (b"GET / HTTP/10.1", Err((505, b"client sent invalid version"))),
    (b"GET / HTTP/1", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/1.", Err((400, b"client sent invalid request"))),
    (b"GET / http/1.1", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/1.1x", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/1.1\r", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/01.1", Err((400, b"client sent invalid request"))),
    (b"GET / HTTP/1.01", Ok((b"/", b"h", b"HTTP/1.01"))),
    (b"GET /a b HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET /\x00 HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET /\x7f HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET /?\x01 HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET http://a.b/x?y HTTP/1.1", Ok((b"/x?y", b"a.b", b"HTTP/1.1"))),
    (b"GET http://a.b HTTP/1.1", Ok((b"/", b"a.b", b"HTTP/1.1"))),
    (b"GET http://a.b?q HTTP/1.1", Ok((b"?q", b"a.b", b"HTTP/1.1"))),
    (b"GET http://A.b:81/x HTTP/1.1", Ok((b"/x", b"a.b", b"HTTP/1.1"))),
    (b"GET http://a.b:/x HTTP/1.1", Ok((b"/x", b"a.b", b"HTTP/1.1"))),
    (b"GET http:///x HTTP/1.1", Err((400, b"client sent invalid host in request line"))),
    (b"GET http://a_b/x HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET http://[::1]:80/x HTTP/1.1", Ok((b"/x", b"[::1]", b"HTTP/1.1"))),
    (b"GET http://u@h/x HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET http:/h/x HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET ht_tp://h/x HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET a+b.c-1://h/x HTTP/1.1", Ok((b"/x", b"h", b"HTTP/1.1"))),
    (b"GET http://a.b:99999/x HTTP/1.1", Err((400, b"client sent invalid host in request line"))),
    (b"GET http://a..b/x HTTP/1.1", Err((400, b"client sent invalid host in request line"))),
    (b"GET http://h#f HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"GET http://[::1 HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"CONNECT a.b HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"CONNECT a.b: HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"CONNECT /x HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"CONNECT a.b:443/ HTTP/1.1", Err((400, b"client sent invalid request"))),
    (b"CONNECT :443 HTTP/1.1", Err((400, b"client sent invalid host in request line"))),
];

/// Fields behind `GET / HTTP/1.1`: `$host`, `$http_x_y` of the first X-Y.
type FieldsSeen = Result<(&'static [u8], &'static [u8]), Refused>;

#[rustfmt::skip]
const FIELDS: &[(&[u8], FieldsSeen)] = &[
    (b"Host: h\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX-Y: a\r\n", Ok((b"h", b"a"))),
    (b"Host: h\r\nX-Y : a\r\n", Err((400, b"client sent invalid header line: \"X-Y\\x20...\""))),
    (b"Host: h\r\nX-Y\t: a\r\n", Err((400, b"client sent invalid header line: \"X-Y\\x09...\""))),
    (b"Host: h\r\n X-Y: a\r\n", Err((400, b"client sent invalid header line: \"\\x20...\""))),
    (b"Host: h\r\nX-Y: a\r\n b\r\n", Err((400, b"client sent invalid header line: \"\\x20...\""))),
    (b"Host: h\r\nX-Y\r\n", Ok((b"h", b""))),
    (b"Host: h\r\n: a\r\n", Err((400, b"client sent invalid header line: \"\\x3a...\""))),
    (b"Host: h\r\nX-Y:\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX-Y:  a  b  \r\n", Ok((b"h", b"a  b"))),
    (b"Host: h\r\nX-Y:\ta\t\r\n", Ok((b"h", b"\ta\t"))),
    (b"Host: h\r\nX-Y: a\x00b\r\n", Err((400, b"client sent invalid header line: \"X-Y: a\\x00...\""))),
    (b"Host: h\r\nX-Y: a\x01b\r\n", Ok((b"h", b"a\x01b"))),
    (b"Host: h\r\nX-Y: \x00\r\n", Err((400, b"client sent invalid header line: \"X-Y: \\x00...\""))),
    (b"Host: h\r\nX-Y: a \x00\r\n", Err((400, b"client sent invalid header line: \"X-Y: a \\x00...\""))),
    (b"Host: h\r\nX-Y: a\rb\r\n", Err((400, b"client sent invalid header line: \"X-Y: a\\x0d...\""))),
    (b"Host: h\r\nX-Y: a\r\r\n", Ok((b"h", b"a"))),
    (b"Host: h\r\nX-Y: a\r\r\r\n", Ok((b"h", b"a"))),
    (b"Host: h\r\nX_Y: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\n_Y: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX(Y: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX\xffY: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX\x01Y: a\r\n", Err((400, b"client sent invalid header line: \"X\\x01...\""))),
    (b"Host: h\r\nX\x00Y: a\r\n", Err((400, b"client sent invalid header line: \"X\\x00...\""))),
    (b"Host: h\r\nX\x7fY: a\r\n", Err((400, b"client sent invalid header line: \"X\\x7f...\""))),
    (b"Host: h\r\n\rX", Err((400, b"client sent invalid header line: \"\\x0d...\""))),
    (b"Host: h\r\nX Y: a\r\n", Err((400, b"client sent invalid header line: \"X\\x20...\""))),
    (b"Host: h\r\nX.Y: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nX-Y: a\nX-Y: b\n", Ok((b"h", b"a, b"))),
    (b"Host: h\r\nX-Y\rZ: a\r\n", Err((400, b"client sent invalid header line: \"X-Y\\x0d...\""))),
    (b"", Err((400, b"client sent HTTP/1.1 request without \"Host\" header"))),
    (b"Host: h\r\nHost: h\r\n", Err((400, b"client sent duplicate host header: \"Host: h\", previous value: \"Host: h\""))),
    (b"Host:\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a/b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a@b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a..b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: .\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: [::1\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a:b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a:65535\r\n", Ok((b"a", b""))),
    (b"Host: a:65536\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: [::1]x\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a%41\r\n", Ok((b"a%41", b""))),
    (b"Host: a_b~!\r\n", Ok((b"a_b~!", b""))),
    (b"Host: a\xff\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: .a\r\n", Ok((b".a", b""))),
    (b"Host: []\r\n", Ok((b"[]", b""))),
    (b"Host: [::1.]\r\n", Ok((b"[::1.]", b""))),
    (b"Host: [a..b]\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a\"b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: a[b\r\n", Err((400, b"client sent invalid host header"))),
    (b"Host: h\r\nContent-Length: 0\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n", Err((400, b"client sent duplicate header line: \"Content-Length: 0\", previous value: \"Content-Length: 0\""))),
    (b"Host: h\r\nContent-Length: 0, 0\r\n", Err((400, b"client sent invalid \"Content-Length\" header"))),
    (b"Host: h\r\nContent-Length: +1\r\n", Err((400, b"client sent invalid \"Content-Length\" header"))),
    (b"Host: h\r\nContent-Length: -1\r\n", Err((400, b"client sent invalid \"Content-Length\" header"))),
    (b"Host: h\r\nContent-Length:\r\n", Err((400, b"client sent invalid \"Content-Length\" header"))),
    (b"Host: h\r\nContent-Length: 9223372036854775808\r\n", Err((400, b"client sent invalid \"Content-Length\" header"))),
    (b"Host: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n", Err((400, b"client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"))),
    (b"Host: h\r\nTransfer-Encoding: Chunked\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", Err((501, b"client sent unknown \"Transfer-Encoding\": \"gzip, chunked\""))),
    (b"Host: h\r\nTransfer-Encoding: identity\r\n", Err((501, b"client sent unknown \"Transfer-Encoding\": \"identity\""))),
    (b"Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err((400, b"client sent duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\""))),
    (b"Host: h\r\nTransfer-Encoding: chunked,\r\n", Err((501, b"client sent unknown \"Transfer-Encoding\": \"chunked,\""))),
    (b"Host: h\r\nTransfer-Encoding:\tchunked\r\n", Err((501, b"client sent unknown \"Transfer-Encoding\": \"\tchunked\""))),
    (b"Host: h\r\nTransfer-Encoding:\r\n", Err((501, b"client sent unknown \"Transfer-Encoding\": \"\""))),
    (b"Host: h\r\nTransfer_Encoding: chunked\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nContent-Length: 00\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n", Err((400, b"client sent duplicate header line: \"Expect: 100-continue\", previous value: \"Expect: 100-continue\""))),
    (b"Host: h\r\nAuthorization: a\r\nauthorization: a\r\n", Err((400, b"client sent duplicate header line: \"authorization: a\", previous value: \"Authorization: a\""))),
    (b"Host: h\r\nIf-Range: a\r\nIf-Range: a\r\n", Err((400, b"client sent duplicate header line: \"If-Range: a\", previous value: \"If-Range: a\""))),
    (b"Host: h\r\nRange: a\r\nRange: a\r\n", Ok((b"h", b""))),
    (b"Host: h\r\nProxy-Authorization: a\r\nProxy-Authorization: a\r\n", Err((400, b"client sent duplicate header line: \"Proxy-Authorization: a\", previous value: \"Proxy-Authorization: a\""))),
    (b"Host: h\r\nIf-Match: a\r\nIf-Match: a\r\n", Err((400, b"client sent duplicate header line: \"If-Match: a\", previous value: \"If-Match: a\""))),
    (b"Host: h\r\nIf-None-Match: a\r\nIf-None-Match: a\r\n", Err((400, b"client sent duplicate header line: \"If-None-Match: a\", previous value: \"If-None-Match: a\""))),
    (b"Host: h\r\nIf-Modified-Since: a\r\nIf-Modified-Since: a\r\n", Err((400, b"client sent duplicate header line: \"If-Modified-Since: a\", previous value: \"If-Modified-Since: a\""))),
    (b"Host: h\r\nIf-Unmodified-Since: a\r\nIf-Unmodified-Since: a\r\n", Err((400, b"client sent duplicate header line: \"If-Unmodified-Since: a\", previous value: \"If-Unmodified-Since: a\""))),
    (b"Host: h\r\nContent-Range: a\r\nContent-Range: a\r\n", Err((400, b"client sent duplicate header line: \"Content-Range: a\", previous value: \"Content-Range: a\""))),
    (b"Host: h\r\nContent-Type: a\r\nContent-Type: a\r\n", Ok((b"h", b""))),
];

fn parse(bytes: &[u8]) -> (Result<Option<usize>, RequestError>, RequestHead) {
    let mut head = RequestHead::new();
    (parse_request(bytes, &RequestRules::default(), &mut head), head)
}

fn check_refused(bytes: &[u8], error: RequestError, (status, text): Refused) {
    let said = error.text(bytes);
    assert_eq!((error.status(), said.as_slice()), (status, text), "{}", bytes.escape_ascii());
}

fn host_of(bytes: &[u8], head: &RequestHead) -> Vec<u8> {
    head.host.map_or(Vec::new(), |host| host.name.of(bytes).to_ascii_lowercase())
}

#[test]
fn request_lines_are_taken_and_refused_as_nginx_does() {
    for &(line, seen) in LINES {
        let bytes = [line, b"\r\nHost: h\r\n\r\n"].concat();
        match (parse(&bytes), seen) {
            ((Ok(Some(len)), head), Ok((uri, host, protocol))) => {
                assert_eq!(len, bytes.len());
                let got = (head.uri.of(&bytes), host_of(&bytes, &head), head.protocol.of(&bytes));
                assert_eq!(got, (uri, host.to_vec(), protocol), "{}", line.escape_ascii());
                assert_eq!(head.line.of(&bytes), line.trim_ascii_start());
            }
            ((Err(error), _), Err(refused)) => check_refused(&bytes, error, refused),
            (got, _) => panic!("{}: {got:?}", line.escape_ascii()),
        }
    }
}

#[test]
fn fields_are_taken_and_refused_as_nginx_does() {
    for &(fields, seen) in FIELDS {
        let bytes = [b"GET / HTTP/1.1\r\n", fields, b"\r\n"].concat();
        match (parse(&bytes), seen) {
            ((Ok(Some(len)), head), Ok((host, x_y))) => {
                assert_eq!(len, bytes.len());
                let values = head.fields.iter().filter(|f| f.name.of(&bytes).eq_ignore_ascii_case(b"x-y"));
                let joined = values.map(|f| f.value.of(&bytes)).collect::<Vec<_>>().join(&b", "[..]);
                assert_eq!(
                    (host_of(&bytes, &head), joined),
                    (host.to_vec(), x_y.to_vec()),
                    "{}",
                    fields.escape_ascii()
                );
            }
            ((Err(error), _), Err(refused)) => check_refused(&bytes, error, refused),
            (got, _) => panic!("{}: {got:?}", fields.escape_ascii()),
        }
    }
}

#[test]
fn a_result_does_not_depend_on_how_bytes_are_split() {
    let lines = LINES.iter().map(|&(line, _)| [line, b"\r\nHost: h\r\n\r\nrest"].concat());
    let fields = FIELDS.iter().map(|&(fields, _)| [b"GET / HTTP/1.1\r\n", fields, b"\r\nrest"].concat());
    for bytes in lines.chain(fields) {
        let (whole, at_once) = parse(&bytes);
        let mut head = RequestHead::new();
        let bit_by_bit = (0..=bytes.len())
            .map(|end| parse_request(&bytes[..end], &RequestRules::default(), &mut head))
            .find(|result| !matches!(result, Ok(None)));
        assert_eq!(bit_by_bit, Some(whole), "{}", bytes.escape_ascii());
        assert_eq!(format!("{head:?}"), format!("{at_once:?}"));
    }
}

#[test]
fn http_09_has_no_fields() {
    for (bytes, uri) in
        [(&b"GET /a?b\r\nmore"[..], &b"/a?b"[..]), (b"GET / \nmore", b"/"), (b"GET http://h?a\r\n", b"?a")]
    {
        let (result, head) = parse(bytes);
        let line_end = bytes.iter().position(|&byte| byte == b'\n');
        assert_eq!(result, Ok(line_end.map(|at| at + 1)));
        assert_eq!((head.version, head.uri.of(bytes), head.protocol.len()), (Version::H09, uri, 0));
        assert!(!head.keeps_alive());
    }
    assert_eq!(parse(b"POST /\r\n").0, Err(RequestError::InvalidMethodInHttp09));
    assert_eq!(parse(b"GET http://h\r\n").0, Err(RequestError::InvalidRequest));
    assert_eq!(parse(b"CONNECT a.b:443\r\n").0, Err(RequestError::InvalidRequest));
}

#[test]
fn wrong_bytes_are_refused_before_the_line_is_complete() {
    assert_eq!(parse(b"\x16\x03\x01").0, Err(RequestError::InvalidMethod));
    assert_eq!(parse(b"PRI * HT").0, Err(RequestError::InvalidRequest));
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nA B").0,
        Err(RequestError::InvalidField { line: Span::new(16, 17) })
    );
    assert_eq!(parse(b"\r\n\r\n").0, Ok(None));
}

#[test]
fn connect_names_an_authority() {
    let bytes = b"CONNECT  A.b:443  HTTP/1.1\r\nHost: h\r\n\r\n";
    let (result, head) = parse(bytes);
    assert_eq!(result, Ok(Some(bytes.len())));
    assert_eq!(
        (head.method, head.uri.of(bytes), head.target.of(bytes)),
        (Method::Connect, &b"/"[..], &b"A.b:443"[..])
    );
    assert_eq!(head.host.map(|host| (host.port, host.has_upper)), Some((443, true)));
    assert_eq!(host_of(bytes, &head), b"a.b");
}

#[test]
fn the_target_in_absolute_form_is_taken_apart() {
    let bytes = b"GET HTTP://[::1]:81?q HTTP/1.0\r\n\r\n";
    let (result, head) = parse(bytes);
    assert_eq!(result, Ok(Some(bytes.len())));
    assert_eq!((head.scheme.of(bytes), head.target.of(bytes)), (&b"HTTP"[..], &b"HTTP://[::1]:81?q"[..]));
    assert_eq!(head.authority.map(|span| span.of(bytes)), Some(&b"[::1]:81"[..]));
    assert!(head.empty_path && head.needs_normalising());
}

#[test]
fn irregular_paths_are_told_apart() {
    let cases: [(&[u8], bool, bool); 10] = [
        (b"/a/b.c?//../%41", false, false),
        (b"/a.b/c", false, false),
        (b"//", true, false),
        (b"/a/.b", true, false),
        (b"/a%41", false, true),
        (b"/a#b", true, false),
        (b"/a?b#c", true, false),
        (b"/a?%41", false, false),
        (b"/", false, false),
        (b"/%2e//", true, true),
    ];
    for (uri, irregular, quoted) in cases {
        let (_, head) = parse(&[b"GET ", uri, b" HTTP/1.0\r\n\r\n"].concat());
        assert_eq!((head.irregular_path, head.quoted_path), (irregular, quoted), "{}", uri.escape_ascii());
    }
}

#[test]
fn switches_decide_about_irregular_names() {
    let bytes = b"GET / HTTP/1.0\r\nA_b: 1\r\nC.d: 2\r\nE: 3\r\n\r\n";
    let kept = |underscores, ignore_invalid| {
        let mut head = RequestHead::new();
        let rules = RequestRules { underscores, ignore_invalid, ..RequestRules::default() };
        assert_eq!(parse_request(bytes, &rules, &mut head), Ok(Some(bytes.len())));
        let dropped: Vec<_> = head.dropped.iter().map(|line| line.of(bytes).to_vec()).collect();
        (head.fields.len(), dropped)
    };
    assert_eq!(kept(false, true), (1, vec![b"A_b: 1".to_vec(), b"C.d: 2".to_vec()]));
    assert_eq!(kept(true, true), (2, vec![b"C.d: 2".to_vec()]));
    assert_eq!(kept(false, false), (3, vec![]));
}

#[test]
fn the_number_of_fields_is_limited() {
    let rules = RequestRules { fields_max: 2, ..RequestRules::default() };
    let bytes = b"GET / HTTP/1.0\r\nA: 1\r\n_: dropped\r\nB: 2\r\nC: 3\r\n\r\n";
    let mut head = RequestHead::new();
    let error = parse_request(bytes, &rules, &mut head);
    assert_eq!(error, Err(RequestError::TooManyFields));
    assert_eq!(RequestError::TooManyFields.status(), 494);
    assert!(!head.in_request_line());
}

#[test]
fn framing_and_connection_are_understood() {
    let bytes = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nExpect: 100-Continue\r\n\r\n";
    let (_, head) = parse(bytes);
    assert_eq!((head.content_length, head.chunked, head.has_body()), (Some(12), false, true));
    assert_eq!(head.upgrade.map(|span| span.of(bytes)), Some(&b"websocket"[..]));
    assert!(head.expect_continue && head.keeps_alive());
    let keeps = |head: &[u8]| parse(&[head, b"\r\n\r\n"].concat()).1.keeps_alive();
    assert!(!keeps(b"GET / HTTP/1.0") && keeps(b"GET / HTTP/1.0\r\nConnection: Keep-Alive"));
    assert!(!keeps(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE"));
    assert!(keeps(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: keep-alive"));
}

#[test]
fn a_head_is_reused() {
    let mut head = RequestHead::new();
    let rules = RequestRules::default();
    let first = b"POST http://h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse_request(first, &rules, &mut head), Ok(Some(first.len())));
    assert!(head.chunked && head.has_body());
    head.clear();
    let second = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(parse_request(second, &rules, &mut head), Ok(Some(second.len())));
    assert_eq!(format!("{head:?}"), format!("{:?}", parse(second).1));
}
