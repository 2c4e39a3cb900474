//! Traps of `proxy_pass`: where requests go, by which name, and over what.

use foregate_conf::Node;

use super::{Block, Found, Kind, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule {
        code: "upstream-tls-unverified",
        about: "an upstream's certificate is not checked",
        look: unverified,
    },
    Rule {
        code: "proxy-pass-no-resolver",
        about: "a name in a variable cannot be looked up",
        look: no_resolver,
    },
    Rule {
        code: "proxy-pass-slash",
        about: "a path is put together with a slash too many or too few",
        look: slash,
    },
    Rule { code: "websocket-half", about: "only half of what a WebSocket needs", look: websocket },
    Rule {
        code: "resolver-public",
        about: "names of backends are asked of strangers",
        look: resolver_public,
    },
];

/// The URL of a block's own `proxy_pass`, and what stands between its scheme and its path.
fn pass<'a>(block: &Block<'a>) -> Option<(&'a Node, &'a str, &'a str)> {
    let node = block.own("proxy_pass").next()?;
    let (scheme, rest) = node.args.first()?.text.split_once("://")?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    Some((node, scheme, if rest.starts_with("unix:") { "unix:" } else { host }))
}

fn unverified(block: &Block<'_>, found: &mut Found) {
    let Some((node, "https", host)) = pass(block) else { return };
    let here = ["127.", "localhost", "[::1]", "unix:"].iter().any(|it| host.starts_with(it));
    if !here && block.value("proxy_ssl_verify") != Some("on") {
        let what =
            "the upstream's certificate is not checked: whoever is on the way can read and change everything";
        let repair = "proxy_ssl_verify on; proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt; proxy_ssl_server_name on;";
        found.warn(node.span, what, repair);
    }
}

fn no_resolver(block: &Block<'_>, found: &mut Found) {
    let Some((node, _, host)) = pass(block) else { return };
    let Some(variable) = host.strip_prefix('$').or_else(|| host.split_once('$').map(|(_, it)| it)) else {
        return;
    };
    if block.holder("resolver").is_some() {
        return;
    }
    let name = variable.trim_start_matches('{');
    let name = &name[..name.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()];
    // Behind the host they are its path.
    let is_path = ["uri", "document_uri", "request_uri", "is_args", "args"].contains(&name);
    let Some(http) = block.http().filter(|_| !is_path) else { return };
    if is_known_host(host, name, http) {
        return;
    }
    let what =
        format!("${name} may hold a name, and there is no resolver to look it up: such requests get 502");
    found.warn(
        node.span,
        what,
        "say who is asked, \"resolver 127.0.0.53;\", or let the variable hold names of upstream blocks",
    );
}

/// All values that the configuration gives a variable are groups or addresses.
fn is_known_host(host: &str, name: &str, http: &Block<'_>) -> bool {
    let whole = host == format!("${name}") || host == format!("${{{name}}}");
    let all = http.all_nodes();
    let groups: Vec<&str> =
        http.own("upstream").filter_map(|it| it.args.first()).map(|it| it.text.as_str()).collect();
    let known = |value: &str| {
        let value = value.split_once("://").map_or(value, |(_, rest)| rest);
        let bare = value.split(['/', '?']).next().unwrap_or_default();
        let bare = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
        groups.contains(&bare)
            || bare.parse::<std::net::Ipv4Addr>().is_ok()
            || value.starts_with(['['])
            || value.starts_with("unix:")
    };
    let dollar = format!("${name}");
    let sets = all.iter().filter(|it| it.name == "set" && it.args.first().is_some_and(|it| **it == *dollar));
    let mut values: Vec<&str> = sets.filter_map(|it| it.args.get(1)).map(|it| it.text.as_str()).collect();
    let makes = |it: &&&Node| {
        ["map", "split_clients", "geo"].contains(&it.name.text.as_str())
            && it.args.last().is_some_and(|it| **it == *dollar)
    };
    for node in all.iter().filter(makes) {
        values.extend(node.body().iter().filter_map(|it| it.args.first()).map(|it| it.text.as_str()));
    }
    // `http://$group`: the value may hold the scheme as well, or a part of a name that is a group's.
    match whole {
        true => !values.is_empty() && values.iter().all(|it| known(it)),
        false => groups.iter().any(|it| it.starts_with(host.split('$').next().unwrap_or_default())),
    }
}

