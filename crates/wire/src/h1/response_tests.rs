//! Responses of upstreams: what passes, what does not, where the body ends.

use super::*;

fn parse(bytes: &[u8], head: bool) -> (Result<Option<usize>, ResponseError>, ResponseHead) {
    let mut out = ResponseHead::new();
    let rules = ResponseRules { head, ..ResponseRules::default() };
    (parse_response(bytes, &rules, &mut out), out)
}

#[test]
fn status_lines() {
    type Seen = Option<(u16, &'static [u8], Version)>;
    let cases: [(&[u8], Seen); 16] = [
        (b"HTTP/1.1 200 OK\r\n", Some((200, b"200 OK", Version::H11))),
        (b"HTTP/1.0 404\r\n", Some((404, b"404", Version::H10))),
        (b"HTTP/1.1 200 \n", Some((200, b"200 ", Version::H11))),
        (b"HTTP/1.1   500 Internal  Error\r\n", Some((500, b"500 Internal  Error", Version::H11))),
        (b"HTTP/1.1 403.1 IIS\r\n", Some((403, b"403.1 IIS", Version::H11))),
        (b"HTTP/2.0 200 OK\r\n", Some((200, b"200 OK", Version::H11))),
        (b"HTTP/1.1 000 \r\n", Some((0, b"000 ", Version::H11))),
        (b"HTTP/1.1 20\r\n", None),
        (b"HTTP/1.1 2000\r\n", None),
        (b"HTTP/1.1\r\n", None),
        (b"HTTP/0.9 200\r\n", None),
        (b"HTTP/1 200\r\n", None),
        (b"http/1.1 200\r\n", None),
        (b"HTTP/1.1 200 a\rb\r\n", None),
        (b"<html>", None),
        (b"HTTP/1.1234 200\r\n", None),
    ];
    for (line, want) in cases {
        let bytes = [line, b"\r\n"].concat();
        let (result, head) = parse(&bytes, false);
        let got = result.map(|_| (head.status, head.status_line.of(&bytes), head.version));
        assert_eq!(got, want.ok_or(ResponseError::NoStatusLine), "{}", line.escape_ascii());
    }
}

#[test]
fn framing_follows_the_rfc() {
    let cases: [(&[u8], bool, Framing, bool); 11] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", false, Framing::Length(5), true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", false, Framing::Empty, true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true, Framing::Empty, true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n", false, Framing::Chunked, true),
        (b"HTTP/1.1 200 OK\r\n", false, Framing::UntilClose, false),
        (b"HTTP/1.1 204 No\r\n", false, Framing::Empty, true),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n", false, Framing::Empty, true),
        (b"HTTP/1.1 101 Switch\r\n", false, Framing::Empty, false),
        (b"HTTP/1.1 100 Continue\r\n", false, Framing::Empty, true),
        (
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
            false,
            Framing::Length(5),
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: a, Close\r\n",
            false,
            Framing::Length(5),
            false,
        ),
    ];
    for (lines, head_request, framing, kept) in cases {
        let bytes = [lines, b"\r\nrest"].concat();
        let (result, head) = parse(&bytes, head_request);
        assert_eq!(result, Ok(Some(bytes.len() - 4)));
        assert_eq!((head.framing, head.keeps_alive()), (framing, kept), "{}", lines.escape_ascii());
    }
}

#[test]
fn contradictions_are_refused_in_nginx_s_words() {
    let cases: [(&[u8], &[u8]); 12] = [
        (
            b"Content-Length: 1\r\ncontent-length: 1\r\n",
            b"upstream sent duplicate header line: \"content-length: 1\", previous value: \"Content-Length: 1\"",
        ),
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"upstream sent duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\"",
        ),
        (
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            b"upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            b"upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (b"Content-Length: x\r\n", b"upstream sent invalid \"Content-Length\" header: \"Content-Length: x\""),
        (b"Transfer-Encoding: gzip\r\n", b"upstream sent unknown \"Transfer-Encoding\": \"gzip\""),
        (b"A B: c\r\n", b"upstream sent invalid header: \"A\\x20...\""),
        (b"A: b\rc\r\n", b"upstream sent invalid header: \"A: b\\x0d...\""),
        (b"A: b\0c\r\n", b"upstream sent invalid header: \"A: b\\x00...\""),
        (b" A: b\r\n", b"upstream sent invalid header: \"\\x20...\""),
        (b": b\r\n", b"upstream sent invalid header: \"\\x3a...\""),
        (b"A: b\r\n c\r\n", b"upstream sent invalid header: \"\\x20...\""),
    ];
    for (fields, text) in cases {
        let bytes = [b"HTTP/1.1 200 OK\r\n", fields, b"\r\n"].concat();
        let said = parse(&bytes, false).0.expect_err("because the head contradicts itself").text(&bytes);
        assert_eq!(said.escape_ascii().to_string(), text.escape_ascii().to_string());
    }
}

#[test]
fn odd_but_harmless_heads_pass() {
    let bytes =
        b"HTTP/1.1 200 OK\nHTTP/1.1 200 OK\r\nA_b(c): d \nno-colon\r\nSet-Cookie: a\r\nSet-Cookie: b\n\nbody";
    let (result, head) = parse(bytes, false);
    assert_eq!(result, Ok(Some(bytes.len() - 4)));
    let fields: Vec<_> = head.fields.iter().map(|f| (f.name.of(bytes), f.value.of(bytes))).collect();
    let want: [(&[u8], &[u8]); 4] =
        [(b"A_b(c)", b"d"), (b"no-colon", b""), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")];
    assert_eq!(fields, want);
}

#[test]
fn early_hints_need_http_11() {
    let (result, head) = parse(b"HTTP/1.1 103 Early\r\nContent-Length: x\r\n\r\n", false);
    assert!(matches!(result, Ok(Some(_))) && head.is_interim());
    assert_eq!(parse(b"HTTP/1.0 103 Early\r\n", false).0, Err(ResponseError::EarlyHintsInHttp10));
}

#[test]
fn a_response_does_not_depend_on_how_bytes_are_split() {
    let bytes = b"HTTP/1.1  200 OK\r\nHTTP/1.1 100\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (whole, at_once) = parse(bytes, false);
    let mut head = ResponseHead::new();
    for end in 0..bytes.len() {
        assert_eq!(parse_response(&bytes[..end], &ResponseRules::default(), &mut head), Ok(None));
    }
    assert_eq!(parse_response(bytes, &ResponseRules::default(), &mut head), whole);
    assert_eq!(format!("{head:?}"), format!("{at_once:?}"));
}
