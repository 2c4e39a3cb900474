//! The directives of the shield as written.

use std::time::Duration;

use foregate_conf::{Error, Node, Span, Word, value as values};
use foregate_core::{Compile, Regex, Scope, ZoneNames, ZoneSpec, duplicate, error_status};

use super::Options;
use super::bans::{Measure, Tables};
use super::lists::{self, Line};

/// Who declares these zones.
const ZONE: &str = "shield_ban";

/// Words or patterns, one of which is enough.
pub(super) enum Pattern {
    Plain(Box<[u8]>),
    Regex(Regex),
}

impl Pattern {
    /// `~` and `~*` begin a regular expression; the second ignores case.
    pub(super) fn compile(word: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let (caseless, pattern) = match (word.strip_prefix("~*"), word.strip_prefix('~')) {
            (Some(pattern), _) => (true, pattern),
            (None, Some(pattern)) => (false, pattern),
            (None, None) => return Ok(Self::Plain(word.bytes().into())),
        };
        match pattern.trim_start() {
            "" => Err(Error::at(word.span, format!("empty regex in \"{word}\""))),
            pattern => Regex::compile(word, pattern, caseless, cx.variables).map(Self::Regex),
        }
    }
}

/// `shield_ban zone=NAME:SIZE after=N [within=TIME] [for=TIME] [status=CODE,CODE…]`, or `off`.
#[derive(Clone)]
pub(super) struct BanLine {
    pub(super) zone: ZoneSpec,
    pub(super) measure: Measure,
    /// Empty: the statuses that stand for a client's fault.
    pub(super) statuses: Vec<u16>,
    pub(super) span: Span,
}

impl BanLine {
    /// Finds the table, or makes it. A zone that is named twice is one table.
    pub(super) fn table(&self, cx: &mut Compile<'_>) -> Result<std::sync::Arc<super::bans::Table>, Error> {
        cx.shared.get_or_default::<ZoneNames>().declare(&self.zone, ZONE, self.span)?;
        let name = &self.zone.name;
        let before = cx.previous.and_then(|it| it.get::<Tables>()).and_then(|it| it.0.get(name)).cloned();
        let tables = cx.shared.get_or_default::<Tables>();
        let kept = before.filter(|it| it.bytes == self.zone.bytes);
        let new = || kept.unwrap_or_else(|| std::sync::Arc::new(super::bans::Table::new(self.zone.bytes)));
        Ok(tables.0.entry(name.clone()).or_insert_with(new).clone())
    }
}

/// A directive that may stand in a block once and has several words.
pub(super) fn once(slot: &mut Option<Vec<Word>>, own: &mut bool, node: &Node) -> Result<(), Error> {
    *own = true;
    match slot.replace(node.args.clone()) {
        None => Ok(()),
        Some(_) => Err(duplicate(node)),
    }
}

/// `shield_blocklist PLACE [refresh=TIME]`, or `off`.
pub(super) fn blocklist(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.own = true;
    let lines = o.blocklists.get_or_insert_default();
    let place = node.args[0].clone();
    if place == "off" && node.args.len() == 1 {
        return if lines.is_empty() { Ok(()) } else { Err(duplicate(node)) };
    }
    let mut refresh = lists::REFRESH;
    if let Some(word) = node.args.get(1) {
        let time = word.strip_prefix("refresh=").ok_or_else(|| unknown(word))?;
        let time = values::time_s(time).filter(|it| *it > 0 && !place.starts_with("file:"));
        refresh = Duration::from_secs(time.ok_or_else(|| unknown(word))?);
    }
    lines.push(Line { place, refresh });
    Ok(())
}

pub(super) fn ban(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.ban.is_some() {
        return Err(duplicate(node));
    }
    if node.args.len() == 1 && node.args[0] == "off" {
        o.ban = Some(None);
        return Ok(());
    }
    let (mut zone, mut faults, mut statuses) = (None, None, Vec::new());
    let (mut within, mut long) = (60, 600);
    for word in &node.args {
        let wrong = || unknown(word);
        let Some((name, text)) = word.split_once('=') else { return Err(wrong()) };
        let seconds = || values::time_s(text).filter(|it| (1..=TIME_S_MAX).contains(it)).ok_or_else(wrong);
        match name {
            "zone" => zone = Some(ZoneSpec::parse(word)?),
            "after" => {
                let n = values::number(text).and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
                faults = Some(n.ok_or_else(wrong)?);
            }
            "within" => within = seconds()?,
            "for" => long = seconds()?,
            "status" => {
                for code in text.split(',') {
                    let code = code.parse().ok().filter(|it| (400..600).contains(it)).ok_or_else(wrong)?;
                    statuses.push(code);
                }
            }
            _ => return Err(wrong()),
        }
    }
    let lacks = |what: &str| Error::at(node.span, format!("\"shield_ban\" must have \"{what}\" parameter"));
    let zone = zone.filter(|it| !it.name.is_empty()).ok_or_else(|| lacks("zone"))?;
    let faults = faults.ok_or_else(|| lacks("after"))?;
    let measure = Measure { faults, within_ms: within * 1000, for_ms: long * 1000 };
    o.ban = Some(Some(BanLine { zone, measure, statuses, span: node.span }));
    Ok(())
}

/// A year: keeps sums of times small.
const TIME_S_MAX: u64 = 366 * 86_400;

/// An error that is answered with a page, or 444: the connection is closed without a word.
pub(super) fn status(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    error_status(&mut o.status, node)
}

fn unknown(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}
