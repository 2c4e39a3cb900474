//! The sending half of an encrypted stream: data sealed into blocks, and what the socket has not taken of them.

use std::io;
use std::task::{Context, Poll, ready};

use foregate_wire::{Block, Buf};

use super::record::{self, Keys, PLAIN_BYTES_MAX};
use crate::stream::Stream;

pub(super) struct Outgoing {
    pub(super) keys: Keys,
    /// Sealed records the socket has not taken yet: two blocks, so that what is received as one block goes out with
    /// one call although sealing made it a little longer. The second is empty if the first is.
    unsent: [Buf; 2],
    /// The last word has been said: nothing follows it.
    pub(super) closed: bool,
}

impl Outgoing {
    /// `unsent` are records that travel with the first data.
    pub(super) fn new(keys: Keys, unsent: Vec<u8>) -> Outgoing {
        Outgoing { keys, unsent: [Buf::from_vec(unsent), Buf::default()], closed: false }
    }

    pub(super) fn poll_flush(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent[0].is_empty() {
            let [first, second] = &mut self.unsent;
            let n = if second.is_empty() {
                ready!(stream.poll_send(cx, first))?
            } else {
                ready!(stream.poll_send_vectored(cx, &[&**first, &**second]))?
            };
            let of_first = n.min(first.len());
            first.advance(of_first);
            second.advance(n - of_first);
            if first.is_empty() {
                *first = std::mem::take(second);
            }
        }
        self.unsent = Default::default();
        Poll::Ready(Ok(()))
    }

    /// Whether more may be sealed before what is unsent has left: only a few small records are waiting, such as
    /// tickets, and the socket is ready.
    pub(super) fn may_append(&self, stream: &Stream) -> bool {
        let [first, second] = &self.unsent;
        first.is_empty() || first.len() <= PLAIN_BYTES_MAX && second.is_empty() && stream.is_writable()
    }

    /// Appends what somebody else has sealed.
    pub(super) fn append(&mut self, sealed: &[u8]) {
        if !sealed.is_empty() {
            let last = usize::from(!self.unsent[1].is_empty());
            self.unsent[last] = Buf::from_vec([&self.unsent[last], sealed].concat());
        }
    }

    /// Appends a record of a few bytes to what is unsent.
    pub(super) fn seal_small(&mut self, content: u8, plain: &[u8]) {
        let last = usize::from(!self.unsent[1].is_empty());
        let mut all = self.unsent[last].to_vec();
        let start = all.len();
        all.resize(start + plain.len() + self.keys.overhead_bytes(), 0);
        self.keys.seal(content, plain.len(), [plain].into_iter(), &mut all[start..]);
        self.unsent[last] = Buf::from_vec(all);
    }

    /// Seals data of `slices`, leaving out its first `offset` bytes, behind the little that is unsent; returns how
    /// many bytes were taken, `left` at most.
    pub(super) fn seal_data(&mut self, slices: &[&[u8]], offset: usize, left: usize) -> usize {
        let mut rest = Rest { slices, offset, left };
        let prefix = std::mem::take(&mut self.unsent[0]);
        let mut block = Block::take();
        block.spare()[..prefix.len()].copy_from_slice(&prefix);
        let filled = self.fill(&mut rest, block.spare(), prefix.len());
        self.unsent[0] = block.fill(filled);
        if rest.left > 0 {
            let mut block = Block::take();
            let filled = self.fill(&mut rest, block.spare(), 0);
            self.unsent[1] = block.fill(filled);
        }
        left - rest.left
    }

    /// Fills `out` from `filled` on with records of data; returns where the last one ends.
    fn fill(&mut self, rest: &mut Rest<'_>, out: &mut [u8], mut filled: usize) -> usize {
        let overhead = self.keys.overhead_bytes();
        loop {
            let room = (out.len() - filled).saturating_sub(overhead);
            let n = rest.left.min(PLAIN_BYTES_MAX).min(room);
            if n == 0 {
                return filled;
            }
            rest.normalize();
            filled += self.keys.seal(record::DATA, n, rest.parts(n), &mut out[filled..]);
            rest.offset += n;
            rest.left -= n;
        }
    }
}

/// What is left of a row of slices.
struct Rest<'a> {
    slices: &'a [&'a [u8]],
    offset: usize,
    left: usize,
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
