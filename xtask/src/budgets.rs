//! `xtask budgets`: the budget tests on a build close to a release, and new limits for both kinds of build.

use crate::{cargo, packages};

/// Judges the profile `quick` by its limits; `--write` makes what is counted now the limits of both builds.
pub(crate) fn run(args: Vec<String>) -> Result<(), String> {
    let write = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--write"] => true,
        _ => return Err("usage: cargo xtask budgets [--write]".to_owned()),
    };
    packages::provide();
    if write {
        test("dev", "debug", true)?;
    }
    test("quick", "quick", write)
}

/// Builds the server in this profile, and runs the tests built the same way on it.
fn test(profile: &str, folder: &str, write: bool) -> Result<(), String> {
    cargo(&["build", "--profile", profile, "--package", "foregate"], &[])?;
    let binary = crate::workspace().join("target").join(folder).join("foregate");
    let mut env = vec![("FOREGATE_BIN", binary.into_os_string())];
    if write {
        env.push(("FOREGATE_BUDGETS_WRITE", "1".into()));
    }
    cargo(
        &[
            "test",
            "--profile",
            profile,
            "--package",
            "foregate-tests",
            "--test",
            "budgets",
            "--",
            "--nocapture",
        ],
        &env,
    )
}
