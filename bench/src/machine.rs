//! The machine the benchmark runs on: its cores, its limits, its kind, the day.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;

/// Where the proxy under load runs.
pub(crate) const PROXY_CORE: usize = 0;

/// Where the load generators and the backend run: another core, if there is one.
pub(crate) fn load_core() -> usize {
    usize::from(n_cores() > 1)
}

fn n_cores() -> usize {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count().max(1)
}

/// Pins this thread, and what it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|e| format!("cannot run on core {core}: {e}"))
}

/// Raises the limit of open files to what it may be, and returns that.
pub(crate) fn raise_files_max() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    let raised = Rlimit { current: Some(most), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => limit.current.unwrap_or(1024),
    }
}

/// Seconds since boot in which the core did anything, for whomever.
pub(crate) fn busy_seconds(core: usize) -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let line = text.lines().find_map(|l| l.strip_prefix(&name)).unwrap_or("");
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // user nice system [idle iowait] irq softirq steal; guest time is in user already.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / 100.0
}

/// Processor, cores, memory, kernel: what a reader must know, and nothing that names the machine.
pub(crate) fn kind() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name));
        line.and_then(|l| Some(l.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: f64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    let release = read("/proc/sys/kernel/osrelease");
    let kernel: Vec<&str> = release.trim().split(['.', '-', '+']).take(2).collect();
    let virtual_machine =
        if read("/proc/cpuinfo").contains("hypervisor") { ", a virtual machine" } else { "" };
    format!(
        "{cpu}, {} cores, {:.0} GiB, Linux {}{virtual_machine}",
        n_cores(),
        kib / 1024.0 / 1024.0,
        kernel.join(".")
    )
}

/// Today in UTC, as 2026-01-31.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (year, month, day) = civil((seconds / 86400) as i64);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01, by the rules of the Gregorian calendar.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    (year, month as i64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (11016, (2000, 2, 29)), (20454, (2026, 1, 1))] {
            assert_eq!(civil(days), date);
        }
    }
}
