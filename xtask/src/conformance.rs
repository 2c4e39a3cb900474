//! `xtask conformance`: nginx-tests as an ordinary user, against the checked-in list of what passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::prove::{self, Outcome, Report};
use crate::scratch::Scratch;

/// The environment variable that names the folder of nginx-tests.
pub(crate) const SUITE_ENV: &str = "FOREGATE_NGINX_TESTS";
/// A listed file that fails among others is tried again alone, so often, before it counts: ports and clocks are shared.
const RETRIES: usize = 2;

/// Runs as the command line asks; an error when a listed file does not pass.
pub(crate) fn run(args: Vec<String>) -> Result<(), String> {
    let asked = Asked::from(args)?;
    let list = read_list()?;
    let names = asked.names(&list)?;
    let binary = match &asked.binary {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let logs = crate::workspace().join("target/conformance");
    fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    let scratch = Scratch::new(&asked.suite, &binary)?;
    let mut reports = run_all(&scratch, &names, asked.jobs, &logs);
    retry(&scratch, &mut reports, &list, &logs);
    drop(scratch);
    let passed: BTreeSet<String> =
        reports.iter().filter(|(_, r)| passes(r)).map(|(name, _)| name.clone()).collect();
    if let Some(file) = &asked.passes {
        fs::write(file, lines(&passed)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    summarise(&asked, &list, &reports, &passed)
}

/// The command line, read.
struct Asked {
    suite: PathBuf,
    names: Vec<String>,
    jobs: usize,
    binary: Option<PathBuf>,
    listed: bool,
    write: bool,
    passes: Option<PathBuf>,
}

impl Asked {
    fn from(args: Vec<String>) -> Result<Asked, String> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let mut asked = Asked {
            suite: PathBuf::new(),
            names: Vec::new(),
            jobs: cores * 2,
            binary: None,
            listed: false,
            write: false,
            passes: None,
        };
        let mut suite = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match arg.as_str() {
                "--jobs" => asked.jobs = value()?.parse().map_err(|_| "--jobs wants a number")?,
                "--binary" => asked.binary = Some(PathBuf::from(value()?)),
                "--passes" => asked.passes = Some(PathBuf::from(value()?)),
                "--listed" => asked.listed = true,
                "--write" => asked.write = true,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if suite.is_none() => suite = Some(PathBuf::from(arg)),
                _ => asked.names.push(arg.trim_end_matches(".t").to_owned()),
            }
        }
        let from_env = || std::env::var_os(SUITE_ENV).map(PathBuf::from);
        asked.suite =
            suite.or_else(from_env).ok_or(format!("name the folder of nginx-tests, or set {SUITE_ENV}"))?;
        if !asked.suite.join("lib/Test/Nginx.pm").is_file() {
            return Err(format!("{} does not hold nginx-tests", asked.suite.display()));
        }
        Ok(asked)
    }

    /// The files to run: those named, those listed, or all there are.
    fn names(&self, list: &BTreeSet<String>) -> Result<Vec<String>, String> {
        if !self.names.is_empty() {
            return Ok(BTreeSet::from_iter(self.names.clone()).into_iter().collect());
        }
        if self.listed {
            return Ok(list.iter().cloned().collect());
        }
        let entries = fs::read_dir(&self.suite).map_err(|e| format!("{}: {e}", self.suite.display()))?;
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".t").map(str::to_owned);
        let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }
}

fn list_path() -> PathBuf {
    crate::workspace().join("xtask/conformance.txt")
}

/// The names in `xtask/conformance.txt`: one a line, `#` begins a comment.
fn read_list() -> Result<BTreeSet<String>, String> {
    let path = list_path();
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let name = |line: &str| line.split('#').next().unwrap_or("").trim().to_owned();
    Ok(text.lines().map(name).filter(|n| !n.is_empty()).collect())
}

/// How many names the list holds.
pub(crate) fn listed() -> Result<usize, String> {
    read_list().map(|list| list.len())
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(|n| format!("{n}\n")).collect()
}

