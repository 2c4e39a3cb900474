//! `limit_req`: decisions request by request as nginx takes them, and several instances that count together.
//!
//! `FOREGATE_FULL=1` takes the long forms: 10,000 arrivals, and 20,000 requests a second with ten seconds without Redis;
//! the latter wants `FOREGATE_BIN` to name a release build.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foregate_testkit::{Redis, Server, Setup, Subject, TIMEOUT, both, foregate_only};

use crate::resilience::is_full;

/// A generator of its own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A bucket as nginx keeps it: thousandths of a request, and when it was last changed.
///
/// When the server looked at its clock is known only up to some milliseconds: so far the bucket may be off.
struct Bucket {
    excess: f64,
    last_ms: f64,
    /// How exactly the moment is known since which it has not been empty: all that follows is as exact.
    window_ms: f64,
}

/// Requests a second, and how many above that.
const RATE: f64 = 10.0;
const BURST: f64 = 4.0;
const KEYS: u64 = 20;
/// nginx looks at its clock when something comes, and no more than once a millisecond.
const CLOCK_MS: f64 = 2.0;
/// Measurements of which one must come out right: on a machine that is busy with others hardly any moment is known exactly.
const TRIES: usize = 4;

#[test]
fn every_arrival_is_decided_as_nginx_does() {
    let n = if is_full() { 10_000 } else { 1_500 };
    both(|subject| {
        let known_well =
            |(judged, passed): (usize, usize)| judged > n * 4 / 5 && passed > n / 10 && passed < n * 19 / 20;
        assert!((0..TRIES).any(|_| known_well(arrivals(subject, n))), "never judged enough");
    });
}

/// Checks what becomes of `n` requests; how many of them could be judged, and how many passed.
fn arrivals(subject: Subject, n: usize) -> (usize, usize) {
    let server = Setup::http(
        "limit_req_zone $arg_k zone=one:1m rate=10r/s;
             server {
                listen 127.0.0.1:{port:0};
                keepalive_requests 100000;
                limit_req zone=one burst=4 nodelay; limit_req_status 429; limit_req_log_level info;
             }",
    )
    .file("html/index.html", "x")
    .start(subject);
    let mut client = server.connect();
    let (mut random, mut buckets) = (Random(42), HashMap::<u64, Bucket>::new());
    let (start, mut passed, mut judged) = (Instant::now(), 0, 0);
    // A server that is held up behind an answer finds the next request before it looks at its clock again.
    let mut looked = start;
    let ms = |at: Instant| at.duration_since(start).as_secs_f64() * 1000.0;
    for nth in 0..n {
        let (pause_us, key) = (random.below(2_000), random.below(KEYS));
        std::thread::sleep(Duration::from_micros(pause_us));
        let before = Instant::now();
        let passes = client.get(&format!("/?k={key}")).status == 200;
        let (from, to) = (ms(looked), ms(Instant::now()));
        looked = before;
        passed += usize::from(passes);
        let now = f64::midpoint(from, to);
        let window_ms = to - from;
        let Some(bucket) = buckets.get_mut(&key) else {
            assert!(passes, "the first request of a key");
            buckets.insert(key, Bucket { excess: 0.0, last_ms: now, window_ms });
            continue;
        };
        let full = bucket.excess - RATE * (now - bucket.last_ms) / 1000.0 + 1.0;
        let with_this = full.max(0.0);
        let unsure = RATE / 1000.0 * (f64::midpoint(window_ms, bucket.window_ms) + CLOCK_MS);
        if (with_this - BURST).abs() > unsure {
            judged += 1;
            assert_eq!(passes, with_this <= BURST, "request {nth}, key {key}, excess {with_this}");
        }
        if passes {
            let window_ms = match full {
                empty if empty < -unsure => window_ms,
                near if near <= unsure => bucket.window_ms.max(window_ms),
                _ => bucket.window_ms,
            };
            *bucket = Bucket { excess: with_this, last_ms: now, window_ms };
        }
    }
    println!(
        "{subject}: of {n} requests {passed} passed, {judged} were not within {CLOCK_MS} ms of the other"
    );
    (judged, passed)
}

/// Sends requests at an even rate over two connections, many in one write, and counts what becomes of them.
struct Visitors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    passed: u64,
    refused: u64,
    other: u64,
}

impl Seen {
    fn and(self, more: Seen) -> Seen {
        Seen {
            passed: self.passed + more.passed,
            refused: self.refused + more.refused,
            other: self.other + more.other,
        }
    }

    fn all(self) -> u64 {
        self.passed + self.refused + self.other
    }
}

/// Between two writes of a visitor.
const TURN: Duration = Duration::from_millis(10);
const CONNECTIONS: u64 = 2;

impl Visitors {
    fn come(to: SocketAddr, per_second: u64) -> Visitors {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || visit(to, per_second / CONNECTIONS / 100, &stop))
        };
        Visitors { threads: (0..CONNECTIONS).map(one).collect(), stop }
    }

    fn leave(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.threads.into_iter().map(|it| it.join().expect("because visitors do not panic"));
        seen.fold(Seen::default(), Seen::and)
    }
}

fn visit(to: SocketAddr, per_turn: u64, stop: &AtomicBool) -> Seen {
    let mut stream = TcpStream::connect(to).unwrap_or_else(|why| panic!("no connection: {why}"));
    stream.set_read_timeout(Some(TIMEOUT)).expect("because the limit is not zero");
    let requests = "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(usize::try_from(per_turn).unwrap_or(1));
    let (mut seen, mut unread, mut block) = (Seen::default(), Vec::new(), vec![0; 64 << 10]);
    let mut due = Instant::now();
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += TURN;
        stream.write_all(requests.as_bytes()).unwrap_or_else(|why| panic!("not sent: {why}"));
        asked += per_turn;
        while seen.all() < asked {
            let n = stream.read(&mut block).unwrap_or_else(|why| panic!("no answer: {why}"));
            assert!(n > 0, "closed by the server");
            unread.extend_from_slice(&block[..n]);
            seen = seen.and(answers(&mut unread));
        }
    }
    seen
}

