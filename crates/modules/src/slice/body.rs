//! The whole, or a range of it, out of pieces that are asked for one after the other.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use foregate_core::{Body, BodyError, Entry, Exchange, Fetched, Level, Running, Source, Unadorned, log, next};
use foregate_wire::{Buf, Fields};

use super::Asked;
use super::content_range::{self, Part};

pub(super) struct Sliced {
    /// The client's request, parent of those for the pieces.
    ex: Exchange,
    size: u64,
    /// What the first piece has; the others must have the same.
    etag: Option<Vec<u8>>,
    /// The next byte that is wanted, and the one behind the last.
    at: u64,
    end: u64,
    piece: Piece,
}

enum Piece {
    None,
    Asked(Running),
    /// The body of bytes `at..end`.
    Body { at: u64, end: u64, body: Box<dyn Source> },
}

impl Sliced {
    pub(super) fn new(ex: Exchange, size: u64, etag: Option<Vec<u8>>, first: Part, body: Box<dyn Source>) -> Self {
        let Part { bytes, whole } = first;
        let piece = Piece::Body { at: bytes.start, end: bytes.end, body };
        Self { ex, size, etag, at: 0, end: whole, piece }
    }

    /// Asks for the piece that holds the next byte.
    fn ask(&mut self) -> Result<(), BodyError> {
        let mut child = self.ex.again();
        let start = self.at / self.size * self.size;
        child.notes.put(Asked { location: child.location, start, size: self.size });
        child.notes.put(Unadorned);
        self.piece = Piece::Asked(Running::start(child, Entry::Content).ok_or(BodyError::Upstream)?);
        Ok(())
    }

    /// The answer is the piece that was asked for.
    fn check(&self, fetched: Fetched) -> Result<Piece, String> {
        let Some(reply) = &fetched.reply else { return Err("missing slice response".to_owned()) };
        if reply.status != 206 {
            return Err(format!("unexpected status code {} in slice response", reply.status));
        }
        if self.etag.is_some() && reply.fields.get(b"ETag") != self.etag.as_deref() {
            return Err("etag mismatch in slice response".to_owned());
        }
        let start = self.at / self.size * self.size;
        let part = content_range::check(reply, start, self.size)?;
        if part.bytes.end <= self.at {
            // The whole has become shorter: asking again would never end.
            return Err(format!("slice response ends at {}, expected more than {}", part.bytes.end, self.at));
        }
        Ok(Piece::Body { at: part.bytes.start, end: part.bytes.end, body: fetched.into_source() })
    }

    /// Of these bytes, which begin at `from`, those that are wanted.
    fn pass(&mut self, from: u64, mut bytes: Buf) -> Buf {
        let before = (self.at - from).min(bytes.len() as u64);
        bytes.advance(before as usize);
        bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.at += bytes.len() as u64;
        bytes
    }
}

impl Source for Sliced {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        while self.at < self.end {
            match &mut self.piece {
                Piece::None => self.ask()?,
                Piece::Asked(running) => {
                    let fetched = ready!(running.poll(cx));
                    self.piece = self.check(fetched).map_err(|what| {
                        log!(self.ex, Level::Error, "{what}");
                        BodyError::Upstream
                    })?;
                }
                Piece::Body { at, end, .. } if *at > self.at || *end <= self.at => self.piece = Piece::None,
                Piece::Body { at, body, .. } => {
                    // A piece that ends before its end cannot be mended.
                    let bytes = ready!(body.poll_next(cx))?.ok_or(BodyError::Upstream)?;
                    let from = *at;
                    *at += bytes.len() as u64;
                    let bytes = self.pass(from, bytes);
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Piece::Body { body, .. } = &mut self.piece {
            body.poll_ahead(cx);
        }
    }

    fn len(&self) -> Option<u64> {
        Some(self.end - self.at)
    }

    fn seek(&mut self, start: u64, end: u64) -> bool {
        (self.at, self.end) = (start, end.min(self.end));
        true
    }
}

/// The same body once so many bytes of it, or all, are there.
pub(super) async fn begun(body: Body, bytes_min: usize) -> Result<Body, BodyError> {
    let mut rest = body.into_source();
    let (mut first, mut bytes) = (VecDeque::new(), 0);
    while bytes < bytes_min
        && let Some(more) = next(&mut *rest).await?
    {
        bytes += more.len();
        first.push_back(more);
    }
    Ok(Body::Source(Box::new(Begun { first, rest })))
}

struct Begun {
    first: VecDeque<Buf>,
    rest: Box<dyn Source>,
}

impl Source for Begun {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        match self.first.pop_front() {
            Some(bytes) => Poll::Ready(Ok(Some(bytes))),
            None => self.rest.poll_next(cx),
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.rest.poll_ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.rest.trailers()
    }
}
