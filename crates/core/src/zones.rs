//! Zones: named memory that all threads share, of a size that the configuration sets.

use std::collections::HashMap;

use foregate_conf::{Error, Span, Word, value as values};

/// As nginx: eight pages.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// `zone=NAME:SIZE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    pub name: String,
    pub bytes: u64,
}

impl ZoneSpec {
    /// # Errors
    /// nginx's about the size. The name may turn out empty: whether one is needed is the directive's to say.
    pub fn parse(word: &Word) -> Result<Self, Error> {
        let wrong = || Error::at(word.span, format!("invalid zone size \"{word}\""));
        let text = word.strip_prefix("zone=").unwrap_or(word);
        let (name, size) =
            text.split_once(':').ok_or_else(|| wrong().advise("name and size, such as zone=one:10m"))?;
        let bytes = values::size(size).ok_or_else(wrong)?;
        if bytes < ZONE_BYTES_MIN {
            return Err(
                Error::at(word.span, format!("zone \"{word}\" is too small")).advise("32k is the least")
            );
        }
        Ok(Self { name: name.to_owned(), bytes })
    }
}

/// The zones of one configuration; all directives share one space of names. Kept in `Shared`.
#[derive(Default)]
pub struct ZoneNames(HashMap<String, (&'static str, u64)>);

impl ZoneNames {
    /// Declares a zone for a purpose. `false`: the same one was declared before.
    ///
    /// # Errors
    /// The name stands for another purpose or another size.
    pub fn declare(&mut self, spec: &ZoneSpec, purpose: &'static str, span: Span) -> Result<bool, Error> {
        let Some((before, bytes)) = self.0.get(&spec.name) else {
            self.0.insert(spec.name.clone(), (purpose, spec.bytes));
            return Ok(true);
        };
        if *before != purpose {
            return Err(other_use(&spec.name, span));
        }
        if *bytes != spec.bytes {
            let (name, new) = (&spec.name, spec.bytes);
            let what = format!(
                "the size {new} of shared memory zone \"{name}\" conflicts with already declared size {bytes}"
            );
            return Err(Error::at(span, what));
        }
        Ok(false)
    }

    /// Why a name cannot be used for this purpose.
    pub fn refusal(&self, name: &str, purpose: &'static str, span: Span) -> Error {
        match self.0.get(name) {
            Some((before, _)) if *before != purpose => other_use(name, span),
            // Without a place, as nginx, which finds out at the end.
            _ => Error::plain(format!("zero size shared memory zone \"{name}\""))
                .advise(format!("{purpose} must declare the zone in http")),
        }
    }
}

fn other_use(name: &str, span: Span) -> Error {
    Error::at(span, format!("the shared memory zone \"{name}\" is already declared for a different use"))
}
