//! One compiled `map`: names in a table, patterns in order, a default.

use std::borrow::Cow;

use foregate_conf::{Error, Node, Word};
use foregate_core::hostnames::{Hostnames, Unfit};
use foregate_core::{Compile, Evaluate, Exchange, Level, Regex, Template, log};

pub(super) struct Table {
    source: Template,
    /// Positions in `values`.
    names: Hostnames<u32>,
    patterns: Box<[(Regex, u32)]>,
    values: Box<[Template]>,
    /// Empty where the map has none.
    default: Option<u32>,
    /// Names are host names: a dot at the end does not count.
    hostnames: bool,
    pub(super) volatile: bool,
}

impl Table {
    pub(super) fn compile(source: &Word, lines: &[Node], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let mut draft = Draft::default();
        let source = cx.template(source)?;
        for line in lines {
            draft.line(line, cx)?;
        }
        Ok(Self {
            source,
            names: draft.names,
            patterns: draft.patterns.into(),
            values: draft.values.into(),
            default: draft.default,
            hostnames: draft.hostnames,
            volatile: draft.volatile,
        })
    }

    fn find(&self, ex: &mut Exchange, key: &[u8]) -> Option<u32> {
        if let Some(value) = self.names.find(&lower(key)) {
            return Some(*value);
        }
        if key.is_empty() {
            return self.default;
        }
        for (pattern, value) in &self.patterns {
            match pattern.matches(ex, key) {
                Ok(true) => return Some(*value),
                Ok(false) => (),
                Err(_) => {
                    log!(ex, Level::Alert, "pcre2_match() failed: match limit exceeded");
                    break;
                }
            }
        }
        self.default
    }
}

impl Evaluate for Table {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let mut key = self.source.fill_new(ex);
        if self.hostnames && key.last() == Some(&b'.') {
            key.pop();
        }
        if let Some(value) = self.find(ex, &key) {
            self.values[value as usize].fill(ex, out);
        }
        true
    }
}

fn lower(key: &[u8]) -> Cow<'_, [u8]> {
    match key.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(key.to_ascii_lowercase()),
        false => Cow::Borrowed(key),
    }
}

#[derive(Default)]
struct Draft {
    names: Hostnames<u32>,
    patterns: Vec<(Regex, u32)>,
    values: Vec<Template>,
    default: Option<u32>,
    hostnames: bool,
    volatile: bool,
}

impl Draft {
    fn line(&mut self, line: &Node, cx: &mut Compile<'_>) -> Result<(), Error> {
        let key = &line.name;
        match (key.text.as_str(), &*line.args) {
            _ if line.is_block() => return Err(Error::at(key.span, "unexpected \"{\"")),
            ("hostnames", []) => self.hostnames = true,
            ("volatile", []) => self.volatile = true,
            (_, [value]) => {
                let value = self.value(value, cx)?;
                self.pair(key, value, cx)?;
            }
            _ => return Err(Error::at(line.span, "invalid number of the map parameters")),
        }
        Ok(())
    }

    fn value(&mut self, value: &Word, cx: &mut Compile<'_>) -> Result<u32, Error> {
        self.values.push(cx.template(value)?);
        Ok(self.values.len() as u32 - 1)
    }

    fn pair(&mut self, key: &Word, value: u32, cx: &mut Compile<'_>) -> Result<(), Error> {
        if *key == "default" {
            return match self.default.replace(value) {
                Some(_) => Err(Error::at(key.span, "duplicate default map parameter")),
                None => Ok(()),
            };
        }
        if key.starts_with('~') {
            let caseless = key.starts_with("~*");
            let pattern = key.trimmed(if caseless { 2 } else { 1 }, 0);
            self.patterns.push((cx.regex(&pattern, caseless)?, value));
            return Ok(());
        }
        let name = key.bytes().strip_prefix(b"\\").unwrap_or(key.bytes());
        let done = match self.hostnames {
            true => self.names.insert(name, value),
            false => self.names.insert_exact(name, value),
        };
        done.map_err(|why| {
            let what = match why {
                Unfit::Invalid => "invalid hostname or wildcard",
                Unfit::Conflict => "conflicting parameter",
            };
            Error::at(key.span, format!("{what} \"{}\"", String::from_utf8_lossy(name)))
        })
    }
}
