//! The run: round by round, workload by workload, each proxy in turn.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::confs::Place;
use crate::link::{Certificate, Link};
use crate::load::{self, Expect, Outcome, Pace};
use crate::options::{Options, workspace};
use crate::proxy::{self, Kind, Proxy, Subject};
use crate::verify::{self, Facts};
use crate::workloads::{Door, Load, Workload};
use crate::{Result, backend, bodies, client, confs, h2load, machine, tree, workloads, wrk};

/// How long a proxy may come to rest before it is looked at.
const SETTLE: Duration = Duration::from_millis(50);
/// Idle connections are looked at after so long.
const IDLE: Duration = Duration::from_secs(3);
/// Log lines may lack what was under way at the end, and hold what was asked beside the load.
const LOG_LINES_OFF_MAX: u64 = 300;
/// A cache may ask its backend for one of so many requests; more, and it is not the cache that is measured.
const REQUESTS_PER_MISS_MIN: u64 = 1000;

/// One proxy under one workload in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// As [`load::Outcome`]'s.
    pub(crate) window_p99_us: f64,
    /// Per request, of the whole tree of processes.
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    pub(crate) pss_kib: f64,
    pub(crate) rss_kib: f64,
    /// Of each idle connection, if that was asked.
    pub(crate) conn_kib: f64,
    pub(crate) body_bytes: usize,
    pub(crate) suite: Option<String>,
    /// Share of the proxy's core that others used.
    pub(crate) others: f64,
}

impl Sample {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    /// How many requests a second of CPU is enough for.
    pub(crate) fn per_core(&self) -> f64 {
        1e6 / self.cpu_us()
    }
}

/// Samples by workload and subject, in the order of both lists, and what went wrong.
pub(crate) struct Results {
    pub(crate) samples: Vec<Vec<Vec<Sample>>>,
    pub(crate) mistakes: Vec<String>,
}

/// Everything that lives as long as the run.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    pub(crate) subjects: Vec<Subject>,
    folder: PathBuf,
    certificate: Certificate,
    backend: Child,
    backend_port: u16,
    files_max: u64,
}

