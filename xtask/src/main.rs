//! The project's own commands: `cargo xtask test`, `cargo xtask budgets`, `cargo xtask conformance`, `cargo xtask docs`,
//! `cargo xtask optimize`.

use std::process::ExitCode;

mod again;
mod budgets;
mod conformance;
mod docs;
mod optimize;
mod packages;
mod prove;
mod scratch;
mod suite;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--suite DIR]            everything that must be green: format, lints, tests, conformance
  budgets [--write]             what requests may cost, counted on a build close to a release; write new limits
  packages [--install]          Debian packages the tests use: which are missing, and install them
  conformance DIR [NAME...]     run nginx-tests found in DIR and compare with xtask/conformance.txt
      --jobs N                  files run at a time (default: twice the cores)
      --binary FILE             the server to test (default: FOREGATE_BIN, or a fresh debug build)
      --listed                  only the files named in xtask/conformance.txt
      --write                   add what newly passes to xtask/conformance.txt
      --passes FILE             write the names of all files that passed to FILE
  optimize                      build target/optimized/foregate: a release that a run under load has shown what is hot
  docs                          write docs/directives.md from the modules' tables
";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    }
    let command = args.remove(0);
    let done = match command.as_str() {
        "test" => suite::run(args),
        "budgets" => budgets::run(args),
        "packages" => packages::run(args),
        "conformance" => conformance::run(args),
        "docs" => docs::run(args),
        "optimize" => optimize::run(args),
        _ => Err(format!("unknown command {command:?}\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs cargo in the workspace.
fn cargo(args: &[&str], env: &[(&str, std::ffi::OsString)]) -> Result<(), String> {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).envs(env.iter().cloned()).current_dir(workspace());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("cargo {} failed", args.join(" "))),
        Err(why) => Err(format!("cargo: {why}")),
    }
}

/// The folder of the workspace's Cargo.toml.
fn workspace() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("because xtask is a folder of the workspace").to_path_buf()
}
