//! Password files: read again whenever they change, looked at for every request.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use foregate_net::{FileVersion, door};

/// Files that one thread keeps in memory; a name with variables may stand for any number.
const FILES_MAX: usize = 16;
/// Larger files are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

struct Kept {
    path: PathBuf,
    version: FileVersion,
    text: Vec<u8>,
}

thread_local! {
    static FILES: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// The hash that stands behind a user's name.
pub(super) fn find(path: &Path, user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let version = FileVersion::at(path)?;
    FILES.with_borrow_mut(|files| {
        if let Some(kept) = files.iter().find(|it| it.path == path && it.version == version) {
            return Ok(find_in(&kept.text, user).map(<[u8]>::to_vec));
        }
        files.retain(|it| it.path != path);
        let text = door::read(path)?;
        let found = find_in(&text, user).map(<[u8]>::to_vec);
        if text.len() <= KEPT_BYTES_MAX {
            if files.len() >= FILES_MAX {
                files.remove(0);
            }
            files.push(Kept { path: path.to_owned(), version, text });
        }
        Ok(found)
    })
}

/// Lines are `name:hash`, with anything behind a second colon; `#` starts a comment.
fn find_in<'a>(text: &'a [u8], user: &[u8]) -> Option<&'a [u8]> {
    let hash = |line: &'a [u8]| match line.first() {
        Some(b'#' | b'\r') | None => None,
        _ => line.strip_prefix(user)?.strip_prefix(b":"),
    };
    let rest = text.split(|b| *b == b'\n').find_map(hash)?;
    rest.split(|b| matches!(b, b':' | b'\r')).next()
}

#[cfg(test)]
mod tests {
    use super::find_in;

    #[test]
    fn lines_are_found_by_name() {
        let text = b"# c:x\nab:1\na:2:comment\r\n\n\r\na:3\n#a:4\nlast:5";
        for (user, want) in [
            ("a", Some("2")),
            ("ab", Some("1")),
            ("last", Some("5")),
            ("c", None),
            ("#a", None),
            ("b", None),
            ("x", None),
        ] {
            assert_eq!(find_in(text, user.as_bytes()), want.map(str::as_bytes), "{user}");
        }
        assert_eq!(find_in(b"a:", b"a"), Some(&b""[..]));
    }
}