impl Bench<'_> {
    pub(crate) fn prepare(options: &Options) -> Result<Bench<'_>> {
        let subjects = subjects(options)?;
        let files_max = machine::raise_files_max();
        let folder = std::env::temp_dir().join(format!("foregate-bench-{}", std::process::id()));
        let root = folder.join("root/files");
        fs::create_dir_all(&root).map_err(|e| format!("{}: {e}", root.display()))?;
        for (name, size) in [("1k", 1 << 10), ("1m", 1 << 20)] {
            fs::write(root.join(name), bodies::pattern(size)).map_err(|e| format!("{name}: {e}"))?;
        }
        let certificate = Certificate::make(&folder)?;
        machine::pin(machine::load_core())?;
        let (backend, backend_port) = start_backend()?;
        Ok(Bench { options, subjects, folder, certificate, backend, backend_port, files_max })
    }

    pub(crate) fn run(&self, workloads: &[&Workload]) -> Result<Results> {
        let mut results = Results {
            samples: vec![vec![Vec::new(); self.subjects.len()]; workloads.len()],
            mistakes: Vec::new(),
        };
        for round in 0..self.options.rounds {
            for (nth, group) in workloads::groups(workloads).into_iter().enumerate() {
                let mut order: Vec<usize> = (0..self.subjects.len()).collect();
                if (round + nth) % 2 == 1 {
                    order.reverse();
                }
                for who in order {
                    for at in group.clone().filter(|at| round < workloads[*at].rounds_max) {
                        let samples = &mut results.samples[at][who];
                        self.turn(workloads[at], round, who, samples, &mut results.mistakes);
                    }
                }
            }
        }
        Ok(results)
    }

    fn turn(
        &self,
        workload: &Workload,
        round: usize,
        who: usize,
        samples: &mut Vec<Sample>,
        mistakes: &mut Vec<String>,
    ) {
        let subject = &self.subjects[who];
        if !takes_part(subject, workload) {
            return;
        }
        let mut wrong = Vec::new();
        match self.measure(workload, subject, &mut wrong) {
            Ok(sample) => {
                println!(
                    "{} {:14} {:10} {:>9.1}/s  cpu {:>8.2} us  p99 {:>8.2} ms  pss {:>6.1} MiB  others {:>3.0} %",
                    round + 1,
                    workload.name,
                    subject.name,
                    sample.per_second,
                    sample.cpu_us(),
                    sample.p99_us / 1e3,
                    sample.pss_kib / 1024.0,
                    sample.others * 100.0
                );
                samples.push(Sample { round, ..sample });
            }
            Err(why) => wrong.push(format!("not measured: {why}")),
        }
        for what in wrong {
            println!("{} {:14} {:10} WRONG: {what}", round + 1, workload.name, subject.name);
            mistakes.push(format!("{}, {}: {what}", workload.name, subject.name));
        }
    }

    /// Starts the proxy, checks its answers, loads it, ends it.
    fn measure(&self, workload: &Workload, subject: &Subject, wrong: &mut Vec<String>) -> Result<Sample> {
        let own = self.folder.join(&subject.name);
        for name in ["cert.pem", "key.pem", "both.pem"] {
            let _ = fs::create_dir_all(&own);
            fs::copy(self.folder.join(name), own.join(name)).map_err(|e| format!("{name}: {e}"))?;
        }
        let _ = std::os::unix::fs::symlink(self.folder.join("root"), own.join("root"));
        let (port, backend) = (proxy::free_port()?, self.backend_port);
        let no_master = self.options.no_master;
        let place = Place { folder: &own, port, backend, files_max: self.files_max, no_master };
        let mut proxy = Proxy::start(subject, workload.door, &own, &place)?;
        let loaded = self.loaded(workload, &mut proxy, wrong);
        let said = proxy.said();
        wrong.extend((!said.is_empty()).then(|| format!("says: {said}")));
        wrong.extend(proxy.stop().err());
        let (sample, done) = loaded?;
        if workload.door == Door::Logged {
            let lines = Proxy::log_lines(&own);
            let off = lines.abs_diff(done);
            let text = || format!("{lines} lines in the access log for {done} requests");
            wrong.extend((off > LOG_LINES_OFF_MAX).then(text));
        }
        Ok(sample)
    }

    fn loaded(
        &self,
        workload: &Workload,
        proxy: &mut Proxy,
        wrong: &mut Vec<String>,
    ) -> Result<(Sample, u64)> {
        let check = || verify::check(workload, proxy.port, &self.certificate);
        let facts = check()?;
        std::thread::sleep(SETTLE);
        let (base, busy, start) = (tree::memory(proxy.pid()), busy(), Instant::now());
        let asked = self.asked()?;
        let cpu = tree::cpu(proxy.pid());
        let (outcome, links) = self.load(workload, proxy.port, &facts)?;
        std::thread::sleep(if links.is_empty() { SETTLE } else { IDLE });
        let (user, system) = tree::cpu(proxy.pid()).since(cpu);
        let elapsed = start.elapsed().as_secs_f64();
        let others = (self::busy() - busy - (user + system) / 1e6).max(0.0) / elapsed;
        let memory = tree::memory(proxy.pid());
        let misses = self.asked()? - asked;
        if workload.door == Door::Cache && misses > outcome.done / REQUESTS_PER_MISS_MIN {
            return Err(format!("{misses} of {} answers are not from the cache", outcome.done));
        }
        wrong.extend(outcome.mistakes);
        wrong.extend(crate::stats::counted(tree::strays(proxy.pid(), machine::PROXY_CORE)));
        let n_conns = links.len();
        drop(links);
        wrong.extend(check().err().map(|why| format!("after the load: {why}")));
        if !proxy.is_alive() {
            return Err("ended under load".to_owned());
        }
        if outcome.done == 0 {
            return Err("nothing was answered".to_owned());
        }
        let done = outcome.done as f64;
        let sample = Sample {
            round: 0,
            per_second: done / outcome.seconds,
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            window_p99_us: outcome.window_p99_us,
            user_us: user / done,
            system_us: system / done,
            pss_kib: memory.pss_kib,
            rss_kib: memory.rss_kib,
            conn_kib: if n_conns > 0 { (memory.pss_kib - base.pss_kib) / n_conns as f64 } else { 0.0 },
            body_bytes: facts.body_bytes,
            suite: facts.suite,
            others,
        };
        Ok((sample, outcome.done))
    }

    /// How many pages the backend has been asked for.
    fn asked(&self) -> Result<u64> {
        let mut link = Link::open(self.backend_port, None).map_err(|e| format!("backend: {e}"))?;
        let request = verify::request(&format!("/{}", backend::COUNT), crate::workloads::Extra::None, 0);
        let answer = client::exchange(&mut link, &request)?;
        let number = std::str::from_utf8(&answer.body).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| "the backend does not say how often it was asked".to_owned())
    }

    /// Puts the load on; connections that must stay open come back.
    fn load(&self, workload: &Workload, port: u16, facts: &Facts) -> Result<(Outcome, Vec<Link>)> {
        let tls = workload.door.is_tls();
        let mut plan = load::Plan {
            port,
            conns: 0,
            tls: None,
            resume: false,
            upgrade: None,
            message: verify::request("/1k", verify_extra(workload), 0),
            expect: Expect::Http(facts.body_bytes),
            pace: Pace::Closed,
            seconds: self.options.seconds,
        };
        match workload.load {
            Load::Wrk { conns, path, extra } => {
                let (seconds, body_bytes) = (self.options.seconds, facts.wire_bytes);
                let folder = &self.folder;
                let plan = wrk::Plan { folder, port, tls, conns, path, extra, seconds, body_bytes };
                return Ok((wrk::run(&plan)?, Vec::new()));
            }
            Load::H2 { conns, streams, path } => {
                let (seconds, body_bytes) = (self.options.seconds, facts.body_bytes);
                let folder = &self.folder;
                let plan = h2load::Plan { folder, port, conns, streams, path, seconds, body_bytes };
                return Ok((h2load::run(&plan)?, Vec::new()));
            }
            Load::Idle => return self.idle(port, tls),
            Load::Handshakes { conns, resume } => {
                let configs: Vec<_> = (0..conns).map(|_| self.certificate.visitor(resume)).collect();
                let next = std::cell::Cell::new(0);
                plan.tls =
                    Some(Box::new(move || configs[next.replace(next.get() + 1) % configs.len()].clone()));
                (plan.conns, plan.resume, plan.pace) = (conns, resume, Pace::Reconnect);
            }
            Load::Echo { conns, bytes } => {
                (plan.conns, plan.upgrade) = (conns, Some(verify::upgrade()));
                plan.message = bodies::frame(bytes);
                plan.expect = Expect::Echo(plan.message.len());
            }
            Load::Rate { conns, path, divisor } => {
                (plan.conns, plan.pace) = (conns, Pace::Rate((self.options.rate / divisor).max(1)));
                plan.message = verify::request(path, crate::workloads::Extra::None, 0);
                plan.tls = tls.then(|| {
                    let config = self.certificate.visitor(false);
                    Box::new(move || config.clone()) as Box<dyn Fn() -> _>
                });
            }
        }
        let outcome = load::run(&plan).map_err(|e| format!("load: {e}"))?;
        Ok((outcome, Vec::new()))
    }

    /// Opens connections one after another, asks for one answer on each, and keeps them.
    fn idle(&self, port: u16, tls: bool) -> Result<(Outcome, Vec<Link>)> {
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let config = tls.then(|| self.certificate.visitor(false));
        let request = verify::request("/1k", crate::workloads::Extra::None, 0);
        let mut links = Vec::new();
        let mut outcome = Outcome::default();
        while links.len() < self.options.idle && start.elapsed() < limit {
            let mut link = Link::open(port, config.as_ref()).map_err(|e| format!("cannot connect: {e}"))?;
            let answer = client::exchange(&mut link, &request)?;
            if answer.status != 200 {
                return Err(format!("status {} on connection {}", answer.status, links.len()));
            }
            links.push(link);
        }
        if links.len() < self.options.idle {
            outcome.mistakes.push(format!("only {} connections in {limit:?}", links.len()));
        }
        (outcome.done, outcome.seconds) = (links.len() as u64, start.elapsed().as_secs_f64());
        Ok((outcome, links))
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // Both may be gone already; there is nobody left to tell.
        let _ = self.backend.kill();
        let _ = self.backend.wait();
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(confs::varnish_folder());
    }
}

