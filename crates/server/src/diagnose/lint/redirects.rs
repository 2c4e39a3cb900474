//! Traps of redirects: what a client may write into them.

use foregate_conf::Node;

use super::block::has_variable;
use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule {
        code: "uri-in-redirect",
        about: "$uri in a redirect lets a client write fields",
        look: uri_in_redirect,
    },
    Rule {
        code: "uri-in-header",
        about: "$uri in a header field lets a client write others",
        look: uri_in_header,
    },
    Rule {
        code: "uri-in-proxy-pass",
        about: "$uri in proxy_pass lets a client change the request",
        look: uri_in_pass,
    },
    Rule {
        code: "redirect-to-any-host",
        about: "a redirect leads wherever the client says",
        look: redirect_to_host,
    },
];

/// Variables that hold the decoded path: `%0d%0a` in the request is a line end in them.
const DECODED: [&str; 2] = ["uri", "document_uri"];

fn decoded(text: &str) -> Option<&'static str> {
    DECODED.into_iter().find(|name| has_variable(text, name))
}

/// The words of a line that become a `Location`.
fn targets(node: &Node) -> Option<&foregate_conf::Word> {
    let is_url = |text: &str| ["http://", "https://", "$scheme"].iter().any(|it| text.starts_with(it));
    match (node.name.text.as_str(), node.args.as_slice()) {
        ("return", [url]) if is_url(url) => Some(url),
        ("return", [code, url]) if ["301", "302", "303", "307", "308"].contains(&&**code) => Some(url),
        ("rewrite", [_, to, flag]) if ["redirect", "permanent"].contains(&&**flag) => Some(to),
        ("rewrite", [_, to, ..]) if is_url(to) => Some(to),
        _ => None,
    }
}

fn uri_in_redirect(block: &Block<'_>, found: &mut Found) {
    for to in block.nodes.iter().filter_map(targets) {
        if let Some(name) = decoded(to) {
            let what = format!(
                "${name} is decoded: a line end in the path (%0d%0a) ends the Location field, and what follows is a field of the client's choice"
            );
            found.warn(to.span, what, "use $request_uri, which is as the client sent it");
        }
    }
}

fn uri_in_header(block: &Block<'_>, found: &mut Found) {
    for name in ["add_header", "proxy_set_header"] {
        for node in block.own(name) {
            let Some(value) = node.args.get(1) else { continue };
            if let Some(variable) = decoded(value) {
                let what = format!(
                    "${variable} is decoded: a line end in the path (%0d%0a) ends the field, and what follows is a field of the client's choice"
                );
                found.warn(value.span, what, "use $request_uri, which is as the client sent it");
            }
        }
    }
}

fn uri_in_pass(block: &Block<'_>, found: &mut Found) {
    for node in block.own("proxy_pass") {
        let Some(url) = node.args.first() else { continue };
        if let Some(name) = decoded(url) {
            let what = format!(
                "${name} is decoded and goes into the request line as it is: a space or a line end in it makes another request"
            );
            found.warn(
                url.span,
                what,
                "leave the path out, then it is passed on as sent; or use $request_uri",
            );
        } else if block.kind.regex().is_some() && captures(url) {
            let what = "captures are decoded and go into the request line as they are: a space in the path breaks the request";
            found.note(
                url.span,
                what,
                "\"rewrite ... break;\" and a proxy_pass without a path: then the path is escaped again",
            );
        }
    }
}

fn captures(url: &str) -> bool {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    path.split('?').next().is_some_and(|path| (1..=9).any(|n| has_variable(path, &n.to_string())))
}

fn redirect_to_host(block: &Block<'_>, found: &mut Found) {
    let Some(server) = block.server().filter(|_| block.kind != Kind::Upstream) else { return };
    for to in block.nodes.iter().filter_map(targets) {
        let host = to.text.split_once("://").map_or("", |(_, rest)| rest);
        if host.starts_with("$http_host") || host.starts_with("${http_host}") {
            let what =
                "$http_host is whatever the client wrote: the redirect leads there, and caches may keep it";
            found.warn(to.span, what, "write the site's name, or $host in a server that has a server_name; https_redirect on; checks it for you");
        } else if host.starts_with("$host") && answers_any_name(server) {
            let what = "this server answers to any name, so that the redirect leads wherever the client says";
            found.note(to.span, what, "name the site in server_name, or write $server_name here; https_redirect on; checks it for you");
        }
    }
}

fn answers_any_name(server: &Block<'_>) -> bool {
    let is_default = server.own("listen").any(|it| it.args.iter().any(|it| *it == "default_server"));
    let mut names = server.own("server_name").flat_map(|it| &it.args);
    is_default && names.all(|it| ["_", ""].contains(&&**it))
}
