//! One address of a group: what the configuration says about it, and how it has behaved lately.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use foregate_net::Addr;

use crate::group::{Found, Server};
use crate::sticky::peer_id;
use crate::times::Times;

/// A peer and its health, which all threads share. Times are seconds since the epoch, as nginx counts them.
pub struct Peer {
    pub addr: Addr,
    /// `127.0.0.1:80`, `unix:/path`: what `$upstream_addr` shows.
    pub name: Arc<str>,
    /// The server as written: peers of one name share it.
    pub server: Arc<str>,
    pub weight: u32,
    /// 0: any number.
    pub max_conns: u32,
    /// 0: never taken out.
    pub max_fails: u32,
    pub fail_timeout_s: u64,
    pub down: bool,
    /// Only clients that belong to it already.
    pub drain: bool,
    /// What `sticky` calls it.
    pub id: Box<str>,
    pub(crate) times: Mutex<Times>,
    conns: AtomicU32,
    fails: AtomicU32,
    /// The last failure.
    accessed_s: AtomicU64,
    /// The last failure, or the last time it was tried again since.
    checked_s: AtomicU64,
}

impl Peer {
    pub fn new(found: &Found, server: &Server) -> Self {
        let service = found.service.as_ref();
        Self {
            addr: found.addr.clone(),
            name: found.addr.to_string().into(),
            server: service.map_or_else(|| server.written.clone(), |it| it.name.clone()),
            weight: service.filter(|_| server.weight == 1).map_or(server.weight, |it| it.weight),
            max_conns: server.max_conns,
            max_fails: server.max_fails,
            fail_timeout_s: server.fail_timeout_s,
            down: server.down,
            drain: server.drain,
            id: server.route.clone().unwrap_or_else(|| peer_id(&found.addr.to_string())).into(),
            times: Mutex::default(),
            conns: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            accessed_s: AtomicU64::new(0),
            checked_s: AtomicU64::new(0),
        }
    }

    /// Whether both come from the same line of the configuration, so that one may stand for the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.addr == other.addr
            && self.server == other.server
            && self.weight == other.weight
            && self.max_conns == other.max_conns
            && self.max_fails == other.max_fails
            && self.fail_timeout_s == other.fail_timeout_s
            && self.down == other.down
            && self.drain == other.drain
            && self.id == other.id
    }

    /// Whether it may be asked now.
    pub fn is_available(&self, now_s: u64) -> bool {
        !self.drain && self.is_available_to_its_own(now_s)
    }

    /// The same for a client that belongs to it.
    pub(crate) fn is_available_to_its_own(&self, now_s: u64) -> bool {
        !self.down && !self.is_out(now_s) && !self.is_full()
    }

    /// Taken out after `max_fails` failures, for `fail_timeout`.
    pub fn is_out(&self, now_s: u64) -> bool {
        self.max_fails > 0
            && self.fails.load(Relaxed) >= self.max_fails
            && now_s.saturating_sub(self.checked_s.load(Relaxed)) <= self.fail_timeout_s
    }

    pub fn is_full(&self) -> bool {
        self.max_conns > 0 && self.conns() >= self.max_conns
    }

    /// Requests that it is working on. Counted only where somebody reads it.
    pub fn conns(&self) -> u32 {
        self.conns.load(Relaxed)
    }

    pub(crate) fn checked_s(&self) -> u64 {
        self.checked_s.load(Relaxed)
    }

    pub(crate) fn enter(&self) {
        self.conns.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.conns.fetch_sub(1, Relaxed);
    }

    /// It is chosen: one that was out counts as tried again.
    pub(crate) fn choose(&self, now_s: u64) {
        if now_s.saturating_sub(self.checked_s.load(Relaxed)) > self.fail_timeout_s {
            self.checked_s.store(now_s, Relaxed);
        }
    }

    /// It failed; true where that takes it out.
    pub(crate) fn fail(&self, now_s: u64) -> bool {
        let fails = self.fails.fetch_add(1, Relaxed) + 1;
        self.accessed_s.store(now_s, Relaxed);
        self.checked_s.store(now_s, Relaxed);
        self.max_fails > 0 && fails >= self.max_fails
    }

    /// It answered: failures from before its last trial are forgotten.
    pub(crate) fn pass(&self) {
        if self.fails.load(Relaxed) != 0 && self.accessed_s.load(Relaxed) < self.checked_s.load(Relaxed) {
            self.fails.store(0, Relaxed);
        }
    }

    /// The only peer of a group is never taken out.
    pub(crate) fn forgive(&self) {
        if self.fails.load(Relaxed) != 0 {
            self.fails.store(0, Relaxed);
        }
    }
}