fn slash(block: &Block<'_>, found: &mut Found) {
    let (Some((node, _, _)), Some(path)) = (pass(block), block.kind.prefix()) else { return };
    let url = &node.args[0];
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let Some(uri) = rest.find('/').filter(|_| !rest.starts_with("unix:")).map(|at| &rest[at..]) else {
        return;
    };
    if url.contains('$') || path == "/" && uri == "/" {
        return;
    }
    match (path.ends_with('/'), uri.ends_with('/')) {
        (false, true) => {
            let what = format!(
                "{path}/x becomes {uri}/x, and {path}../x becomes {uri}../x: the URI takes the place of {path} to the letter"
            );
            found.warn(url.span, what, format!("end both with a slash: location {path}/"));
        }
        (true, false) if !uri.contains('?') => {
            let what = format!("{path}x becomes {uri}x: the URI takes the place of {path} with its slash");
            found.warn(url.span, what, format!("end both with a slash: {url}/"));
        }
        _ => (),
    }
}

fn websocket(block: &Block<'_>, found: &mut Found) {
    let Some(upgrade) = block.own("proxy_set_header").find(|it| is_field(it, "upgrade")) else { return };
    let connection = block.own("proxy_set_header").find(|it| is_field(it, "connection"));
    if !connection.is_some_and(|it| {
        it.args.get(1).is_some_and(|it| it.contains('$') || it.to_ascii_lowercase().contains("upgrade"))
    }) {
        let what = "Upgrade is passed on without Connection: the backend sees no WebSocket";
        found.warn(upgrade.span, what, "proxy_set_header Connection \"upgrade\";");
    }
    if block.value("proxy_http_version") == Some("1.0") {
        let what = "HTTP/1.0 knows no Upgrade: no WebSocket gets through";
        found.warn(upgrade.span, what, "leave proxy_http_version out: 1.1 is the default");
    }
}

fn is_field(node: &Node, name: &str) -> bool {
    node.args.first().is_some_and(|it| it.eq_ignore_ascii_case(name))
        && node.args.get(1).is_some_and(|it| !it.is_empty())
}

/// Name servers that anybody may ask: Google, Cloudflare, Quad9, OpenDNS, AdGuard.
const PUBLIC: [&str; 15] = [
    "8.8.8.8",
    "8.8.4.4",
    "1.1.1.1",
    "1.0.0.1",
    "9.9.9.9",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
    "94.140.14.14",
    "94.140.15.15",
    "[2001:4860:4860::8888]",
    "[2001:4860:4860::8844]",
    "[2606:4700:4700::1111]",
    "[2606:4700:4700::1001]",
    "[2620:fe::fe]",
];

fn resolver_public(block: &Block<'_>, found: &mut Found) {
    // Names of certificate authorities' responders are public anyway.
    let uses = |it: &&Node| {
        it.name == "proxy_pass" || it.name == "server" && it.args.iter().any(|it| *it == "resolve")
    };
    let stage = if block.kind == Kind::Upstream { block.outer } else { Some(block) };
    if !stage.is_some_and(|it| it.all_nodes().iter().any(uses)) {
        return;
    }
    for word in block.own("resolver").flat_map(|it| &it.args) {
        let bare = word.strip_suffix(":53").unwrap_or(word);
        if PUBLIC.contains(&bare) {
            let what = format!(
                "{word} is a public name server: it hears the names of your backends, and who forges its answers chooses where requests go"
            );
            found.note(
                word.span,
                what,
                "ask a name server of your own network or machine, such as 127.0.0.53",
            );
        }
    }
}
