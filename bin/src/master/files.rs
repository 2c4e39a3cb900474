//! The files that the master opens or makes for the worker: logs, and folders for temporary files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use foregate_core::{Level, LogFile};
use foregate_net::process::redirect_stderr;
use foregate_server::process::User;
use foregate_server::{Main, bundle};

use crate::log::{Log, failed, make_room};

/// Nobody but the worker looks into bodies on their way.
const TEMP_DIR_MODE: u32 = 0o700;

/// Opens the logs that are not open yet, each for appending, creating it as 0644.
pub(crate) fn open_logs(paths: &[PathBuf]) -> Result<(), String> {
    for path in paths {
        make_room(path);
        let file = LogFile::of(path);
        if !file.is_open() {
            file.open().map_err(|error| failed("open()", path, &error))?;
        }
    }
    Ok(())
}

/// Opens every log again by its name: the old files may have been moved away. What fails is logged and stays as it was.
pub(crate) fn reopen_logs(paths: &[PathBuf], log: &Log) {
    for path in paths {
        if let Err(error) = LogFile::of(path).open() {
            log.write(Level::Emerg, failed("open()", path, &error));
        }
    }
}

/// The open logs as the worker gets them.
pub(super) fn handles(paths: &[PathBuf]) -> Vec<bundle::Log> {
    let handle = |path: &PathBuf| {
        let fd = OwnedFd::from(LogFile::of(path).handle()?);
        Some(bundle::Log { path: path.clone(), fd })
    };
    paths.iter().filter_map(handle).collect()
}

/// From here on what is written to stderr goes to the error log, if that is a file.
pub(crate) fn follow_stderr(main: &Main) {
    if let Some(file) = main.stderr_file() {
        // Panics would be seen less well, nothing else.
        _ = redirect_stderr(file);
    }
}

/// Makes the folders for temporary files, and gives them to the user that the worker will be.
pub(crate) fn make_temp_dirs(paths: &[PathBuf], user: Option<&User>) -> Result<(), String> {
    paths.iter().try_for_each(|path| make_temp_dir(path, user))
}

fn make_temp_dir(path: &Path, user: Option<&User>) -> Result<(), String> {
    make_room(path);
    match fs::DirBuilder::new().mode(TEMP_DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|error| failed("mkdir()", path, &error))?,
    }
    let Some(user) = user else { return Ok(()) };
    let owner = fs::metadata(path).map_err(|error| failed("stat()", path, &error))?.uid();
    if owner != user.uid {
        chown(path, Some(user.uid), None).map_err(|error| failed("chown()", path, &error))?;
    }
    Ok(())
}
