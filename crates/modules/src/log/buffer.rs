//! Lines on their way to a file, gathered per thread so that many go with one write.
//!
//! Without `buffer=` lines wait until the tasks that are ready have run: under load one write carries the lines of
//! all requests of a loop turn. With it they wait until the buffer is full or its time has come.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::sync::Arc;
use std::task::{Poll, Waker};

use flate2::{Compression, write::GzEncoder};
use foregate_core::LogFile;
use foregate_net::{clock, runtime};

use super::target::Buffering;

/// Lines without `buffer=` are written at once when they have become this many bytes.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// What an emptied buffer may keep.
const SPARE_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// The buffers of one thread.
#[derive(Default)]
struct Thread {
    /// By [`LogFile::id`].
    buffers: Vec<Option<Buffer>>,
    /// Those that the flusher shall write.
    waiting: Vec<usize>,
    flusher: Flusher,
}

#[derive(Default)]
enum Flusher {
    #[default]
    Absent,
    Asleep(Waker),
    Awake,
}

struct Buffer {
    file: Arc<LogFile>,
    bytes: Vec<u8>,
    gzip: Option<u32>,
    /// A task waits to flush it.
    timed: bool,
}

/// Appends what `fill` appends: one line with its end.
pub(super) fn append(file: &Arc<LogFile>, how: Option<&Buffering>, fill: impl FnOnce(&mut Vec<u8>)) {
    // The bytes are taken out, so that whatever `fill` does finds this thread's buffers free.
    let mut bytes = THREAD.with_borrow_mut(|all| std::mem::take(&mut all.buffer(file).bytes));
    let start = bytes.len();
    fill(&mut bytes);
    THREAD.with_borrow_mut(|all| {
        let buffer = all.buffer(file);
        buffer.bytes = bytes;
        buffer.gzip = how.and_then(|it| it.gzip);
        match how {
            Some(how) => buffer.keep(start, how),
            None => all.batch(file.id(), start),
        }
    });
}

/// Writes everything that this thread still holds: before it ends.
pub fn flush() {
    THREAD.with_borrow_mut(|all| all.buffers.iter_mut().flatten().for_each(Buffer::flush));
}

impl Thread {
    fn buffer(&mut self, file: &Arc<LogFile>) -> &mut Buffer {
        let id = file.id();
        if self.buffers.len() <= id {
            self.buffers.resize_with(id + 1, || None);
        }
        let new = || Buffer { file: file.clone(), bytes: Vec::new(), gzip: None, timed: false };
        self.buffers[id].get_or_insert_with(new)
    }

    fn batch(&mut self, id: usize, start: usize) {
        let Some(buffer) = &mut self.buffers[id] else { return };
        if buffer.bytes.len() >= BATCH_BYTES_MAX || !runtime::is_running() {
            buffer.flush();
        } else if start == 0 {
            self.waiting.push(id);
            self.wake();
        }
    }

    fn wake(&mut self) {
        match std::mem::replace(&mut self.flusher, Flusher::Awake) {
            Flusher::Absent => _ = runtime::spawn(write_batches()),
            Flusher::Asleep(waker) => waker.wake(),
            Flusher::Awake => (),
        }
    }

    fn flush_waiting(&mut self) {
        while let Some(id) = self.waiting.pop() {
            if let Some(buffer) = &mut self.buffers[id] {
                buffer.flush();
            }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.buffers.iter_mut().flatten().for_each(Buffer::flush);
    }
}

/// One task per thread, so that no line costs an allocation: writes whenever lines wait, after the tasks that are
/// ready have had their turn.
async fn write_batches() {
    let _ends = Ends;
    loop {
        poll_fn(|cx| {
            THREAD.with_borrow_mut(|all| match all.waiting.is_empty() {
                true => {
                    all.flusher = Flusher::Asleep(cx.waker().clone());
                    Poll::Pending
                }
                false => Poll::Ready(()),
            })
        })
        .await;
        runtime::yield_now().await;
        THREAD.with_borrow_mut(Thread::flush_waiting);
    }
}

/// The flusher ends with its runtime, and what it was to write is written then.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        _ = THREAD.try_with(|all| {
            let mut all = all.borrow_mut();
            all.flusher = Flusher::Absent;
            all.flush_waiting();
        });
    }
}

impl Buffer {
    /// The last line begins at `start`.
    fn keep(&mut self, start: usize, how: &Buffering) {
        if self.bytes.len() > how.bytes && start > 0 {
            let line = self.bytes.split_off(start);
            self.flush();
            self.bytes.extend_from_slice(&line);
        }
        if self.bytes.len() > how.bytes {
            self.flush();
        }
        let Some(flush) = how.flush.filter(|_| !self.timed && !self.bytes.is_empty()) else { return };
        if runtime::is_running() {
            self.timed = true;
            let id = self.file.id();
            runtime::spawn(async move {
                clock::sleep(flush).await;
                THREAD.with_borrow_mut(|all| {
                    if let Some(Some(buffer)) = all.buffers.get_mut(id) {
                        buffer.timed = false;
                        buffer.flush();
                    }
                });
            });
        }
    }

    fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        match self.gzip {
            Some(level) => self.file.write(&compressed(&self.bytes, level)),
            None => self.file.write(&self.bytes),
        }
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES_MAX);
    }
}

/// A whole gzip member; members may follow each other in one file (RFC 1952, 2.2).
fn compressed(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
