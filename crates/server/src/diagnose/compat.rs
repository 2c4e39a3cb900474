//! Every directive of a configuration, and what becomes of it: supported, tuned away, or refused.

use foregate_conf::{Error, Node, Source, Span};
use foregate_core::{Json, Scope};
use foregate_modules::{directives, known};

use super::place;
use crate::read::STRUCTURE;

/// A directive of the files.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub span: Span,
    pub verdict: Verdict,
}

/// What becomes of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Supported,
    /// Accepted, and without effect: why.
    TunedAway(String),
    /// The configuration cannot be used because of it: why, and what to do instead.
    Refused {
        why: String,
        instead: Option<String>,
    },
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::TunedAway(_) => "ignored",
            Self::Refused { .. } => "refused",
        }
    }

    fn reasons(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Supported => (None, None),
            Self::TunedAway(why) => (Some(why), None),
            Self::Refused { why, instead } => (Some(why), instead.as_deref()),
        }
    }
}

impl Listed {
    pub fn to_json(&self, sources: &[Source]) -> Json {
        let [file, line, column] = place(Some(self.span), sources);
        let (reason, advice) = self.verdict.reasons();
        Json::Object(vec![
            ("directive", self.name.as_str().into()),
            ("file", file),
            ("line", line),
            ("column", column),
            ("verdict", self.verdict.word().into()),
            ("reason", reason.into()),
            ("advice", advice.into()),
        ])
    }
}

/// All directives in the order of the files. What stands in a block that is refused goes with it.
pub fn list(nodes: &[Node]) -> Vec<Listed> {
    let mut all = Vec::new();
    block(nodes, Scope::MAIN, &mut all);
    all
}

fn block(nodes: &[Node], scope: Scope, all: &mut Vec<Listed>) {
    for node in nodes {
        let verdict = judge(node, scope);
        let goes_on = verdict == Verdict::Supported;
        all.push(Listed { name: node.name.text.clone(), span: node.span, verdict });
        if let (true, Some(inner)) = (goes_on, inner(node, scope)) {
            block(node.body(), inner, all);
        }
    }
}

fn judge(node: &Node, scope: Scope) -> Verdict {
    let name = node.name.text.as_str();
    let mine = |(_, it, places): &(_, &str, Scope)| *it == name && places.contains(scope);
    if STRUCTURE.contains(&name) || directives().iter().any(mine) {
        let idle = known::idle(name).map(str::to_owned);
        return idle.map_or(Verdict::Supported, Verdict::TunedAway);
    }
    let refused = |error: Error| Verdict::Refused { why: error.what, instead: error.advice };
    let Some(known) = known::find(name) else { return refused(crate::read::unknown(node)) };
    match known.judge(node, scope) {
        Ok(None) => Verdict::Supported,
        Ok(Some(warning)) => Verdict::TunedAway(reason(&warning.what)),
        Err(error) => Verdict::Refused { why: reason(&error.what), instead: error.advice },
    }
}

/// Behind `"x" directive is ignored: `: the name stands beside it anyway.
fn reason(what: &str) -> String {
    what.split_once(": ").map_or(what, |(_, why)| why).to_owned()
}

/// The scope inside of a block whose directives are told one by one; those of `map` and its kin are its own affair.
fn inner(node: &Node, scope: Scope) -> Option<Scope> {
    match node.name.text.as_str() {
        "events" => Some(Scope::EVENTS),
        "http" => Some(Scope::HTTP),
        "server" if node.is_block() => Some(Scope::SERVER),
        "upstream" => Some(Scope::UPSTREAM),
        "location" => Some(Scope::LOCATION),
        "limit_except" => Some(Scope::LIMIT_EXCEPT),
        "if" if scope == Scope::SERVER => Some(Scope::SERVER_IF),
        "if" => Some(Scope::LOCATION_IF),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_has_a_verdict() {
        let text = "events { iocp_threads 5; accept_mutex on; } http { upstream u { server a; } map $a $b { default 1; }
            server { listen 80; location / { proxy_pass http://u; image_filter crop 1 2; } } }
            mail { server { } } no_such_thing 1;";
        let tree = foregate_conf::parse(text).unwrap();
        let seen: Vec<_> =
            list(&tree.nodes).iter().map(|it| format!("{} {}", it.name, it.verdict.word())).collect();
        let want = [
            "events supported",
            "iocp_threads ignored",
            "accept_mutex ignored",
            "http supported",
            "upstream supported",
            "server supported",
            "map supported",
            "server supported",
            "listen supported",
            "location supported",
            "proxy_pass supported",
            "image_filter refused",
            "mail refused",
            "no_such_thing refused",
        ];
        assert_eq!(seen, want);
    }
}
