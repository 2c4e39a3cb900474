//! The master: one plain loop over signals and the worker's answers. It never serves a request.

mod child;
mod daemon;
pub(crate) mod files;
mod generation;
mod reload;
pub(crate) mod sockets;
mod upgrade;
mod watch;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use foregate_conf::OsFiles;
use foregate_core::Level;
use foregate_net::process::{Ended, kill, parent, reap, set_name, wait_readable};
use foregate_net::signals::{
    self, Received, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals,
};
use foregate_net::sys::errno_text;
use foregate_server::bundle::Answer;

use self::child::{Child, Stage};
pub(crate) use self::daemon::{Report, daemonise, is_daemon};
pub(crate) use self::generation::{Draft, Generation, user};
pub(crate) use self::sockets::Inherited;
use crate::log::Log;
use crate::{built, notify, pid_file};

/// The signals that a master reads.
pub(crate) const SIGNALS: [i32; 8] = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// How long a worker that was told to stop may take before it is killed: nginx's second.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A worker that ended before it served is followed by the next after a pause, each longer than the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The state between two signals.
struct Master {
    generation: Generation,
    log: Log,
    signals: Signals,
    report: Report,
    /// Every worker that lives; at most one of them is not leaving, unless it is being replaced.
    workers: Vec<Child>,
    /// The processes that open files for workers, also for those that have just ended.
    porters: Vec<u32>,
    /// The configuration that a worker is about to take over.
    pending: Option<reload::Pending>,
    /// HUP came while another was under way.
    reload_again: bool,
    /// Whether a worker has ever served: before that a failure is the end.
    has_served: bool,
    /// When to start a worker in the place of one that died, and the pause before the next such try.
    respawn_at: Option<Instant>,
    pause: Duration,
    going: Going,
    /// WINCH: the master stays without a worker.
    not_accepting: bool,
    /// The process of the binary that takes over.
    new_binary: Option<u32>,
    /// Whether this is a binary that takes over, and from whom.
    successor_of: Option<u32>,
    in_background: bool,
}

/// Whether the end has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    No,
    /// QUIT: when the workers have finished.
    Gracefully,
    /// TERM, INT: at once; who has not ended by then is killed.
    Fast {
        kill_at: Instant,
    },
}

/// Runs the master until its last worker is gone.
pub(crate) fn run(draft: Draft, inherited: Inherited, mut log: Log) -> ExitCode {
    set_name(c"foregate");
    match begin(draft, &inherited, &mut log, true) {
        Ok((generation, signals)) => {
            let mut master = Master::new(generation, signals, inherited.is_from_binary(), log);
            drop(inherited);
            master.run()
        }
        Err(text) => {
            log.write(Level::Emerg, text);
            ExitCode::FAILURE
        }
    }
}

/// What master and single process do alike: opens everything, blocks the signals, writes the pid file.
///
/// Without a pid file the process serves somebody at a terminal.
pub(crate) fn begin(
    draft: Draft,
    inherited: &Inherited,
    log: &mut Log,
    has_pid_file: bool,
) -> Result<(Generation, Signals), String> {
    let generation = draft.open(inherited.sockets(), log)?;
    log.follow(generation.main.error_log.clone());
    log.write(Level::Notice, format_args!("foregate/{}", built::VERSION));
    // Before anyone can read our pid and send us one.
    let signals =
        Signals::block(&SIGNALS).map_err(|error| format!("signalfd() failed ({})", errno_text(&error)))?;
    if is_daemon() {
        let detached =
            foregate_net::process::new_session().and_then(|()| foregate_net::process::detach_stdio());
        detached.map_err(|error| format!("setsid() failed ({})", errno_text(&error)))?;
    }
    if has_pid_file {
        pid_file::create(&generation.main.pid)?;
    }
    Ok((generation, signals))
}

