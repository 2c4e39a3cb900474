//! Floods over HTTP/2: while one client attacks as fast as it can, other visitors wait hardly longer, and memory stays.
//!
//! `FOREGATE_FULL=1` attacks for 30 s each and judges the times that visitors wait, for which the machine must be quiet
//! and have two processors (`FOREGATE_SECONDS=N`: for N instead): the server runs on the first, everybody else on the second.

mod attack;
mod visitors;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use attack::{ATTACKS, Attack};
use foregate_testkit::process::resident_kib;
use foregate_testkit::{Setup, foregate_only};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use visitors::Seen;

/// Connections that attack at the same time.
const ATTACKERS: usize = 4;
/// What the worker may grow by.
const GROWTH_KIB_MAX: usize = 64 * 1024;
/// How long visitors without an attack are measured at most.
const SHORT: Duration = Duration::from_secs(10);
/// In the short form only that visitors are served at all: tests run beside others.
const PATIENCE_SHORT: Duration = Duration::from_secs(2);
/// Less than this is what the machine itself makes people wait.
const NOISE: Duration = Duration::from_millis(2);

const SITE: &str = "
    access_log off; error_log {dir}/visits.log error; keepalive_requests 100000000; send_timeout 5s;
    server { listen 127.0.0.1:{port:0} reuseport sndbuf=256k; http2 on; location / { return 200 x; } location /big { } }";

#[test]
fn rapid_resets() {
    withstand("rapid resets");
}

#[test]
fn continuations() {
    withstand("continuations");
}

#[test]
fn settings() {
    withstand("settings");
}

#[test]
fn pings() {
    withstand("pings");
}

#[test]
fn empty_frames() {
    withstand("empty frames");
}

#[test]
fn slow_readers() {
    withstand("slow readers");
}

#[test]
fn header_bombs() {
    withstand("header bombs");
}

#[test]
fn window_updates() {
    withstand("window updates");
}

fn is_full() -> bool {
    std::env::var_os("FOREGATE_FULL").is_some()
}

/// Measures visitors without the attack, while another server is attacked, and with it.
fn withstand(name: &str) {
    let attack = ATTACKS.iter().find(|it| it.name == name).expect("because the test names one that there is");
    let seconds = std::env::var("FOREGATE_SECONDS").ok().and_then(|it| it.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(if is_full() { 30 } else { 2 }));
    foregate_only(|subject| {
        let start = || {
            let setup = Setup::framed("worker_processes 1;", SITE).worker_connections(4096);
            setup.file("html/big", vec![b'x'; 4 << 20]).start(subject)
        };
        let (server, bystander) = (start(), is_full().then(&start));
        if is_full() {
            pin(server.worker(), 0);
            pin(0, 1);
        }
        let (address, worker) = (server.address(0), server.worker());
        let apart = bystander.map(|bystander| {
            pin(bystander.worker(), 0);
            prefer(bystander.worker());
            under_attack(attack, (address, worker), bystander.address(0), time.min(SHORT)).0
        });
        if is_full() {
            prefer(worker);
        }
        let calm = visitors::measure(address, time.min(SHORT));
        let before_kib = resident_kib(worker);
        let (seen, most_kib, n_sent) = under_attack(attack, (address, worker), address, time);
        let grown_kib = most_kib.saturating_sub(before_kib);
        println!("{name}: {grown_kib} KiB more; {} MiB sent by {ATTACKERS} attackers", n_sent >> 20);
        println!(
            "  p99 calm {calm}, while another server is attacked {}, under attack {seen}",
            shown(apart.as_ref())
        );
        assert_eq!((seen.failed, server.worker()), (0, worker), "{name}: a visitor was not served");
        assert!(grown_kib < GROWTH_KIB_MAX, "{name}: {grown_kib} KiB more");
        // What attackers cost visitors outside of the server: here they share a processor.
        let calm = calm.usual_p99().max(apart.map_or(Duration::ZERO, |it| it.usual_p99()));
        let most = if is_full() { (calm * 2).max(NOISE) } else { PATIENCE_SHORT };
        assert!(seen.usual_p99() < most, "{name}: {seen}, calm {calm:?}");
    });
}

fn shown(seen: Option<&Seen>) -> String {
    seen.map_or("-".to_owned(), ToString::to_string)
}

/// What visitors of `visited` see, the most memory the attacked worker holds meanwhile, and what attackers have sent.
fn under_attack(
    attack: &'static Attack,
    (attacked, worker): (SocketAddr, i32),
    visited: SocketAddr,
    time: Duration,
) -> (Seen, usize, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let n_sent = Arc::new(AtomicU64::new(0));
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let (stop, n_sent) = (stop.clone(), n_sent.clone());
            std::thread::spawn(move || attack.go_on(attacked, &stop, &n_sent))
        })
        .collect();
    let watching = stop.clone();
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while !watching.load(Ordering::Relaxed) {
            most = most.max(resident_kib(worker));
            std::thread::sleep(Duration::from_millis(50));
        }
        most
    });
    let seen = visitors::measure(visited, time);
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|it| it.join().expect("because an attacker minds no error"));
    let most = watcher.join().expect("because it only looks");
    (seen, most, n_sent.load(Ordering::Relaxed))
}

/// Lets a process's threads, or with 0 this thread and those it starts, go before all others, where we may: what the
/// machine does besides, attackers included, is not the server's doing.
pub(crate) fn prefer(pid: i32) {
    for thread in threads_of(pid) {
        _ = rustix::process::setpriority_process(thread, -20);
    }
}

/// Lets a process's threads, or with 0 this thread and those it starts, run on one processor.
fn pin(pid: i32, processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    for thread in threads_of(pid) {
        sched_setaffinity(thread, &set).expect("because there are two processors");
    }
}

/// `None` stands for this thread.
fn threads_of(pid: i32) -> Vec<Option<Pid>> {
    if pid == 0 {
        return vec![None];
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|it| it.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}
