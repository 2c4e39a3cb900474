//! Clients that hold connections and do next to nothing: what they cost, and that others do not notice them.
//!
//! `FOREGATE_FULL=1` holds 10,000 idle connections and 2,000 slow ones instead of a tenth of each; with `FOREGATE_BIN`
//! naming a release build it prints the figures that are worth something.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foregate_testkit::process::{raise_descriptor_limit, resident_kib};
use foregate_testkit::{Backend, Load, Outcome, Server, Setup, TIMEOUT, both, foregate_only};

use crate::resilience::is_full;

/// Below this nobody complains, whatever it was before.
const FAST: Duration = Duration::from_millis(10);
/// The same on a machine that runs all other tests meanwhile.
const FAST_AMONG_TESTS: Duration = Duration::from_millis(100);
const PATHS: [&str; 2] = ["/app/", "/file.txt"];
const CLIENTS: usize = 4;
/// What depends on the machine having time for it is tried so often.
const TRIES: usize = 5;
/// `client_header_timeout`, `client_body_timeout` and `send_timeout`, which would end slow clients as well.
const TIMEOUTS: Duration = Duration::from_secs(60);

fn site(app: &Backend, connections: usize) -> Setup {
    Setup::framed(
        "worker_rlimit_nofile 16384;",
        "upstream app { server {app}; keepalive 8; }
         server {
             listen 127.0.0.1:{port:0} {listen};
             keepalive_timeout 600s; access_log off; {floors}
             location /app/ { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }
         }",
    )
    .worker_connections(connections)
    .set("floors", "")
    .set("listen", "")
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
        let bound = bound_of(&before);
        // The machine may be busy with others: what counts is what the server can do.
        let during = (0..TRIES).map(|_| measure(&server, time)).find(|it| it.quantile(0.99) <= bound);
        let during = during.unwrap_or_else(|| measure(&server, time));
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
        assert!(during.quantile(0.99) <= bound, "p99 {:?}, bound {bound:?}", during.quantile(0.99));
    });
}

