//! What the cache did with a request, for `$upstream_cache_…`.

use crate::rfc::Forwarded;

/// `$upstream_cache_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not in the cache; the upstream answers.
    #[default]
    Miss,
    /// Out of date; the upstream answers.
    Expired,
    /// Out of date, and served all the same.
    Stale,
    /// As `Stale`, while somebody else fetches it anew.
    Updating,
    /// Out of date, and found good again.
    Revalidated,
    Hit,
    /// The cache was not asked.
    Bypass,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Updating => "UPDATING",
            Self::Revalidated => "REVALIDATED",
            Self::Hit => "HIT",
            Self::Bypass => "BYPASS",
        }
    }
}

/// A note on an exchange that has asked a cache.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: Status,
    /// The key's text.
    pub key: Vec<u8>,
    /// When the object that is served came or was last found good, seconds since the epoch.
    pub dated_s: Option<i64>,
    /// What the upstream may compare with, where an object is to be revalidated.
    pub modified_s: Option<i64>,
    pub etag: Option<Vec<u8>>,
    /// The cache goes by RFC 9111 and says so in the answer.
    pub by_rfc: bool,
    /// Why the upstream was asked, and what it answered; unset where the answer comes from the cache alone.
    pub forwarded: Option<(Forwarded, Option<u16>)>,
}
