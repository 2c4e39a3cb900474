//! Doors to what a confined process may not do itself: another process, the porter, opens files and runs programs for
//! it, as long as they are among what the configuration names.
//!
//! Landlock judges where a path ends, not where it begins. A link that leads out of a folder, a folder that was
//! replaced, a path that came with a reload: all these are refused to the worker, though the configuration names them.
//! Then the porter is asked, which judges by the path itself and follows links, as nginx does.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, absolute};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::channel::{Channel, Packet};
use crate::sys::errno_text;

/// Asked of the porter.
const OPEN: u8 = 1;
const RUN: u8 = 2;
/// Its answers.
const DONE: u8 = 3;
const FAILED: u8 = 4;

/// The most bytes of a path, or of a program's arguments; what is longer no file has (PATH_MAX).
const ASKED_BYTES_MAX: usize = 4096;
/// How long a program may run.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A porter's two doors, from outside.
struct Doors {
    files: Mutex<Channel>,
    programs: Mutex<Channel>,
}

static DOORS: OnceLock<Doors> = OnceLock::new();

/// What the porter opens and runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Files, and folders with all that is below.
    pub paths: Vec<std::path::PathBuf>,
    /// Programs by their full paths.
    pub programs: Vec<String>,
}

/// From now on the porter is asked by way of these two channels. Only the first call counts.
pub fn knock_at(files: OwnedFd, programs: OwnedFd) {
    let [files, programs] = [files, programs].map(|fd| Mutex::new(Channel::from_fd(fd)));
    // A second pair would be closed at once, which is all it is good for.
    _ = DOORS.set(Doors { files, programs });
}

