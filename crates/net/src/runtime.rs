//! The executor of one thread: tasks, the loop around epoll, and the ways into it from other threads.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::sys::give_back_memory;
use crate::{clock, reactor};

mod blocking;
mod gather;
mod lull;
mod remote;
mod rest;
mod task;

pub use blocking::{Full, Pool, blocking};
pub use gather::{Gather, gather};
pub use lull::lull;
pub use remote::Remote;
pub use rest::{Rest, rest};
pub use task::Task;

/// Task polls between two looks at epoll: what became ready meanwhile is not starved by tasks that wake each other.
const POLLS_PER_TURN_MAX: usize = 512;

/// Tasks that are ready again and again do not keep us longer from looking at the outside.
const TURN_LENGTH: Duration = Duration::from_micros(500);

/// Tasks that dropped tasks may spawn, in turn, when a runtime ends: a guard against a loop.
const LAST_SPAWNS_MAX: usize = 100_000;

thread_local! {
    /// The number of this loop turn, for those who bound their work per turn.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// Gives the memory back that a crowd of tasks and sockets has left on this thread.
pub fn shrink() {
    task::shrink();
    reactor::shrink();
    give_back_memory();
}

type PanicHook = Box<dyn Fn(&str) + Send + Sync>;

/// What is told about a task that panicked: its message.
static PANIC_HOOK: OnceLock<PanicHook> = OnceLock::new();

/// Runs `main` to its end on this thread, with everything it spawned; what is left then is dropped.
///
/// A panic of `main` passes through; one of a spawned task ends that task only. Fails when epoll is not to be had
/// or when this thread runs already.
pub fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let _entered = Entered::new()?;
    let (key, waker) = task::main_waker();
    let mut main = pin!(main);
    task::make_ready(key);
    let mut batch = VecDeque::new();
    loop {
        let mut polls_left = POLLS_PER_TURN_MAX;
        let mut is_first = true;
        while polls_left > 0
            && (std::mem::take(&mut is_first) || task::any_ready() && !is_long() || gather::release())
            && task::take_ready(&mut batch, polls_left)
        {
            polls_left -= batch.len();
            while let Some(next) = batch.pop_front() {
                gather::note(next, batch.len());
                if next != key {
                    task::poll(next);
                    continue;
                }
                task::main_awake(&waker);
                if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker.waker)) {
                    return Ok(value);
                }
            }
        }
        gather::release();
        turn(task::any_ready() || rest::any() || lull::any())?;
        lull::end(!task::any_ready());
        rest::end_one();
    }
}

/// Starts a task on this thread; it is first polled in a later step of the loop. Panics outside of `run`.
pub fn spawn(future: impl Future<Output = ()> + 'static) -> Task {
    task::spawn(Box::pin(future))
}

/// Lets every other task that is ready now go first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// The handle by which other threads reach this one. Panics outside of `run`.
pub fn remote() -> Remote {
    remote::current().expect("because a remote handle is taken inside of runtime::run")
}

/// Whether this thread is inside of `run`.
pub fn is_running() -> bool {
    remote::current_id() != 0
}

/// Tasks alive on this thread, `main` not counted.
pub fn n_tasks() -> usize {
    task::count()
}

/// Reports the panics of tasks to `report` (only the first call counts). The default hook of the standard library
/// prints them as well.
pub fn on_task_panic(report: impl Fn(&str) + Send + Sync + 'static) {
    let _ = PANIC_HOOK.set(Box::new(report));
}

/// The number of the present loop turn.
pub(crate) fn turn_number() -> u64 {
    TURN.get()
}

/// Runs `f`, reporting a panic to the hook; `None` when it panicked.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(panic) => {
            report(&*panic);
            // The payload may panic once more when dropped; forgetting it is the lesser evil.
            std::mem::forget(panic);
            None
        }
    }
}

fn report(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    if let Some(hook) = PANIC_HOOK.get() {
        hook(text.unwrap_or("a panic without a message"));
    }
}

