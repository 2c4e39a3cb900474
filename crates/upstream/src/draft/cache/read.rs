//! Readers of the caches' directives that have a shape of their own.

use foregate_conf::{Error, Node, Word, value};
use foregate_core::duplicate;

use super::CacheDraft;
use crate::rules::Conditions;

type Done = Result<(), Error>;

/// What `…_cache_valid` means without a status.
const KEPT: [u16; 3] = [200, 301, 302];

/// `[any | STATUS …] TIME`
pub fn valid(o: &mut CacheDraft, node: &Node) -> Done {
    let Some((time, statuses)) = node.args.split_last() else { return Ok(()) };
    let seconds =
        value::time_s(time).ok_or_else(|| Error::at(time.span, format!("invalid time value \"{time}\"")))?;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let rules = o.valid.get_or_insert_default();
    if statuses.is_empty() {
        rules.extend(KEPT.map(|status| (status, seconds)));
    }
    for word in statuses {
        let status = match &*word.text {
            "any" => 0,
            text => value::number(text)
                .and_then(|it| u16::try_from(it).ok())
                .filter(|it| (100..=599).contains(it))
                .ok_or_else(|| Error::at(word.span, format!("invalid status \"{word}\"")))?,
        };
        rules.push((status, seconds));
    }
    Ok(())
}

pub fn methods(o: &mut CacheDraft, node: &Node) -> Done {
    if o.methods.is_some() {
        return Err(duplicate(node));
    }
    for word in &node.args {
        if !matches!(&*word.text, "GET" | "HEAD" | "POST") {
            return Err(Error::at(word.span, format!("invalid value \"{word}\""))
                .advise("one of: GET, HEAD, POST; the first two are always kept"));
        }
    }
    o.methods = Some(node.args.iter().any(|it| *it == "POST"));
    Ok(())
}

pub fn bypass(o: &mut CacheDraft, node: &Node) -> Done {
    more(&mut o.bypass, node)
}

pub fn no_cache(o: &mut CacheDraft, node: &Node) -> Done {
    more(&mut o.no_cache, node)
}

pub fn purge(o: &mut CacheDraft, node: &Node) -> Done {
    more(&mut o.purge, node)
}

/// Several of one block add up.
fn more(slot: &mut Option<Vec<Word>>, node: &Node) -> Done {
    slot.get_or_insert_default().extend_from_slice(&node.args);
    Ok(())
}

pub fn use_stale(o: &mut CacheDraft, node: &Node) -> Done {
    if o.use_stale.is_some() {
        return Err(duplicate(node));
    }
    let (mut set, mut updating, mut off) = (Conditions::OFF, false, false);
    for word in &node.args {
        match &*word.text {
            "off" => off = true,
            "updating" => updating = true,
            text => {
                let known = Conditions::NAMES.iter().find(|(name, _)| *name == text);
                let (_, condition) = known.ok_or_else(|| invalid(word))?;
                set = set.and(*condition);
            }
        }
    }
    if set.contain(Conditions::ERROR) {
        set = set.and(Conditions::NO_LIVE);
    }
    o.use_stale = Some(if off { (Conditions::OFF, false) } else { (set, updating) });
    Ok(())
}

fn invalid(word: &Word) -> Error {
    let names: Vec<_> = Conditions::NAMES.iter().map(|(name, _)| *name).collect();
    Error::at(word.span, format!("invalid value \"{word}\""))
        .advise(format!("one of: {}, updating, off", names.join(", ")))
}

pub fn max_range_offset(o: &mut CacheDraft, node: &Node) -> Done {
    if o.max_range_offset.is_some() {
        return Err(duplicate(node));
    }
    let bytes = value::offset(&node.args[0]);
    let bytes = bytes
        .ok_or_else(|| Error::at(node.args[0].span, format!("\"{}\" directive invalid value", node.name)))?;
    o.max_range_offset = Some(bytes);
    Ok(())
}
