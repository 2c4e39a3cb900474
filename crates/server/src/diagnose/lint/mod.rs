//! The well-known traps of nginx's configuration language: each a small rule that knows one of them.
//!
//! A rule looks at one block at a time, with the blocks around it in reach, and says what stands there, why it is a
//! trap and what to write instead. Rules see what is written, not what it compiles to: they work on files that
//! cannot be loaded too.

mod access;
mod block;
mod headers;
mod limits;
mod locations;
mod names;
mod passing;
mod redirects;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashSet;

use foregate_conf::{Error, Node, Span};

use super::Finding;
use block::{Block, Kind};

/// One trap.
pub struct Rule {
    /// Its name in reports; it stays the same for ever.
    pub code: &'static str,
    /// What it warns of, in a few words.
    pub about: &'static str,
    look: fn(&Block<'_>, &mut Found),
}

/// All rules, in the order of the documentation.
pub static RULES: &[&[Rule]] = &[
    headers::RULES,
    redirects::RULES,
    locations::RULES,
    passing::RULES,
    access::RULES,
    names::RULES,
    tls::RULES,
    limits::RULES,
];

/// Looks for every trap, in the order of the files.
pub fn lint(nodes: &[Node]) -> Vec<Finding> {
    let mut found = Found { code: "", all: Vec::new() };
    visit(&Block::main(nodes), &mut found);
    let mut findings = found.all;
    // A file that is included twice has each of its traps once.
    let mut seen = HashSet::new();
    let place = |it: &Finding| it.error.span.map(|span| (span.file, span.start));
    findings.retain(|it| seen.insert((it.code, place(it))));
    findings.sort_by_key(place);
    findings
}

fn visit(block: &Block<'_>, found: &mut Found) {
    for rule in RULES.iter().copied().flatten() {
        found.code = rule.code;
        (rule.look)(block, found);
    }
    block.inner().for_each(|inner| visit(&inner, found));
}

/// What has been found so far.
struct Found {
    code: &'static str,
    all: Vec<Finding>,
}

impl Found {
    /// Something that breaks, or lets in who should stay outside.
    fn warn(&mut self, at: Span, what: impl Into<String>, repair: impl Into<String>) {
        let error = Error::at(at, what).advise(repair).warn();
        self.all.push(Finding { code: self.code, error });
    }

    /// Something that is right in some places and a trap in others.
    fn note(&mut self, at: Span, what: impl Into<String>, repair: impl Into<String>) {
        let error = Error::at(at, what).advise(repair).level(foregate_conf::Level::Notice);
        self.all.push(Finding { code: self.code, error });
    }
}
