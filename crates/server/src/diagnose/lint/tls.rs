//! Traps of TLS and of what the server tells about itself.

use super::{Block, Found, Rule};

pub(super) static RULES: &[Rule] = &[
    Rule { code: "old-tls", about: "broken versions of TLS", look: old_tls },
    Rule { code: "server-tokens", about: "every answer tells the version", look: server_tokens },
];

const BROKEN: [&str; 4] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"];

fn old_tls(block: &Block<'_>, found: &mut Found) {
    for name in ["ssl_protocols", "proxy_ssl_protocols"] {
        for node in block.own(name) {
            if let Some(word) = node.args.iter().find(|it| BROKEN.contains(&it.text.as_str())) {
                let what = format!("{word} can be broken, and no browser needs it any more (RFC 8996)");
                found.warn(word.span, what, format!("{name} TLSv1.2 TLSv1.3;"));
            }
        }
    }
}

fn server_tokens(block: &Block<'_>, found: &mut Found) {
    for node in block.own("server_tokens") {
        if node.args.iter().any(|it| ["on", "build"].contains(&it.text.as_str())) {
            let what =
                "every answer and every error page tells the server's version to those who look for old ones";
            found.note(node.span, what, "server_tokens off;");
        }
    }
}