/// Opens a path for reading: a file, or with `DIRECTORY` a folder.
pub fn open_to_read(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    match open(path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::ACCESS) => ask_to_open(path, flags).unwrap_or(Err(Errno::ACCESS)),
        done => done,
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(open_to_read(path, OFlags::empty())?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a program and waits for its end.
///
/// # Errors
/// What is wrong, for a log: also that it took longer than two minutes, or ended badly.
pub fn run(words: &[&str]) -> Result<(), String> {
    let Some(doors) = DOORS.get() else { return run_here(words) };
    let body = words.join("\0").into_bytes();
    match ask(&doors.programs, Packet { kind: RUN, body, fds: Vec::new() }) {
        Some(Packet { kind: DONE, .. }) => Ok(()),
        Some(packet) => Err(String::from_utf8_lossy(&packet.body).into_owned()),
        None => Err("the porter process is gone".to_owned()),
    }
}

/// `None`: there is nobody to ask.
fn ask_to_open(path: &Path, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
    use std::os::unix::ffi::OsStrExt;
    let doors = DOORS.get()?;
    let path = absolute(path).ok()?;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > ASKED_BYTES_MAX {
        return None;
    }
    let body = [&[u8::from(flags.contains(OFlags::DIRECTORY))], bytes].concat();
    let Packet { kind, body, fds } = ask(&doors.files, Packet { kind: OPEN, body, fds: Vec::new() })?;
    match (kind, fds.into_iter().next()) {
        (DONE, Some(fd)) => Some(Ok(fd)),
        _ => Some(Err(body
            .first_chunk()
            .map_or(Errno::ACCESS, |it| Errno::from_raw_os_error(i32::from_le_bytes(*it))))),
    }
}

fn ask(door: &Mutex<Channel>, packet: Packet) -> Option<Packet> {
    let door = door.lock().unwrap_or_else(PoisonError::into_inner);
    door.send(packet).ok()?;
    door.receive().ok()?
}

/// The porter's side of one door: answers until nobody can ask any more.
pub fn serve(door: &Channel, named: &dyn Fn() -> Named) {
    while let Ok(Some(Packet { kind, body, .. })) = door.receive() {
        let answer = match kind {
            _ if body.len() > ASKED_BYTES_MAX + 1 => Packet { kind: FAILED, ..Packet::default() },
            OPEN => opened(&body, &named()),
            RUN => ran(&body, &named()),
            _ => return,
        };
        if door.send(answer).is_err() {
            return;
        }
    }
}

fn opened(body: &[u8], named: &Named) -> Packet {
    use std::os::unix::ffi::OsStrExt;
    let failed = |why: Errno| Packet {
        kind: FAILED,
        body: why.raw_os_error().to_le_bytes().to_vec(),
        fds: Vec::new(),
    };
    let Some((folder, path)) = body.split_first() else { return failed(Errno::INVAL) };
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    if !named.has(path) {
        return failed(Errno::ACCESS);
    }
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECTORY, *folder != 0);
    match open(path, flags, Mode::empty()) {
        Ok(fd) => Packet { kind: DONE, body: Vec::new(), fds: vec![fd] },
        Err(why) => failed(why),
    }
}

fn ran(body: &[u8], named: &Named) -> Packet {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split('\0').collect();
    let done = match named.programs.iter().any(|it| it == words[0]) {
        true => run_here(&words),
        false => Err(format!("the configuration does not name the program {}", words[0])),
    };
    match done {
        Ok(()) => Packet { kind: DONE, ..Packet::default() },
        Err(why) => Packet { kind: FAILED, body: why.into_bytes(), fds: Vec::new() },
    }
}

impl Named {
    /// Whether a path is one of those named, or below one, without going up on its way.
    fn has(&self, path: &Path) -> bool {
        let below = |start: &std::path::PathBuf| {
            let rest = path.strip_prefix(start).ok();
            rest.is_some_and(|rest| rest.components().all(|it| matches!(it, Component::Normal(_))))
        };
        path.is_absolute() && self.paths.iter().any(below)
    }

    /// For a [`Packet`] to the porter.
    pub fn to_bytes(&self) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        let mut bytes = Vec::new();
        let paths = self.paths.iter().map(|it| (b'/', it.as_os_str().as_bytes()));
        for (kind, word) in paths.chain(self.programs.iter().map(|it| (b'!', it.as_bytes()))) {
            bytes.push(kind);
            bytes.extend_from_slice(word);
            bytes.push(0);
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let mut named = Self::default();
        for word in bytes.split(|byte| *byte == 0) {
            match word.split_first() {
                Some((b'/', path)) => named.paths.push(std::ffi::OsStr::from_bytes(path).into()),
                Some((_, program)) => named.programs.push(String::from_utf8_lossy(program).into_owned()),
                None => {}
            }
        }
        named
    }
}

fn run_here(words: &[&str]) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("no program is named".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(|why| format!("{program}: {}", errno_text(&why)))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().map_err(|why| why.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{program} ended with {status}")),
            None if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            None => {
                // It may have ended just now.
                _ = child.kill();
                _ = child.wait();
                return Err(format!("{program} takes too long"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_porter_opens_and_runs_what_is_named_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("foregate-door-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::write(folder.join("out.txt"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.join("out.txt"), folder.join("in/link")).unwrap();
        let named =
            Named { paths: vec![folder.join("in")], programs: vec!["/bin/true".into(), "/bin/false".into()] };
        assert_eq!(Named::from_bytes(&named.to_bytes()), named);
        let open = |path: &str| {
            let body = [b"\0", folder.join(path).to_str().unwrap().as_bytes()].concat();
            let Packet { kind, fds, .. } = opened(&body, &named);
            assert_eq!(kind == DONE, fds.len() == 1);
            kind == DONE
        };
        assert!(open("in/link"), "links lead where they lead");
        assert!(!open("out.txt") && !open("in/../out.txt") && !open("in/none") && !open("inn/link"));
        let run = |words: &str| String::from_utf8(ran(words.as_bytes(), &named).body).unwrap();
        assert_eq!(run("/bin/true\0x"), "");
        assert_eq!(run("/bin/false"), "/bin/false ended with exit status: 1");
        assert_eq!(run("/bin/sh\0-c\0true"), "the configuration does not name the program /bin/sh");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
