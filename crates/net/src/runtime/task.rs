//! The tasks of one thread: a slab of futures, their wakers and the queue of those to poll next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::guarded;
use super::remote::{self, Inbox};

/// The key of `run`'s own future, which stands in no slab.
const MAIN: u64 = u64::MAX;

const NONE: u32 = u32::MAX;

thread_local! {
    static TASKS: RefCell<Slab> = const { RefCell::new(Slab { slots: Vec::new(), free: NONE, n_used: 0, first_generation: 0 }) };
    static READY: RefCell<VecDeque<u64>> = const { RefCell::new(VecDeque::new()) };
}

/// A spawned task. Dropping the handle leaves the task alone.
pub struct Task {
    key: u64,
    /// A key means something on its own thread only.
    not_send: PhantomData<Rc<()>>,
}

impl Task {
    /// Drops the task's future now; if the task is the one that calls, as soon as it returns to the loop.
    pub fn abort(&self) {
        let body = TASKS.with_borrow_mut(|tasks| tasks.abort(self.key));
        guarded(|| drop(body));
    }

    pub fn is_finished(&self) -> bool {
        TASKS.with_borrow(|tasks| tasks.slot(self.key).is_none())
    }

    /// Says that nobody wants the handle; the same as dropping it.
    pub fn detach(self) {}
}

/// What a waker refers to: which task, on which thread, and whether it is queued already.
pub(super) struct Handle {
    key: u64,
    inbox: Arc<Inbox>,
    /// Set while the key stands in the thread's own queue. Only that thread writes it, so plain stores do.
    queued: AtomicBool,
    /// Set while the key stands in the inbox.
    queued_remotely: AtomicBool,
}

impl Handle {
    /// From now on a wake counts again.
    #[inline]
    fn awake(&self) {
        self.queued.store(false, Ordering::Relaxed);
        self.queued_remotely.store(false, Ordering::Release);
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        if remote::current_id() == self.inbox.id() {
            if !self.queued.load(Ordering::Relaxed) {
                self.queued.store(true, Ordering::Relaxed);
                make_ready(self.key);
            }
        } else if !self.queued_remotely.swap(true, Ordering::AcqRel) {
            self.inbox.wake(self.key);
        }
    }
}

/// A future with the waker that refers to it.
struct Body {
    future: Pin<Box<dyn Future<Output = ()>>>,
    own: Own,
}

/// The waker of one task together with what it refers to.
pub(super) struct Own {
    pub(super) waker: Waker,
    handle: Arc<Handle>,
}

impl Own {
    fn new(key: u64) -> Own {
        let inbox = remote::inbox().expect("because tasks live inside of runtime::run");
        let handle = Arc::new(Handle {
            key,
            inbox,
            queued: AtomicBool::new(true),
            queued_remotely: AtomicBool::new(false),
        });
        Own { waker: Waker::from(handle.clone()), handle }
    }
}

/// The key and the waker of `run`'s own future.
pub(super) fn main_waker() -> (u64, Own) {
    (MAIN, Own::new(MAIN))
}

/// Notes that `run`'s own future is about to be polled.
pub(super) fn main_awake(own: &Own) {
    own.handle.awake();
}

pub(super) fn spawn(future: Pin<Box<dyn Future<Output = ()>>>) -> Task {
    let key = TASKS.with_borrow_mut(|tasks| tasks.insert(future));
    make_ready(key);
    Task { key, not_send: PhantomData }
}

/// Polls the task once. A key whose task has gone is ignored.
pub(super) fn poll(key: u64) {
    let Some(mut body) = TASKS.with_borrow_mut(|tasks| tasks.take(key)) else { return };
    body.own.handle.awake();
    let mut cx = Context::from_waker(&body.own.waker);
    let polled = guarded(|| body.future.as_mut().poll(&mut cx));
    let finished = !matches!(polled, Some(Poll::Pending));
    let body = TASKS.with_borrow_mut(|tasks| tasks.put_back(key, body, finished));
    if body.is_some() {
        guarded(|| drop(body));
    }
}

/// Queues a key that is not queued yet.
#[inline]
pub(super) fn make_ready(key: u64) {
    // During thread exit the queue may be gone: then nobody polls any more.
    let _ = READY.try_with(|ready| ready.borrow_mut().push_back(key));
}

/// Moves up to `max` keys to `batch`, which is empty; false when there are none.
pub(super) fn take_ready(batch: &mut VecDeque<u64>, max: usize) -> bool {
    READY.with_borrow_mut(|ready| {
        if ready.len() <= max {
            std::mem::swap(ready, batch);
        } else {
            batch.extend(ready.drain(..max));
        }
        !batch.is_empty()
    })
}

