//! A cache whose worker is killed again and again at any moment: nothing wrong, torn or another key's is served after.
//!
//! Ten times; `FOREGATE_FULL=1`: a hundred times. `FOREGATE_SEED=N` repeats a run.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use foregate_testkit::process::signal;
use foregate_testkit::{Backend, Reply, Server, Setup, Signal, foregate_only};

use crate::{ALONE, Chance, is_full};

const KEYS: u64 = 300;
const BODY_BYTES_MAX: u64 = 90_000;
const MAX_SIZE: u64 = 4 << 20;
const VISITORS: u64 = 4;

const SITE: &str = r"
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=one:1m max_size=4m memory=1m use_temp_path=off;
    access_log off;
    server {
        listen 127.0.0.1:{port:0};
        proxy_cache one; proxy_cache_lock on; proxy_cache_revalidate on;
        add_header X-Cache $upstream_cache_status;
        location / { proxy_pass http://{app}; }
    }";

/// The path, a seed, the length of the whole, and bytes that follow from the seed.
fn body(path: &str, seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed | 1);
    let length = 200 + chance.below(BODY_BYTES_MAX) as usize;
    let mut bytes = format!("{path} {seed} {length} ").into_bytes();
    while bytes.len() < length {
        bytes.extend_from_slice(&chance.below(u64::MAX).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn is_right(path: &str, seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&seen[..seen.len().min(80)]);
    let mut words = text.split(' ').skip(1);
    let seed = words.next().and_then(|it| it.parse().ok());
    seed.is_some_and(|seed| body(path, seed) == seen)
}

/// Every answer is another one, good for a second or an hour; those of a second are found good again when they are asked
/// for on condition.
fn backend() -> Backend {
    let n = AtomicUsize::new(0);
    Backend::new(move |seen| {
        let n = n.fetch_add(1, Ordering::Relaxed) as u64;
        if seen.header("If-None-Match").is_some() {
            return Reply::raw("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=1\r\n\r\n");
        }
        let age = if n.is_multiple_of(2) { 1 } else { 3600 };
        let fields = format!("Cache-Control: max-age={age}\r\nETag: \"{n}\"\r\n");
        Reply::status(200, &fields, body(&seen.target, n * 7919 + 1))
    })
}

#[derive(Default)]
struct Tally {
    right: AtomicUsize,
    hits: AtomicUsize,
    broken: AtomicUsize,
    wrong: AtomicUsize,
}

/// Asks once; what breaks off is no answer.
fn ask(address: SocketAddr, path: &str, tally: &Tally) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut all = Vec::new();
    _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let length: usize = head.split("Content-Length: ").nth(1)?.split('\r').next()?.parse().ok()?;
    if !head.starts_with("HTTP/1.1 200") || all.len() - end < length {
        return None;
    }
    tally.hits.fetch_add(usize::from(head.contains("X-Cache: HIT")), Ordering::Relaxed);
    let count = if is_right(path, &all[end..]) { &tally.right } else { &tally.wrong };
    count.fetch_add(1, Ordering::Relaxed);
    Some(())
}

fn visit(address: SocketAddr, seed: u64, tally: &Tally, over: &AtomicBool) {
    let mut chance = Chance(seed | 1);
    while !over.load(Ordering::Relaxed) {
        // Some keys are asked for more often than others.
        let n = chance.below(KEYS).min(chance.below(KEYS));
        if ask(address, &format!("/{n}"), tally).is_none() {
            tally.broken.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Bytes of all objects, as the file system counts them. What a dead worker left half written (its name has a dot) goes
/// a minute later.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter(|it| !it.file_name().to_string_lossy().contains('.'));
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => size(&entry.path()),
        Ok(facts) => facts.len().div_ceil(4096) * 4096,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[test]
fn nothing_wrong_is_served_after_a_kill() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed: u64 = std::env::var("FOREGATE_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(0x000c_ac4e);
    println!("seed {seed}");
    foregate_only(|subject| {
        let app = backend();
        let server = Setup::http(SITE).backend("app", &app).allow_log("exited on signal 9").start(subject);
        let (tally, over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let visitors: Vec<_> = (0..VISITORS)
            .map(|n| {
                let (address, tally, over) = (server.address(0), tally.clone(), over.clone());
                thread::spawn(move || visit(address, seed.wrapping_mul(31) + n, &tally, &over))
            })
            .collect();
        let mut chance = Chance(seed | 1);
        let kills = if is_full() { 100 } else { 10 };
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(50 + chance.below(1200)));
            kill_worker(&server);
        }
        thread::sleep(Duration::from_secs(1));
        over.store(true, Ordering::Relaxed);
        visitors.into_iter().for_each(|it| it.join().expect("because visitors do not fail"));
        let count = |it: &AtomicUsize| it.load(Ordering::Relaxed);
        let (right, hits, broken, wrong) =
            (count(&tally.right), count(&tally.hits), count(&tally.broken), count(&tally.wrong));
        println!(
            "{kills} kills; {right} right answers, {hits} of them hits, {broken} broken off, {wrong} wrong"
        );
        assert_eq!(wrong, 0, "seed {seed}");
        assert!(right > 20 * kills && hits > kills, "{right} answers, {hits} hits");
        let folder = server.path("cache");
        println!("{} bytes of objects", size(Path::new(&folder)));
        server.eventually(|_| size(Path::new(&folder)) <= MAX_SIZE);
    });
}

fn kill_worker(server: &Server) {
    let before = server.worker();
    signal(before, Signal::KILL);
    server.eventually(|server| server.worker() != before);
}
