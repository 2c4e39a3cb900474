//! `modern_browser`, `ancient_browser`: tells old browsers by `User-Agent`.

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Scope, Variable};
use memchr::memmem;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    modern: Option<Vec<Modern>>,
    unlisted: bool,
    ancient: Option<Vec<Word>>,
    netscape4: bool,
    modern_value: Option<Word>,
    ancient_value: Option<Word>,
}

pub struct Settings {
    /// Sorted by kind.
    modern: Vec<Modern>,
    unlisted: bool,
    ancient: Vec<Box<[u8]>>,
    netscape4: bool,
    modern_value: Box<[u8]>,
    ancient_value: Box<[u8]>,
}

/// A kind of browser and the version from which on it is modern.
#[derive(Clone, Copy)]
struct Modern {
    /// Position in [`KINDS`].
    kind: usize,
    version: u64,
}

struct Kind {
    name: &'static str,
    /// What the `User-Agent` certainly begins with is not searched.
    skip: usize,
    mark: &'static str,
    /// Bytes from the mark's start to the version.
    to_version: usize,
}

/// Opera comes first, because it pretends to be others.
const KINDS: [Kind; 5] = [
    Kind { name: "opera", skip: 0, mark: "Opera", to_version: "Opera ".len() },
    Kind { name: "msie", skip: "Mozilla/4.0 (compatible; ".len(), mark: "MSIE ", to_version: "MSIE ".len() },
    Kind { name: "gecko", skip: "Mozilla/5.0 (".len(), mark: "rv:", to_version: "rv:".len() },
    Kind { name: "safari", skip: "Mozilla/5.0 (".len(), mark: "Safari/", to_version: "Safari/".len() },
    Kind {
        name: "konqueror",
        skip: "Mozilla/5.0 (compatible; ".len(),
        mark: "Konqueror/",
        to_version: "Konqueror/".len(),
    },
];
const OPERA: usize = 0;
/// No Opera is as new as that: it is told from others even where it is not listed.
const UNREACHABLE: u64 = 4_001_000_000;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("modern_browser", Scope::ANY_HTTP, Args::Between(1, 2), modern, inherit_modern),
        Directive::own("ancient_browser", Scope::ANY_HTTP, Args::AtLeast(1), ancient, inherit_ancient),
        Directive::text("modern_browser_value", Scope::ANY_HTTP, |o| &mut o.modern_value),
        Directive::text("ancient_browser_value", Scope::ANY_HTTP, |o| &mut o.ancient_value),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("msie", |ex, out| {
            if is_msie(ex.field(b"user-agent").unwrap_or_default()) {
                out.push(b'1');
            }
            true
        }),
        Variable::new("modern_browser", |ex, out| judge(ex, out, true)),
        Variable::new("ancient_browser", |ex, out| judge(ex, out, false)),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let mut modern = options.modern.unwrap_or_default();
        if !modern.is_empty() && modern.iter().all(|it| it.kind != OPERA) {
            modern.push(Modern { kind: OPERA, version: UNREACHABLE });
        }
        modern.sort_by_key(|it| it.kind);
        let value = |word: Option<Word>| word.map_or_else(|| b"1"[..].into(), |it| it.bytes().into());
        Ok(Some(Settings {
            modern,
            unlisted: options.unlisted,
            ancient: options.ancient.unwrap_or_default().iter().map(|it| it.bytes().into()).collect(),
            netscape4: options.netscape4,
            modern_value: value(options.modern_value),
            ancient_value: value(options.ancient_value),
        }))
    }
}

fn judge(ex: &mut Exchange, out: &mut Vec<u8>, modern: bool) -> bool {
    let cycle = ex.cycle.clone();
    if let Some(on) = &crate::settings(&*cycle, ex.location).browser
        && on.is_modern(ex.field(b"user-agent")) == modern
    {
        out.extend_from_slice(if modern { &on.modern_value } else { &on.ancient_value });
    }
    true
}

fn is_msie(agent: &[u8]) -> bool {
    let marked = memmem::find(agent, b"MSIE ").is_some_and(|at| at + "MSIE 6.".len() < agent.len());
    marked && memmem::find(agent, b"Opera").is_none()
}

impl Settings {
    fn is_modern(&self, agent: Option<&[u8]>) -> bool {
        let Some(agent) = agent else { return self.unlisted };
        for modern in &self.modern {
            if let Some(version) = KINDS[modern.kind].version_in(agent) {
                return version >= modern.version;
            }
        }
        if !self.modern.is_empty() && !self.unlisted {
            return false;
        }
        if self.netscape4 && is_netscape4(agent) {
            return false;
        }
        self.unlisted && !self.ancient.iter().any(|it| memmem::find(agent, it).is_some())
    }
}

