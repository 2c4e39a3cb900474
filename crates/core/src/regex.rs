//! Regular expressions with PCRE's meaning and without its dangers.
//!
//! Patterns are written for PCRE2 in its byte mode. Those that a linear-time engine can run are run by one;
//! look-around, back-references and possessive quantifiers backtrack under a limit.

use fancy_regex::{BytesMode, RegexBuilder};
use foregate_conf::{Error, Word};

use crate::exchange::Exchange;
use crate::variable::{Slot, Variables};

/// Steps that one match may backtrack: PCRE's own default limit is of this order.
const BACKTRACKS_MAX: usize = 1_000_000;
/// Bytes that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 8 << 20;

/// A compiled pattern and the variables that its named groups fill.
#[derive(Clone)]
pub struct Regex {
    engine: fancy_regex::Regex,
    names: Box<[(usize, u32)]>,
    groups: usize,
    pattern: Box<str>,
    caseless: bool,
}

/// The match took more steps than allowed: answered with 500, as nginx does.
#[derive(Debug)]
pub struct TooHard;

impl Regex {
    /// # Errors
    /// A pattern that does not compile, worded as nginx words PCRE's refusal.
    pub fn compile(
        word: &Word,
        pattern: &str,
        caseless: bool,
        variables: &mut Variables,
    ) -> Result<Self, Error> {
        let engine = engine(pattern, caseless).map_err(|why| Error::at(word.span, why))?;
        let mut names = Vec::new();
        for (group, name) in engine.capture_names().enumerate() {
            if let Some(name) = name {
                names.push((group, variables.declare(name, word.span)?));
            }
        }
        let groups = engine.captures_len();
        Ok(Self { engine, names: names.into(), groups, pattern: pattern.into(), caseless })
    }

    /// A pattern that a response brings (SSI): its named groups fill no variables, [`Regex::groups`] tells them.
    ///
    /// # Errors
    /// As nginx words PCRE's refusal.
    pub fn nameless(pattern: &str) -> Result<Self, String> {
        let engine = engine(pattern, false)?;
        let groups = engine.captures_len();
        Ok(Self { engine, names: Box::default(), groups, pattern: pattern.into(), caseless: false })
    }

    /// Declares the named groups of a pattern before anything is resolved, so that they may be used above it.
    pub fn declare(pattern: &str, word: &Word, variables: &mut Variables) -> Result<(), Error> {
        let mut rest = pattern;
        while let Some(at) = rest.find("(?") {
            rest = &rest[at + 2..];
            let name = rest.strip_prefix('P').unwrap_or(rest);
            let (name, close) = match name.as_bytes().first() {
                Some(b'<') => (&name[1..], '>'),
                Some(b'\'') => (&name[1..], '\''),
                _ => continue,
            };
            if let Some((name, _)) = name.split_once(close)
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !name.is_empty()
            {
                variables.declare(name, word.span)?;
            }
        }
        Ok(())
    }

    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// How many groups the pattern has, besides the whole.
    pub fn n_groups(&self) -> usize {
        self.groups - 1
    }

    /// The pattern in the engine's spelling.
    pub(crate) fn spelling(&self) -> String {
        translate(&self.pattern)
    }

    pub(crate) fn is_caseless(&self) -> bool {
        self.caseless
    }

    /// Tells whether the subject matches, leaving the captures alone.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, TooHard> {
        self.engine.is_match(subject).map_err(|_| TooHard)
    }

    /// The groups of a match with their names, the whole match first; `None`: it does not match.
    pub fn groups<'a>(&'a self, subject: &'a [u8]) -> Result<Option<Vec<Group<'a>>>, TooHard> {
        let Some(found) = self.engine.captures(subject).map_err(|_| TooHard)? else { return Ok(None) };
        let bytes = |n| found.get(n).map(|it| &subject[it.start()..it.end()]);
        Ok(Some(self.engine.capture_names().enumerate().map(|(n, name)| (name, bytes(n))).collect()))
    }

    /// Matches; a success sets `$1`…`$9` and the named groups of the exchange.
    pub fn matches(&self, ex: &mut Exchange, subject: &[u8]) -> Result<bool, TooHard> {
        if self.groups <= 1 {
            let found = self.engine.find(subject).map_err(|_| TooHard)?;
            if let Some(found) = &found {
                ex.captures.set(subject, [Some((found.start(), found.end()))].into_iter());
            }
            return Ok(found.is_some());
        }
        let Some(found) = self.engine.captures(subject).map_err(|_| TooHard)? else { return Ok(false) };
        ex.captures.set(subject, (0..found.len()).map(|n| found.get(n).map(|it| (it.start(), it.end()))));
        for (group, slot) in &self.names {
            let value = found.get(*group).map(|it| subject[it.start()..it.end()].into());
            ex.set_slot(*slot, value.map_or(Slot::Missing, Slot::Value));
        }
        Ok(true)
    }
}