fn busy() -> f64 {
    machine::busy_seconds(machine::PROXY_CORE)
}

fn verify_extra(workload: &Workload) -> crate::workloads::Extra {
    match workload.load {
        Load::Handshakes { .. } => crate::workloads::Extra::Close,
        _ => crate::workloads::Extra::None,
    }
}

fn takes_part(subject: &Subject, workload: &Workload) -> bool {
    match subject.kind {
        Kind::Haproxy => workload.haproxy,
        Kind::Varnish => workload.door == Door::Cache,
        Kind::Nginx => subject.name != "nginx" || !workload.door.is_ours(),
    }
}

/// The proxies to compare, Foregate first.
fn subjects(options: &Options) -> Result<Vec<Subject>> {
    let ours = match &options.foregate {
        Some(path) => path.clone(),
        None => built()?,
    };
    let mut subjects = vec![Subject::new("foregate", &ours, Kind::Nginx)?];
    if let Some(path) = &options.nginx {
        subjects.push(Subject::new("nginx", path, Kind::Nginx)?);
    }
    if let Some(path) = &options.haproxy {
        subjects.push(Subject::new("haproxy", path, Kind::Haproxy)?);
    }
    if let Some(path) = &options.varnish {
        match Subject::new("varnish", path, Kind::Varnish) {
            Ok(subject) => subjects.push(subject),
            // It is a peer of a few rows only.
            Err(why) => println!("{why} (Debian's package varnish has it): left out"),
        }
    }
    for (name, path) in &options.others {
        subjects.push(Subject::new(name, path, Kind::Nginx)?);
    }
    Ok(subjects)
}

/// The release build of Foregate, made if there is none.
fn built() -> Result<PathBuf> {
    let path = workspace().join("target/release/foregate");
    if !path.exists() {
        println!("building {}", path.display());
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--package", "foregate"]).current_dir(workspace());
        let status = command.status().map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            return Err("Foregate does not build".to_owned());
        }
    }
    Ok(path)
}

fn start_backend() -> Result<(Child, u16)> {
    let text = |e: std::io::Error| format!("backend: {e}");
    let own: PathBuf = std::env::current_exe().map_err(text)?;
    let mut command = proxy::dies_with_us(Path::new(&own));
    let mut child =
        command.arg("backend").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(text)?;
    let stdout = child.stdout.take().ok_or("backend: no pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(text)?;
    match line.trim().parse() {
        Ok(port) => Ok((child, port)),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err("backend: did not start".to_owned())
        }
    }
}
