//! Lines on their way to a file, gathered per thread so that many go with one write.
//!
//! Without `buffer=` lines wait until no task is ready, for some turns of the loop at most: under load one write
//! carries the lines of many requests. With it they wait until the buffer is full or its time has come.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use foregate_core::LogFile;
use foregate_net::{clock, runtime};

use super::target::Buffering;

/// Lines without `buffer=` are written at once when they have become this many bytes.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// What an emptied buffer may keep.
const SPARE_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;

/// The buffers of every thread. A thread takes its own lock alone, so that it never waits, but when all are flushed.
static ALL: Mutex<Vec<Arc<Mutex<Buffers>>>> = Mutex::new(Vec::new());

thread_local! {
    static THREAD: Thread = Thread::default();
}

struct Thread {
    buffers: Arc<Mutex<Buffers>>,
    waiting: RefCell<Waiting>,
    /// Where a line is made.
    line: Cell<Vec<u8>>,
}

/// The buffers of one thread, by [`LogFile::id`].
#[derive(Default)]
struct Buffers(Vec<Option<Buffer>>);

#[derive(Default)]
struct Waiting {
    /// Those that the flusher shall write.
    files: Vec<usize>,
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
    THREAD.with(|thread| {
        // Made outside of the buffers, so that whatever `fill` does finds them free.
        let mut line = thread.line.take();
        line.clear();
        fill(&mut line);
        match how {
            Some(how) => thread.keep(file, how, &line),
            None => thread.hand_on(file, &line),
        }
        line.shrink_to(SPARE_BYTES_MAX);
        thread.line.set(line);
    });
}

/// Writes what any thread still holds: before files are opened anew, and before the process ends.
pub fn flush() {
    for thread in lock(&ALL).iter() {
        lock(thread).0.iter_mut().flatten().for_each(Buffer::flush);
    }
}

/// Writes the lines that wait for no buffer at once. Before a connection closes, so that who sees its end finds its line.
pub fn flush_lines() {
    _ = THREAD.try_with(Thread::flush_waiting);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Thread {
    fn default() -> Self {
        let buffers = Arc::<Mutex<Buffers>>::default();
        lock(&ALL).push(buffers.clone());
        Self { buffers, waiting: RefCell::default(), line: Cell::default() }
    }
}

/// What a thread leaves behind when it ends is written.
impl Drop for Thread {
    fn drop(&mut self) {
        lock(&self.buffers).0.iter_mut().flatten().for_each(Buffer::flush);
        lock(&ALL).retain(|it| !Arc::ptr_eq(it, &self.buffers));
    }
}

impl Thread {
    /// A line that waits for its buffer to be full.
    fn keep(&self, file: &Arc<LogFile>, how: &Buffering, line: &[u8]) {
        let mut buffers = lock(&self.buffers);
        let buffer = buffers.of(file);
        buffer.gzip = how.gzip;
        if buffer.bytes.len() + line.len() > how.bytes {
            buffer.flush();
        }
        buffer.bytes.extend_from_slice(line);
        if line.len() > how.bytes {
            buffer.flush();
        }
        if how.flush.is_some() && !buffer.timed {
            buffer.time(how.flush);
        }
    }

    /// A line that is written with all others of this loop turn.
    fn hand_on(&self, file: &Arc<LogFile>, line: &[u8]) {
        let mut buffers = lock(&self.buffers);
        let buffer = buffers.of(file);
        let is_first = buffer.bytes.is_empty();
        buffer.gzip = None;
        buffer.bytes.extend_from_slice(line);
        if buffer.bytes.len() >= BATCH_BYTES_MAX || !runtime::is_running() {
            buffer.flush();
        } else if is_first {
            self.waiting.borrow_mut().push(file.id());
        }
    }

    fn flush(&self, id: usize) {
        if let Some(Some(buffer)) = lock(&self.buffers).0.get_mut(id) {
            buffer.flush();
        }
    }

    fn flush_waiting(&self) {
        // The list's memory is used again: a turn with lines in it costs no allocation.
        let mut files = std::mem::take(&mut self.waiting.borrow_mut().files);
        files.drain(..).for_each(|id| self.flush(id));
        self.waiting.borrow_mut().files = files;
    }
}

impl Buffers {
    fn of(&mut self, file: &Arc<LogFile>) -> &mut Buffer {
        let id = file.id();
        if self.0.len() <= id {
            self.0.resize_with(id + 1, || None);
        }
        let new = || Buffer { file: file.clone(), bytes: Vec::new(), gzip: None, timed: false };
        self.0[id].get_or_insert_with(new)
    }
}

impl Waiting {
    fn push(&mut self, id: usize) {
        self.files.push(id);
        match std::mem::replace(&mut self.flusher, Flusher::Awake) {
            Flusher::Absent => _ = runtime::spawn(write_batches()),
            Flusher::Asleep(waker) => waker.wake(),
            Flusher::Awake => (),
        }
    }
}

/// One task per thread, so that no line costs an allocation: writes whenever lines wait and nothing else is to do.
async fn write_batches() {
    let _ends = Ends;
    loop {
        poll_fn(|cx| {
            THREAD.with(|thread| {
                let mut waiting = thread.waiting.borrow_mut();
                if !waiting.files.is_empty() {
                    return Poll::Ready(());
                }
                waiting.flusher = Flusher::Asleep(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
        runtime::lull().await;
        THREAD.with(Thread::flush_waiting);
    }
}

/// The flusher ends with its runtime, and what it was to write is written then.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        _ = THREAD.try_with(|thread| {
            thread.waiting.borrow_mut().flusher = Flusher::Absent;
            thread.flush_waiting();
        });
    }
}

impl Buffer {
    /// Writes what is held `after` a while.
    fn time(&mut self, after: Option<Duration>) {
        let Some(after) = after.filter(|_| !self.bytes.is_empty() && runtime::is_running()) else { return };
        self.timed = true;
        let id = self.file.id();
        runtime::spawn(async move {
            clock::sleep(after).await;
            THREAD.with(|thread| {
                if let Some(Some(buffer)) = lock(&thread.buffers).0.get_mut(id) {
                    buffer.timed = false;
                    buffer.flush();
                }
            });
        });
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
