//! Where servers and places stand in the files: the same blocks in the same order as the cycle numbers them.

use foregate_conf::Node;

/// The blocks behind the numbers of a cycle.
pub(super) struct Atlas<'a> {
    http: Option<&'a Node>,
    main: &'a [Node],
    servers: Vec<&'a Node>,
    places: Vec<Spot<'a>>,
}

/// One place of the cycle.
struct Spot<'a> {
    node: &'a Node,
    /// The place around it; `None` for servers.
    parent: Option<u32>,
}

impl<'a> Atlas<'a> {
    pub(super) fn new(nodes: &'a [Node]) -> Self {
        let http = nodes.iter().find(|it| it.name == "http");
        let mut atlas = Self { http, main: nodes, servers: Vec::new(), places: Vec::new() };
        for server in http.map_or(&[][..], Node::body).iter().filter(|it| it.name == "server") {
            atlas.servers.push(server);
            let place = atlas.place(server, None);
            // An `if` of a server is no place of its own.
            server.body().iter().filter(|it| it.name == "location").for_each(|it| atlas.block(it, place));
        }
        atlas
    }

    /// As `read.rs` numbers them: a block, then those in it.
    fn block(&mut self, node: &'a Node, parent: u32) {
        let place = self.place(node, Some(parent));
        if node.name == "location" {
            let inner = |it: &&Node| ["location", "if", "limit_except"].contains(&it.name.text.as_str());
            node.body().iter().filter(inner).for_each(|it| self.block(it, place));
        }
    }

    fn place(&mut self, node: &'a Node, parent: Option<u32>) -> u32 {
        self.places.push(Spot { node, parent });
        self.places.len() as u32 - 1
    }

    pub(super) fn server(&self, server: u32) -> &'a Node {
        self.servers[server as usize]
    }

    pub(super) fn node(&self, place: u32) -> &'a Node {
        self.places[place as usize].node
    }

    pub(super) fn parent(&self, place: u32) -> Option<u32> {
        self.places[place as usize].parent
    }

    /// Whether one place stands in the other, or is it.
    pub(super) fn is_in(&self, mut place: u32, outer: u32) -> bool {
        loop {
            if place == outer {
                return true;
            }
            let Some(parent) = self.parent(place) else { return false };
            place = parent;
        }
    }

    /// The blocks around a place, it first, `http` and the main level last, each with its directives.
    pub(super) fn chain(&self, place: u32) -> Vec<(String, &'a [Node])> {
        let mut chain = Vec::new();
        let mut at = Some(place);
        while let Some(place) = at {
            let node = self.node(place);
            chain.push((title(node), node.body()));
            at = self.parent(place);
        }
        chain.extend(self.http.map(|it| ("http".to_owned(), it.body())));
        chain.push(("main".to_owned(), self.main));
        chain
    }

    /// Directives of the http level: zones, maps, upstreams.
    pub(super) fn http(&self) -> &'a [Node] {
        self.http.map_or(&[], Node::body)
    }

    /// The line at a position of the program that a place's block holds; behind each `if` the position inside.
    pub(super) fn line(&self, place: u32, path: &[usize]) -> Option<&'a Node> {
        let mut body = self.node(place).body();
        let mut line = None;
        for at in path {
            let program = ["set", "rewrite", "return", "break", "if"];
            let node = body.iter().filter(|it| program.contains(&it.name.text.as_str())).nth(*at)?;
            (line, body) = (Some(node), node.body());
        }
        line
    }

    /// The `listen` lines of a server.
    pub(super) fn listens(&self, server: u32) -> impl Iterator<Item = &'a Node> + use<'a> {
        self.server(server).body().iter().filter(|it| it.name == "listen")
    }

    /// The words of a server's `server_name` lines.
    pub(super) fn names(&self, server: u32) -> Vec<&'a foregate_conf::Word> {
        let lines = self.server(server).body().iter().filter(|it| it.name == "server_name");
        lines.flat_map(|it| &it.args).collect()
    }

    /// The `upstream` block of a name.
    pub(super) fn upstream(&self, name: &str) -> Option<&'a Node> {
        let mut all = self.http().iter().filter(|it| it.name == "upstream");
        all.find(|it| it.args.first().is_some_and(|it| it.eq_ignore_ascii_case(name)))
    }
}

/// A directive's head as one line: `location ~ \.php$`.
pub(super) fn title(node: &Node) -> String {
    let mut text = node.name.text.clone();
    for word in &node.args {
        text.push(' ');
        let quotes = word.is_empty() || word.contains([' ', '\t', '\n', ';', '{', '}']);
        match quotes {
            true => text.push_str(&format!("\"{}\"", word.escape_default())),
            false => text.push_str(word),
        }
    }
    text
}
