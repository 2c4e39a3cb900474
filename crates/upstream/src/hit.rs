//! Answers out of the cache's memory: what most requests for a cache get, without waiting for anything.

use foregate_cache::{Ask, Key, Status, Told};
use foregate_core::{Exchange, Reply};

use crate::caching::{By, Caching, any};
use crate::rules::Rules;
use crate::run::Protocol;
use crate::serve::serve;

/// What is in memory and good, where nothing stands against serving it. `None`: [`crate::look()`] is to find out more.
pub fn hit<P: Protocol>(on: &Caching, rules: &Rules, protocol: &P, ex: &mut Exchange) -> Option<Reply> {
    let By::Zone(zone) = &on.zone else { return None };
    // What RFC 9111 makes of a request is said in one place, which is not here.
    if on.rfc.is_some() || !zone.has_memory() || ex.body.source.is_some() || !on.is_for(ex.method) {
        return None;
    }
    if any(&on.purge, ex) || any(&on.bypass, ex) || crate::look::is_handed(ex) {
        return None;
    }
    let mut text = Vec::with_capacity(KEY_BYTES);
    match &on.key {
        Some(key) => key.fill(ex, &mut text),
        None => protocol.cache_key(ex, &mut text),
    }
    let ask = Ask {
        text: &text,
        main: Key::of(&text),
        fields: &ex.fields,
        min_uses: on.min_uses,
        lock_age: None,
        again: false,
        let_go: false,
        wants: on.wants(ex),
    };
    let object = zone.remembered(&ask)?;
    let told = Told {
        status: Status::Hit,
        key: text,
        dated_s: None,
        modified_s: None,
        etag: None,
        by_rfc: false,
        forwarded: None,
    };
    let reply = serve(rules, protocol, ex, &object, told)?;
    zone.count(Status::Hit, object.body_bytes());
    Some(reply)
}

/// Room for most keys at once.
const KEY_BYTES: usize = 128;
