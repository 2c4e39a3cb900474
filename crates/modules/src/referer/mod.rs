//! `valid_referers`: tells requests that other sites' pages cause, by `$invalid_referer`.

use foregate_conf::{Error, Node, Word};
use foregate_core::hostnames::{Hostnames, Unfit};
use foregate_core::{Args, Compile, Directive, Exchange, Regex, Scope, Variable};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// All words of the block, or of the one around it.
    words: Option<Vec<Word>>,
    hash_max_size: Option<u64>,
    hash_bucket_size: Option<u64>,
}

pub struct Settings {
    /// `none`: no `Referer` at all is fine.
    none: bool,
    /// `blocked`: one that a firewall has cleaned of its scheme is fine.
    blocked: bool,
    /// Hosts, and how the path must begin.
    hosts: Hostnames<Box<[u8]>>,
    /// For the host alone.
    server_names: Vec<Regex>,
    /// For everything behind `http://`.
    patterns: Vec<Regex>,
}

/// The shortest URL that is looked at: `http://i.ru`.
const URL_BYTES_MIN: usize = 11;
const HOST_BYTES_MAX: usize = 256;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own(
            "valid_referers",
            Scope::SERVER.or(Scope::LOCATION),
            Args::AtLeast(1),
            read,
            inherit,
        ),
        // Our tables grow as they need to.
        Directive::number("referer_hash_max_size", Scope::SERVER.or(Scope::LOCATION), |o| &mut o.hash_max_size),
        Directive::number("referer_hash_bucket_size", Scope::SERVER.or(Scope::LOCATION), |o| {
            &mut o.hash_bucket_size
        }),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("invalid_referer", |ex, out| {
        let cycle = ex.cycle.clone();
        if let Some(on) = &crate::settings(&*cycle, ex.location).referer
            && !on.allows(ex)
        {
            out.push(b'1');
        }
        true
    })];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(words) = options.words else { return Ok(None) };
        let (hosts, server_names, patterns) = Default::default();
        let mut on = Settings { none: false, blocked: false, hosts, server_names, patterns };
        for word in &words {
            on.add(word, cx)?;
        }
        if (on.none || on.blocked) && on.hosts.is_empty() {
            return Err(Error::plain(
                "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive \
                 without any valid referer",
            ));
        }
        Ok(Some(on))
    }
}

impl Settings {
    fn add(&mut self, word: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        match word.text.as_str() {
            "" => return Err(Error::at(word.span, "invalid referer \"\"")),
            "none" => self.none = true,
            "blocked" => self.blocked = true,
            "server_names" => self.add_server_names(word, cx)?,
            "~" => return Err(Error::at(word.span, "empty regex in \"~\"")),
            text if text.starts_with('~') => self.patterns.push(cx.regex(&word.trimmed(1, 0), true)?),
            text => {
                let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
                self.add_host(host, path, word)?;
            }
        }
        Ok(())
    }

    fn add_server_names(&mut self, word: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        for name in cx.server_names.clone() {
            match name.strip_prefix('~') {
                Some(pattern) => {
                    let pattern = Word::new(pattern.into(), word.span, false);
                    self.server_names.push(cx.regex(&pattern, true)?);
                }
                None => self.add_host(&name, "", word)?,
            }
        }
        Ok(())
    }

    fn add_host(&mut self, host: &str, path: &str, word: &Word) -> Result<(), Error> {
        self.hosts.insert(host.as_bytes(), path.as_bytes().into()).map_err(|why| {
            let what = match why {
                Unfit::Invalid => "invalid hostname or wildcard",
                Unfit::Conflict => "conflicting parameter",
            };
            Error::at(word.span, format!("{what} \"{host}\""))
        })
    }

    fn allows(&self, ex: &Exchange) -> bool {
        if self.hosts.is_empty() && self.server_names.is_empty() && self.patterns.is_empty() {
            return true;
        }
        let Some(referer) = ex.field(b"referer") else { return self.none };
        match url(referer) {
            Some(rest) => self.allows_url(rest),
            None => self.blocked,
        }
    }

    /// `rest` is what stands behind `http://`.
    fn allows_url(&self, rest: &[u8]) -> bool {
        let host_end = rest.iter().position(|b| matches!(b, b'/' | b':')).unwrap_or(rest.len());
        if host_end > HOST_BYTES_MAX {
            return false;
        }
        let host = rest[..host_end].to_ascii_lowercase();
        if let Some(path) = self.hosts.find(&host) {
            let path_start = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
            return rest[path_start..].starts_with(path);
        }
        let fits = |regexes: &[Regex], subject: &[u8]| regexes.iter().any(|it| it.is_match(subject).unwrap_or(false));
        fits(&self.server_names, &host) || fits(&self.patterns, rest)
    }
}

fn url(referer: &[u8]) -> Option<&[u8]> {
    if referer.len() < URL_BYTES_MIN {
        return None;
    }
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = referer.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.words.get_or_insert_default().extend_from_slice(&node.args);
    Ok(())
}

fn inherit(o: &mut Options, outer: &Options) {
    if o.words.is_none() {
        o.words.clone_from(&outer.words);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{error, value};

    #[test]
    fn referers() {
        let conf = "server { location / { valid_referers none blocked server_names *.dot.org site.com/path \
             ~\\.google\\.; } }";
        for (referer, expected) in [
            (None, ""),
            (Some("gone"), ""),
            (Some("http://example.com/x"), ""),
            (Some("HTTPS://EXAMPLE.com:81/x"), ""),
            (Some("http://a.wild.org"), ""),
            (Some("http://rx7.org/"), ""),
            (Some("http://rxx.org/"), "1"),
            (Some("http://a.dot.org/"), ""),
            (Some("http://dot.org/"), "1"),
            (Some("http://site.com/path/x"), ""),
            (Some("http://site.com/other"), "1"),
            (Some("http://www.google.com/"), ""),
            (Some("http://evil.com/?www.google.com"), ""),
            (Some("http://evil.com/"), "1"),
        ] {
            let field = referer.map_or_else(String::new, |it| format!("Referer: {it}"));
            let request = format!("GET / HTTP/1.1\n{field}");
            assert_eq!(value(conf, &request, "$invalid_referer"), expected, "{referer:?}");
        }
        assert_eq!(value("", "GET /", "$invalid_referer"), "");
        let strict = "server { valid_referers a.b; }";
        assert_eq!(value(strict, "GET /", "$invalid_referer"), "1");
        assert_eq!(value(strict, "GET / HTTP/1.1\nReferer: x", "$invalid_referer"), "1");
    }

    #[test]
    fn mistakes_are_told_as_nginx_tells_them() {
        for (words, expected) in [
            ("\"\"", "invalid referer \"\""),
            ("~", "empty regex in \"~\""),
            ("a.*.b", "invalid hostname or wildcard \"a.*.b\""),
            ("a.b a.b", "conflicting parameter \"a.b\""),
            (
                "none ~x",
                "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive \
                 without any valid referer",
            ),
        ] {
            assert_eq!(error(&format!("server {{ valid_referers {words}; }}")), expected, "{words}");
        }
    }
}
