//! `Cache-Status` (RFC 9211): what this cache did, for whoever looks into an answer.

use std::io::Write;

/// Our name among the caches that an answer has passed.
const NAME: &str = "Foregate";

/// Why a request went on to the upstream (section 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// The configuration said so.
    Bypass,
    /// The method's semantics need it.
    Method,
    /// Nothing is stored under this key.
    #[default]
    UriMiss,
    /// What the request says about caching.
    Request,
    Stale,
}

impl Forwarded {
    fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// Appends our member. `forwarded`: why, and what the upstream answered; without it the answer came from the cache alone. `ttl_s` are the seconds for which it
/// is still good, below zero where it is not.
pub fn push_status(
    forwarded: Option<(Forwarded, Option<u16>)>,
    stored: bool,
    ttl_s: Option<i64>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(NAME.as_bytes());
    match forwarded {
        None => out.extend_from_slice(b"; hit"),
        Some((why, _)) => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(why.name().as_bytes());
        }
    }
    // Writing to memory does not fail.
    if let Some(status) = forwarded.and_then(|it| it.1) {
        _ = write!(out, "; fwd-status={status}");
    }
    if stored {
        out.extend_from_slice(b"; stored");
    }
    if let Some(ttl_s) = ttl_s {
        _ = write!(out, "; ttl={ttl_s}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_structured_fields() {
        let shown = |forwarded, stored, ttl_s| {
            let mut out = Vec::new();
            push_status(forwarded, stored, ttl_s, &mut out);
            String::from_utf8(out).expect("because it is ASCII")
        };
        assert_eq!(shown(None, false, Some(-3)), "Foregate; hit; ttl=-3");
        assert_eq!(
            shown(Some((Forwarded::Stale, Some(304))), true, Some(9)),
            "Foregate; fwd=stale; fwd-status=304; stored; ttl=9"
        );
        assert_eq!(shown(Some((Forwarded::UriMiss, None)), true, None), "Foregate; fwd=miss; stored");
    }
}
