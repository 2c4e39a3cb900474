//! Time as a thread sees it: read once per loop turn, and timers of one millisecond's resolution.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wheel::NEVER;

mod wheel;

/// Entry number of a timer that stands in no wheel yet.
const NO_ENTRY: u32 = u32::MAX;

/// The instant that tick 0 of every thread's timers refers to.
static START: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static NOW: Cell<Option<Now>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    unix_ms: u64,
    /// Milliseconds since `START`: what timers count in.
    tick: u64,
}

/// The time of this loop turn. Outside of a runtime it is the real time.
#[inline]
pub fn now() -> Instant {
    NOW.get().map_or_else(Instant::now, |now| now.instant)
}

/// Milliseconds since 1970 as of this loop turn.
#[inline]
pub fn unix_ms() -> u64 {
    NOW.get().map_or_else(read_unix_ms, |now| now.unix_ms)
}

/// Milliseconds as of this loop turn, since a moment in the past that is the same for all threads: what lasts is
/// measured with these, for less than with `Instant`s.
#[inline]
pub fn ms() -> u64 {
    tick()
}

/// Whole milliseconds, rounded up; what no timer can wait for counts as the longest that one can.
#[inline]
pub fn as_ms(time: Duration) -> u64 {
    let below = u64::from(time.subsec_nanos().div_ceil(1_000_000));
    time.as_secs().saturating_mul(1000).saturating_add(below).min(NEVER - 1)
}

/// Reads the clocks again: for code that knows a turn took long (a log line's time after a blocking call).
pub fn refresh() {
    let start = *START.get_or_init(Instant::now);
    let instant = Instant::now();
    let tick = instant.saturating_duration_since(start).as_millis() as u64;
    NOW.set(Some(Now { instant, unix_ms: read_unix_ms(), tick }));
}

/// Ready once `after` has passed, never earlier.
pub fn sleep(after: Duration) -> Sleep {
    let deadline = Deadline::new();
    deadline.arm(after);
    Sleep { deadline }
}

/// Runs `work` for at most `limit`, then drops it.
pub async fn timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let deadline = Deadline::new();
    deadline.arm(limit);
    deadline.within(work).await
}

/// A timer that one task re-arms again and again: moving it later, or switching it off, costs one store.
///
/// The wheel's entry stays where it is and puts itself forward when it comes due too early. Whoever polls it last
/// is woken.
pub struct Deadline {
    entry: Cell<u32>,
    target: Cell<u64>,
    not_send: std::marker::PhantomData<Rc<()>>,
}

impl Deadline {
    /// A timer that never expires until it is armed.
    pub const fn new() -> Deadline {
        Deadline { entry: Cell::new(NO_ENTRY), target: Cell::new(NEVER), not_send: std::marker::PhantomData }
    }

    /// Expires `after` from now on; whatever was set before no longer holds.
    #[inline]
    pub fn arm(&self, after: Duration) {
        // One tick more: the current one has partly passed, and a timer must not be early.
        self.set(tick().saturating_add(as_ms(after)).saturating_add(1).min(NEVER - 1));
    }

    /// Never expires, until armed again.
    #[inline]
    pub fn disarm(&self) {
        self.set(NEVER);
    }

    pub fn is_armed(&self) -> bool {
        self.target.get() != NEVER
    }

    /// Whether the time has come, as of this loop turn.
    #[inline]
    pub fn has_expired(&self) -> bool {
        self.target.get() <= tick()
    }

