//! Going into the background without fork: the program starts itself again and waits for it to report.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use foregate_core::Level;
use foregate_net::process::set_inheritable;
use foregate_net::sys::{errno_text, inherit};

use super::sockets::Inherited;
use crate::log::Log;

/// Names the descriptor on which the process in the background reports that it serves.
const REPORT: &str = "FOREGATE_REPORT";
/// The name under which the program was first called: what USR2 starts again.
const CALLED: &str = "FOREGATE_CALLED";
/// Our variables: not for programs we start.
pub(super) const PRIVATE: [&str; 2] = [REPORT, CALLED];

/// Whether this process is the one in the background.
pub(crate) fn is_daemon() -> bool {
    std::env::var_os(REPORT).is_some()
}

/// The name under which the program was called.
pub(super) fn called() -> std::ffi::OsString {
    let first = std::env::args_os().next();
    std::env::var_os(CALLED).or(first).unwrap_or_else(|| "foregate".into())
}

/// Starts the program again and waits until it serves or gives up; its errors are on stderr by then.
pub(crate) fn daemonise(inherited: &Inherited, log: &Log) -> ExitCode {
    match start(inherited) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let text = format_args!("cannot start the process in the background ({})", errno_text(&error));
            log.write(Level::Emerg, text);
            ExitCode::FAILURE
        }
    }
}

fn start(inherited: &Inherited) -> io::Result<bool> {
    let (mut report, writer) = io::pipe()?;
    set_inheritable(&writer, true)?;
    for held in inherited.sockets() {
        held.fds.iter().try_for_each(|fd| set_inheritable(fd, true))?;
    }
    let called = called();
    let mut title = std::ffi::OsString::from("foregate: master process ");
    title.push(&called);
    Command::new("/proc/self/exe")
        .arg0(title)
        .args(std::env::args_os().skip(1))
        .env(REPORT, writer.as_raw_fd().to_string())
        .env(CALLED, called)
        .spawn()?;
    drop(writer);
    serves(&mut report)
}

/// One byte: it serves. The end without it: it gave up.
fn serves(report: &mut PipeReader) -> io::Result<bool> {
    let mut byte = [0];
    loop {
        match report.read(&mut byte) {
            Ok(n) => return Ok(n == 1),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The background's end of the pipe.
#[derive(Debug, Default)]
pub(crate) struct Report(Option<PipeWriter>);

impl Report {
    /// Takes the end that was handed to this process, if it is the one in the background.
    pub(crate) fn take() -> Self {
        let number = std::env::var(REPORT).ok().and_then(|text| text.parse().ok());
        Self(number.and_then(|fd| inherit(fd).ok()).map(PipeWriter::from))
    }

    /// Lets the process in the foreground end well.
    pub(crate) fn serving(&mut self) {
        if let Some(mut writer) = self.0.take() {
            // It may have been killed meanwhile: that is its affair.
            _ = writer.write_all(&[1]);
        }
    }
}
