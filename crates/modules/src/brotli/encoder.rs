//! The brotli compressor, made for one body: its memory follows from the window, and that from the body's length.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use foregate_core::{Encoder, Flush, Step};
use foregate_wire::Buf;

/// The smallest and largest windows of the format (RFC 7932), as powers of two.
const WINDOW_BITS_MIN: u32 = 10;
const WINDOW_BITS_MAX: u32 = 24;
/// Bytes of a body packed in one go, where that takes no longer than some milliseconds.
const WHOLE_BYTES_MAX: usize = 64 * 1024;
const DEAR_LEVEL: u8 = 7;

/// A brotli stream in the making.
pub(super) struct Brotli {
    level: u8,
    window_bits: u32,
    bytes: Option<u64>,
    /// `None` until there is a first piece.
    state: Option<Box<BrotliEncoderStateStruct<StandardAlloc>>>,
}

impl Brotli {
    /// For a body of so many bytes, where that is known: a window beyond its length would be memory for nothing.
    pub(super) fn new(level: u8, window_bits: u32, bytes: Option<u64>) -> Self {
        Self { level, window_bits: window_bits.min(enough_bits(bytes)), bytes, state: None }
    }
}

/// The window that holds all of a body (it is 16 bytes less than a power of two).
fn enough_bits(bytes: Option<u64>) -> u32 {
    let Some(bytes) = bytes else { return WINDOW_BITS_MAX };
    let bits = u64::BITS - bytes.saturating_add(16).leading_zeros();
    bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
}

impl Encoder for Brotli {
    fn step(&mut self, input: &[u8], out: &mut [u8], flush: Flush) -> Option<Step> {
        let (level, bits, bytes) = (self.level, self.window_bits, self.bytes);
        let state = self.state.get_or_insert_with(|| fresh(level, bits, bytes));
        let operation = match flush {
            Flush::No => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Flush::Sync => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Flush::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        let (mut left, mut read, mut room, mut written) = (input.len(), 0, out.len(), 0);
        let good = state.compress_stream(
            operation,
            &mut left,
            input,
            &mut read,
            &mut room,
            out,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        let done = match flush {
            Flush::End => state.is_finished(),
            _ => left == 0 && !state.has_more_output(),
        };
        good.then_some(Step { read, written, done })
    }

    fn whole_bytes_max(&self) -> usize {
        if self.level < DEAR_LEVEL { WHOLE_BYTES_MAX } else { 0 }
    }

    fn whole(&mut self, body: &[u8]) -> Option<Buf> {
        let bytes = body.len() as u64;
        self.bytes = Some(bytes);
        self.window_bits = self.window_bits.min(enough_bits(self.bytes));
        foregate_core::whole_by_steps(self, body)
    }
}

fn fresh(level: u8, bits: u32, bytes: Option<u64>) -> Box<BrotliEncoderStateStruct<StandardAlloc>> {
    let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, level.into());
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, bits);
    if let Some(bytes) = bytes.and_then(|it| u32::try_from(it).ok()) {
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, bytes);
    }
    state
}
