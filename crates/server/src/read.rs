//! Reads the nodes of a configuration into options, block by block.

use foregate_conf::{Error, Modifier, Node, Span, Word, location_args, parse_condition, suggest};
use foregate_core::{Args, Block, Method, Scope, Variables, check};
use foregate_modules::{Options, declare, directives, known};

use crate::listen::Listen;
use crate::twins::Twins;

/// A configuration read: what every block wrote, not yet inherited.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) main: Options,
    pub(crate) http: Options,
    pub(crate) has_http: bool,
    pub(crate) servers: Vec<ServerDraft>,
    /// Parents stand before their children.
    pub(crate) places: Vec<PlaceDraft>,
    pub(crate) warnings: Vec<Error>,
    /// `None`: every block is read for itself.
    twins: Option<Twins>,
}

pub(crate) struct ServerDraft {
    pub(crate) place: u32,
    pub(crate) listens: Vec<Listen>,
    pub(crate) names: Vec<Word>,
    pub(crate) span: Span,
}

/// A block that requests can be in: a server, a location, an `if` or a `limit_except`.
pub(crate) struct PlaceDraft {
    pub(crate) options: Options,
    /// A place before this one whose settings are this one's too: nothing was read into `options`.
    pub(crate) twin: Option<u32>,
    /// `None` for servers: the http block is around them.
    pub(crate) parent: Option<u32>,
    pub(crate) server: u32,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Server,
    Location {
        modifier: Modifier,
        path: Word,
    },
    If,
    /// The methods that stay outside of the block.
    LimitExcept(Vec<Method>),
}

/// The blocks that the server itself reads, for messages about a wrong place.
pub(crate) const STRUCTURE: [&str; 9] =
    ["http", "events", "server", "location", "if", "limit_except", "listen", "server_name", "include"];

impl Draft {
    /// `twins`: servers that differ in their names alone share their places, locations that differ in their paths
    /// alone their settings.
    pub(crate) fn read(nodes: &[Node], twins: bool, variables: &mut Variables) -> Result<Self, Error> {
        declare_all(nodes, variables)?;
        let mut draft = Self { twins: twins.then(Twins::default), ..Self::default() };
        let mut main = Options::default();
        let mut seen_events = false;
        for node in nodes {
            match node.name.text.as_str() {
                "http" => {
                    check("http", node, true, Args::NONE, Block::Yes)?;
                    if draft.has_http {
                        return Err(Error::duplicate(node));
                    }
                    draft.has_http = true;
                    draft.http(node)?;
                }
                "events" => {
                    check("events", node, true, Args::NONE, Block::Yes)?;
                    if std::mem::replace(&mut seen_events, true) {
                        return Err(Error::duplicate(node));
                    }
                    for inside in node.body() {
                        draft.plain(inside, Scope::EVENTS, &mut main)?;
                    }
                }
                _ => draft.plain(node, Scope::MAIN, &mut main)?,
            }
        }
        if !seen_events {
            return Err(Error::plain("no \"events\" section in configuration").advise("add: events {}"));
        }
        draft.main = main;
        Ok(draft)
    }

    fn http(&mut self, node: &Node) -> Result<(), Error> {
        let mut options = Options::default();
        for inside in node.body() {
            match inside.name.text.as_str() {
                "server" => self.server(inside)?,
                _ => self.plain(inside, Scope::HTTP, &mut options)?,
            }
        }
        self.http = options;
        Ok(())
    }

    fn server(&mut self, node: &Node) -> Result<(), Error> {
        check("server", node, true, Args::NONE, Block::Yes)?;
        let server = self.servers.len() as u32;
        let twin = self.twins.as_mut().and_then(|twins| twins.find(node, server));
        let place = match twin {
            Some(twin) => self.servers[twin as usize].place,
            None => self.place(None, server, Kind::Server),
        };
        self.servers.push(ServerDraft { place, listens: Vec::new(), names: Vec::new(), span: node.span });
        for inside in node.body() {
            match inside.name.text.as_str() {
                "listen" => {
                    check("listen", inside, true, Args::AtLeast(1), Block::No)?;
                    self.servers[server as usize].listens.extend(Listen::read(inside)?);
                }
                "server_name" => {
                    check("server_name", inside, true, Args::AtLeast(1), Block::No)?;
                    self.servers[server as usize].names.extend(inside.args.iter().cloned());
                }
                _ if twin.is_some() => {}
                "if" => self.server_if(inside, place)?,
                "location" => self.location(inside, place, server)?,
                _ => self.in_place(inside, Scope::SERVER, place)?,
            }
        }
        Ok(())
    }

    fn location(&mut self, node: &Node, parent: u32, server: u32) -> Result<(), Error> {
        check("location", node, true, Args::Between(1, 2), Block::Yes)?;
        let (modifier, path) = location_args(node)?;
        self.check_nesting(node, parent, modifier, &path)?;
        let mut options = Options::default();
        if node.body().iter().any(|it| it.name == "alias") {
            options.files.get_mut().enter(modifier, &path);
        }
        let place = self.place(Some(parent), server, Kind::Location { modifier, path });
        let twin = self.twins.as_mut().and_then(|twins| twins.find_location(node, parent, place));
        let draft = &mut self.places[place as usize];
        (draft.options, draft.twin) = (options, twin);
        if twin.is_some() {
            return Ok(());
        }
        for inside in node.body() {
            match inside.name.text.as_str() {
                "if" => self.location_if(inside, place, server)?,
                "limit_except" => self.limit_except(inside, place, server)?,
                "location" => self.location(inside, place, server)?,
                _ => self.in_place(inside, Scope::LOCATION, place)?,
            }
        }
        Ok(())
    }

