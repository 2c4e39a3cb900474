//! The directives that hold in a place, each with where it was written and by which block it came.

use std::collections::HashSet;

use foregate_conf::{Node, Word};
use foregate_core::{Exchange, Template, Variables};

use super::atlas::{Atlas, title};

/// A directive that holds.
pub(super) struct Setting<'a> {
    pub(super) node: &'a Node,
    /// What it is about.
    pub(super) about: &'static str,
    /// The block that wrote it.
    pub(super) block: String,
    pub(super) inherited: bool,
    /// Parameters with variables, as they come out for this request.
    pub(super) values: Vec<(String, String)>,
    /// The line that defines what this one names: a zone, a format.
    pub(super) defined: Option<&'a Node>,
}

/// Rooms of directives, by how their names begin; the first that fits counts.
const ABOUT: &[(&str, &[&str])] = &[
    ("tls", &["ssl_"]),
    (
        "access",
        &[
            "allow",
            "deny",
            "satisfy",
            "auth_",
            "internal",
            "valid_referers",
            "secure_link",
            "set_real_ip_from",
            "real_ip_",
        ],
    ),
    ("limits", &["limit_", "client_max_body_size"]),
    (
        "content",
        &[
            "proxy_pass",
            "fastcgi_pass",
            "grpc_pass",
            "root",
            "alias",
            "index",
            "try_files",
            "autoindex",
            "random_index",
            "stub_status",
            "empty_gif",
            "default_type",
            "types",
            "mirror",
            "gzip_static",
            "brotli_static",
            "zstd_static",
        ],
    ),
    ("upstream request", &["proxy_", "fastcgi_", "grpc_"]),
    ("errors", &["error_page", "recursive_error_pages"]),
    (
        "answer headers",
        &["add_header", "add_trailer", "expires", "etag", "server_tokens", "userid", "if_modified_since"],
    ),
    (
        "answer body",
        &["gzip", "gunzip", "brotli", "zstd", "sub_filter", "ssi", "charset", "addition", "add_", "slice"],
    ),
    ("logs", &["access_log", "error_log", "log_", "rewrite_log"]),
];

/// Blocks, definitions and lines of programs: told elsewhere, or no setting of a place.
const NO_SETTINGS: [&str; 22] = [
    "server",
    "location",
    "if",
    "limit_except",
    "upstream",
    "map",
    "geo",
    "split_clients",
    "log_format",
    "limit_req_zone",
    "limit_conn_zone",
    "limit_req_log",
    "charset_map",
    "server_name",
    "listen",
    "set",
    "rewrite",
    "return",
    "break",
    "include",
    "events",
    "http",
];

/// These hold in their own block alone.
const OWN_BLOCK_ONLY: [&str; 6] =
    ["proxy_pass", "fastcgi_pass", "grpc_pass", "try_files", "stub_status", "empty_gif"];

/// Of these an `if` has what its location has.
const HANDLERS: [&str; 3] = ["proxy_pass", "fastcgi_pass", "grpc_pass"];

/// All directives that hold in a place, in the order of the rooms.
pub(super) fn settings<'a>(
    atlas: &Atlas<'a>,
    place: u32,
    ex: &mut Exchange,
    variables: &Variables,
) -> Vec<Setting<'a>> {
    let chain = atlas.chain(place);
    let merges = first_value(&chain, "add_header_inherit") == Some("merge");
    let inside_if = atlas.parent(place).is_some() && atlas.node(place).name != "location";
    let mut taken: HashSet<&str> = HashSet::new();
    let mut found: Vec<Setting<'a>> = Vec::new();
    for (level, (block, nodes)) in chain.iter().enumerate() {
        let mut here: HashSet<&str> = HashSet::new();
        for node in *nodes {
            let name = node.name.text.as_str();
            let handed_on = level == 0
                || !OWN_BLOCK_ONLY.contains(&name)
                || level == 1 && inside_if && HANDLERS.contains(&name);
            let is_main = level + 1 == chain.len();
            let whole = slot(name);
            let merged = merges && name == "add_header";
            if NO_SETTINGS.contains(&name)
                || !handed_on
                || is_main && name != "error_log"
                || taken.contains(whole) && !merged
            {
                continue;
            }
            here.insert(whole);
            let defined = defined(node, atlas);
            let zone = defined.filter(|it| it.name != "log_format");
            found.push(Setting {
                node,
                about: about(name),
                block: block.clone(),
                inherited: level > 0,
                values: [Some(node), zone]
                    .into_iter()
                    .flatten()
                    .flat_map(|it| values(it, ex, variables))
                    .collect(),
                defined,
            });
        }
        taken.extend(here);
    }
    found.sort_by_key(|it| ABOUT.iter().position(|(about, _)| *about == it.about).unwrap_or(ABOUT.len()));
    found
}

/// Directives that take each other's place.
fn slot(name: &str) -> &str {
    match name {
        "deny" => "allow",
        "alias" => "root",
        name => name,
    }
}

fn about(name: &str) -> &'static str {
    let fits =
        |starts: &&[&str]| starts.iter().any(|it| name == *it || it.ends_with('_') && name.starts_with(it));
    let whole = ABOUT.iter().find(|(_, starts)| fits(starts));
    let loosely = || ABOUT.iter().find(|(_, starts)| starts.iter().any(|it| name.starts_with(it)));
    whole.or_else(loosely).map_or("other", |(about, _)| about)
}

fn first_value<'a>(chain: &[(String, &'a [Node])], name: &str) -> Option<&'a str> {
    let mut all = chain.iter().flat_map(|(_, nodes)| nodes.iter());
    all.find(|it| it.name == *name)?.args.first().map(|it| it.text.as_str())
}

/// What the parameters with variables come to.
pub(super) fn values(node: &Node, ex: &mut Exchange, variables: &Variables) -> Vec<(String, String)> {
    let with_variables = node.args.iter().filter(|it| it.contains('$'));
    with_variables.filter_map(|word| Some((word.text.clone(), value(word, ex, variables)?))).collect()
}

/// The key of a zone: its bytes are an address, which people read in letters.
fn readable(word: &Word) -> Word {
    let text = word.text.replace("$binary_remote_addr", "$remote_addr");
    Word::new(text.into_bytes(), word.span, word.quoted)
}

/// `None`: it is no template, as a pattern that ends in `$`.
fn value(word: &Word, ex: &mut Exchange, variables: &Variables) -> Option<String> {
    let template = Template::compile(&readable(word), variables).ok()?;
    Some(String::from_utf8_lossy(&template.fill_new(ex)).into_owned())
}

fn defined<'a>(node: &Node, atlas: &Atlas<'a>) -> Option<&'a Node> {
    let zone = |node: &'_ Node| -> Option<String> {
        let value = node.args.iter().find_map(|it| it.text.strip_prefix("zone="))?;
        Some(value.split(':').next().unwrap_or(value).to_owned())
    };
    let mut lines = atlas.http().iter();
    match node.name.text.as_str() {
        "limit_req" => {
            let name = zone(node)?;
            lines.find(|it| it.name == "limit_req_zone" && zone(it).as_ref() == Some(&name))
        }
        "limit_conn" => {
            let name = &node.args.first()?.text;
            lines.find(|it| it.name == "limit_conn_zone" && zone(it).as_ref() == Some(name))
        }
        "access_log" => {
            let name = &node.args.get(1)?.text;
            lines.find(|it| it.name == "log_format" && it.args.first().is_some_and(|it| **it == **name))
        }
        _ => None,
    }
}

impl Setting<'_> {
    pub(super) fn text(&self) -> String {
        title(self.node)
    }
}
