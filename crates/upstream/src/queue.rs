//! Requests that wait until a peer of their group may be asked (NGINX Plus: queue).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use foregate_net::clock;

/// Those that wait are few: the lock is taken only while somebody does.
pub struct Queue {
    /// Requests that may wait.
    pub max: u32,
    pub timeout: Duration,
    waiting: AtomicU32,
    wakers: Mutex<VecDeque<Waker>>,
    overflows: AtomicU64,
}

/// Peers come back by themselves too (`fail_timeout`): nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A place in the queue, given up when it goes.
pub(crate) struct Place<'a>(&'a Queue);

impl Queue {
    pub fn new(max: u32, timeout: Duration) -> Self {
        let waiting = AtomicU32::new(0);
        Self { max, timeout, waiting, wakers: Mutex::default(), overflows: AtomicU64::new(0) }
    }

    /// `None`: the queue is full.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let place = Place(self);
        if self.waiting.fetch_add(1, SeqCst) < self.max {
            return Some(place);
        }
        self.overflows.fetch_add(1, SeqCst);
        None
    }

    /// Requests that wait now.
    pub fn size(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// Requests that found no place in it.
    pub(crate) fn forget_overflows(&self) {
        self.overflows.store(0, SeqCst);
    }

    pub fn overflows(&self) -> u64 {
        self.overflows.load(SeqCst)
    }

    /// A peer has become free: the one that has waited longest looks again.
    pub(crate) fn call(&self) {
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        let next = self.wakers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Place<'_> {
    /// Waits until it may be worth looking again.
    pub(crate) async fn called(&self) {
        let mut registered = false;
        let call = poll_fn(|cx| {
            if std::mem::replace(&mut registered, true) {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // Wakers of those that gave up stand here too: no more than there are places.
            while wakers.len() >= self.0.max as usize {
                wakers.pop_front();
            }
            wakers.push_back(cx.waker().clone());
            Poll::Pending
        });
        _ = clock::timeout(LOOK_EVERY, call).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
