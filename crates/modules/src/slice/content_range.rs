//! `Content-Range` of a piece, and whether it is the piece that was asked for.

use std::ops::Range;

use foregate_core::Reply;

/// A piece of a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Range<u64>,
    /// Bytes of the whole.
    pub(super) whole: u64,
}

/// The piece that an answer holds, or why it is not the one that begins at `start`, as nginx says it.
pub(super) fn check(reply: &Reply, start: u64, size: u64) -> Result<Part, String> {
    let said = reply.fields.get(b"Content-Range").and_then(parse);
    let (bytes, whole) = said.ok_or("invalid range in slice response")?;
    let whole = whole.ok_or("no complete length in slice response")?;
    let end = bytes.start.saturating_add(size).min(whole);
    if bytes.start != start || bytes.end != end {
        return Err(format!(
            "unexpected range in slice response: {}-{}, expected: {start}-{end}",
            bytes.start, bytes.end
        ));
    }
    Ok(Part { bytes, whole })
}

/// `bytes 0-99/1000`; the end is turned into the byte behind. `*` is a whole of unknown length.
fn parse(value: &[u8]) -> Option<(Range<u64>, Option<u64>)> {
    let value = std::str::from_utf8(value.strip_prefix(b"bytes ")?).ok()?;
    let (range, whole) = value.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        let text = text.trim_matches(' ');
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?.filter(|it: &u64| *it <= i64::MAX as u64)
    };
    let whole = match whole.trim_matches(' ') {
        "*" => None,
        whole => Some(number(whole)?),
    };
    Some((number(first)?..number(last)? + 1, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(value: &str, start: u64) -> Result<(u64, u64, u64), String> {
        let mut reply = Reply::default();
        reply.fields.push(b"Content-Range", value.as_bytes());
        check(&reply, start, 10).map(|it| (it.bytes.start, it.bytes.end, it.whole))
    }

    #[test]
    fn pieces_are_checked() {
        for (value, start, want) in [
            ("bytes 0-9/100", 0, Ok((0, 10, 100))),
            ("bytes  10 - 19 / 100 ", 10, Ok((10, 20, 100))),
            ("bytes 90-94/95", 90, Ok((90, 95, 95))),
            ("bytes 0-9/*", 0, Err("no complete length in slice response")),
            ("bytes */100", 0, Err("invalid range in slice response")),
            ("bytes", 0, Err("invalid range in slice response")),
            ("bytes 0-9", 0, Err("invalid range in slice response")),
            ("bytes 0--9/100", 0, Err("invalid range in slice response")),
            ("bytes 0-9/99999999999999999999", 0, Err("invalid range in slice response")),
            ("bytes 0-8/100", 0, Err("unexpected range in slice response: 0-9, expected: 0-10")),
            ("bytes 0-9/100", 10, Err("unexpected range in slice response: 0-10, expected: 10-10")),
            ("bytes 9-0/100", 9, Err("unexpected range in slice response: 9-1, expected: 9-19")),
        ] {
            assert_eq!(seen(value, start), want.map_err(str::to_owned), "{value}");
        }
    }
}
