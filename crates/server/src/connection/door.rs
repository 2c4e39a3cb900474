//! Where connections come in: a listening socket of one thread, open until it is closed without losing anybody.

use std::rc::Rc;
use std::time::Duration;

use foregate_core::Level;
use foregate_core::stats::{self, Count};
use foregate_net::runtime::{self, Task};
use foregate_net::{Addr, Listener, Stream, clock};

use super::{Thread, welcome};

/// After accept failed for want of descriptors or memory, the listener rests this long, as nginx's does.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// How long a closed door is looked at: by then the kernel knows that it is to wake others.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// Connections taken in at a closed door; a queue is hardly longer (nginx's default `backlog` is 511).
const LAST_ACCEPTS_MAX: usize = 4096;

/// A socket that a thread accepts on.
pub(super) struct Door {
    listener: Rc<Listener>,
    task: Task,
}

impl Door {
    pub(super) fn open(thread: &Rc<Thread>, listener: Listener, addr: &Addr) -> Self {
        let listener = Rc::new(listener);
        let task = runtime::spawn(stand_open(thread.clone(), listener.clone(), addr.clone()));
        Self { listener, task }
    }

    /// Accepts nobody who comes from now on. Of one connection the kernel wakes one thread (EPOLLEXCLUSIVE): those
    /// that this one was woken for and that wait still are let in, because nobody else, in another process that
    /// listens here perhaps, hears of them.
    pub(super) fn close(self, thread: &Rc<Thread>, addr: &Addr) {
        self.task.abort();
        self.listener.withdraw();
        thread.closing_doors.set(thread.closing_doors.get() + 1);
        let (thread, listener, addr) = (thread.clone(), self.listener, Rc::new(addr.clone()));
        runtime::spawn(async move {
            let _closing = Closing(&thread);
            let_in_the_rest(&thread, &listener, &addr);
            // A ring hears of the withdrawal at the end of the turn only.
            clock::sleep(LAST_LOOK).await;
            let_in_the_rest(&thread, &listener, &addr);
        });
    }
}

/// Counts a door until it is gone.
struct Closing<'a>(&'a Thread);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closing_doors.set(self.0.closing_doors.get() - 1);
        self.0.tell_if_empty();
    }
}

async fn stand_open(thread: Rc<Thread>, listener: Rc<Listener>, addr: Addr) {
    let addr = Rc::new(addr);
    loop {
        match listener.accept().await {
            Ok((stream, _)) if thread.makes_room() => {
                // Those that are to close for it do so first. The door may close meanwhile, but not on who is inside.
                let (thread, addr) = (thread.clone(), addr.clone());
                runtime::spawn(async move { let_in(&thread, stream, &addr) });
                runtime::yield_now().await;
            }
            Ok((stream, _)) => let_in(&thread, stream, &addr),
            Err(error) => {
                let text = format!("accept4() failed ({})", foregate_net::sys::errno_text(&error));
                thread.local().cycle.main.error_log.write(Level::Crit, &text);
                clock::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn let_in_the_rest(thread: &Rc<Thread>, listener: &Listener, addr: &Rc<Addr>) {
    for _ in 0..LAST_ACCEPTS_MAX {
        let Ok(Some(stream)) = listener.accept_waiting() else { return };
        let_in(thread, stream, addr);
    }
}

fn let_in(thread: &Rc<Thread>, stream: Stream, addr: &Rc<Addr>) {
    stats::add(Count::Accepted);
    let max = thread.connections_max();
    if thread.connections.get() >= max {
        let text = format!("{max} worker_connections are not enough");
        thread.local().cycle.main.error_log.write(Level::Alert, &text);
        return;
    }
    welcome(thread, stream, addr);
}
