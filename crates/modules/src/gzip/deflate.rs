//! The compressor's state, taken from and given back to a pool of the thread: making one costs more than a small body.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

/// The largest window (RFC 1951): 32 KiB.
const WINDOW_BITS: u8 = 15;
/// States that one thread keeps for reuse, of some 300 KiB each.
const POOL_MAX: usize = 8;
/// What a gzip stream needs besides its blocks (RFC 1952): head and tail, and a stored block's frame.
const FRAME_BYTES: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<(u32, Compress)>> = const { RefCell::new(Vec::new()) };
}

/// A gzip stream in the making.
pub(super) struct Deflate {
    level: u32,
    /// `None` only while it is dropped.
    state: Option<Compress>,
}

/// What one step came to.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// The stream's end was written.
    pub(super) ended: bool,
}

impl Deflate {
    pub(super) fn new(level: u32) -> Self {
        let pooled = POOL.with_borrow_mut(|pool| {
            let at = pool.iter().position(|(it, _)| *it == level)?;
            Some(pool.swap_remove(at).1)
        });
        let state = pooled.unwrap_or_else(|| Compress::new_gzip(Compression::new(level), WINDOW_BITS));
        Self { level, state: Some(state) }
    }

    /// Compresses as much of `input` as there is room for in `out`. `None` on a state that is out of order,
    /// which the other functions' use of it excludes.
    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8], flush: FlushCompress) -> Option<Step> {
        let state = self.state.as_mut()?;
        let (read, written) = (state.total_in(), state.total_out());
        let status = state.compress(input, out, flush).ok()?;
        Some(Step {
            read: (state.total_in() - read) as usize,
            written: (state.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}

impl Drop for Deflate {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        // The pool may be gone already where a thread ends.
        _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_MAX {
                state.reset();
                pool.push((self.level, state));
            }
        });
    }
}

/// A whole body as one gzip stream.
pub(super) fn whole(level: u32, body: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new(level);
    let mut out = vec![0; body.len() / 2 + FRAME_BYTES];
    let (mut read, mut written) = (0, 0);
    while let Some(step) = deflate.step(&body[read..], &mut out[written..], FlushCompress::Finish) {
        read += step.read;
        written += step.written;
        if step.ended {
            break;
        }
        let room = out.len() + body.len() / 2 + FRAME_BYTES;
        out.resize(room, 0);
    }
    out.truncate(written);
    out
}
