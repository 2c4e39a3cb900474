//! `foregate fmt`: configuration files in the usual layout. Comments stay, meaning never changes.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use foregate_conf::{Source, format, render};

use super::{Arg, Args, unknown};

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let (mut files, mut check) = (Vec::new(), false);
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) if name == "check" => check = true,
            Arg::Plain(path) => files.push(PathBuf::from(path)),
            other => return Err(unknown(&other)),
        }
    }
    if files.is_empty() {
        return stdin_to_stdout(check);
    }
    let mut all_well = true;
    for file in &files {
        all_well &= one_file(file, check)?;
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Without a file: a filter, as editors like it.
fn stdin_to_stdout(check: bool) -> Result<ExitCode, String> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).map_err(|e| format!("stdin: {e}"))?;
    let Some(formatted) = formatted(Path::new("stdin"), &text) else { return Ok(ExitCode::FAILURE) };
    if check {
        return Ok(if formatted == text { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    io::stdout().write_all(&formatted).map_err(|e| format!("stdout: {e}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Formats a file in place, or says whether it would change. `false`: it would, or cannot be read as nginx would.
fn one_file(file: &Path, check: bool) -> Result<bool, String> {
    let text = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let Some(formatted) = formatted(file, &text) else { return Ok(false) };
    if formatted == text {
        return Ok(true);
    }
    if check {
        println!("{}", file.display());
        return Ok(false);
    }
    replace(file, &formatted).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(true)
}

/// Writes beside the file and renames: a reload in between sees the old text or the new, never half of one.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(file)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".foregate-fmt");
    let beside = target.with_file_name(name);
    fs::write(&beside, text)?;
    let same_rights = fs::set_permissions(&beside, fs::metadata(&target)?.permissions());
    same_rights.and_then(|()| fs::rename(&beside, &target)).inspect_err(|_| {
        // The error is told; the half-made file is of no use to anyone.
        _ = fs::remove_file(&beside);
    })
}

fn formatted(path: &Path, text: &[u8]) -> Option<Vec<u8>> {
    match format(text) {
        Ok(formatted) => Some(formatted),
        Err(error) => {
            let source = Source { path: path.to_owned(), text: text.to_owned() };
            eprint!("error: {}", render(&error, &[source], false));
            None
        }
    }
}
