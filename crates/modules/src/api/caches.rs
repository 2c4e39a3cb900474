//! Caches: what their zones hold and did, what is asked for most, and purges.

use std::sync::Arc;

use foregate_cache::{Counted, Purge, Status, TooMuch, Zone, Zones};
use foregate_core::{Exchange, Json, Level, log};
use foregate_net::sys::errno_text;

use super::flat::{self, Value};
use super::{Answer, Refusal, refuse};

/// Objects that are listed as the ones asked for most.
const TOP: usize = 20;

/// Names and types of a purge's members.
pub(super) const PURGE: [(&str, &str); 4] =
    [("key", "string"), ("prefix", "string"), ("tag", "string"), ("soft", "boolean")];

pub(super) fn all(zones: Option<&Zones>) -> Json {
    let mut all: Vec<_> = zones.into_iter().flat_map(|it| &it.0).map(|(name, it)| (name.clone(), one(it))).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Json::Map(all)
}

pub(super) fn find(ex: &Exchange, name: &str) -> Result<Arc<Zone>, Refusal> {
    let zones = ex.cycle.shared().get::<Zones>();
    let zone = zones.and_then(|it| it.0.get(name)).cloned();
    zone.ok_or_else(|| refuse(404, "CacheNotFound", format!("cache zone \"{name}\" not found")))
}

/// As NGINX Plus shows a zone; what is in memory, the objects and the hit ratio are ours.
pub(super) fn one(zone: &Zone) -> Json {
    let now = zone.now();
    let memory = zone.in_memory();
    let counted = |status: Status| zone.counted(status);
    let mut members = vec![("size", now.bytes.into())];
    members.extend((zone.spec.max_bytes != u64::MAX).then(|| ("max_size", zone.spec.max_bytes.into())));
    members.push(("cold", now.cold.into()));
    for status in [Status::Hit, Status::Stale, Status::Updating, Status::Revalidated] {
        members.push((name(status), served(counted(status))));
    }
    for status in [Status::Miss, Status::Expired, Status::Bypass] {
        members.push((name(status), fetched(counted(status))));
    }
    members.extend([
        ("objects", (now.objects as u64).into()),
        ("hit_ratio", hit_ratio(zone).into()),
        (
            "memory",
            Json::Object(vec![
                ("objects", (memory.objects as u64).into()),
                ("size", (memory.bytes as u64).into()),
                ("max_size", zone.spec.memory_bytes.into()),
                ("hits", memory.hits.into()),
            ]),
        ),
    ]);
    Json::Object(members)
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Hit => "hit",
        Status::Stale => "stale",
        Status::Updating => "updating",
        Status::Revalidated => "revalidated",
        Status::Miss => "miss",
        Status::Expired => "expired",
        Status::Bypass => "bypass",
    }
}

fn served(it: Counted) -> Json {
    Json::Object(vec![("responses", it.responses.into()), ("bytes", it.bytes.into())])
}

fn fetched(it: Counted) -> Json {
    Json::Object(vec![
        ("responses", it.responses.into()),
        ("bytes", it.bytes.into()),
        ("responses_written", it.responses_written.into()),
        ("bytes_written", it.bytes_written.into()),
    ])
}

/// Of answers that the cache was asked for, the part that came out of it, as a percentage with a digit behind the point.
fn hit_ratio(zone: &Zone) -> String {
    let sum = |all: &[Status]| all.iter().map(|it| zone.counted(*it).responses).sum::<u64>();
    let hits = sum(&[Status::Hit, Status::Stale, Status::Updating, Status::Revalidated]);
    let asked = hits + sum(&[Status::Miss, Status::Expired]);
    let permille = (hits * 1000).checked_div(asked).unwrap_or(0);
    format!("{}.{}", permille / 10, permille % 10)
}

/// Those in memory that are asked for most.
pub(super) fn top(zone: &Zone) -> Json {
    let all = zone.hottest(TOP).into_iter();
    Json::List(all.map(|(key, hits)| Json::Object(vec![("key", Json::bytes(&key)), ("hits", hits.into())])).collect())
}

/// `{"key": …}`, `{"prefix": …}` or `{"tag": "…"}` (several, parted by blanks or commas), with `"soft": true` or without.
pub(super) async fn purge(zone: &Arc<Zone>, ex: &Exchange) -> Result<Answer, Refusal> {
    let body = ex.body.memory.as_ref().map_or(&b""[..], |it| it);
    let members = flat::parse(body).map_err(|_| refuse(415, "JsonError", "json error"))?;
    let (mut meant, mut soft) = (Vec::new(), false);
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("key", Value::Text(key)) => meant.push(Purge::Key(key.as_bytes())),
            ("prefix", Value::Text(prefix)) => meant.push(Purge::Prefix(prefix.as_bytes())),
            ("tag", Value::Text(tags)) => {
                let tags = tags.split([',', ' ']).filter(|it| !it.is_empty());
                meant.extend(tags.map(|it| Purge::Tag(it.as_bytes())));
            }
            ("soft", Value::Bool(it)) => soft = *it,
            _ => return Err(refuse(400, "CachePurgeFormatError", format!("invalid member \"{name}\""))),
        }
    }
    if meant.is_empty() {
        return Err(refuse(400, "CachePurgeFormatError", "one of \"key\", \"prefix\" and \"tag\" is needed"));
    }
    let done = zone.purge_beside(&meant, soft).await;
    let done = done.map_err(|TooMuch| refuse(503, "CachePurgeTooMuch", "too much has been purged lately"))?;
    if let Some(error) = done.unrecorded {
        let (name, why) = (&zone.spec.name, errno_text(&error));
        log!(ex, Level::Crit, "a purge of the cache \"{name}\" is not recorded ({why})");
    }
    Ok(Json::Object(vec![("found", done.found.into()), ("soft", soft.into())]).into())
}
