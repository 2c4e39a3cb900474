//! Traps of access rules: those that let in whom they seem to keep out.

use foregate_conf::Node;

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule {
        code: "return-before-access",
        about: "return answers before access rules are asked",
        look: return_first,
    },
    Rule { code: "allow-without-deny", about: "allow without deny keeps nobody out", look: allow_alone },
    Rule { code: "valid-referers-none", about: "a request without Referer passes", look: referers },
    Rule {
        code: "internal-missing",
        about: "a location for X-Accel-Redirect is open to everybody",
        look: internal,
    },
];

fn return_first(block: &Block<'_>, found: &mut Found) {
    let Some(answer) = block.own("return").next() else { return };
    let guard = ["deny", "auth_basic", "auth_request", "auth_jwt", "auth_oidc"]
        .into_iter()
        .find_map(|it| block.own(it).next());
    if let Some(guard) = guard
        && !guard.args.iter().any(|it| *it == "off")
        && matches!(block.kind, Kind::Server | Kind::Location { .. })
    {
        let what = format!(
            "\"{}\" is never asked: \"return\" in the same block answers before access rules are",
            guard.name
        );
        let repair = match block.own("allow").next() {
            Some(_) => "answer with a file or a named location: \"try_files /nothing @answer;\"",
            None => {
                "leave one of the two out; to answer those who may come in, use \"try_files /nothing @answer;\""
            }
        };
        found.warn(answer.span, what, repair);
    }
}

fn allow_alone(block: &Block<'_>, found: &mut Found) {
    let Some(first) = block.own("allow").next() else { return };
    if !block.has("deny") && !block.own("allow").any(|it| it.args.iter().any(|it| *it == "all")) {
        let what = "whom no rule names is let in: allow alone keeps nobody out, and rules of outer blocks do not hold here";
        found.warn(first.span, what, "end the list with \"deny all;\"");
    }
}

fn referers(block: &Block<'_>, found: &mut Found) {
    for node in block.own("valid_referers") {
        if let Some(none) = node.args.iter().find(|it| **it == "none") {
            let what = "\"none\" lets every request without Referer pass, and any page can have its visitors' browsers leave it out";
            found.note(none.span, what, "leave \"none\" out where this is to keep others from embedding, or sign the links (secure_link)");
        }
    }
}

/// Names that say what a location is for.
const PRIVATE: [&str; 4] = ["internal", "protected", "x-accel", "accel-redirect"];

fn internal(block: &Block<'_>, found: &mut Found) {
    let (Some(path), Some(node)) = (block.kind.prefix(), block.node) else { return };
    let says = path.to_ascii_lowercase();
    let is_private = says.split('/').any(|it| PRIVATE.contains(&it.trim_start_matches(['_', '-'])));
    let files = block.has("alias") || block.has("root");
    let guards = |it: &Node| {
        ["internal", "deny", "auth_basic", "auth_request", "auth_jwt", "auth_oidc", "return", "secure_link"]
            .contains(&it.name.text.as_str())
    };
    if is_private && files && !block.nodes.iter().any(guards) {
        let what = format!(
            "anybody may ask for {path} itself: only \"internal\" keeps a location for X-Accel-Redirect"
        );
        found.note(node.span, what, "write \"internal;\" in it");
    }
}
