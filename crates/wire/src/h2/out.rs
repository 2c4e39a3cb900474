//! What is to be sent: frames in one piece of memory, with large bodies between them as they came.

use std::collections::VecDeque;

use crate::buf::Buf;

/// Shorter pieces are copied behind the frames before them: that is cheaper than to remember them.
const COPIED_BYTES_MAX: usize = 4096;
/// Slices handed out at once.
pub const SLICES_MAX: usize = 64;
/// Memory that is kept when all has been sent, and gaps that are closed while there is more.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A queue of bytes.
#[derive(Default)]
pub struct Out {
    /// Frames; those up to `sent` have gone.
    pub(super) bytes: Vec<u8>,
    sent: usize,
    /// Bodies, and before which byte of `bytes` they stand.
    bodies: VecDeque<(usize, Buf)>,
    /// Bytes of `bodies`.
    bodies_len: usize,
}

impl Out {
    /// Bytes that are waiting.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.bodies_len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends part of a body.
    pub(super) fn push(&mut self, body: Buf) {
        if body.len() <= COPIED_BYTES_MAX {
            return self.bytes.extend_from_slice(&body);
        }
        self.bodies_len += body.len();
        self.bodies.push_back((self.bytes.len(), body));
    }

    /// What waits, first to last, as far as there is room; how many slices these are.
    pub fn slices<'a>(&'a self, into: &mut [&'a [u8]; SLICES_MAX]) -> usize {
        let (mut n, mut at) = (0, self.sent);
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && n < SLICES_MAX {
                into[n] = slice;
                n += 1;
            }
        };
        for (before, body) in self.bodies.iter().take(SLICES_MAX / 2) {
            put(&self.bytes[at..*before]);
            put(body);
            at = *before;
        }
        if self.bodies.len() <= SLICES_MAX / 2 {
            put(&self.bytes[at..]);
        }
        n
    }

    /// The first `n` bytes have been sent.
    pub fn advance(&mut self, mut n: usize) {
        while let Some((before, body)) = self.bodies.front_mut() {
            let own = (*before - self.sent).min(n);
            self.sent += own;
            n -= own;
            let of_body = body.len().min(n);
            body.advance(of_body);
            self.bodies_len -= of_body;
            n -= of_body;
            if !body.is_empty() {
                return self.close_gap();
            }
            self.bodies.pop_front();
        }
        self.sent += n;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.shrink();
            }
        } else {
            self.close_gap();
        }
    }

    fn close_gap(&mut self) {
        if self.sent > KEPT_BYTES_MAX {
            self.bytes.drain(..self.sent);
            self.bodies.iter_mut().for_each(|(before, _)| *before -= self.sent);
            self.sent = 0;
        }
    }

    /// Forgets all that waits.
    pub fn clear(&mut self) {
        *self = Out::default();
    }

    /// Gives memory back, where nothing is waiting.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Out::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        for step in [613, 5000, 9001, 100_000] {
            let mut out = Out::default();
            let mut want = Vec::new();
            for n in 0..100_u32 {
                let body = vec![n as u8; [0, 10, 4096, 4097, 9000][n as usize % 5]];
                out.bytes.extend_from_slice(b"frame");
                want.extend_from_slice(b"frame");
                want.extend_from_slice(&body);
                out.push(Buf::from_vec(body));
            }
            assert_eq!(out.len(), want.len());
            let mut seen = Vec::new();
            while !out.is_empty() {
                let mut slices = [&b""[..]; SLICES_MAX];
                let n = out.slices(&mut slices);
                let all = slices[..n].concat();
                let n = all.len().min(step);
                seen.extend_from_slice(&all[..n]);
                out.advance(n);
            }
            assert!(seen == want, "step {step}");
            assert!(out.bytes.capacity() <= KEPT_BYTES_MAX);
        }
    }
}
