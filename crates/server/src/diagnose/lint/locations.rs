//! Traps of locations: paths that lead elsewhere than they seem to, and blocks that are not what they look like.

use std::collections::BTreeSet;

use foregate_conf::{Modifier, Node};

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule { code: "alias-traversal", about: "alias lets a client out of its folder", look: alias },
    Rule { code: "if-is-a-location", about: "more than rewriting inside of an if", look: if_is_a_location },
    Rule { code: "if-loses-try-files", about: "a true if loses try_files", look: if_loses_try_files },
    Rule {
        code: "try-files-and-pass",
        about: "try_files answers what proxy_pass should",
        look: try_files_and_pass,
    },
    Rule { code: "root-in-location", about: "root stands in location / alone", look: root_in_location },
    Rule { code: "location-shadowed", about: "a regex location is never reached", look: shadowed },
    Rule { code: "regex-dot", about: "a dot of a pattern matches any character", look: regex_dot },
    Rule { code: "merge-slashes-off", about: "doubled slashes go around locations", look: merge_slashes },
];

fn alias(block: &Block<'_>, found: &mut Found) {
    let (Some(path), Some(node)) = (block.kind.prefix(), block.own("alias").next()) else { return };
    let Some(folder) = node.args.first() else { return };
    match (path.ends_with('/'), folder.ends_with('/')) {
        (false, true) => {
            let what = format!(
                "{path}../x is in this location too and is looked for in {folder}../x, outside of the folder"
            );
            found.warn(node.span, what, format!("end both with a slash: location {path}/"));
        }
        (true, false) => {
            let what = format!("{path}x is looked for in {folder}x: alias takes the place of the slash too");
            found.warn(node.span, what, format!("end both with a slash: alias {folder}/;"));
        }
        _ => (),
    }
}

/// What may stand in an `if` without a thought: the program, and what changes nothing about the content.
const HARMLESS: [&str; 10] = [
    "set",
    "return",
    "rewrite",
    "break",
    "rewrite_log",
    "uninitialized_variable_warn",
    "access_log",
    "error_log",
    "limit_rate",
    "limit_rate_after",
];

fn if_is_a_location(block: &Block<'_>, found: &mut Found) {
    let in_location = matches!(block.outer.map(|it| it.kind), Some(Kind::Location { .. }));
    if block.kind != Kind::If || !in_location || ends_for_good(block.nodes) {
        return;
    }
    for node in block.nodes.iter().filter(|it| !HARMLESS.contains(&it.name.text.as_str())) {
        let name = &node.name;
        let what = format!(
            "an \"if\" is a location of its own: where it is true, {name} here holds in the place of what its location says, and of two true ones only the last counts"
        );
        let repair = match name.ends_with("_pass") {
            true => "choose by a variable instead: a map, and \"proxy_pass http://$backend;\"",
            false => {
                "choose the value by a map, or send the request to another location with \"return\" or \"rewrite ... last\""
            }
        };
        found.warn(node.span, what, repair);
    }
}

/// The request goes elsewhere or is answered: the block's own settings hardly matter.
fn ends_for_good(nodes: &[Node]) -> bool {
    nodes.iter().any(|it| {
        let flag = it.args.get(2).map(|it| it.text.as_str());
        it.name == "return" || it.name == "rewrite" && matches!(flag, Some("last" | "redirect" | "permanent"))
    })
}

fn if_loses_try_files(block: &Block<'_>, found: &mut Found) {
    let Some(location) =
        block.outer.filter(|it| block.kind == Kind::If && matches!(it.kind, Kind::Location { .. }))
    else {
        return;
    };
    if let (Some(tries), Some(node), false) =
        (location.own("try_files").next(), block.node, ends_for_good(block.nodes))
    {
        let names: Vec<_> = tries.args.iter().map(|it| it.text.as_str()).collect();
        let what = format!(
            "where this \"if\" is true, \"try_files {}\" is not asked: an \"if\" is a location of its own and does not inherit it",
            names.join(" ")
        );
        found.warn(node.span, what, "let a map make the variable, so that no \"if\" is needed");
    }
}

