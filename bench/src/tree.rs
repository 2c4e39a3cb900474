//! What a process and all its children cost: CPU and memory, as `/proc` has them.

use std::fs;

const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a tree of processes since each began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// Microseconds on a core: the scheduler's own count where the kernel has it.
    pub(crate) total_us: f64,
    user_us: f64,
    system_us: f64,
}

impl Cpu {
    /// What was used since; the scheduler's total, split as the coarser counts of user and system split.
    pub(crate) fn since(self, before: Cpu) -> (f64, f64) {
        let total = self.total_us - before.total_us;
        let (user, system) = (self.user_us - before.user_us, self.system_us - before.system_us);
        let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        (total * share, total * (1.0 - share))
    }
}

/// Memory of a tree of processes, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Pages shared between processes count in part: what the tree costs.
    pub(crate) pss_kib: f64,
    pub(crate) rss_kib: f64,
}

/// The process and all below it.
pub(crate) fn pids(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all_pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let above = tree[at];
        tree.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    tree
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Fields of `/proc/PID/stat` behind the name, which may hold anything: the state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// Whether it exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

pub(crate) fn cpu(root: u32) -> Cpu {
    let mut sum = Cpu::default();
    for pid in pids(root) {
        let Some(fields) = stat(pid) else { continue };
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        let us = |ticks: f64| ticks * 1e6 / TICKS_PER_SECOND;
        let (user_us, system_us) = (us(ticks(11)), us(ticks(12)));
        sum.user_us += user_us;
        sum.system_us += system_us;
        sum.total_us += run_time_us(pid).unwrap_or(user_us + system_us);
    }
    sum
}

/// Run time of all threads by `schedstat`, whose first field is in nanoseconds.
fn run_time_us(pid: u32) -> Option<f64> {
    let mut sum = None;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let ns: f64 = text.split_whitespace().next()?.parse().ok()?;
        sum = Some(sum.unwrap_or(0.0) + ns / 1e3);
    }
    sum
}

pub(crate) fn memory(root: u32) -> Memory {
    let mut sum = Memory::default();
    for pid in pids(root) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kib = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        sum.pss_kib += kib("Pss:");
        sum.rss_kib += kib("Rss:");
    }
    sum
}

/// Threads of the tree that may run elsewhere than on this core alone, by name.
pub(crate) fn strays(root: u32, core: usize) -> Vec<String> {
    let mut strays = Vec::new();
    for pid in pids(root) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let field =
                |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map_or("", str::trim).to_owned();
            let cores = field("Cpus_allowed_list:");
            if !cores.is_empty() && cores != core.to_string() {
                strays.push(format!("thread {:?} may run on cores {cores}", field("Name:")));
            }
        }
    }
    strays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_itself() {
        let own = std::process::id();
        assert!(pids(own).contains(&own) && is_alive(own));
        assert!(memory(own).rss_kib > 0.0);
        let spent = std::time::Instant::now();
        while spent.elapsed().as_millis() < 30 {}
        assert!(cpu(own).total_us > 1000.0);
    }
}
