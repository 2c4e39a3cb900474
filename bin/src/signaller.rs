//! `-s`: tells the running master what to do, by the signal that nginx gives each word.

use std::path::Path;
use std::process::ExitCode;

use foregate_core::Level;
use foregate_net::process::kill;
use foregate_net::signals::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1};
use foregate_net::sys::errno_text;

use crate::log::Log;
use crate::options::Command;
use crate::pid_file;

pub(crate) fn run(command: Command, pid_path: &Path, log: &Log) -> ExitCode {
    log.write(Level::Notice, "signal process started");
    let pid = match pid_file::read(pid_path) {
        Ok(pid) => pid,
        Err(text) => {
            log.write(Level::Error, text);
            return ExitCode::FAILURE;
        }
    };
    let signal = signal_of(command);
    match kill(pid, signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.write(Level::Alert, format_args!("kill({pid}, {signal}) failed ({})", errno_text(&error)));
            ExitCode::FAILURE
        }
    }
}

fn signal_of(command: Command) -> i32 {
    match command {
        Command::Stop => SIGTERM,
        Command::Quit => SIGQUIT,
        Command::Reopen => SIGUSR1,
        Command::Reload => SIGHUP,
    }
}
