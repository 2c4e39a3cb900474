//! Changes of a group while it serves, and the file that they survive a restart in.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use foregate_core::{ErrorLog, FILE_ACCESS, Level, TempFile};
use foregate_net::{runtime, sys::errno_text};

use crate::group::{Balance, Group, Groups, Server};
use crate::names;

/// Where the servers of a group are kept (`state FILE`).
pub struct StateFile {
    pub path: PathBuf,
    /// The generation of the group that was written last; one writes at a time.
    written: Mutex<u64>,
}

impl StateFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, written: Mutex::new(0) }
    }
}

impl Group {
    /// The servers with their numbers.
    pub fn entries(&self) -> Vec<(u32, Server)> {
        self.members().list.iter().map(|it| (it.id, it.server.clone())).collect()
    }

    /// Servers may wait in reserve with this way of balancing.
    pub fn may_have_backups(&self) -> bool {
        !matches!(self.balance, Balance::IpHash | Balance::Hash { .. } | Balance::Random { .. })
    }

    /// Adds a server; its number.
    pub fn add(self: &Arc<Self>, server: Server, log: &ErrorLog) -> u32 {
        // Names that no name server is asked for are looked up by the task that keeps them fresh.
        let found = if server.is_named() { Vec::new() } else { server.look_up() };
        let mut members = self.members();
        let id = members.add(server, found);
        self.rebuild(&mut members);
        drop(members);
        names::keep_member_fresh(self, id, log);
        id
    }

    /// Puts another line in the place of a server's; false: there is none of this number.
    pub fn change(&self, id: u32, server: Server) -> bool {
        let mut members = self.members();
        let Some(member) = members.list.iter_mut().find(|it| it.id == id) else { return false };
        member.server = server;
        self.rebuild(&mut members);
        true
    }

    /// Takes a server out; what it is working on is finished. False: there is none of this number.
    pub fn remove(&self, id: u32) -> bool {
        let mut members = self.members();
        let before = members.list.len();
        members.list.retain(|it| it.id != id);
        let found = members.list.len() < before;
        if found {
            self.rebuild(&mut members);
        }
        found
    }

    /// At a reload, a group with the same `state` goes on with the servers that it has.
    pub fn keep_members_of(&mut self, previous: &Self) {
        let same = |it: &StateFile| previous.state_file.as_ref().is_some_and(|old| old.path == it.path);
        if self.state_file.as_ref().is_some_and(same) {
            let mut members = previous.members().clone();
            self.rebuild(&mut members);
            *self.members() = members;
        }
    }

    /// Writes the servers to the `state` file, if there is one, and waits until they are there.
    pub async fn save(self: &Arc<Self>, log: &ErrorLog) {
        if self.state_file.is_none() {
            return;
        }
        let group = self.clone();
        if let Err(error) = runtime::blocking(move || group.write_state()).await {
            let path = self.state_file.as_ref().map_or_else(String::new, |it| it.path.display().to_string());
            let why = errno_text(&error);
            log.write(Level::Crit, &format_args!("the state file \"{path}\" cannot be written ({why})"));
        }
    }

    /// Whole or not at all: beside the file first. What another thread has just written holds for us too.
    fn write_state(&self) -> io::Result<()> {
        let Some(state) = &self.state_file else { return Ok(()) };
        let mut written = state.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, text) = {
            let members = self.members();
            (self.generation(), members.list.iter().map(|it| it.server.line()).collect::<String>())
        };
        if *written >= generation {
            return Ok(());
        }
        let mut beside = state.path.clone().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // Numbers of processes come again: what another of ours has left behind is in nobody's use.
        _ = std::fs::remove_file(&beside);
        let file = TempFile::create_at(beside)?;
        file.write_all(text.as_bytes())?;
        file.stay(&state.path, FILE_ACCESS | 0o044, None, false).map_err(|it| it.why)?;
        *written = generation;
        Ok(())
    }

    /// A worker that has just begun may have been handed what its predecessor has changed since.
    fn restore(&self, log: &ErrorLog) {
        let Some(state) = &self.state_file else { return };
        let Ok(text) = std::fs::read_to_string(&state.path) else { return };
        match Server::from_state(&text, self.resolver.as_ref()) {
            Ok(servers) => {
                let lines = |all: &[Server]| all.iter().map(Server::line).collect::<String>();
                if lines(&servers) != lines(&self.servers()) {
                    let mut members = self.members();
                    members.replace(servers);
                    self.rebuild(&mut members);
                }
            }
            Err(line) => {
                let path = state.path.display();
                log.write(
                    Level::Error,
                    &format_args!("line {line} of the state file \"{path}\" cannot be read"),
                );
            }
        }
    }
}

/// Reads the `state` files of all groups again: to be called once, when a worker begins.
pub fn restore_all(groups: &Groups, log: &ErrorLog) {
    groups.all().for_each(|it| it.restore(log));
}

/// What a peer has done, for those who look at it from outside. Counted only in groups with a `zone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub active: u32,
    pub requests: u64,
    /// By the first digit of the status, less one.
    pub responses: [u64; 5],
    /// Bytes, framing included; of an answer that is still coming, its head's.
    pub sent: u64,
    pub received: u64,
    pub fails: u64,
    pub unavail: u64,
    /// Milliseconds since the epoch; 0: never.
    pub selected_ms: u64,
    pub checks: u64,
    pub checks_failed: u64,
    pub unhealthy: u64,
    pub last_passed: Option<bool>,
}

impl Group {
    /// Counts from 0 again what peers have done, and what the queue has turned away; health and connections stay.
    pub fn forget_counts(&self) {
        for (peer, _) in self.list() {
            let (tally, checks) = (&peer.state.tally, &peer.state.checks);
            let counts = [&tally.requests, &tally.sent, &tally.received, &tally.fails, &tally.unavail];
            let counts = counts.into_iter().chain([&checks.n, &checks.fails, &checks.unhealthy]);
            counts.chain(&tally.responses).for_each(|it| it.store(0, Relaxed));
        }
        if let Some(queue) = &self.queue {
            queue.forget_overflows();
        }
    }
}

impl crate::Peer {
    /// The number that the API knows it by.
    pub fn number(&self) -> u32 {
        self.state.number.load(Relaxed)
    }

    /// The number of the server that it is an address of.
    pub fn parent(&self) -> u32 {
        self.member
    }

    pub fn told(&self) -> Told {
        let (tally, checks) = (&self.state.tally, &self.state.checks);
        let n_checks = checks.n.load(Relaxed);
        Told {
            active: self.conns(),
            requests: tally.requests.load(Relaxed),
            responses: std::array::from_fn(|at| tally.responses[at].load(Relaxed)),
            sent: tally.sent.load(Relaxed),
            received: tally.received.load(Relaxed),
            fails: tally.fails.load(Relaxed),
            unavail: tally.unavail.load(Relaxed),
            selected_ms: tally.selected_ms.load(Relaxed),
            checks: n_checks,
            checks_failed: checks.fails.load(Relaxed),
            unhealthy: checks.unhealthy.load(Relaxed),
            last_passed: (n_checks > 0).then(|| checks.last_passed.load(Relaxed)),
        }
    }

    /// Failures or health checks keep it from being asked now.
    pub fn is_left_out(&self, now_s: u64) -> bool {
        self.is_out(now_s) || self.state.is_blocked(now_s)
    }
}
