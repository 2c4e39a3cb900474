//! Host names with wildcards as `map`, `valid_referers` and `server_name` write them: `a.b`, `.a.b`, `*.a.b`, `a.*`.

use std::collections::hash_map::Entry;

use crate::hash::ByteMap;

/// Values by host name. An exact name wins over `*.a.b`, the longest of those over `a.*`, the longest of those last.
#[derive(Clone, Debug)]
pub struct Hostnames<V> {
    exact: ByteMap<V>,
    /// What stands behind `*.`.
    heads: ByteMap<V>,
    /// What stands before `.*`.
    tails: ByteMap<V>,
}

/// Why a name was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not a host name and not a wildcard either.
    Invalid,
    /// There is a value for it.
    Conflict,
}

impl<V> Default for Hostnames<V> {
    fn default() -> Self {
        Self { exact: ByteMap::default(), heads: ByteMap::default(), tails: ByteMap::default() }
    }
}

impl<V> Hostnames<V> {
    /// Adds a name in which `*` and a dot at the start have no meaning.
    pub fn insert_exact(&mut self, name: &[u8], value: V) -> Result<(), Unfit> {
        insert(&mut self.exact, name, value)
    }

    /// The value of a name, given in lower case.
    pub fn find(&self, name: &[u8]) -> Option<&V> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let dots = || name.iter().enumerate().filter(|it| *it.1 == b'.').map(|it| it.0);
        if !self.heads.is_empty()
            && let Some(value) = dots().find_map(|at| self.heads.get(&name[at + 1..]))
        {
            return Some(value);
        }
        if self.tails.is_empty() {
            return None;
        }
        let longest_first = name.iter().enumerate().rev().filter(|it| *it.1 == b'.');
        longest_first.map(|it| it.0).find_map(|at| self.tails.get(&name[..at]))
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.heads.is_empty() && self.tails.is_empty()
    }
}

impl<V: Clone> Hostnames<V> {
    /// Adds a name or a wildcard; `.a.b` stands for `a.b` and `*.a.b`.
    pub fn insert(&mut self, name: &[u8], value: V) -> Result<(), Unfit> {
        let stars = name.iter().filter(|b| **b == b'*').count();
        if stars > 1 || name.windows(2).any(|it| it == b"..") || name.contains(&0) {
            return Err(Unfit::Invalid);
        }
        if let Some(rest) = name.strip_prefix(b".").filter(|it| !it.is_empty()) {
            if stars > 0 {
                return Err(Unfit::Invalid);
            }
            insert(&mut self.exact, rest, value.clone())?;
            return insert(&mut self.heads, rest, value);
        }
        if let Some(rest) = name.strip_prefix(b"*.").filter(|it| !it.is_empty()) {
            return insert(&mut self.heads, rest, value);
        }
        if let Some(rest) = name.strip_suffix(b".*").filter(|it| !it.is_empty()) {
            return insert(&mut self.tails, rest, value);
        }
        match stars {
            0 => insert(&mut self.exact, name, value),
            _ => Err(Unfit::Invalid),
        }
    }
}

fn insert<V>(table: &mut ByteMap<V>, name: &[u8], value: V) -> Result<(), Unfit> {
    match table.entry(name.to_ascii_lowercase().into()) {
        Entry::Occupied(_) => Err(Unfit::Conflict),
        Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_name_wins() {
        let mut names = Hostnames::default();
        for name in ["a.b", ".Dot.org", "*.a.b", "*.x.a.b", "www.*", "www.a.*", "*"] {
            assert_eq!(names.insert(name.as_bytes(), name).is_err(), name == "*");
        }
        for (name, expected) in [
            ("a.b", Some("a.b")),
            ("y.a.b", Some("*.a.b")),
            ("z.y.a.b", Some("*.a.b")),
            ("y.x.a.b", Some("*.x.a.b")),
            ("x.a.b", Some("*.a.b")),
            ("dot.org", Some(".Dot.org")),
            ("www.dot.org", Some(".Dot.org")),
            ("www.c", Some("www.*")),
            ("www.a.c.d", Some("www.a.*")),
            ("www.a.b", Some("*.a.b")),
            ("www", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(names.find(name.as_bytes()).copied(), expected, "{name}");
        }
    }

    #[test]
    fn names_that_do_not_fit() {
        let mut names = Hostnames::default();
        for (name, expected) in [
            ("a.b", Ok(())),
            ("A.b", Err(Unfit::Conflict)),
            (".a.b", Err(Unfit::Conflict)),
            ("*.a.b", Ok(())),
            ("*.a.b", Err(Unfit::Conflict)),
            ("a*.b", Err(Unfit::Invalid)),
            ("*.a.*", Err(Unfit::Invalid)),
            ("a..b", Err(Unfit::Invalid)),
            ("", Ok(())),
        ] {
            assert_eq!(names.insert(name.as_bytes(), ()), expected, "{name}");
        }
    }
}
