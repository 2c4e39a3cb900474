//! Visitors that ask at a fixed rate, whatever becomes of the answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foregate_testkit::Client;

/// Visitors, and the time from one request of a visitor to its next: 200 requests a second in all.
const VISITORS: u32 = 40;
const EVERY: Duration = Duration::from_millis(200);
/// One request in so many is a POST.
const POST_EVERY: usize = 8;

/// Visitors at work until [`Visitors::stop`].
pub(crate) struct Visitors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What they have seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) gets: usize,
    pub(crate) posts: usize,
    /// POST requests that were answered with an error, which may be: nobody knows whether they were carried out.
    pub(crate) refused: usize,
    /// Answers that broke off within their body. Their head was out already, so that the visitor alone can ask again.
    pub(crate) broken: usize,
    /// GET requests that were not answered well, and why.
    pub(crate) lost: Vec<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gets, posts, refused, broken, lost } = self;
        let lost = lost.len();
        write!(out, "{gets} GET, {lost} lost, {broken} asked again; {posts} POST, {refused} refused")
    }
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Visitors {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let visitor = |n: u32| {
            let stop = stop.clone();
            std::thread::spawn(move || visit(address, n, &stop))
        };
        let threads = (0..VISITORS).map(visitor).collect();
        Self { stop, threads }
    }

    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for thread in self.threads {
            let one = thread.join().expect("because a visitor notes what goes wrong");
            all.gets += one.gets;
            all.posts += one.posts;
            all.refused += one.refused;
            all.broken += one.broken;
            all.lost.extend(one.lost);
        }
        all
    }
}

fn visit(address: SocketAddr, n: u32, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut due = Instant::now() + EVERY * n / VISITORS;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += EVERY;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(POST_EVERY) {
            seen.posts += 1;
            let request = format!(
                "POST /post-{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
            );
            seen.refused += usize::from(ask(address, &request) != Answer::Good);
            continue;
        }
        seen.gets += 1;
        let request = format!("GET /get-{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut answer = ask(address, &request);
        for _ in 0..3 {
            if answer == Answer::Broken {
                seen.broken += 1;
                answer = ask(address, &request);
            }
        }
        if answer != Answer::Good {
            seen.lost.push(format!("/get-{number}: {answer:?}"));
        }
    }
    seen
}

#[derive(Debug, PartialEq)]
enum Answer {
    Good,
    /// The body was not whole, and can be seen not to be.
    Broken,
    Status(u16),
    None(String),
}

fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut client = Client::connect(address);
    client.send(request);
    match client.try_response(false) {
        Ok(Some(seen)) if seen.status != 200 => Answer::Status(seen.status),
        Ok(Some(seen)) if !seen.complete => Answer::Broken,
        Ok(Some(_)) => Answer::Good,
        Ok(None) => Answer::None("closed".to_owned()),
        Err(why) => Answer::None(why),
    }
}
