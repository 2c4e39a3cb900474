//! An object on its way: those who wait for it are served from its file while it is still being written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use foregate_core::{BodyError, FileSlice, Source};
use foregate_net::clock;
use foregate_wire::{Block, Buf};

use crate::header::Header;

/// What all threads see of an object whose body is being fetched.
pub(crate) struct Coming {
    pub(crate) header: Header,
    /// The header's bytes.
    pub(crate) bytes: Arc<Vec<u8>>,
    file: Arc<File>,
    /// What was announced of the body's length.
    length: Option<u64>,
    written: AtomicU64,
    /// When that was, by `clock::ms`.
    moved_ms: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<Waker>,
    /// Counts how often all were woken.
    round: u64,
    /// Whether the body is whole; unset while it comes.
    ended: Option<bool>,
}

impl Coming {
    pub(crate) fn new(header: Header, bytes: Vec<u8>, file: Arc<File>, length: Option<u64>) -> Self {
        let (bytes, written, moved_ms) = (Arc::new(bytes), AtomicU64::new(0), AtomicU64::new(clock::ms()));
        Self { header, bytes, file, length, written, moved_ms, waiting: Mutex::default() }
    }

    /// So much of the body is in the file now.
    pub(crate) fn written(&self, bytes: u64) {
        let mut waiting = self.lock();
        self.written.store(bytes, Ordering::Release);
        self.moved_ms.store(clock::ms(), Ordering::Relaxed);
        waiting.wake();
    }

    /// No more comes; whether the body is whole.
    pub(crate) fn end(&self, whole: bool) {
        let mut waiting = self.lock();
        waiting.ended.get_or_insert(whole);
        waiting.wake();
    }

    /// Something of it has come lately: where it has not for so long, somebody else may try (`proxy_cache_lock_age`).
    pub(crate) fn is_lively(&self, now_ms: u64, age_ms: u64) -> bool {
        now_ms.saturating_sub(self.moved_ms.load(Ordering::Relaxed)) < age_ms
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wake(&mut self) {
        self.round += 1;
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The body of an object on its way, from its beginning, as it comes.
pub(crate) struct Follow {
    coming: Arc<Coming>,
    at: u64,
    /// Unset: to the end, wherever that will be.
    end: Option<u64>,
    /// In which round this was put among those to be woken, and for whom.
    registered: Option<(u64, Waker)>,
}

impl Follow {
    pub(crate) fn new(coming: Arc<Coming>) -> Self {
        Self { at: 0, end: coming.length, coming, registered: None }
    }

    /// How many bytes are there to take; 0 at the end.
    fn poll_there(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, BodyError>> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
        let mut there = self.coming.written.load(Ordering::Acquire).saturating_sub(self.at).min(left);
        if there == 0 && left > 0 {
            let mut waiting = self.coming.lock();
            there = self.coming.written.load(Ordering::Acquire).saturating_sub(self.at).min(left);
            match waiting.ended {
                _ if there > 0 => (),
                Some(true) => return Poll::Ready(Ok(0)),
                Some(false) => return Poll::Ready(Err(BodyError::Upstream)),
                None => {
                    let round = waiting.round;
                    let known = self
                        .registered
                        .as_ref()
                        .is_some_and(|it| it.0 == round && it.1.will_wake(cx.waker()));
                    if !known {
                        waiting.wakers.push(cx.waker().clone());
                        self.registered = Some((round, cx.waker().clone()));
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(there))
    }

    /// Where in the file the body's next byte lies.
    fn place(&self) -> u64 {
        self.coming.header.body_start + self.at
    }
}

impl Source for Follow {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        self.poll_there(cx).map(|there| {
            let mut block = Block::take();
            let room = block.spare();
            let want = there?.min(room.len() as u64) as usize;
            if want == 0 {
                return Ok(None);
            }
            self.coming.file.read_exact_at(&mut room[..want], self.place()).map_err(|_| BodyError::File)?;
            self.at += want as u64;
            Ok(Some(block.fill(want)))
        })
    }

    fn lies_in_file(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FileSlice>, BodyError>> {
        self.poll_there(cx).map_ok(|there| {
            let start = self.place();
            self.at += there;
            (there > 0).then(|| FileSlice::new(self.coming.file.clone(), start, start + there))
        })
    }

    fn seek(&mut self, start: u64, end: u64) -> bool {
        (self.at, self.end) = (start, Some(end));
        true
    }

    fn len(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    struct Deaf;

    impl std::task::Wake for Deaf {
        fn wake(self: Arc<Self>) {}
    }

    fn coming(length: Option<u64>) -> Arc<Coming> {
        let header = Header::for_tests(Key::of(b"a"), 1);
        let path = std::env::temp_dir().join(format!("foregate-coming-{}-{length:?}", std::process::id()));
        std::fs::write(&path, [vec![0; header.body_start as usize], b"0123456789".to_vec()].concat())
            .unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        Arc::new(Coming::new(header, Vec::new(), file, length))
    }

    fn poll(follow: &mut Follow) -> Poll<Result<Option<Vec<u8>>, BodyError>> {
        let next = follow.poll_next(&mut Context::from_waker(Waker::noop()));
        next.map_ok(|it| it.map(|it| it.to_vec()))
    }

    #[test]
    fn what_is_written_is_followed_to_its_end() {
        let coming = coming(None);
        let mut follow = Follow::new(coming.clone());
        assert!(poll(&mut follow).is_pending() && follow.len().is_none());
        coming.written(4);
        assert_eq!(poll(&mut follow), Poll::Ready(Ok(Some(b"0123".to_vec()))));
        let waker = Waker::from(Arc::new(Deaf));
        let mut cx = Context::from_waker(&waker);
        assert!(follow.poll_next(&mut cx).is_pending() && follow.poll_next(&mut cx).is_pending());
        assert_eq!(coming.lock().wakers.len(), 1);
        coming.written(10);
        coming.end(true);
        assert_eq!(poll(&mut follow), Poll::Ready(Ok(Some(b"456789".to_vec()))));
        assert_eq!(poll(&mut follow), Poll::Ready(Ok(None)));
    }

    #[test]
    fn parts_are_waited_for_and_failures_are_told() {
        let coming = coming(Some(10));
        let mut follow = Follow::new(coming.clone());
        assert!(follow.seek(6, 8) && follow.len() == Some(2));
        coming.written(6);
        assert!(poll(&mut follow).is_pending());
        coming.written(10);
        assert_eq!(poll(&mut follow), Poll::Ready(Ok(Some(b"67".to_vec()))));
        assert_eq!(poll(&mut follow), Poll::Ready(Ok(None)));
        let mut other = Follow::new(coming.clone());
        other.seek(10, 20);
        coming.end(false);
        assert_eq!(poll(&mut other), Poll::Ready(Err(BodyError::Upstream)));
    }
}
