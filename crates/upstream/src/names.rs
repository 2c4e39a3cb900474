//! Names in groups: looked up when a configuration is loaded, and again from time to time while it serves.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use foregate_core::{ErrorLog, Level};
use foregate_net::dns::ResolveError;
use foregate_net::{clock, runtime};

use crate::group::{Found, Group, Groups, Resolve, Server, Target, Where};
use crate::members::Member;

/// The system's resolver tells no time to live: it is asked this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// While a name has no address at all.
const LOOK_UP_MISSING_EVERY: Duration = Duration::from_secs(2);
/// After name servers failed, and after an answer that is not to be kept.
const RESOLVE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// How long a request waits for the first address of a name.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(5);

/// Keeps the names of all groups up to date on this thread, unless another thread does already.
pub fn keep_all_fresh(groups: &Groups, log: &ErrorLog) {
    for group in groups.all() {
        keep_fresh(group, log);
    }
}

/// Keeps a group's names up to date for as long as the group lives.
pub(crate) fn keep_fresh(group: &Arc<Group>, log: &ErrorLog) {
    if group.refreshed.load(Ordering::Relaxed) || group.refreshed.swap(true, Ordering::AcqRel) {
        return;
    }
    let members: Vec<u32> = group.members().list.iter().map(|it| it.id).collect();
    for member in members {
        keep_member_fresh(group, member, log);
    }
}

/// Keeps the name of one member up to date for as long as it belongs to the group.
pub(crate) fn keep_member_fresh(group: &Arc<Group>, member: u32, log: &ErrorLog) {
    let Some(server) = group.members().server(member).filter(|it| it.is_named()).cloned() else { return };
    match server.resolve {
        Some(resolve) => runtime::spawn(resolve_again(Arc::downgrade(group), member, resolve, log.clone())),
        None => runtime::spawn(look_up_again(Arc::downgrade(group), member, server)),
    }
    .detach();
}

/// Waits for the first addresses of a group without any.
pub(crate) async fn first(group: &Arc<Group>) {
    let members = group.members().list.clone();
    for Member { id, server, .. } in members.iter().filter(|it| it.server.is_named()) {
        let work = async {
            match &server.resolve {
                Some(resolve) => resolve.ask(server).await.map(|it| it.0).unwrap_or_default(),
                None => look_up(server.clone()).await,
            }
        };
        if let Ok(found) = clock::timeout(FIRST_WAIT_MAX, work).await
            && !found.is_empty()
        {
            group.update(*id, found);
        }
    }
}

async fn look_up(server: Server) -> Vec<Found> {
    runtime::blocking(move || server.look_up()).await
}

/// A name of the system's resolver. One that is not found any more keeps its last addresses.
async fn look_up_again(group: Weak<Group>, member: u32, server: Server) {
    loop {
        let found = |it: Arc<Group>| it.members().find(member).map(|it| it.found.is_empty());
        let Some(missing) = group.upgrade().and_then(found) else { return };
        clock::sleep(if missing { LOOK_UP_MISSING_EVERY } else { LOOK_UP_EVERY }).await;
        let found = look_up(server.clone()).await;
        let Some(group) = group.upgrade() else { return };
        if !found.is_empty() {
            group.update(member, found);
        }
    }
}

/// A name that is asked of name servers, as often as they say.
async fn resolve_again(group: Weak<Group>, member: u32, resolve: Resolve, log: ErrorLog) {
    loop {
        let Some(server) = group.upgrade().and_then(|it| it.members().server(member).cloned()) else {
            return;
        };
        let wait = match resolve.ask(&server).await {
            Ok((found, wait)) => {
                let Some(group) = group.upgrade() else { return };
                group.update(member, found);
                // A second more, so that the answer has surely expired then.
                wait + Duration::from_secs(1)
            }
            Err(why) => {
                resolve.complain(&server, why, &log);
                if why == ResolveError::NotFound {
                    let Some(group) = group.upgrade() else { return };
                    group.update(member, Vec::new());
                    RESOLVE_AGAIN_MIN
                } else {
                    resolve.resolver.timeout.max(RESOLVE_AGAIN_MIN)
                }
            }
        };
        clock::sleep(wait).await;
    }
}

impl Resolve {
    /// A server's addresses, and how long they hold.
    async fn ask(&self, server: &Server) -> Result<(Vec<Found>, Duration), ResolveError> {
        let Where::Named { host, port } = &server.place else { return Ok((server.look_up(), LOOK_UP_EVERY)) };
        let Some(service) = &self.service else {
            let (addrs, until) = self.resolver.resolve_until(host, *port).await?;
            let wait = until.saturating_duration_since(clock::now());
            return Ok((addrs.into_iter().map(Found::from).collect(), wait));
        };
        let (services, until) = self.resolver.services(&service_name(service, host)).await?;
        let best = services.iter().map(|it| it.priority).min().unwrap_or(0);
        let mut found = Vec::new();
        let mut failed = None;
        for target in &services {
            match self.resolver.resolve_until(&target.target, target.port).await {
                Ok((addrs, _)) => found.extend(addrs.into_iter().map(|addr| {
                    let name = target.target.trim_end_matches('.').into();
                    // A weight of 0 asks for the least chance (RFC 2782).
                    let weight = u32::from(target.weight).max(1);
                    Found { addr, service: Some(Target { name, weight, backup: target.priority != best }) }
                })),
                Err(why) => failed = Some(why),
            }
        }
        match failed {
            Some(why) if found.is_empty() => Err(why),
            _ => Ok((found, until.saturating_duration_since(clock::now()))),
        }
    }

    fn complain(&self, server: &Server, why: ResolveError, log: &ErrorLog) {
        let Where::Named { host, .. } = &server.place else { return };
        match &self.service {
            None => log.write(Level::Error, &format_args!("{host} could not be resolved ({why})")),
            Some(service) => {
                let text =
                    format_args!("service {service} of {host} could not be resolved ({why})").to_string();
                log.write(Level::Error, &text);
            }
        }
    }
}

/// The name that SRV records stand under (RFC 2782): `http` is short for `_http._tcp`.
fn service_name(service: &str, host: &str) -> String {
    match service.contains('.') {
        true => format!("{service}.{host}"),
        false => format!("_{service}._tcp.{host}"),
    }
}
