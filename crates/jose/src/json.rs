//! JSON (RFC 8259) as strangers send it: strict, bounded in depth, and no name twice in one object.
//!
//! Two readers may disagree about which of two members of one name counts, and that is how a token says one thing to
//! the proxy and another to the application.

use std::fmt::{self, Write as _};

/// Objects and lists inside each other.
const DEPTH_MAX: usize = 32;
/// Members of one object; each is compared with those before it.
const MEMBERS_MAX: usize = 512;

/// A value. Numbers are kept as they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Box<str>),
    Text(String),
    List(Vec<Value>),
    Object(Object),
}

/// Members in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no JSON, from this byte on.
    Text(usize),
    /// Deeper than 32 levels, or an object of more than 512 members.
    Large,
    /// A name that stands twice in one object.
    Twice(String),
    /// It is JSON, but not an object.
    NoObject,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(at) => write!(f, "it is not JSON from byte {at} on"),
            Self::Large => f.write_str("it has too many members or levels"),
            Self::Twice(name) => write!(f, "the member {name:?} stands there twice"),
            Self::NoObject => f.write_str("it is not a JSON object"),
        }
    }
}

impl Object {
    /// # Errors
    /// The text is not one object and nothing else.
    pub fn parse(text: &[u8]) -> Result<Object, Wrong> {
        match parse(text)? {
            Value::Object(object) => Ok(object),
            _ => Err(Wrong::NoObject),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value)
    }

    /// The member of this name; capitals count only where there is one that is written exactly so.
    pub fn get_any_case(&self, name: &str) -> Option<&Value> {
        let alike = || self.0.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        self.get(name).or_else(alike)
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Appends a member; the caller sees to it that there is none of this name.
    pub fn push(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a row of names leads to, from this object on.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Value> {
        let mut path = path.into_iter();
        let mut value = self.get(path.next()?)?;
        for name in path {
            let Value::Object(object) = value else { return None };
            value = object.get(name)?;
        }
        Some(value)
    }
}

impl Value {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(it) => Some(*it),
            _ => None,
        }
    }

    /// A NumericDate (RFC 7519, 2) in whole seconds since the epoch, rounded down.
    pub fn as_seconds(&self) -> Option<i64> {
        let Self::Number(number) = self else { return None };
        let seconds: f64 = number.parse().ok()?;
        // Saturates: what lies beyond is never or always.
        seconds.is_finite().then_some(seconds.floor() as i64)
    }

