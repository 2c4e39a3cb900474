//! Keys: what an object is found by, and the file's name that follows from it.

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};

use foregate_wire::Fields;
use md5::{Digest, Md5};

/// The MD5 of a key's text, as nginx names its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(crate) [u8; 16]);

/// Names of request fields whose values are lists in which blanks and empty members say nothing, as nginx has them.
const LISTS: [&[u8]; 3] = [b"accept-charset", b"accept-encoding", b"accept-language"];

impl Key {
    pub fn of(text: &[u8]) -> Self {
        Self(Md5::digest(text).into())
    }

    /// The key of one representation: of what `Vary` names in the request besides the main key (RFC 9111,
    /// section 4.1).
    pub fn variant(main: Self, vary: &[u8], fields: &Fields) -> Self {
        let mut hash = Md5::new();
        hash.update(main.0);
        for name in vary.split(|b| matches!(b, b' ' | b',')).filter(|name| !name.is_empty()) {
            let name = name.to_ascii_lowercase();
            hash.update(&name);
            hash.update(b":");
            let is_list = LISTS.contains(&&*name);
            let mut first = true;
            let mut part = |part: &[u8]| {
                if !std::mem::take(&mut first) {
                    hash.update(b",");
                }
                hash.update(part);
            };
            for value in fields.get_all(&*name) {
                match is_list {
                    true => value
                        .split(|b| matches!(b, b' ' | b','))
                        .filter(|it| !it.is_empty())
                        .for_each(&mut part),
                    false => part(value),
                }
            }
            hash.update(b"\r\n");
        }
        Self(hash.finalize().into())
    }

    /// The name of its file: 32 hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        let mut hex = Vec::with_capacity(HEX_CHARS);
        for byte in self.0 {
            hex.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        String::from_utf8(hex).expect("because hexadecimal digits are ASCII")
    }

    /// What a file's name says; `None`: it is not one of ours.
    pub(crate) fn from_hex(name: &str) -> Option<Self> {
        let mut key = [0; 16];
        if name.len() != HEX_CHARS || name.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, at) in key.iter_mut().zip((0..HEX_CHARS).step_by(2)) {
            *byte = u8::from_str_radix(&name[at..at + 2], 16).ok()?;
        }
        Some(Self(key))
    }

    /// Where its file lies: each level's folder is named by characters of the name, from its end on.
    pub(crate) fn path(self, dir: &Path, levels: &[usize]) -> PathBuf {
        let name = self.hex();
        let mut path = dir.to_path_buf();
        let mut end = name.len();
        for level in levels {
            let start = end.saturating_sub(*level);
            path.push(&name[start..end]);
            end = start;
        }
        path.push(name);
        path
    }
}

/// Characters of a file's name.
const HEX_CHARS: usize = 32;

/// Keys are hashes already: a part of one will do.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsItIs(u64);

impl BuildHasher for AsItIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(eight) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*eight);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_nginx_s() {
        let key = Key::of(b"http://127.0.0.1:8081/t.html");
        assert_eq!(Key::from_hex(&key.hex()), Some(key));
        assert_eq!(Key::of(b"").hex(), "d41d8cd98f00b204e9800998ecf8427e");
        let path = Key::of(b"").path(Path::new("/c"), &[1, 2]);
        assert_eq!(path, Path::new("/c/e/27/d41d8cd98f00b204e9800998ecf8427e"));
        for name in ["", "d41d8cd98f00b204e9800998ecf8427", "D41D8CD98F00B204E9800998ECF8427E", "core"] {
            assert_eq!(Key::from_hex(name), None, "{name}");
        }
    }

    #[test]
    fn variants_differ_by_what_vary_names() {
        let variant = |vary: &str, field: &[(&str, &str)]| {
            let mut fields = Fields::new();
            field.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
            Key::variant(Key::of(b"k"), vary.as_bytes(), &fields)
        };
        let plain = variant("Accept-Encoding", &[("accept-encoding", "foo, bar")]);
        for same in ["foo,bar", "foo,,  ,bar , "] {
            assert_eq!(variant(",, accept-encoding , ,", &[("Accept-Encoding", same)]), plain, "{same}");
        }
        let two = variant("Accept-Encoding", &[("Accept-Encoding", "foo"), ("Accept-Encoding", "bar")]);
        assert_eq!(two, plain);
        for other in ["foobar", "bar,foo", ""] {
            assert_ne!(variant("Accept-Encoding", &[("Accept-Encoding", other)]), plain, "{other}");
        }
        assert_ne!(variant("Foo", &[("Foo", "a, b")]), variant("Foo", &[("Foo", "a,b")]));
    }
}
