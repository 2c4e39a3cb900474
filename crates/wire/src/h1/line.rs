//! The request line: method, target in its three forms, version (RFC 9112, section 3).

use super::Version;
use super::error::RequestError;
use super::request::RequestHead;
use crate::host;
use crate::method::Method;
use crate::span::Span;
use crate::target::{CLASS, DOT, END, FORBIDDEN, HASH, PERCENT, PLAIN, QUESTION, SLASH};

/// A minor version above this takes no further digit, as in nginx.
const MINOR_MAX: u32 = 99;

/// Either the line is not complete yet, or it is wrong.
enum Stop {
    Partial,
    Wrong(RequestError),
}

impl From<RequestError> for Stop {
    fn from(error: RequestError) -> Stop {
        Stop::Wrong(error)
    }
}

/// Reads the request line, skipping empty lines before it, and returns where the next line starts.
/// A line that is wrong as far as it has come is refused at once: a TLS handshake need not send a line feed.
pub(super) fn parse(bytes: &[u8], head: &mut RequestHead) -> Result<Option<usize>, RequestError> {
    match (Cursor { bytes, at: head.parsed }).request_line(head) {
        Ok(next) => Ok(Some(next)),
        Err(Stop::Partial) => Ok(None),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// A position that moves forward over the bytes that have come.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn request_line(mut self, head: &mut RequestHead) -> Result<usize, Stop> {
        while matches!(self.peek()?, b'\r' | b'\n') {
            self.at += 1;
        }
        let start = self.at;
        head.parsed = start;
        self.method(head)?;
        self.spaces()?;
        let target = self.at;
        match head.method {
            Method::Connect => self.authority_form(head)?,
            _ => match self.peek()? {
                b'/' => self.path(head)?,
                b'a'..=b'z' | b'A'..=b'Z' => self.absolute_form(head)?,
                _ => return Err(RequestError::InvalidRequest.into()),
            },
        }
        head.target = Span::new(target, self.at);
        self.version(head)?;
        let (end, next) = self.line_end()?;
        head.line = Span::new(start, end);
        if head.version == Version::H09 {
            if head.method != Method::Get {
                return Err(RequestError::InvalidMethodInHttp09.into());
            }
        } else {
            head.protocol.end = end as u32;
        }
        Ok(next)
    }

    fn method(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        let start = self.at;
        if self.bytes[start..].starts_with(b"GET ") {
            self.at += b"GET".len();
            (head.method_name, head.method) = (Span::new(start, self.at), Method::Get);
            return Ok(());
        }
        loop {
            match self.peek()? {
                b'A'..=b'Z' | b'_' | b'-' => self.at += 1,
                b' ' if self.at > start => break,
                _ => return Err(RequestError::InvalidMethod.into()),
            }
        }
        head.method_name = Span::new(start, self.at);
        head.method = Method::of(&self.bytes[start..self.at]);
        Ok(())
    }

    /// `/path?query` up to the blank or the line's end; notes whether the path reads as it is.
    fn path(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        let start = self.at;
        loop {
            self.skip_plain();
            match CLASS[self.peek()? as usize] {
                SLASH | DOT => head.irregular_path |= self.at > start && self.bytes[self.at - 1] == b'/',
                PERCENT => head.quoted_path = true,
                QUESTION | HASH => {
                    self.rest(head)?;
                    break;
                }
                END => break,
                _ => return Err(RequestError::InvalidRequest.into()),
            }
            self.at += 1;
        }
        head.uri = Span::new(start, self.at);
        Ok(())
    }

    /// What follows the path: query and fragment.
    fn rest(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        loop {
            self.skip_plain();
            match CLASS[self.peek()? as usize] {
                HASH => head.irregular_path = true,
                END => return Ok(()),
                FORBIDDEN => return Err(RequestError::InvalidRequest.into()),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `scheme://host:port/path`.
    fn absolute_form(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        let start = self.at;
        while matches!(self.peek()?, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.') {
            self.at += 1;
        }
        head.scheme = Span::new(start, self.at);
        let slash = self.at + 1;
        self.literal(b"://")?;
        self.authority(head)?;
        match self.peek()? {
            b'/' => self.path(head)?,
            b'?' => {
                let start = self.at;
                self.rest(head)?;
                head.uri = Span::new(start, self.at);
                head.empty_path = true;
            }
            // Without a path the target is "/": the one in "://" stands for it.
            b' ' => head.uri = Span::new(slash, slash + 1),
            _ => return Err(RequestError::InvalidRequest.into()),
        }
        Ok(())
    }

    /// `host:port`, the only form of CONNECT.
    fn authority_form(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        let port = self.authority(head)?;
        match self.peek()? {
            b' ' if port > 0 => Ok(()),
            _ => Err(RequestError::InvalidRequest.into()),
        }
    }

    /// Host and port; returns the number of the port's digits. Narrower than a Host field may be, as in nginx.
    fn authority(&mut self, head: &mut RequestHead) -> Result<usize, Stop> {
        let start = self.at;
        if self.peek()? == b'[' {
            self.at += 1;
            while host::is_literal_char(self.peek()?) {
                self.at += 1;
            }
            self.literal(b"]")?;
        } else {
            while matches!(self.peek()?, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-') {
                self.at += 1;
            }
        }
        let mut digits = 0;
        if self.peek()? == b':' {
            self.at += 1;
            while self.peek()?.is_ascii_digit() {
                digits += 1;
                self.at += 1;
            }
        }
        head.authority = Some(Span::new(start, self.at));
        Ok(digits)
    }

    /// ` HTTP/1.x`, or nothing at all in HTTP/0.9.
    fn version(&mut self, head: &mut RequestHead) -> Result<(), Stop> {
        const USUAL: &[u8] = b" HTTP/1.1";
        if self.bytes[self.at..].starts_with(b" HTTP/1.1\r\n") && head.method != Method::Connect {
            head.protocol = Span::new(self.at + 1, self.at + USUAL.len());
            head.version = Version::H11;
            self.at += USUAL.len();
            return Ok(());
        }
        self.spaces()?;
        head.protocol = Span::new(self.at, self.at);
        if matches!(self.peek()?, b'\r' | b'\n') {
            head.version = Version::H09;
            return Ok(());
        }
        self.literal(b"HTTP/")?;
        if head.method == Method::Connect {
            head.uri = Span::new(self.at - 1, self.at);
        }
        match self.peek()? {
            b'1' => self.at += 1,
            b'2'..=b'9' => return Err(RequestError::InvalidVersion.into()),
            _ => return Err(RequestError::InvalidRequest.into()),
        }
        match self.peek()? {
            b'.' => self.at += 1,
            b'0'..=b'9' => return Err(RequestError::InvalidVersion.into()),
            _ => return Err(RequestError::InvalidRequest.into()),
        }
        let (start, mut minor) = (self.at, 0);
        while let digit @ b'0'..=b'9' = self.peek()? {
            if minor > MINOR_MAX {
                return Err(RequestError::InvalidRequest.into());
            }
            minor = minor * 10 + u32::from(digit - b'0');
            self.at += 1;
        }
        if self.at == start {
            return Err(RequestError::InvalidRequest.into());
        }
        head.version = if minor == 0 { Version::H10 } else { Version::H11 };
        self.spaces()
    }

    /// The line's end: where its text ends and where the next line starts.
    fn line_end(&mut self) -> Result<(usize, usize), Stop> {
        let end = self.at;
        if self.peek()? == b'\r' {
            self.at += 1;
        }
        match self.peek()? {
            b'\n' => Ok((end, self.at + 1)),
            _ => Err(RequestError::InvalidRequest.into()),
        }
    }

    /// Passes over the bytes of a target that mean nothing by themselves.
    #[inline]
    fn skip_plain(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|&byte| CLASS[byte as usize] != PLAIN).unwrap_or(rest.len());
    }

    fn spaces(&mut self) -> Result<(), Stop> {
        while self.peek()? == b' ' {
            self.at += 1;
        }
        Ok(())
    }

    fn literal(&mut self, text: &[u8]) -> Result<(), Stop> {
        for &byte in text {
            if self.peek()? != byte {
                return Err(RequestError::InvalidRequest.into());
            }
            self.at += 1;
        }
        Ok(())
    }

    #[inline]
    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Partial)
    }
}
