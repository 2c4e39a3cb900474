//! `xtask test`: everything that must be green, in the order that fails soonest; one command for people and for CI.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{again, conformance, packages};

/// Runs all steps, each even when one before it failed, and names those that failed.
pub(crate) fn run(args: Vec<String>) -> Result<(), String> {
    let nginx_tests = find_suite(args)?;
    packages::provide();
    let mut failed = Vec::new();
    let mut step = |name: &'static str, ok: bool| {
        if !ok {
            failed.push(name);
        }
    };
    if subcommand("fmt") {
        step("format", cargo(&["fmt", "--all", "--check"]));
    } else {
        println!("format: not run (cargo fmt is not installed)");
    }
    if subcommand("clippy") {
        step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    } else {
        println!("lints: not run (cargo clippy is not installed)");
    }
    if subcommand("deny") {
        step(
            "licences and advisories",
            cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]),
        );
    } else {
        println!("licences and advisories: not run (cargo deny is not installed)");
    }
    if let Ok(only) = std::env::var("FOREGATE_SUBJECT") {
        println!("end to end: on {only} only, because FOREGATE_SUBJECT says so");
    }
    match conformance::build() {
        Ok(binary) => {
            step(
                "tests",
                again::tests(command(&["test", "--workspace", "--no-fail-fast"], Some(&binary), &[])),
            );
            step("tests on io_uring", on_io_uring(&binary));
        }
        Err(why) => {
            eprintln!("{why}");
            step("build, and so all tests", false);
        }
    }
    match nginx_tests {
        Some(dir) => step("conformance", conform(dir)),
        None => println!(
            "conformance: not run ({} files listed; name the folder of nginx-tests with --suite DIR or {})",
            conformance::listed()?,
            conformance::SUITE_ENV
        ),
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", failed.join(", "))),
    }
}

/// `--suite DIR`, or the environment's folder, or none.
fn find_suite(args: Vec<String>) -> Result<Option<PathBuf>, String> {
    let mut args = args.into_iter();
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, _, _) => Ok(std::env::var_os(conformance::SUITE_ENV).map(PathBuf::from)),
        (Some("--suite"), Some(dir), None) => Ok(Some(PathBuf::from(dir))),
        _ => Err("usage: cargo xtask test [--suite DIR]".to_owned()),
    }
}

fn conform(dir: PathBuf) -> bool {
    let dir = dir.to_string_lossy().into_owned();
    let done = conformance::run(vec![dir, "--listed".to_owned()]);
    if let Err(why) = &done {
        eprintln!("conformance: {why}");
    }
    done.is_ok()
}

/// Once more what concerns sockets, with the other driver. Where the kernel has none for us, it is epoll again.
fn on_io_uring(binary: &Path) -> bool {
    let packages = ["test", "-p", "foregate-net", "-p", "foregate-tests", "--no-fail-fast"];
    let env = [("FOREGATE_TEST_EVENTS", "io_uring"), ("FOREGATE_SUBJECT", "foregate")];
    again::tests(command(&packages, Some(binary), &env))
}

fn cargo(args: &[&str]) -> bool {
    command(args, None, &[]).status().is_ok_and(|s| s.success())
}

/// Names what is run and makes the command; tests get the binary named, so that each test program need not ask cargo
/// whether it is fresh.
fn command(args: &[&str], binary: Option<&Path>, env: &[(&str, &str)]) -> Command {
    println!("\n== cargo {}", args.join(" "));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(crate::workspace()).envs(env.iter().copied());
    if let Some(binary) = binary {
        command.env("FOREGATE_BIN", binary);
    }
    command
}

fn subcommand(name: &str) -> bool {
    let mut command = Command::new("cargo");
    command.args([name, "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}
