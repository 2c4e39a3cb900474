//! The sending half of an encrypted stream: data sealed into blocks, and what the socket has not taken of them.

use std::io;
use std::task::{Context, Poll, ready};

use foregate_wire::Buf;

use super::record::{self, Keys, PLAIN_BYTES_MAX};
use crate::stream::Stream;

pub(super) struct Outgoing {
    pub(super) keys: Keys,
    /// Sealed records the socket has not taken yet.
    pub(super) unsent: Buf,
    /// The last word has been said: nothing follows it.
    pub(super) closed: bool,
}

impl Outgoing {
    pub(super) fn poll_flush(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let n = ready!(stream.poll_send(cx, &self.unsent))?;
            self.unsent.advance(n);
        }
        self.unsent = Buf::default();
        Poll::Ready(Ok(()))
    }

    /// Appends a record of a few bytes to what is unsent.
    pub(super) fn seal_small(&mut self, content: u8, plain: &[u8]) {
        let mut all = self.unsent.to_vec();
        let start = all.len();
        all.resize(start + plain.len() + self.keys.overhead_bytes(), 0);
        self.keys.seal(content, plain.len(), [plain].into_iter(), &mut all[start..]);
        self.unsent = Buf::from_vec(all);
    }

    /// Fills `out` from `filled` on with records of the data in `slices`, leaving out its first `offset` bytes;
    /// returns where the last ends and how many bytes of data they hold, `left` at most.
    pub(super) fn seal_data(
        &mut self,
        slices: &[&[u8]],
        offset: usize,
        left: usize,
        out: &mut [u8],
        mut filled: usize,
    ) -> (usize, usize) {
        let overhead = self.keys.overhead_bytes();
        let mut rest = Rest { slices, offset };
        let mut taken = 0;
        while taken < left {
            let room = (out.len() - filled).saturating_sub(overhead);
            let n = (left - taken).min(PLAIN_BYTES_MAX).min(room);
            if n == 0 {
                break;
            }
            rest.normalize();
            filled += self.keys.seal(record::DATA, n, rest.parts(n), &mut out[filled..]);
            rest.offset += n;
            taken += n;
        }
        (filled, taken)
    }
}

/// What is left of a row of slices.
struct Rest<'a> {
    slices: &'a [&'a [u8]],
    offset: usize,
}

impl<'a> Rest<'a> {
    /// Drops the slices that are used up.
    fn normalize(&mut self) {
        while let Some((first, others)) =
            self.slices.split_first().filter(|(first, _)| self.offset >= first.len())
        {
            self.offset -= first.len();
            self.slices = others;
        }
    }

    /// The next `n` bytes, in the parts they lie in.
    fn parts(&self, n: usize) -> impl Iterator<Item = &'a [u8]> {
        let (mut skip, mut left) = (self.offset, n);
        self.slices.iter().map_while(move |slice| {
            let part = &slice[std::mem::take(&mut skip)..];
            let part = &part[..part.len().min(left)];
            left -= part.len();
            (!part.is_empty() || left > 0).then_some(part)
        })
    }
}
