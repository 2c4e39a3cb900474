//! `limit_req`: how often a client may ask, by leaky buckets that all threads share.

mod bucket;
mod fleet;
mod read;
mod standing;
#[cfg(test)]
mod tests;
mod zone;

use std::future::poll_fn;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use foregate_conf::Error;
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Level, Scope, Shared, Stop, Variable, ZoneNames, log, refusals,
};
use foregate_net::clock::{self, Deadline};

pub use fleet::keep_together;
pub use standing::filter;
use zone::{Zone, Zones};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    zones: Vec<read::ZoneLine>,
    limits: Option<Vec<read::LimitLine>>,
    log_level: Option<usize>,
    status: Option<u16>,
    dry_run: Option<bool>,
    headers: Option<bool>,
}

pub struct Settings {
    limits: Box<[Limit]>,
    log_level: Level,
    /// Delays are less grave than refusals.
    delay_log_level: Level,
    status: u16,
    dry_run: bool,
    /// Clients are told how they stand.
    tells: bool,
}

/// One bucket to pass. Numbers are in thousandths of a request.
struct Limit {
    zone: Arc<Zone>,
    burst: i64,
    /// Requests above this are delayed.
    delay: i64,
    /// As `RateLimit-Policy` says it.
    policy: Box<[u8]>,
}


/// nginx's default for `limit_req_status`.
const STATUS: u16 = 503;

/// What became of a request, as `$limit_req_status` says it.
struct Status(&'static str);

/// What the buckets say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// No key has a value.
    Unlimited,
    Passed,
    /// The zone of this limit is overfull.
    Refused {
        limit: usize,
        excess: i64,
    },
    /// The zone has no room for another client.
    Full,
    Delayed {
        limit: usize,
        excess: i64,
        ms: u64,
    },
}

/// Preaccess phase.
pub async fn check(on: &Settings, ex: &mut Exchange) -> Flow {
    if ex.subrequest_depth > 0 || ex.notes.get::<Status>().is_some() {
        return Continue(());
    }
    let dry = on.dry_run;
    let dry_text = if dry { ", dry run" } else { "" };
    let (verdict, tightest) = on.judge(ex);
    if on.tells
        && !dry
        && let Some((at, excess)) = tightest
    {
        ex.notes.put(on.limits[at].standing(excess));
    }
    match verdict {
        Verdict::Unlimited => return Continue(()),
        Verdict::Passed => ex.notes.put(Status("PASSED")),
        Verdict::Delayed { limit, excess, ms } => {
            let (whole, part, name) = (excess / 1000, excess % 1000, &on.limits[limit].zone.name);
            let level = on.delay_log_level;
            log!(ex, level, "delaying request{dry_text}, excess: {whole}.{part:03}, by zone \"{name}\"");
            ex.notes.put(Status(if dry { "DELAYED_DRY_RUN" } else { "DELAYED" }));
            if !dry {
                return wait(ms, ex).await;
            }
        }
        refusal => {
            if let Verdict::Refused { limit, excess } = refusal {
                let (whole, part, name) = (excess / 1000, excess % 1000, &on.limits[limit].zone.name);
                let level = on.log_level;
                log!(ex, level, "limiting requests{dry_text}, excess: {whole}.{part:03} by zone \"{name}\"");
            }
            ex.notes.put(Status(if dry { "REJECTED_DRY_RUN" } else { "REJECTED" }));
            if !dry {
                return Break(Stop::status(on.status));
            }
        }
    }
    Continue(())
}

/// A client that goes away while it waits is served no further.
async fn wait(ms: u64, ex: &Exchange) -> Flow {
    let deadline = Deadline::new();
    deadline.arm(Duration::from_millis(ms));
    let gone = poll_fn(|cx| match deadline.poll_expired(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending => ex.client.poll_gone(cx).map(|()| true),
    });
    if gone.await { Break(Stop::status(refusals::CLIENT_GONE)) } else { Continue(()) }
}

