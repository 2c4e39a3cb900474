//! `status_zone`: what a server or a location is asked and answers is counted, for the API to show.

use std::sync::Arc;

use foregate_conf::{Error, Node, Span, Word};
use foregate_core::traffic::{Done, Traffic, TrafficZones, UnderWay};
use foregate_core::{Args, Compile, Directive, Exchange, Scope, duplicate};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// Of the server; locations have it from there.
    server: Option<Word>,
    location: Option<Word>,
    /// Angie's form with a key of its own.
    keyed: Option<Span>,
}

pub struct Settings {
    server: Option<Arc<Traffic>>,
    location: Option<Arc<Traffic>>,
}

const SCOPE: Scope = Scope::SERVER.or(Scope::LOCATION).or(Scope::LOCATION_IF);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("status_zone", SCOPE, Args::Between(1, 2), read, |o, outer| {
            o.server = o.server.take().or_else(|| outer.server.clone());
            o.location = o.location.take().or_else(|| outer.location.clone());
        })];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        if let Some(span) = options.keyed {
            let what = "\"status_zone\" is ignored: counts by a key are not kept";
            cx.warn(Error::at(span, what).warn().advise("write: status_zone NAME;"));
        }
        let name = |word: Option<Word>| word.filter(|it| *it != "off").map(|it| it.text.clone());
        let (server, location) = (name(options.server), name(options.location));
        if server.is_none() && location.is_none() {
            return Ok(None);
        }
        Ok(Some(Settings {
            server: server.map(|it| zone(it, cx, |all| &all.servers, |all| &mut all.servers)),
            location: location.map(|it| zone(it, cx, |all| &all.locations, |all| &mut all.locations)),
        }))
    }
}

fn read(o: &mut Options, node: &Node, scope: Scope) -> Result<(), Error> {
    let name = &node.args[0];
    if node.args.len() > 1 {
        o.keyed = Some(node.span);
        return Ok(());
    }
    if name.is_empty() {
        return Err(Error::at(name.span, "invalid zone name \"\""));
    }
    let slot = if scope == Scope::SERVER { &mut o.server } else { &mut o.location };
    match slot.replace(name.clone()) {
        None => Ok(()),
        Some(_) => Err(duplicate(node)),
    }
}

type Zones = std::collections::BTreeMap<String, Arc<Traffic>>;

/// The zone of this name, which goes on counting from one configuration to the next.
fn zone(
    name: String,
    cx: &mut Compile<'_>,
    of: fn(&TrafficZones) -> &Zones,
    of_mut: fn(&mut TrafficZones) -> &mut Zones,
) -> Arc<Traffic> {
    let before = cx.previous.and_then(|it| it.get::<TrafficZones>()).and_then(|it| of(it).get(&name)).cloned();
    let zones = of_mut(cx.shared.get_or_default::<TrafficZones>());
    zones.entry(name).or_insert_with(|| before.unwrap_or_default()).clone()
}

/// Post-read phase: the request is under way at its server.
pub fn begin(on: &Settings, ex: &mut Exchange) {
    if let Some(zone) = on.server.as_ref().filter(|_| ex.subrequest_depth == 0) {
        ex.notes.put(zone.begin());
    }
}

/// Log phase: the request has ended, in this location.
pub fn account(on: &Settings, ex: &mut Exchange) {
    if ex.subrequest_depth > 0 {
        return;
    }
    drop(ex.notes.take::<UnderWay>());
    let done = Done {
        status: Some(ex.sent.status).filter(|_| ex.sent.bytes > 0),
        received: ex.head_bytes + ex.body.read_bytes,
        sent: ex.sent.bytes,
    };
    [&on.server, &on.location].into_iter().flatten().for_each(|it| it.count(done));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use foregate_core::traffic::TrafficZones;

    use crate::testing::{Site, error};

    #[test]
    fn requests_are_counted_while_they_last_and_when_they_have_ended() {
        let site = Site::new("server { status_zone all; }");
        let on = site.settings().status_zone.as_ref().unwrap();
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        super::begin(on, &mut ex);
        let zones = site.house.shared.get::<TrafficZones>().unwrap();
        let zone = &zones.servers["all"];
        assert_eq!((zone.processing(), zone.totals().statuses.len()), (1, 0));
        (ex.sent.status, ex.sent.bytes) = (404, 300);
        super::account(on, &mut ex);
        let totals = zone.totals();
        assert_eq!((zone.processing(), totals.sent, totals.discarded), (0, 300, 0));
        assert_eq!(totals.statuses, BTreeMap::from([(404, 1)]));
        // One that is closed on without a word.
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        super::begin(on, &mut ex);
        ex.sent.status = 444;
        super::account(on, &mut ex);
        assert_eq!(zone.totals().discarded, 1);
        // One that breaks off unlogged.
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        super::begin(on, &mut ex);
        drop(ex);
        assert_eq!(zone.processing(), 0);
    }

    #[test]
    fn a_place_may_be_left_out() {
        let off = Site::new("server { status_zone off; }");
        assert!(off.settings().status_zone.is_none());
        let keyed = Site::new("server { status_zone $host zone=a:5; }");
        assert_eq!(keyed.warnings, ["\"status_zone\" is ignored: counts by a key are not kept"]);
        assert_eq!(error("server { status_zone a; status_zone b; }"), "\"status_zone\" directive is duplicate");
        assert_eq!(error("server { status_zone ''; }"), "invalid zone name \"\"");
    }
}
