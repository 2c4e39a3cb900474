//! The blocks a directive may stand in, as a set.

use std::ops::BitOr;

/// A set of blocks: where a directive may stand, or the one block that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(u16);

impl Scope {
    /// Outside of every block.
    pub const MAIN: Self = Self(1);
    pub const EVENTS: Self = Self(2);
    pub const HTTP: Self = Self(4);
    pub const SERVER: Self = Self(8);
    pub const LOCATION: Self = Self(16);
    /// `if` that stands in a server.
    pub const SERVER_IF: Self = Self(32);
    /// `if` that stands in a location: a location of its own.
    pub const LOCATION_IF: Self = Self(64);
    pub const LIMIT_EXCEPT: Self = Self(128);
    pub const UPSTREAM: Self = Self(256);

    pub const HTTP_SERVER: Self = Self(4 | 8);
    pub const ANY_HTTP: Self = Self(4 | 8 | 16);
    pub const ANY_HTTP_IF: Self = Self(4 | 8 | 16 | 64);
    /// Where the rewrite module's directives may stand.
    pub const REWRITE: Self = Self(8 | 16 | 32 | 64);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Scope {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}
