//! The events of a request's way as lines for people and machines.

use foregate_conf::Span;

use super::Told;
use super::atlas::title;
use super::cache;
use super::tape::{Event, Taken};
use crate::phases::Begin;

/// One line of the account.
pub(super) struct Line {
    /// What kind of event it is: `rewrite`, `location`, `upstream`, …
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) span: Option<Span>,
    /// How deep in requests that others make.
    pub(super) depth: usize,
}

impl Told<'_> {
    /// The account, in the order in which things happened.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.account(&self.events, 0, &mut lines);
        lines
    }

    fn account(&self, events: &[Event], depth: usize, lines: &mut Vec<Line>) {
        for event in events {
            if let Some((kind, text, span)) = self.line(event) {
                lines.push(Line { kind, text, span, depth });
            }
            if let Event::Inside { events, .. } = event {
                self.account(events, depth + 1, lines);
            }
        }
    }

    fn line(&self, event: &Event) -> Option<(&'static str, String, Option<Span>)> {
        let block = |place: u32| title(self.atlas.node(place));
        let span = |place: u32| Some(self.atlas.node(place).span);
        Some(match event {
            Event::Begins { begin: Begin::ServerRewrite, uri, args, .. } => {
                ("inside", format!("goes on inside with {}", path(uri, args)), None)
            }
            Event::Begins { begin: Begin::LocationRewrite, place, .. } => {
                ("location", block(*place), span(*place))
            }
            Event::Begins { .. } => return None,
            Event::Line { place, path, taken, uri, args } => {
                let node = self.atlas.line(*place, path);
                let written = node.map_or_else(String::new, title);
                ("rewrite", format!("{written} -> {}", outcome(taken, uri, args)), node.map(|it| it.span))
            }
            Event::Located { place, uri, .. } => {
                ("location", format!("{} for {}", block(*place), text(uri)), span(*place))
            }
            Event::Passed { place, preview } => {
                let to = format!("{}{}{}", preview.scheme, preview.host, text(&preview.uri));
                ("upstream", format!("{to}, by {}", block(*place)), self.pass_span(*place))
            }
            Event::Cached { place, scheme, cache } => {
                let of = cache::family(scheme);
                let text = cache::line(of, cache, self.question.upstream_status);
                ("cache", text, self.cache_span(*place, of))
            }
            Event::Changes { place, method } => {
                let at = self.own_span(*place, "dav_methods");
                ("files", format!("{method} would change files; that it can is taken for granted"), at)
            }
            Event::Answered { place, status } => {
                ("answer", format!("{status} in {}", block(*place)), span(*place))
            }
            Event::Closed { place } => {
                ("answer", format!("the connection is closed, in {}", block(*place)), span(*place))
            }
            Event::Goes { place, to } => {
                ("inside", format!("{} in {}", text(to), block(*place)), span(*place))
            }
            Event::Page { place, status, to } => {
                let to = to.as_ref().map_or_else(|| "a redirect".to_owned(), |it| text(it));
                ("error_page", format!("{status} has a page: {to}"), self.own_span(*place, "error_page"))
            }
            Event::Inside { uri, status, .. } => {
                let status = status.map_or_else(|| "no answer".to_owned(), |it| it.to_string());
                ("subrequest", format!("{} -> {status}", text(uri)), None)
            }
            Event::Logged(line) => ("log", line.clone(), None),
        })
    }

    /// The `proxy_pass` that holds in a place.
    pub(super) fn pass_span(&self, place: u32) -> Option<Span> {
        self.own_span(place, "proxy_pass")
    }

    /// The line that chooses the zone; `of`: as [`cache::family`] says.
    pub(super) fn cache_span(&self, place: u32, of: &str) -> Option<Span> {
        self.own_span(place, &format!("{of}_cache"))
    }

    /// The nearest line of a name.
    fn own_span(&self, place: u32, name: &str) -> Option<Span> {
        let chain = self.atlas.chain(place);
        let node = chain.iter().find_map(|(_, nodes)| nodes.iter().find(|it| it.name == *name));
        node.map(|it| it.span)
    }
}

fn outcome(taken: &Taken, uri: &[u8], args: &[u8]) -> String {
    match taken {
        Taken::Set(value) => format!("\"{}\"", text(value)),
        Taken::Rewrite { matched: true } => format!("matches, now {}", path(uri, args)),
        Taken::Rewrite { matched: false } => "does not match".to_owned(),
        Taken::Return => "answers".to_owned(),
        Taken::Break => "ends the program".to_owned(),
        Taken::If { holds: true } => "true".to_owned(),
        Taken::If { holds: false } => "false".to_owned(),
    }
}

pub(super) fn path(uri: &[u8], args: &[u8]) -> String {
    match args {
        b"" => text(uri),
        _ => format!("{}?{}", text(uri), text(args)),
    }
}

/// Bytes of a request, which must not steer the terminal they are shown on.
pub(super) fn text(bytes: &[u8]) -> String {
    let visible = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    String::from_utf8_lossy(bytes).chars().map(visible).collect()
}
