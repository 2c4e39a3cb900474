//! Tables: a configuration, requests, and what must be seen; the form most end-to-end tests have.

use crate::message::Response;
use crate::server::Server;
use crate::setup::Setup;
use crate::subject::{Subject, both, since};

/// A request as [`check`] explains it, and what must be seen.
pub type Case<'a> = (&'a str, &'a str);

/// Starts the configuration on nginx and on Foregate and asks every request of the table on a connection of its own.
///
/// A request is `GET /path`, header lines after `\n`, a body after `\n\n`; `Host`, `Connection: close`, the version
/// and the length are filled in. `{port:1} GET /` asks another port. An expectation is parts joined by ` | `:
///
/// | part | must be seen |
/// |---|---|
/// | `200` (first) | this status; `closed` when the server closes without a byte |
/// | `Name: value` | this header field with exactly this value among its values |
/// | `Name~ part` | a value of this field that contains the part |
/// | `Name:` | this field, whatever its value |
/// | `!Name` | no such field |
/// | `= text` | exactly this body, a last newline aside |
/// | `~ text`, `!~ text` | a body that contains, does not contain this |
/// | `cut` | a body that ends before its framing says |
///
/// `since 1.29.7: 200 ...` leaves the case out on an older nginx. Placeholders are filled in everywhere, `\n` in a
/// part is a newline.
pub fn check(setup: impl Into<Setup>, cases: &[Case<'_>]) {
    let setup = setup.into();
    both(|subject| check_on(&setup.start(subject), cases));
}

/// [`check`] for what nginx does since this version only.
pub fn check_since(version: &str, setup: impl Into<Setup>, cases: &[Case<'_>]) {
    let setup = setup.into();
    since(version, |subject| check_on(&setup.start(subject), cases));
}

/// Asks every request of the table of a running server; panics with all that differ.
pub fn check_on(server: &Server, cases: &[Case<'_>]) {
    let mut wrong = Vec::new();
    for (request, expected) in cases {
        let Some(expected) = applies(server.subject(), expected) else { continue };
        let expected = server.fill(expected);
        let seen = server.try_ask(request);
        let verdict = seen.as_ref().map_err(String::clone).and_then(|seen| shows(seen.as_ref(), &expected));
        if let Err(why) = verdict {
            let seen = seen.unwrap_or_default();
            wrong.push(format!(
                "{request:?}\n  must show: {expected}\n  but {why}\n{}",
                picture(seen.as_ref())
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// The expectation without its `since`, or `None` when this subject is too old for it.
fn applies(subject: Subject, expected: &str) -> Option<&str> {
    match expected.strip_prefix("since ").and_then(|rest| rest.split_once(": ")) {
        Some((version, rest)) => subject.has(version).then_some(rest),
        None => Some(expected),
    }
}

/// Whether an answer shows what an expectation (as in [`check`]) says; `Err` with the first part that it does not.
pub fn shows(seen: Option<&Response>, expected: &str) -> Result<(), String> {
    let mut parts = expected.split(" | ");
    let first = parts.next().unwrap_or("").trim();
    let Some(seen) = seen else {
        return if first == "closed" { Ok(()) } else { Err("the server closed without a byte".to_owned()) };
    };
    if seen.status.to_string() != first {
        return Err(format!("the status is {}", seen.status));
    }
    let mut whole = true;
    for part in parts {
        whole &= part.trim() != "cut";
        part_shows(seen, part.trim())?;
    }
    match whole && !seen.complete {
        true => Err("the body ends before its framing says".to_owned()),
        false => Ok(()),
    }
}

fn part_shows(seen: &Response, part: &str) -> Result<(), String> {
    let body = seen.text();
    let require = |ok: bool, why: &str| if ok { Ok(()) } else { Err(format!("{why}: {part:?}")) };
    if part == "cut" {
        return require(!seen.complete, "the body is whole");
    }
    if let Some(text) = part.strip_prefix("!~ ") {
        return require(!body.contains(text), "the body contains what it must not");
    }
    if let Some(text) = part.strip_prefix("~ ") {
        return require(body.contains(text), "the body does not contain it");
    }
    if part == "=" || part.starts_with("= ") {
        let text = part[1..].trim_start();
        return require(body.strip_suffix('\n').unwrap_or(&body) == text, "the body is another");
    }
    if let Some(name) = part.strip_prefix('!') {
        return require(seen.header(name).is_none(), "there is such a field");
    }
    let end = part.find([':', '~']).unwrap_or_else(|| panic!("cannot read the expectation {part:?}"));
    let (name, value) = (&part[..end], part[end + 1..].trim());
    let values = seen.all(name);
    match (&part[end..=end], value) {
        (":", "") => require(!values.is_empty(), "there is no such field"),
        (":", value) => require(values.contains(&value), "no field has this value"),
        (_, value) => require(values.iter().any(|v| v.contains(value)), "no value contains it"),
    }
}

fn picture(seen: Option<&Response>) -> String {
    let Some(seen) = seen else { return String::new() };
    let text = String::from_utf8_lossy(&seen.raw);
    let lines: Vec<String> = text.lines().take(40).map(|l| format!("    {l}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_exact() {
        let seen = Response {
            status: 200,
            headers: vec![("A".to_owned(), "b c".to_owned())],
            body: b"hello\n".to_vec(),
            complete: true,
            ..Response::default()
        };
        let ok = |expected| shows(Some(&seen), expected).is_ok();
        assert!(ok("200 | A: b c | a~ c | A: | !B | = hello | ~ ell | !~ x"));
        assert!(!ok("404") && !ok("200 | A: b") && !ok("200 | B:") && !ok("200 | !A") && !ok("200 | = hell"));
        assert!(!ok("200 | ~ x") && !ok("200 | !~ ell") && !ok("200 | cut") && !ok("closed"));
        assert!(shows(None, "closed").is_ok() && shows(None, "200").is_err());
    }
}
