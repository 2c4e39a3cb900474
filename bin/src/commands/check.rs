//! `foregate check`: is this configuration right, and if not, where and what to write instead.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use foregate_conf::{Error, Level, OsFiles, Source, render};
use foregate_net::process::is_superuser;
use foregate_server::{Setup, load};

use super::{Arg, Args, unknown};
use crate::built;

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let mut file = None;
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Plain(path) if file.is_none() => file = Some(path),
            other => return Err(unknown(&other)),
        }
    }
    let file = file.unwrap_or_else(|| built::CONF_PATH.into());
    let conf = std::path::absolute(&file).map_err(|e| format!("{file}: {e}"))?;
    Ok(check(&setup(conf)))
}

/// Loads the file and opens nothing: no port, no log, no pid file, so it may be run by anybody at any time.
fn check(setup: &Setup) -> ExitCode {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let name = setup.conf.display();
    match load(setup, &OsFiles, None) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|error| show(error, &loaded.sources, colour));
            let n = loaded.warnings.len();
            match n {
                0 => eprintln!("{name} is right."),
                1 => eprintln!("{name} can be used; there is 1 warning."),
                _ => eprintln!("{name} can be used; there are {n} warnings."),
            }
            ExitCode::SUCCESS
        }
        Err(failed) => {
            failed.warnings.iter().for_each(|error| show(error, &failed.sources, colour));
            show(&failed.error, &failed.sources, colour);
            ExitCode::FAILURE
        }
    }
}

fn show(error: &Error, sources: &[Source], colour: bool) {
    let (paint, plain) = match (colour, error.level) {
        (false, _) => ("", ""),
        (true, Level::Warn) => ("\x1b[1;33m", "\x1b[0m"),
        (true, _) => ("\x1b[1;31m", "\x1b[0m"),
    };
    let what = if error.level == Level::Warn { "warning" } else { "error" };
    eprintln!("{paint}{what}:{plain} {}", render(error, sources, colour));
}

fn setup(conf: PathBuf) -> Setup {
    Setup {
        conf,
        prefix: PathBuf::from(built::PREFIX),
        error_log: Path::new(built::ERROR_LOG_PATH).into(),
        globals: Vec::new(),
        pid: PathBuf::from(built::PID_PATH),
        privileged: is_superuser(),
    }
}
