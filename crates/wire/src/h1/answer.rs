//! What the server itself asks others: a request in one piece, and its answer, collected until it is whole. One exchange
//! to a connection.

use super::{ChunkedDecoder, Framing, ResponseHead, ResponseRules, Step, parse_response};
use crate::fields::Fields;
use crate::name::AsName;
use crate::url::Url;

/// An answer's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// An answer's body: sets of keys, metadata, directories and chains of certificates have a few KiB.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request. `fields` are whole lines without their ends.
///
/// # Errors
/// A field has a control character, so that it would be more than one.
pub fn request(method: &str, to: &Url, fields: &[String], body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", to.path, to.authority());
    head += concat!("User-Agent: foregate/", env!("CARGO_PKG_VERSION"), "\r\nConnection: close\r\n");
    for field in fields {
        if field.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("a field has a control character");
        }
        head += field;
        head += "\r\n";
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    Ok([head.as_bytes(), b"\r\n", body].concat())
}

/// A whole answer.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of that name, if it is text.
    pub fn field(&self, name: impl AsName) -> Option<&str> {
        std::str::from_utf8(self.fields.get(name)?).ok()
    }
}

/// An answer while it comes.
pub struct Collector {
    /// What nobody has looked at yet.
    rest: Vec<u8>,
    head: ResponseHead,
    rules: ResponseRules,
    answer: Answer,
    chunks: ChunkedDecoder,
    past_head: bool,
}

impl Collector {
    /// `to_head`: the request was HEAD, and no body follows.
    pub fn new(to_head: bool) -> Collector {
        Collector {
            rest: Vec::new(),
            head: ResponseHead::new(),
            rules: ResponseRules { head: to_head, ..ResponseRules::default() },
            answer: Answer::default(),
            chunks: ChunkedDecoder::new(),
            past_head: false,
        }
    }

    /// Takes what has come; the answer, once it is whole. What comes behind it is nobody's.
    ///
    /// # Errors
    /// Why it cannot be understood.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Answer>, &'static str> {
        self.rest.extend_from_slice(bytes);
        if !self.past_head && !self.take_head()? {
            return Ok(None);
        }
        let is_whole = self.take_body()?;
        if self.answer.body.len() > BODY_BYTES_MAX {
            return Err("the answer is too long");
        }
        Ok(is_whole.then(|| std::mem::take(&mut self.answer)))
    }

    /// The connection has been closed: some answers end with it.
    ///
    /// # Errors
    /// This one does not.
    pub fn close(self) -> Result<Answer, &'static str> {
        match self.head.framing {
            Framing::UntilClose if self.past_head => Ok(self.answer),
            _ if !self.past_head && self.rest.is_empty() => {
                Err("the connection was closed without an answer")
            }
            _ => Err("the answer ends before its end"),
        }
    }

    /// `false`: more must come. Heads of interim answers are passed over.
    fn take_head(&mut self) -> Result<bool, &'static str> {
        loop {
            let parsed = parse_response(&self.rest, &self.rules, &mut self.head);
            let Some(end) = parsed.map_err(|_| "the answer is not HTTP")? else {
                return match self.rest.len() > HEAD_BYTES_MAX {
                    true => Err("the answer's head is too long"),
                    false => Ok(false),
                };
            };
            if !self.head.is_interim() {
                for field in &self.head.fields {
                    self.answer.fields.push(field.name.of(&self.rest), field.value.of(&self.rest));
                }
                self.answer.status = self.head.status;
                self.past_head = true;
            }
            self.rest.drain(..end);
            if self.past_head {
                return Ok(true);
            }
            self.head.clear();
        }
    }

    /// `true`: that was the end of the body.
    fn take_body(&mut self) -> Result<bool, &'static str> {
        let body = &mut self.answer.body;
        match self.head.framing {
            Framing::Empty => return Ok(true),
            Framing::UntilClose => body.append(&mut self.rest),
            Framing::Length(length) => {
                body.append(&mut self.rest);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if body.len() >= length {
                    body.truncate(length);
                    return Ok(true);
                }
            }
            Framing::Chunked => {
                let mut at = 0;
                loop {
                    match self
                        .chunks
                        .decode(&self.rest[at..])
                        .map_err(|_| "the answer's chunks are broken")?
                    {
                        Step::Data(range) => {
                            body.extend_from_slice(&self.rest[at..][range.clone()]);
                            at += range.end;
                        }
                        Step::More => break,
                        Step::End(_) => return Ok(true),
                    }
                }
                self.rest.clear();
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of an answer that comes in pieces, behind which the connection is closed.
    fn read(text: &str, step: usize) -> Result<(u16, String), &'static str> {
        let mut collector = Collector::new(false);
        for piece in text.as_bytes().chunks(step) {
            if let Some(answer) = collector.take(piece)? {
                return Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()));
            }
        }
        collector.close().map(|it| (it.status, String::from_utf8_lossy(&it.body).into_owned()))
    }

    #[test]
    fn answers_are_read_whole_however_they_are_cut() {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nbehind";
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000));
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        for (text, want) in [
            (chunked, Ok((200, "abcde"))),
            (&chunked[..chunked.len() - 8], Err("the answer ends before its end")),
            ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", Ok((200, "ab"))),
            ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n", Ok((204, ""))),
            ("HTTP/1.0 404 No\r\n\r\nabc", Ok((404, "abc"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Err("the answer ends before its end")),
            ("HTTP/1.1 200 OK\r\nContent-", Err("the answer ends before its end")),
            (
                "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                Err("the answer's chunks are broken"),
            ),
            ("nonsense\r\n\r\n", Err("the answer is not HTTP")),
            ("", Err("the connection was closed without an answer")),
            (&long, Err("the answer is too long")),
            (&endless, Err("the answer's head is too long")),
        ] {
            let want = want.map(|(status, body)| (status, body.to_owned()));
            for step in [1, 7, 8192] {
                if text.len() / step < 100_000 {
                    assert_eq!(read(text, step), want, "{step}: {}", &text[..text.len().min(80)]);
                }
            }
        }
    }

    #[test]
    fn fields_are_found_and_requests_are_one() {
        let mut collector = Collector::new(true);
        let answer =
            collector.take(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.field("x-a"), answer.field("x-b")), (Some("b"), None));
        let to = Url::parse("http://a:8/x?y").unwrap();
        let text = request("POST", &to, &["A: b".into()], b"body").unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("POST /x?y HTTP/1.1\r\nHost: a:8\r\nUser-Agent: foregate/"), "{text}");
        assert!(text.ends_with("\r\nConnection: close\r\nA: b\r\nContent-Length: 4\r\n\r\nbody"), "{text}");
        assert!(!String::from_utf8_lossy(&request("GET", &to, &[], b"").unwrap()).contains("Content-Length"));
        assert!(request("GET", &to, &["A: b\r\nC: d".into()], b"").is_err());
    }
}