/// A group's name and what it matched, each if any.
pub type Group<'a> = (Option<&'a str>, Option<&'a [u8]>);

fn engine(pattern: &str, caseless: bool) -> Result<fancy_regex::Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .case_insensitive(caseless)
        .bytes_mode(BytesMode::Ascii)
        .backtrack_limit(BACKTRACKS_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|why| format!("pcre2_compile() failed: {} in \"{pattern}\"", first_line(&why)))
}

/// The subject of the last successful match and its groups: a copy, so that nothing outlives it.
#[derive(Clone, Default)]
pub struct Captures {
    subject: Vec<u8>,
    groups: Vec<Option<(u32, u32)>>,
}

impl Captures {
    /// Group 0 is the whole match.
    pub fn get(&self, n: usize) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(n)?)?;
        self.subject.get(start as usize..end as usize)
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub fn clear(&mut self) {
        self.subject.clear();
        self.groups.clear();
    }

    fn set(&mut self, subject: &[u8], groups: impl Iterator<Item = Option<(usize, usize)>>) {
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        self.groups.clear();
        self.groups.extend(groups.map(|it| it.map(|(start, end)| (start as u32, end as u32))));
    }
}

/// PCRE's spelling into the engine's: what the engine would refuse or read otherwise.
fn translate(pattern: &str) -> String {
    let mut rest = pattern;
    for verb in ["(*UTF8)", "(*UTF)", "(*UCP)"] {
        rest = rest.strip_prefix(verb).unwrap_or(rest);
    }
    let mut out = String::with_capacity(rest.len());
    let mut in_class = false;
    let mut chars = rest.chars().peekable();
    let mut class_shorthand = false;
    while let Some(c) = chars.next() {
        let shorthand = std::mem::take(&mut class_shorthand);
        match c {
            '\\' => {
                let Some(next) = chars.next() else {
                    out.push('\\');
                    break;
                };
                class_shorthand = in_class && "wdsWDShHvV".contains(next);
                match next {
                    'Q' => quote_literally(&mut chars, &mut out),
                    'p' | 'P' => property(next, in_class, &mut chars, &mut out),
                    // Harmless escapes of characters that mean nothing to PCRE.
                    '/' | '_' | '"' | '\'' | '=' | '@' | ':' | ',' | ';' | '%' | '!' | '`' => out.push(next),
                    '<' | '>' => out.push(next),
                    // PCRE's `\Z` and `$` allow one newline at the end.
                    _ => out.extend(['\\', next]),
                }
            }
            '[' if !in_class => {
                in_class = true;
                out.push(c);
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            // A nested `[` is a plain character to PCRE, unless it opens a POSIX class.
            '[' if chars.peek() != Some(&':') => out.push_str("\\["),
            '&' | '~' if in_class => out.extend(['\\', c]),
            // `[\w-.]`: behind a shorthand the dash cannot begin a range.
            '-' if in_class && shorthand => out.push_str("\\-"),
            ']' if in_class => {
                // The end of a POSIX class is not the end of the set.
                in_class =
                    out.ends_with(':') && out.rfind("[:").is_some_and(|at| !out[at + 2..].contains(']'));
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// `\Q…\E`: everything between is literal.
fn quote_literally(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            return;
        }
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
}

/// `\p{N}` and its kin: in byte mode only ASCII has properties.
fn property(
    letter: char,
    in_class: bool,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) {
    let mut name = String::new();
    match chars.next() {
        Some('{') => name.extend(chars.by_ref().take_while(|c| *c != '}')),
        Some(c) => name.push(c),
        None => (),
    }
    let negated = (letter == 'P') != name.starts_with('^');
    let class = match name.trim_start_matches('^') {
        "N" | "Nd" => "digit",
        "L" | "L&" => "alpha",
        "Lu" => "upper",
        "Ll" => "lower",
        "P" => "punct",
        "Z" | "Zs" => "blank",
        "Xan" => "alnum",
        "Xwd" => "word",
        "Xsp" | "Xps" => "space",
        _ => {
            out.push_str(&format!("\\{letter}{{{name}}}"));
            return;
        }
    };
    let caret = if negated { "^" } else { "" };
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    out.push_str(&format!("{open}[:{caret}{class}:]{close}"));
}

fn first_line(why: &fancy_regex::Error) -> String {
    why.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn spellings_of_pcre_are_translated() {
        for (pcre, ours) in [
            (r"^/a\/b$", r"^/a/b$"),
            (r"[\w-.]+", r"[\w\-.]+"),
            (r"\Qa.b\E.c", r"a\.b.c"),
            (r"(*UTF8)é", r"é"),
            (r"[[:alpha:]_]x", r"[[:alpha:]_]x"),
            (r"[]a]", r"[\]a]"),
            (r"w\p{N}+[\p{L}_]", r"w[[:digit:]]+[[:alpha:]_]"),
        ] {
            assert_eq!(translate(pcre), ours, "{pcre}");
        }
    }
}