    /// What may stand in which location, as nginx words it.
    fn check_nesting(&self, node: &Node, parent: u32, modifier: Modifier, path: &Word) -> Result<(), Error> {
        let Kind::Location { modifier: outer, path: around } = &self.places[parent as usize].kind else {
            return Ok(());
        };
        let fail = |what: &str| {
            Err(Error::at(node.span, format!("location \"{path}\" {what} location \"{around}\"")))
        };
        match (outer, modifier) {
            (Modifier::Exact, _) => fail("cannot be inside the exact"),
            (Modifier::Named, _) => fail("cannot be inside the named"),
            (_, Modifier::Named) => Err(Error::at(
                node.span,
                format!("named location \"{path}\" can be on the server level only"),
            )),
            (Modifier::Prefix | Modifier::NoRegex, Modifier::Regex | Modifier::RegexNoCase) => Ok(()),
            (Modifier::Prefix | Modifier::NoRegex, _) if !path.bytes().starts_with(around.bytes()) => {
                fail("is outside")
            }
            _ => Ok(()),
        }
    }

    /// An `if` of a server: only its program counts.
    fn server_if(&mut self, node: &Node, place: u32) -> Result<(), Error> {
        check("if", node, true, Args::AtLeast(1), Block::Yes)?;
        let condition = parse_condition(node)?;
        let mut inside = Options::default();
        for node in node.body() {
            self.plain(node, Scope::SERVER_IF, &mut inside)?;
        }
        let inside = inside.rewrite.get_mut();
        self.places[place as usize].options.rewrite.get_mut().push_if(condition, inside, None);
        Ok(())
    }

    /// An `if` of a location: a location of its own, entered by the program of the one around it.
    fn location_if(&mut self, node: &Node, parent: u32, server: u32) -> Result<(), Error> {
        check("if", node, true, Args::AtLeast(1), Block::Yes)?;
        let condition = parse_condition(node)?;
        let place = self.place(Some(parent), server, Kind::If);
        for inside in node.body() {
            self.in_place(inside, Scope::LOCATION_IF, place)?;
        }
        let inside = self.places[place as usize].options.rewrite.get_mut().clone();
        self.places[parent as usize].options.rewrite.get_mut().push_if(condition, &inside, Some(place));
        Ok(())
    }

    fn limit_except(&mut self, node: &Node, parent: u32, server: u32) -> Result<(), Error> {
        check("limit_except", node, true, Args::AtLeast(1), Block::Yes)?;
        let mut methods = Vec::new();
        for word in &node.args {
            let method = Method::named(&word.text)
                .ok_or_else(|| Error::at(word.span, format!("invalid method \"{word}\"")))?;
            methods.push(method);
            if method == Method::Get {
                methods.push(Method::Head);
            }
        }
        let place = self.place(Some(parent), server, Kind::LimitExcept(methods));
        for inside in node.body() {
            self.in_place(inside, Scope::LIMIT_EXCEPT, place)?;
        }
        Ok(())
    }

    fn place(&mut self, parent: Option<u32>, server: u32, kind: Kind) -> u32 {
        self.places.push(PlaceDraft { options: Options::default(), twin: None, parent, server, kind });
        self.places.len() as u32 - 1
    }

    fn in_place(&mut self, node: &Node, scope: Scope, place: u32) -> Result<(), Error> {
        let mut options = std::mem::take(&mut self.places[place as usize].options);
        let done = self.plain(node, scope, &mut options);
        self.places[place as usize].options = options;
        done
    }

    /// A directive of a module, one that we know and do not have, or none at all.
    fn plain(&mut self, node: &Node, scope: Scope, options: &mut Options) -> Result<(), Error> {
        if options.set(node, scope)? {
            return Ok(());
        }
        if STRUCTURE.contains(&node.name.text.as_str()) {
            return Err(Error::not_allowed_here(node));
        }
        let Some(known) = known::find(&node.name) else { return Err(unknown(node)) };
        self.warnings.extend(known.judge(node, scope)?);
        Ok(())
    }
}

pub(crate) fn unknown(node: &Node) -> Error {
    let error = Error::unknown_directive(node);
    let ours = directives();
    let names = ours.iter().map(|(_, name, _)| *name).chain(STRUCTURE).chain(known::names());
    match suggest(&node.name.text, names) {
        Some(near) => error.advise(format!("did you mean {near}?")),
        None => error,
    }
}

/// Blocks of lines that are no directives, and may be many.
const LISTS: [&str; 6] = ["charset_map", "geo", "geoip2", "map", "split_clients", "types"];

fn declare_all(nodes: &[Node], variables: &mut Variables) -> Result<(), Error> {
    for node in nodes {
        declare_one(node, variables)?;
        if !LISTS.contains(&node.name.text.as_str()) {
            declare_all(node.body(), variables)?;
        }
    }
    Ok(())
}

/// The named groups of patterns that the server itself reads are variables too.
fn declare_one(node: &Node, variables: &mut Variables) -> Result<(), Error> {
    let regex = foregate_core::Regex::declare;
    match node.name.text.as_str() {
        "location" | "if" => node.args.iter().try_for_each(|word| regex(&word.text, word, variables)),
        "server_name" => {
            let patterns = node.args.iter().filter(|word| word.text.starts_with('~'));
            patterns.into_iter().try_for_each(|word| regex(&word.text, word, variables))
        }
        _ => declare(node, variables),
    }
}
