//! Servers that differ in nothing but their names, and locations of one block that differ in nothing but their paths:
//! what holds in them is one to requests, which find it in the cache whichever of a thousand is asked for, and it is
//! held once.

use std::collections::HashMap;

use foregate_conf::Node;

/// Directives that make something of the names of the server around them.
const OF_NAMES: [&str; 2] = ["acme_certificate", "valid_referers"];
/// Directives that make something of the path of the location around them, or belong to it alone.
const OF_PATHS: [&str; 2] = ["alias", "health_check"];
/// Directives that do so if their URL goes on behind the host.
const OF_PATHS_BY_URI: &str = "proxy_pass";

/// The blocks read so far by what stands in them.
#[derive(Default)]
pub(crate) struct Twins {
    servers: HashMap<Vec<u8>, u32>,
    /// By the place around them as well.
    locations: HashMap<(u32, Vec<u8>), u32>,
}

impl Twins {
    /// The server read before whose block says the same; if there is none, this one, `number`, is remembered.
    pub(crate) fn find(&mut self, node: &Node, number: u32) -> Option<u32> {
        let text = text(node)?;
        if let Some(twin) = self.servers.get(&text) {
            return Some(*twin);
        }
        self.servers.insert(text, number);
        None
    }

    /// The same for a location's `place` in the block of `parent`.
    pub(crate) fn find_location(&mut self, node: &Node, parent: u32, place: u32) -> Option<u32> {
        let mut text = Vec::new();
        let lives_alone =
            node.body().iter().any(|it| it.children.is_some() || it.code.is_some() || is_of_path(it));
        if lives_alone || !write(node.body(), &mut text) {
            return None;
        }
        let key = (parent, text);
        if let Some(twin) = self.locations.get(&key) {
            return Some(*twin);
        }
        self.locations.insert(key, place);
        None
    }
}

fn is_of_path(node: &Node) -> bool {
    let name = node.name.text.as_str();
    let goes_on =
        |url: &str| url.contains('$') || url.split_once("://").is_none_or(|(_, rest)| rest.contains('/'));
    OF_PATHS.contains(&name) || (name == OF_PATHS_BY_URI && node.args.iter().any(|it| goes_on(&it.text)))
}

/// The words of a server but its names; `None` where its names mean more than which requests it serves.
fn text(server: &Node) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut names = server.body().iter().filter(|it| it.name == "server_name").flat_map(|it| &it.args);
    if !names.all(|it| it.bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))) {
        return None;
    }
    // A certificate that comes by itself comes for the names.
    let has = |name: &str| server.body().iter().any(|it| it.name == name);
    let on_tls = server.body().iter().any(|it| it.name == "listen" && it.args.iter().any(|it| *it == "ssl"));
    if on_tls && !has("ssl_certificate") {
        return None;
    }
    write(server.body(), &mut text).then_some(text)
}

fn write(nodes: &[Node], text: &mut Vec<u8>) -> bool {
    nodes.iter().filter(|it| it.name != "server_name").all(|node| {
        for word in std::iter::once(&node.name).chain(&node.args) {
            text.extend_from_slice(&word.bytes().len().to_le_bytes());
            text.push(u8::from(word.quoted));
            text.extend_from_slice(word.bytes());
        }
        text.push(b';' + u8::from(node.children.is_some()));
        let fits = !OF_NAMES.contains(&node.name.text.as_str()) && node.code.is_none();
        let fits = fits && write(node.body(), text);
        text.push(b'}');
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_differ_in_their_names_alone() {
        let conf = "server { listen 80; server_name a.com; location / { return 200; } }
            server { listen 80; server_name b.com www.b.com; location / { return 200; } }
            server { listen 80; server_name c.com; location / { return 204; } }
            server { listen 80; location / { return 200; } }
            server { listen 80; server_name *.d.com; location / { return 200; } }
            server { listen 80; server_name e.com; location / { return \"200\"; } }
            server { listen 443 ssl; server_name f.com; }
            server { listen 443 ssl; server_name g.com; }
            server { server_name h.com; location / { valid_referers server_names; } }
            server { server_name i.com; location / { valid_referers server_names; } }
            server { listen 80; server_name j.com; location / { } return 200; }";
        let nodes = foregate_conf::parse(conf).unwrap().nodes;
        let mut twins = Twins::default();
        let found: Vec<_> = nodes.iter().zip(0..).map(|(node, at)| twins.find(node, at)).collect();
        let mut expected = [None; 11];
        (expected[1], expected[3]) = (Some(0), Some(0));
        assert_eq!(found, expected);
    }

    #[test]
    fn locations_are_twins_if_nothing_in_them_asks_for_their_path() {
        let conf = "location /a { proxy_pass http://app; }
            location /b { proxy_pass http://app; }
            location /c { proxy_pass http://app/; }
            location /d { proxy_pass http://app/; }
            location /e { proxy_pass $app; }
            location /f { proxy_pass $app; }
            location /g { alias /srv; }
            location /h { alias /srv; }
            location /i { if ($arg_a) { return 204; } }
            location /j { if ($arg_a) { return 204; } }
            location ~ k { proxy_pass http://app; }
            location /l { }
            location = /m { }";
        let nodes = foregate_conf::parse(conf).unwrap().nodes;
        let mut twins = Twins::default();
        let mut find = |parent| -> Vec<_> {
            nodes.iter().zip(0..).map(|(node, at)| twins.find_location(node, parent, at)).collect()
        };
        let mut expected = [None; 13];
        (expected[1], expected[10], expected[12]) = (Some(0), Some(0), Some(11));
        assert_eq!(find(7), expected);
        assert_eq!(find(8), expected);
    }
}
