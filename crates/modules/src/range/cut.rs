//! A part of a stream whose length is known.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use foregate_core::{BodyError, Source};
use foregate_wire::{Buf, Fields};

/// Passes one part on. What follows it is read and dropped, so that whoever keeps a copy of the stream gets all.
pub(super) struct Cut {
    whole: Box<dyn Source>,
    /// Bytes before the part that are still to come.
    skip: u64,
    /// Bytes of the part that are still to come.
    take: u64,
}

impl Cut {
    pub(super) fn boxed(mut whole: Box<dyn Source>, part: &Range<u64>) -> Box<dyn Source> {
        if whole.seek(part.start, part.end) {
            return whole;
        }
        Box::new(Self { whole, skip: part.start, take: part.end - part.start })
    }

    /// What of these bytes belongs to the part.
    fn pass(&mut self, mut bytes: Buf) -> Buf {
        let before = self.skip.min(bytes.len() as u64);
        bytes.advance(before as usize);
        self.skip -= before;
        bytes.truncate(usize::try_from(self.take).unwrap_or(usize::MAX));
        self.take -= bytes.len() as u64;
        bytes
    }
}

impl Source for Cut {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        while let Some(bytes) = ready!(self.whole.poll_next(cx))? {
            let bytes = self.pass(bytes);
            if !bytes.is_empty() {
                return Poll::Ready(Ok(Some(bytes)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.whole.poll_ahead(cx);
    }

    fn len(&self) -> Option<u64> {
        Some(self.take)
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.whole.trailers()
    }
}
