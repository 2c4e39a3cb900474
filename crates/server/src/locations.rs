//! `location`: from a path to the place whose settings hold.

use std::collections::HashMap;

use foregate_core::{Exchange, Regex, TooHard};

/// The locations of a server, or those nested in a location.
#[derive(Default)]
pub(crate) struct Locations {
    exact: HashMap<Box<[u8]>, u32>,
    /// Sorted by path; the cost of a look-up grows with the logarithm of their number.
    prefixes: Vec<Prefix>,
    regexes: Vec<(Regex, u32)>,
    /// Whether any prefix redirects.
    redirects: bool,
    pub(crate) named: HashMap<Box<[u8]>, u32>,
    /// Places with locations of their own, by place.
    nested: HashMap<u32, Locations>,
}

struct Prefix {
    path: Box<[u8]>,
    place: u32,
    /// `^~`: no regex is tried.
    decides: bool,
    /// `/dir` is answered with a redirect to `/dir/`, which is this prefix.
    redirects: bool,
    /// The longest other prefix that begins this one.
    parent: Option<u32>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A place, and how many bytes of the path its prefix covers (0 for a regex).
    Place { place: u32, prefix_len: usize },
    /// The path with a slash behind it has a place that passes requests on.
    Redirect { place: u32 },
}

impl Locations {
    pub(crate) fn add_exact(&mut self, path: &[u8], place: u32) -> bool {
        self.exact.insert(path.into(), place).is_none()
    }

    pub(crate) fn add_prefix(&mut self, path: &[u8], place: u32, decides: bool, redirects: bool) -> bool {
        let path: Box<[u8]> = path.into();
        let redirects = redirects && path.ends_with(b"/");
        self.redirects |= redirects;
        match self.prefixes.binary_search_by(|it| it.path.cmp(&path)) {
            Ok(_) => false,
            Err(at) => {
                self.prefixes.insert(at, Prefix { path, place, decides, redirects, parent: None });
                true
            }
        }
    }

    pub(crate) fn add_regex(&mut self, regex: Regex, place: u32) {
        self.regexes.push((regex, place));
    }

    pub(crate) fn nest(&mut self, place: u32, inner: Locations) {
        self.nested.insert(place, inner);
    }

    /// Links each prefix to the one it begins with. Called once, when all are in.
    pub(crate) fn finish(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.prefixes.len() {
            while let Some(last) = open.last() {
                if self.prefixes[at].path.starts_with(&self.prefixes[*last].path) {
                    break;
                }
                open.pop();
            }
            self.prefixes[at].parent = open.last().map(|it| *it as u32);
            open.push(at);
        }
    }

    /// Exact, then the longest prefix; unless that one decides, the first regex of the innermost nest that
    /// matches; else the prefix.
    pub(crate) fn find(&self, ex: &mut Exchange) -> Result<Option<Found>, TooHard> {
        let path = std::mem::take(&mut ex.uri);
        let found = self.find_path(ex, &path).map(|(found, _)| found);
        ex.uri = path;
        found
    }

    /// The flag tells whether the search is over: an exact match or a regex ends it.
    fn find_path(&self, ex: &mut Exchange, path: &[u8]) -> Result<(Option<Found>, bool), TooHard> {
        if let Some(place) = self.exact.get(path) {
            return Ok((Some(Found::Place { place: *place, prefix_len: path.len() }), true));
        }
        let mut found = None;
        let mut decides = false;
        if let Some(prefix) = self.longest(path) {
            found = Some(Found::Place { place: prefix.place, prefix_len: prefix.path.len() });
            decides = prefix.decides;
        }
        if let Some(place) = self.slash_behind(path, found) {
            return Ok((Some(Found::Redirect { place }), true));
        }
        if let Some(Found::Place { place, .. }) = found
            && let Some(inner) = self.nested.get(&place)
        {
            let (inside, over) = inner.find_path(ex, path)?;
            found = inside.or(found);
            if over {
                return Ok((found, true));
            }
        }
        if decides {
            return Ok((found, false));
        }
        for (regex, place) in &self.regexes {
            if regex.matches(ex, path)? {
                let mut found = Found::Place { place: *place, prefix_len: 0 };
                if let Some(inner) = self.nested.get(place) {
                    found = inner.find_path(ex, path)?.0.unwrap_or(found);
                }
                return Ok((Some(found), true));
            }
        }
        Ok((found, false))
    }

    /// Between a prefix of the path and the path itself only paths with the same prefix are sorted, so the
    /// last entry not above the path leads to the longest one.
    fn longest(&self, path: &[u8]) -> Option<&Prefix> {
        let mut at = self.prefixes.partition_point(|it| *it.path <= *path).checked_sub(1)?;
        loop {
            let prefix = &self.prefixes[at];
            if path.starts_with(&prefix.path) {
                return Some(prefix);
            }
            at = prefix.parent? as usize;
        }
    }

    fn slash_behind(&self, path: &[u8], found: Option<Found>) -> Option<u32> {
        let whole = matches!(found, Some(Found::Place { prefix_len, .. }) if prefix_len == path.len());
        if whole || !self.redirects {
            return None;
        }
        let behind = |it: &Prefix| it.path.iter().cmp(path.iter().chain(b"/"));
        let at = self.prefixes.binary_search_by(behind).ok()?;
        Some(&self.prefixes[at]).filter(|it| it.redirects).map(|it| it.place)
    }
}
