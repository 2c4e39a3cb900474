//! The benchmark's command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

const USAGE: &str = "\
usage: cargo run --release -p foregate-bench -- [OPTION...]

  --rounds N         rounds of each workload (default 5); every proxy is started anew in each
  --turns N          bursts of load on each proxy in each round (default 4): they go to one proxy after
                     the other, in alternating order, and ratios are taken within a turn
  --burst MS         how long one burst lasts (default 250), four times that where it takes long to say much
  --only A,B         only these workloads, or those whose names begin so; nothing is written without --out
  --list             name the workloads and end
  --rate N           requests a second of the workloads with a fixed rate (default 5000)
  --idle N           connections of the workloads with idle ones (default 5000)
  --foregate PATH    (default: target/release/foregate, built if it is not there)
  --nginx PATH       (default: nginx)      --no-nginx     leave it out
  --haproxy PATH     (default: haproxy)    --no-haproxy   leave it out
  --varnish PATH     (default: varnishd)   --no-varnish   leave it out, as is done where it is not installed
  --optimized        Foregate is target/optimized/foregate, which cargo xtask optimize builds
  --no-master        Foregate serves without a master process and unconfined, so that it may write a profile
  --other NAME=PATH  one more binary that reads nginx's configuration and command line; may be repeated
  --out DIR          where benchmark.md and benchmark.svg go (default: docs, for a run of all workloads)
";

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) turns: usize,
    pub(crate) burst: Duration,
    /// Names, or beginnings of names; empty means all.
    pub(crate) only: Vec<String>,
    pub(crate) list: bool,
    pub(crate) rate: u64,
    pub(crate) idle: usize,
    pub(crate) foregate: Option<PathBuf>,
    optimized: bool,
    pub(crate) no_master: bool,
    /// `None` leaves it out.
    pub(crate) nginx: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) varnish: Option<PathBuf>,
    pub(crate) others: Vec<(String, PathBuf)>,
    out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: Vec<String>) -> Result<Options> {
        let mut options = Options {
            rounds: 5,
            turns: 4,
            burst: Duration::from_millis(250),
            only: Vec::new(),
            list: false,
            rate: 5000,
            idle: 5000,
            foregate: None,
            optimized: false,
            no_master: false,
            nginx: Some("nginx".into()),
            haproxy: Some("haproxy".into()),
            varnish: Some("varnishd".into()),
            others: Vec::new(),
            out: None,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            options.read(&arg, &mut args)?;
        }
        Ok(options)
    }

    fn read(&mut self, arg: &str, rest: &mut dyn Iterator<Item = String>) -> Result<()> {
        let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
        match arg {
            "--rounds" => self.rounds = count(arg, &value()?, 100)? as usize,
            "--turns" => self.turns = count(arg, &value()?, 100)? as usize,
            "--burst" => self.burst = Duration::from_millis(count(arg, &value()?, 60_000)?),
            "--rate" => self.rate = count(arg, &value()?, 1_000_000)?,
            "--idle" => self.idle = count(arg, &value()?, 15_000)? as usize,
            "--only" => self.only.extend(value()?.split(',').map(str::to_owned)),
            "--list" => self.list = true,
            "--foregate" => self.foregate = Some(value()?.into()),
            "--optimized" => {
                self.optimized = true;
                self.foregate = Some(workspace().join("target/optimized/foregate"));
            }
            "--no-master" => self.no_master = true,
            "--nginx" => self.nginx = Some(value()?.into()),
            "--haproxy" => self.haproxy = Some(value()?.into()),
            "--no-nginx" => self.nginx = None,
            "--no-haproxy" => self.haproxy = None,
            "--varnish" => self.varnish = Some(value()?.into()),
            "--no-varnish" => self.varnish = None,
            "--out" => self.out = Some(value()?.into()),
            "--other" => {
                let value = value()?;
                let (name, path) = value.split_once('=').ok_or("--other needs NAME=PATH")?;
                self.others.push((name.to_owned(), path.into()));
            }
            _ => return Err(format!("unknown option {arg:?}\n{USAGE}")),
        }
        Ok(())
    }

    /// Where the report goes: nowhere for a part of the workloads, unless told.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match &self.out {
            Some(folder) => Some(folder.clone()),
            None if self.only.is_empty() => Some(workspace().join("docs")),
            None => None,
        }
    }

    /// The line that repeats this run; paths are left out, since they are this machine's.
    pub(crate) fn repeat(&self) -> String {
        let mut line = format!(
            "cargo run --release -p foregate-bench -- --rounds {} --turns {} --burst {}",
            self.rounds,
            self.turns,
            self.burst.as_millis()
        );
        if self.optimized {
            line.push_str(" --optimized");
        }
        if !self.only.is_empty() {
            line.push_str(&format!(" --only {}", self.only.join(",")));
        }
        line
    }
}

/// A number from 1 to `max`.
fn count(arg: &str, value: &str, max: u64) -> Result<u64> {
    match value.parse() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => Err(format!("{arg}: {value:?} is not a number from 1 to {max}")),
    }
}

/// The folder of the workspace's Cargo.toml.
pub(crate) fn workspace() -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("because bench is a folder of the workspace").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn a_part_of_the_workloads_overwrites_no_report() {
        assert!(parse("").is_ok_and(|o| o.folder().is_some_and(|f| f.ends_with("docs"))));
        assert!(parse("--only keepalive").is_ok_and(|o| o.folder().is_none()));
        assert!(parse("--only keepalive --out x").is_ok_and(|o| o.folder() == Some("x".into())));
    }

    #[test]
    fn numbers_have_bounds() {
        for line in ["--rounds 0", "--rounds 101", "--burst x", "--idle", "--what 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
