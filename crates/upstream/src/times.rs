//! How long peers take, for balancing by it (nginx: least_time).

use std::sync::{MutexGuard, PoisonError};

use foregate_net::clock;

use crate::peer::Peer;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Until the head; otherwise until the last byte.
    pub header: bool,
    /// Requests under way count with the time they have taken so far.
    pub inflight: bool,
}

/// A peer's averages, milliseconds.
#[derive(Default)]
pub(crate) struct Times {
    header_ms: u64,
    response_ms: u64,
    inflight: u64,
    inflight_ms: u64,
    /// Time spent by the requests under way, as of `changed_ms`.
    inflight_sum_ms: u64,
    changed_ms: u64,
}

/// Peers slower than this are equally bad: then their load decides.
const TIME_MS_MAX: u64 = 5000;
/// Times this close count as equal, so that such peers take turns.
const STEP_MS: u64 = 20;

impl Peer {
    pub(crate) fn times(&self) -> MutexGuard<'_, Times> {
        self.state.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it is expected to be done with one request more, in milliseconds of nobody's clock.
    pub(crate) fn eta(&self, measure: Measure, now_s: u64, now_ms: u64) -> u64 {
        let mut times = self.times();
        if let Some(mean) = times.inflight_sum_ms.checked_div(times.inflight) {
            let waited = now_ms.saturating_sub(times.changed_ms);
            times.inflight_ms = average(times.inflight_ms, mean + waited);
        }
        let mut ms = if measure.header { times.header_ms } else { times.response_ms };
        let idle_s = now_s.saturating_sub(self.checked_s());
        if idle_s > self.fail_timeout_s {
            // Slow peers get a new chance now and then.
            ms = ms.checked_shr((idle_s / (self.fail_timeout_s + 1)) as u32).unwrap_or(0);
        }
        if times.inflight > 0 {
            ms = ms.max(times.inflight_ms);
        }
        let ms = if ms > TIME_MS_MAX { TIME_MS_MAX } else { ms + STEP_MS - ms % STEP_MS };
        ms * (1 + u64::from(self.conns()))
    }
}

impl Times {
    /// One request more is under way.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.inflight_sum_ms += now_ms.saturating_sub(self.changed_ms) * self.inflight;
        self.changed_ms = now_ms;
        self.inflight += 1;
    }

    /// A request that took so long is no longer under way.
    fn end(&mut self, now_ms: u64, took_ms: u64) {
        if self.inflight <= 1 {
            self.inflight_sum_ms = 0;
        } else {
            let sum = self.inflight_sum_ms + now_ms.saturating_sub(self.changed_ms) * self.inflight;
            self.inflight_sum_ms = sum.saturating_sub(took_ms);
            self.changed_ms = now_ms;
        }
        self.inflight = self.inflight.saturating_sub(1);
    }
}

/// nginx's moving average: a twentieth of the new, rounded.
fn average(old: u64, new: u64) -> u64 {
    match old {
        0 => new,
        _ => (0.5 + new as f64 * 0.05 + old as f64 * 0.95) as u64,
    }
}

/// One try that is being timed.
pub(crate) struct Timing {
    measure: Measure,
    begun_ms: u64,
    header_ms: Option<u64>,
    /// It still counts as under way.
    inflight: bool,
}

impl Timing {
    pub(crate) fn new(measure: Measure) -> Self {
        Self { measure, begun_ms: clock::unix_ms(), header_ms: None, inflight: measure.inflight }
    }

    pub(crate) fn head_came(&mut self, peer: &Peer) {
        let now_ms = clock::unix_ms();
        let took_ms = now_ms.saturating_sub(self.begun_ms);
        self.header_ms = Some(took_ms);
        if self.measure.header && self.measure.inflight {
            let mut times = peer.times();
            times.header_ms = average(times.header_ms, took_ms);
            times.end(now_ms, took_ms);
            self.inflight = false;
        }
    }

    /// The try is over. Only tries that brought an answer change the averages.
    pub(crate) fn end(self, peer: &Peer, passed: bool) {
        let now_ms = clock::unix_ms();
        let took_ms = now_ms.saturating_sub(self.begun_ms);
        let mut times = peer.times();
        if self.inflight {
            times.end(now_ms, took_ms);
        }
        let Some(header_ms) = self.header_ms.filter(|_| passed) else { return };
        times.response_ms = average(times.response_ms, took_ms);
        if !(self.measure.header && self.measure.inflight) {
            times.header_ms = average(times.header_ms, header_ms);
        }
    }
}
