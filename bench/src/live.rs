//! A proxy that lives for one round of workloads that are measured together: started, checked, put under bursts of
//! load, checked again, ended. All of them are served by one process, so that what differs between them is what they
//! ask of it, and not how one start of it differs from the next.

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
/// The first burst after the start does not count, nor what goes wrong in it: it finds nothing in the caches.
const WARM_UP: Duration = Duration::from_millis(200);
/// Log lines may lack what was under way at the end of a burst, and hold what was asked beside the load.
const LOG_LINES_OFF_MAX: u64 = 300;
/// A cache may ask its backend once in a burst, and for one of so many requests; more, and it is not the cache that is
/// measured.
const REQUESTS_PER_MISS_MIN: u64 = 1000;

pub(crate) struct Live<'a> {
    proxy: Proxy,
    folder: PathBuf,
    pub(crate) parts: Vec<Part<'a>>,
}

/// One workload on it.
pub(crate) struct Part<'a> {
    pub(crate) workload: &'a Workload,
    port: u16,
    facts: Facts,
    /// Answers to all bursts.
    n_done: u64,
    n_bursts: u64,
    pub(crate) wrong: Vec<String>,
    /// No more of it: why is in `wrong`.
    lost: bool,
}

impl<'a> Live<'a> {
    /// Starts the proxy and checks its answers. A workload whose answers are wrong is not measured.
    pub(crate) fn start(
        bench: &Bench<'_>,
        workloads: &[&'a Workload],
        subject: &Subject,
    ) -> Result<Live<'a>> {
        let folder = bench.folder.join(&subject.name).join(workloads[0].name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for name in ["cert.pem", "key.pem", "both.pem"] {
            fs::copy(bench.folder.join(name), folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
        }
        // There from the round before.
        let _ = std::os::unix::fs::symlink(bench.folder.join("root"), folder.join("root"));
        let doors = doors(workloads)?;
        let place = Place {
            folder: &folder,
            doors: &doors,
            backend: bench.backend_port,
            files_max: bench.files_max,
            no_master: bench.options.no_master,
        };
        let proxy = Proxy::start(subject, &place)?;
        let part = |workload: &&'a Workload| Part {
            workload,
            port: doors.iter().find(|(door, _)| *door == workload.door).map_or(0, |(_, port)| *port),
            facts: Facts::default(),
            n_done: 0,
            n_bursts: 0,
            wrong: Vec::new(),
            lost: false,
        };
        let mut live = Live { proxy, folder, parts: workloads.iter().map(part).collect() };
        for part in &mut live.parts {
            let checked = part.prepare(bench, &mut live.proxy);
            part.lost = checked.is_err();
            part.wrong.extend(checked.err().map(|why| format!("not measured: {why}")));
        }
        Ok(live)
    }

    /// One burst of load on one part, and what it cost; nothing once that has failed.
    pub(crate) fn burst(&mut self, bench: &Bench<'_>, part: usize) -> Option<Sample> {
        let part = self.parts.get_mut(part).filter(|it| !it.lost)?;
        match part.loaded(bench, &mut self.proxy, part.workload.dose.lasting(bench.options.burst)) {
            Ok(sample) => Some(sample),
            Err(why) => {
                part.wrong.push(format!("not measured: {why}"));
                part.lost = true;
                None
            }
        }
    }

    /// Checks the answers once more, ends the proxy and tells of each part what went wrong.
    pub(crate) fn end(mut self, bench: &Bench<'_>) -> Vec<Part<'a>> {
        let mut wrong = stats::counted(tree::strays(self.proxy.pid(), machine::PROXY_CORE));
        for part in self.parts.iter_mut().filter(|it| !it.lost) {
            let checked = verify::check(part.workload, part.port, &bench.certificate);
            part.wrong.extend(checked.err().map(|why| format!("after the load: {why}")));
        }
        let said = self.proxy.said();
        wrong.extend((!said.is_empty()).then(|| format!("says: {said}")));
        wrong.extend(self.proxy.stop().err());
        for part in self.parts.iter_mut().filter(|it| it.workload.door == Door::Logged && !it.lost) {
            let (lines, done) = (Proxy::log_lines(&self.folder), part.n_done);
            let text = || format!("{lines} lines in the access log for {done} requests");
            let is_off = lines.abs_diff(done) > LOG_LINES_OFF_MAX * part.n_bursts;
            part.wrong.extend(is_off.then(text));
        }
        if let Some(first) = self.parts.first_mut() {
            first.wrong.extend(wrong);
        }
        std::mem::take(&mut self.parts)
    }
}

/// A port for each kind of door.
fn doors(workloads: &[&Workload]) -> Result<Vec<(Door, u16)>> {
    let mut doors: Vec<(Door, u16)> = Vec::new();
    for workload in workloads {
        if !doors.iter().any(|(door, _)| *door == workload.door) {
            let mut port = proxy::free_port()?;
            while doors.iter().any(|(_, taken)| *taken == port) {
                port = proxy::free_port()?;
            }
            doors.push((workload.door, port));
        }
    }
    Ok(doors)
}

impl Part<'_> {
    fn prepare(&mut self, bench: &Bench<'_>, proxy: &mut Proxy) -> Result<()> {
        self.facts = verify::check(self.workload, self.port, &bench.certificate)?;
        if self.workload.dose != Dose::Once {
            // What is wrong for good shows in the bursts that count.
            let _ = self.loaded(bench, proxy, WARM_UP);
            self.wrong.clear();
        }
        Ok(())
    }

    fn loaded(&mut self, bench: &Bench<'_>, proxy: &mut Proxy, lasting: Duration) -> Result<Sample> {
        let (workload, pid) = (self.workload, proxy.pid());
        let (base, busy, start) = (tree::memory(pid), busy(), Instant::now());
        let asked = self.asked(bench)?;
        let cpu = tree::cpu(pid);
        let (outcome, links) = bench.load(workload, self.port, &self.facts, lasting)?;
        std::thread::sleep(if links.is_empty() { SETTLE } else { IDLE });
        let (user, system) = tree::cpu(pid).since(cpu);
        let elapsed = start.elapsed().as_secs_f64();
        let others = (self::busy() - busy - (user + system) / 1e6).max(0.0) / elapsed;
        let memory = tree::memory(pid);
        let misses = self.asked(bench)? - asked;
        if misses > 1 + outcome.done / REQUESTS_PER_MISS_MIN {
            return Err(format!("{misses} of {} answers are not from the cache", outcome.done));
        }
        self.wrong.extend(outcome.mistakes);
        if !proxy.is_alive() {
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
}

fn busy() -> f64 {
    machine::busy_seconds(machine::PROXY_CORE)
}
