//! The driver on epoll: each descriptor stands in it once, edge-triggered, and sockets are called directly.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::slots::Slots;
use super::{BROKEN, DOORBELL, PEER_CLOSED, READABLE, WRITABLE, Watch};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 512;

pub(super) struct Epoll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Epoll { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    pub(super) fn add(&self, fd: impl AsFd, token: u64, watch: Watch) -> io::Result<()> {
        let flags = match watch {
            Watch::Stream | Watch::Datagrams => {
                EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET
            }
            Watch::Listener => EventFlags::IN | EventFlags::EXCLUSIVE,
            Watch::Doorbell | Watch::Crowd => EventFlags::IN | EventFlags::ET,
        };
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)?)
    }

    /// Needed when other descriptors of the same socket stay open: otherwise closing is enough.
    pub(super) fn delete(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits up to `wait_ms` and reports what happened; true when the doorbell rang.
    pub(super) fn wait(&mut self, slots: &Slots, wait_ms: Option<u64>) -> io::Result<bool> {
        let timeout = wait_ms
            .map(|ms| Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 });
        self.events.clear();
        let space = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, space, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut rung = false;
        for event in &self.events {
            match event.data.u64() {
                DOORBELL => rung = true,
                token => {
                    if let Some(source) = slots.source(token) {
                        source.report(ready(event.flags));
                    }
                }
            }
        }
        Ok(rung)
    }
}

fn ready(flags: EventFlags) -> u8 {
    let mut ready = 0;
    if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        ready |= READABLE;
    }
    if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
        ready |= WRITABLE;
    }
    if flags.contains(EventFlags::RDHUP) {
        ready |= PEER_CLOSED;
    }
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        ready |= BROKEN;
    }
    ready
}
