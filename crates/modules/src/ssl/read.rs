//! The directives with a shape of their own.

use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::{Scope, ZoneSpec, duplicate};

use super::Options;

const PROTOCOLS: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
/// OpenSSL's own number of sessions for `builtin`.
const BUILTIN_SESSIONS: u64 = 20_480;
/// As nginx: eight pages.
pub(super) const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// `ssl_session_cache`.
#[derive(Clone, Debug)]
pub(super) enum Cache {
    Off,
    /// So many sessions.
    Builtin(u64),
    Shared(ZoneSpec, Word),
}

pub(super) fn certificate(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.certificates.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

pub(super) fn certificates_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.certificates, &outer.certificates);
}

pub(super) fn key(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.keys.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

pub(super) fn keys_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.keys, &outer.keys);
}

pub(super) fn ticket_key(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.ticket_keys.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

pub(super) fn ticket_keys_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.ticket_keys, &outer.ticket_keys);
}

pub(super) fn command(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.commands.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}

pub(super) fn commands_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.commands, &outer.commands);
}

pub(super) fn protocols(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if let Some(word) = node.args.iter().find(|word| !PROTOCOLS.contains(&word.text.as_str())) {
        return Err(Error::at(word.span, format!("invalid value \"{word}\"")));
    }
    o.protocols.get_or_insert_default().extend_from_slice(&node.args);
    Ok(())
}

pub(super) fn protocols_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.protocols, &outer.protocols);
}

/// The last word counts, and memory of our own stands back behind a zone.
pub(super) fn session_cache(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    for word in &node.args {
        let wrong = || Error::at(word.span, format!("invalid session cache \"{word}\""));
        let cache = match word.text.as_str() {
            "off" | "none" => Cache::Off,
            "builtin" => Cache::Builtin(BUILTIN_SESSIONS),
            text => match (text.strip_prefix("builtin:"), text.strip_prefix("shared:")) {
                (Some(n), _) => Cache::Builtin(values::number(n).ok_or_else(wrong)?),
                (_, Some(zone)) => Cache::Shared(shared(zone, word).ok_or_else(wrong)??, word.clone()),
                _ => return Err(wrong()),
            },
        };
        if !matches!((&o.session_cache, &cache), (Some(Cache::Shared(..)), Cache::Off | Cache::Builtin(_))) {
            o.session_cache = Some(cache);
        }
    }
    Ok(())
}

/// `NAME:SIZE`
fn shared(zone: &str, word: &Word) -> Option<Result<ZoneSpec, Error>> {
    let (name, size) = zone.split_once(':').filter(|(name, _)| !name.is_empty())?;
    let bytes = values::size(size)?;
    Some(match bytes < ZONE_BYTES_MIN {
        true => Err(Error::at(word.span, format!("session cache \"{word}\" is too small")).advise("32k is the least")),
        false => Ok(ZoneSpec { name: name.to_owned(), bytes }),
    })
}

pub(super) fn cache_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.session_cache, &outer.session_cache);
}

pub(super) fn certificate_cache(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.certificate_cache.is_some() {
        return Err(duplicate(node));
    }
    o.certificate_cache = Some(foregate_core::certificate_cache(node)?);
    Ok(())
}

pub(super) fn certificate_cache_inherit(o: &mut Options, outer: &Options) {
    inherit(&mut o.certificate_cache, &outer.certificate_cache);
}

fn inherit<T: Clone>(own: &mut Option<T>, outer: &Option<T>) {
    if own.is_none() {
        own.clone_from(outer);
    }
}
