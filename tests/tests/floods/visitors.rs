//! Visitors at a fixed rate, who note how long each answer takes from the moment when it was due to be asked for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foregate_testkit::Client;

/// Connections, and the time between two requests on each: 800 requests a second in all.
const VISITORS: u32 = 8;
const EVERY: Duration = Duration::from_millis(10);

/// What they have seen.
#[derive(Default)]
pub(crate) struct Seen {
    waits: Vec<Duration>,
    pub(crate) failed: usize,
}

impl Seen {
    /// What 99 of 100 did not wait longer than.
    pub(crate) fn p99(&self) -> Duration {
        self.waits.get(self.waits.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
    }
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
    all.waits.sort();
    all
}

fn visit(address: SocketAddr, n: u32, time: Duration) -> Seen {
    let mut seen = Seen::default();
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
        seen.waits.push(asked.elapsed());
        due += EVERY;
    }
    seen
}
