//! The pid file: written by the master, read by `-s`, renamed while a new binary takes over.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::log::failed;

/// What is appended to the name while the old master's file makes room for the new one's.
const OLD_SUFFIX: &str = ".oldbin";
/// No pid is longer; nginx reads as much.
const PID_BYTES_MAX: u64 = 22;

/// Writes our pid, replacing what was there.
pub(crate) fn create(path: &Path) -> Result<(), String> {
    let written = File::create(path).and_then(|mut file| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed("open()", path, &error))
}

/// Whether the file could be written: creates it if it is missing, never changes what it says.
pub(crate) fn test(path: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map(drop).map_err(|error| failed("open()", path, &error))
}

/// The pid of the running master.
pub(crate) fn read(path: &Path) -> Result<u32, String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PID_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| failed("open()", path, &error))?;
    while text.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        text.pop();
    }
    let text = String::from_utf8_lossy(&text);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pid = digits.then(|| text.parse().ok()).flatten();
    pid.ok_or_else(|| format!("invalid PID number \"{text}\" in \"{}\"", path.display()))
}

pub(crate) fn remove(path: &Path) -> Result<(), String> {
    fs::remove_file(path).map_err(|error| failed("unlink()", path, &error))
}

/// Makes room for the pid file of a new binary.
pub(crate) fn put_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, old(path))
}

/// The new binary did not live: the file is ours again.
pub(crate) fn take_back(path: &Path) -> io::Result<()> {
    fs::rename(old(path), path)
}

/// `/run/nginx.pid.oldbin`
pub(crate) fn old(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(OLD_SUFFIX);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("foregate-pid-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("because the folder for temporary files is writable");
        path
    }

    #[test]
    fn a_pid_is_read_with_or_without_a_line_end() {
        for (text, pid) in [("123\n", Ok(123)), ("123", Ok(123)), ("123\r\n", Ok(123))] {
            let path = scratch("good", text);
            assert_eq!(read(&path), pid);
            fs::remove_file(path).expect("because it was just written");
        }
    }

    #[test]
    fn what_is_no_pid_is_named() {
        for text in ["", "x", "-1", "99999999999"] {
            let path = scratch("bad", text);
            assert_eq!(read(&path), Err(format!("invalid PID number \"{text}\" in \"{}\"", path.display())));
            fs::remove_file(path).expect("because it was just written");
        }
    }

    #[test]
    fn the_old_name_is_nginx_s() {
        assert_eq!(old(Path::new("/run/nginx.pid")), Path::new("/run/nginx.pid.oldbin"));
    }
}
