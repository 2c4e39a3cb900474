//! A body that goes into the cache on its way to the client: at the upstream's pace, whatever the client's.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use foregate_core::{Body, BodyError, FileSlice, Reporter, Source, next};
use foregate_net::runtime;
use foregate_wire::{Buf, Fields};

use crate::writer::Writer;

/// Pieces shorter than this are copied before they wait, so that they do not hold a whole block each.
const WAITS_AS_IT_IS_BYTES_MIN: usize = 8 << 10;

pub struct Fill {
    /// `None` once it is over.
    inner: Option<Box<dyn Source>>,
    /// `None` once the object has been kept, or cannot be.
    writer: Option<Writer>,
    /// Read ahead of the client, the older part: in memory.
    queue: VecDeque<Buf>,
    queued_bytes: usize,
    memory_max: usize,
    /// The younger part: it lies in the object's file.
    behind: Option<FileSlice>,
    failed: Option<BodyError>,
    trailers: Option<Fields>,
    reporter: Reporter,
}

impl Fill {
    /// The same body; what passes is kept. `memory_max`: bytes that wait in memory for a slow client.
    pub fn attach(body: Body, writer: Writer, memory_max: usize, reporter: Reporter) -> Body {
        match body {
            Body::Empty => {
                writer.finish_with(&[], &reporter);
                Body::Empty
            }
            Body::Bytes(bytes) => {
                writer.finish_with(&bytes, &reporter);
                Body::Bytes(bytes)
            }
            body => {
                let mut writer = writer;
                if !writer.reserve(body.len(), &reporter) {
                    return body;
                }
                writer.publish(body.len());
                Body::Source(Box::new(Self {
                    inner: Some(body.into_source()),
                    writer: Some(writer),
                    queue: VecDeque::new(),
                    queued_bytes: 0,
                    memory_max,
                    behind: None,
                    failed: None,
                    trailers: None,
                    reporter,
                }))
            }
        }
    }

    /// The next piece from the upstream, which has been written; where it lies in the file.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Buf, Option<FileSlice>)>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match inner.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(piece))) => {
                let place = self.write(&piece);
                Poll::Ready(Some((piece, place)))
            }
            Poll::Ready(Ok(None)) => {
                self.trailers = inner.trailers();
                self.inner = None;
                if let Some(writer) = self.writer.take() {
                    writer.finish(&self.reporter);
                }
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                (self.inner, self.writer) = (None, None);
                Poll::Ready(None)
            }
        }
    }

    fn write(&mut self, piece: &[u8]) -> Option<FileSlice> {
        let writer = self.writer.as_mut()?;
        let (file, start) = writer.end()?;
        if writer.write(piece, &self.reporter).is_err() {
            self.writer = None;
            return None;
        }
        Some(FileSlice::new(file, start, start + piece.len() as u64))
    }

    /// Puts a piece aside for the client.
    fn put_aside(&mut self, piece: Buf, place: Option<FileSlice>) {
        match (&mut self.behind, place) {
            (Some(behind), Some(place)) => behind.end = place.end,
            (None, Some(place)) if self.queued_bytes >= self.memory_max => self.behind = Some(place),
            _ => {
                self.queued_bytes += piece.len();
                let short = piece.len() < WAITS_AS_IT_IS_BYTES_MIN;
                self.queue.push_back(if short { Buf::copy_from(&piece) } else { piece });
            }
        }
    }

    /// More can be put aside: in the file always, in memory while there is room.
    fn has_room(&self) -> bool {
        match (&self.writer, &self.behind) {
            (Some(_), _) => true,
            (None, Some(_)) => false,
            (None, None) => self.queued_bytes < self.memory_max,
        }
    }

    fn take(&mut self) -> Result<Option<Buf>, BodyError> {
        if let Some(piece) = self.queue.pop_front() {
            self.queued_bytes -= piece.len();
            return Ok(Some(piece));
        }
        let Some(behind) = &mut self.behind else { return Ok(None) };
        let piece = behind.read().ok().filter(|it| !it.is_empty()).ok_or(BodyError::File)?;
        if behind.is_empty() {
            self.behind = None;
        }
        Ok(Some(piece))
    }
}

impl Source for Fill {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(piece) = self.take()? {
            return Poll::Ready(Ok(Some(piece)));
        }
        match self.poll_inner(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some((piece, _))) => {
                // Where this was the last one, the object is kept before the client has it whole and may ask again.
                if let Poll::Ready(Some((piece, place))) = self.poll_inner(cx) {
                    self.put_aside(piece, place);
                }
                Poll::Ready(Ok(Some(piece)))
            }
            Poll::Ready(None) => Poll::Ready(self.failed.map_or(Ok(None), Err)),
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        while self.has_room() {
            match self.poll_inner(cx) {
                Poll::Ready(Some((piece, place))) => self.put_aside(piece, place),
                _ => return,
            }
        }
    }

    fn len(&self) -> Option<u64> {
        let to_come = match &self.inner {
            Some(inner) => inner.len()?,
            None => 0,
        };
        Some(to_come + self.queued_bytes as u64 + self.behind.as_ref().map_or(0, FileSlice::len))
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}

impl Drop for Fill {
    /// The client went away: the object is fetched to its end all the same.
    fn drop(&mut self) {
        if let (Some(mut inner), Some(mut writer)) = (self.inner.take(), self.writer.take())
            && runtime::is_running()
        {
            let reporter = self.reporter.clone();
            runtime::spawn(async move {
                while let Ok(piece) = next(&mut *inner).await {
                    match piece {
                        None => return writer.finish(&reporter),
                        Some(piece) if writer.write(&piece, &reporter).is_err() => return,
                        Some(_) => {}
                    }
                }
            })
            .detach();
        }
    }
}
