//! A proxy that lives for one round of one workload: started, checked, put under bursts of load, checked again, ended.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::confs::Place;
use crate::measure::{Bench, Sample};
use crate::proxy::{self, Proxy, Subject};
use crate::verify::{self, Facts};
use crate::workloads::{Door, Dose, Workload};
use crate::{Result, machine, stats, tree};

/// How long a proxy may come to rest before it is looked at.
const SETTLE: Duration = Duration::from_millis(20);
/// Idle connections are looked at after so long.
const IDLE: Duration = Duration::from_secs(3);
/// The first burst after the start does not count: it finds nothing in the caches.
const WARM_UP: Duration = Duration::from_millis(100);
/// Log lines may lack what was under way at the end of a burst, and hold what was asked beside the load.
const LOG_LINES_OFF_MAX: u64 = 300;
/// A cache may ask its backend for one of so many requests; more, and it is not the cache that is measured.
const REQUESTS_PER_MISS_MIN: u64 = 1000;

pub(crate) struct Live<'a> {
    workload: &'a Workload,
    folder: PathBuf,
    proxy: Proxy,
    facts: Facts,
    /// Answers to all bursts.
    n_done: u64,
    n_bursts: u64,
    wrong: Vec<String>,
    /// No more of it: why is in `wrong`.
    lost: bool,
}

impl<'a> Live<'a> {
    /// Starts the proxy and checks its answers.
    pub(crate) fn start(bench: &Bench<'_>, workload: &'a Workload, subject: &Subject) -> Result<Live<'a>> {
        let folder = bench.folder.join(&subject.name).join(workload.name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for name in ["cert.pem", "key.pem", "both.pem"] {
            fs::copy(bench.folder.join(name), folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
        }
        // There from the round before.
        let _ = std::os::unix::fs::symlink(bench.folder.join("root"), folder.join("root"));
        let place = Place {
            folder: &folder,
            port: proxy::free_port()?,
            backend: bench.backend_port,
            files_max: bench.files_max,
            no_master: bench.options.no_master,
        };
        let proxy = Proxy::start(subject, workload.door, &folder, &place)?;
        let facts = verify::check(workload, proxy.port, &bench.certificate)?;
        let (n_done, n_bursts, wrong) = (0, 0, Vec::new());
        let mut live = Live { workload, folder, proxy, facts, n_done, n_bursts, wrong, lost: false };
        if workload.dose != Dose::Once {
            live.loaded(bench, WARM_UP)?;
        }
        Ok(live)
    }

    /// One burst of load and what it cost; nothing once the proxy has failed.
    pub(crate) fn burst(&mut self, bench: &Bench<'_>) -> Option<Sample> {
        if self.lost {
            return None;
        }
        match self.loaded(bench, self.workload.dose.lasting(bench.options.burst)) {
            Ok(sample) => Some(sample),
            Err(why) => {
                self.wrong.push(format!("not measured: {why}"));
                self.lost = true;
                None
            }
        }
    }

    fn loaded(&mut self, bench: &Bench<'_>, lasting: Duration) -> Result<Sample> {
        let (workload, pid) = (self.workload, self.proxy.pid());
        let (base, busy, start) = (tree::memory(pid), busy(), Instant::now());
        let asked = self.asked(bench)?;
        let cpu = tree::cpu(pid);
        let (outcome, links) = bench.load(workload, self.proxy.port, &self.facts, lasting)?;
        std::thread::sleep(if links.is_empty() { SETTLE } else { IDLE });
        let (user, system) = tree::cpu(pid).since(cpu);
        let elapsed = start.elapsed().as_secs_f64();
        let others = (self::busy() - busy - (user + system) / 1e6).max(0.0) / elapsed;
        let memory = tree::memory(pid);
        let misses = self.asked(bench)? - asked;
        if misses > outcome.done / REQUESTS_PER_MISS_MIN {
            return Err(format!("{misses} of {} answers are not from the cache", outcome.done));
        }
        self.wrong.extend(outcome.mistakes);
        if !self.proxy.is_alive() {
            return Err("ended under load".to_owned());
        }
        if outcome.done == 0 {
            return Err("nothing was answered".to_owned());
        }
        self.n_done += outcome.done;
        self.n_bursts += 1;
        let (done, n_conns) = (outcome.done as f64, links.len() as f64);
        Ok(Sample {
            round: 0,
            turn: 0,
            per_second: done / outcome.seconds,
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            window_p99_us: outcome.window_p99_us,
            user_us: user / done,
            system_us: system / done,
            pss_kib: memory.pss_kib,
            rss_kib: memory.rss_kib,
            conn_kib: if n_conns > 0.0 { (memory.pss_kib - base.pss_kib) / n_conns } else { 0.0 },
            body_bytes: self.facts.body_bytes,
            suite: self.facts.suite.clone(),
            others,
        })
    }

    /// How often the backend was asked, where that says whether a cache answers; elsewhere nothing.
    fn asked(&self, bench: &Bench<'_>) -> Result<u64> {
        if self.workload.door == Door::Cache { bench.asked() } else { Ok(0) }
    }

    /// Checks the answers once more, ends the proxy and says what went wrong.
    pub(crate) fn end(mut self, bench: &Bench<'_>) -> Vec<String> {
        let pid = self.proxy.pid();
        self.wrong.extend(stats::counted(tree::strays(pid, machine::PROXY_CORE)));
        if !self.lost {
            let checked = verify::check(self.workload, self.proxy.port, &bench.certificate);
            self.wrong.extend(checked.err().map(|why| format!("after the load: {why}")));
        }
        let said = self.proxy.said();
        self.wrong.extend((!said.is_empty()).then(|| format!("says: {said}")));
        self.wrong.extend(self.proxy.stop().err());
        if self.workload.door == Door::Logged && !self.lost {
            let lines = Proxy::log_lines(&self.folder);
            let done = self.n_done;
            let text = || format!("{lines} lines in the access log for {done} requests");
            let is_off = lines.abs_diff(done) > LOG_LINES_OFF_MAX * self.n_bursts;
            self.wrong.extend(is_off.then(text));
        }
        self.wrong
    }
}

fn busy() -> f64 {
    machine::busy_seconds(machine::PROXY_CORE)
}
