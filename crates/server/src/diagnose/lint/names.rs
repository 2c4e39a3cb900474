//! Traps of servers' names: two servers for one, and none for others.

use std::collections::HashMap;

use foregate_conf::{Node, Span};

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] =
    &[Rule { code: "server-conflict", about: "two servers have the same name and address", look: conflict }];

fn conflict(block: &Block<'_>, found: &mut Found) {
    if block.kind != Kind::Http {
        return;
    }
    let mut taken: HashMap<(String, String), Span> = HashMap::new();
    for server in block.inner().filter(|it| it.kind == Kind::Server) {
        let Some(node) = server.node else { continue };
        let mut listens: Vec<String> = server.own("listen").filter_map(address).collect();
        if listens.is_empty() {
            listens.push("*:80".to_owned());
        }
        let names: Vec<_> = server.own("server_name").flat_map(|it| &it.args).collect();
        let mut reported = false;
        for listen in listens {
            let named = names.iter().map(|it| (it.to_ascii_lowercase(), it.span));
            let nameless = names.is_empty().then(|| (String::new(), node.span));
            for (name, span) in named.chain(nameless) {
                let other = *taken.entry((listen.clone(), name.clone())).or_insert(node.span);
                if other != node.span && !reported {
                    reported = true;
                    let shown =
                        if name.is_empty() { "without a name".to_owned() } else { format!("\"{name}\"") };
                    let what = format!(
                        "a server before this one is {shown} on {listen} already, and answers: this one never does"
                    );
                    found.warn(span, what, "give it another name, or put both into one server");
                }
            }
        }
    }
}

/// The address of a `listen`, in one spelling.
fn address(node: &Node) -> Option<String> {
    let text = &node.args.first()?.text;
    if text.starts_with("unix:") {
        return Some(text.clone());
    }
    if text.bytes().all(|it| it.is_ascii_digit()) {
        return Some(format!("*:{text}"));
    }
    let text = text.replace("0.0.0.0", "*");
    let has_port = text.rsplit_once(']').map_or(&*text, |(_, behind)| behind).contains(':');
    Some(if has_port { text } else { format!("{text}:80") })
}
