//! A configuration without the files that only the machine it is for has: certificates, keys and their like.

use foregate_conf::{Node, Word};

/// Directives that name such files, and those that make no sense without them.
const LEFT_OUT: [&str; 17] = [
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_trusted_certificate",
    "ssl_verify_client",
    "ssl_crl",
    "ssl_dhparam",
    "ssl_password_file",
    "ssl_reject_handshake",
    "ssl_session_ticket_key",
    "ssl_stapling_file",
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_crl",
    "proxy_ssl_password_file",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "zstd_dict_file",
];

/// The same nodes without them. A server that would show a certificate refuses handshakes instead: nobody will ask.
pub(super) fn without_secrets(nodes: &[Node]) -> Vec<Node> {
    let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let name = node.name.text.as_str();
        if name == "ssl_certificate" {
            if !kept.iter().any(|it| it.name == "ssl_reject_handshake") {
                kept.push(refusal(node));
            }
        } else if !LEFT_OUT.contains(&name) {
            let children = node.children.as_deref().map(without_secrets);
            kept.push(Node { children, ..head(node) });
        } else if name == "ssl_reject_handshake" && !kept.iter().any(|it| it.name == name) {
            kept.push(node.clone());
        }
    }
    kept
}

fn refusal(certificate: &Node) -> Node {
    let word = |text: &str| Word::new(text.into(), certificate.span, false);
    Node { name: word("ssl_reject_handshake"), args: vec![word("on")], ..certificate.clone() }
}

/// A node without its children, which are not copied in vain.
fn head(node: &Node) -> Node {
    let Node { name, args, children: _, span, close, code } = node;
    Node { name: name.clone(), args: args.clone(), children: None, span: *span, close: *close, code: *code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_left_out() {
        let text = "http { server { listen 443 ssl; ssl_certificate a; ssl_certificate_key b; \
                    ssl_certificate c; root /x; } }";
        let tree = foregate_conf::parse(text).unwrap();
        let kept = without_secrets(&tree.nodes);
        let names: Vec<_> = kept[0].body()[0].body().iter().map(|it| it.name.text.clone()).collect();
        assert_eq!(names, ["listen", "ssl_reject_handshake", "root"]);
    }
}