pub(super) fn any_ready() -> bool {
    READY.with_borrow(|ready| !ready.is_empty())
}

pub(super) fn clear_ready() {
    READY.with_borrow_mut(VecDeque::clear);
}

pub(super) fn count() -> usize {
    TASKS.with_borrow(|tasks| tasks.n_used)
}

/// Gives up room that many tasks at once have needed.
pub(super) fn shrink() {
    TASKS.with_borrow_mut(Slab::shrink);
}

/// Drops one task, whichever; false when none is left.
pub(super) fn drop_one() -> bool {
    let body = TASKS.with_borrow_mut(Slab::take_any);
    let any = body.is_some();
    guarded(|| drop(body));
    any
}

struct Slab {
    slots: Vec<Slot>,
    free: u32,
    n_used: usize,
    /// Of new slots: above that of any slot that was given up.
    first_generation: u32,
}

struct Slot {
    /// Rises each time the slot is freed, so that old keys miss.
    generation: u32,
    next_free: u32,
    state: State,
}

enum State {
    Free,
    Idle(Body),
    /// The body is with `poll`.
    Polled,
    /// As `Polled`, but not wanted back.
    Aborted,
}

impl Slab {
    fn insert(&mut self, future: Pin<Box<dyn Future<Output = ()>>>) -> u64 {
        if self.free == NONE {
            self.slots.push(Slot { generation: self.first_generation, next_free: NONE, state: State::Free });
            self.free = (self.slots.len() - 1) as u32;
        }
        let idx = self.free;
        let slot = &mut self.slots[idx as usize];
        let key = u64::from(slot.generation) << 32 | u64::from(idx);
        slot.state = State::Idle(Body { future, own: Own::new(key) });
        self.free = slot.next_free;
        self.n_used += 1;
        key
    }

    fn slot(&self, key: u64) -> Option<&Slot> {
        let slot = self.slots.get(key as u32 as usize)?;
        (slot.generation == (key >> 32) as u32 && !matches!(slot.state, State::Free)).then_some(slot)
    }

    fn slot_mut(&mut self, key: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key as u32 as usize)?;
        (slot.generation == (key >> 32) as u32 && !matches!(slot.state, State::Free)).then_some(slot)
    }

    #[inline]
    fn take(&mut self, key: u64) -> Option<Body> {
        let slot = self.slot_mut(key)?;
        match std::mem::replace(&mut slot.state, State::Polled) {
            State::Idle(body) => Some(body),
            other => {
                slot.state = other;
                None
            }
        }
    }

    /// Takes the body back after a poll, or hands it out to be dropped.
    #[inline]
    fn put_back(&mut self, key: u64, body: Body, finished: bool) -> Option<Body> {
        let slot = self.slot_mut(key)?;
        if finished || matches!(slot.state, State::Aborted) {
            self.release(key);
            return Some(body);
        }
        slot.state = State::Idle(body);
        None
    }

    fn abort(&mut self, key: u64) -> Option<Body> {
        let slot = self.slot_mut(key)?;
        match std::mem::replace(&mut slot.state, State::Aborted) {
            State::Idle(body) => {
                self.release(key);
                Some(body)
            }
            _ => None,
        }
    }

    fn take_any(&mut self) -> Option<Body> {
        let idx = self.slots.iter().rposition(|slot| matches!(slot.state, State::Idle(_)))?;
        self.abort(u64::from(self.slots[idx].generation) << 32 | idx as u64)
    }

    /// Gives up the free slots behind the last one in use.
    fn shrink(&mut self) {
        while let Some(slot) = self.slots.pop_if(|slot| matches!(slot.state, State::Free)) {
            self.first_generation = self.first_generation.max(slot.generation);
        }
        self.slots.shrink_to_fit();
        self.free = NONE;
        for (idx, slot) in self.slots.iter_mut().enumerate().rev() {
            if matches!(slot.state, State::Free) {
                slot.next_free = std::mem::replace(&mut self.free, idx as u32);
            }
        }
    }

    fn release(&mut self, key: u64) {
        let idx = key as u32;
        let slot = &mut self.slots[idx as usize];
        slot.state = State::Free;
        // The highest generation is left out, so that no key ever equals MAIN.
        slot.generation = (slot.generation + 1) % (u32::MAX - 1);
        slot.next_free = self.free;
        self.free = idx;
        self.n_used -= 1;
    }
}