/// Counts the answers' heads, there is nothing else; their first bytes tell them apart.
fn answers(unread: &mut Vec<u8>) -> Seen {
    let mut seen = Seen::default();
    let mut at = 0;
    while let Some(end) = unread[at..].windows(4).position(|it| it == b"\r\n\r\n") {
        match unread.get(at + 9..at + 12) {
            Some(b"200" | b"204") => seen.passed += 1,
            Some(b"429") => seen.refused += 1,
            _ => seen.other += 1,
        }
        at += end + 4;
    }
    unread.drain(..at);
    seen
}

/// An instance; without a Redis it counts alone.
fn instance(subject: Subject, rate: u64, redis: &str) -> Server {
    // A tenth of a second: twice what passes between two exchanges.
    let burst = rate / 10;
    Setup::http(&format!(
        "limit_req_zone all zone=one:1m rate={rate}r/s {redis};
         server {{
            listen 127.0.0.1:{{port:0}};
            keepalive_requests 100000000; access_log off; error_log {{dir}}/limits.log crit;
            limit_req zone=one burst={burst} nodelay; limit_req_status 429; limit_req_log_level info;
            location / {{ error_page 429 = @none; empty_gif; }}
            location @none {{ return 429 ''; }}
         }}"
    ))
    .start(subject)
}

#[test]
fn two_instances_let_pass_together_what_one_would() {
    let (offered, rate, time) = match is_full() {
        true => (20_000, 2_000, Duration::from_secs(20)),
        false => (2_000, 200, Duration::from_secs(4)),
    };
    foregate_only(|subject| {
        let Some(redis) = Redis::with(Some("s:cret")) else { return };
        let measure = |servers: &[&Server]| {
            let share = offered / servers.len() as u64;
            let start = Instant::now();
            let visitors: Vec<_> = servers.iter().map(|it| Visitors::come(it.address(0), share)).collect();
            std::thread::sleep(time);
            let seen = visitors.into_iter().map(Visitors::leave).fold(Seen::default(), Seen::and);
            assert_eq!(seen.other, 0, "somebody got something else than an answer or a refusal");
            seen.passed as f64 / start.elapsed().as_secs_f64()
        };
        let alone = instance(subject, rate, "");
        let redis = format!("redis=redis://:s%3acret@{}", redis.address());
        let (one, two) = (instance(subject, rate, &redis), instance(subject, rate, &redis));
        let off = |_| {
            let (alone, together) = (measure(&[&alone]), measure(&[&one, &two]));
            println!(
                "offered {offered}/s for {time:?}, {rate}/s allowed: alone {alone:.1}/s, together {together:.1}/s"
            );
            (together - alone).abs() / alone
        };
        // While the machine stands still buckets leak for nobody, and no two tries have the same of it.
        let best = (0..TRIES).map(off).find(|it| *it < 0.05);
        assert!(best.is_some(), "more than 5 % off each time");
        assert!(!one.read("error.log").contains("cret"));
    });
}

#[test]
fn without_redis_each_goes_on_with_its_share() {
    let (offered, rate, time) = match is_full() {
        true => (20_000, 2_000, Duration::from_secs(10)),
        false => (2_000, 200, Duration::from_secs(3)),
    };
    foregate_only(|subject| {
        let Some(mut redis) = Redis::start() else { return };
        let option = format!("redis={}", redis.address());
        let servers = [instance(subject, rate, &option), instance(subject, rate, &option)];
        let come = || servers.each_ref().map(|it| Visitors::come(it.address(0), offered / 2));
        let leave =
            |all: [Visitors; 2]| all.map(Visitors::leave).into_iter().fold(Seen::default(), Seen::and);
        // Until each has heard of the other.
        leave({
            let visitors = come();
            std::thread::sleep(Duration::from_secs(1));
            visitors
        });
        for frozen in [false, true] {
            let start = Instant::now();
            let visitors = come();
            match frozen {
                true => redis.freeze(true),
                false => redis.stop(),
            }
            std::thread::sleep(time);
            let away = leave(visitors);
            let most = rate as f64 * (start.elapsed().as_secs_f64() + 1.0) * 1.1 + 100.0;
            println!("{time:?} without Redis (frozen: {frozen}), {rate}/s allowed: {away:?}");
            assert_eq!(away.other, 0, "somebody got something else than an answer or a refusal");
            assert!(away.passed as f64 <= most, "{} passed, {most} at most", away.passed);
            // Less than all, for buckets leak for nobody while the machine stands still; half would be a share of a quarter.
            assert!(away.passed as f64 >= rate as f64 * time.as_secs_f64() * 0.6, "{} passed", away.passed);
            servers.iter().for_each(|it| it.wait_for_error("counting alone, by 1/2 of the rate"));
            match frozen {
                true => redis.freeze(false),
                false => redis.run(),
            }
            let n_back = if frozen { 2 } else { 1 };
            for server in &servers {
                server.wait_for("error.log", |log| {
                    log.matches("is back: all count together").count() == n_back
                });
            }
            // Nobody has to make up for that time.
            let visitors = come();
            std::thread::sleep(Duration::from_secs(2));
            let back = leave(visitors);
            println!("two seconds later: {back:?}");
            assert!(back.passed as f64 > rate as f64 * 1.2, "{} passed", back.passed);
        }
    });
}
