//! A block as rules see it: what it wrote, and what it has from the blocks around it.

use foregate_conf::{Modifier, Node, location_args};

/// One block of the configuration on the way down to it.
pub(super) struct Block<'a> {
    pub(super) kind: Kind<'a>,
    /// `None` for what stands outside of every block.
    pub(super) node: Option<&'a Node>,
    pub(super) nodes: &'a [Node],
    pub(super) outer: Option<&'a Block<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Main,
    Http,
    Server,
    Location { modifier: Modifier, path: &'a str },
    If,
    LimitExcept,
    Upstream,
}

impl<'a> Block<'a> {
    pub(super) fn main(nodes: &'a [Node]) -> Self {
        Self { kind: Kind::Main, node: None, nodes, outer: None }
    }

    /// The blocks in this one that settings are inherited by, and upstreams.
    pub(super) fn inner<'b>(&'b self) -> impl Iterator<Item = Block<'b>> {
        self.nodes.iter().filter(|it| it.is_block()).filter_map(move |node| {
            let kind = kind(self.kind, node)?;
            Some(Block { kind, node: Some(node), nodes: node.body(), outer: Some(self) })
        })
    }

    /// What this block itself wrote under a name.
    pub(super) fn own<'b>(&self, name: &'b str) -> impl Iterator<Item = &'a Node> + use<'a, 'b> {
        self.nodes.iter().filter(move |it| it.name == *name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.own(name).next().is_some()
    }

    /// The nearest block, this one first, that wrote something under a name, and whose lines therefore hold here.
    pub(super) fn holder(&self, name: &str) -> Option<&Block<'a>> {
        let mut at = self;
        loop {
            if at.has(name) {
                return Some(at);
            }
            at = at.outer?;
        }
    }

    /// The first parameter of the line that holds here.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        let node = self.holder(name)?.own(name).next()?;
        Some(node.args.first().map_or("", |it| &**it))
    }

    /// Itself and what is around it, innermost first.
    pub(super) fn outwards(&self) -> impl Iterator<Item = &Block<'a>> {
        std::iter::successors(Some(self), |it| it.outer)
    }

    pub(super) fn server(&self) -> Option<&Block<'a>> {
        self.outwards().find(|it| it.kind == Kind::Server)
    }

    pub(super) fn http(&self) -> Option<&Block<'a>> {
        self.outwards().find(|it| it.kind == Kind::Http)
    }

    /// For messages: `server`, `location /x`.
    pub(super) fn title(&self) -> String {
        let Some(node) = self.node else { return "the file".to_owned() };
        let words = std::iter::once(&node.name).chain(&node.args);
        words.map(|it| it.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Everything below, this block's own nodes first.
    pub(super) fn all_nodes(&self) -> Vec<&'a Node> {
        let mut all = Vec::new();
        gather(self.nodes, &mut all);
        all
    }
}

fn gather<'a>(nodes: &'a [Node], all: &mut Vec<&'a Node>) {
    for node in nodes {
        all.push(node);
        gather(node.body(), all);
    }
}

fn kind<'a>(outer: Kind<'_>, node: &'a Node) -> Option<Kind<'a>> {
    Some(match (outer, node.name.text.as_str()) {
        (Kind::Main, "http") => Kind::Http,
        (Kind::Http, "server") => Kind::Server,
        (Kind::Http, "upstream") => Kind::Upstream,
        (Kind::Server | Kind::Location { .. }, "if") => Kind::If,
        (Kind::Location { .. }, "limit_except") => Kind::LimitExcept,
        (Kind::Server | Kind::Location { .. }, "location") => {
            let (modifier, name) = location_args(node).ok()?;
            // The name is the end of the last word, whatever is glued to its front.
            let word = node.args.last()?;
            let path = word.text.get(word.text.len() - name.text.len()..)?;
            Kind::Location { modifier, path }
        }
        _ => return None,
    })
}

impl<'a> Kind<'a> {
    /// A location that is found by the beginning of a path.
    pub(super) fn prefix(self) -> Option<&'a str> {
        match self {
            Self::Location { modifier: Modifier::Prefix | Modifier::NoRegex, path } => Some(path),
            _ => None,
        }
    }

    pub(super) fn regex(self) -> Option<&'a str> {
        match self {
            Self::Location { modifier: Modifier::Regex | Modifier::RegexNoCase, path } => Some(path),
            _ => None,
        }
    }
}

/// Whether a value holds this variable: `$uri` is not in `$uri_path`.
pub(super) fn has_variable(text: &str, name: &str) -> bool {
    text.contains(&format!("${{{name}}}"))
        || text.match_indices(&format!("${name}")).any(|(at, found)| {
            let behind = text[at + found.len()..].bytes().next();
            !behind.is_some_and(|it| it.is_ascii_alphanumeric() || it == b'_')
        })
}
