//! What keeps a group from being overrun: a queue, the ejection of peers that fail, a budget of retries.

use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Scope, duplicate};
use foregate_upstream::Ejection;

use super::{Options, invalid};

/// NGINX Plus's default for `queue`.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Retries that `retry_budget` always leaves in ten seconds, unless it says otherwise.
const RETRIES_MIN: u32 = 10;
/// The longest window and time of `outlier_ejection`, seconds.
const EJECTION_S_MAX: u64 = 86_400;

/// `queue NUMBER [timeout=TIME]`
pub(super) fn queue(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.queue.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let max = count(word).filter(|it| *it > 0);
    let max = max.ok_or_else(|| Error::at(word.span, format!("invalid value \"{word}\"")))?;
    let timeout = match node.args.get(1) {
        None => QUEUE_TIMEOUT,
        Some(word) => {
            let time = word.strip_prefix("timeout=").and_then(value::time_ms);
            Duration::from_millis(time.ok_or_else(|| invalid(word))?)
        }
    };
    o.queue = Some((max, timeout));
    Ok(())
}

/// `outlier_ejection on | off | [failures=50%] [requests=20] [window=10s] [time=30s] [max=50%]`
pub(super) fn ejection(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.ejection.is_some() {
        return Err(duplicate(node));
    }
    let mut ejection = Ejection::default();
    if let [word] = &*node.args
        && (*word == "on" || *word == "off")
    {
        o.ejection = (*word == "on").then_some(ejection);
        return Ok(());
    }
    for word in &node.args {
        let wrong = || invalid(word).advise("such as: outlier_ejection failures=50% requests=20 time=30s");
        let time = |text| value::time_s(text).filter(|it| (1..=EJECTION_S_MAX).contains(it)).ok_or_else(wrong);
        match word.split_once('=').ok_or_else(wrong)? {
            ("failures", text) => ejection.failures = percent(text).ok_or_else(wrong)?,
            ("max", text) => ejection.max = percent(text).ok_or_else(wrong)?,
            ("requests", text) => ejection.requests = text.parse().ok().filter(|it| *it > 0).ok_or_else(wrong)?,
            ("window", text) => ejection.window_s = time(text)?,
            ("time", text) => ejection.time_s = time(text)?,
            _ => return Err(wrong()),
        }
    }
    o.ejection = Some(ejection);
    Ok(())
}

/// `retry_budget PERCENT% [min=NUMBER]`
pub(super) fn retry_budget(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.retry_budget.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    if *word == "off" && node.args.len() == 1 {
        return Ok(());
    }
    let share = percent(word);
    let share = share.ok_or_else(|| invalid(word).advise("a share of the requests: retry_budget 20%"))?;
    let min = match node.args.get(1) {
        None => RETRIES_MIN,
        Some(word) => word.strip_prefix("min=").and_then(|it| it.parse().ok()).ok_or_else(|| invalid(word))?,
    };
    o.retry_budget = Some((share, min));
    Ok(())
}

fn count(word: &Word) -> Option<u32> {
    value::number(word).and_then(|it| u32::try_from(it).ok())
}

/// `50%`
fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.parse().ok().filter(|it| (1..=100).contains(it))
}
