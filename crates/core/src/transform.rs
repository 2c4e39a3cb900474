//! Bodies that are changed as they are pulled: for filters whose output follows their input closely.

use std::task::{Context, Poll};

use foregate_wire::{Buf, Fields};

use crate::reply::{Body, BodyError, Source};

/// Changes a stream of bytes.
pub trait Transform {
    /// Takes the next bytes; appends what may go out.
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// The input has ended; appends what was held back.
    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
        Ok(())
    }
}

/// Bytes fed at once: what a transform makes of them must fit into memory, however much it grows.
const FEED_BYTES: usize = 4 * 1024;
/// Bytes worth a turn to the client.
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes fed before others get a turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

impl Body {
    /// This body, changed on its way.
    pub fn transformed(self, transform: impl Transform + 'static) -> Self {
        Self::Source(Box::new(Transformed {
            inner: self.into_source(),
            transform,
            input: Buf::default(),
            out: Vec::new(),
            ended: false,
            failed: None,
        }))
    }
}

struct Transformed<T> {
    inner: Box<dyn Source>,
    transform: T,
    /// Read and not fed yet.
    input: Buf,
    out: Vec<u8>,
    ended: bool,
    /// Told once everything before it has gone out.
    failed: Option<BodyError>,
}

impl<T: Transform> Transformed<T> {
    /// Feeds what comes until there is enough for a turn, or nothing more.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let mut fed = 0;
        while self.out.len() < CHUNK_BYTES {
            if !self.input.is_empty() {
                if fed >= TURN_BYTES_MAX && self.out.is_empty() {
                    cx.waker().wake_by_ref();
                    return Ok(Poll::Pending);
                }
                let n = self.input.len().min(FEED_BYTES);
                let piece = self.input.split_to(n);
                self.transform.feed(&piece, &mut self.out)?;
                fed += n;
                continue;
            }
            match self.inner.poll_next(cx) {
                Poll::Ready(next) => match next? {
                    Some(bytes) => self.input = bytes,
                    None => {
                        self.ended = true;
                        self.transform.end(&mut self.out)?;
                        break;
                    }
                },
                Poll::Pending if self.out.is_empty() => return Ok(Poll::Pending),
                Poll::Pending => break,
            }
        }
        Ok(Poll::Ready(()))
    }
}

impl<T: Transform> Source for Transformed<T> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(why) = self.failed.take() {
            return Poll::Ready(Err(why));
        }
        if !self.ended {
            match self.fill(cx) {
                Ok(Poll::Ready(())) => (),
                Ok(Poll::Pending) => return Poll::Pending,
                Err(why) if self.out.is_empty() => return Poll::Ready(Err(why)),
                Err(why) => self.failed = Some(why),
            }
        }
        let out = std::mem::take(&mut self.out);
        Poll::Ready(Ok((!out.is_empty()).then(|| Buf::from_vec(out))))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::next;

    /// Doubles every byte but `x`, and says when it ends.
    struct Double;

    impl Transform for Double {
        fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
            assert!(!input.is_empty() && input.len() <= FEED_BYTES);
            input.iter().filter(|b| **b != b'x').for_each(|b| out.extend([*b, *b]));
            Ok(())
        }

        fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
            out.extend_from_slice(b".");
            Ok(())
        }
    }

    #[test]
    fn bodies_are_changed_on_their_way() {
        foregate_net::runtime::run(async {
            for (plain, want) in [
                (&b""[..], b".".to_vec()),
                (b"axb", b"aabb.".to_vec()),
                (&[b'a'; 100_000], [&[b'a'; 200_000][..], b"."].concat()),
                (&[b'x'; 600_000], b".".to_vec()),
            ] {
                let mut source = Body::Bytes(Buf::copy_from(plain)).transformed(Double).into_source();
                let mut all = Vec::new();
                while let Some(bytes) = next(&mut *source).await.unwrap() {
                    all.extend_from_slice(&bytes);
                }
                assert!(all == want, "{} bytes", plain.len());
            }
        })
        .unwrap();
    }
}
