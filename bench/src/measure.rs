//! The run: round by round, workload by workload, all proxies at once and in turn.
//!
//! In a round every proxy that takes part is started anew, once for all workloads that are compared with each other, and
//! stays; bursts of load go to one after the other, in
//! alternating order, so that what the machine does to one it does to all. Rounds are there because one start of a
//! process differs from the next: where its memory lies decides which of it shares a place in the caches.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::link::{Certificate, Link};
use crate::live::Live;
use crate::options::Options;
use crate::proxy::{self, Subject};
use crate::stats::median;
use crate::workloads::{Extra, Workload};
use crate::{Result, backend, bodies, client, confs, machine, subjects, verify, workloads};

/// One proxy under one burst of one workload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    /// Which burst of the round.
    pub(crate) turn: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// As [`crate::load::Outcome`]'s.
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
    pub(crate) options: &'a Options,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) folder: PathBuf,
    pub(crate) certificate: Certificate,
    backend: Child,
    pub(crate) backend_port: u16,
    pub(crate) files_max: u64,
}

impl Bench<'_> {
    pub(crate) fn prepare(options: &Options) -> Result<Bench<'_>> {
        let subjects = subjects::subjects(options)?;
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
            for group in workloads::groups(workloads) {
                self.group(workloads, group, round, &mut results);
            }
        }
        Ok(results)
    }

    /// One round of workloads that are measured together.
    fn group(
        &self,
        workloads: &[&Workload],
        group: std::ops::Range<usize>,
        round: usize,
        results: &mut Results,
    ) {
        let n_turns = |workload: &Workload| workload.dose.turns(round, self.options.turns);
        let mut lives = Vec::new();
        for (who, subject) in self.subjects.iter().enumerate() {
            let takes_part = |w: &Workload| n_turns(w) > 0 && subjects::takes_part(subject, w);
            let wanted: Vec<usize> = group.clone().filter(|at| takes_part(workloads[*at])).collect();
            if wanted.is_empty() {
                continue;
            }
            let parts: Vec<&Workload> = wanted.iter().map(|at| workloads[*at]).collect();
            match Live::start(self, &parts, subject) {
                Ok(live) => lives.push((who, wanted, live)),
                Err(why) => {
                    parts.iter().for_each(|it| results.wrong(it, subject, &format!("not measured: {why}")))
                }
            }
        }
        let n_turns_max = group.clone().map(|at| n_turns(workloads[at])).max().unwrap_or(0);
        for turn in 0..n_turns_max {
            for at in group.clone().filter(|at| turn < n_turns(workloads[*at])) {
                for nth in 0..lives.len() {
                    let nth = if (round + turn) % 2 == 1 { lives.len() - 1 - nth } else { nth };
                    let (who, wanted, live) = &mut lives[nth];
                    let part = wanted.iter().position(|it| *it == at);
                    if let Some(sample) = part.and_then(|part| live.burst(self, part)) {
                        results.samples[at][*who].push(Sample { round, turn, ..sample });
                    }
                }
            }
        }
        for (who, wanted, live) in lives {
            let subject = &self.subjects[who];
            for (at, part) in wanted.into_iter().zip(live.end(self)) {
                show(round, part.workload, subject, &results.samples[at][who]);
                part.wrong.iter().for_each(|what| results.wrong(part.workload, subject, what));
            }
        }
    }

    /// How many pages the backend has been asked for.
    pub(crate) fn asked(&self) -> Result<u64> {
        let mut link = Link::open(self.backend_port, None).map_err(|e| format!("backend: {e}"))?;
        let request = verify::request(&format!("/{}", backend::COUNT), Extra::None, 0);
        let answer = client::exchange(&mut link, &request)?;
        let number = std::str::from_utf8(&answer.body).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| "the backend does not say how often it was asked".to_owned())
    }
}

impl Results {
    fn wrong(&mut self, workload: &Workload, subject: &Subject, what: &str) {
        println!("  {:14} {:10} WRONG: {what}", workload.name, subject.name);
        self.mistakes.push(format!("{}, {}: {what}", workload.name, subject.name));
    }
}

/// A line for whoever waits.
fn show(round: usize, workload: &Workload, subject: &Subject, samples: &[Sample]) {
    let of_round: Vec<&Sample> = samples.iter().filter(|s| s.round == round).collect();
    let mid = |f: &dyn Fn(&Sample) -> f64| median(&of_round.iter().map(|s| f(s)).collect::<Vec<f64>>());
    println!(
        "{} {:14} {:10} {:>9.1}/s  cpu {:>8.2} us  p99 {:>8.2} ms  pss {:>6.1} MiB  others {:>3.0} %",
        round + 1,
        workload.name,
        subject.name,
        mid(&|s| s.per_second),
        mid(&Sample::cpu_us),
        mid(&|s| s.p99_us / 1e3),
        mid(&|s| s.pss_kib / 1024.0),
        mid(&|s| s.others * 100.0)
    );
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
