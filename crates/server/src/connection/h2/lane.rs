//! One stream as its exchange and the connection share it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use foregate_core::Client;
use foregate_net::runtime;
use foregate_wire::h2::Code;
use foregate_wire::{Buf, Fields};

use super::body::Input;
use super::link::Link;
use super::send;

/// The stream of one exchange.
pub(super) struct Lane {
    pub(super) link: Rc<Link>,
    /// In the machine, and among the lanes: its own until it is lost.
    pub(super) place: u32,
    pub(super) id: u32,
    /// The stream is closed, or the connection is: nothing can be sent.
    lost: Cell<bool>,
    pub(super) input: RefCell<Input>,
    /// Who waits for the body, for room to send, for the client's leaving.
    reader: Wakes,
    writer: Wakes,
    watcher: Wakes,
    task: RefCell<Option<runtime::Task>>,
}

/// Somebody who waits.
#[derive(Default)]
pub(super) struct Wakes(RefCell<Option<Waker>>);

impl Wakes {
    pub(super) fn set(&self, cx: &Context<'_>) {
        let mut waker = self.0.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        let waker = self.0.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }
}

impl Lane {
    pub(super) fn new(link: &Rc<Link>, place: u32, id: u32) -> Rc<Lane> {
        Rc::new(Lane {
            link: link.clone(),
            place,
            id,
            lost: Cell::new(false),
            input: RefCell::default(),
            reader: Wakes::default(),
            writer: Wakes::default(),
            watcher: Wakes::default(),
            task: RefCell::default(),
        })
    }

    pub(super) fn set_task(&self, task: runtime::Task) {
        *self.task.borrow_mut() = Some(task);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// The stream is closed: everybody who waits for something on it learns so.
    pub(super) fn lose(&self) {
        self.lost.set(true);
        self.reader.wake();
        self.writer.wake();
        self.watcher.wake();
    }

    /// The exchange ends here and now.
    pub(super) fn abort(&self) {
        self.lost.set(true);
        let task = self.task.borrow_mut().take();
        if let Some(task) = task {
            task.abort();
        }
    }

    pub(super) fn take_data(&self, bytes: Buf, ends: bool) {
        self.input.borrow_mut().take(bytes, ends, self.reader.is_set());
        self.reader.wake();
    }

    pub(super) fn take_trailers(&self, fields: Fields) {
        self.input.borrow_mut().take_trailers(fields);
        self.reader.wake();
    }

    pub(super) fn wait_to_read(&self, cx: &Context<'_>) {
        self.reader.set(cx);
    }

    pub(super) fn wait_to_write(&self, cx: &Context<'_>) {
        self.writer.set(cx);
    }

    pub(super) fn may_write(&self) {
        self.writer.wake();
    }

    /// Cancels the stream, if it is still open.
    pub(super) fn reset(&self, code: Code) {
        if !self.is_lost() {
            self.link.mux.borrow_mut().reset(self.place, code);
            self.close();
        }
    }

    /// The stream has been closed by what was sent.
    pub(super) fn close(&self) {
        if !self.lost.replace(true) {
            self.link.detach(self.place);
        }
        self.link.wake();
    }
}

impl Client for Lane {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_lost() {
            return Poll::Ready(());
        }
        self.watcher.set(cx);
        Poll::Pending
    }

    fn send_interim<'a>(&'a self, status: u16, fields: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        if !self.is_lost() {
            send::interim(self, status, fields);
        }
        Box::pin(std::future::ready(()))
    }
}
