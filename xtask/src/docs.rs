//! `xtask docs`: writes docs/directives.md from the modules' tables.

use std::process::Command;
use std::{env, fs};

/// Where the reference stands, from the project's root.
const REFERENCE: &str = "docs/directives.md";

pub(crate) fn run(_args: Vec<String>) -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let printed = Command::new(cargo)
        .args(["run", "--quiet", "--package", "foregate-modules", "--example", "directives"])
        .output()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !printed.status.success() {
        return Err(String::from_utf8_lossy(&printed.stderr).into_owned());
    }
    fs::write(REFERENCE, printed.stdout).map_err(|error| format!("{REFERENCE}: {error}"))?;
    println!("wrote {REFERENCE}");
    Ok(())
}
