//! A small pool of helper threads for calls that block: name look-ups by the C library, slow files.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Helper threads of the whole process.
const THREADS_MAX: usize = 16;
/// How long a helper waits for more before it ends.
const IDLE: Duration = Duration::from_secs(10);

static POOL: Pool = Pool { state: Mutex::new(State::new()), work: Condvar::new() };

/// Runs `f` on a helper thread. Work beyond what the threads can do at once waits in line.
///
/// Dropping the future forgets the result; `f` runs all the same. A panic in `f` passes on to who awaits.
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let shared = Arc::new(Mutex::new(Slot { value: None, waker: None }));
    let answer = shared.clone();
    POOL.submit(Box::new(move || {
        let value = catch_unwind(AssertUnwindSafe(f));
        let mut slot = lock(&answer);
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            drop(slot);
            waker.wake();
        }
    }));
    Answer { shared }
}

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    n_threads: usize,
    n_idle: usize,
}

impl State {
    const fn new() -> State {
        State { queue: VecDeque::new(), n_threads: 0, n_idle: 0 }
    }
}

impl Pool {
    fn submit(&'static self, job: Job) {
        let mut state = lock(&self.state);
        state.queue.push_back(job);
        if state.n_idle >= state.queue.len() {
            self.work.notify_one();
        } else if state.n_threads < THREADS_MAX {
            state.n_threads += 1;
            drop(state);
            self.start_thread();
        }
    }

    /// Without a thread to be had the work is done here and now: late, but done.
    fn start_thread(&'static self) {
        let started = thread::Builder::new().name("blocking".to_string()).spawn(|| self.serve());
        if started.is_err() {
            let job = {
                let mut state = lock(&self.state);
                state.n_threads -= 1;
                if state.n_threads == 0 { state.queue.pop_front() } else { None }
            };
            job.into_iter().for_each(|job| job());
        }
    }

    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job();
                state = lock(&self.state);
                continue;
            }
            state.n_idle += 1;
            let (back, waited) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.n_idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.n_threads -= 1;
                return;
            }
        }
    }
}

struct Slot<T> {
    value: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

struct Answer<T> {
    shared: Arc<Mutex<Slot<T>>>,
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.shared);
        match slot.value.take() {
            Some(Ok(value)) => Poll::Ready(value),
            Some(Err(panic)) => {
                drop(slot);
                resume_unwind(panic)
            }
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
