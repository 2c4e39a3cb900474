//! A folder of a conformance run's own: copies of the suite and the binary, one TMPDIR per file; gone afterwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Whom the suite runs as: it must be an ordinary user, because root passes every permission test.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `nobody` when we are root, otherwise `None`: then we are ordinary already.
    pub(crate) fn ordinary() -> Result<Option<User>, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
        let line = passwd.lines().find(|l| l.starts_with("nobody:")).ok_or("there is no user nobody")?;
        let mut parts = line.split(':').skip(2).map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some(User { uid, gid })),
            _ => Err("cannot read the user nobody in /etc/passwd".to_owned()),
        }
    }
}

/// The folder, with what stands in it.
pub(crate) struct Scratch {
    root: PathBuf,
    pub(crate) suite: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) user: Option<User>,
}

impl Scratch {
    /// Copies the suite and the binary, so that an ordinary user reaches both and a build in between changes neither.
    /// The path stays short: unix sockets inside allow only 107 bytes.
    pub(crate) fn new(suite: &Path, binary: &Path) -> Result<Scratch, String> {
        let root = std::env::temp_dir().join(format!("fgc-{}", std::process::id()));
        let scratch = Scratch {
            suite: root.join("suite"),
            binary: root.join("bin/nginx"),
            user: User::ordinary()?,
            root: root.clone(),
        };
        let prepare = || -> std::io::Result<()> {
            fs::create_dir_all(root.join("bin"))?;
            open_to_all(&root)?;
            copy_tree(suite, &scratch.suite)?;
            fs::copy(binary, &scratch.binary)?;
            open_to_all(&scratch.binary)
        };
        prepare().map_err(|e| format!("cannot prepare {}: {e}", root.display()))?;
        Ok(scratch)
    }

    /// A fresh TMPDIR for the n-th file, owned by the suite's user.
    pub(crate) fn tmpdir(&self, n: usize) -> std::io::Result<PathBuf> {
        let dir = self.root.join(format!("t{n}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        if let Some(user) = self.user {
            chown(&dir, Some(user.uid), Some(user.gid))?;
        }
        Ok(dir)
    }

    /// Ends every process that still runs our copy of the binary: servers that left their process group.
    fn kill_leftovers(&self) {
        let Ok(procs) = fs::read_dir("/proc") else { return };
        for entry in procs.flatten() {
            let pid = entry.file_name().to_str().and_then(|s| s.parse::<i32>().ok());
            let ours = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.starts_with(&self.root));
            if let (Some(pid), true) = (pid.and_then(rustix::process::Pid::from_raw), ours) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.kill_leftovers();
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn open_to_all(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Copies folders and plain files; leaves out names that begin with a dot (a clone's `.git`).
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    open_to_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
            open_to_all(&target)?;
        }
    }
    Ok(())
}
