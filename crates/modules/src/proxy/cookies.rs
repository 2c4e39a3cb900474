//! `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: cookies of an upstream in the client's terms.

use std::borrow::Cow;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Regex, Template};
use foregate_wire::Fields;

use super::options::Options;
use super::rewrites::{Rewrite, first};

pub(super) struct Cookies {
    domains: Box<[Rewrite]>,
    paths: Box<[Rewrite]>,
    flags: Box<[Flags]>,
}

/// One `proxy_cookie_flags`.
struct Flags {
    cookie: Which,
    flags: Box<[Template]>,
}

enum Which {
    Named(Template),
    Matching(Box<Regex>),
}

/// Name and value of a cookie's part; the value is `None` without `=`.
type Part<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

impl Cookies {
    /// `None`: cookies pass as they are.
    pub(super) fn compile(o: &Options, cx: &mut Compile<'_>) -> Result<Option<Self>, Error> {
        let mut domains = Vec::new();
        for (pattern, replacement) in o.cookie_domains.iter().flatten() {
            domains.push(Rewrite::domain(pattern, replacement, cx)?);
        }
        let mut paths = Vec::new();
        for (pattern, replacement) in o.cookie_paths.iter().flatten() {
            paths.push(Rewrite::prefix(pattern, replacement, cx)?);
        }
        let mut flags = Vec::new();
        for (cookie, words) in o.cookie_flags.iter().flatten() {
            flags.push(Flags::compile(cookie, words, cx)?);
        }
        let none = domains.is_empty() && paths.is_empty() && flags.is_empty();
        Ok((!none).then(|| Self { domains: domains.into(), paths: paths.into(), flags: flags.into() }))
    }

    pub(super) fn rewrite(&self, ex: &mut Exchange, fields: &mut Fields) {
        if !fields.contains(b"Set-Cookie") {
            return;
        }
        let mut new = Fields::new();
        for (name, value) in fields.iter() {
            match name.eq_ignore_ascii_case(b"Set-Cookie").then(|| self.one(ex, value)).flatten() {
                Some(value) => new.push(name, &value),
                None => new.push(name, value),
            }
        }
        *fields = new;
    }

    /// The new text of a cookie; `None` where it stays.
    fn one(&self, ex: &mut Exchange, cookie: &[u8]) -> Option<Vec<u8>> {
        let mut parts: Vec<Part<'_>> = cookie.split(|byte| *byte == b';').map(part).collect();
        parts[0].1.as_ref()?;
        let mut changed = false;
        for (name, value) in &mut parts[1..] {
            let Some(value) = value else { continue };
            let rewrites = match () {
                () if name.eq_ignore_ascii_case(b"domain") => &self.domains,
                () if name.eq_ignore_ascii_case(b"path") => &self.paths,
                () => continue,
            };
            if let Some(new) = first(rewrites, ex, value, 0) {
                *value = new.into();
                changed = true;
            }
        }
        changed |= self.set_flags(ex, &mut parts);
        changed.then(|| join(&parts))
    }

    /// The first line that names the cookie says its flags.
    fn set_flags(&self, ex: &mut Exchange, parts: &mut Vec<Part<'_>>) -> bool {
        let Some(line) = self.flags.iter().find(|it| it.cookie.is(ex, &parts[0].0)) else { return false };
        let mut edits = 0;
        for flag in &line.flags {
            let flag = flag.fill_new(ex);
            if let Some(edit) = EDITS.iter().find(|it| flag.eq_ignore_ascii_case(it.word)) {
                edit.apply(parts);
                edits += 1;
            }
        }
        edits > 0
    }
}

/// What a word of `proxy_cookie_flags` does.
struct Edit {
    word: &'static [u8],
    name: &'static [u8],
    /// `None`: the attribute goes.
    sets: Option<Option<&'static [u8]>>,
}

const EDITS: [Edit; 8] = [
    Edit { word: b"secure", name: b"Secure", sets: Some(None) },
    Edit { word: b"nosecure", name: b"Secure", sets: None },
    Edit { word: b"httponly", name: b"HttpOnly", sets: Some(None) },
    Edit { word: b"nohttponly", name: b"HttpOnly", sets: None },
    Edit { word: b"samesite=strict", name: b"SameSite", sets: Some(Some(b"Strict")) },
    Edit { word: b"samesite=lax", name: b"SameSite", sets: Some(Some(b"Lax")) },
    Edit { word: b"samesite=none", name: b"SameSite", sets: Some(Some(b"None")) },
    Edit { word: b"nosamesite", name: b"SameSite", sets: None },
];

impl Edit {
    fn apply(&self, parts: &mut Vec<Part<'_>>) {
        let is_it = |part: &Part<'_>| part.0.eq_ignore_ascii_case(self.name);
        let at = parts.iter().skip(1).position(is_it).map(|at| at + 1);
        match (self.sets, at) {
            (None, Some(_)) => {
                let mut first = true;
                parts.retain(|part| std::mem::take(&mut first) || !is_it(part));
            }
            (Some(value), None) => parts.push((self.name.into(), value.map(Cow::Borrowed))),
            (Some(Some(value)), Some(at)) => {
                let same = parts[at].1.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(value));
                if !same {
                    parts[at] = (self.name.into(), Some(value.into()));
                }
            }
            _ => (),
        }
    }
}

impl Flags {
    fn compile(cookie: &Word, words: &[Word], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let cookie = match cookie.starts_with('~') {
            true => Which::Matching(Box::new(cx.regex(&cookie.trimmed(1, 0), true)?)),
            false => Which::Named(cx.template(cookie)?),
        };
        let flags = words.iter().map(|word| cx.template(word)).collect::<Result<_, _>>()?;
        Ok(Self { cookie, flags })
    }
}

impl Which {
    fn is(&self, ex: &mut Exchange, name: &[u8]) -> bool {
        match self {
            Self::Named(named) => named.fill_new(ex).eq_ignore_ascii_case(name),
            Self::Matching(regex) => regex.matches(ex, name).unwrap_or(false),
        }
    }
}

fn part(text: &[u8]) -> Part<'_> {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (blanks_off(&text[..at]).into(), Some(blanks_off(&text[at + 1..]).into())),
        None => (blanks_off(text).into(), None),
    }
}

fn blanks_off(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

fn join(parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, (name, value)) in parts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}