/// The p99 that is good enough beside slow clients, after this one without them.
fn bound_of(before: &Outcome) -> Duration {
    let fast = if is_full() { FAST } else { FAST_AMONG_TESTS };
    fast.max(before.quantile(0.99) * 2)
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

/// What attackers do, each on a connection of its own.
const ATTACKS: [&[u8]; 4] = [
    // A head that never ends, and a body.
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: a",
    b"POST /app/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\na",
    // Nobody reads the answers to these.
    b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-,1-,2-,3-,4-,5-,6-,7-,8-,9-\r\n\r\n",
];
/// More than sockets hold on both sides. (`sndbuf`: without it a hundred such answers would fill the memory that the
/// kernel has for all connections, and packets of other tests would be lost.)
const LARGE_BYTES: usize = 24 << 20;

#[test]
fn floors_end_slow_clients_and_nobody_else() {
    raise_descriptor_limit();
    foregate_only(|subject| {
        let app = Backend::named("x");
        let server = site(&app, 4_000).file("html/large", vec![b'x'; LARGE_BYTES]);
        let floors = "client_header_min_rate 100 grace=1s; client_body_min_rate 100 grace=1s;
            send_min_rate 1k grace=1s; max_ranges 20;";
        let server = server.set("floors", floors).set("listen", "sndbuf=64k").start(subject);
        let started = Instant::now();
        let attack = |nth: usize| {
            let mut stream = connect(&server);
            stream.write_all(ATTACKS[nth % ATTACKS.len()]).expect("because the server has accepted it");
            stream
        };
        let attackers: Vec<TcpStream> = (0..300).map(attack).collect();
        let seen = measure(&server, Duration::from_secs(2));
        println!("{} requests beside 300 attackers, p99 {:?}", seen.times.len(), seen.quantile(0.99));
        for (nth, mut stream) in attackers.into_iter().enumerate() {
            let mut got = Vec::new();
            // A reset is an end as well.
            _ = stream.read_to_end(&mut got);
            assert!(got.len() < LARGE_BYTES, "attack {} got its answer", nth % ATTACKS.len());
        }
        assert!(started.elapsed() < TIMEOUTS, "they were not ended by their floors");
        // A machine that is too busy may hold it up.
        assert!((0..TRIES).any(|_| patient_client_is_served(&server)));
    });
}

/// One that is no faster than it must be, on the whole, and pauses within.
fn patient_client_is_served(server: &Server) -> bool {
    let mut patient = connect(server);
    for piece in [&b"GET /file.txt HTTP/1.1\r\n"[..], b"Host: x\r\nConnection: close\r\n", b"\r\n"] {
        if patient.write_all(piece).is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    let mut got = Vec::new();
    patient.read_to_end(&mut got).is_ok() && got.starts_with(b"HTTP/1.1 200")
}

/// slowhttptest's attacks, as its manual gives them: heads, bodies, readers, ranges.
const SLOW_HTTP_TESTS: [&[&str]; 4] = [
    &["-H", "-i", "10"],
    &["-B", "-i", "10", "-s", "8192"],
    &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
    &["-R", "-a", "10", "-b", "3000"],
];
/// A SYN that is lost because nobody accepts is sent again after a second.
const AVAILABLE: Duration = Duration::from_secs(1);

/// Only with `FOREGATE_FULL=1`, and where Debian's package slowhttptest is installed.
///
/// Of loopback's segments of 64 KiB the kernel makes send buffers of 2.5 MB: some 900 readers would take all the memory
/// that it has for TCP (`net.ipv4.tcp_mem`), and everybody would have to wait, whoever serves. Ethernet's lead to 87 KB,
/// as `sndbuf` does here.
#[test]
fn slowhttptest_leaves_the_service_available() {
    if !is_full() || Command::new("slowhttptest").arg("-h").output().is_err() {
        return;
    }
    raise_descriptor_limit();
    foregate_only(|subject| {
        for attack in SLOW_HTTP_TESTS {
            let app = Backend::named("x");
            let server =
                site(&app, 16_000).set("listen", "sndbuf=128k").file("html/large", vec![b'x'; 2 << 20]);
            let server = server.start(subject);
            let url = format!("http://{}/large", server.address(0));
            let mut attacker = Command::new("slowhttptest")
                .args(attack)
                .args(["-c", "4000", "-r", "400", "-l", "25", "-u", &url])
                .stdout(Stdio::null())
                .spawn()
                .expect("because it has just been found");
            let mut times = Vec::new();
            while attacker.try_wait().expect("because it is our child").is_none() {
                let start = Instant::now();
                assert_eq!(server.get("/file.txt").body.len(), 2_000);
                times.push(start.elapsed());
                std::thread::sleep(Duration::from_millis(50));
            }
            let slowest = times.iter().max().copied().unwrap_or_default();
            println!("slowhttptest {}: {} requests, {slowest:?} at most", attack[0], times.len());
            assert!(times.len() > 20 && slowest < AVAILABLE, "{slowest:?}");
        }
    });
}

/// A large file may take longer than `send_timeout`, which is between two writes.
#[test]
fn a_slow_download_is_not_cut_short() {
    both(|subject| {
        let server = Setup::http("server { listen 127.0.0.1:{port:0}; send_timeout 2s; access_log off; }")
            .file("html/large", vec![b'x'; LARGE_BYTES])
            .start(subject);
        let mut stream = connect(&server);
        stream
            .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("because it listens");
        let (mut n, mut block, start) = (0, vec![0; 64 << 10], Instant::now());
        while let Ok(more @ 1..) = stream.read(&mut block) {
            n += more;
            // Some 5 seconds for all of it.
            std::thread::sleep(
                Duration::from_secs_f64(n as f64 / LARGE_BYTES as f64 * 5.0).saturating_sub(start.elapsed()),
            );
        }
        assert!(n > LARGE_BYTES, "{n} bytes of {LARGE_BYTES} after {:?}", start.elapsed());
    });
}
