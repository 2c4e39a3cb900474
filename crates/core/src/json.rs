//! JSON (RFC 8259) as diagnostics write it: a value built in memory and shown on one line.

use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    /// Members in the order in which they are shown.
    Object(Vec<(&'static str, Json)>),
    /// The same with names that are not known beforehand.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Text from bytes of the wire; what is not UTF-8 is replaced.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn list<T: Into<Self>>(all: impl IntoIterator<Item = T>) -> Self {
        Self::List(all.into_iter().map(Into::into).collect())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(it) => write!(out, "{it}"),
            Self::Number(it) => write!(out, "{it}"),
            Self::Text(it) => quoted(it, out),
            Self::List(all) => {
                out.write_str("[")?;
                for (at, it) in all.iter().enumerate() {
                    out.write_str(if at > 0 { "," } else { "" })?;
                    it.fmt(out)?;
                }
                out.write_str("]")
            }
            Self::Object(all) => members(all.iter().map(|(name, it)| (*name, it)), out),
            Self::Map(all) => members(all.iter().map(|(name, it)| (name.as_str(), it)), out),
        }
    }
}

fn members<'a>(all: impl Iterator<Item = (&'a str, &'a Json)>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str("{")?;
    for (at, (name, it)) in all.enumerate() {
        out.write_str(if at > 0 { "," } else { "" })?;
        quoted(name, out)?;
        out.write_str(":")?;
        fmt::Display::fmt(it, out)?;
    }
    out.write_str("}")
}

fn quoted(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            '\r' => out.write_str("\\r")?,
            // DEL too: terminals act on it.
            control if control.is_control() => write!(out, "\\u{:04x}", control as u32)?,
            letter => write!(out, "{letter}")?,
        }
    }
    out.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_on_one_line() {
        let value = Json::Object(vec![
            ("text", "a\"\\\n\u{1}é".into()),
            ("list", Json::list([1_u64, 2])),
            ("none", None::<bool>.into()),
            ("yes", true.into()),
        ]);
        let want = "{\"text\":\"a\\\"\\\\\\n\\u0001é\",\"list\":[1,2],\"none\":null,\"yes\":true}";
        assert_eq!(value.to_string(), want);
    }
}
