//! Tasks that have had their share: they go on one in each turn of the loop, behind all that others have to do.
//!
//! What wakes itself to go on stands in line with those who have waited for an event; where many do so, everybody else
//! waits for all of them each time. Who rests instead makes others wait for one share at most.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

thread_local! {
    static RESTING: RefCell<VecDeque<(Waker, Rc<Cell<bool>>)>> = const { RefCell::new(VecDeque::new()) };
}

/// One task's rest. It may be woken meanwhile by what it waits for besides: it then looks at [`Rest::is_on`].
#[derive(Default)]
pub struct Rest(Rc<Cell<bool>>);

impl Rest {
    /// Wakes the task when it is its turn again.
    pub fn begin(&self, cx: &Context<'_>) {
        if !self.0.replace(true) {
            RESTING.with_borrow_mut(|all| all.push_back((cx.waker().clone(), self.0.clone())));
        }
    }

    /// Whether it has begun and is not over.
    pub fn is_on(&self) -> bool {
        self.0.get()
    }
}

/// Lets all others go first that have something to do, and those who rest already.
pub async fn rest() {
    let rest = Rest::default();
    let mut has_begun = false;
    poll_fn(|cx| {
        if !std::mem::replace(&mut has_begun, true) {
            rest.begin(cx);
        }
        if rest.is_on() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await
}

pub(super) fn any() -> bool {
    RESTING.with_borrow(|all| !all.is_empty())
}

/// Ends the rest that has lasted longest.
pub(super) fn end_one() {
    if let Some((waker, is_on)) = RESTING.with_borrow_mut(VecDeque::pop_front) {
        is_on.set(false);
        waker.wake();
    }
}

/// Forgets all of them with their tasks.
pub(super) fn clear() {
    drop(RESTING.take());
}
