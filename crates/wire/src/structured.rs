//! Structured fields (RFC 9651): dictionaries, read strictly, since a field with one mistake in it says nothing at all.

/// More members than this make a field invalid; RFC 9651 asks for 1024 at least.
const MEMBERS_MAX: usize = 1024;
/// Digits of an integer, and of both parts of a decimal.
const INTEGER_DIGITS_MAX: usize = 15;
const WHOLE_DIGITS_MAX: usize = 12;
const FRACTION_DIGITS_MAX: usize = 3;

/// A member's value, as far as anybody asks for it. Parameters are read and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bare {
    Integer(i64),
    Token(Vec<u8>),
    String(Vec<u8>),
    Boolean(bool),
    /// A decimal, bytes, a date, a display string or a list: of the right form, and not kept.
    Other,
}

/// Reads a dictionary from all lines of a field. `None`: it is none, and the field is to be ignored.
pub fn dictionary<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(Vec<u8>, Bare)>> {
    let mut joined = Vec::new();
    for line in lines {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(line);
    }
    let mut rest = Rest(&joined);
    rest.skip(b" ");
    let mut members: Vec<(Vec<u8>, Bare)> = Vec::new();
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let value = if rest.take(b'=') { rest.item_or_list()? } else { Bare::Boolean(true) };
        rest.parameters()?;
        members.retain(|it| it.0 != key);
        members.push((key, value));
        if members.len() > MEMBERS_MAX {
            return None;
        }
        rest.skip(b" \t");
        if rest.0.is_empty() {
            break;
        }
        if !rest.take(b',') {
            return None;
        }
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, blanks: &[u8]) {
        let n = self.0.iter().take_while(|b| blanks.contains(b)).count();
        self.0 = &self.0[n..];
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.0.iter().take_while(|b| fits(**b)).count();
        let (run, rest) = self.0.split_at(n);
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let first = *self.0.first()?;
        if !first.is_ascii_lowercase() && first != b'*' {
            return None;
        }
        Some(self.run(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b)).to_vec())
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Bare> {
        if !self.take(b'(') {
            return self.item();
        }
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Bare::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Bare> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Bare::String),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
                Some(Bare::Token(self.run(fits).to_vec()))
            }
            b':' => self.bytes(),
            b'?' => {
                self.take(b'?');
                match self.0.first()? {
                    b'0' => _ = self.take(b'0'),
                    b'1' => return self.take(b'1').then_some(Bare::Boolean(true)),
                    _ => return None,
                }
                Some(Bare::Boolean(false))
            }
            b'@' => {
                self.take(b'@');
                matches!(self.number()?, Bare::Integer(_)).then_some(Bare::Other)
            }
            b'%' => {
                self.take(b'%');
                self.string().map(|_| Bare::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Bare> {
        let negative = self.take(b'-');
        let whole = self.run(|b| b.is_ascii_digit());
        if whole.is_empty() {
            return None;
        }
        if self.take(b'.') {
            let fraction = self.run(|b| b.is_ascii_digit());
            let fits = whole.len() <= WHOLE_DIGITS_MAX && (1..=FRACTION_DIGITS_MAX).contains(&fraction.len());
            return fits.then_some(Bare::Other);
        }
        if whole.len() > INTEGER_DIGITS_MAX {
            return None;
        }
        let value = whole.iter().fold(0_i64, |n, b| n * 10 + i64::from(b - b'0'));
        Some(Bare::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        if !self.take(b'"') {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let byte = *self.0.first()?;
            self.0 = &self.0[1..];
            match byte {
                b'"' => return Some(text),
                b'\\' => match *self.0.first()? {
                    it @ (b'"' | b'\\') => {
                        self.0 = &self.0[1..];
                        text.push(it);
                    }
                    _ => return None,
                },
                0x20..=0x7e => text.push(byte),
                _ => return None,
            }
        }
    }

    fn bytes(&mut self) -> Option<Bare> {
        self.take(b':');
        self.run(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        self.take(b':').then_some(Bare::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<Vec<(String, Bare)>> {
        let read = dictionary([line.as_bytes()].into_iter())?;
        Some(
            read.into_iter()
                .map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value))
                .collect(),
        )
    }

    #[test]
    fn dictionaries_are_read() {
        let pair = |key: &str, value: Bare| (key.to_owned(), value);
        assert_eq!(
            one("max-age=600, must-revalidate;a=1, b=\"x\\\"\", c=tok/en:x, d=?0"),
            Some(vec![
                pair("max-age", Bare::Integer(600)),
                pair("must-revalidate", Bare::Boolean(true)),
                pair("b", Bare::String(b"x\"".to_vec())),
                pair("c", Bare::Token(b"tok/en:x".to_vec())),
                pair("d", Bare::Boolean(false)),
            ])
        );
        assert_eq!(one("a=1,a=2"), Some(vec![pair("a", Bare::Integer(2))]));
        assert_eq!(one("  a=-5  "), Some(vec![pair("a", Bare::Integer(-5))]));
        for other in ["a=(1 \"x\" y;q=1)", "a=()", "a=1.5", "a=:aGk=:", "a=@1659578233", "a=%\"x\""] {
            assert_eq!(one(other), Some(vec![pair("a", Bare::Other)]), "{other}");
        }
        assert_eq!(one(""), Some(Vec::new()));
    }

    #[test]
    fn one_mistake_makes_all_of_it_invalid() {
        for bad in [
            "Max-Age=1",
            "a=",
            "a=1,",
            "a=1 b=2",
            "a=1;",
            "a=1;B",
            "a=\"x",
            "a=\"\\x\"",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=?2",
            "a=:x",
            "a=(1",
            "a=(1,2)",
            "=1",
            "a b",
            "a=-",
            "\u{e9}",
            "a=\"\u{e9}\"",
            "a=1 ;b",
            ",a",
        ] {
            assert_eq!(one(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_add_up() {
        let lines = [&b"a=1"[..], b"b, a=3"];
        let read = dictionary(lines.into_iter());
        assert_eq!(read, Some(vec![(b"b".to_vec(), Bare::Boolean(true)), (b"a".to_vec(), Bare::Integer(3))]));
    }
}
