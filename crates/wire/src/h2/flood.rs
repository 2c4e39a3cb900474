//! How much of what costs us something and brings the client nothing is too much.
//!
//! Each is counted over a few seconds: a client that has reasons for one of these stays far below, however fast it is.

use super::Fault;

/// Counts begin anew after this, milliseconds.
pub const WINDOW_MS: u64 = 10_000;

/// Streams that the client cancels (CVE-2023-44487, "rapid reset") beyond as many as were answered. A page that is
/// left takes at most as many as may be open at once.
const RESETS_MAX: u32 = 500;
/// Streams that we cancel because of what the client sends on them ("MadeYouReset", CVE-2025-8671).
const BROKEN_MAX: u32 = 100;
/// Streams beyond those that may be open at once.
const REFUSED_MAX: u32 = 1_000;
/// PING frames; each is answered.
const PINGS_MAX: u32 = 500;
/// SETTINGS frames; each is answered.
const SETTINGS_MAX: u32 = 100;
/// DATA frames without data (CVE-2019-9518), and frames of kinds that we do not know.
const EMPTY_MAX: u32 = 1_000;
/// PRIORITY and PRIORITY_UPDATE frames (CVE-2019-9513).
const PRIORITIES_MAX: u32 = 2_000;
/// WINDOW_UPDATE frames beyond eight for each frame of data that we send.
const UPDATES_MAX: u32 = 10_000;
/// What comes for streams that are closed: no more than what may be on the way when we close them.
const LATE_BYTES_MAX: u64 = 64 << 20;

/// What has come since the window began.
#[derive(Default)]
pub(super) struct Flood {
    began_ms: u64,
    /// Answers that were sent whole.
    pub(super) n_answered: u32,
    /// Frames of data that were sent.
    pub(super) n_sent: u32,
    n_resets: u32,
    n_broken: u32,
    n_refused: u32,
    n_pings: u32,
    n_settings: u32,
    n_empty: u32,
    n_priorities: u32,
    n_updates: u32,
    late_bytes: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nuisance {
    Reset,
    Broken,
    Refused,
    Ping,
    Settings,
    Empty,
    Priority,
    Update,
    Late(usize),
}

impl Flood {
    #[inline]
    pub(super) fn at(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.began_ms) >= WINDOW_MS {
            *self = Flood { began_ms: now_ms, ..Flood::default() };
        }
    }

    #[inline]
    pub(super) fn count(&mut self, what: Nuisance) -> Result<(), Fault> {
        let updates_max = UPDATES_MAX.saturating_add(self.n_sent.saturating_mul(8));
        let (count, max) = match what {
            Nuisance::Reset => (&mut self.n_resets, RESETS_MAX.saturating_add(self.n_answered)),
            Nuisance::Broken => (&mut self.n_broken, BROKEN_MAX),
            Nuisance::Refused => (&mut self.n_refused, REFUSED_MAX),
            Nuisance::Ping => (&mut self.n_pings, PINGS_MAX),
            Nuisance::Settings => (&mut self.n_settings, SETTINGS_MAX),
            Nuisance::Empty => (&mut self.n_empty, EMPTY_MAX),
            Nuisance::Priority => (&mut self.n_priorities, PRIORITIES_MAX),
            Nuisance::Update => (&mut self.n_updates, updates_max),
            Nuisance::Late(bytes) => {
                self.late_bytes += bytes as u64;
                return if self.late_bytes > LATE_BYTES_MAX { Err(Fault::flood()) } else { Ok(()) };
            }
        };
        *count += 1;
        if *count > max { Err(Fault::flood()) } else { Ok(()) }
    }
}
