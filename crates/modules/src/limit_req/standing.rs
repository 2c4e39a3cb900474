//! `limit_req_headers`: clients are told how they stand, so that those who listen come later by themselves.
//!
//! The fields are those of draft-ietf-httpapi-ratelimit-headers (its tenth version), and `Retry-After` (RFC 9110,
//! 10.2.3) where a request is refused.

use foregate_core::{Exchange, Reply, push_number};

use super::Limit;
use super::zone::Zone;

/// How a client stands with the limit that is nearest to refusing it.
pub(super) struct Standing {
    policy: Box<[u8]>,
    /// Requests that would pass now.
    remaining: u64,
    /// Seconds until the bucket is empty.
    reset_s: u64,
    /// Seconds until one request would pass, where this one has not.
    retry_s: Option<u64>,
}

/// `"zone";q=21;w=3`: what passes at once from an empty bucket, and in how many seconds that has leaked.
pub(super) fn policy(zone: &Zone, burst: i64) -> Box<[u8]> {
    let mut out = quoted(&zone.name);
    let quota = burst.saturating_add(1000);
    out.extend_from_slice(b";q=");
    push_number((quota / 1000).cast_unsigned(), &mut out);
    out.extend_from_slice(b";w=");
    push_number(seconds(quota, zone.rate), &mut out);
    out.into()
}

/// A string as structured fields have it (RFC 9651, 3.3.3).
fn quoted(name: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in name.bytes().filter(|it| (b' '..=b'~').contains(it)) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    out
}

/// Whole seconds in which so many thousandths of a request leak, at least one.
fn seconds(thousandths: i64, rate: i64) -> u64 {
    let rate = rate.max(1);
    (thousandths.max(0).saturating_add(rate - 1) / rate).max(1).cast_unsigned()
}

impl Limit {
    /// With so much in the bucket above one request. More than the burst: it has been refused.
    pub(super) fn standing(&self, excess: i64) -> Standing {
        let over = excess - self.burst;
        Standing {
            policy: self.policy.clone(),
            remaining: (-over).max(0).cast_unsigned() / 1000,
            reset_s: seconds(excess, self.zone.rate),
            retry_s: (over > 0).then(|| seconds(over, self.zone.rate)),
        }
    }
}

/// Header filter, also of the page that an `error_page` puts in the place of a refusal. What the application says of
/// limits of its own stays.
pub fn filter(ex: &Exchange, reply: &mut Reply) {
    let Some(standing) = ex.notes.get::<Standing>() else { return };
    if let Some(retry_s) = standing.retry_s
        && !reply.fields.contains(b"Retry-After")
    {
        reply.fields.push(b"Retry-After", retry_s.to_string().as_bytes());
    }
    if reply.fields.contains(b"RateLimit") || reply.fields.contains(b"RateLimit-Policy") {
        return;
    }
    let name = standing.policy.iter().rposition(|it| *it == b'"').map_or(0, |it| it + 1);
    let mut state = standing.policy[..name].to_vec();
    state.extend_from_slice(b";r=");
    push_number(standing.remaining, &mut state);
    state.extend_from_slice(b";t=");
    push_number(standing.reset_s, &mut state);
    reply.fields.push(b"RateLimit-Policy", &standing.policy);
    reply.fields.push(b"RateLimit", &state);
}
