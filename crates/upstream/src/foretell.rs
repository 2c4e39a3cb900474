//! What a cache would do with a request, found out without asking it: for those who look at a configuration.

use foregate_cache::{Purge, Valid};
use foregate_core::{Exchange, Stop};

use crate::caching::{Caching, any};
use crate::look::{is_soft, meant, zone};
use crate::rfc::{is_for_origin, is_unsafe};
use crate::run::Protocol;

/// What holds before anything is asked. Whether there is an object is not in it.
pub struct Foretold {
    /// The zone's name.
    pub zone: String,
    /// The key's text.
    pub key: Vec<u8>,
    pub deed: Deed,
    /// Answers are judged by RFC 9111.
    pub by_rfc: bool,
    /// How long answers are good that do not say it themselves.
    pub valid: Valid,
}

/// What the request is to the cache.
pub enum Deed {
    /// It is answered from there, if there is anything.
    Asks {
        keeps: Keeps,
    },
    /// The upstream is asked at once.
    Passes {
        why: Passing,
        keeps: Keeps,
    },
    /// It may change what is kept, which goes once the upstream has said yes (RFC 9111, section 4.4).
    Invalidates,
    Purges {
        what: Vec<Purged>,
        soft: bool,
    },
}

/// Why the cache is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Answers to this method are not kept.
    Method,
    /// `proxy_cache_bypass`
    Bypass,
    /// The request has a condition that only the upstream can judge.
    Condition,
}

/// Whether the upstream's answer may be kept, as far as the request decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Yes,
    /// `proxy_no_cache`
    NoCache,
    /// It is none of the cache's.
    Never,
}

/// As [`Purge`], on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    Key,
    Prefix(Vec<u8>),
    Tag(Vec<u8>),
}

/// As [`crate::look()`], as far as the request alone decides. `None`: there is no cache for it.
///
/// # Errors
/// The answer where variables name a zone that there is not.
pub fn foretell<P: Protocol>(
    on: &Caching,
    protocol: &P,
    ex: &mut Exchange,
) -> Result<Option<Foretold>, Stop> {
    let Some(zone) = zone(on, ex)? else { return Ok(None) };
    let mut key = Vec::new();
    match &on.key {
        Some(template) => template.fill(ex, &mut key),
        None => protocol.cache_key(ex, &mut key),
    }
    let deed = deed(on, &key, ex);
    let (zone, by_rfc, valid) = (zone.spec.name.clone(), on.rfc.is_some(), on.valid.clone());
    Ok(Some(Foretold { zone, key, deed, by_rfc, valid }))
}

fn deed(on: &Caching, key: &[u8], ex: &mut Exchange) -> Deed {
    if any(&on.purge, ex) {
        let what = meant(key, ex).into_iter().map(Purged::from).collect();
        return Deed::Purges { what, soft: is_soft(ex) };
    }
    if on.rfc.is_some() && is_unsafe(ex.method) {
        return Deed::Invalidates;
    }
    if !on.is_for(ex.method) {
        return Deed::Passes { why: Passing::Method, keeps: Keeps::Never };
    }
    let keeps = match any(&on.no_cache, ex) {
        true => Keeps::NoCache,
        false if on.is_far(ex) => Keeps::Never,
        false => Keeps::Yes,
    };
    if any(&on.bypass, ex) {
        return Deed::Passes { why: Passing::Bypass, keeps };
    }
    if on.rfc.is_some() && is_for_origin(ex) {
        return Deed::Passes { why: Passing::Condition, keeps: Keeps::Never };
    }
    Deed::Asks { keeps }
}

impl From<Purge<'_>> for Purged {
    fn from(purge: Purge<'_>) -> Self {
        match purge {
            Purge::Key(_) => Self::Key,
            Purge::Prefix(text) => Self::Prefix(text.to_vec()),
            Purge::Tag(text) => Self::Tag(text.to_vec()),
        }
    }
}
