//! One file of nginx-tests: run under `prove` in a process group of its own, watched by a clock, its TAP read.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scratch::Scratch;

/// A file that takes longer hangs; the slowest of the suite takes some 50 s on two busy cores.
const FILE_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// What came of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Every subtest passed. Subtests marked TODO by the suite may fail, as `prove` has it.
    Pass { subtests: usize },
    /// Some failed, or the script died.
    Fail { why: String },
    /// The whole file was skipped. Never counted as passed.
    Skip { why: String },
    /// Killed after [`FILE_TIMEOUT`].
    Hang,
}

/// An outcome with the time it took.
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Runs `NAME.t`; the n-th of this run. What it printed stays in `logs/NAME.log`.
pub(crate) fn run(scratch: &Scratch, name: &str, n: usize, logs: &Path) -> Report {
    let start = Instant::now();
    let log = logs.join(format!("{name}.log"));
    let outcome = match spawn(scratch, name, n, &log) {
        Ok(mut child) => match wait(&mut child, start) {
            Some(ok) => read_tap(&fs::read(&log).unwrap_or_default(), ok),
            None => Outcome::Hang,
        },
        Err(e) => Outcome::Fail { why: format!("cannot run prove: {e}") },
    };
    if let Ok(dir) = scratch.tmpdir(n) {
        let _ = fs::remove_dir(dir);
    }
    Report { outcome, took: start.elapsed() }
}

fn spawn(scratch: &Scratch, name: &str, n: usize, log: &Path) -> std::io::Result<Child> {
    let tmpdir = scratch.tmpdir(n)?;
    let out = File::create(log)?;
    let mut command = Command::new("prove");
    command.arg("-v").arg(format!("{name}.t"));
    command.current_dir(&scratch.suite);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("TEST_NGINX_BINARY", &scratch.binary).env("TMPDIR", &tmpdir).env("HOME", &tmpdir);
    // "Unsafe" tests may leave processes behind; here they end with their group, or with the scratch folder.
    command.env("LC_ALL", "C").env("TZ", "UTC").env("TEST_NGINX_UNSAFE", "1");
    // A file and not a pipe: a daemon left behind would keep a pipe open.
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    command.process_group(0);
    if let Some(user) = scratch.user {
        command.uid(user.uid).gid(user.gid);
    }
    command.spawn()
}

/// Whether `prove` ended well; `None` when the clock ran out. Either way the whole group is gone afterwards.
fn wait(child: &mut Child, start: Instant) -> Option<bool> {
    let mut ended = None;
    while ended.is_none() && start.elapsed() < FILE_TIMEOUT {
        match child.try_wait() {
            Ok(Some(status)) => ended = Some(status.success()),
            Ok(None) => std::thread::sleep(POLL),
            Err(_) => break,
        }
    }
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    if ended.is_none() {
        let _ = child.wait();
    }
    ended
}

/// Judges what `prove -v` printed; `ok` is its exit code's opinion.
fn read_tap(printed: &[u8], ok: bool) -> Outcome {
    let text = String::from_utf8_lossy(printed);
    let mut subtests = 0;
    let mut failed = Vec::new();
    for line in text.lines() {
        if let Some((_, why)) = line.split_once(".t .. skipped: ") {
            return Outcome::Skip { why: why.to_owned() };
        } else if line.starts_with("ok ") {
            subtests += 1;
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            subtests += 1;
            if !rest.contains("# TODO") {
                failed.push(rest.split_whitespace().next().unwrap_or("?").to_owned());
            }
        }
    }
    if ok && failed.is_empty() && subtests > 0 && text.contains("\nResult: PASS") {
        return Outcome::Pass { subtests };
    }
    let why = match failed.len() {
        0 => format!("died after {subtests} subtests: {}", last_words(&text)),
        n => format!("{n} of {subtests} subtests failed: {}", failed.join(" ")),
    };
    Outcome::Fail { why }
}

/// The last line before `prove`'s own summary, most often why the script died.
fn last_words(text: &str) -> &str {
    let own = |line: &&str| !line.trim().is_empty() && !line.starts_with("Dubious");
    text.lines().take_while(|l| !l.starts_with("Test Summary Report")).filter(own).last().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_judged_strictly() {
        let judge = |text: &str, ok| read_tap(text.as_bytes(), ok);
        assert_eq!(
            judge("a.t ..\n1..2\nok 1 - a\nok 2 - b\nok\nResult: PASS\n", true),
            Outcome::Pass { subtests: 2 }
        );
        assert!(matches!(
            judge("a.t .. skipped: no perl available\nResult: NOTESTS\n", true),
            Outcome::Skip { .. }
        ));
        assert!(matches!(judge("1..2\nok 1\nnot ok 2 - b\nResult: FAIL\n", false), Outcome::Fail { .. }));
        assert_eq!(
            judge("1..2\nok 1\nnot ok 2 - b # TODO later\nResult: PASS\n", true),
            Outcome::Pass { subtests: 2 }
        );
        assert!(matches!(judge("Can't start nginx\nResult: FAIL\n", false), Outcome::Fail { .. }));
        assert!(matches!(judge("ok 1\nResult: PASS\n", false), Outcome::Fail { .. }));
    }
}
