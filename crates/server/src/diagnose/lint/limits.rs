//! Traps of limits: those that nobody uses, and those that cannot be reached.

use foregate_conf::Node;

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule { code: "limit-zone-unused", about: "a zone that limits nothing", look: unused_zone },
    Rule { code: "worker-connections", about: "more connections than files may be open", look: connections },
];

fn unused_zone(block: &Block<'_>, found: &mut Found) {
    if block.kind != Kind::Http {
        return;
    }
    let all = block.all_nodes();
    for node in block.nodes {
        let (limit, name) = match node.name.text.as_str() {
            "limit_req_zone" => ("limit_req", zone(node)),
            "limit_conn_zone" => ("limit_conn", zone(node)),
            _ => continue,
        };
        let Some(name) = name else { continue };
        let uses = |it: &&Node| {
            it.name == *limit && (zone(it) == Some(name) || it.args.first().is_some_and(|it| **it == *name))
        };
        if !all.iter().any(uses) {
            let what = format!("zone \"{name}\" limits nothing: no {limit} names it");
            let repair = match limit {
                "limit_req" => format!("limit_req zone={name} burst=20 nodelay; where it is to hold"),
                _ => format!("limit_conn {name} 20; where it is to hold"),
            };
            found.warn(node.span, what, repair);
        }
    }
}

/// The name in `zone=NAME:SIZE`.
fn zone(node: &Node) -> Option<&str> {
    let value = node.args.iter().find_map(|it| it.text.strip_prefix("zone="))?;
    Some(value.split(':').next().unwrap_or(value))
}

fn connections(block: &Block<'_>, found: &mut Found) {
    if block.kind != Kind::Main {
        return;
    }
    let events = block.own("events").flat_map(Node::body).find(|it| it.name == "worker_connections");
    let number = |node: Option<&Node>| node?.args.first()?.parse::<u64>().ok();
    let files = number(block.own("worker_rlimit_nofile").next());
    if let (Some(node), Some(wanted), Some(files)) = (events, number(events), files)
        && wanted > files
    {
        let what =
            format!("{wanted} connections need more than the {files} files that worker_rlimit_nofile allows");
        found.warn(node.span, what, format!("worker_rlimit_nofile {};", wanted.saturating_mul(2)));
    }
}
