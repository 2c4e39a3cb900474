//! glob(3) patterns: `*`, `?`, `[...]` and `\`, none of them across a slash or for a leading dot.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The existing paths that match, sorted by their bytes.
pub(crate) fn on_disk(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| inside(folder, part.as_bytes())).collect();
    }
    sort(&mut found);
    found
}

/// As glob(3) sorts in the C locale.
pub(crate) fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
}

/// Whether a whole path matches.
pub(crate) fn path_matches(pattern: &[u8], path: &[u8]) -> bool {
    let mut patterns = pattern.split(|byte| *byte == b'/');
    let mut parts = path.split(|byte| *byte == b'/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// What one part of a pattern finds in a folder.
fn inside(folder: &Path, part: &[u8]) -> Vec<PathBuf> {
    if !part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
        let path = folder.join(OsStr::from_bytes(part));
        return if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() };
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(listed) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|name| matches(part, name.as_bytes())).map(|name| folder.join(name)).collect()
}

/// One name against one part of a pattern: at a mismatch behind a `*`, that star takes one byte more.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, n));
        } else if let Some(next) = one(&pattern[p..], name[n]) {
            p += next;
            n += 1;
        } else if let Some((behind, taken)) = star {
            p = behind;
            n = taken + 1;
            star = Some((behind, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the pattern that matches exactly this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((true, length)) => Some(length + 1),
            Some((false, _)) => None,
            // Without its end, `[` stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// A class behind its `[`: whether it holds the byte, and its length with the `]`.
fn class(class: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(class.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut held = false;
    loop {
        let low = *class.get(at)?;
        if low == b']' && at > first {
            return Some((held != negated, at + 1));
        }
        match class.get(at + 1..at + 3) {
            Some([b'-', high]) if *high != b']' => {
                held |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                held |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_glob_3() {
        let cases: [(&str, &str, bool); 19] = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".a.conf", false),
            (".*.conf", ".a.conf", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("", "", true),
            ("**x", "abx", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(path_matches(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }
}