/// The server under test: FOREGATE_BIN, or a debug build made now.
pub(crate) fn build() -> Result<PathBuf, String> {
    if let Some(binary) = std::env::var_os("FOREGATE_BIN") {
        return Ok(PathBuf::from(binary));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--package", "foregate"])
        .current_dir(crate::workspace())
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if !built.success() {
        return Err("the server does not build".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(target.unwrap_or_else(|| crate::workspace().join("target")).join("debug/foregate"))
}

/// Runs the files, `jobs` at a time, in order; prints each as it ends.
fn run_all(scratch: &Scratch, names: &[String], jobs: usize, logs: &Path) -> BTreeMap<String, Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, names.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(n) else { return };
                    let report = prove::run(scratch, name, n, logs);
                    print(name, &report, "");
                    let mut reports = reports.lock().expect("because no holder of this lock panics");
                    reports.insert(name.clone(), report);
                }
            });
        }
    });
    reports.into_inner().expect("because no holder of this lock panics")
}

/// Tries listed files that failed once more, alone.
fn retry(scratch: &Scratch, reports: &mut BTreeMap<String, Report>, list: &BTreeSet<String>, logs: &Path) {
    for (name, report) in reports.iter_mut().filter(|(name, _)| list.contains(*name)) {
        for attempt in 0..RETRIES {
            if matches!(report.outcome, Outcome::Pass { .. } | Outcome::Skip { .. }) {
                break;
            }
            *report = prove::run(scratch, name, attempt, logs);
            print(name, report, " (again, alone)");
        }
    }
}

fn print(name: &str, report: &Report, remark: &str) {
    let secs = report.took.as_secs_f32();
    match &report.outcome {
        Outcome::Pass { subtests } => println!("pass  {name}: {subtests} subtests, {secs:.1} s{remark}"),
        Outcome::Fail { why } => println!("FAIL  {name}: {why}, {secs:.1} s{remark}"),
        Outcome::Skip { why } => println!("skip  {name}: {why}"),
        Outcome::Hang => println!("HANG  {name}: killed after {secs:.0} s{remark}"),
    }
}

fn passes(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Pass { .. })
}

/// Compares with the list, writes it when asked; a listed file that ran and did not pass is an error.
fn summarise(
    asked: &Asked,
    list: &BTreeSet<String>,
    reports: &BTreeMap<String, Report>,
    passed: &BTreeSet<String>,
) -> Result<(), String> {
    let count = |wanted: fn(&Outcome) -> bool| reports.values().filter(|r| wanted(&r.outcome)).count();
    let skipped = count(|o| matches!(o, Outcome::Skip { .. }));
    let failed = reports.len() - passed.len() - skipped;
    println!(
        "\nconformance: {} files ran: {} passed, {failed} failed, {skipped} skipped; {} listed",
        reports.len(),
        passed.len(),
        list.len()
    );
    let new: BTreeSet<String> = passed.difference(list).cloned().collect();
    if !new.is_empty() {
        println!("newly passing: {}", new.iter().cloned().collect::<Vec<_>>().join(" "));
    }
    if asked.write && !new.is_empty() {
        let path = list_path();
        fs::write(&path, with_new_names(list, &new)).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{} names added to xtask/conformance.txt", new.len());
    }
    let lost: Vec<&str> =
        reports.keys().filter(|n| list.contains(*n) && !passed.contains(*n)).map(String::as_str).collect();
    match lost.is_empty() {
        true => Ok(()),
        false => Err(format!("listed, but did not pass: {}", lost.join(" "))),
    }
}

fn with_new_names(list: &BTreeSet<String>, new: &BTreeSet<String>) -> String {
    let head = "# Files of nginx-tests that pass, one a line. A name never leaves this list.\n\
                # Written by `cargo xtask conformance DIR --write`.\n";
    format!("{head}{}", lines(&list.union(new).cloned().collect()))
}
