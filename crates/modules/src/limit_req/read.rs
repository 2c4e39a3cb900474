//! The directives of `limit_req` as written.

use foregate_conf::{Error, Node, Span, Word, value as values};
use foregate_core::{Scope, ZoneSpec, duplicate, error_status};

use super::Options;
use crate::redis::Server;

/// Who declares these zones.
pub(super) const ZONE: &str = "limit_req_zone";

/// `limit_req_zone KEY zone=NAME:SIZE rate=RATE [redis=SERVER]`
#[derive(Clone)]
pub(super) struct ZoneLine {
    pub(super) key: Word,
    pub(super) spec: ZoneSpec,
    /// Thousandths of a request per second.
    pub(super) rate: i64,
    /// By which several instances count together.
    pub(super) redis: Option<Server>,
    pub(super) span: Span,
}

/// `limit_req zone=NAME [burst=N] [nodelay | delay=N]`, numbers in thousandths of a request.
#[derive(Clone)]
pub(super) struct LimitLine {
    pub(super) zone: String,
    pub(super) burst: i64,
    pub(super) delay: i64,
    pub(super) span: Span,
}

/// More than any bucket holds: nothing is delayed.
const NO_DELAY: i64 = i64::MAX / 1000;
/// Keeps thousandths of milliseconds within 64 bits.
const NUMBER_MAX: u64 = 1_000_000_000;

pub(super) fn zone(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let (mut spec, mut rate, mut redis) = (None, 1000, None);
    for word in &node.args[1..] {
        if word.starts_with("zone=") {
            spec = Some(ZoneSpec::parse(word)?).filter(|it| !it.name.is_empty());
        } else if let Some(text) = word.strip_prefix("rate=") {
            rate = per_second(text).ok_or_else(|| {
                Error::at(word.span, format!("invalid rate \"{word}\"")).advise("such as rate=10r/s or rate=30r/m")
            })?;
        } else if let Some(text) = word.strip_prefix("redis=") {
            let server = Server::parse(text).map_err(|why| Error::at(word.span, format!("{why} in \"redis=\"")))?;
            redis = Some(server);
        } else {
            return Err(unknown(word));
        }
    }
    let spec = spec.ok_or_else(|| no_zone(node))?;
    o.zones.push(ZoneLine { key: node.args[0].clone(), spec, rate, redis, span: node.span });
    Ok(())
}

/// `10r/s`, `30r/m`
fn per_second(text: &str) -> Option<i64> {
    let (digits, scale) = match text.strip_suffix("r/m") {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix("r/s").unwrap_or(text), 1),
    };
    positive(digits).map(|rate| rate * 1000 / scale)
}

pub(super) fn limit(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for word in &node.args {
        if let Some(name) = word.strip_prefix("zone=") {
            zone = Some(name.to_owned());
        } else if let Some(text) = word.strip_prefix("burst=") {
            let wrong = || Error::at(word.span, format!("invalid burst value \"{word}\""));
            burst = positive(text).ok_or_else(wrong)? * 1000;
        } else if let Some(text) = word.strip_prefix("delay=") {
            let wrong = || Error::at(word.span, format!("invalid delay value \"{word}\""));
            delay = positive(text).ok_or_else(wrong)? * 1000;
        } else if *word == "nodelay" {
            delay = NO_DELAY;
        } else {
            return Err(unknown(word));
        }
    }
    let zone = zone.ok_or_else(|| no_zone(node))?;
    let limits = o.limits.get_or_insert_default();
    if limits.iter().any(|it| it.zone == zone) {
        return Err(duplicate(node));
    }
    limits.push(LimitLine { zone, burst, delay, span: node.span });
    Ok(())
}

pub(super) fn status(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    error_status(&mut o.status, node)
}

fn positive(text: &str) -> Option<i64> {
    values::number(text).filter(|it| (1..=NUMBER_MAX).contains(it)).map(|it| it as i64)
}

fn unknown(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}

fn no_zone(node: &Node) -> Error {
    Error::at(node.span, format!("\"{}\" must have \"zone\" parameter", node.name))
}
