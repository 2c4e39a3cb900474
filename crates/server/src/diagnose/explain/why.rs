//! Why this server and this location answer, and why the others do not.

use foregate_core::{Regex, Variables};
use foregate_modules::{family, variable};

use super::atlas::Atlas;
use crate::address::Address;
use crate::locations::{Candidate, How};
use crate::names::{Name, Names};

/// One that answers or might have, and why (not).
pub(super) struct Reason {
    /// A server's or a place's number.
    pub(super) number: u32,
    pub(super) why: String,
}

/// How well a name fits, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Exact,
    Suffix,
    Prefix,
    Regex,
}

/// The winner first, then the other servers of the address in the order of the files.
pub(super) fn servers(atlas: &Atlas<'_>, address: &Address, host: &[u8], chosen: u32) -> Vec<Reason> {
    let best = |server: u32| best_name(atlas, server, host);
    let won = best(chosen).filter(|_| address.names.find(host).is_some());
    let listener = address.default_server;
    let why = match &won {
        Some((Class::Exact, name)) => format!("its name \"{name}\" is the host"),
        Some((Class::Suffix | Class::Prefix, name)) => {
            format!("its name \"{name}\" is the longest wildcard that fits the host")
        }
        Some((Class::Regex, name)) => format!("its name \"{name}\" is the first regex that matches the host"),
        None if is_marked(atlas, chosen) => "no name fits the host: it is the default_server".to_owned(),
        None => "no name fits the host: it is the first server of this address".to_owned(),
    };
    let mut reasons = vec![Reason { number: chosen, why }];
    for server in address.servers.iter().copied().filter(|it| *it != chosen) {
        let why = match (best(server), &won) {
            (None, _) if server == listener => {
                "no name of it fits; the default is asked where none does".to_owned()
            }
            (None, _) => "no name of it fits".to_owned(),
            (Some((mine, name)), Some((theirs, better))) if mine == *theirs && mine == Class::Exact => {
                format!("its name \"{name}\" is taken: \"{better}\" stands in an earlier server")
            }
            (Some((_, name)), Some((Class::Regex, better))) => {
                format!("its name \"{name}\" matches too, but \"{better}\" stands before it")
            }
            (Some((mine, name)), Some((theirs, better))) => {
                let than = if mine == *theirs {
                    "a longer one"
                } else {
                    "an exact name or a wildcard before others"
                };
                format!("its name \"{name}\" fits too, but \"{better}\" goes before it: {than}")
            }
            (Some((_, name)), None) => format!("its name \"{name}\" fits"),
        };
        reasons.push(Reason { number: server, why });
    }
    reasons
}

fn is_marked(atlas: &Atlas<'_>, server: u32) -> bool {
    atlas.listens(server).any(|it| it.args.iter().any(|it| *it == "default_server" || *it == "default"))
}

/// The best of a server's names that fit, as written.
fn best_name(atlas: &Atlas<'_>, server: u32, host: &[u8]) -> Option<(Class, String)> {
    let mut fits = Vec::new();
    for word in atlas.names(server) {
        let mut variables = Variables::new(variable, family);
        let regex = |it: &foregate_conf::Word| Regex::compile(it, &it.text, true, &mut variables);
        for name in Name::read(word, foregate_core::hostname(), regex).unwrap_or_default() {
            let mut alone = Names::default();
            _ = alone.add(&name, 0);
            alone.finish();
            if alone.find(host).is_some() {
                let class = match name {
                    Name::Exact(_) => Class::Exact,
                    Name::Suffix(_) => Class::Suffix,
                    Name::Prefix(_) => Class::Prefix,
                    Name::Regex(_) => Class::Regex,
                };
                fits.push((class, word.text.clone()));
            }
        }
    }
    if atlas.names(server).is_empty() && host.is_empty() {
        fits.push((Class::Exact, String::new()));
    }
    // Of several wildcards the longest counts.
    fits.into_iter().min_by_key(|(class, name)| (*class, usize::MAX - name.len()))
}

/// The location that answers first, then the others that fit in some way, and every pattern that was tried.
pub(super) fn locations(atlas: &Atlas<'_>, candidates: &[Candidate], chosen: u32) -> Vec<Reason> {
    let winner = candidates.iter().find(|it| it.place == chosen);
    let mut reasons: Vec<_> =
        winner.iter().map(|it| Reason { number: chosen, why: won(it, candidates) }).collect();
    for it in candidates.iter().filter(|it| it.place != chosen) {
        reasons.push(Reason { number: it.place, why: lost(it, winner.copied(), atlas, candidates) });
    }
    reasons
}

fn won(it: &Candidate, all: &[Candidate]) -> String {
    let patterns = all.iter().any(|it| matches!(it.how, How::Regex { .. }));
    match it.how {
        How::Exact => "it is exactly the path".to_owned(),
        How::Regex { .. } => "it is the first regex that matches".to_owned(),
        How::Prefix { decides: true, .. } => {
            "it is the longest prefix, and its ^~ keeps regexes out".to_owned()
        }
        How::Prefix { .. } if patterns => "it is the longest prefix, and no regex matches".to_owned(),
        How::Prefix { .. } => "it is the longest prefix".to_owned(),
    }
}

fn lost(it: &Candidate, winner: Option<Candidate>, atlas: &Atlas<'_>, all: &[Candidate]) -> String {
    let decided = all.iter().any(|it| matches!(it.how, How::Prefix { longest: true, decides: true }));
    match (it.how, winner.map(|it| it.how)) {
        (How::Prefix { longest: false, .. }, _) => "a longer prefix fits".to_owned(),
        (How::Prefix { .. }, _) if winner.is_some_and(|won| atlas.is_in(won.place, it.place)) => {
            "a location inside of it fits better".to_owned()
        }
        (How::Prefix { .. }, Some(How::Exact)) => "an exact location answers".to_owned(),
        (How::Prefix { .. }, _) => "a regex that matches goes before a prefix".to_owned(),
        (How::Exact, _) => "it is reached from another location only".to_owned(),
        (How::Regex { .. }, Some(How::Exact)) => "not tried: an exact location answers".to_owned(),
        (How::Regex { .. }, Some(How::Prefix { .. })) if decided => {
            "not tried: the longest prefix has ^~".to_owned()
        }
        (How::Regex { matches: false }, _) => "it does not match".to_owned(),
        (How::Regex { matches: true }, _) => "it matches too, but another regex stands before it".to_owned(),
    }
}
