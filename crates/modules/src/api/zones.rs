//! What servers and locations were asked, by zone (`status_zone`).

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_core::traffic::{Traffic, TrafficZones};
use foregate_core::{Exchange, Json};

use super::{Refusal, refuse};

const SERVERS: &str = "server_zones";

type Zones = BTreeMap<String, Arc<Traffic>>;

fn zones<'a>(kind: &str, all: &'a TrafficZones) -> &'a Zones {
    if kind == SERVERS { &all.servers } else { &all.locations }
}

/// `server_zones` or `location_zones`.
pub(super) fn all(kind: &str, ex: &Exchange) -> Json {
    let all = ex.cycle.shared().get::<TrafficZones>().map(|it| zones(kind, it));
    Json::Map(all.into_iter().flatten().map(|(name, zone)| (name.clone(), show(kind, zone))).collect())
}

pub(super) fn find(kind: &str, name: &str, ex: &Exchange) -> Result<Arc<Traffic>, Refusal> {
    let zone = ex.cycle.shared().get::<TrafficZones>().and_then(|it| zones(kind, it).get(name)).cloned();
    zone.ok_or_else(|| match kind {
        SERVERS => refuse(404, "ServerZoneNotFound", "server zone not found"),
        _ => refuse(404, "LocationZoneNotFound", "location zone not found"),
    })
}

pub(super) fn show(kind: &str, zone: &Traffic) -> Json {
    let totals = zone.totals();
    let answers: u64 = totals.statuses.values().sum();
    let processing = if kind == SERVERS { zone.processing() } else { 0 };
    let of_class = |class: u16| totals.statuses.range(class * 100..class * 100 + 100).map(|it| it.1).sum::<u64>();
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(1..);
    let mut responses: Vec<_> = classes.map(|(name, class)| (name, Json::from(of_class(class)))).collect();
    let codes = totals.statuses.iter().map(|(status, n)| (status.to_string(), Json::from(*n)));
    responses.extend([("codes", Json::Map(codes.collect())), ("total", answers.into())]);
    let mut members = Vec::new();
    if kind == SERVERS {
        members.push(("processing", processing.into()));
    }
    members.extend([
        ("requests", (answers + totals.discarded + processing).into()),
        ("responses", Json::Object(responses)),
        ("discarded", totals.discarded.into()),
        ("received", totals.received.into()),
        ("sent", totals.sent.into()),
    ]);
    Json::Object(members)
}