fn try_files_and_pass(block: &Block<'_>, found: &mut Found) {
    let passes = ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"];
    let Some(pass) = passes.into_iter().find_map(|it| block.own(it).next()) else { return };
    let Some(tries) = block.own("try_files").next() else { return };
    let Some(last) = tries.args.last().filter(|it| it.starts_with('=')) else { return };
    if pass.name == "fastcgi_pass" || block.kind.regex().is_some() {
        // `try_files $uri =404;` before a script is run is how it should be.
        return;
    }
    let what =
        format!("only files that exist reach {}, everything else is answered with {}", pass.name, &last[1..]);
    let repair =
        format!("end try_files with a named location, \"try_files $uri @app;\", and put {} there", pass.name);
    found.warn(tries.span, what, repair);
}

fn root_in_location(block: &Block<'_>, found: &mut Found) {
    let is_first = block.kind.prefix() == Some("/");
    let (true, Some(node), Some(server)) = (is_first, block.own("root").next(), block.outer) else { return };
    if server.kind != Kind::Server || server.holder("root").is_some() {
        return;
    }
    let Some(other) = server.inner().find(serves_files).and_then(|it| it.node) else { return };
    let what = format!(
        "this root holds in location / alone: \"{}\" has none and looks into the built-in folder",
        title(other)
    );
    found.warn(node.span, what, "write root in the server");
}

/// Nothing in it says where the content comes from, so that it is a file.
fn serves_files(block: &Block<'_>) -> bool {
    const CONTENT: [&str; 13] = [
        "root",
        "alias",
        "proxy_pass",
        "fastcgi_pass",
        "uwsgi_pass",
        "scgi_pass",
        "grpc_pass",
        "return",
        "rewrite",
        "stub_status",
        "empty_gif",
        "try_files",
        "internal",
    ];
    let is_path = matches!(block.kind, Kind::Location { modifier, .. } if modifier != Modifier::Named);
    let nested = block.inner().any(|it| matches!(it.kind, Kind::Location { .. }));
    is_path
        && !nested
        && block.nodes.iter().all(|it| {
            let denies = it.name == "deny" && it.args.iter().any(|it| *it == "all");
            !denies && !CONTENT.contains(&it.name.text.as_str())
        })
}

