//! `limit_rate`: how much of an answer may go out now.

use std::time::Duration;

use foregate_core::{Exchange, Template};
use foregate_modules::client;
use foregate_net::clock;

/// With a rate limit, no single write is larger than this.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// What one answer is allowed.
pub(super) struct Rate {
    bytes_per_s: u64,
    /// Bytes that go out at full speed first.
    after: u64,
    /// By [`clock::ms`].
    started_ms: u64,
}

impl Rate {
    /// The limit of an answer that begins now, if it has one.
    pub(super) fn of(on: &client::Settings, ex: &mut Exchange) -> Option<Rate> {
        if on.limit_rate.is_none() && ex.limit_rate.is_none() {
            return None;
        }
        let number = |template: &Option<Template>, ex: &mut Exchange| {
            let text = template.as_ref().map(|it| it.fill_new(ex)).unwrap_or_default();
            foregate_conf::value::size(&String::from_utf8_lossy(&text)).unwrap_or(0)
        };
        let bytes_per_s = ex.limit_rate.unwrap_or_else(|| number(&on.limit_rate, ex));
        let after = ex.limit_rate_after.unwrap_or_else(|| number(&on.limit_rate_after, ex));
        (bytes_per_s > 0).then(|| Rate { bytes_per_s, after, started_ms: clock::ms() })
    }

    /// How many bytes may follow the `sent` ones now; `Err`: none before this time has passed.
    pub(super) fn allows(&self, sent: u64) -> Result<usize, Duration> {
        let elapsed_ms = clock::ms() - self.started_ms;
        let allowed = self.after.saturating_add(self.bytes_per_s.saturating_mul(elapsed_ms / 1000 + 1));
        if allowed > sent {
            return Ok(usize::try_from(allowed - sent).unwrap_or(usize::MAX).min(WRITE_BYTES_MAX));
        }
        Err(Duration::from_millis((sent - allowed + 1) * 1000 / self.bytes_per_s + 1))
    }
}
