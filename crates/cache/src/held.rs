//! An object in memory: its file's bytes, one copy for all threads.
//!
//! The file of one that is not short stays open, so that the kernel can send it from the pages it has. Of one that is
//! long nothing but the header is copied.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foregate_core::{Body, FileSlice};
use foregate_net::FileVersion;
use foregate_net::process::nofile_limit;
use foregate_wire::Buf;
use foregate_wire::h1::ResponseHead;

use crate::header::Header;
use crate::key::Key;
use crate::memory::FILE_BYTES_MAX;

/// What an object counts for besides its bytes: its place in tables and queues.
const OVERHEAD_BYTES: usize = 512;
/// Hits are counted up to here for eviction.
const HEAT_MAX: u8 = 3;
/// One in so many of the descriptors that the process may have is for the files of objects in memory.
const DESCRIPTORS_SHARE: u64 = 8;
/// And never more than so many.
const KEPT_MAX: u64 = 16 << 10;
/// Files that are kept open now, of all zones.
static N_KEPT: AtomicU64 = AtomicU64::new(0);

/// A file that stays open.
pub(crate) struct Kept(Arc<File>);

impl Kept {
    /// `None`: too many are.
    pub(crate) fn file(file: &Arc<File>) -> Option<Self> {
        let max = nofile_limit().0.map_or(KEPT_MAX, |n| (n / DESCRIPTORS_SHARE).min(KEPT_MAX));
        let one_more = |n: u64| (n < max).then_some(n + 1);
        N_KEPT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(file.clone()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        N_KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct Held {
    pub(crate) header: Header,
    /// Tells it from all that were ever in memory, of its key as well: the same file may come more than once.
    number: u64,
    /// All of the file, or its header.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Where the kernel is to send it.
    file: Option<Kept>,
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
        (bytes, file): (Vec<u8>, Option<Kept>),
        version: FileVersion,
        clean_at: u64,
        now_s: u32,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            header,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            bytes: Arc::new(bytes),
            file,
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

    /// What it counts for. One of which the kernel has the bytes counts as the longest of which there is a copy: it is
    /// worth its place no more than that one.
    pub(crate) fn cost_bytes(&self) -> usize {
        let whole = self.header.body_start + self.header.body_bytes;
        let bytes = if whole > FILE_BYTES_MAX { FILE_BYTES_MAX as usize } else { self.bytes.len() };
        bytes + OVERHEAD_BYTES
    }

    /// Bytes `start..end` of the file.
    pub(crate) fn body(&self, start: u64, end: u64) -> Body {
        let Some(Kept(file)) = &self.file else {
            let mut bytes = Buf::from_common(self.bytes.clone());
            bytes.advance(start as usize);
            return Body::Bytes(bytes);
        };
        let slice = FileSlice::new(file.clone(), start, end);
        let whole = self.bytes.len() as u64 == end;
        Body::File(if whole { slice.with_memory(self.bytes.clone()) } else { slice })
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
        Self::new(header, (vec![0; cost_bytes - OVERHEAD_BYTES], None), version, 0, 0)
    }
}
