//! Wholes out of pieces.

use foregate_core::{Exchange, Reply, next};
use foregate_wire::Buf;

use crate::testing::{Site, value};

const WHOLE: &[u8] = b"0123456789abcdef";

/// An upstream that honours `$slice_range`.
fn serve(ex: &mut Exchange) -> Option<Reply> {
    let mut range = Vec::new();
    assert!(super::slice_range(ex, &mut range));
    let range = String::from_utf8(range).unwrap();
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, last): (usize, usize) = (start.parse().ok()?, last.parse().ok()?);
    let is_shorter = ex.subrequest_depth > 0 && ex.args == b"shorter";
    let whole = if is_shorter { &WHOLE[..7] } else { WHOLE };
    let end = (last + 1).min(whole.len());
    let bytes = whole.get(start..end)?;
    let mut reply = Reply::bytes(206, b"", Buf::copy_from(bytes));
    let says = format!("bytes {start}-{}/{}", end - 1, whole.len());
    reply.fields.push(b"Content-Range", says.as_bytes());
    let changed = ex.subrequest_depth > 0 && ex.args == b"changed";
    reply.fields.push(b"ETag", if changed { b"\"2\"" } else { b"\"1\"" });
    if ex.subrequest_depth > 0 && ex.args == b"status" {
        reply.status = 200;
    }
    Some(reply)
}

/// What a client gets; `!` at its end where it breaks off.
fn check(fields: &str, args: &str, part: Option<(u64, u64)>) -> String {
    let request = format!("GET /x?{args} HTTP/1.1\nHost: h{fields}");
    foregate_net::runtime::run(async move {
        let site = Site::serving("slice 4;", serve);
        let mut ex = site.exchange(&request);
        let mut reply = serve(&mut ex).unwrap();
        let on = site.settings().slice.as_ref().unwrap();
        super::filter(on, &mut ex, &mut reply).unwrap();
        assert_eq!((reply.status, reply.content_length()), (200, Some(16)));
        let (mut source, mut all) = (reply.body.into_source(), Vec::new());
        if let Some((start, end)) = part {
            assert!(source.seek(start, end));
        }
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

#[test]
fn wholes_are_put_together() {
    assert_eq!(check("", "", None), "0123456789abcdef");
    assert_eq!(check("\nRange: bytes=6-9", "", Some((6, 10))), "6789");
    // Nobody cuts what was asked for in vain.
    assert_eq!(check("\nRange: bytes=6-9", "", None), "0123456789abcdef");
    assert_eq!(check("\nRange: bytes=6-9\nIf-Range: x", "", Some((6, 10))), "6789");
    assert_eq!(check("", "", Some((15, 16))), "f");
    assert_eq!(check("", "changed", None), "0123!");
    assert_eq!(check("", "status", None), "0123!");
    assert_eq!(check("", "shorter", None), "0123456!");
}

#[test]
fn the_first_piece_is_the_one_wanted() {
    for (fields, want) in [
        ("", "bytes=0-3"),
        ("\nRange: bytes=6-9", "bytes=4-7"),
        ("\nRange: Bytes= 8-", "bytes=8-11"),
        ("\nRange: bytes=-5", "bytes=0-3"),
        ("\nRange: bytes=6-7,9-10", "bytes=0-3"),
        ("\nRange: bytes=6-9\nIf-Range: x", "bytes=0-3"),
        ("\nRange: lines=6-9", "bytes=0-3"),
        ("\nRange: bytes=99999999999999999999-", "bytes=0-3"),
    ] {
        assert_eq!(value("slice 4;", &format!("GET / HTTP/1.1\nHost: h{fields}"), "$slice_range"), want, "{fields}");
    }
    assert_eq!(value("slice 0;", "GET / HTTP/1.1\nHost: h", "$slice_range"), "");
}
