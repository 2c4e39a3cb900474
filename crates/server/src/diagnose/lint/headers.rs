//! Traps of header fields: those that are lost on the way, and those that are missing on errors.

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule { code: "add-header-lost", about: "add_header of an outer block is lost", look: add_header_lost },
    Rule {
        code: "proxy-set-header-lost",
        about: "proxy_set_header of an outer block is lost",
        look: proxy_set_header_lost,
    },
    Rule {
        code: "add-header-always",
        about: "a security header is missing on error pages",
        look: add_header_always,
    },
    Rule {
        code: "add-header-content-type",
        about: "add_header writes a second Content-Type",
        look: add_header_content_type,
    },
    Rule {
        code: "header-multiline",
        about: "a header field runs over several lines",
        look: header_multiline,
    },
    Rule { code: "host-spoofing", about: "Host is passed on as the client wrote it", look: host_spoofing },
];

/// Fields that protect visitors, on errors too.
const SECURITY: [&str; 9] = [
    "strict-transport-security",
    "x-frame-options",
    "x-content-type-options",
    "content-security-policy",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-embedder-policy",
    "cross-origin-resource-policy",
];

fn add_header_lost(block: &Block<'_>, found: &mut Found) {
    if block.value("add_header_inherit") == Some("merge") {
        return;
    }
    lost(block, "add_header", found);
}

fn proxy_set_header_lost(block: &Block<'_>, found: &mut Found) {
    lost(block, "proxy_set_header", found);
}

/// One line in a block takes the place of all that the blocks around it wrote.
fn lost(block: &Block<'_>, name: &str, found: &mut Found) {
    let (Some(first), Some(outer)) = (block.own(name).next(), block.outer) else { return };
    let Some(holder) = outer.holder(name) else { return };
    let field = |node: &foregate_conf::Node| node.args.first().map(|it| it.to_ascii_lowercase());
    let here: Vec<_> = block.own(name).filter_map(field).collect();
    let gone = holder.own(name).filter(|it| field(it).is_some_and(|it| !here.contains(&it)));
    let gone: Vec<_> = gone.filter_map(|it| it.args.first()).map(|it| it.text.as_str()).collect();
    if gone.is_empty() {
        return;
    }
    let what = format!(
        "\"{name}\" in {} takes the place of all those of {}: {} {} lost here",
        block.title(),
        holder.title(),
        gone.join(", "),
        if gone.len() == 1 { "is" } else { "are" },
    );
    let repair = match name {
        "add_header" => {
            "repeat the outer lines here (an included file keeps them in one place), or write \
             \"add_header_inherit merge;\" in the outer block"
        }
        _ => "repeat the outer lines here; an included file keeps them in one place",
    };
    found.warn(first.span, what, repair);
}

fn add_header_always(block: &Block<'_>, found: &mut Found) {
    for node in block.own("add_header") {
        let [name, _value] = node.args.as_slice() else { continue };
        if SECURITY.contains(&name.to_ascii_lowercase().as_str()) {
            let what = format!(
                "{name} is missing on error pages: without \"always\" only successes and redirects have it"
            );
            let repair = match name.eq_ignore_ascii_case("strict-transport-security") {
                true => "\"hsts on;\" adds it to every answer over TLS",
                false => "\"security_headers on;\" adds it, and its kin, to every answer that lacks it",
            };
            found.warn(node.span, what, format!("write \"always\" behind the value of {name}; {repair}"));
        }
    }
}

fn add_header_content_type(block: &Block<'_>, found: &mut Found) {
    for node in block.own("add_header") {
        if node.args.first().is_some_and(|it| it.eq_ignore_ascii_case("content-type")) {
            let what = "add_header does not replace: the answer has two Content-Type fields";
            found.warn(
                node.span,
                what,
                "say \"default_type\", with \"types { }\" where a file's ending would win",
            );
        }
    }
}

fn header_multiline(block: &Block<'_>, found: &mut Found) {
    for name in ["add_header", "add_trailer", "proxy_set_header", "more_set_headers"] {
        for node in block.own(name) {
            if let Some(value) = node.args.iter().find(|it| it.contains(['\n', '\r'])) {
                let what = "the value runs over several lines, and a line end ends a header field";
                found.warn(value.span, what, "write the value on one line");
            }
        }
    }
}

/// A server that knows its names has `$host`, which is what was matched; `$http_host` is whatever was sent.
fn host_spoofing(block: &Block<'_>, found: &mut Found) {
    if block.kind == Kind::Main {
        return;
    }
    for node in block.own("proxy_set_header") {
        if let [name, value] = node.args.as_slice()
            && name.eq_ignore_ascii_case("host")
            && ["$http_host", "${http_host}"].contains(&value.text.as_str())
        {
            let what = "$http_host is the Host field as the client wrote it, which is not the name the server was chosen by where the request line has one";
            found.note(value.span, what, "pass $host, or \"$host:$server_port\" where the port matters");
        }
    }
}
