//! `expr="…"` of `if` and `elif`: a text, or two compared, or one matched against a pattern.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use foregate_core::{Exchange, Level, Regex, log};

use super::family::Family;
use super::value::{self, Failed};

/// Compiled patterns that a thread keeps; pages bring the same ones over and over.
const PATTERNS_KEPT_MAX: usize = 128;

thread_local! {
    static PATTERNS: RefCell<HashMap<Vec<u8>, Rc<Regex>>> = RefCell::default();
}

/// Whether the condition holds.
pub(super) fn holds(expr: &[u8], ex: &mut Exchange, family: &Family) -> Result<bool, Failed> {
    let expr = &mut expr.to_vec()[..];
    let end = expr.iter().position(|b| !is_left(*b)).unwrap_or(expr.len());
    expr[..end].make_ascii_lowercase();
    let left = value::fill(&expr[..end], ex, family)?;
    let rest = expr[end..].trim_ascii_start_spaces();
    let (negative, right) = match rest {
        [] => return Ok(!left.is_empty()),
        [b'=', right @ ..] => (false, right),
        [b'!', b'=', right @ ..] => (true, right),
        _ => return Err(invalid(expr, ex)),
    };
    let equal = match right.trim_ascii_start_spaces() {
        [b'/', pattern @ .., b'/'] => matches(&value::fill(pattern, ex, family)?, &left, ex, family)?,
        [b'/', _, ..] => return Err(invalid(expr, ex)),
        text => {
            // A text that begins with a slash is written with a backslash before it.
            let text = text.strip_prefix(b"\\").filter(|it| it.starts_with(b"/")).unwrap_or(text);
            value::fill(text, ex, family)? == left
        }
    };
    Ok(equal != negative)
}

/// What may stand left of a comparison: words, variables and quotes.
fn is_left(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"${}_\"'".contains(&byte)
}

fn invalid(expr: &[u8], ex: &Exchange) -> Failed {
    log!(ex, Level::Error, "invalid expression in \"{}\"", String::from_utf8_lossy(expr));
    Failed
}

fn matches(pattern: &[u8], subject: &[u8], ex: &Exchange, family: &Family) -> Result<bool, Failed> {
    let regex = compiled(pattern).map_err(|why| {
        log!(ex, Level::Error, "{why}");
        Failed
    })?;
    let groups = regex.groups(subject).map_err(|_| {
        let (subject, pattern) = (String::from_utf8_lossy(subject), regex.pattern());
        log!(ex, Level::Alert, "pcre2_match() failed: -47 on \"{subject}\" using \"{pattern}\"");
        Failed
    })?;
    let Some(groups) = groups else { return Ok(false) };
    for (name, group) in &groups {
        if let Some(name) = name {
            family.set(&name.to_ascii_lowercase().into_bytes(), group.unwrap_or_default().to_vec());
        }
    }
    // As PCRE counts: groups behind the last one that took part are not there.
    let n = groups.iter().rposition(|(_, group)| group.is_some()).map_or(0, |it| it + 1);
    family.capture(groups[..n].iter().map(|(_, group)| group.unwrap_or_default().to_vec()).collect());
    Ok(true)
}

fn compiled(pattern: &[u8]) -> Result<Rc<Regex>, String> {
    PATTERNS.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(pattern) {
            return Ok(regex.clone());
        }
        if kept.len() >= PATTERNS_KEPT_MAX {
            kept.clear();
        }
        let regex = Rc::new(Regex::nameless(&String::from_utf8_lossy(pattern))?);
        kept.insert(pattern.to_vec(), regex.clone());
        Ok(regex)
    })
}

trait TrimSpaces {
    /// Without the spaces in front, and no other blanks: as nginx.
    fn trim_ascii_start_spaces(&self) -> &[u8];
}

impl TrimSpaces for [u8] {
    fn trim_ascii_start_spaces(&self) -> &[u8] {
        let start = self.iter().take_while(|b| **b == b' ').count();
        &self[start..]
    }
}

#[cfg(test)]
mod tests {
    use foregate_core::testing;

    use super::*;

    fn check(expr: &str) -> Option<(bool, String)> {
        let mut ex = testing::exchange("GET / HTTP/1.1\nHost: h");
        let family = Family::default();
        family.set(b"a", b"Some.html".to_vec());
        let holds = holds(expr.as_bytes(), &mut ex, &family).ok()?;
        let seen = [&b"1"[..], b"name"].map(|it| family.get(it).map(|it| String::from_utf8(it).unwrap()));
        Some((holds, seen.map(Option::unwrap_or_default).join("|")))
    }

    #[test]
    fn conditions_hold_or_not() {
        for (expr, want) in [
            ("$a", Some((true, "|"))),
            ("$none", Some((false, "|"))),
            ("", Some((false, "|"))),
            ("WORD = word", Some((true, "|"))),
            ("word=WORD", Some((false, "|"))),
            ("$A = Some.html", Some((true, "|"))),
            ("$a != Some.html", Some((false, "|"))),
            ("$a != ", Some((true, "|"))),
            ("$none = ", Some((true, "|"))),
            ("$a = /^(\\w+)\\.html\\$/", Some((true, "Some|"))),
            ("$a = /html$/", None),
            ("$a = /^(?<name>s)/", Some((false, "|"))),
            ("$a = /^(?<Name>S)/", Some((true, "S|S"))),
            ("$a != /x/", Some((true, "|"))),
            ("$a = \\/x/", Some((false, "|"))),
            ("$a = /x", None),
            ("$a = /(/", None),
            ("$a ~ x", None),
            ("$ = x", None),
            ("a.b = a.b", None),
        ] {
            assert_eq!(check(expr), want.map(|(holds, seen)| (holds, seen.to_owned())), "{expr}");
        }
    }
}
