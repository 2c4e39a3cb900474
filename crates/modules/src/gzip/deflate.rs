//! The compressors, kept by the thread: making one costs more than a small body.
//!
//! Two of them. A body that is all at hand goes to libdeflate, which looks at it as a whole and does nothing else; one
//! that comes piece by piece, with flushes between, goes to zlib-rs. Their levels are not zlib's, so nginx's
//! levels are read as "about so small": [`LEVELS`] says which of theirs that is.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};
use foregate_core::{Encoder, Flush, Step, whole_by_steps};
use foregate_wire::{Block, Buf};
use libdeflater::{CompressionLvl, Compressor};

/// For each level of nginx's, from 1: `(whole, pieces)`, the level of libdeflate and of zlib-rs. The lowest whose
/// output, on HTML, JavaScript, CSS, JSON, SVG and XML of 10 to 270 KB, is in the mean no larger than zlib's
/// (in percent of it, whole: 94, 95, 96, 99, 100, 100, 100, 99, 100; pieces: 97, 94, 96, 98, 99, 100, 100, 100, 100).
const LEVELS: [(u8, u8); 9] = [(1, 2), (2, 3), (3, 3), (4, 4), (5, 5), (5, 6), (7, 7), (8, 8), (9, 9)];

/// nginx's level 6 lies between libdeflate's 5 and 6. 5 is enough for most bodies; it gives up too early on short ones
/// (in bytes), where the time does not matter, ...
const SHORT_BYTES: usize = 16 * 1024;
/// ... and on those that repeat themselves so much (input for one byte of output), where zlib takes much longer.
const REPETITIVE: usize = 6;
const SIX: u8 = 6;

/// The largest window (RFC 1951): 32 KiB.
const WINDOW_BITS: u8 = 15;
/// Streaming states that one thread keeps for reuse, of some 300 KiB each.
const STREAMS_KEPT_MAX: usize = 8;
/// What is shorter libdeflate only copies, which makes it longer.
const TINY_BYTES: usize = 56;

/// States for whole bodies that one thread keeps, of at most 700 KiB each; never more than one is in use.
const WHOLE_KEPT_MAX: usize = 4;

/// Bytes of a body packed in one go: up to 3 ms below level 8, about which the time rises threefold.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
const WHOLE_BYTES_MAX_DEAR: usize = 64 * 1024;
const DEAR_LEVEL: u8 = 8;

thread_local! {
    static STREAMS: RefCell<Vec<(u8, Compress)>> = const { RefCell::new(Vec::new()) };
    static WHOLE: RefCell<Vec<(u8, Compressor)>> = const { RefCell::new(Vec::new()) };
}

/// A gzip stream in the making.
pub(super) struct Gzip {
    /// nginx's, 1 to 9.
    level: u8,
    /// `None` until there is a first piece.
    stream: Option<Compress>,
}

impl Gzip {
    pub(super) fn new(level: u8) -> Self {
        Self { level, stream: None }
    }

    fn levels(&self) -> (u8, u8) {
        LEVELS[usize::from(self.level.clamp(1, 9)) - 1]
    }
}

impl Encoder for Gzip {
    fn step(&mut self, input: &[u8], out: &mut [u8], flush: Flush) -> Option<Step> {
        let (_, level) = self.levels();
        let state = self.stream.get_or_insert_with(|| take_stream(level));
        let how = match flush {
            Flush::No => FlushCompress::None,
            Flush::Sync => FlushCompress::Sync,
            Flush::End => FlushCompress::Finish,
        };
        let before = (state.total_in(), state.total_out());
        let status = state.compress(input, out, how).ok()?;
        let (read, written) = (state.total_in() - before.0, state.total_out() - before.1);
        let (read, written) = (read as usize, written as usize);
        let done = match flush {
            Flush::No => read == input.len(),
            // zlib's word: room left over means that nothing was left behind.
            Flush::Sync => read == input.len() && written < out.len(),
            Flush::End => status == Status::StreamEnd,
        };
        Some(Step { read, written, done })
    }

    fn whole_bytes_max(&self) -> usize {
        if self.level < DEAR_LEVEL { WHOLE_BYTES_MAX } else { WHOLE_BYTES_MAX_DEAR }
    }

    fn whole(&mut self, body: &[u8]) -> Option<Buf> {
        let (level, _) = self.levels();
        if body.len() < TINY_BYTES {
            return whole_by_steps(self, body);
        }
        if self.level != SIX {
            return whole(level, body);
        }
        if body.len() <= SHORT_BYTES {
            return whole(SIX, body);
        }
        let packed = whole(level, body)?;
        match packed.len() * REPETITIVE < body.len() {
            true => whole(SIX, body),
            false => Some(packed),
        }
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        let Some(mut state) = self.stream.take() else { return };
        let (_, level) = self.levels();
        // The pool may be gone already where a thread ends.
        _ = STREAMS.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < STREAMS_KEPT_MAX {
                state.reset();
                pool.push((level, state));
            }
        });
    }
}

fn take_stream(level: u8) -> Compress {
    let pooled = STREAMS.with_borrow_mut(|pool| {
        let at = pool.iter().position(|(it, _)| *it == level)?;
        Some(pool.swap_remove(at).1)
    });
    pooled.unwrap_or_else(|| Compress::new_gzip(Compression::new(level.into()), WINDOW_BITS))
}

/// One gzip member of libdeflate's `level`, in a block of the thread's if it fits.
fn whole(level: u8, body: &[u8]) -> Option<Buf> {
    WHOLE.with_borrow_mut(|kept| {
        let state = kept_at(kept, level)?;
        let mut block = Block::take();
        if let Ok(n) = state.gzip_compress(body, block.spare()) {
            return Some(block.fill(n));
        }
        let mut out = vec![0; state.gzip_compress_bound(body.len())];
        let n = state.gzip_compress(body, &mut out).ok()?;
        out.truncate(n);
        Some(Buf::from_vec(out))
    })
}

/// The kept state of this level, made if need be; the one that was made first leaves for it.
fn kept_at(kept: &mut Vec<(u8, Compressor)>, level: u8) -> Option<&mut Compressor> {
    if !kept.iter().any(|it| it.0 == level) {
        if kept.len() == WHOLE_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((level, Compressor::new(CompressionLvl::new(level.into()).ok()?)));
    }
    kept.iter_mut().find(|it| it.0 == level).map(|it| &mut it.1)
}
