//! USR2: a new binary takes over the listening sockets while the old one still serves.

use std::fmt::Write;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;

use foregate_core::Level;
use foregate_net::process::set_inheritable;
use foregate_net::sys::errno_text;

use super::daemon;
use super::generation::Generation;
use crate::log::Log;
use crate::pid_file;

/// Starts the program by the name it was called with, after making room for its pid file. `None`: it did not start.
pub(super) fn start(generation: &Generation, log: &Log) -> Option<u32> {
    let called = daemon::called();
    let pid_path = &generation.main.pid;
    let (from, to) = (pid_path.display(), pid_file::old(pid_path));
    if let Err(error) = pid_file::put_aside(pid_path) {
        let when = format!("before executing new binary process \"{}\"", called.display());
        let text = format_args!("rename() {from} to {} failed {when} ({})", to.display(), errno_text(&error));
        log.write(Level::Alert, text);
        return None;
    }
    match spawn(generation, &called) {
        Ok(pid) => Some(pid),
        Err(error) => {
            let text =
                format_args!("execve() failed while executing new binary process \"{}\"", called.display());
            log.write(Level::Alert, format_args!("{text} ({})", errno_text(&error)));
            take_back(generation, log, "an attempt to execute new binary process");
            None
        }
    }
}

/// The new binary is gone: the pid file is ours again.
pub(super) fn take_back(generation: &Generation, log: &Log, after: &str) {
    let path = &generation.main.pid;
    if let Err(error) = pid_file::take_back(path) {
        let (old, called) = (pid_file::old(path), daemon::called());
        let (old, path) = (old.display(), path.display());
        let text =
            format_args!("rename() {old} back to {path} failed after {after} \"{}\"", called.display());
        log.write(Level::Alert, format_args!("{text} ({})", errno_text(&error)));
    }
}

fn spawn(generation: &Generation, called: &std::ffi::OsStr) -> io::Result<u32> {
    let fds = || generation.sockets.iter().flat_map(|held| &held.fds);
    let mut list = String::new();
    for fd in fds() {
        // Writing to a string cannot fail.
        _ = write!(list, "{};", fd.as_raw_fd());
        set_inheritable(fd, true)?;
    }
    let mut command = Command::new(called);
    command.args(std::env::args_os().skip(1)).env("NGINX", list);
    for private in daemon::PRIVATE.iter().chain(&["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]) {
        command.env_remove(private);
    }
    let started = command.spawn();
    for fd in fds() {
        set_inheritable(fd, false)?;
    }
    Ok(started?.id())
}
