//! Visitors at a fixed rate, who note how long each answer takes from the moment when it was due to be asked for.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foregate_testkit::Client;

/// Connections, and the time between two requests on each: 800 requests a second in all.
const VISITORS: u32 = 8;
const EVERY: Duration = Duration::from_millis(10);

/// So long is looked at for itself: 200 requests. A virtual machine that stands still for a second, as they do, spoils
/// few of these, and all that lasts spoils most.
const WINDOW: Duration = Duration::from_millis(250);

/// What they have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// When each was asked for, counted from the beginning, and how long it took.
    waits: Vec<(Duration, Duration)>,
    pub(crate) failed: usize,
}

impl Seen {
    /// What 99 of 100 did not wait longer than, over the whole time.
    pub(crate) fn p99(&self) -> Duration {
        p99(self.waits.iter().map(|(_, wait)| *wait).collect())
    }

    /// The same of each window, and of these the middle one.
    pub(crate) fn usual_p99(&self) -> Duration {
        let window = |at: &Duration| at.as_millis() / WINDOW.as_millis();
        let mut waits = self.waits.clone();
        waits.sort();
        let windows = waits.chunk_by(|(a, _), (b, _)| window(a) == window(b));
        let mut all: Vec<_> = windows.map(|of| p99(of.iter().map(|(_, wait)| *wait).collect())).collect();
        all.sort();
        all.get(all.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (whole: {:?})", self.usual_p99(), self.p99())
    }
}

fn p99(mut waits: Vec<Duration>) -> Duration {
    waits.sort();
    waits.get(waits.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
}

pub(crate) fn measure(address: SocketAddr, time: Duration) -> Seen {
    let visitors: Vec<_> =
        (0..VISITORS).map(|n| std::thread::spawn(move || visit(address, n, time))).collect();
    let mut all = Seen::default();
    for visitor in visitors {
        let one = visitor.join().unwrap_or_else(|_| Seen { failed: 1, ..Seen::default() });
        all.waits.extend(one.waits);
        all.failed += one.failed;
    }
    all
}

fn visit(address: SocketAddr, n: u32, time: Duration) -> Seen {
    let mut seen = Seen::default();
    crate::prefer(0);
    let mut client = Client::connect(address);
    let began = Instant::now();
    let mut due = began + EVERY * n / VISITORS;
    while began.elapsed() < time {
        let early = due.saturating_duration_since(Instant::now());
        std::thread::sleep(early);
        // Who overslept waits from now; who was kept by the answer before waits since it was due.
        let asked = if early.is_zero() { due } else { Instant::now() };
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answered = client.response().is_some_and(|it| it.status == 200);
        seen.failed += usize::from(!answered);
        seen.waits.push((asked.duration_since(began), asked.elapsed()));
        due += EVERY;
    }
    seen
}
