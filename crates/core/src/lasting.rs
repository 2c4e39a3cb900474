//! Files that stay (`PUT`, `proxy_store`): their permissions, and how they get their names.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use foregate_conf::{Error, Node};

use crate::temp_file::TempFile;

/// nginx's default for `dav_access` and `proxy_store_access`.
pub const FILE_ACCESS: u32 = 0o600;

/// Reads `user:rw group:r all:r`: the owner may read and write unless it is said otherwise.
///
/// # Errors
/// A word that names nobody, or nothing that may be done.
pub fn file_access(node: &Node) -> Result<u32, Error> {
    let (mut access, mut user) = (0, FILE_ACCESS);
    for word in &node.args {
        let bad = || {
            let error = Error::at(word.span, format!("invalid value \"{word}\""));
            error.advise("user, group or all, then :r or :rw")
        };
        let (who, may) = word.split_once(':').ok_or_else(bad)?;
        let may = match may {
            "rw" => 0o6,
            "r" => 0o4,
            _ => return Err(bad()),
        };
        match who {
            "user" => {
                user = 0;
                access |= may << 6;
            }
            "group" => access |= may << 3,
            "all" => access |= may,
            _ => return Err(bad()),
        }
    }
    Ok(access | user)
}

/// The permissions of a folder whose files have these: who may read them may enter it.
pub fn folder_access(access: u32) -> u32 {
    access | (access & 0o444) >> 2
}

/// Which call failed, on what, and why.
#[derive(Debug)]
pub struct Failed {
    pub call: &'static str,
    pub path: PathBuf,
    pub why: io::Error,
}

impl Failed {
    fn of(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self { call, path, why }
    }
}

impl TempFile {
    /// Gives the file these permissions and this time (seconds since the epoch), then the name where it stays.
    /// Folders that are missing are made if `makes_folders`.
    ///
    /// # Errors
    /// Which call failed; the file is gone then.
    pub fn stay(
        mut self,
        to: &Path,
        access: u32,
        modified_s: Option<i64>,
        makes_folders: bool,
    ) -> Result<(), Failed> {
        let file = &self.file;
        file.set_permissions(Permissions::from_mode(access)).map_err(Failed::of("chmod()", self.path()))?;
        if let Some(modified_s) = modified_s.and_then(|it| u64::try_from(it).ok()) {
            let time = UNIX_EPOCH + Duration::from_secs(modified_s);
            file.set_modified(time).map_err(Failed::of("utimes()", self.path()))?;
        }
        rename(self.path(), to, makes_folders.then(|| folder_access(access)))?;
        self.keep();
        Ok(())
    }
}

/// Renames a file, over to another file system too. Folders that are missing are made with these permissions, if any.
///
/// # Errors
/// Which call failed.
pub fn rename(from: &Path, to: &Path, folders: Option<u32>) -> Result<(), Failed> {
    let mut done = fs::rename(from, to);
    if let (Err(why), Some(access), Some(folder)) = (&done, folders, to.parent())
        && why.kind() == ErrorKind::NotFound
    {
        let builder = DirBuilder::new().recursive(true).mode(access).create(folder);
        builder.map_err(Failed::of("mkdir()", folder))?;
        done = fs::rename(from, to);
    }
    match done {
        Err(why) if why.kind() == ErrorKind::CrossesDevices => carry_over(from, to),
        done => done.map_err(Failed::of("rename()", to)),
    }
}

/// To another file system: beside the target first, so that nobody sees half of it.
fn carry_over(from: &Path, to: &Path) -> Result<(), Failed> {
    let mut beside = to.to_owned().into_os_string();
    beside.push(format!(".{}.{:?}", std::process::id(), std::thread::current().id()));
    let beside = PathBuf::from(beside);
    let time = fs::metadata(from).and_then(|it| it.modified());
    let copied = fs::copy(from, &beside).map_err(Failed::of("copy()", &beside)).and_then(|_| {
        if let Ok(time) = time {
            _ = fs::File::options().write(true).open(&beside).and_then(|it| it.set_modified(time));
        }
        fs::rename(&beside, to).map_err(Failed::of("rename()", to))
    });
    match copied {
        Ok(()) => _ = fs::remove_file(from),
        Err(_) => _ = fs::remove_file(&beside),
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp_file::TempDir;

    #[test]
    fn permissions_are_read() {
        let cases = [
            ("a user:r;", Some(0o400)),
            ("a group:rw;", Some(0o660)),
            ("a user:rw group:r all:r;", Some(0o644)),
            ("a all:w;", None),
            ("a other:r;", None),
            ("a user;", None),
        ];
        for (text, expected) in cases {
            let tree = foregate_conf::parse(text).expect("because the text is well-formed");
            assert_eq!(file_access(&tree.nodes[0]).ok(), expected, "{text}");
        }
        assert_eq!((folder_access(0o600), folder_access(0o644), folder_access(0o060)), (0o700, 0o755, 0o070));
    }

    #[test]
    fn a_temporary_file_stays_under_its_name() {
        let base = std::env::temp_dir().join(format!("foregate-lasting-{}", std::process::id()));
        let dir = TempDir::new(base.join("temp"));
        let to = base.join("a/b/file");
        let made = || {
            let file = TempFile::create(&dir).expect("because the folder can be made");
            file.write_all(b"text").expect("because it was opened for writing");
            file
        };
        let failed = made().stay(&to, 0o640, None, false).expect_err("because the folder is missing");
        assert_eq!((failed.call, &failed.path), ("rename()", &to));
        made().stay(&to, 0o640, Some(1_000_000), true).expect("because the folder is made");
        let facts = fs::metadata(&to).expect("because it is there");
        assert_eq!((facts.permissions().mode() & 0o777, facts.len()), (0o640, 4));
        assert_eq!(facts.modified().ok(), Some(UNIX_EPOCH + Duration::from_secs(1_000_000)));
        assert_eq!(fs::read_dir(base.join("temp")).map(Iterator::count).ok(), Some(0));
        _ = fs::remove_dir_all(base);
    }
}
