//! Small pools of helper threads: one for calls that block (name look-ups by the C library, slow files), others for what
//! computes for long.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Helper threads of the whole process for what waits.
const THREADS_MAX: usize = 16;
/// How long a helper waits for more before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// The priority of helpers that compute (nice): whoever serves goes first.
const NICE: i32 = 10;

static POOL: Pool = Pool::new("blocking", || THREADS_MAX, usize::MAX);

/// Runs `f` on a helper thread. Work beyond what the threads can do at once waits in line.
///
/// Dropping the future forgets the result; `f` runs all the same. A panic in `f` passes on to who awaits.
pub fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let (shared, answer) = Slot::pair();
    // Its line has no end, so that there is always room.
    _ = POOL.submit(Box::new(move || settle(&answer, f)));
    Answer { shared }
}

type Job = Box<dyn FnOnce() + Send>;

/// Helper threads for one kind of work.
pub struct Pool {
    name: &'static str,
    threads_max: fn() -> usize,
    /// Work that may wait in line.
    waiting_max: usize,
    nice: bool,
    state: Mutex<State>,
    work: Condvar,
}

/// The line is full.
#[derive(Debug)]
pub struct Full;

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
    const fn new(name: &'static str, threads_max: fn() -> usize, waiting_max: usize) -> Pool {
        let state = Mutex::new(State::new());
        Pool { name, threads_max, waiting_max, nice: false, state, work: Condvar::new() }
    }

    /// A pool for work that computes for long: its threads give way to those that serve, and are half as many as there
    /// are cores.
    pub const fn computing(name: &'static str, waiting_max: usize) -> Pool {
        let mut pool = Pool::new(name, half_the_cores, waiting_max);
        pool.nice = true;
        pool
    }

    /// As [`blocking`], but work whose future has been dropped is not begun.
    ///
    /// # Errors
    /// Too much work waits already.
    pub fn run<T: Send + 'static>(
        &'static self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<impl Future<Output = T>, Full> {
        let (shared, answer) = Slot::pair();
        self.submit(Box::new(move || {
            if Arc::strong_count(&answer) > 1 {
                settle(&answer, f);
            }
        }))?;
        Ok(Answer { shared })
    }

    fn submit(&'static self, job: Job) -> Result<(), Full> {
        let mut state = lock(&self.state);
        if state.queue.len() >= self.waiting_max {
            return Err(Full);
        }
        state.queue.push_back(job);
        if state.n_idle >= state.queue.len() {
            self.work.notify_one();
        } else if state.n_threads < (self.threads_max)() {
            state.n_threads += 1;
            drop(state);
            self.start_thread();
        }
        Ok(())
    }

    /// Without a thread to be had the work is done here and now: late, but done.
    fn start_thread(&'static self) {
        let started = thread::Builder::new().name(self.name.to_string()).spawn(|| self.serve());
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
        if self.nice {
            // On Linux it is the thread's own.
            _ = rustix::process::setpriority_process(None, NICE);
        }
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

fn half_the_cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from));
    (cores / 2).clamp(1, THREADS_MAX)
}

/// Does the work and tells who waits for it.
fn settle<T>(answer: &Mutex<Slot<T>>, f: impl FnOnce() -> T) {
    let value = catch_unwind(AssertUnwindSafe(f));
    let mut slot = lock(answer);
    slot.value = Some(value);
    if let Some(waker) = slot.waker.take() {
        drop(slot);
        waker.wake();
    }
}

type Shared<T> = Arc<Mutex<Slot<T>>>;

struct Slot<T> {
    value: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    /// Shared by who waits and who works.
    fn pair() -> (Shared<T>, Shared<T>) {
        let shared = Arc::new(Mutex::new(Slot { value: None, waker: None }));
        (shared.clone(), shared)
    }
}

struct Answer<T> {
    shared: Shared<T>,
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
