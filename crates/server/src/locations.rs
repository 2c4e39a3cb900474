//! `location`: from a path to the place whose settings hold.

use std::collections::HashMap;

use foregate_core::{Exchange, Regex, Regexes, TooHard};

use crate::path_tree::{Kind, PathTree};

/// The locations of a server, or those nested in a location.
#[derive(Default)]
pub(crate) struct Locations {
    /// Finds `exact` and `prefixes`.
    tree: PathTree,
    /// Sorted by path, as the prefixes.
    exact: Vec<(Box<[u8]>, u32)>,
    prefixes: Vec<Prefix>,
    regexes: Regexes<u32>,
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
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A place, and how many bytes of the path its prefix covers (0 for a regex).
    Place { place: u32, prefix_len: usize },
    /// The path with a slash behind it has a place that passes requests on.
    Redirect { place: u32 },
}

/// A location that has to do with a path: why it answers, or does not, is told by these and by who does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: u32,
    pub(crate) how: How,
}

/// In what way a location fits a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Exact,
    /// Only the longest counts; `decides` is its `^~`.
    Prefix {
        longest: bool,
        decides: bool,
    },
    Regex {
        matches: bool,
    },
}

impl Locations {
    pub(crate) fn add_exact(&mut self, path: &[u8], place: u32) -> bool {
        match self.exact.binary_search_by(|(it, _)| (**it).cmp(path)) {
            Ok(_) => false,
            Err(at) => {
                self.exact.insert(at, (path.into(), place));
                true
            }
        }
    }

    pub(crate) fn add_prefix(&mut self, path: &[u8], place: u32, decides: bool, redirects: bool) -> bool {
        let redirects = redirects && path.ends_with(b"/");
        match self.prefixes.binary_search_by(|it| (*it.path).cmp(path)) {
            Ok(_) => false,
            Err(at) => {
                self.prefixes.insert(at, Prefix { path: path.into(), place, decides, redirects });
                true
            }
        }
    }

    pub(crate) fn add_regex(&mut self, regex: Regex, place: u32) {
        self.regexes.push(regex, place);
    }

    pub(crate) fn nest(&mut self, place: u32, inner: Locations) {
        self.nested.insert(place, inner);
    }

    /// Makes what requests search in. Called once, when all are in.
    pub(crate) fn finish(&mut self) {
        let exact = (0..).zip(&self.exact).map(|(at, (path, _))| (&**path, Kind::Exact, at));
        let prefixes = (0..).zip(&self.prefixes).map(|(at, it)| (&*it.path, Kind::Prefix, at));
        self.tree = PathTree::new(exact.chain(prefixes).collect());
        self.regexes.finish();
    }

    /// Exact, then the longest prefix; unless that one decides, the first regex of the innermost nest that
    /// matches; else the prefix.
    pub(crate) fn find(&self, ex: &mut Exchange) -> Result<Option<Found>, TooHard> {
        let path = std::mem::take(&mut ex.uri);
        let found = self.find_path(ex, &path).map(|(found, _)| found);
        ex.uri = path;
        found
    }

    /// Every location that fits the path in some way, and all patterns: for those who want to know why.
    pub(crate) fn tell(&self, path: &[u8], told: &mut Vec<Candidate>) {
        let mut tell = |place, how| told.push(Candidate { place, how });
        let exact = self.exact.iter().find(|(it, _)| **it == *path);
        exact.iter().for_each(|(_, place)| tell(*place, How::Exact));
        // Sorted by path: of those that fit, the last is the longest.
        let fits: Vec<_> = self.prefixes.iter().rev().filter(|it| path.starts_with(&it.path)).collect();
        for (at, it) in fits.iter().enumerate() {
            tell(it.place, How::Prefix { longest: at == 0, decides: it.decides });
        }
        let mut inside: Vec<u32> = fits.first().map(|it| it.place).into_iter().collect();
        for (regex, place) in self.regexes.all() {
            let matches = regex.is_match(path).unwrap_or(false);
            tell(*place, How::Regex { matches });
            inside.extend(matches.then_some(*place));
        }
        for inner in inside.iter().filter_map(|it| self.nested.get(it)) {
            inner.tell(path, told);
        }
    }

    /// The flag tells whether the search is over: an exact match or a regex ends it.
    fn find_path(&self, ex: &mut Exchange, path: &[u8]) -> Result<(Option<Found>, bool), TooHard> {
        let walked = self.tree.walk(path);
        if let Some(at) = walked.exact {
            let (_, place) = self.exact[at as usize];
            return Ok((Some(Found::Place { place, prefix_len: path.len() }), true));
        }
        let prefix = |at: u32| &self.prefixes[at as usize];
        let longest = walked.prefix.map(prefix);
        let mut found = longest.map(|it| Found::Place { place: it.place, prefix_len: it.path.len() });
        let whole = longest.is_some_and(|it| it.path.len() == path.len());
        if let Some(it) = walked.with_slash.map(prefix).filter(|it| it.redirects && !whole) {
            return Ok((Some(Found::Redirect { place: it.place }), true));
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
        if longest.is_some_and(|it| it.decides) {
            return Ok((found, false));
        }
        if let Some(place) = self.regexes.matches(ex, path)? {
            let mut found = Found::Place { place: *place, prefix_len: 0 };
            if let Some(inner) = self.nested.get(place) {
                found = inner.find_path(ex, path)?.0.unwrap_or(found);
            }
            return Ok((Some(found), true));
        }
        Ok((found, false))
    }
}
