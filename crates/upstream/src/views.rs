//! A thread's own view of the groups: its copy of the list of peers and its idle connections, without a lock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use foregate_net::Addr;

use crate::address::Address;
use crate::group::{Balance, Group, Keepalive, Peers};
use crate::idle::Idle;
use crate::peer::Peer;
use crate::sticky::Sticky;
use crate::times::Measure;

/// One group as one thread sees it.
pub struct View {
    pub(crate) peers: Arc<Peers>,
    /// `None` for addresses that only one request named.
    pub(crate) group: Option<Arc<Group>>,
    pub(crate) idle: Option<Rc<Idle>>,
    keepalive: Option<Keepalive>,
    generation: u64,
    /// The group's name, for the log.
    pub(crate) name: String,
}

thread_local! {
    /// By group id. Ids are dense: one for each group that was ever configured under another name.
    static VIEWS: RefCell<Vec<Option<Rc<View>>>> = const { RefCell::new(Vec::new()) };
}

impl View {
    /// This thread's view of a group, made anew when its peers changed.
    pub fn of(group: &Arc<Group>) -> Rc<Self> {
        VIEWS.with_borrow_mut(|views| {
            if views.len() <= group.id {
                views.resize_with(group.id + 1, || None);
            }
            let slot = &mut views[group.id];
            match slot {
                Some(view) if view.generation == group.generation() => view.clone(),
                _ => {
                    let view = Rc::new(Self::new(group, slot.as_deref()));
                    slot.insert(view).clone()
                }
            }
        })
    }

    fn new(group: &Arc<Group>, old: Option<&Self>) -> Self {
        let generation = group.generation();
        let old_idle = old.and_then(|old| old.idle.clone());
        let idle = group.keepalive.map(|_| old_idle.unwrap_or_default());
        let (keepalive, name) = (group.keepalive, group.name.clone());
        Self { peers: group.peers(), group: Some(group.clone()), idle, keepalive, generation, name }
    }

    /// One address on its own, with connections of its own: nothing that happens here is the group's.
    pub(crate) fn apart(name: &str, addr: Addr, keepalive: Option<Keepalive>) -> Rc<Self> {
        let peers = Arc::new(Peers::apart(name, addr));
        let idle = keepalive.map(|_| Rc::default());
        Rc::new(Self { peers, group: None, idle, keepalive, generation: 0, name: name.to_owned() })
    }

    /// Addresses that one request named.
    pub fn once(address: &Address, addrs: Vec<Addr>) -> Rc<Self> {
        let peers = Arc::new(Peers::once(address, addrs));
        Rc::new(Self {
            peers,
            group: None,
            idle: None,
            keepalive: None,
            generation: 0,
            name: address.host.clone(),
        })
    }

    pub(crate) fn keepalive(&self) -> Option<&Keepalive> {
        self.keepalive.as_ref()
    }

    pub(crate) fn balance(&self) -> &Balance {
        self.group.as_ref().map_or(&Balance::Turn, |it| &it.balance)
    }

    /// How long peers take is of interest.
    pub(crate) fn measure(&self) -> Option<Measure> {
        match self.balance() {
            Balance::LeastTime(measure) => Some(*measure),
            Balance::Random { by, .. } => *by,
            _ => None,
        }
    }

    pub(crate) fn sticky(&self) -> Option<&Sticky> {
        self.group.as_ref()?.sticky.as_ref()
    }

    /// A peer is done with a request: where others wait, one of them looks again.
    pub(crate) fn left(&self, peer: &Peer) {
        if !self.peers.counted {
            return;
        }
        peer.leave();
        if let Some(queue) = self.group.as_ref().and_then(|it| it.queue.as_ref()) {
            queue.call();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.peers.all().next().is_none()
    }
}
