//! Names in groups: looked up when a configuration is loaded, and again from time to time while it serves.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use foregate_net::{Addr, clock, runtime};

use crate::group::{Group, Server};

/// The system's resolver tells no time to live: it is asked this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// While a name has no address at all.
const LOOK_UP_MISSING_EVERY: Duration = Duration::from_secs(2);
/// How long a request waits for the first address of a name.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(5);

/// Keeps a group's names up to date from its first request on, for as long as the group lives.
pub(crate) fn keep_fresh(group: &Arc<Group>) {
    if group.has_names() && !group.refreshed.swap(true, Ordering::AcqRel) {
        drop(runtime::spawn(refresh(Arc::downgrade(group))));
    }
}

/// Looks the names of a group without any address up at once.
pub(crate) async fn first(group: &Arc<Group>) {
    let work = look_up(group.servers.clone());
    if let Ok(found) = clock::timeout(FIRST_WAIT_MAX, work).await {
        group.update(found);
    }
}

async fn refresh(group: Weak<Group>) {
    loop {
        let Some(missing) = group.upgrade().map(|it| !it.unresolved().is_empty()) else { return };
        clock::sleep(if missing { LOOK_UP_MISSING_EVERY } else { LOOK_UP_EVERY }).await;
        let Some(servers) = group.upgrade().map(|it| it.servers.clone()) else { return };
        let found = look_up(servers).await;
        if let Some(group) = group.upgrade() {
            group.update(found);
        }
    }
}

fn look_up(servers: Vec<Server>) -> impl Future<Output = Vec<Vec<Addr>>> {
    runtime::blocking(move || servers.iter().map(Server::look_up).collect())
}
