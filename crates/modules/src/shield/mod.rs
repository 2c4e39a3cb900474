//! `shield_…`: says no before anything else looks at a request, by what it is and by where it comes from.
//!
//! What a server says is judged as soon as the client's address is known, before rewrites and locations; what a
//! location says of its own is judged besides, where limits are. Rules are a list of kinds in [`Settings::reason`]: an
//! engine for rules of other people's would be one more of them.

mod bans;
mod lists;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::stats::{self, Count};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Level, Scope, Stop, Template, Variable, log, refusals};
use foregate_net::{Addr, clock};

pub use lists::keep_fresh;
use read::Pattern;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    methods: Option<Vec<Word>>,
    paths: Option<Vec<Word>>,
    agents: Option<Vec<Word>>,
    countries: Option<Vec<Word>>,
    blocklists: Option<Vec<lists::Line>>,
    ban: Option<Option<read::BanLine>>,
    status: Option<u16>,
    log_level: Option<usize>,
    dry_run: Option<bool>,
    /// This very block has rules.
    own: bool,
}

/// Codes of countries.
type Codes = Box<[Box<[u8]>]>;

pub struct Settings {
    methods: Box<[Box<[u8]>]>,
    paths: Box<[Pattern]>,
    agents: Box<[Pattern]>,
    /// A country's code, and those that are not let in.
    countries: Option<(Template, Codes)>,
    blocklists: Box<[lists::List]>,
    ban: Option<Ban>,
    status: u16,
    log_level: Level,
    dry_run: bool,
    own: bool,
}

struct Ban {
    table: Arc<bans::Table>,
    measure: bans::Measure,
    statuses: Box<[u16]>,
}

/// On a request that was refused: of which kind the rule was.
struct Refused(&'static str);

const STATUS: u16 = 403;
/// As with `return`, this is no answer but the connection's end.
const CLOSE: u16 = 444;
/// A browser's first word where a name and a password are wanted.
const UNAUTHORIZED: u16 = 401;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own(
            "shield_deny_methods",
            Scope::ANY_HTTP,
            Args::AtLeast(1),
            |o, node, _| read::once(&mut o.methods, &mut o.own, node),
            |o, outer| o.methods = o.methods.take().or_else(|| outer.methods.clone()),
        ),
        Directive::own(
            "shield_deny_paths",
            Scope::ANY_HTTP,
            Args::AtLeast(1),
            |o, node, _| read::once(&mut o.paths, &mut o.own, node),
            |o, outer| o.paths = o.paths.take().or_else(|| outer.paths.clone()),
        ),
        Directive::own(
            "shield_deny_agents",
            Scope::ANY_HTTP,
            Args::AtLeast(1),
            |o, node, _| read::once(&mut o.agents, &mut o.own, node),
            |o, outer| o.agents = o.agents.take().or_else(|| outer.agents.clone()),
        ),
        Directive::own(
            "shield_deny_countries",
            Scope::ANY_HTTP,
            Args::AtLeast(1),
            |o, node, _| read::once(&mut o.countries, &mut o.own, node),
            |o, outer| o.countries = o.countries.take().or_else(|| outer.countries.clone()),
        ),
        Directive::own("shield_blocklist", Scope::ANY_HTTP, Args::Between(1, 2), read::blocklist, |o, outer| {
            o.blocklists = o.blocklists.take().or_else(|| outer.blocklists.clone());
        }),
        Directive::own("shield_ban", Scope::ANY_HTTP, Args::Between(1, 5), read::ban, |o, outer| {
            o.ban = o.ban.take().or_else(|| outer.ban.clone());
        }),
        Directive::own("shield_status", Scope::ANY_HTTP, Args::Exactly(1), read::status, |o, outer| {
            o.status = o.status.or(outer.status);
        }),
        Directive::choice("shield_log_level", Scope::ANY_HTTP, &refusals::LEVELS, |o| &mut o.log_level),
        Directive::flag("shield_dry_run", Scope::ANY_HTTP, |o| &mut o.dry_run),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("shield_reason", |ex, out| {
        let Some(Refused(kind)) = ex.notes.get() else { return false };
        out.extend_from_slice(kind.as_bytes());
        true
    })];

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let patterns = |words: Option<Vec<Word>>, cx: &mut Compile<'_>| -> Result<Box<[Pattern]>, Error> {
            rules(words).iter().map(|it| Pattern::compile(it, cx)).collect()
        };
        let bytes = |words: &[Word]| words.iter().map(|it| it.bytes().into()).collect();
        let countries = match rules(o.countries).split_first() {
            Some((of, codes)) => Some((country(of, codes, cx)?, bytes(codes))),
            None => None,
        };
        let ban = match o.ban.flatten() {
            Some(line) => {
                let (measure, statuses) = (line.measure, line.statuses.clone().into());
                Some(Ban { table: line.table(cx)?, measure, statuses })
            }
            None => None,
        };
        let blocklists = o.blocklists.unwrap_or_default();
        let settings = Settings {
            methods: bytes(&rules(o.methods)),
            paths: patterns(o.paths, cx)?,
            agents: patterns(o.agents, cx)?,
            countries,
            blocklists: blocklists.iter().map(|it| it.compile(cx)).collect::<Result<_, _>>()?,
            ban,
            status: o.status.unwrap_or(STATUS),
            log_level: refusals::level(o.log_level),
            dry_run: o.dry_run.unwrap_or(false),
            own: o.own,
        };
        Ok(Some(settings).filter(Settings::has_rules))
    }
}

/// `off` stands for no rules where an outer block has some.
fn rules(words: Option<Vec<Word>>) -> Vec<Word> {
    words.filter(|it| it.len() != 1 || it[0] != "off").unwrap_or_default()
}