impl Master {
    fn new(generation: Generation, signals: Signals, from_binary: bool, log: Log) -> Self {
        Self {
            generation,
            log,
            signals,
            report: Report::take(),
            workers: Vec::new(),
            porters: Vec::new(),
            pending: None,
            reload_again: false,
            has_served: false,
            respawn_at: None,
            pause: Duration::ZERO,
            going: Going::No,
            not_accepting: false,
            new_binary: None,
            successor_of: if from_binary { parent() } else { None },
            in_background: from_binary || is_daemon(),
        }
    }

    fn run(&mut self) -> ExitCode {
        self.start_worker();
        while !self.is_over() {
            self.wait();
        }
        let code =
            if self.has_served || self.going != Going::No { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        self.end();
        code
    }

    /// One turn: waits for a signal, an answer or the next thing due, and deals with it.
    fn wait(&mut self) {
        // At most two workers are spoken with: the one that serves and the one that replaces it.
        let speakers: Vec<usize> =
            (0..self.workers.len()).filter(|at| self.workers[*at].counts()).take(2).collect();
        let fd = |nth: usize| speakers.get(nth).map(|at| self.workers[*at].channel.as_fd());
        let ready = match wait_readable([Some(self.signals.as_fd()), fd(0), fd(1)], self.due_in()) {
            Ok(ready) => ready,
            Err(error) => {
                self.log.write(Level::Alert, format_args!("poll() failed ({})", errno_text(&error)));
                std::thread::sleep(PAUSE_FIRST);
                return;
            }
        };
        let pids: Vec<u32> = speakers.iter().map(|at| self.workers[*at].pid).collect();
        for (pid, _) in pids.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            self.hear(*pid);
        }
        while let Ok(Some(received)) = self.signals.next() {
            self.signal(received);
        }
        self.do_what_is_due();
    }

    fn due_in(&self) -> Option<Duration> {
        let kill_at = match self.going {
            Going::Fast { kill_at } => Some(kill_at),
            _ => None,
        };
        let look_at = self.generation.watch.due_at().filter(|_| self.may_reload());
        let due = [self.respawn_at, kill_at, look_at].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        if let Going::Fast { kill_at } = self.going
            && kill_at <= now
        {
            for child in &self.workers {
                // It may have ended since; the signal of that is on its way.
                _ = kill(child.pid, SIGKILL);
            }
            self.going = Going::Fast { kill_at: now + STOP_PATIENCE };
        }
        if self.respawn_at.is_some_and(|at| at <= now) {
            self.respawn_at = None;
            self.start_worker();
        }
        if self.generation.watch.due_at().is_some_and(|at| at <= now) && self.may_reload() {
            self.look_at_certificates();
        }
    }

    /// Nothing else is under way.
    fn may_reload(&self) -> bool {
        let is_serving = self.workers.iter().any(|child| child.stage == Stage::Serving);
        is_serving && self.going == Going::No && self.pending.is_none() && self.new_binary.is_none()
    }

    fn signal(&mut self, received: Received) {
        let signal = received.signal;
        let action = self.action(signal);
        let name = signals::name(signal);
        match received.from {
            Some(pid) => {
                let text = format_args!("signal {signal} ({name}) received from {pid}{action}");
                self.log.write(Level::Notice, text);
            }
            None => self.log.write(Level::Notice, format_args!("signal {signal} ({name}) received{action}")),
        }
        match signal {
            SIGCHLD => self.reap(),
            SIGTERM | SIGINT => self.terminate(),
            SIGQUIT => self.quit(),
            SIGHUP => self.reload(),
            SIGUSR1 => self.reopen(),
            SIGUSR2 => self.upgrade(),
            SIGWINCH if self.in_background => self.stop_accepting(),
            _ => {}
        }
    }

