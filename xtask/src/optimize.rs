//! `xtask optimize`: a release built with what the compiler has learned from a run under load.
//!
//! Profile-guided: an instrumented server counts how often each branch is taken while the benchmark's workloads run,
//! and the release is built once more with those counts, which places what is hot together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, workspace};

/// Builds `target/optimized/foregate`.
pub(crate) fn run(args: Vec<String>) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask optimize".to_owned());
    }
    let host = rustc(&["-vV"])?.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    let host = host.ok_or("rustc -vV names no host")?;
    let merger = llvm_profdata(&host)?;
    let folder = workspace().join("target/optimized");
    let counts = folder.join("counts");
    // What an older build has counted means nothing to this one.
    _ = std::fs::remove_dir_all(&counts);
    std::fs::create_dir_all(&counts).map_err(|why| format!("{}: {why}", counts.display()))?;

    let mut generate = OsString::from("-Cprofile-generate=");
    generate.push(&counts);
    let counting = build(&host, &folder.join("counting"), &generate)?;
    train(&counting, &folder.join("training"))?;
    let merged = folder.join("merged.profdata");
    let done = Command::new(&merger).args(["merge", "-o"]).arg(&merged).arg(&counts).status();
    if !done.is_ok_and(|it| it.success()) {
        return Err(format!("{} failed", merger.display()));
    }
    let mut used = OsString::from("-Cprofile-use=");
    used.push(&merged);
    let binary = build(&host, &folder.join("build"), &used)?;
    let place = folder.join("foregate");
    std::fs::copy(&binary, &place).map_err(|why| format!("{}: {why}", place.display()))?;
    println!("{}", place.display());
    Ok(())
}

/// Part of the toolchain, but not of every installation.
fn llvm_profdata(host: &str) -> Result<PathBuf, String> {
    let root = rustc(&["--print", "sysroot"])?;
    let path = Path::new(root.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    match path.exists() {
        true => Ok(path),
        false => Err("llvm-profdata is missing: rustup component add llvm-tools".to_owned()),
    }
}

fn rustc(args: &[&str]) -> Result<String, String> {
    let output =
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).args(args).output();
    let output = output.map_err(|why| format!("rustc: {why}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A release with these flags. With a target named they do not reach build scripts.
fn build(host: &str, target_dir: &Path, flags: &OsString) -> Result<PathBuf, String> {
    let dir = target_dir.to_string_lossy();
    let args = ["build", "--release", "--package", "foregate", "--target", host, "--target-dir", &dir];
    cargo(&args, &[("RUSTFLAGS", flags.clone())])?;
    Ok(target_dir.join(host).join("release/foregate"))
}

/// All workloads once: unconfined and without a master, so that the counts can be written at the end.
fn train(counting: &Path, report: &Path) -> Result<(), String> {
    let (counting, report) = (counting.to_string_lossy(), report.to_string_lossy());
    let run = ["run", "--release", "--package", "foregate-bench", "--", "--rounds", "1", "--burst", "500"];
    let alone = ["--no-nginx", "--no-haproxy", "--no-varnish", "--no-master", "--idle", "100"];
    cargo(&[&run[..], &alone, &["--foregate", &counting, "--out", &report]].concat(), &[])
}
