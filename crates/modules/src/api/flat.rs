//! A JSON object without others inside (RFC 8259): what the API's requests are made of.

/// A member's value. Numbers are kept as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(String),
    Bool(bool),
}

#[derive(Debug, PartialEq)]
pub(super) enum Wrong {
    /// It is no JSON, or no object.
    Text,
    /// It is, but not a flat one.
    Nested,
}

/// Members that one object may have.
const MEMBERS_MAX: usize = 64;

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, Value)>, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Text)?;
    let mut rest = Rest(text.trim());
    let mut members = Vec::new();
    rest.expect('{')?;
    if rest.skip('}') {
        return rest.end(members);
    }
    while members.len() < MEMBERS_MAX {
        let name = rest.string()?;
        rest.expect(':')?;
        members.push((name, rest.value()?));
        if rest.skip('}') {
            return rest.end(members);
        }
        rest.expect(',')?;
    }
    Err(Wrong::Text)
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn skip(&mut self, wanted: char) -> bool {
        let found = self.0.trim_start().strip_prefix(wanted);
        self.0 = found.map_or(self.0, str::trim_start);
        found.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), Wrong> {
        if self.skip(wanted) { Ok(()) } else { Err(Wrong::Text) }
    }

    fn end<T>(&self, value: T) -> Result<T, Wrong> {
        if self.0.is_empty() { Ok(value) } else { Err(Wrong::Text) }
    }

    fn value(&mut self) -> Result<Value, Wrong> {
        match self.0.chars().next() {
            Some('"') => return self.string().map(Value::Text),
            Some('{' | '[') => return Err(Wrong::Nested),
            _ => (),
        }
        let end = self.0.find([',', '}']).ok_or(Wrong::Text)?;
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        match word.trim() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number if number.parse::<f64>().is_ok() => Ok(Value::Number(number.to_owned())),
            _ => Err(Wrong::Text),
        }
    }

    fn string(&mut self) -> Result<String, Wrong> {
        let inner = self.0.trim_start().strip_prefix('"').ok_or(Wrong::Text)?;
        let mut text = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, letter)) = chars.next() {
            match letter {
                '"' => {
                    self.0 = inner[at + 1..].trim_start();
                    return Ok(text);
                }
                '\\' => text.push(escaped(&mut chars)?),
                control if control < ' ' => return Err(Wrong::Text),
                letter => text.push(letter),
            }
        }
        Err(Wrong::Text)
    }
}

/// What stands behind a backslash. Halves of surrogate pairs are refused: no name of a host needs them.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Result<char, Wrong> {
    let (_, letter) = chars.next().ok_or(Wrong::Text)?;
    Ok(match letter {
        '"' | '\\' | '/' => letter,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let mut code = 0;
            for _ in 0..4 {
                let digit = chars.next().and_then(|it| it.1.to_digit(16)).ok_or(Wrong::Text)?;
                code = code * 16 + digit;
            }
            char::from_u32(code).ok_or(Wrong::Text)?
        }
        _ => return Err(Wrong::Text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_objects_are_read() {
        let text = r#" { "server" : "a\"\u0041/", "weight":5 ,"down": true} "#;
        let (server, weight) = (Value::Text("a\"A/".into()), Value::Number("5".into()));
        let want =
            vec![("server".into(), server), ("weight".into(), weight), ("down".into(), Value::Bool(true))];
        assert_eq!(parse(text.as_bytes()), Ok(want));
        assert_eq!(parse(b"{}"), Ok(Vec::new()));
        for bad in ["", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1} x", "{\"a\":nul}", "{\"\\ud800\":1}"] {
            assert_eq!(parse(bad.as_bytes()), Err(Wrong::Text), "{bad}");
        }
        assert_eq!(parse(b"{\"a\":[1]}"), Err(Wrong::Nested));
    }
}
