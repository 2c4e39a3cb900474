//! What a location says about speaking to upstreams, whatever the protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use foregate_core::{TempDir, Template};

use crate::connect::Bind;
use crate::fields::{Hidden, Ignored};
use crate::store::Store;

/// The settings that all protocols share (`proxy_…`, `fastcgi_…`). Sizes are bytes.
pub struct Rules {
    /// Tells, with the place, the connections of one location from another's (`keepalive … local`).
    pub id: u32,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub bind: Option<Bind>,
    pub socket_keepalive: bool,
    pub recv_buffer: Option<usize>,
    pub send_buffer: Option<usize>,

    pub next: Conditions,
    /// 0: as many as there are peers.
    pub next_tries: u32,
    /// Zero: no limit.
    pub next_timeout: Duration,

    /// The request's body is read whole before a peer is chosen.
    pub request_buffering: bool,
    pub pass_request_body: bool,
    pub ignore_client_abort: bool,

    /// The largest head of a response.
    pub head_max: usize,
    pub buffering: bool,
    /// What is read ahead of a slow client into memory.
    pub ahead_max: usize,
    /// What goes to a file beyond that; 0: nothing.
    pub file_max: u64,
    pub temp: TempDir,
    /// Bytes a second read from the upstream.
    pub limit_rate: Option<Template>,

    pub store: Option<Store>,

    pub hidden: Hidden,
    pub ignored: Ignored,
    pub intercept_errors: bool,
    pub force_ranges: bool,
    pub pass_trailers: bool,
    /// Conditions under which 103 responses go to the client; empty: never.
    pub early_hints: Vec<Template>,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Rules {
    /// A number no other location has.
    pub fn next_id() -> u32 {
        NEXT_ID.fetch_add(1, Ordering::Relaxed)
    }
}

/// When another peer is asked (`proxy_next_upstream`), as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions(u16);

impl Conditions {
    pub const OFF: Self = Self(0);
    pub const ERROR: Self = Self(1);
    pub const TIMEOUT: Self = Self(2);
    pub const INVALID_HEADER: Self = Self(4);
    pub const HTTP_500: Self = Self(8);
    pub const HTTP_502: Self = Self(16);
    pub const HTTP_503: Self = Self(32);
    pub const HTTP_504: Self = Self(64);
    pub const HTTP_403: Self = Self(128);
    pub const HTTP_404: Self = Self(256);
    pub const HTTP_429: Self = Self(512);
    pub const NON_IDEMPOTENT: Self = Self(1024);
    /// No peer could be asked: never among the conditions.
    pub const NO_LIVE: Self = Self(2048);
    /// Names that only choose: nginx's commercial edition asks another peer where this one denies.
    pub const DENIED: Self = Self(4096);

    /// Words of the directive.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("timeout", Self::TIMEOUT),
        ("invalid_header", Self::INVALID_HEADER),
        ("non_idempotent", Self::NON_IDEMPOTENT),
        ("http_500", Self::HTTP_500),
        ("http_502", Self::HTTP_502),
        ("http_503", Self::HTTP_503),
        ("http_504", Self::HTTP_504),
        ("http_403", Self::HTTP_403),
        ("http_404", Self::HTTP_404),
        ("http_429", Self::HTTP_429),
        ("denied", Self::DENIED),
    ];

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The condition that a status may meet.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            500 => Self::HTTP_500,
            502 => Self::HTTP_502,
            503 => Self::HTTP_503,
            504 => Self::HTTP_504,
            403 => Self::HTTP_403,
            404 => Self::HTTP_404,
            429 => Self::HTTP_429,
            _ => return None,
        })
    }

    /// The status of an exchange that ends for this reason.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::TIMEOUT | Self::HTTP_504 => 504,
            Self::HTTP_500 => 500,
            Self::HTTP_503 => 503,
            Self::HTTP_403 => 403,
            Self::HTTP_404 => 404,
            Self::HTTP_429 => 429,
            _ => 502,
        }
    }
}

/// A local address as configurations write it: with or without a port.
pub fn bind_address(text: &str) -> Option<SocketAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|ip| SocketAddr::new(ip, 0))
}
