//! Records and heads, whole and in pieces.

use super::*;
use crate::buf::Buf;
use crate::h1::{Framing, ResponseHead, ResponseRules};

fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut out = vec![1, kind, 0, 1, high, low, padding, 0];
    out.extend_from_slice(content);
    out.extend(std::iter::repeat_n(b'p', usize::from(padding)));
    out
}

/// What records say, pieces of one kind put together.
fn said(bytes: &[u8], step: usize) -> Result<Vec<(char, String)>, RecordError> {
    let mut decoder = Decoder::new();
    let mut said: Vec<(char, String)> = Vec::new();
    for chunk in bytes.chunks(step) {
        let mut buf = Buf::copy_from(chunk);
        while let Some(record) = decoder.next(&mut buf)? {
            let (kind, text) = match record {
                Record::Stdout(piece) => ('o', String::from_utf8_lossy(&piece).into_owned()),
                Record::Stderr(piece) => ('e', String::from_utf8_lossy(&piece).into_owned()),
                Record::StdoutOver => ('.', String::new()),
                Record::End { .. } => ('!', String::new()),
            };
            match said.last_mut().filter(|it| it.0 == kind && kind != '.') {
                Some(last) => last.1.push_str(&text),
                None => said.push((kind, text)),
            }
        }
    }
    Ok(said)
}

#[test]
fn records_are_the_same_however_they_are_split() {
    let bytes = [
        record(7, b"PHP message", 5),
        record(6, b"Status: 200\r\n\r\nhello", 0),
        record(6, b" world", 2),
        record(7, b"", 0),
        record(6, b"", 3),
        record(3, &[0; 8], 1),
    ]
    .concat();
    let want = [('e', "PHP message"), ('o', "Status: 200\r\n\r\nhello world"), ('.', ""), ('!', "")]
        .map(|(kind, text)| (kind, text.to_owned()));
    for step in 1..=bytes.len() {
        assert_eq!(said(&bytes, step).as_deref(), Ok(&want[..]), "in pieces of {step}");
    }
}

#[test]
fn what_is_no_record_is_named_as_nginx_names_it() {
    for (bytes, want) in [
        (&b"HTTP/1.1 200 OK"[..], "upstream sent unsupported FastCGI protocol version: 72"),
        (&[1, 5], "upstream sent invalid FastCGI record type: 5"),
        (&[1, 6, 1], "upstream sent unexpected FastCGI request id high byte: 1"),
        (&[1, 6, 0, 0], "upstream sent unexpected FastCGI request id low byte: 0"),
    ] {
        let error = Decoder::new().next(&mut Buf::copy_from(bytes)).expect_err("because it is no record");
        assert_eq!(error.text(), want);
    }
}

#[test]
fn what_comes_behind_the_end_makes_it_unclean() {
    for (behind, clean) in [(&b""[..], true), (b"x", false)] {
        let mut bytes = Buf::from_vec([&record(3, &[0; 8], 0), behind].concat());
        assert_eq!(Decoder::new().next(&mut bytes), Ok(Some(Record::End { clean })));
    }
}

#[test]
fn requests_are_made_of_padded_records() {
    let mut stream = Vec::new();
    param(b"NAME", b"value", &mut stream);
    let mut out = Vec::new();
    begin(true, &mut out);
    params(&stream, &mut out);
    stdin(b"12345678", &mut out);
    out.extend_from_slice(&END_OF_STDIN);
    let want = [
        &[1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0][..],
        &[1, 4, 0, 1, 0, 11, 5, 0, 4, 5],
        b"NAMEvalue\0\0\0\0\0",
        &[1, 4, 0, 1, 0, 0, 0, 0],
        &[1, 5, 0, 1, 0, 8, 0, 0],
        b"12345678",
        &[1, 5, 0, 1, 0, 0, 0, 0],
    ];
    assert_eq!(out, want.concat());
}

#[test]
fn long_values_have_long_lengths_and_several_records() {
    let mut stream = Vec::new();
    param(b"N", &[b'v'; 128], &mut stream);
    assert_eq!(stream[..5], [1, 0x80, 0, 0, 128]);
    param(b"M", &vec![b'v'; 70_000], &mut stream);
    let mut out = Vec::new();
    params(&stream, &mut out);
    let (first, second) = (u16::from_be_bytes([out[4], out[5]]), &out[8 + 65_528..]);
    assert_eq!((first, second[1]), (65_528, 4));
    let mut out = Vec::new();
    stdin(&vec![b'b'; STDIN_BYTES_MAX + 1], &mut out);
    assert_eq!(out[8 + STDIN_BYTES_MAX..][..7], [1, 5, 0, 1, 0, 1, 7]);
}

fn head(text: &str) -> (ResponseHead, Result<Option<usize>, String>) {
    let bytes = text.as_bytes();
    let (mut whole, mut pieces) = (ResponseHead::new(), ResponseHead::new());
    let rules = ResponseRules::default();
    let done = parse_head(bytes, &rules, &mut whole);
    let split = (0..=bytes.len())
        .map(|end| parse_head(&bytes[..end], &rules, &mut pieces))
        .find(|it| !matches!(it, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(done, split, "{text}");
    (whole, done.map_err(|error| String::from_utf8_lossy(&error.text(bytes)).into_owned()))
}

#[test]
fn an_application_says_its_status_or_means_one() {
    for (text, status, line) in [
        ("Status: 404 Not Here\r\n\r\n", 404, "404 Not Here"),
        ("Status: 403\r\nX: y\r\n\r\n", 403, ""),
        ("Location: /there\n\n", 302, ""),
        ("Content-Type: text/html\r\n\r\nbody", 200, ""),
        ("\r\n", 200, ""),
    ] {
        let (head, done) = head(text);
        let said = String::from_utf8_lossy(head.status_line.of(text.as_bytes()));
        assert_eq!((head.status, &*said), (status, line), "{text}");
        assert!(matches!(done, Ok(Some(_))));
    }
    assert_eq!(head("Status: x\r\n\r\n").1, Err("upstream sent invalid status \"x\"".into()));
    assert_eq!(head("Status: 200\r\n").1, Ok(None));
}

#[test]
fn a_body_ends_with_the_request_or_where_its_length_says_so() {
    for (text, want) in [
        ("A: b\r\n\r\n", Framing::UntilClose),
        ("Content-Length: 0\r\n\r\n", Framing::Length(0)),
        ("Content-Length: 7\r\n\r\n", Framing::Length(7)),
        ("Status: 304\r\nContent-Length: 7\r\n\r\n", Framing::Empty),
    ] {
        assert_eq!(head(text).0.framing, want, "{text}");
    }
}