    /// Ready once the time has come; otherwise the task is woken then.
    #[inline]
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_expired() {
            return Poll::Ready(());
        }
        wheel::with(|wheel| {
            if self.entry.get() == NO_ENTRY {
                self.entry.set(wheel.add(self.target.get()));
            }
            wheel.watch(self.entry.get(), cx.waker());
        });
        Poll::Pending
    }

    /// Waits until the time has come.
    pub async fn expired(&self) {
        poll_fn(|cx| self.poll_expired(cx)).await
    }

    /// Runs `work` until this timer expires; the timer keeps its setting.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_expired(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    #[inline]
    fn set(&self, target: u64) {
        self.target.set(target);
        if self.entry.get() != NO_ENTRY {
            wheel::with(|wheel| wheel.retarget(self.entry.get(), target));
        }
    }
}

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline::new()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if self.entry.get() != NO_ENTRY {
            wheel::with(|wheel| wheel.remove(self.entry.get()));
        }
    }
}

/// The future of `sleep`.
pub struct Sleep {
    deadline: Deadline,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll_expired(cx)
    }
}

/// The time was up before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> std::io::Error {
        std::io::Error::from_raw_os_error(libc::ETIMEDOUT)
    }
}

/// Reads the clocks and wakes what is due. Once per loop turn.
pub(crate) fn turn() {
    refresh();
    wheel::with(|wheel| wheel.advance(tick()));
}

/// Milliseconds until a timer may be due, `None` when none is set.
pub(crate) fn next_ms() -> Option<u64> {
    wheel::with(|wheel| wheel.next()).map(|next| next.saturating_sub(tick()))
}

/// Outside of a runtime the clocks are read each time.
pub(crate) fn stop() {
    NOW.set(None);
}

#[inline]
fn tick() -> u64 {
    match NOW.get() {
        Some(now) => now.tick,
        None => START.get_or_init(Instant::now).elapsed().as_millis() as u64,
    }
}

fn read_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;
    use std::cell::RefCell;

    #[test]
    fn timers_fire_in_order_and_not_early() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let seen = order.clone();
        runtime::run(async move {
            for ms in [70_u64, 5, 40, 1, 130] {
                let order = order.clone();
                runtime::spawn(async move {
                    let began = Instant::now();
                    sleep(Duration::from_millis(ms)).await;
                    assert!(began.elapsed() >= Duration::from_millis(ms));
                    order.borrow_mut().push(ms);
                });
            }
            while order.borrow().len() < 5 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .unwrap();
        assert_eq!(*seen.borrow(), [1, 5, 40, 70, 130]);
    }

    #[test]
    fn a_timeout_ends_what_takes_too_long() {
        runtime::run(async {
            let late = timeout(Duration::from_millis(5), sleep(Duration::from_secs(5))).await;
            assert_eq!(late, Err(Elapsed));
            assert_eq!(timeout(Duration::from_secs(5), async { 7 }).await, Ok(7));
        })
        .unwrap();
    }

    #[test]
    fn times_become_milliseconds_rounded_up() {
        assert_eq!(as_ms(Duration::ZERO), 0);
        assert_eq!(as_ms(Duration::from_nanos(1)), 1);
        assert_eq!(as_ms(Duration::from_millis(1999)), 1999);
        assert_eq!(as_ms(Duration::from_micros(1999)), 2);
        assert_eq!(as_ms(Duration::MAX), NEVER - 1);
    }

    #[test]
    fn a_deadline_moves_both_ways() {
        runtime::run(async {
            let began = Instant::now();
            let deadline = Deadline::new();
            deadline.arm(Duration::from_millis(10));
            assert_eq!(deadline.within(sleep(Duration::from_millis(2))).await, Ok(()));
            deadline.arm(Duration::from_millis(40));
            deadline.expired().await;
            assert!(began.elapsed() >= Duration::from_millis(40));
            deadline.arm(Duration::from_secs(60));
            assert_eq!(deadline.within(sleep(Duration::from_millis(2))).await, Ok(()));
            deadline.disarm();
            assert_eq!(deadline.within(sleep(Duration::from_millis(2))).await, Ok(()));
            let began = Instant::now();
            deadline.arm(Duration::from_millis(5));
            deadline.expired().await;
            assert!(began.elapsed() < Duration::from_secs(5));
        })
        .unwrap();
    }
}
