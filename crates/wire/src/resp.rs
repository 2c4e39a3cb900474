//! RESP2, what Redis and its kin speak: commands out, replies in; knows no socket.
//!
//! ```text
//! command = "*" n CRLF n( "$" length CRLF bytes CRLF )
//! reply   = "+" text CRLF | "-" text CRLF | ":" number CRLF | "$" length CRLF bytes CRLF | "*" n CRLF n( reply )
//! ```
//!
//! A length of -1 is a null. (redis.io, Redis serialization protocol specification, version 2.)

/// The longest line of a reply: texts, errors, numbers and lengths.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// The longest string of a reply.
pub const BULK_BYTES_MAX: usize = 1 << 20;
/// Members of a list, at most.
pub const LIST_LEN_MAX: usize = 1 << 16;
/// Lists within lists.
pub const DEPTH_MAX: usize = 5;

/// Appends a command with its arguments.
pub fn command(args: &[&[u8]], out: &mut Vec<u8>) {
    length(b'*', args.len(), out);
    for arg in args {
        length(b'$', arg.len(), out);
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn length(kind: u8, n: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Text(Vec<u8>),
    /// The server's refusal, which begins with a word in capitals.
    Error(Vec<u8>),
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    Null,
}

/// What came is no reply, or one that is larger than any we ask for: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    Malformed,
    TooLarge,
}

impl ReplyError {
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "it does not speak Redis's protocol",
            Self::TooLarge => "its reply is too large",
        }
    }
}

/// The first reply in `bytes` and how many of them it takes; `None`: it is not whole yet.
///
/// # Errors
/// It never will be one.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let mut at = 0;
    match reply(bytes, &mut at, 0) {
        Ok(reply) => Ok(Some((reply, at))),
        Err(Stop::More) => Ok(None),
        Err(Stop::Broken(why)) => Err(why),
    }
}

/// Why there is no reply.
enum Stop {
    More,
    Broken(ReplyError),
}

const MALFORMED: Stop = Stop::Broken(ReplyError::Malformed);
const TOO_LARGE: Stop = Stop::Broken(ReplyError::TooLarge);

fn reply(bytes: &[u8], at: &mut usize, depth: usize) -> Result<Reply, Stop> {
    let kind = *bytes.get(*at).ok_or(Stop::More)?;
    if !b"+-:$*".contains(&kind) {
        return Err(MALFORMED);
    }
    *at += 1;
    let text = line(bytes, at)?;
    Ok(match kind {
        b'+' => Reply::Text(text.to_vec()),
        b'-' => Reply::Error(text.to_vec()),
        b':' => Reply::Number(number(text)?),
        b'$' => match size(text, BULK_BYTES_MAX)? {
            None => Reply::Null,
            Some(n) => Reply::Bytes(bulk(bytes, at, n)?.to_vec()),
        },
        _ => match size(text, LIST_LEN_MAX)? {
            None => Reply::Null,
            Some(_) if depth == DEPTH_MAX => return Err(TOO_LARGE),
            Some(n) => {
                // Not reserved ahead: a length is only what a stranger says.
                let mut list = Vec::new();
                for _ in 0..n {
                    list.push(reply(bytes, at, depth + 1)?);
                }
                Reply::List(list)
            }
        },
    })
}

/// Up to the next CRLF, and past it.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().take(LINE_BYTES_MAX + 1).position(|b| matches!(b, b'\r' | b'\n')) else {
        return Err(if rest.len() > LINE_BYTES_MAX { TOO_LARGE } else { Stop::More });
    };
    match (rest[end], rest.get(end + 1)) {
        (b'\r', Some(b'\n')) => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        (b'\r', None) => Err(Stop::More),
        _ => Err(MALFORMED),
    }
}

fn bulk<'a>(bytes: &'a [u8], at: &mut usize, n: usize) -> Result<&'a [u8], Stop> {
    let rest = &bytes[*at..];
    let end = &rest[rest.len().min(n)..];
    if !b"\r\n".starts_with(&end[..end.len().min(2)]) {
        return Err(MALFORMED);
    }
    if end.len() < 2 {
        return Err(Stop::More);
    }
    *at += n + 2;
    Ok(&rest[..n])
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(text).ok().and_then(|it| it.parse().ok()).ok_or(MALFORMED)
}

/// A length; `None`: of nothing.
fn size(text: &[u8], max: usize) -> Result<Option<usize>, Stop> {
    match number(text)? {
        -1 => Ok(None),
        n if n < 0 => Err(MALFORMED),
        n => usize::try_from(n).ok().filter(|it| *it <= max).map(Some).ok_or(TOO_LARGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lists_of_strings() {
        let mut out = Vec::new();
        command(&[b"SET", b"k", b"a\r\nb"], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n");
    }

    #[test]
    fn replies_are_read_however_they_are_split() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        for (text, want) in [
            ("+OK\r\n", Reply::Text(bytes("OK"))),
            ("-NOSCRIPT no\r\n", Reply::Error(bytes("NOSCRIPT no"))),
            (":-12\r\n", Reply::Number(-12)),
            ("$4\r\na\r\nb\r\n", Reply::Bytes(bytes("a\r\nb"))),
            ("$0\r\n\r\n", Reply::Bytes(bytes(""))),
            ("$-1\r\n", Reply::Null),
            ("*-1\r\n", Reply::Null),
            ("*0\r\n", Reply::List(vec![])),
            (
                "*2\r\n:1\r\n*1\r\n+a\r\n",
                Reply::List(vec![Reply::Number(1), Reply::List(vec![Reply::Text(bytes("a"))])]),
            ),
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{text:?} until {end}");
            }
            let more = [text.as_bytes(), b":1\r\n"].concat();
            assert_eq!(parse(&more), Ok(Some((want, text.len()))), "{text:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        use ReplyError::{Malformed, TooLarge};
        for (text, why) in [
            ("HTTP/1.1 200 OK\r\n", Malformed),
            ("+a\n", Malformed),
            (":1x\r\n", Malformed),
            (":\r\n", Malformed),
            ("$-2\r\n", Malformed),
            ("$1\r\nab\r\n", Malformed),
            ("$1048577\r\n", TooLarge),
            ("*65537\r\n", TooLarge),
            ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", TooLarge),
            ("*99999999999999999999\r\n", Malformed),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(why), "{text:?}");
        }
        assert_eq!(parse(&[b'+'; LINE_BYTES_MAX + 2]), Err(TooLarge));
    }
}
