//! The program: nginx's command line, the master process, and a few commands for those without an nginx.conf.

mod built;
mod commands;
mod log;
mod master;
mod notify;
mod options;
mod pid_file;
mod signaller;
mod single;
mod start;

use std::ffi::OsString;
use std::process::ExitCode;

use foregate_server::{porter, worker};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if worker::is_wanted() {
        return worker::main();
    }
    if porter::is_wanted() {
        return porter::main();
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = commands::run(&args) {
        return code;
    }
    match options::Options::parse(args) {
        Ok(options) => start::run(options),
        Err(mistake) => {
            log::stderr(mistake);
            ExitCode::FAILURE
        }
    }
}
