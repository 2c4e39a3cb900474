//! `Cache-Control` (RFC 9111, section 5.2): directives with their arguments, as they stand in one field line.

/// More directives than this in one line are not looked at.
const DIRECTIVES_MAX: usize = 128;

/// What a number that is too large to be held counts as, seconds (RFC 9111, section 1.2.2).
pub const DELTA_SECONDS_MAX: i64 = 1 << 31;

/// One directive. Names compare without case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheDirective<'a> {
    pub name: &'a [u8],
    /// Without its quotes; what is escaped within them stays so.
    pub argument: Option<&'a [u8]>,
}

impl<'a> CacheDirective<'a> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Seconds, at most [`DELTA_SECONDS_MAX`]. `None`: it says nothing that is a number.
    pub fn seconds(&self) -> Option<i64> {
        delta_seconds(self.argument?)
    }

    /// Names of fields in the argument (`no-cache="a, b"`).
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let list = self.argument.unwrap_or_default();
        list.split(|b| matches!(b, b',' | b' ' | b'\t')).filter(|it| !it.is_empty())
    }
}

/// A number of seconds; more than can be held is [`DELTA_SECONDS_MAX`]. `None`: it is none.
pub fn delta_seconds(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    Some(value.min(DELTA_SECONDS_MAX))
}

/// The directives of one field line, in their order. What is no directive is left out.
pub fn cache_directives(line: &[u8]) -> impl Iterator<Item = CacheDirective<'_>> {
    Directives { rest: line }.take(DIRECTIVES_MAX)
}

struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Directives<'a> {
    type Item = CacheDirective<'a>;

    fn next(&mut self) -> Option<CacheDirective<'a>> {
        loop {
            let start = self.rest.iter().position(|b| !matches!(b, b',' | b' ' | b'\t'))?;
            let rest = &self.rest[start..];
            let member = &rest[..member_len(rest)];
            self.rest = &rest[member.len()..];
            if let Some(directive) = directive(member) {
                return Some(directive);
            }
        }
    }
}

/// Up to the next comma that does not stand within quotes.
fn member_len(rest: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => (),
        }
    }
    rest.len()
}

fn directive(member: &[u8]) -> Option<CacheDirective<'_>> {
    let equals = member.iter().position(|b| *b == b'=');
    let (name, argument) = match equals {
        Some(at) => (&member[..at], Some(member[at + 1..].trim_ascii())),
        None => (member, None),
    };
    let name = name.trim_ascii();
    if name.is_empty() || !name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)) {
        return None;
    }
    let is_quoted = |it: &&[u8]| it.len() >= 2 && it.starts_with(b"\"") && it.ends_with(b"\"");
    let argument = argument.map(|it| if is_quoted(&it) { &it[1..it.len() - 1] } else { it });
    Some(CacheDirective { name, argument })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let all = cache_directives(line.as_bytes()).map(|it| match it.argument {
            Some(argument) => {
                format!("{}={}", String::from_utf8_lossy(it.name), String::from_utf8_lossy(argument))
            }
            None => String::from_utf8_lossy(it.name).into_owned(),
        });
        all.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn directives_are_told_apart() {
        for (line, want) in [
            ("", ""),
            (" , ,", ""),
            ("no-cache", "no-cache"),
            ("Public, max-age=60", "Public|max-age=60"),
            ("max-age=\"60\",x", "max-age=60|x"),
            ("no-cache=\"a, b\", private", "no-cache=a, b|private"),
            ("a=\"x\\\",y\",b", "a=x\\\",y|b"),
            ("a=\"x, b", "a=\"x, b"),
            ("max-age = 5", "max-age=5"),
            ("not a name, b", "b"),
            ("=5, b", "b"),
            ("x-no-store", "x-no-store"),
        ] {
            assert_eq!(shown(line), want, "{line}");
        }
    }

    #[test]
    fn numbers_are_bounded() {
        let seconds = |text: &str| cache_directives(text.as_bytes()).next().and_then(|it| it.seconds());
        assert_eq!(seconds("max-age=0"), Some(0));
        assert_eq!(seconds("max-age=007"), Some(7));
        assert_eq!(seconds("max-age=99999999999999999999999"), Some(DELTA_SECONDS_MAX));
        for bad in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=1 2", "max-age=x"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_fields_are_listed() {
        let directive = cache_directives(b"private=\"Set-Cookie,X-User\"").next();
        let names: Vec<_> = directive.iter().flat_map(CacheDirective::names).collect();
        assert_eq!(names, [&b"Set-Cookie"[..], b"X-User"]);
    }
}
