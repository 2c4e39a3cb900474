//! `foregate trust`: the root of the internal authority, shown or given to this machine to believe.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use foregate_conf::{OsFiles, render};
use foregate_server::load;

use super::check::{help, setup};
use super::{Arg, Args, unknown};

const HELP: &str = "Usage: foregate trust [-c FILE] [-p PREFIX] [--install]

Prints the root certificate of the internal authority (acme_issuer internal;), for browsers and programs that are to
believe it.

  -c FILE      the configuration file (default: /etc/nginx/nginx.conf)
  -p PREFIX    the prefix that relative paths start from
  --install    let this machine believe it: puts it among the system's authorities (as root)

Browsers with a list of their own (Firefox) want the printed certificate imported in their settings.
";

/// Where systems take authorities from that their administrator adds, and the program that spreads them.
const STORES: [(&str, &str, &[&str]); 2] = [
    ("/usr/local/share/ca-certificates", "update-ca-certificates", &[]),
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust", &["extract"]),
];

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let (mut file, mut prefix, mut install) = (None, None, false);
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) => match name.as_str() {
                "c" => file = Some(args.value("c")?),
                "p" => prefix = Some(args.value("p")?),
                "install" => install = true,
                "help" | "h" => return Ok(help(HELP)),
                _ => return Err(unknown(&Arg::Flag(name))),
            },
            Arg::Plain(path) if file.is_none() => file = Some(path),
            other => return Err(unknown(&other)),
        }
    }
    let setup = setup(file.as_deref(), prefix.as_deref())?;
    let loaded = load(&setup, &OsFiles, None)
        .map_err(|failed| render(&failed.error, &failed.sources, false).trim_end().to_owned())?;
    let roots = loaded.cycle.internal_roots();
    if roots.is_empty() {
        return Err(
            "the configuration has no internal authority: write acme_issuer internal; in the http block"
                .into(),
        );
    }
    for (name, path) in roots {
        let pem = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        match install {
            true => add(&name, &pem)?,
            false => print!("{pem}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            ": it is made when the server issues its first certificate, so start it first"
        }
        io::ErrorKind::PermissionDenied => ": run this as root",
        _ => "",
    };
    format!("{}: {error}{hint}", path.display())
}

/// Puts a root among the system's authorities.
fn add(name: &str, pem: &str) -> Result<(), String> {
    let store = STORES.iter().find(|(folder, _, _)| Path::new(folder).is_dir());
    let (folder, program, args) =
        store.ok_or("this system's store of authorities is not known: import the printed one")?;
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path: PathBuf = Path::new(folder).join(format!("foregate-{plain}.crt"));
    fs::write(&path, pem).map_err(|error| unreadable(&path, &error))?;
    let done = Command::new(program).args(*args).stdout(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => {
            println!("{} is believed on this machine from now on", path.display());
            Ok(())
        }
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