impl Settings {
    /// Asks every bucket and, unless one refuses, pours into all.
    fn judge(&self, ex: &mut Exchange) -> (Verdict, Tightest) {
        let now = zone::tick(clock::now());
        let mut held = Held::default();
        let mut key = Vec::new();
        let last = self.limits.len() - 1;
        let mut poured = None;
        let mut any = false;
        for (at, limit) in self.limits.iter().enumerate() {
            key.clear();
            limit.zone.key.fill(ex, &mut key);
            if key.is_empty() {
                continue;
            }
            if key.len() > KEY_BYTES_MAX {
                let (text, value) = (&limit.zone.key_text, String::from_utf8_lossy(&key));
                let max = KEY_BYTES_MAX;
                log!(ex, Level::Error, "the value of the \"{text}\" key is more than {max} bytes: \"{value}\"");
                continue;
            }
            any = true;
            let (rate, burst) = limit.zone.share(limit.burst);
            let mut shard = limit.zone.shard(&key);
            // The last bucket is poured into at once: nobody can refuse any more.
            match shard.ask(&key, rate, burst, now, at == last) {
                bucket::Answer::Poured(excess) => poured = Some((at, excess)),
                bucket::Answer::Pinned(node) => {
                    let place = limit.zone.place(&key);
                    drop(shard);
                    held.0.push((at, limit.zone.clone(), place, node));
                }
                bucket::Answer::Refused(excess) => {
                    return (Verdict::Refused { limit: at, excess }, Some((at, excess)));
                }
                bucket::Answer::Full => return (Verdict::Full, None),
            }
        }
        if any { self.pour(held, poured, now) } else { (Verdict::Unlimited, None) }
    }

    /// Pours into the buckets that only had been asked; the longest delay counts.
    fn pour(&self, mut held: Held, poured: Option<(usize, i64)>, now: i64) -> (Verdict, Tightest) {
        let delay_ms = |at: usize, excess: i64| {
            let limit = &self.limits[at];
            let (rate, delay) = limit.zone.share(limit.delay);
            ((excess - delay).max(0).saturating_mul(1000) / rate) as u64
        };
        let mut tightest = poured;
        let mut worst = poured.map(|(at, excess)| (at, excess, delay_ms(at, excess)));
        while let Some((at, zone, place, node)) = held.0.pop() {
            let excess = zone.shard_at(place).pour(node, zone.share(0).0, now);
            let ms = delay_ms(at, excess);
            let room = |(at, excess): (usize, i64)| self.limits[at].burst - excess;
            if tightest.is_none_or(|it| room((at, excess)) < room(it)) {
                tightest = Some((at, excess));
            }
            if worst.is_none_or(|(_, _, longest)| ms > longest) {
                worst = Some((at, excess, ms));
            }
        }
        let verdict = match worst {
            Some((limit, excess, ms)) if ms > 0 => Verdict::Delayed { limit, excess, ms },
            _ => Verdict::Passed,
        };
        (verdict, tightest)
    }
}

/// The limit that is nearest to refusing, and what is in its bucket above one request.
type Tightest = Option<(usize, i64)>;

/// As nginx, which counts the length in 16 bits.
const KEY_BYTES_MAX: usize = 65_535;

/// Buckets that were asked and not poured into: pinned, so that they do not expire, until this is dropped.
#[derive(Default)]
struct Held(Vec<(usize, Arc<Zone>, usize, u32)>);

impl Drop for Held {
    fn drop(&mut self) {
        for (_, zone, place, node) in &self.0 {
            zone.shard_at(*place).unpin(*node);
        }
    }
}

fn status(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(Status(text)) = ex.notes.get() else { return false };
    out.extend_from_slice(text.as_bytes());
    true
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("limit_req_zone", Scope::HTTP, Args::Between(3, 4), read::zone, |_, _| ()),
        Directive::own("limit_req", Scope::ANY_HTTP, Args::Between(1, 3), read::limit, |o, outer| {
            o.limits = o.limits.take().or_else(|| outer.limits.clone());
        }),
        Directive::choice("limit_req_log_level", Scope::ANY_HTTP, &refusals::LEVELS, |o| &mut o.log_level),
        Directive::own("limit_req_status", Scope::ANY_HTTP, Args::Exactly(1), read::status, |o, outer| {
            o.status = o.status.or(outer.status);
        }),
        Directive::flag("limit_req_dry_run", Scope::ANY_HTTP, |o| &mut o.dry_run),
        Directive::flag("limit_req_headers", Scope::ANY_HTTP, |o| &mut o.headers),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("limit_req_status", status)];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for line in &options.zones {
            let names = cx.shared.get_or_default::<ZoneNames>();
            if !names.declare(&line.spec, read::ZONE, line.span)? {
                let before = cx.shared.get::<Zones>().and_then(|it| it.0.get(&line.spec.name));
                let key = before.map_or("", |it| &*it.key_text);
                let name = &line.spec.name;
                let what = format!("limit_req_zone \"{name}\" is already bound to key \"{key}\"");
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
        let level = options.log_level.unwrap_or(refusals::LEVELS.len() - 1);
        Ok(Some(Settings {
            limits,
            log_level: refusals::level(Some(level)),
            delay_log_level: refusals::level(Some(level.saturating_sub(1))),
            status: options.status.unwrap_or(STATUS),
            dry_run: options.dry_run.unwrap_or(false),
            tells: options.headers.unwrap_or(false),
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
        Ok(Limit { policy: standing::policy(&zone, self.burst), zone, burst: self.burst, delay: self.delay })
    }
}
