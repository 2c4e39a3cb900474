//! Backends die, hang, fail and come back while visitors go on asking: no GET is lost, no POST is sent twice.
//!
//! `FOREGATE_FULL=1` runs for a minute; `FOREGATE_SEED=N` repeats a run.

mod backends;
mod killed_cache;
mod visitors;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backends::{Fault, Fleet, N_BACKENDS};
use foregate_testkit::{Setup, foregate_only};
use visitors::Visitors;

/// How long a backend counts as ill after it was put right: as long as old requests may fail on it (`proxy_read_timeout`)
/// and be held against it (`fail_timeout`, of which whole seconds are counted, as in nginx: up to two).
const ILL_AFTERWARDS: Duration = Duration::from_millis(3200);
/// Backends that may be ill at once: the others are asked meanwhile.
const ILL_MAX: usize = 3;
/// Requests by which the spread is judged.
const SAMPLE: usize = 500;

/// xorshift, so that a seed says all.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn is_full() -> bool {
    std::env::var_os("FOREGATE_FULL").is_some()
}

const SITE: &str = r"
    upstream u {
        SERVERS
        keepalive 16;
    }
    access_log off;
    proxy_connect_timeout 500ms; proxy_read_timeout 1s; proxy_send_timeout 1s;
    proxy_next_upstream error timeout invalid_header http_500;
    proxy_http_version 1.1; proxy_set_header Connection '';
    server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://u; } }";

/// One test at a time: each loads the machine so that the other's backends would seem to hang.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn backends_come_and_go_and_nobody_notices() {
    let seed = std::env::var("FOREGATE_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(0x5eed_1234);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("seed {seed}");
    foregate_only(|subject| {
        let mut fleet = Fleet::start();
        let server = |port: u16| format!("server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;");
        let servers: Vec<String> = fleet.ports().into_iter().map(server).collect();
        let server = Setup::http(&SITE.replace("SERVERS", &servers.join(" "))).start(subject);
        let visitors = Visitors::start(server.address(0));
        let faults = plague(&mut fleet, Duration::from_secs(if is_full() { 60 } else { 10 }), seed);
        fleet.heal_all();
        // What hangs when the last backend is well again still fails, and its time out begins only then.
        std::thread::sleep(ILL_AFTERWARDS);
        let seen = visitors.stop();
        println!("{faults} faults; {seen}");
        assert!(seen.gets > 1000 && seen.posts > 100, "{seen}");
        assert_eq!(seen.lost, Vec::<String>::new(), "seed {seed}");
        assert_spread(&server);
        let mut posts: HashMap<String, usize> = HashMap::new();
        for path in fleet.end() {
            *posts.entry(path).or_default() += 1;
        }
        let twice: Vec<_> = posts.iter().filter(|(_, n)| **n > 1).collect();
        assert!(twice.is_empty(), "sent twice: {twice:?}, seed {seed}");
        assert!(posts.len() > 100, "only {} POST requests were seen", posts.len());
    });
}

/// Breaks backends and puts them right again for so long; how many times.
fn plague(fleet: &mut Fleet, time: Duration, seed: u64) -> usize {
    let mut chance = Chance(seed | 1);
    let end = Instant::now() + time;
    let mut ill: HashMap<usize, (Fault, Instant)> = HashMap::new();
    let mut convalescent: HashMap<usize, Instant> = HashMap::new();
    let mut n = 0;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50 + chance.below(150)));
        let now = Instant::now();
        let healed: Vec<usize> = ill.iter().filter(|(_, it)| it.1 <= now).map(|it| *it.0).collect();
        for idx in healed {
            if let Some((fault, _)) = ill.remove(&idx) {
                fleet.heal(idx, fault);
                convalescent.insert(idx, now + ILL_AFTERWARDS);
            }
        }
        convalescent.retain(|_, until| *until > now);
        let idx = chance.below(N_BACKENDS as u64) as usize;
        let fault = Fault::ALL[chance.below(Fault::ALL.len() as u64) as usize];
        let lasts = Duration::from_millis(200 + chance.below(1500));
        if ill.len() + convalescent.len() < ILL_MAX
            && !ill.contains_key(&idx)
            && !convalescent.contains_key(&idx)
        {
            fleet.strike(idx, fault);
            ill.insert(idx, (fault, now + lasts));
            n += 1;
        }
    }
    for (idx, (fault, _)) in ill {
        fleet.heal(idx, fault);
    }
    n
}

/// Every backend gets its share again.
fn assert_spread(server: &foregate_testkit::Server) {
    let mut shares: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut client = server.connect();
    for _ in 0..SAMPLE {
        let seen = client.get("/spread");
        assert_eq!(seen.status, 200);
        *shares.entry(seen.body[..5].to_vec()).or_default() += 1;
    }
    let even = SAMPLE / N_BACKENDS;
    let fair = shares.values().all(|it| (even * 8 / 10..=even * 12 / 10).contains(it));
    assert!(shares.len() == N_BACKENDS && fair, "{:?}", shares.values().collect::<Vec<_>>());
}
