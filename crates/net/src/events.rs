//! How threads learn of what happens on their sockets: by epoll, or by io_uring where the kernel lets us (nginx: use).

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::reactor;

/// A way to wait for sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Events {
    Epoll,
    IoUring,
}

/// What is chosen when nobody says. io_uring costs 10 to 20 % less per small request and as much per large one, but
/// valgrind 3.19 stops all threads while one of them waits in it: what counts instructions must say `use epoll` first.
const AUTOMATIC: Events = Events::Epoll;

/// What threads started from now on use, as a number of `Events`.
static CHOSEN: AtomicU8 = AtomicU8::new(Events::Epoll as u8);

thread_local! {
    static CHOSEN_HERE: Cell<Option<Events>> = const { Cell::new(None) };
}

impl Events {
    /// As `use` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Events::Epoll => "epoll",
            Events::IoUring => "io_uring",
        }
    }
}

/// Chooses for the threads of this process that have not begun yet; says what they will use. io_uring needs
/// Linux 6.17, and containers often forbid it: then it is epoll, whatever was wanted.
pub fn choose(wanted: Option<Events>) -> Events {
    let wanted = wanted.unwrap_or(AUTOMATIC);
    let possible = wanted == Events::IoUring && reactor::probe_uring().is_ok();
    let chosen = if possible { Events::IoUring } else { Events::Epoll };
    CHOSEN.store(chosen as u8, Ordering::Relaxed);
    chosen
}

/// Chooses for this thread alone, before its first `runtime::run`: for tests.
pub fn choose_here(events: Events) {
    CHOSEN_HERE.set(Some(events));
}

/// What runtimes that begin on this thread will use.
pub fn chosen() -> Events {
    if let Some(here) = CHOSEN_HERE.get() {
        return here;
    }
    #[cfg(test)]
    if std::env::var("FOREGATE_TEST_EVENTS").is_ok_and(|name| name == Events::IoUring.name()) {
        return Events::IoUring;
    }
    match CHOSEN.load(Ordering::Relaxed) {
        1 => Events::IoUring,
        _ => Events::Epoll,
    }
}
