//! What can be seen: the server, its connections, its groups.

use foregate_core::stats::{Count, total};
use foregate_core::{Exchange, Json, addr_text, time};
use foregate_net::clock;
use foregate_upstream::{Group, Groups, Health, Peer, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ENDPOINTS, GENERATION, LOADED_MS, RESPAWNED};

/// The names below a path.
pub(super) fn folder(path: &str) -> Json {
    let prefix = path.trim_end_matches('/');
    let below = ENDPOINTS.iter().filter_map(|it| it.path.strip_prefix(prefix)?.strip_prefix('/'));
    let names = below.filter(|it| !it.is_empty() && !it.contains('.') && !it.starts_with('{'));
    let mut names: Vec<&str> = names.map(|it| it.split('/').next().unwrap_or(it)).collect();
    names.dedup();
    Json::list(names)
}

pub(super) fn server(ex: &Exchange) -> Json {
    Json::Object(vec![
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("build", "foregate".into()),
        ("address", addr_text(&ex.conn.local).into()),
        ("generation", GENERATION.load(Ordering::Relaxed).into()),
        ("load_timestamp", timestamp(LOADED_MS.load(Ordering::Relaxed)).into()),
        ("timestamp", timestamp(clock::unix_ms()).into()),
        ("pid", u64::from(std::process::id()).into()),
        ("ppid", u64::from(std::os::unix::process::parent_id()).into()),
    ])
}

/// What the counts were when they were last set to 0 by the API: others go on seeing all of them.
static ACCEPTED_BEFORE: AtomicU64 = AtomicU64::new(0);
static HANDLED_BEFORE: AtomicU64 = AtomicU64::new(0);
static REQUESTS_BEFORE: AtomicU64 = AtomicU64::new(0);
static RESPAWNED_BEFORE: AtomicU64 = AtomicU64::new(0);

/// Lets the counts of an endpoint begin again.
pub(super) fn forget(path: &str) {
    match path {
        "/connections" => {
            ACCEPTED_BEFORE.store(total(Count::Accepted), Ordering::Relaxed);
            HANDLED_BEFORE.store(total(Count::Handled), Ordering::Relaxed);
        }
        "/http/requests" => REQUESTS_BEFORE.store(total(Count::Requests), Ordering::Relaxed),
        "/processes" => RESPAWNED_BEFORE.store(respawned(), Ordering::Relaxed),
        _ => {}
    }
}

fn since(count: u64, before: &AtomicU64) -> u64 {
    count.saturating_sub(before.load(Ordering::Relaxed))
}

fn respawned() -> u64 {
    std::env::var(RESPAWNED).ok().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// How often the master had to start a worker again: it tells each worker so.
pub(super) fn processes() -> Json {
    Json::Object(vec![("respawned", since(respawned(), &RESPAWNED_BEFORE).into())])
}

pub(super) fn connections() -> Json {
    let accepted = since(total(Count::Accepted), &ACCEPTED_BEFORE);
    let handled = since(total(Count::Handled), &HANDLED_BEFORE);
    let [active, idle] = [Count::Active, Count::Waiting].map(total);
    Json::Object(vec![
        ("accepted", accepted.into()),
        ("dropped", accepted.saturating_sub(handled).into()),
        ("active", active.saturating_sub(idle).into()),
        ("idle", idle.into()),
    ])
}

pub(super) fn requests() -> Json {
    Json::Object(vec![("total", since(total(Count::Requests), &REQUESTS_BEFORE).into()), ("current", total(Count::Writing).into())])
}

pub(super) fn shield() -> Json {
    Json::Object(vec![("rejected", total(Count::Shielded).into())])
}

pub(super) fn groups(groups: Option<&Groups>) -> Json {
    let all = groups.into_iter().flat_map(Groups::all).filter(|it| it.explicit && it.zone.is_some());
    let mut all: Vec<_> = all.map(|it| (it.name.clone(), group(it))).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Json::Map(all)
}

pub(super) fn group(group: &Group) -> Json {
    let servers = group.entries();
    let peers = group.list();
    let of = |peer: &Peer| servers.iter().find(|(id, _)| *id == peer.parent()).map(|it| &it.1);
    let peers = peers.iter().map(|(it, backup)| peer(it, of(it), *backup));
    let mut members = vec![("peers", Json::List(peers.collect()))];
    if let Some(queue) = &group.queue {
        members.push((
            "queue",
            Json::Object(vec![
                ("size", u64::from(queue.size()).into()),
                ("max_size", u64::from(queue.max).into()),
                ("overflows", queue.overflows().into()),
            ]),
        ));
    }
    members.push(("zone", group.zone.as_deref().unwrap_or_default().into()));
    Json::Object(members)
}

fn peer(peer: &Arc<Peer>, server: Option<&Server>, backup: bool) -> Json {
    let told = peer.told();
    let written = server.map_or(&*peer.name, |it| &*it.written);
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(told.responses);
    let mut responses: Vec<_> = classes.map(|(name, n)| (name, Json::from(n))).collect();
    responses.push(("total", told.responses.iter().sum::<u64>().into()));
    let mut checks = vec![
        ("checks", told.checks.into()),
        ("fails", told.checks_failed.into()),
        ("unhealthy", told.unhealthy.into()),
    ];
    checks.extend(told.last_passed.map(|it| ("last_passed", it.into())));
    let mut members = vec![
        ("id", u64::from(peer.number()).into()),
        ("server", peer.name.to_string().into()),
        ("name", written.into()),
        ("backup", backup.into()),
        ("weight", u64::from(peer.weight).into()),
        ("state", state(peer).into()),
        ("active", u64::from(told.active).into()),
    ];
    members.extend((peer.max_conns > 0).then(|| ("max_conns", u64::from(peer.max_conns).into())));
    members.extend([
        ("requests", told.requests.into()),
        ("responses", Json::Object(responses)),
        ("sent", told.sent.into()),
        ("received", told.received.into()),
        ("fails", told.fails.into()),
        ("unavail", told.unavail.into()),
        ("health_checks", Json::Object(checks)),
    ]);
    members.extend((told.selected_ms > 0).then(|| ("selected", timestamp(told.selected_ms).into())));
    Json::Object(members)
}

fn state(peer: &Peer) -> &'static str {
    match peer.health() {
        _ if peer.down => "down",
        Health::Checking => "checking",
        Health::Unhealthy => "unhealthy",
        Health::Up if peer.is_left_out(clock::unix_ms() / 1000) => "unavail",
        Health::Up if peer.drain => "draining",
        Health::Up => "up",
    }
}

/// `2026-11-21T19:30:10.123Z`
fn timestamp(unix_ms: u64) -> String {
    let text = time::strftime((unix_ms / 1000).cast_signed(), "%Y-%m-%dT%H:%M:%S", true).unwrap_or_default();
    format!("{text}.{:03}Z", unix_ms % 1000)
}
