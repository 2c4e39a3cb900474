//! Sending together: a task that has something to send waits until the others that are ready have come as far.
//!
//! A turn of the loop that receives for all and then sends for all finds the code of each step, the kernel's above all,
//! in the processor's cache; and a peer on this machine is woken once for several messages, not for each.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use super::task;

thread_local! {
    static NOW: Now = const { Now { task: Cell::new(0), left: Cell::new(0), waiting: RefCell::new(Vec::new()) } };
}

/// What the loop does at present.
struct Now {
    /// The task that is polled.
    task: Cell<u64>,
    /// Tasks of this batch that are still to be polled.
    left: Cell<usize>,
    /// Tasks that wait for the others.
    waiting: RefCell<Vec<u64>>,
}

/// One task's wait for the others of a turn, once for each message.
#[derive(Debug, Default)]
pub struct Gather {
    has_waited: bool,
}

impl Gather {
    /// Ready at once where nobody else is, and in this turn of the loop at the latest. Only for the task that is polled
    /// now: it is polled again. Something else may wake it meanwhile, which ends the wait.
    #[inline]
    pub fn poll(&mut self) -> Poll<()> {
        if std::mem::take(&mut self.has_waited) {
            return Poll::Ready(());
        }
        NOW.with(|now| {
            if now.left.get() == 0 && !task::any_ready() {
                return Poll::Ready(());
            }
            self.has_waited = true;
            now.waiting.borrow_mut().push(now.task.get());
            Poll::Pending
        })
    }
}

/// Waits until the others that are ready in this turn have come as far.
#[inline]
pub async fn gather() {
    let mut gather = Gather::default();
    poll_fn(|_| gather.poll()).await
}

/// This task is polled now, and so many of its batch after it.
#[inline]
pub(super) fn note(task: u64, left: usize) {
    NOW.with(|now| {
        now.task.set(task);
        now.left.set(left);
    });
}

/// Makes all ready who wait; false: nobody does.
pub(super) fn release() -> bool {
    NOW.with(|now| {
        let mut waiting = now.waiting.borrow_mut();
        let any = !waiting.is_empty();
        // One that something else has woken as well is polled twice, which costs little and happens seldom.
        waiting.drain(..).for_each(task::make_ready);
        any
    })
}

/// Forgets all of them with their tasks.
pub(super) fn clear() {
    NOW.with(|now| now.waiting.take());
}
