//! `master_process off` and the commands without an nginx.conf: one process that reads its signals and serves.

use std::os::fd::AsFd;
use std::process::ExitCode;

use foregate_conf::{Files, OsFiles, Recording};
use foregate_core::Level;
use foregate_net::process::{set_name, wait_readable};
use foregate_net::signals::{
    self, Received, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals,
};
use foregate_net::sys::errno_text;
use foregate_server::worker::Worker;

use crate::log::Log;
use crate::master::{self, Draft, Generation, Inherited, Report, files, sockets};
use crate::{notify, pid_file, start};

/// A process that is master and worker at once.
struct Single<'a> {
    generation: Generation,
    worker: Worker,
    signals: Signals,
    log: Log,
    files: &'a dyn Files,
    /// Without one the process serves somebody at a terminal: nothing else may signal it.
    has_pid_file: bool,
}

/// Runs a configuration of the file system.
pub(crate) fn run(draft: Draft, inherited: Inherited, mut log: Log) -> ExitCode {
    let begun = master::begin(draft, &inherited, &mut log, true);
    let served =
        begun.and_then(|(generation, signals)| serve(generation, signals, log.clone(), &OsFiles, true));
    finish(served, &log)
}

/// Runs a configuration that a command has written; no pid file, and Ctrl-C ends it.
pub(crate) fn run_command(draft: Draft, mut log: Log, files: &dyn Files) -> ExitCode {
    let begun = master::begin(draft, &Inherited::default(), &mut log, false);
    let served =
        begun.and_then(|(generation, signals)| serve(generation, signals, log.clone(), files, false));
    finish(served, &log)
}

fn finish(served: Result<ExitCode, String>, log: &Log) -> ExitCode {
    served.unwrap_or_else(|text| {
        log.write(Level::Emerg, text);
        ExitCode::FAILURE
    })
}

fn serve(
    generation: Generation,
    signals: Signals,
    mut log: Log,
    files: &dyn Files,
    has_pid_file: bool,
) -> Result<ExitCode, String> {
    set_name(c"foregate");
    let bundle = generation.bundle().map_err(|error| format!("dup() failed ({})", errno_text(&error)))?;
    let worker = Worker::start(bundle, false)?;
    if has_pid_file {
        files::follow_stderr(&generation.main);
    }
    log.stop_echo();
    Report::take().serving();
    notify::ready();
    let mut single = Single { generation, worker, signals, log, files, has_pid_file };
    Ok(single.run())
}

impl Single<'_> {
    fn run(&mut self) -> ExitCode {
        let code = loop {
            if let Some(code) = self.worker.ended() {
                break code;
            }
            let fds = [Some(self.signals.as_fd()), Some(self.worker.done())];
            let Ok([_, done]) = wait_readable(fds, self.worker.due_in()) else { continue };
            if done {
                self.worker.take_done();
            }
            while let Ok(Some(received)) = self.signals.next() {
                self.signal(received);
            }
        };
        self.end();
        code
    }

    fn signal(&mut self, received: Received) {
        let Received { signal, from } = received;
        let action = match signal {
            SIGTERM | SIGINT => ", exiting",
            SIGQUIT => ", shutting down",
            SIGHUP => ", reconfiguring",
            SIGUSR1 => ", reopening logs",
            SIGUSR2 | SIGWINCH => ", ignoring",
            _ => "",
        };
        let by = from.map_or_else(String::new, |pid| format!(" from {pid}"));
        let name = signals::name(signal);
        self.log.write(Level::Notice, format_args!("signal {signal} ({name}) received{by}{action}"));
        match signal {
            SIGTERM | SIGINT => self.worker.stop(),
            SIGQUIT => self.worker.quit(),
            SIGHUP => self.reload(),
            SIGUSR1 => self.reopen(),
            // As process 1 of a container it inherits children it never had.
            SIGCHLD => while let Ok(Some(_)) = foregate_net::process::reap() {},
            _ => {}
        }
    }

    fn reopen(&mut self) {
        files::reopen_logs(&self.generation.logs, &self.log);
        self.worker.reopen(Vec::new());
    }

    fn reload(&mut self) {
        self.log.write(Level::Notice, "reconfiguring");
        notify::reloading();
        if let Err(Some(text)) = self.try_reload() {
            self.log.write(Level::Emerg, text);
        }
        notify::ready();
    }

    /// The error is `None` where everything has been said already.
    fn try_reload(&mut self) -> Result<(), Option<String>> {
        let setup = self.generation.setup.clone();
        let recording = Recording::new(self.files);
        let loaded = start::load_and_complain(&setup, &recording, &self.log).ok_or(None)?;
        let draft = Generation::draft(setup, loaded.cycle, recording.into_replay());
        let generation = draft.open(&self.generation.sockets, &self.log)?;
        let bundle = generation.bundle().map_err(|error| format!("dup() failed ({})", errno_text(&error)))?;
        self.worker.load(bundle)?;
        let old = std::mem::replace(&mut self.generation, generation);
        sockets::remove_files(old.sockets_beyond(&self.generation));
        self.log.follow(self.generation.main.error_log.clone());
        self.log.write(Level::Notice, "serving the new configuration");
        Ok(())
    }

    fn end(&mut self) {
        notify::stopping();
        sockets::remove_files(self.generation.sockets.iter());
        if self.has_pid_file
            && let Err(text) = pid_file::remove(&self.generation.main.pid)
        {
            self.log.write(Level::Alert, text);
        }
        self.log.write(Level::Notice, "exit");
    }
}
