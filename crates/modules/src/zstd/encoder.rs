//! The zstd compressor and the states that the thread keeps of it.

use std::cell::RefCell;
use std::sync::Arc;

use foregate_core::{Encoder, Flush, Step};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// States that one thread keeps for reuse, and what each may hold (levels above 9 and long windows take more; those
/// are made anew).
const KEPT_MAX: usize = 4;
const KEPT_BYTES_MAX: usize = 4 << 20;
/// The largest window that a client must be able to hold (RFC 9659), as a power of two: 8 MiB. Levels from
/// [`LEVEL_OF_WINDOW_MAX`] on would take as much or more.
const WINDOW_BITS_MAX: u32 = 23;
const LEVEL_OF_WINDOW_MAX: u8 = 17;
/// The smallest window of the format.
const WINDOW_BITS_MIN: u32 = 10;
/// Below that, a window is no larger than any level's own.
const WINDOW_BITS_ALL: u32 = 19;
/// Bytes of a body packed in one go, where that takes no longer than some milliseconds.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
const WHOLE_BYTES_MAX_DEAR: usize = 16 * 1024;
const DEAR_LEVEL: u8 = 7;

/// `zstd_dict_file`
pub(super) type Dictionary = Option<Arc<Vec<u8>>>;

thread_local! {
    static KEPT: RefCell<Vec<(Kind, CCtx<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// What a state was made for.
#[derive(Clone)]
struct Kind {
    level: u8,
    /// `None`: the level's own.
    window_bits: Option<u32>,
    dictionary: Dictionary,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        let address = |it: &Self| it.dictionary.as_ref().map(Arc::as_ptr);
        (self.level, self.window_bits) == (other.level, other.window_bits) && address(self) == address(other)
    }
}

/// A zstd frame in the making.
pub(super) struct Zstd {
    kind: Kind,
    /// `None` until there is a first piece.
    state: Option<CCtx<'static>>,
}

impl Zstd {
    /// For a body of so many bytes, where that is known: a window beyond its length would be memory for nothing.
    pub(super) fn new(level: u8, dictionary: Dictionary, bytes: Option<u64>) -> Self {
        let most = (level >= LEVEL_OF_WINDOW_MAX).then_some(WINDOW_BITS_MAX);
        let enough = bytes.map(|it| (u64::BITS - it.leading_zeros()).max(WINDOW_BITS_MIN));
        let window_bits = enough.filter(|it| *it < WINDOW_BITS_ALL).or(most);
        Self { kind: Kind { level, window_bits, dictionary }, state: None }
    }
}

impl Encoder for Zstd {
    fn step(&mut self, input: &[u8], out: &mut [u8], flush: Flush) -> Option<Step> {
        if self.state.is_none() {
            self.state = Some(take(&self.kind)?);
        }
        let state = self.state.as_mut()?;
        let how = match flush {
            Flush::No => ZSTD_EndDirective::ZSTD_e_continue,
            Flush::Sync => ZSTD_EndDirective::ZSTD_e_flush,
            Flush::End => ZSTD_EndDirective::ZSTD_e_end,
        };
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(out));
        let left = state.compress_stream2(&mut to, &mut from, how).ok()?;
        let (read, written) = (from.pos(), to.pos());
        let done = read == input.len() && (flush == Flush::No || left == 0);
        Some(Step { read, written, done })
    }

    fn whole_bytes_max(&self) -> usize {
        if self.kind.level < DEAR_LEVEL { WHOLE_BYTES_MAX } else { WHOLE_BYTES_MAX_DEAR }
    }
}

impl Drop for Zstd {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        if state.sizeof() > KEPT_BYTES_MAX || state.reset(ResetDirective::SessionOnly).is_err() {
            return;
        }
        // The pool may be gone already where a thread ends.
        _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            // The oldest leaves: it may be of a configuration that is no more.
            if kept.len() == KEPT_MAX {
                kept.remove(0);
            }
            kept.push((self.kind.clone(), state));
        });
    }
}

fn take(kind: &Kind) -> Option<CCtx<'static>> {
    let kept = KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(|(it, _)| it == kind)?;
        Some(kept.remove(at).1)
    });
    if kept.is_some() {
        return kept;
    }
    let mut state = CCtx::try_create()?;
    state.set_parameter(CParameter::CompressionLevel(kind.level.into())).ok()?;
    if let Some(bits) = kind.window_bits {
        state.set_parameter(CParameter::WindowLog(bits)).ok()?;
    }
    if let Some(dictionary) = &kind.dictionary {
        state.load_dictionary(dictionary).ok()?;
    }
    Some(state)
}