fn title(node: &Node) -> String {
    let words = std::iter::once(&node.name).chain(&node.args);
    words.map(|it| it.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn shadowed(block: &Block<'_>, found: &mut Found) {
    let mut before: Vec<(Ending<'_>, &Node)> = Vec::new();
    for inner in block.inner() {
        let (Kind::Location { modifier, .. }, Some(pattern), Some(node)) =
            (inner.kind, inner.kind.regex(), inner.node)
        else {
            continue;
        };
        let ending = Ending::of(pattern, modifier == Modifier::RegexNoCase);
        if let Some((_, earlier)) = before.iter().find(|(it, _)| it.covers(&ending)) {
            let what = format!(
                "never reached: \"{}\" stands before it and matches all that it does",
                title(earlier)
            );
            found.warn(node.span, what, "the first regex that matches answers: put the narrower one first");
        } else {
            before.push((ending, node));
        }
    }
}

/// What a pattern matches, as far as this can be told by a look: `\.(js|css)$` is a set of endings.
struct Ending<'a> {
    pattern: &'a str,
    caseless: bool,
    endings: Option<BTreeSet<String>>,
}

impl<'a> Ending<'a> {
    fn of(pattern: &'a str, caseless: bool) -> Self {
        let inside = pattern.strip_prefix("\\.").and_then(|it| it.strip_suffix('$'));
        let bare = inside.map(|it| {
            let it = it.strip_prefix("(?:").or_else(|| it.strip_prefix('(')).unwrap_or(it);
            it.strip_suffix(')').unwrap_or(it)
        });
        let plain = bare.filter(|it| it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'|'));
        let fold = |it: &str| if caseless { it.to_ascii_lowercase() } else { it.to_owned() };
        Self { pattern, caseless, endings: plain.map(|it| it.split('|').map(fold).collect()) }
    }

    /// It stands first and matches whatever the other does.
    fn covers(&self, other: &Self) -> bool {
        if other.caseless && !self.caseless {
            return false;
        }
        match (&self.endings, &other.endings) {
            (Some(mine), Some(theirs)) => theirs
                .iter()
                .all(|it| mine.contains(&if self.caseless { it.to_ascii_lowercase() } else { it.clone() })),
            _ => self.pattern == other.pattern,
        }
    }
}

fn regex_dot(block: &Block<'_>, found: &mut Found) {
    if block.kind == Kind::Server {
        for word in block.own("server_name").flat_map(|it| &it.args).filter(|it| it.starts_with('~')) {
            report_dot(word, name_dot(word), found);
        }
    }
    for node in block.own("valid_referers") {
        for word in node.args.iter().filter(|it| it.starts_with('~')) {
            report_dot(word, name_dot(word), found);
        }
    }
    if let (Some(pattern), Some(word)) = (block.kind.regex(), block.node.and_then(|it| it.args.last())) {
        report_dot(word, ending_dot(pattern), found);
    }
}

fn report_dot(word: &foregate_conf::Word, around: Option<&str>, found: &mut Found) {
    if let Some(around) = around {
        let what = format!("the dot in \"{around}\" matches any character");
        found.warn(word.span, what, format!("write it as {}", around.replace('.', "\\.")));
    }
}

/// A dot between two labels of a host's name: `www.example.com`.
fn name_dot(pattern: &str) -> Option<&str> {
    dots(pattern).find_map(|at| {
        let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let bytes = pattern.as_bytes();
        let (before, after) = (bytes[..at].last(), bytes.get(at + 1));
        (letter(before) || before == Some(&b')')).then_some(()).filter(|()| letter(after))?;
        Some(around(pattern, at))
    })
}

/// A dot in front of a file's ending: `.php$`.
fn ending_dot(pattern: &str) -> Option<&str> {
    dots(pattern).find_map(|at| {
        let rest = &pattern[at + 1..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let group = rest.starts_with('(') && rest[1..].starts_with(|it: char| it.is_ascii_alphanumeric());
        let ends = rest.ends_with('$')
            && ((2..=5).contains(&letters) && rest.len() == letters + 1 || group && rest.ends_with(")$"));
        let starts = at == 0 || pattern.as_bytes()[at - 1].is_ascii_alphanumeric();
        (ends && starts).then(|| around(pattern, at))
    })
}

/// Where an unescaped dot stands outside of brackets.
fn dots(pattern: &str) -> impl Iterator<Item = usize> {
    let (mut escaped, mut in_class) = (false, false);
    pattern.bytes().enumerate().filter_map(move |(at, byte)| {
        let was_escaped = escaped;
        escaped = byte == b'\\' && !was_escaped;
        match byte {
            _ if was_escaped => None,
            b'[' => {
                in_class = true;
                None
            }
            b']' => {
                in_class = false;
                None
            }
            b'.' if !in_class => Some(at),
            _ => None,
        }
    })
}

/// The plain letters on both sides of a dot.
fn around(pattern: &str, at: usize) -> &str {
    let bytes = pattern.as_bytes();
    let before = bytes[..at].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
    let after = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    &pattern[at - before..=at + after]
}

fn merge_slashes(block: &Block<'_>, found: &mut Found) {
    for node in block.own("merge_slashes").filter(|it| it.args.iter().any(|it| *it == "off")) {
        let guards = |it: &&Node| {
            ["deny", "auth_basic", "auth_request", "auth_jwt", "auth_oidc", "internal"]
                .contains(&it.name.text.as_str())
        };
        if block.all_nodes().iter().any(guards) {
            let what = "with merge_slashes off //admin is not in location /admin, but its backend or file system may take it for that";
            found.warn(node.span, what, "leave merge_slashes on where locations protect something");
        }
    }
}
