//! Load: clients that go on asking in the background and note what each answer was worth and how long it took.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::TIMEOUT;
use crate::message::Incoming;

/// Between two requests of one client: load that leaves the machine room for the server.
const PAUSE: Duration = Duration::from_millis(1);

/// Clients at work until [`Load::stop`].
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Outcome>>,
}

/// What the clients of a [`Load`] saw.
#[derive(Default, Debug)]
pub struct Outcome {
    /// How long each answered request took, the shortest first.
    pub times: Vec<Duration>,
    /// Kept connections on which the server closed instead of answering. A client then asks again on a new one
    /// (RFC 9112, section 9.3.1), so this is no failure yet.
    pub asked_again: usize,
    /// Requests that were not answered with 200 and a whole body, in words.
    pub failures: Vec<String>,
}

impl Load {
    /// `kept` clients that keep their connections and one that makes a new one for each request. All of them ask
    /// for these paths in turn.
    pub fn start(address: SocketAddr, kept: usize, paths: &[&str]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |keeps: bool| {
            let stop = Arc::clone(&stop);
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            std::thread::spawn(move || work(address, keeps, &paths, &stop))
        };
        let mut clients: Vec<_> = (0..kept).map(|_| client(true)).collect();
        clients.push(client(false));
        Load { stop, clients }
    }

    /// Lets every client finish its request and says what they saw.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            let one = client.join().expect("because a client notes failures and does not panic");
            all.times.extend(one.times);
            all.asked_again += one.asked_again;
            all.failures.extend(one.failures);
        }
        all.times.sort_unstable();
        all
    }
}

impl Outcome {
    /// The time that this share of the requests stayed below: 0.99 for the slowest hundredth.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (share * last as f64).round() as usize;
        self.times.get(at).copied().unwrap_or_default()
    }

    /// Panics with the first failures unless there were requests and none failed.
    pub fn assert_all_answered(&self) {
        let first = &self.failures[..self.failures.len().min(5)];
        assert!(first.is_empty(), "{} failed of {}: {first:#?}", self.failures.len(), self.times.len());
        assert!(!self.times.is_empty(), "nobody asked");
    }
}

fn work(address: SocketAddr, keeps: bool, paths: &[String], stop: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut kept = None;
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        match ask(address, &mut kept, keeps, path) {
            Ok(again) => {
                outcome.times.push(begun.elapsed());
                outcome.asked_again += usize::from(again);
            }
            Err(why) => outcome.failures.push(format!("GET {path}: {why}")),
        }
        std::thread::sleep(PAUSE);
    }
    outcome
}

/// One request; whether it had to be sent twice.
fn ask(address: SocketAddr, kept: &mut Option<Line>, keeps: bool, path: &str) -> Result<bool, String> {
    let mut again = false;
    if let Some(mut line) = kept.take() {
        if let Some(stays) = line.ask(path, true)? {
            *kept = stays.then_some(line);
            return Ok(false);
        }
        again = true;
    }
    let mut line = Line::connect(address).map_err(|e| format!("connect: {e}"))?;
    let stays = line.ask(path, keeps)?.ok_or("a new connection was closed without an answer")?;
    *kept = stays.then_some(line);
    Ok(again)
}

/// One client's connection.
struct Line {
    stream: TcpStream,
    incoming: Incoming,
}

impl Line {
    fn connect(address: SocketAddr) -> io::Result<Line> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Line { stream, incoming: Incoming::new() })
    }

    /// Whether the connection stays after a good answer; `None` when it was closed before its first byte.
    fn ask(&mut self, path: &str, keep: bool) -> Result<Option<bool>, String> {
        let close = if keep { "" } else { "Connection: close\r\n" };
        let sent = write!(self.stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
        if sent.is_err() {
            return Ok(None);
        }
        let answer = self.incoming.response(&mut self.stream, false).map_err(|e| e.to_string())?;
        let Some(answer) = answer else { return Ok(None) };
        if answer.status != 200 || !answer.complete {
            let whole = if answer.complete { "" } else { ", not whole" };
            return Err(format!("{}{whole}, {} bytes", answer.status, answer.body.len()));
        }
        Ok(Some(keep && answer.header("Connection") != Some("close")))
    }
}
