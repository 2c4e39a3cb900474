//! The servers of a group: those of the configuration, and those that came and went while it served.

use std::sync::atomic::Ordering::Relaxed;

use crate::group::{Found, Server};
use crate::peer::Peer;

/// A server of a group, and its addresses.
#[derive(Clone)]
pub(crate) struct Member {
    /// What it is called by as long as the group lives.
    pub(crate) id: u32,
    pub(crate) server: Server,
    pub(crate) found: Vec<Found>,
}

/// All of them, in order.
#[derive(Clone, Default)]
pub(crate) struct Members {
    pub(crate) list: Vec<Member>,
    /// Ids below it have been given away.
    next_id: u32,
}

impl Members {
    /// Looks names up, which blocks.
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        let mut members = Self::default();
        for server in servers {
            let found = server.look_up();
            members.add(server, found);
        }
        members
    }

    pub(crate) fn add(&mut self, server: Server, found: Vec<Found>) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.list.push(Member { id, server, found });
        id
    }

    /// Others in the place of all of them.
    pub(crate) fn replace(&mut self, servers: Vec<Server>) {
        self.list.clear();
        for server in servers {
            let found = if server.is_named() { Vec::new() } else { server.look_up() };
            self.add(server, found);
        }
    }

    pub(crate) fn find(&self, id: u32) -> Option<&Member> {
        self.list.iter().find(|it| it.id == id)
    }

    pub(crate) fn server(&self, id: u32) -> Option<&Server> {
        self.find(id).map(|it| &it.server)
    }

    /// After a reload: names that are only asked for while serving keep their addresses until the next answer.
    pub(crate) fn inherit(&mut self, before: &Self) {
        for Member { server, found, .. } in self.list.iter_mut().filter(|it| it.server.resolve.is_some()) {
            let same =
                |it: &&Member| it.server.host() == server.host() && it.server.service() == server.service();
            let Some(old) = before.list.iter().find(same) else { continue };
            found.extend(old.found.iter().cloned().map(|old| server.adopt(old)));
        }
    }

    /// Names that could not be looked up.
    pub(crate) fn unresolved(&self) -> Vec<String> {
        let at_load = |it: &&Member| it.server.is_named() && it.server.resolve.is_none();
        let missing = self.list.iter().filter(at_load).filter(|it| it.found.is_empty());
        missing.map(|it| it.server.written.to_string()).collect()
    }

    /// Gives a peer its number: its member's, or one of its own where the member has a name.
    pub(crate) fn number(&mut self, at: usize, peer: &Peer) {
        let member = &self.list[at];
        if !member.server.is_named() {
            peer.state.number.store(member.id, Relaxed);
        } else if peer.state.number.load(Relaxed) == 0 {
            peer.state.number.store(self.next_id.max(1), Relaxed);
            self.next_id = self.next_id.max(1) + 1;
        }
    }
}
