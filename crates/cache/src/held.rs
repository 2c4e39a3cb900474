//! An object in memory: its file's bytes, one copy for all threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foregate_net::FileVersion;
use foregate_wire::h1::ResponseHead;

use crate::header::Header;
use crate::key::Key;

/// What an object counts for besides its bytes: its place in tables and queues.
const OVERHEAD_BYTES: usize = 512;
/// Hits are counted up to here for eviction.
const HEAT_MAX: u8 = 3;

pub(crate) struct Held {
    pub(crate) header: Header,
    /// Tells it from all that were ever in memory, of its key as well: the same file may come more than once.
    number: u64,
    /// All of the file.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// The answer's head as it was read, once somebody has.
    pub(crate) parsed: OnceLock<ResponseHead>,
    /// Of the file when it was read.
    pub(crate) version: FileVersion,
    /// Forgotten or driven out: it is not to be served any more.
    void: AtomicBool,
    heat: AtomicU8,
    /// When it was last told to the index and its file last looked at, seconds since the epoch.
    pub(crate) touched_s: AtomicU32,
    /// How far the purges had come when it was last found not to be meant.
    pub(crate) clean_at: AtomicU64,
    hits: AtomicU64,
}

impl Held {
    pub(crate) fn new(
        header: Header,
        bytes: Vec<u8>,
        version: FileVersion,
        clean_at: u64,
        now_s: u32,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            header,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            bytes: Arc::new(bytes),
            parsed: OnceLock::new(),
            version,
            void: AtomicBool::new(false),
            heat: AtomicU8::new(0),
            touched_s: AtomicU32::new(now_s),
            clean_at: AtomicU64::new(clean_at),
            hits: AtomicU64::new(0),
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.header.key
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn cost_bytes(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }

    pub(crate) fn void(&self) {
        self.void.store(true, Ordering::Release);
    }

    pub(crate) fn is_void(&self) -> bool {
        self.void.load(Ordering::Acquire)
    }

    /// It is served once more.
    pub(crate) fn hit(&self) {
        // Two at once may count as one: nobody waits for the other, and the order is what matters.
        self.hits.store(self.hits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let heat = self.heat.load(Ordering::Relaxed);
        if heat < HEAT_MAX {
            self.heat.store(heat + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn heat(&self) -> &AtomicU8 {
        &self.heat
    }

    /// Whether it is time to tell the index that it is in use: the first who asks in each second does.
    pub(crate) fn is_due(&self, now_s: u32) -> bool {
        let before = self.touched_s.load(Ordering::Relaxed);
        before != now_s
            && self.touched_s.compare_exchange(before, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
impl Held {
    /// An object of this cost.
    pub(crate) fn for_tests(key: Key, created_us: u64, cost_bytes: usize) -> Self {
        let header = Header::for_tests(key, created_us);
        let version = FileVersion::at(std::path::Path::new("/")).expect("because there is a root");
        Self::new(header, vec![0; cost_bytes - OVERHEAD_BYTES], version, 0, 0)
    }
}
