//! A blocking visitor that reads whole answers: for what must be right before it is measured.

use std::io::{Read, Write};

use crate::Result;
use crate::link::Link;

const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    /// Without its chunked coding.
    pub(crate) body: Vec<u8>,
    /// Bytes of the body as they came, coding included.
    pub(crate) wire_bytes: usize,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request and reads its answer; the connection can be used again after it.
pub(crate) fn exchange(link: &mut Link, request: &[u8]) -> Result<Answer> {
    link.write_all(request).and_then(|()| link.flush()).map_err(|e| format!("cannot send: {e}"))?;
    let mut bytes = Vec::new();
    let head_bytes = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(link, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_bytes]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("no status line")?;
    let mut answer = Answer { status, head, body: bytes.split_off(head_bytes), wire_bytes: 0 };
    if status == 101 {
        return Ok(answer);
    }
    if answer.field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        let mut wire = std::mem::take(&mut answer.body);
        while !wire.ends_with(b"0\r\n\r\n") {
            more(link, &mut wire)?;
        }
        answer.wire_bytes = wire.len();
        answer.body = unchunk(&wire).ok_or("broken chunks")?;
    } else {
        let n = answer.field("content-length").and_then(|v| v.parse().ok()).ok_or("no length")?;
        while answer.body.len() < n {
            more(link, &mut answer.body)?;
        }
        if answer.body.len() > n {
            return Err(format!("{} bytes behind the answer", answer.body.len() - n));
        }
        answer.wire_bytes = n;
    }
    Ok(answer)
}

/// Reads once; the end and silence are errors.
pub(crate) fn more(link: &mut Link, into: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 64 * 1024];
    match link.read(&mut buffer) {
        Ok(0) => Err(format!("closed after {} bytes", into.len())),
        Ok(_) if into.len() > ANSWER_BYTES_MAX => Err("an endless answer".to_owned()),
        Ok(n) => {
            into.extend_from_slice(&buffer[..n]);
            Ok(())
        }
        Err(e) => Err(format!("cannot read after {} bytes: {e}", into.len())),
    }
}

fn unchunk(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = wire.windows(2).position(|w| w == b"\r\n")?;
        let n = usize::from_str_radix(std::str::from_utf8(&wire[..line]).ok()?, 16).ok()?;
        let rest = &wire[line + 2..];
        body.extend_from_slice(rest.get(..n)?);
        wire = rest.get(n..)?.strip_prefix(b"\r\n")?;
        if n == 0 {
            return wire.is_empty().then_some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_broken_ones_refused() {
        assert_eq!(unchunk(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), Some(b"abcd".to_vec()));
        for broken in ["3\r\nab\r\n0\r\n\r\n", "x\r\n", "1\r\na\r\n0\r\n\r\nmore"] {
            assert_eq!(unchunk(broken.as_bytes()), None, "{broken}");
        }
    }
}
