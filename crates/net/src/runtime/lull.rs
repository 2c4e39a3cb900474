//! Work that can wait for a moment in which nobody has anything to do: under load it is done seldom, and much of it at
//! once; else at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Where there is no lull, turns that go by before the work is done all the same.
const TURNS_MAX: u64 = 16;

thread_local! {
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    /// The turn in which the first of them came.
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

/// Waits until a look at the outside has brought nothing, for some turns of the loop at most.
pub async fn lull() {
    let mut waits = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waits, true) {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| {
            if waiting.is_empty() {
                SINCE.set(super::turn_number());
            }
            waiting.push(cx.waker().clone());
        });
        Poll::Pending
    })
    .await
}

pub(super) fn any() -> bool {
    WAITING.with_borrow(|waiting| !waiting.is_empty())
}

/// Wakes those who wait, if nobody else has anything to do or they have waited for long.
pub(super) fn end(is_quiet: bool) {
    if any() && (is_quiet || super::turn_number() - SINCE.get() >= TURNS_MAX) {
        // Waking makes ready and no more: nobody comes to wait meanwhile. The list's memory is used again.
        let mut woken = WAITING.take();
        woken.drain(..).for_each(Waker::wake);
        WAITING.set(woken);
    }
}

/// Forgets all of them with their tasks.
pub(super) fn clear() {
    drop(WAITING.take());
}
