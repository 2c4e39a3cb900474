//! One proxy under test: started on its core with its configuration, watched, and ended with all its children.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::confs::{self, Place};
use crate::workloads::Door;
use crate::{Result, machine, tree};

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads nginx's configuration and has its command line.
    Nginx,
    Haproxy,
    /// Has a cache and nothing else that is measured here.
    Varnish,
}

/// A program to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) version: String,
}

impl Subject {
    pub(crate) fn new(name: &str, path: &Path, kind: Kind) -> Result<Subject> {
        let flag = if kind == Kind::Varnish { "-V" } else { "-v" };
        let output = Command::new(path).arg(flag).output();
        let output = output.map_err(|e| format!("{name}: cannot run {}: {e}", path.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned();
        let line = line.trim_start_matches("nginx version: ").split(" - ").next().unwrap_or("");
        let version =
            line.split(" revision ").next().unwrap_or("").trim_start_matches("varnishd (").to_owned();
        Ok(Subject { name: name.to_owned(), path: path.to_owned(), kind, version })
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.name == "foregate"
    }
}

/// A running one; ends when dropped.
pub(crate) struct Proxy {
    child: Child,
    folder: PathBuf,
}

impl Proxy {
    /// Starts it in a folder of its own and waits until it takes connections.
    pub(crate) fn start(subject: &Subject, at: &Place<'_>) -> Result<Proxy> {
        let folder = at.folder;
        let text = |e: std::io::Error| format!("{}: {e}", folder.display());
        fs::create_dir_all(folder.join("temp")).map_err(text)?;
        for stale in ["error.log", "access.log", "output"] {
            // Missing in the first round.
            let _ = fs::remove_file(folder.join(stale));
        }
        let mut command = command(subject, at)?;
        let output = |name: &str| File::create(folder.join(name)).map_err(text);
        let stdout = if subject.kind == Kind::Haproxy { "access.log" } else { "stdout" };
        command.stdin(Stdio::null()).stdout(output(stdout)?).stderr(output("output")?);
        machine::pin(machine::PROXY_CORE)?;
        let child = command.spawn().map_err(|e| format!("cannot start: {e}"));
        machine::pin(machine::load_core())?;
        let mut proxy = Proxy { child: child?, folder: folder.to_owned() };
        at.doors.iter().try_for_each(|(_, port)| proxy.wait_until_open(*port))?;
        Ok(proxy)
    }

    fn wait_until_open(&mut self, port: u16) -> Result<()> {
        let (start, address) = (Instant::now(), SocketAddr::from(([127, 0, 0, 1], port)));
        while start.elapsed() < START_MAX {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at start, {status}: {}", self.said()));
            }
            if TcpStream::connect_timeout(&address, START_MAX).is_ok() {
                return Ok(());
            }
            std::thread::sleep(STEP);
        }
        Err(format!("takes no connection after {} s: {}", START_MAX.as_secs(), self.said()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it complained about: its standard error and its error log, the beginning.
    pub(crate) fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let text = read("output") + &read("error.log");
        let lines: Vec<&str> = text.lines().filter(|l| !is_harmless(l)).collect();
        let first = lines.first().map_or(String::new(), |l| l.chars().take(300).collect());
        if lines.len() > 1 { format!("{first} (and {} more lines)", lines.len() - 1) } else { first }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lines of the access log; the proxy must have ended.
    pub(crate) fn log_lines(folder: &Path) -> u64 {
        let text = fs::read(confs::access_log(folder)).unwrap_or_default();
        text.iter().filter(|b| **b == b'\n').count() as u64
    }

    /// Asks it to end, then ends it. Nothing of it is left.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let pids = tree::pids(self.child.id());
        signal(self.child.id(), Signal::TERM);
        let start = Instant::now();
        let mut asked = Ok(());
        while self.is_alive() || pids.iter().any(|pid| tree::is_alive(*pid)) {
            if start.elapsed() > STOP_MAX {
                asked = Err("does not end when asked to".to_owned());
                pids.iter().filter(|pid| tree::is_alive(**pid)).for_each(|pid| signal(*pid, Signal::KILL));
                // Reaped here, or it would stay a zombie.
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(STEP);
        }
        asked
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.stop();
        }
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// Lines that say nothing about the workload: low levels, and the piece of configuration shown below a warning.
fn is_harmless(line: &str) -> bool {
    let shown = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    shown
        || ["[notice]", "[NOTICE]", "[warn]", "[info]", "Debug: ", "Info: ", "Child launched OK"]
            .iter()
            .any(|level| line.contains(level))
}

fn command(subject: &Subject, at: &Place<'_>) -> Result<Command> {
    let folder = at.folder;
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))
    };
    let mut command = dies_with_us(&subject.path);
    match subject.kind {
        Kind::Nginx => {
            write("nginx.conf", confs::nginx(at))?;
            if at.doors.iter().any(|(door, _)| matches!(door, Door::Check(_))) {
                confs::check_files().into_iter().try_for_each(|(name, text)| write(name, text))?;
            }
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command.arg("-e").arg(folder.join("error.log"));
        }
        Kind::Haproxy => {
            let (text, maps) = confs::haproxy(at);
            write("haproxy.cfg", text)?;
            maps.into_iter().try_for_each(|(name, text)| write(name, text))?;
            command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        }
        Kind::Varnish => {
            write("varnish.vcl", confs::varnish(at))?;
            command.args(confs::varnish_args(at));
        }
    }
    Ok(command)
}

/// A command whose process is ended with the benchmark, however that ends; where there is no setpriv, a plain one.
pub(crate) fn dies_with_us(path: &Path) -> Command {
    let has_setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].iter().any(|p| Path::new(p).exists());
    if !has_setpriv {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(path);
    command
}

/// A port of the loopback address that was free just now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
    Ok(listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port())
}
