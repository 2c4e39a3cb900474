//! Removing objects: those nobody has asked for, and the longest unused where there is too much.

use std::sync::atomic::Ordering;

use crate::key::Key;
use crate::zone::State;

/// Above `max_size` by this part of it, whoever stores an object removes some others himself.
const PATIENCE: u64 = 8;
/// After so many bytes the keeper looks again how much room the disk has (`min_free`).
const UNMEASURED_MAX: u64 = 64 << 20;
/// So many: more than one, so that the excess shrinks.
const REMOVED_AT_ONCE: usize = 2;

impl State {
    /// Removes an object's file, and what of it is in memory; whether there was a file.
    pub(crate) fn unlink(&self, key: Key) -> bool {
        let removed = std::fs::remove_file(key.path(&self.path, &self.levels)).is_ok();
        // In this order: whoever takes the file into memory meanwhile looks for it once more afterwards.
        self.memory.forget(key);
        removed
    }

    /// Makes room in the index for an object.
    pub(crate) fn evict_beside(&self, key: Key) -> bool {
        // The keeper sees that the index is crowded and goes on.
        let Some(gone) = self.index.evict_beside(key) else { return false };
        if gone.exists {
            self.unlink(gone.key);
        }
        true
    }

    /// Removes the longest unused object: see `Index::evict`.
    pub(crate) fn evict(&self, now_s: Option<u32>) -> Result<(), Option<u32>> {
        let gone = self.index.evict(now_s)?;
        if gone.exists {
            self.unlink(gone.key);
        }
        Ok(())
    }

    /// Called when an object was stored: calls the keeper where there is too much, and helps where he lags behind.
    pub(crate) fn relieve(&self, bytes: u64) {
        if self.unmeasured.fetch_add(bytes, Ordering::Relaxed) + bytes >= UNMEASURED_MAX {
            self.unmeasured.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
        let max = self.max_bytes.load(Ordering::Relaxed);
        // A zone of size 0 is emptied when its keeper comes by, as nginx's.
        if max == 0 || self.index.bytes() <= max {
            return;
        }
        self.bell.ring();
        for _ in 0..REMOVED_AT_ONCE {
            if self.index.bytes() <= max + max / PATIENCE || self.evict(None).is_err() {
                return;
            }
        }
    }
}
