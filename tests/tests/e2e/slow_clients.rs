//! Clients that hold connections and do next to nothing: what they cost, and that others do not notice them.
//!
//! `FOREGATE_FULL=1` holds 10,000 idle connections and 2,000 slow ones instead of a tenth of each; with `FOREGATE_BIN`
//! naming a release build it prints the figures that are worth something.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foregate_testkit::process::{raise_descriptor_limit, resident_kib};
use foregate_testkit::{Backend, Load, Outcome, Server, Setup, TIMEOUT, both};

use crate::resilience::is_full;

/// Below this nobody complains, whatever it was before.
const FAST: Duration = Duration::from_millis(10);
/// The same on a machine that runs all other tests meanwhile.
const FAST_AMONG_TESTS: Duration = Duration::from_millis(100);
const PATHS: [&str; 2] = ["/app/", "/file.txt"];
const CLIENTS: usize = 4;

fn site(app: &Backend, connections: usize) -> Setup {
    Setup::framed(
        "worker_rlimit_nofile 16384;",
        "upstream app { server {app}; keepalive 8; }
         server {
             listen 127.0.0.1:{port:0};
             keepalive_timeout 600s; access_log off;
             location /app/ { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }
         }",
    )
    .worker_connections(connections)
    .file("html/file.txt", "y".repeat(2_000))
    .backend("app", app)
}

#[test]
fn others_do_not_notice_idle_and_slow_clients() {
    let (n_idle, n_slow, time) = match is_full() {
        true => (10_000, 2_000, Duration::from_secs(10)),
        false => (1_000, 200, Duration::from_secs(1)),
    };
    raise_descriptor_limit();
    both(|subject| {
        let app = Backend::named("x");
        let server = site(&app, 16_000).start(subject);
        let before = measure(&server, time);
        let worker = server.worker();
        let empty = resident_kib(worker);
        let mut idle: Vec<TcpStream> = (0..n_idle).map(|_| idle_connection(&server)).collect();
        let full = resident_kib(worker);
        let slow = Slow::start(&server, n_slow);
        let during = measure(&server, time);
        let with_slow = resident_kib(worker);
        // Every one of them was served by a connection that still lives.
        idle.iter_mut().step_by(n_idle / 100).for_each(ask);
        assert_eq!(slow.stop(), 0, "slow clients that were closed");
        println!(
            "{subject}: p99 {:?} of {} requests, then {:?} of {}; {n_idle} idle connections: {empty} KiB became \
             {full}, {} bytes each; with {n_slow} slow ones {with_slow}",
            before.quantile(0.99),
            before.times.len(),
            during.quantile(0.99),
            during.times.len(),
            full.saturating_sub(empty) * 1024 / n_idle,
        );
        let fast = if is_full() { FAST } else { FAST_AMONG_TESTS };
        let bound = fast.max(before.quantile(0.99) * 2);
        assert!(during.quantile(0.99) <= bound, "p99 {:?}, bound {bound:?}", during.quantile(0.99));
    });
}

fn measure(server: &Server, time: Duration) -> Outcome {
    let load = Load::start(server.address(0), CLIENTS, &PATHS);
    std::thread::sleep(time);
    let seen = load.stop();
    seen.assert_all_answered();
    seen
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address(0)).unwrap_or_else(|e| panic!("no connection: {e}"));
    stream.set_read_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
    stream
}

/// A connection that has been served once and is kept.
fn idle_connection(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    ask(&mut stream);
    stream
}

fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /no-such-file HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("because the server keeps it open");
    let (mut seen, mut block) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(b"</html>\r\n") {
        let n = stream.read(&mut block).expect("because the server answers");
        assert!(n > 0, "a kept connection was closed");
        seen.extend_from_slice(&block[..n]);
    }
}

/// Connections that send a byte a second: half of them in a head, half in a body.
struct Slow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<usize>,
}

impl Slow {
    fn start(server: &Server, n: usize) -> Slow {
        let open = |nth: usize| {
            let mut stream = connect(server);
            let head: &[u8] = match nth % 2 {
                0 => b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
                _ => b"POST /app/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
            };
            stream.write_all(head).expect("because the server has accepted it");
            stream
        };
        let streams: Vec<TcpStream> = (0..n).map(open).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let sender = std::thread::spawn(move || trickle(streams, &flag));
        Slow { stop, sender }
    }

    /// How many of them the server has closed.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("because the thread counts failures and does not panic")
    }
}

fn trickle(mut streams: Vec<TcpStream>, stop: &AtomicBool) -> usize {
    let mut failed = 0;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if due <= Instant::now() {
            due += Duration::from_secs(1);
            failed += streams.iter_mut().filter_map(|stream| stream.write_all(b"a").err()).count();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    failed
}

/// As nginx does: the connections that have been idle for longest go, those that come are served.
#[test]
fn idle_connections_make_room_for_new_ones() {
    both(|subject| {
        let app = Backend::named("x");
        let server = site(&app, 64).allow_log("are not enough").start(subject);
        let kept: Vec<TcpStream> = (0..300).map(|_| idle_connection(&server)).collect();
        assert_eq!(server.get("/file.txt").body.len(), 2_000);
        drop(kept);
    });
}
