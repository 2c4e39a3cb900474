//! Frames out of bytes, however these are cut.

use super::FRAME_BYTES;
use crate::buf::Buf;

/// Frames that a header block may come in (CVE-2024-27316 and its kin, "CONTINUATION flood").
pub(super) const BLOCK_FRAMES_MAX: u32 = 64;
/// A block may be so much larger than what its fields may have: padding, sizes of tables, codes that are long.
pub(super) const BLOCK_BYTES_BESIDE: usize = FRAME_BYTES;

/// The start of a frame whose rest has not come.
#[derive(Default)]
pub(super) struct Partial(Vec<u8>);

impl Partial {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes a frame from the front of `bytes`, or of one that need not be whole its beginning; `None`: more must come.
    /// `needed` says how many bytes of the frame that begins so must be there before anything can be done with it.
    #[inline]
    pub(super) fn frame<E>(
        &mut self,
        bytes: &mut Buf,
        needed: impl Fn(&[u8]) -> Result<usize, E>,
    ) -> Result<Option<Buf>, E> {
        if self.0.is_empty() {
            let need = needed(bytes)?;
            if bytes.len() >= need {
                return Ok(Some(bytes.split_to(need)));
            }
        }
        loop {
            let missing = needed(&self.0)?.saturating_sub(self.0.len());
            if missing == 0 {
                return Ok(Some(Buf::from_vec(std::mem::take(&mut self.0))));
            }
            let n = missing.min(bytes.len());
            if n == 0 {
                return Ok(None);
            }
            self.0.extend_from_slice(&bytes[..n]);
            bytes.advance(n);
        }
    }

    /// Gives memory back, where nothing is waiting.
    pub(super) fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}
