//! A value that may hold variables, such as `$scheme://$host$uri`, compiled once and filled per request.

use foregate_conf::{Error, Word};

use crate::exchange::Exchange;
use crate::variable::{self, Found, Get, GetNamed, Variables};

/// A compiled value.
#[derive(Clone, Default)]
pub struct Template {
    parts: Box<[Piece]>,
}

#[derive(Clone)]
enum Piece {
    Text(Box<[u8]>),
    Provided(Get),
    /// Provided, and never in need of an escape.
    Plain(Get),
    Family(GetNamed, Box<str>),
    Slot(u32),
    /// `$1` to `$9`.
    Capture(u8),
}

impl Template {
    /// # Errors
    /// `unknown "x" variable` and `invalid variable name`, as nginx words them, with the place.
    pub fn compile(word: &Word, variables: &Variables) -> Result<Self, Error> {
        let bytes = word.bytes();
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b'$' {
                text.push(bytes[at]);
                at += 1;
                continue;
            }
            let (name, after) = name_at(bytes, at + 1).map_err(|what| Error::at(word.span, what))?;
            if !text.is_empty() {
                parts.push(Piece::Text(std::mem::take(&mut text).into()));
            }
            parts.push(piece(name, word, variables)?);
            at = after;
        }
        if !text.is_empty() {
            parts.push(Piece::Text(text.into()));
        }
        Ok(Self { parts: parts.into() })
    }

    /// A value without variables.
    pub fn constant(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self { parts: Box::new([Piece::Text(text.into())]) }
    }

    /// The value, where it holds no variable.
    pub fn as_constant(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the value for this exchange.
    pub fn fill(&self, ex: &mut Exchange, out: &mut Vec<u8>) {
        for part in &self.parts {
            part.fill(ex, out);
        }
    }

    pub fn fill_new(&self, ex: &mut Exchange) -> Vec<u8> {
        let mut out = Vec::new();
        self.fill(ex, &mut out);
        out
    }

    /// As [`Template::fill`], with `$1` to `$9` passed through `escape`.
    pub fn fill_captures(&self, ex: &mut Exchange, out: &mut Vec<u8>, escape: impl Fn(&[u8], &mut Vec<u8>)) {
        for part in &self.parts {
            match part {
                Piece::Capture(n) => escape(ex.captures.get(*n as usize).unwrap_or_default(), out),
                _ => _ = part.fill(ex, out),
            }
        }
    }

    /// As [`Template::fill`], for logs: a variable that has no value becomes `missing`, and `escape` is shown where
    /// each value begins at the end of `out`, to rewrite it in place.
    pub fn fill_escaped(
        &self,
        ex: &mut Exchange,
        out: &mut Vec<u8>,
        missing: &[u8],
        escape: impl Fn(&mut Vec<u8>, usize),
    ) {
        for part in &self.parts {
            let start = out.len();
            match part {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Plain(get) if get(ex, out) => (),
                Piece::Provided(get) if get(ex, out) => escape(out, start),
                Piece::Plain(_) | Piece::Provided(_) => out.extend_from_slice(missing),
                _ if part.fill(ex, out) => escape(out, start),
                _ => out.extend_from_slice(missing),
            }
        }
    }
}

impl Piece {
    fn fill(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(text) => {
                out.extend_from_slice(text);
                true
            }
            Self::Provided(get) | Self::Plain(get) => get(ex, out),
            Self::Family(get, name) => get(ex, name, out),
            Self::Slot(slot) => variable::slot(ex, *slot, out),
            Self::Capture(n) => match ex.captures.get(*n as usize) {
                Some(capture) => {
                    out.extend_from_slice(capture);
                    true
                }
                None => false,
            },
        }
    }
}

/// The variable's name behind a `$`, and where the text goes on.
fn name_at(bytes: &[u8], at: usize) -> Result<(&str, usize), &'static str> {
    let word = |from: usize| {
        let long = bytes[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        from..from + long
    };
    let (name, after) = match bytes.get(at) {
        Some(b'{') => {
            let name = word(at + 1);
            if bytes.get(name.end) != Some(&b'}') {
                return Err("the closing bracket in variable is missing");
            }
            (name.clone(), name.end + 1)
        }
        Some(digit) if digit.is_ascii_digit() => (at..at + 1, at + 1),
        _ => {
            let name = word(at);
            (name.clone(), name.end)
        }
    };
    match std::str::from_utf8(&bytes[name]) {
        Ok("") | Err(_) => Err("invalid variable name"),
        Ok(name) => Ok((name, after)),
    }
}

fn piece(name: &str, word: &Word, variables: &Variables) -> Result<Piece, Error> {
    if let [digit @ b'1'..=b'9'] = name.as_bytes() {
        return Ok(Piece::Capture(digit - b'0'));
    }
    match variables.find(name) {
        Some(Found::Provided(variable)) if variable.plain => Ok(Piece::Plain(variable.get)),
        Some(Found::Provided(variable)) => Ok(Piece::Provided(variable.get)),
        Some(Found::Family(family)) => {
            let rest = name[family.name.len()..].to_ascii_lowercase();
            Ok(Piece::Family(family.get, rest.into()))
        }
        Some(Found::Slot(slot)) => Ok(Piece::Slot(slot)),
        None => {
            let error = Error::at(word.span, format!("unknown \"{name}\" variable"));
            Err(match variables.suggest(name) {
                Some(near) => error.advise(format!("did you mean ${near}?")),
                None => error,
            })
        }
    }
}
