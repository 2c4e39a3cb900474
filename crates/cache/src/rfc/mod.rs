//! Caching by RFC 9111: what may be stored, for how long it is good, and what a request says of what it wants.
//!
//! Everything here is pure: times and fields come in, and what is to be done comes out. How far it goes beyond nginx
//! is told row by row in `docs/rfc9111.md`.

mod directives;
mod judge;
mod stored;
mod told;
mod vary;
mod wants;

pub use judge::{Answered, HEURISTIC_MAX_S, judge};
pub use stored::{merge, storable_head};
pub use told::{Forwarded, push_status};
pub(crate) use vary::variant;
pub use wants::Wants;

/// In the place of [`Life::error_s`](crate::Life) and `updating_s`: this answer must not be served out of date,
/// whatever the reason (RFC 9111, section 4.2.4).
pub const NEVER_STALE: i64 = -1;