/// Whether the turn has taken long already.
fn is_long() -> bool {
    Instant::now().saturating_duration_since(clock::now()) > TURN_LENGTH
}

/// One look at the outside: waits for events (not at all if `busy`), then sets the clock and wakes what is due.
fn turn(busy: bool) -> io::Result<()> {
    let wait_ms = if busy { Some(0) } else { clock::next_ms() };
    let called = reactor::wait(wait_ms)?;
    TURN.set(TURN.get() + 1);
    clock::turn();
    if called {
        remote::run_inbox();
    }
    Ok(())
}

/// Marks this thread as running for as long as it lives.
struct Entered;

impl Entered {
    fn new() -> io::Result<Entered> {
        if is_running() {
            return Err(io::Error::other("this thread runs a runtime already"));
        }
        let doorbell = remote::open()?;
        if let Err(error) = reactor::start(&*doorbell) {
            remote::close();
            return Err(error);
        }
        clock::turn();
        Ok(Entered)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        for _ in 0..LAST_SPAWNS_MAX {
            if !task::drop_one() {
                break;
            }
        }
        task::clear_ready();
        rest::clear();
        lull::clear();
        gather::clear();
        if let Some(doorbell) = remote::close() {
            reactor::stop(&*doorbell);
        }
        clock::stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    #[test]
    fn tasks_take_turns() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        run(async move {
            for name in ["a", "b"] {
                let log = log.clone();
                spawn(async move {
                    for step in 0..3 {
                        log.borrow_mut().push(format!("{name}{step}"));
                        yield_now().await;
                    }
                });
            }
            while n_tasks() > 0 {
                yield_now().await;
            }
        })
        .unwrap();
        assert_eq!(*seen.borrow(), ["a0", "b0", "a1", "b1", "a2", "b2"]);
    }

