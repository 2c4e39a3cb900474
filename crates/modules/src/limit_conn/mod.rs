//! `limit_conn`: how many requests of one key may be served at once, counted by all threads together.

mod read;
#[cfg(test)]
mod tests;
mod zone;

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use foregate_conf::Error;
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Level, Scope, Shared, Stop, Variable, ZoneNames, log, refusals,
};

use zone::{Place, Zone, Zones};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    zones: Vec<read::ZoneLine>,
    limits: Option<Vec<read::LimitLine>>,
    log_level: Option<usize>,
    status: Option<u16>,
    dry_run: Option<bool>,
}

pub struct Settings {
    limits: Box<[Limit]>,
    log_level: Level,
    status: u16,
    dry_run: bool,
}

struct Limit {
    zone: Arc<Zone>,
    /// Requests at once.
    max: u32,
}


/// nginx's default for `limit_conn_status`.
const STATUS: u16 = 503;
/// As nginx, which counts the length in a byte.
const KEY_BYTES_MAX: usize = 255;

/// What became of a request, as `$limit_conn_status` says it, and the places that it holds while it lives.
struct Status {
    text: &'static str,
    _held: Vec<Place>,
}

/// Preaccess phase. The places taken are given back when the exchange ends.
pub fn check(on: &Settings, ex: &mut Exchange) -> Flow {
    if ex.subrequest_depth > 0 || ex.notes.get::<Status>().is_some() {
        return Continue(());
    }
    let mut held = Vec::new();
    let mut key = Vec::new();
    for limit in &on.limits {
        key.clear();
        limit.zone.key.fill(ex, &mut key);
        if key.is_empty() {
            continue;
        }
        if key.len() > KEY_BYTES_MAX {
            let (text, value, max) = (&limit.zone.key_text, String::from_utf8_lossy(&key), KEY_BYTES_MAX);
            log!(ex, Level::Error, "the value of the \"{text}\" key is more than {max} bytes: \"{value}\"");
            continue;
        }
        match limit.zone.take(&key, limit.max) {
            Ok(place) => held.push(place),
            Err(why) => return on.refuse(&limit.zone.name, why, held, ex),
        }
    }
    if !held.is_empty() {
        ex.notes.put(Status { text: "PASSED", _held: held });
    }
    Continue(())
}

impl Settings {
    fn refuse(&self, zone: &str, why: zone::Refusal, held: Vec<Place>, ex: &mut Exchange) -> Flow {
        drop(held);
        if why == zone::Refusal::TooMany {
            let dry = if self.dry_run { ", dry run," } else { "" };
            log!(ex, self.log_level, "limiting connections{dry} by zone \"{zone}\"");
        }
        let text = if self.dry_run { "REJECTED_DRY_RUN" } else { "REJECTED" };
        ex.notes.put(Status { text, _held: Vec::new() });
        if self.dry_run { Continue(()) } else { Break(Stop::status(self.status)) }
    }
}

fn status(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(Status { text, .. }) = ex.notes.get() else { return false };
    out.extend_from_slice(text.as_bytes());
    true
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("limit_conn_zone", Scope::HTTP, Args::Exactly(2), read::zone, |_, _| ()),
        Directive::own("limit_conn", Scope::ANY_HTTP, Args::Exactly(2), read::limit, |o, outer| {
            o.limits = o.limits.take().or_else(|| outer.limits.clone());
        }),
        Directive::choice("limit_conn_log_level", Scope::ANY_HTTP, &refusals::LEVELS, |o| &mut o.log_level),
        Directive::own("limit_conn_status", Scope::ANY_HTTP, Args::Exactly(1), read::status, |o, outer| {
            o.status = o.status.or(outer.status);
        }),
        Directive::flag("limit_conn_dry_run", Scope::ANY_HTTP, |o| &mut o.dry_run),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("limit_conn_status", status)];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for line in &options.zones {
            let names = cx.shared.get_or_default::<ZoneNames>();
            if !names.declare(&line.spec, read::ZONE, line.span)? {
                let before = cx.shared.get::<Zones>().and_then(|it| it.0.get(&line.spec.name));
                let key = before.map_or("", |it| &*it.key_text);
                let name = &line.spec.name;
                let what = format!("limit_conn_zone \"{name}\" is already bound to key \"{key}\"");
                return Err(Error::at(line.span, what));
            }
            let key = cx.template(&line.key)?;
            let before = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(&line.spec.name));
            let zone = Arc::new(Zone::new(line, key, before.map(|it| &**it)));
            cx.shared.get_or_default::<Zones>().0.insert(line.spec.name.clone(), zone);
        }
        Ok(())
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(lines) = options.limits else { return Ok(None) };
        let limits = lines.iter().map(|it| it.compile(cx.shared)).collect::<Result<Box<[_]>, _>>()?;
        Ok(Some(Settings {
            limits,
            log_level: refusals::level(options.log_level),
            status: options.status.unwrap_or(STATUS),
            dry_run: options.dry_run.unwrap_or(false),
        }))
    }
}

impl read::LimitLine {
    fn compile(&self, shared: &Shared) -> Result<Limit, Error> {
        let zone = shared.get::<Zones>().and_then(|it| it.0.get(&self.zone));
        let Some(zone) = zone.cloned() else {
            let none = ZoneNames::default();
            let names = shared.get::<ZoneNames>().unwrap_or(&none);
            return Err(names.refusal(&self.zone, read::ZONE, self.span));
        };
        Ok(Limit { zone, max: self.max })
    }
}
