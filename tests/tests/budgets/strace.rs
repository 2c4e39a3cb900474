//! System calls as strace counts them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// How often each call was made.
pub(crate) type Calls = BTreeMap<String, f64>;

/// Why calls cannot be counted here: strace is missing, or the kernel or container forbids tracing.
pub(crate) fn missing() -> Option<String> {
    let mut command = Command::new("strace");
    let output = command.args(["-c", "-f", "-o", "/dev/null", "true"]).stdin(Stdio::null()).output();
    match output {
        Err(why) => Some(format!("strace: {why} (apt-get install strace)")),
        Ok(output) if !output.status.success() => {
            Some(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
        Ok(_) => None,
    }
}

/// The words before a program's own that make strace write its table to this file.
pub(crate) fn words(out: &Path) -> Vec<String> {
    ["strace", "-c", "-f", "-o", &out.to_string_lossy()].map(str::to_owned).into()
}

/// Reads the table: `% time  seconds  usecs/call  calls  [errors]  syscall`.
pub(crate) fn read(out: &Path) -> Calls {
    let text = std::fs::read_to_string(out).unwrap_or_else(|why| panic!("{}: {why}", out.display()));
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let calls = rows.filter_map(|row| Some((row.last()?.to_string(), row.get(3)?.parse().ok()?)));
    calls.filter(|(name, _): &(String, f64)| name != "total").collect()
}

/// Per time, when `more` did something `times` oftener than `less`; calls that hardly differ are left out.
pub(crate) fn above(more: &Calls, less: &Calls, times: usize) -> Calls {
    /// Fewer per time are what happens beside it, such as a second that passes.
    const NOISE: f64 = 0.02;
    let each = |(name, calls): (&String, &f64)| {
        (name.clone(), (calls - less.get(name).copied().unwrap_or(0.0)) / times as f64)
    };
    more.iter().map(each).filter(|(_, calls)| *calls > NOISE).collect()
}

/// `epoll_wait 2.00, recvfrom 2.00`
pub(crate) fn show(calls: &Calls) -> String {
    let shown: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {calls:.2}")).collect();
    shown.join(", ")
}