    /// As variables show it: texts without quotes, the elements of a list with commas between them. Control characters
    /// become spaces, for a line end that somebody has in his name must not begin a header field of its own.
    pub fn show(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.extend(text.chars().map(|it| if it.is_control() { ' ' } else { it })),
            Self::List(all) => {
                for (at, it) in all.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    it.show(out);
                }
            }
            other => _ = write!(out, "{other}"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            quote(name, f)?;
            write!(f, ":{value}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(it) => write!(f, "{it}"),
            Self::Number(it) => f.write_str(it),
            Self::Text(it) => quote(it, f),
            Self::List(all) => {
                f.write_str("[")?;
                for (at, it) in all.iter().enumerate() {
                    write!(f, "{}{it}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(it) => it.fmt(f),
        }
    }
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            control if control.is_control() => write!(f, "\\u{:04x}", control as u32)?,
            letter => f.write_char(letter)?,
        }
    }
    f.write_str("\"")
}

/// # Errors
/// See [`Wrong`].
pub fn parse(text: &[u8]) -> Result<Value, Wrong> {
    let text = std::str::from_utf8(text).map_err(|why| Wrong::Text(why.valid_up_to()))?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self) -> Wrong {
        Wrong::Text(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn skip(&mut self, wanted: u8) -> bool {
        self.space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Wrong> {
        if self.skip(wanted) { Ok(()) } else { Err(self.wrong()) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Wrong> {
        if depth > DEPTH_MAX {
            return Err(Wrong::Large);
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let words =
                    [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
                let found = words.into_iter().find(|(word, _)| self.text[self.at..].starts_with(word));
                let (word, value) = found.ok_or_else(|| self.wrong())?;
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, Wrong> {
        self.expect(b'{')?;
        let mut members: Vec<(String, Value)> = Vec::new();
        if self.skip(b'}') {
            return Ok(Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            if members.iter().any(|(it, _)| *it == name) {
                return Err(Wrong::Twice(name));
            }
            if members.len() >= MEMBERS_MAX {
                return Err(Wrong::Large);
            }
            self.expect(b':')?;
            members.push((name, self.value(depth + 1)?));
            if self.skip(b'}') {
                return Ok(Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.expect(b'[')?;
        let mut all = Vec::new();
        if self.skip(b']') {
            return Ok(Value::List(all));
        }
        loop {
            all.push(self.value(depth + 1)?);
            if self.skip(b']') {
                return Ok(Value::List(all));
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<Value, Wrong> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        // A leading zero is no number: 0 stands alone.
        let leads = self.peek() == Some(b'0');
        if !matches!((self.digits(), leads), (1, _) | (2.., false)) {
            return Err(self.wrong());
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.wrong());
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.wrong());
            }
        }
        Ok(Value::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, Wrong> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong());
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || (c as u32) < 0x20);
            let plain = plain.ok_or(Wrong::Text(self.text.len()))?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.wrong()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        let letter = match self.peek().ok_or_else(|| self.wrong())? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(letter)
    }

    /// The digits behind `\u`, of both halves of a pair.
    fn unicode(&mut self) -> Result<char, Wrong> {
        let high = self.hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| self.wrong());
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(self.wrong());
        }
        self.at += 2;
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(self.wrong());
        }
        char::from_u32(0x10000 + (high - 0xd800) * 0x400 + (low - 0xdc00)).ok_or_else(|| self.wrong())
    }

    fn hex(&mut self) -> Result<u32, Wrong> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.wrong())?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16).ok_or_else(|| self.wrong())?;
        }
        self.at += 4;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written() {
        for text in [
            "{\"a\":[1,-2.5e+3,0,true,false,null],\"b\":{\"c\":\"d\"}}",
            "\"\\\"\\\\\\u0001é😀\"",
            "[]",
            "{}",
            "-0.5",
        ] {
            assert_eq!(parse(text.as_bytes()).map(|it| it.to_string()).as_deref(), Ok(text));
        }
        let text = parse(b" \"\\u00e9\\ud83d\\ude00\\n\\/\" ").unwrap();
        assert_eq!(text.as_text(), Some("é😀\n/"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1,]",
            "[1 2]",
            "01",
            "-",
            "1.",
            "1e",
            ".5",
            "+1",
            "nul",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u12\"",
            "{} {}",
            "'a'",
            "NaN",
            "00",
        ] {
            assert!(matches!(parse(text.as_bytes()), Err(Wrong::Text(_))), "{text:?}");
        }
        assert!(matches!(parse(b"\"\xff\""), Err(Wrong::Text(1))));
        assert_eq!(parse(b"{\"a\":1,\"b\":{\"c\":1,\"\\u0063\":2}}"), Err(Wrong::Twice("c".into())));
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(Wrong::Large));
        let wide: Vec<_> = (0..600).map(|n| format!("\"{n}\":1")).collect();
        assert_eq!(parse(format!("{{{}}}", wide.join(",")).as_bytes()), Err(Wrong::Large));
        assert_eq!(Object::parse(b"[]"), Err(Wrong::NoObject));
    }

    #[test]
    fn values_are_shown_and_found() {
        let object = Object::parse(br#"{"a":{"b c":["x",1,["y"]]},"t":1.9e3,"n":"5"}"#).unwrap();
        let mut shown = String::new();
        object.at(["a", "b c"]).unwrap().show(&mut shown);
        Value::Text("a\r\nX: b\0".into()).show(&mut shown);
        assert_eq!(shown, "x,1,ya  X: b ");
        assert_eq!(object.at(["a", "b"]), None);
        assert_eq!(object.at(["t", "b"]), None);
        assert_eq!(object.get("t").unwrap().as_seconds(), Some(1900));
        assert_eq!(object.get("n").unwrap().as_seconds(), None);
        let object = Object::parse(br#"{"Id":1,"id":2,"NAME":3}"#).unwrap();
        let shown = |name| object.get_any_case(name).map(ToString::to_string);
        assert_eq!(
            ["id", "Id", "iD", "name", "x"].map(shown),
            ["2", "1", "1", "3", ""].map(|it| (!it.is_empty()).then(|| it.to_owned()))
        );
    }
}
