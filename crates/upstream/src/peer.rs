//! One address of a group: what the configuration says about it, and how it has behaved lately.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use foregate_net::{Addr, clock};

use crate::group::{Found, Server};
use crate::state::{Health, State};
use crate::sticky::peer_id;

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
    /// How long its weight takes to come back; 0: no time.
    pub slow_start_ms: u64,
    /// Which of the group's members it belongs to.
    pub(crate) member: u32,
    pub(crate) state: Arc<State>,
}

/// A whole share of its weight.
pub(crate) const SHARE_FULL: u64 = 1000;

impl Peer {
    pub(crate) fn new(found: &Found, server: &Server, member: u32, state: Arc<State>) -> Self {
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
            slow_start_ms: server.slow_start_ms,
            member,
            state,
        }
    }

    /// Whether what is known of this one holds for an address of a server's.
    pub(crate) fn is(&self, found: &Found, server: &Server) -> bool {
        let name = found.service.as_ref().map_or(&server.written, |it| &it.name);
        self.addr == found.addr && self.server == *name
    }

    /// Whether it may be asked now.
    pub fn is_available(&self, now_s: u64) -> bool {
        !self.drain && self.is_available_to_its_own(now_s)
    }

    /// The same for a client that belongs to it.
    pub(crate) fn is_available_to_its_own(&self, now_s: u64) -> bool {
        !self.down && !self.state.is_blocked(now_s) && !self.is_out(now_s) && !self.is_full()
    }

    /// The same for the only peer of a group, whose failures do not count.
    pub(crate) fn is_free(&self, now_s: u64) -> bool {
        !self.down && !self.drain && !self.state.is_blocked(now_s) && !self.is_full()
    }

    /// How much of its weight it has, in thousandths: less while it starts slowly.
    pub(crate) fn share(&self, now_ms: u64) -> u64 {
        let since = self.state.recovered_ms.load(Relaxed);
        if since == 0 || self.slow_start_ms == 0 {
            return SHARE_FULL;
        }
        let age = now_ms.saturating_sub(since);
        if age >= self.slow_start_ms {
            _ = self.state.recovered_ms.compare_exchange(since, 0, Relaxed, Relaxed);
            return SHARE_FULL;
        }
        (age * SHARE_FULL / self.slow_start_ms).max(1)
    }

    /// What health checks say of it.
    pub fn health(&self) -> Health {
        self.state.health()
    }

    /// Taken out after `max_fails` failures, for `fail_timeout`.
    pub fn is_out(&self, now_s: u64) -> bool {
        self.max_fails > 0
            && self.state.fails.load(Relaxed) >= self.max_fails
            && now_s.saturating_sub(self.state.checked_s.load(Relaxed)) <= self.fail_timeout_s
    }

    pub fn is_full(&self) -> bool {
        self.max_conns > 0 && self.conns() >= self.max_conns
    }

    /// Requests that it is working on. Counted only where somebody reads it.
    pub fn conns(&self) -> u32 {
        self.state.conns.load(Relaxed)
    }

    pub(crate) fn checked_s(&self) -> u64 {
        self.state.checked_s.load(Relaxed)
    }

    pub(crate) fn enter(&self) {
        self.state.conns.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.state.conns.fetch_sub(1, Relaxed);
    }

    /// It is chosen: one that was out counts as tried again.
    pub(crate) fn choose(&self, now_s: u64) {
        if now_s.saturating_sub(self.state.checked_s.load(Relaxed)) > self.fail_timeout_s {
            self.state.checked_s.store(now_s, Relaxed);
        }
    }

    /// It failed; true where that takes it out.
    pub(crate) fn fail(&self, now_s: u64) -> bool {
        let fails = self.state.fails.fetch_add(1, Relaxed) + 1;
        self.state.accessed_s.store(now_s, Relaxed);
        self.state.checked_s.store(now_s, Relaxed);
        self.max_fails > 0 && fails >= self.max_fails
    }

    /// It answered: failures from before its last trial are forgotten.
    pub(crate) fn pass(&self) {
        let state = &*self.state;
        let fails = state.fails.load(Relaxed);
        if fails != 0 && state.accessed_s.load(Relaxed) < state.checked_s.load(Relaxed) {
            state.fails.store(0, Relaxed);
            if self.slow_start_ms > 0 && self.max_fails > 0 && fails >= self.max_fails {
                state.recovered_ms.store(clock::unix_ms(), Relaxed);
            }
        }
    }

    /// The only peer of a group is never taken out.
    pub(crate) fn forgive(&self) {
        if self.state.fails.load(Relaxed) != 0 {
            self.state.fails.store(0, Relaxed);
        }
    }
}