fn country(of: &Word, codes: &[Word], cx: &mut Compile<'_>) -> Result<Template, Error> {
    if codes.is_empty() || !of.contains('$') {
        return Err(Error::at(of.span, "\"shield_deny_countries\" needs a variable and the codes that it may not have")
            .advise("shield_deny_countries $geoip2_country AQ BV;"));
    }
    cx.template(of)
}

/// Post-read phase: what the server says.
pub fn check(on: &Settings, ex: &mut Exchange) -> Flow {
    if ex.subrequest_depth > 0 {
        return Continue(());
    }
    let Some((kind, what)) = on.reason(ex) else { return Continue(()) };
    let dry = if on.dry_run { ", dry run" } else { "" };
    log!(ex, on.log_level, "access forbidden by shield{dry}: {kind} \"{what}\"");
    ex.notes.put(Refused(kind));
    if on.dry_run {
        return Continue(());
    }
    stats::add(Count::Shielded);
    Break(if on.status == CLOSE { Stop::Close } else { Stop::status(on.status) })
}

/// Whether a place has rules of its own, which its server has not judged.
pub fn has_own(on: &Settings) -> bool {
    on.own
}

/// Log phase: clients that err again and again are shut out.
pub fn account(on: &Settings, ex: &Exchange) {
    let Some(ban) = &on.ban else { return };
    let is_banned = ex.notes.get::<Refused>().is_some_and(|it| it.0 == BANNED);
    if ex.subrequest_depth == 0 && !is_banned && ban.counts(ex.sent.status) && ban.fault(&ex.remote) {
        log!(ex, on.log_level, "client is shut out by shield {}", ban.measure_text());
    }
}

/// Before the first request: a connection from there is of no use, its client is banned, or listed. Tells how grave
/// that is to the log.
pub fn unwanted(on: &Settings, client: &Addr) -> Option<Level> {
    let listed = || on.blocklists.iter().any(|it| it.contains(client));
    if on.dry_run || !(on.ban.as_ref().is_some_and(|it| it.has(client)) || listed()) {
        return None;
    }
    stats::add(Count::Shielded);
    Some(on.log_level)
}

/// A handshake that failed. `Some`: what is to be logged of the ban that follows.
pub fn failed_handshake(on: &Settings, client: &Addr) -> Option<(Level, String)> {
    let ban = on.ban.as_ref().filter(|it| it.fault(client))?;
    Some((on.log_level, format!("client is shut out by shield {}", ban.measure_text())))
}

const BANNED: &str = "ban";

impl Settings {
    fn has_rules(&self) -> bool {
        !(self.methods.is_empty() && self.paths.is_empty() && self.agents.is_empty() && self.blocklists.is_empty())
            || self.countries.is_some()
            || self.ban.is_some()
    }

    /// The first rule that speaks against a request: its kind, and what it found.
    fn reason(&self, ex: &mut Exchange) -> Option<(&'static str, Cow<'static, str>)> {
        let text = |bytes: &[u8]| Cow::Owned(String::from_utf8_lossy(bytes).into_owned());
        if self.ban.as_ref().is_some_and(|it| it.has(&ex.remote)) {
            return Some((BANNED, Cow::Owned(foregate_core::addr_text(&ex.remote))));
        }
        if let Some(list) = self.blocklists.iter().find(|it| it.contains(&ex.remote)) {
            return Some(("blocklist", text(list.name.as_bytes())));
        }
        if self.methods.iter().any(|it| **it == *ex.method_name) {
            return Some(("method", text(&ex.method_name)));
        }
        if self.paths.iter().any(|it| it.begins(&ex.uri)) {
            return Some(("path", text(&ex.uri)));
        }
        if !self.agents.is_empty() {
            let agent = ex.field(b"User-Agent").unwrap_or_default();
            if self.agents.iter().any(|it| it.is_within(agent)) {
                return Some(("agent", text(agent)));
            }
        }
        if let Some((of, codes)) = &self.countries {
            let code = of.fill_new(ex);
            if codes.iter().any(|it| it.eq_ignore_ascii_case(&code)) {
                return Some(("country", text(&code)));
            }
        }
        None
    }
}

impl Pattern {
    /// A path that begins so. What takes too long to match is taken for one.
    fn begins(&self, path: &[u8]) -> bool {
        match self {
            Self::Plain(plain) => path.starts_with(plain),
            Self::Regex(regex) => regex.is_match(path).unwrap_or(true),
        }
    }

    /// A text that holds it, case aside; an empty one stands for no text at all.
    fn is_within(&self, text: &[u8]) -> bool {
        match self {
            Self::Plain(plain) if plain.is_empty() => text.is_empty(),
            Self::Plain(plain) => text.windows(plain.len()).any(|it| it.eq_ignore_ascii_case(plain)),
            Self::Regex(regex) => regex.is_match(text).unwrap_or(true),
        }
    }
}

impl Ban {
    fn counts(&self, status: u16) -> bool {
        match self.statuses.is_empty() {
            true => (400..500).contains(&status) && !matches!(status, UNAUTHORIZED | refusals::CLIENT_GONE),
            false => self.statuses.contains(&status),
        }
    }

    fn has(&self, client: &Addr) -> bool {
        self.table.is_banned(client, clock::ms())
    }

    fn fault(&self, client: &Addr) -> bool {
        self.table.fault(client, &self.measure, clock::ms())
    }

    fn measure_text(&self) -> String {
        let bans::Measure { faults, within_ms, for_ms } = self.measure;
        format!("for {} s: {faults} errors within {} s", for_ms / 1000, within_ms / 1000)
    }
}
