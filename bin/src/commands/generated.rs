//! Runs a configuration that a command has written, in this process, with its log on stderr.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use foregate_conf::{Files, OsFiles, Recording};
use foregate_net::process::is_superuser;
use foregate_server::Setup;

use crate::log::Log;
use crate::master::Generation;
use crate::{built, single, start};

/// The types of files that `foregate serve` knows; a `mime.types` as nginx has one.
const MIME_TYPES: &str = include_str!("mime.types");

/// Prints the text, or runs it until Ctrl-C.
pub(super) fn run(command: &str, text: String, print: bool) -> Result<ExitCode, String> {
    if print {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let files = Written { name: PathBuf::from(format!("/foregate/{command}.conf")), text };
    let log = Log::start(Path::new("stderr"), false);
    let scratch = Scratch::make().map_err(|e| format!("cannot make a folder for temporary files: {e}"))?;
    let setup = setup(&files.name, &scratch.0);
    let recording = Recording::new(&files);
    let Some(loaded) = start::load_and_complain(&setup, &recording, &log) else {
        return Ok(ExitCode::FAILURE);
    };
    let draft = Generation::draft(setup, loaded.cycle, recording.into_replay());
    Ok(single::run_command(draft, log, &files))
}

fn setup(conf: &Path, prefix: &Path) -> Setup {
    Setup {
        conf: conf.to_owned(),
        prefix: prefix.to_owned(),
        error_log: PathBuf::from("stderr"),
        globals: Vec::new(),
        pid: PathBuf::from(built::PID_PATH),
        privileged: is_superuser(),
    }
}

/// A folder for bodies on their way, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("foregate-{}", std::process::id()));
        // A folder that is there already was made by somebody else: better none than that one.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the folder for temporary files.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The written text and the types, and behind them the file system: certificates are real files.
struct Written {
    name: PathBuf,
    text: String,
}

impl Files for Written {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.name {
            Ok(self.text.clone().into_bytes())
        } else if path == self.name.with_file_name("mime.types") {
            Ok(MIME_TYPES.into())
        } else {
            OsFiles.read(path)
        }
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        OsFiles.glob(pattern)
    }
}