    #[test]
    fn those_who_gather_go_on_when_all_have_come_as_far() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        run(async move {
            for name in ["a", "b", "c"] {
                let log = log.clone();
                spawn(async move {
                    log.borrow_mut().push(format!("{name} takes"));
                    gather().await;
                    log.borrow_mut().push(format!("{name} gives"));
                });
            }
            while n_tasks() > 0 {
                rest().await;
            }
        })
        .unwrap();
        // The last has nobody to wait for.
        assert_eq!(*seen.borrow(), ["a takes", "b takes", "c takes", "c gives", "a gives", "b gives"]);
    }

    #[test]
    fn who_is_alone_gathers_at_once() {
        run(async {
            let before = turn_number();
            for _ in 0..100 {
                gather().await;
            }
            assert_eq!(turn_number(), before);
        })
        .unwrap();
    }

    #[test]
    fn who_gathers_again_and_again_does_not_keep_the_loop_from_the_clock() {
        run(async {
            let end = Rc::new(Cell::new(false));
            for _ in 0..3 {
                let end = end.clone();
                spawn(async move {
                    while !end.get() {
                        gather().await;
                        yield_now().await;
                    }
                });
            }
            clock::sleep(Duration::from_millis(5)).await;
            end.set(true);
        })
        .unwrap();
    }

    #[test]
    fn a_lull_comes_when_nobody_has_anything_to_do_or_after_some_turns() {
        run(async {
            let before = turn_number();
            lull().await;
            assert_eq!(turn_number() - before, 1);
            let end = Rc::new(Cell::new(false));
            let ended = end.clone();
            spawn(async move {
                while !ended.get() {
                    yield_now().await;
                }
            });
            // The other task is never done: the lull ends all the same.
            lull().await;
            end.set(true);
        })
        .unwrap();
    }

    #[test]
    fn who_rests_goes_behind_those_who_are_woken() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        run(async move {
            let task = |name, n_rests| {
                let log = log.clone();
                spawn(async move {
                    for step in 0..n_rests {
                        rest().await;
                        log.borrow_mut().push(format!("{name}{step}"));
                    }
                    log.borrow_mut().push(format!("{name} ends"));
                });
            };
            task("a", 2);
            task("b", 1);
            rest().await;
            task("c", 0);
            while n_tasks() > 0 {
                yield_now().await;
            }
        })
        .unwrap();
        assert_eq!(*seen.borrow(), ["c ends", "a0", "b0", "b ends", "a1", "a ends"]);
    }

    #[test]
    fn a_panic_ends_its_task_only() {
        static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        on_task_panic(|text| SEEN.lock().unwrap().push(text.to_string()));
        let value = run(async {
            spawn(async { panic!("boom {}", 7) });
            clock::sleep(Duration::from_millis(2)).await;
            spawn(async {}).detach();
            5
        });
        assert_eq!(value.unwrap(), 5);
        assert!(SEEN.lock().unwrap().iter().any(|text| text == "boom 7"));
    }

    #[test]
    fn old_handles_miss_after_the_room_of_many_tasks_was_given_up() {
        run(async {
            let forever = || spawn(std::future::pending());
            let (first, gone) = (forever(), [forever(), forever(), forever()]);
            gone[0].abort();
            let last = forever();
            [&gone[1], &gone[2]].into_iter().for_each(Task::abort);
            shrink();
            let new = [forever(), forever()];
            assert!(gone.iter().all(Task::is_finished));
            gone.iter().for_each(Task::abort);
            assert!([&first, &last, &new[0], &new[1]].into_iter().all(|task| !task.is_finished()));
            assert_eq!(n_tasks(), 4);
        })
        .unwrap();
    }

    #[test]
    fn an_aborted_task_is_dropped_at_once_and_the_rest_at_the_end() {
        struct Tell(Rc<Cell<u32>>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Rc::new(Cell::new(0));
        let count = dropped.clone();
        run(async move {
            let tell = Tell(count.clone());
            let task = spawn(async move {
                let _tell = tell;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            assert!(!task.is_finished());
            task.abort();
            assert_eq!(count.get(), 1);
            assert!(task.is_finished());
            let tell = Tell(count.clone());
            spawn(async move {
                let _tell = tell;
                std::future::pending::<()>().await;
            });
        })
        .unwrap();
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn a_task_may_abort_itself() {
        run(async {
            let own: Rc<RefCell<Option<Task>>> = Rc::default();
            let handle = own.clone();
            let task = spawn(async move {
                handle.borrow().as_ref().unwrap().abort();
                std::future::pending::<()>().await;
            });
            *own.borrow_mut() = Some(task);
            clock::sleep(Duration::from_millis(2)).await;
            assert_eq!(n_tasks(), 0);
        })
        .unwrap();
    }

    #[test]
    fn other_threads_wake_a_task_and_run_closures_here() {
        let here = std::thread::current().id();
        run(async move {
            let (send, receive) = std::sync::mpsc::channel();
            let remote = remote();
            let value = blocking(move || {
                remote.run(move || send.send(std::thread::current().id()).unwrap());
                std::thread::sleep(Duration::from_millis(5));
                42
            });
            assert_eq!(value.await, 42);
            clock::sleep(Duration::from_millis(5)).await;
            assert_eq!(receive.try_recv(), Ok(here));
        })
        .unwrap();
    }

    #[test]
    fn blocking_work_runs_beside_the_loop() {
        run(async {
            // Each hears of the other while it works, and the loop goes on meanwhile.
            let ((to_one, of_other), (to_other, of_one)) = (channel(), channel());
            let meet = |n: u32, to: Sender<()>, of: Receiver<()>| {
                blocking(move || {
                    to.send(()).unwrap();
                    of.recv_timeout(Duration::from_secs(30)).unwrap();
                    n
                })
            };
            let both = [meet(0, to_other, of_other), meet(1, to_one, of_one)];
            clock::sleep(Duration::from_millis(1)).await;
            let mut seen = Vec::new();
            for one in both {
                seen.push(one.await);
            }
            assert_eq!(seen, [0, 1]);
        })
        .unwrap();
    }

    #[test]
    fn a_thread_runs_once_at_a_time_and_again_later() {
        assert!(run(async { run(async {}).is_err() }).unwrap());
        assert!(run(async {}).is_ok());
    }
}