    /// What nginx's log says will be done about a signal.
    fn action(&self, signal: i32) -> &'static str {
        match signal {
            SIGTERM | SIGINT => ", exiting",
            SIGQUIT => ", shutting down",
            SIGHUP => ", reconfiguring",
            SIGUSR1 => ", reopening logs",
            SIGUSR2 if self.ignores_upgrade() => ", ignoring",
            SIGUSR2 => ", changing binary",
            SIGWINCH if self.in_background => ", stop accepting connections",
            _ => "",
        }
    }

    fn terminate(&mut self) {
        notify::stopping();
        self.going = Going::Fast { kill_at: Instant::now() + STOP_PATIENCE };
        self.respawn_at = None;
        self.workers.iter_mut().for_each(Child::stop);
    }

    fn quit(&mut self) {
        if self.going == Going::No {
            notify::stopping();
            self.going = Going::Gracefully;
            self.respawn_at = None;
            self.dismiss_all();
            // Who tries to connect now must not wait in a queue that nobody will serve.
            sockets::remove_files(self.own_files());
            self.generation.sockets.clear();
        }
    }

    fn stop_accepting(&mut self) {
        self.not_accepting = true;
        self.respawn_at = None;
        self.dismiss_all();
    }

    /// Lets every worker finish and go.
    fn dismiss_all(&mut self) {
        self.workers.iter_mut().filter(|child| child.stage != Stage::Leaving).for_each(Child::quit);
    }

    fn reopen(&mut self) {
        self.log.write(Level::Notice, "reopening logs");
        files::reopen_logs(&self.generation.logs, &self.log);
        if self.has_served {
            files::follow_stderr(&self.generation.main);
        }
        for child in &self.workers {
            if let Err(error) = child.reopen(&self.generation) {
                let text = format_args!("worker process {} cannot be told to reopen its logs", child.pid);
                self.log.write(Level::Alert, format_args!("{text} ({})", errno_text(&error)));
            }
        }
    }

    fn ignores_upgrade(&self) -> bool {
        self.new_binary.is_some() || (self.successor_of.is_some() && self.successor_of == parent())
    }

    fn upgrade(&mut self) {
        if self.ignores_upgrade() {
            let text = "the changing binary signal is ignored: you should shutdown or terminate \
                        before either old or new binary's process";
            self.log.write(Level::Crit, text);
            return;
        }
        self.log.write(Level::Notice, "changing binary");
        self.new_binary = upgrade::start(&self.generation, &self.log);
        if let Some(pid) = self.new_binary {
            self.log.write(Level::Notice, format_args!("start new binary process {pid}"));
        }
    }

    /// Starts a worker with the present configuration.
    fn start_worker(&mut self) {
        self.log.write(Level::Notice, "start worker processes");
        match Child::start(&self.generation) {
            Ok(child) => {
                self.log.write(Level::Notice, format_args!("start worker process {}", child.pid));
                self.adopt(child);
            }
            Err(error) => {
                let text = format_args!("could not start the worker process ({})", errno_text(&error));
                self.log.write(Level::Alert, text);
                self.try_again_later();
            }
        }
    }

    fn adopt(&mut self, child: Child) {
        self.porters.extend(child.porter.as_ref().map(|it| it.pid));
        self.workers.push(child);
    }

    fn try_again_later(&mut self) {
        if self.has_served && self.going == Going::No && !self.not_accepting {
            self.respawn_at = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
        }
    }

    /// A worker has something to say.
    fn hear(&mut self, pid: u32) {
        let Some(child) = self.workers.iter_mut().find(|child| child.pid == pid) else { return };
        match child.answer() {
            Ok(Some(Answer::Ready)) => {
                child.stage = Stage::Serving;
                child.has_served = true;
                self.serving(pid);
            }
            Ok(Some(Answer::Refused(why))) => self.refused(pid, &why),
            Ok(None) | Err(_) => child.is_mute(),
        }
    }

    /// A worker serves: the one just started, or one with its new configuration.
    fn serving(&mut self, pid: u32) {
        self.commit(pid);
        if !self.has_served {
            self.has_served = true;
            files::follow_stderr(&self.generation.main);
            self.log.stop_echo();
            self.report.serving();
        }
        self.replace_bereft();
        if self.pending.is_none() {
            notify::ready();
        }
        if std::mem::take(&mut self.reload_again) {
            self.reload();
        }
    }

    fn refused(&mut self, pid: u32, why: &str) {
        self.log
            .write(Level::Emerg, format_args!("worker process {pid} cannot use the configuration: {why}"));
        self.give_up_pending(pid);
        self.replace_bereft();
    }

    /// A porter has ended: with its worker, as it should, or before it, which then gets a successor.
    fn porter_ended(&mut self, pid: u32, ended: Ended) {
        self.porters.retain(|it| *it != pid);
        let bereft = self
            .workers
            .iter_mut()
            .find(|it| it.counts() && it.porter.as_ref().is_some_and(|it| it.pid == pid));
        let Some(child) = bereft.filter(|_| ended != Ended::Code(0)) else { return };
        child.porter = None;
        // One that never served might have the next one fail in the same way, and so on without end.
        child.is_bereft = child.has_served;
        self.log.write(Level::Alert, format_args!("porter process {pid} has ended unexpectedly"));
        self.replace_bereft();
    }

    /// A worker without its porter cannot reach all that it needs: another takes its place, once nothing else is under
    /// way.
    fn replace_bereft(&mut self) {
        if self.going != Going::No || self.pending.is_some() {
            return;
        }
        let bereft = self.workers.iter_mut().find(|it| it.is_bereft && it.stage == Stage::Serving);
        if let Some(child) = bereft {
            child.quit();
            self.start_worker();
        }
    }

    /// Some children have ended.
    fn reap(&mut self) {
        loop {
            match reap() {
                Ok(Some((pid, ended))) => self.ended(pid, ended),
                Ok(None) => return,
                Err(error) => {
                    self.log.write(Level::Alert, format_args!("waitpid() failed ({})", errno_text(&error)));
                    return;
                }
            }
        }
    }

    fn ended(&mut self, pid: u32, ended: Ended) {
        if self.porters.contains(&pid) {
            return self.porter_ended(pid, ended);
        }
        let worker = self.workers.iter().position(|child| child.pid == pid);
        let what = match worker {
            Some(_) => "worker process",
            None if self.new_binary == Some(pid) => "new binary process",
            None => "unknown process",
        };
        match ended {
            Ended::Signal(signal, core) => {
                let core = if core { " (core dumped)" } else { "" };
                self.log.write(Level::Alert, format_args!("{what} {pid} exited on signal {signal}{core}"));
            }
            Ended::Code(code) => {
                self.log.write(Level::Notice, format_args!("{what} {pid} exited with code {code}"));
            }
        }
        if let Some(at) = worker {
            let child = self.workers.swap_remove(at);
            self.worker_ended(&child);
        } else if self.new_binary == Some(pid) {
            self.new_binary = None;
            upgrade::take_back(&self.generation, &self.log, "the new binary process");
            if std::mem::take(&mut self.not_accepting) && self.going == Going::No {
                self.start_worker();
            }
        }
    }

    /// Starts another in its place, unless it was meant to go.
    fn worker_ended(&mut self, child: &Child) {
        self.give_up_pending(child.pid);
        let replaced = self.workers.iter().any(Child::counts);
        if child.stage == Stage::Leaving || replaced || self.going != Going::No || !self.has_served {
            return;
        }
        if child.has_served {
            self.pause = Duration::ZERO;
            self.start_worker();
        } else {
            self.try_again_later();
        }
    }

    fn is_over(&self) -> bool {
        let nobody = self.workers.is_empty();
        nobody && (self.going != Going::No || !self.has_served)
    }

    /// The last words: the pid file goes, and what a Unix socket leaves.
    fn end(&mut self) {
        let pid = &self.generation.main.pid;
        let name = if self.new_binary.is_some() { pid_file::old(pid) } else { pid.clone() };
        if let Err(text) = pid_file::remove(&name) {
            self.log.write(Level::Alert, text);
        }
        sockets::remove_files(self.own_files());
        self.log.write(Level::Notice, "exit");
    }

    /// The sockets whose files are ours to remove: nobody took them over, and nobody still has them.
    fn own_files(&self) -> impl Iterator<Item = &sockets::Held> {
        let shared =
            self.new_binary.is_some() || (self.successor_of.is_some() && self.successor_of == parent());
        self.generation.sockets.iter().filter(move |_| !shared)
    }
}