fn is_netscape4(agent: &[u8]) -> bool {
    agent.len() > "Mozilla/4.72 ".len()
        && agent.starts_with(b"Mozilla/")
        && agent.get(8).is_some_and(|b| (b'1'..=b'4').contains(b))
}

impl Kind {
    /// The version, where the agent is of this kind.
    fn version_in(&self, agent: &[u8]) -> Option<u64> {
        let searched = agent.get(self.skip..)?;
        let at = memmem::find(searched, self.mark.as_bytes())?;
        let text = searched.get(at + self.to_version..).filter(|it| !it.is_empty())?;
        let end = text.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(text.len());
        Some(number(&text[..end]))
    }
}

/// `1.5.0.2` is 1 050 002: two digits for each part behind the first.
fn number(text: &[u8]) -> u64 {
    let mut scale = 1_000_000;
    text.split(|b| *b == b'.').fold(0, |version: u64, part| {
        let part = part.iter().fold(0_u64, |sum, b| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')));
        let version = version.saturating_add(part.saturating_mul(scale));
        scale /= 100;
        version
    })
}

fn modern(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    match &*node.args {
        [word] if *word == "unlisted" => o.unlisted = true,
        [name, version] => {
            let kind = KINDS.iter().position(|it| it.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
                Error::at(name.span, format!("unknown browser name \"{name}\""))
                    .advise("one of: opera, msie, gecko, safari, konqueror")
            })?;
            if !version.bytes().iter().all(|b| b.is_ascii_digit() || *b == b'.') {
                return Err(Error::at(version.span, format!("invalid browser version \"{version}\"")));
            }
            o.modern.get_or_insert_default().push(Modern { kind, version: number(version.bytes()) });
        }
        _ => return Err(Error::directive(node, "invalid value").advise("modern_browser NAME VERSION, or unlisted")),
    }
    Ok(())
}

fn inherit_modern(o: &mut Options, outer: &Options) {
    if o.modern.is_none() && !o.unlisted {
        o.modern.clone_from(&outer.modern);
        o.unlisted = outer.unlisted;
    }
}

fn ancient(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    for word in &node.args {
        match word.text.as_str() {
            "netscape4" => o.netscape4 = true,
            _ => o.ancient.get_or_insert_default().push(word.clone()),
        }
    }
    Ok(())
}

fn inherit_ancient(o: &mut Options, outer: &Options) {
    if o.ancient.is_none() && !o.netscape4 {
        o.ancient.clone_from(&outer.ancient);
        o.netscape4 = outer.netscape4;
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{error, value};

    fn check(conf: &str, agent: &str) -> String {
        let request = format!("GET / HTTP/1.1\nUser-Agent: {agent}");
        value(conf, &request, "$modern_browser/$ancient_browser/$msie")
    }

    #[test]
    fn browsers() {
        let conf = "modern_browser msie 5.5; modern_browser gecko 1.0.2; modern_browser opera 9.0; \
             modern_browser safari 413; modern_browser unlisted; ancient_browser Links Lynx netscape4; \
             modern_browser_value new; ancient_browser_value old;";
        for (agent, expected) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "new//1"),
            ("Mozilla/4.0 (compatible; MSIE 5.0; Windows NT 5.1)", "/old/1"),
            ("Mozilla/4.0 (compatible; MSIE 6.0; X11; FreeBSD i386) Opera 7.50  [en]", "/old/"),
            ("Opera/9.01 (X11; FreeBSD 6 i386; U; en)", "new//"),
            ("Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.0.0) Gecko/20020610", "/old/"),
            ("Mozilla/5.0 (X11; U; FreeBSD i386; en-US; rv:1.8.0.5) Gecko/20060729", "new//"),
            ("Mozilla/5.0 (Macintosh; U; PPC Mac OS X; en) AppleWebKit/418 (KHTML, like Gecko) Safari/417.9.3", "new//"),
            ("Links (2.2; Linux)", "/old/"),
            ("Mozilla/4.72 [en] (X11)", "/old/"),
            ("curl/8", "new//"),
        ] {
            assert_eq!(check(conf, agent), expected, "{agent}");
        }
        assert_eq!(check("", "curl/8"), "/1/");
        assert_eq!(check("modern_browser gecko 1.0;", "curl/8"), "/1/");
        assert_eq!(value("modern_browser unlisted;", "GET /", "$modern_browser"), "1");
    }

    #[test]
    fn mistakes() {
        assert_eq!(error("modern_browser lynx 2.0;"), "unknown browser name \"lynx\"");
        assert_eq!(error("modern_browser msie 2.0b;"), "invalid browser version \"2.0b\"");
    }
}
