//! `server_name`: from the host that a client asked for to the server that answers.

use foregate_conf::{Error, Word};
use foregate_core::hash::ByteMap;
use foregate_core::{Exchange, Regex, Regexes};

/// The names of all servers on one address. The cost does not grow with their number, regexes apart.
#[derive(Default)]
pub struct Names {
    exact: ByteMap<u32>,
    /// `*.example.com` under `example.com`; the flag tells whether the name itself is meant too.
    suffixes: ByteMap<u32>,
    /// `www.*` under `www`.
    prefixes: ByteMap<u32>,
    regexes: Regexes<u32>,
}

/// One name of a server, as written.
#[derive(Clone)]
pub enum Name {
    Exact(Box<str>),
    /// `*.example.com`, without the `*.`.
    Suffix(Box<str>),
    /// `www.example.*`, without the `.*`.
    Prefix(Box<str>),
    Regex(Box<Regex>),
}

/// A name that another server on the address has already: the first one keeps it.
pub struct Taken;

impl Name {
    /// `.example.com` is two names. A regex is told by its `~`.
    pub fn read(
        word: &Word,
        hostname: &str,
        regex: impl FnOnce(&Word) -> Result<Regex, Error>,
    ) -> Result<Vec<Self>, Error> {
        let text = match word.text.as_str() {
            "$hostname" => hostname.to_ascii_lowercase(),
            text => text.to_ascii_lowercase(),
        };
        let invalid = || Error::at(word.span, format!("server name \"{word}\" is invalid"));
        if text.starts_with('~') {
            let pattern = word.trimmed(1, 0);
            if pattern.text.is_empty() {
                return Err(Error::at(word.span, format!("empty regex in server name \"{word}\"")));
            }
            return Ok(vec![Self::Regex(Box::new(regex(&pattern)?))]);
        }
        if let Some(bare) = text.strip_prefix('.') {
            let bare: Box<str> = bare.into();
            if bare.is_empty() || bare.contains('*') {
                return Err(invalid());
            }
            return Ok(vec![Self::Exact(bare.clone()), Self::Suffix(bare)]);
        }
        let name = match (text.strip_prefix("*."), text.strip_suffix(".*")) {
            (Some(suffix), None) if !suffix.is_empty() && !suffix.contains('*') => {
                Self::Suffix(suffix.into())
            }
            (None, Some(prefix)) if !prefix.is_empty() && !prefix.contains('*') => {
                Self::Prefix(prefix.into())
            }
            (None, None) if !text.contains('*') => Self::Exact(text.into()),
            _ => return Err(invalid()),
        };
        Ok(vec![name])
    }
}

impl Name {
    /// As written, for messages.
    pub fn text(&self) -> String {
        match self {
            Self::Exact(name) => name.to_string(),
            Self::Suffix(name) => format!("*.{name}"),
            Self::Prefix(name) => format!("{name}.*"),
            Self::Regex(regex) => format!("~{}", regex.pattern()),
        }
    }
}

impl Names {
    pub fn add(&mut self, name: &Name, server: u32) -> Result<(), Taken> {
        let (map, key) = match name {
            Name::Exact(name) => (&mut self.exact, name),
            Name::Suffix(name) => (&mut self.suffixes, name),
            Name::Prefix(name) => (&mut self.prefixes, name),
            Name::Regex(regex) => {
                self.regexes.push((**regex).clone(), server);
                return Ok(());
            }
        };
        match map.entry(key.as_bytes().into()) {
            std::collections::hash_map::Entry::Occupied(it) if *it.get() != server => Err(Taken),
            entry => {
                entry.or_insert(server);
                Ok(())
            }
        }
    }

    /// Exact, then the longest `*.x`, then the longest `x.*`, then regexes in the file's order.
    /// `host` is lower case and without port.
    pub fn find(&self, host: &[u8]) -> Option<u32> {
        self.find_plain(host).or_else(|| {
            let found =
                self.regexes.candidates(host).find(|(regex, _)| regex.is_match(host).unwrap_or(false));
            found.map(|(_, server)| *server)
        })
    }

    /// As [`Names::find`], keeping a regex's captures for the exchange.
    pub fn find_for(&self, ex: &mut Exchange) -> Option<u32> {
        if let Some(server) = self.find_plain(&ex.host) {
            return Some(server);
        }
        if self.regexes.is_empty() {
            return None;
        }
        let host = ex.host.clone();
        let mut candidates = self.regexes.candidates(&host);
        candidates.find(|(regex, _)| regex.matches(ex, &host).unwrap_or(false)).map(|(_, server)| *server)
    }

    /// Called once, when all are in.
    pub fn finish(&mut self) {
        self.regexes.finish();
    }

    fn find_plain(&self, host: &[u8]) -> Option<u32> {
        if let Some(server) = self.exact.get(host) {
            return Some(*server);
        }
        if !self.suffixes.is_empty() {
            for (at, _) in host.iter().enumerate().filter(|(_, b)| **b == b'.') {
                if let Some(server) = self.suffixes.get(&host[at + 1..]).filter(|_| at > 0) {
                    return Some(*server);
                }
            }
        }
        if !self.prefixes.is_empty() {
            for (at, _) in host.iter().enumerate().rev().filter(|(_, b)| **b == b'.') {
                if let Some(server) = self.prefixes.get(&host[..at]) {
                    return Some(*server);
                }
            }
        }
        None
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.suffixes.is_empty()
            && self.prefixes.is_empty()
            && self.regexes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Names};
    use foregate_conf::{Error, Span, Word};

    fn names(all: &[&str]) -> Names {
        let mut names = Names::default();
        for (server, text) in all.iter().enumerate() {
            let word = Word::new(text.as_bytes().to_vec(), Span::default(), false);
            for name in Name::read(&word, "here", |_| Err(Error::plain("no regex"))).unwrap() {
                names.add(&name, server as u32).ok().unwrap();
            }
        }
        names
    }

    #[test]
    fn exact_names_win_over_suffixes_and_suffixes_over_prefixes() {
        let names = names(&["a.b.c", "*.b.c", "*.c", "a.*", ".d.e", "$hostname"]);
        for (host, want) in [
            ("a.b.c", Some(0)),
            ("x.b.c", Some(1)),
            ("x.y.b.c", Some(1)),
            ("b.c", Some(2)),
            ("c", None),
            ("a.x", Some(3)),
            ("d.e", Some(4)),
            ("x.d.e", Some(4)),
            ("here", Some(5)),
        ] {
            assert_eq!(names.find(host.as_bytes()), want, "{host}");
        }
    }
}
