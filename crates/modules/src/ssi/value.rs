//! Values of commands: variables filled in, backslashes taken out.

use foregate_core::{Exchange, Level, log};

use super::family::Family;

/// Bytes that one value may grow to with its variables.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The command cannot be done; why has been logged.
#[derive(Debug)]
pub(super) struct Failed;

/// What a value comes to in this exchange.
pub(super) fn fill(raw: &[u8], ex: &mut Exchange, family: &Family) -> Result<Vec<u8>, Failed> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'$' {
            at += literal(&raw[at..], &mut out);
            continue;
        }
        let name = name_at(raw, at + 1, ex)?;
        at = name.1;
        variable(&name.0, ex, family, &mut out);
        if out.len() > VALUE_BYTES_MAX {
            log!(ex, Level::Error, "the value of an SSI command is too long");
            return Err(Failed);
        }
    }
    Ok(out)
}

/// As [`fill`], for URIs: a relative one stands beside the page.
pub(super) fn uri(raw: &[u8], ex: &mut Exchange, family: &Family) -> Result<Vec<u8>, Failed> {
    let filled = fill(raw, ex, family)?;
    if filled.starts_with(b"/") {
        return Ok(filled);
    }
    let folder = ex.uri.iter().rposition(|b| *b == b'/').map_or(0, |it| it + 1);
    Ok([&ex.uri[..folder], &filled].concat())
}

/// Appends a variable's value: the pages' own, else the server's. `false`: there is none.
pub(super) fn variable(name: &[u8], ex: &mut Exchange, family: &Family, out: &mut Vec<u8>) -> bool {
    let name = name.to_ascii_lowercase();
    if let Some(value) = family.get(&name) {
        out.extend_from_slice(&value);
        return true;
    }
    let Ok(name) = std::str::from_utf8(&name) else { return false };
    let cycle = ex.cycle.clone();
    cycle.variable(name).is_some_and(|found| found.fill(name, ex, out))
}

/// Appends text up to the next variable; gives how long it was. Behind a backslash quotes, dollars and backslashes
/// stand for themselves; before anything else it stays.
fn literal(text: &[u8], out: &mut Vec<u8>) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match (escaped, byte) {
            (false, b'\\') => {
                escaped = true;
                continue;
            }
            (false, b'$') => return at,
            (true, b'\\' | b'\'' | b'"' | b'$') | (false, _) => (),
            (true, _) => out.push(b'\\'),
        }
        escaped = false;
        out.push(*byte);
    }
    text.len()
}

/// The name behind a dollar, and where the text goes on.
fn name_at(raw: &[u8], at: usize, ex: &Exchange) -> Result<(Vec<u8>, usize), Failed> {
    let braced = raw.get(at) == Some(&b'{');
    let start = at + usize::from(braced);
    let rest = raw.get(start..).unwrap_or_default();
    let long = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let name = &rest[..long];
    if braced && !rest.is_empty() && rest.get(long) != Some(&b'}') {
        let name = String::from_utf8_lossy(name);
        log!(ex, Level::Error, "the closing bracket in \"{name}\" variable is missing");
        return Err(Failed);
    }
    if name.is_empty() {
        let raw = String::from_utf8_lossy(raw);
        log!(ex, Level::Error, "invalid variable name in \"{raw}\"");
        return Err(Failed);
    }
    Ok((name.to_vec(), start + long + usize::from(braced)))
}

#[cfg(test)]
mod tests {
    use foregate_core::testing;

    use super::*;

    fn check(raw: &str) -> Option<String> {
        let mut ex = testing::exchange("GET /dir/page.html?x=1 HTTP/1.1\nHost: h");
        let family = Family::default();
        family.set(b"a", b"A$b".to_vec());
        family.capture(vec![b"whole".to_vec(), b"one".to_vec()]);
        fill(raw.as_bytes(), &mut ex, &family).ok().map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn values_are_filled_in() {
        for (raw, want) in [
            ("", Some("")),
            ("plain", Some("plain")),
            ("x${a}y$A-$none.", Some("xA$byA$b-.")),
            ("$0 $1 $2", Some("whole one ")),
            (r"a\\b\'c\d\$a", Some(r"a\b'c\d$a")),
            (r"\$a$a\", Some("$aA$b")),
            ("$", None),
            ("$-", None),
            ("${a", None),
            ("${", None),
            ("${}", None),
        ] {
            assert_eq!(check(raw).as_deref(), want, "{raw}");
        }
    }

    #[test]
    fn relative_uris_stand_beside_the_page() {
        let mut ex = testing::exchange("GET /dir/page.html HTTP/1.1\nHost: h");
        let mut check = |raw: &str| String::from_utf8(uri(raw.as_bytes(), &mut ex, &Family::default()).unwrap());
        assert_eq!(check("x?a").unwrap(), "/dir/x?a");
        assert_eq!(check("/x").unwrap(), "/x");
        assert_eq!(check("").unwrap(), "/dir/");
    }
}
