//! A small site for the tests of modules: a configuration's text compiled by every module, and requests to it.
//!
//! The text stands at the http level and may hold `server { location … { if … { } } }`. An exchange is in the block
//! that ends last, the deepest of a plain chain: that is where a test's directives take effect.

use std::path::Path;
use std::rc::Rc;

use foregate_conf::{Error, Modifier, Node, Span, Strings, Word, location_args};
use foregate_core::testing::{House, exchange_in};
use foregate_core::{Compile, Exchange, Reply, Scope, Shared, Template, Variables};

use crate::{Inherited, Options, Resolved, Settings};

/// A compiled configuration and what became known while it was compiled.
pub(crate) struct Site {
    pub(crate) house: Rc<House>,
    pub(crate) warnings: Vec<String>,
    pub(crate) log_files: Vec<std::path::PathBuf>,
    /// The templates that the test asked for.
    templates: Vec<Template>,
    last: u32,
}

impl Site {
    /// # Panics
    /// On a configuration with an error; see [`error`] for tests of those.
    pub(crate) fn new(conf: &str) -> Self {
        Self::with(conf, &[], Strings::default())
    }

    /// With templates to evaluate by [`Site::value`], and files that the configuration may name.
    pub(crate) fn with(conf: &str, templates: &[&str], files: Strings) -> Self {
        build(conf, templates, files).unwrap_or_else(|why| panic!("{why} in {conf}"))
    }

    /// Where requests that others make are answered by the test.
    pub(crate) fn serving(conf: &str, serve: fn(&mut Exchange) -> Option<Reply>) -> Self {
        let mut site = Self::new(conf);
        let house = Rc::get_mut(&mut site.house);
        house.expect("because nobody else holds it yet").serve = serve;
        site
    }

    pub(crate) fn settings(&self) -> &Settings {
        crate::settings(&*self.house, self.last)
    }

    /// An exchange in the block that ends last.
    pub(crate) fn exchange(&self, request: &str) -> Exchange {
        let mut ex = exchange_in(self.house.clone(), request);
        ex.location = self.last;
        ex
    }

    /// The value of a template in an exchange.
    pub(crate) fn value(&self, ex: &mut Exchange, template: usize) -> String {
        String::from_utf8_lossy(&self.templates[template].fill_new(ex)).into_owned()
    }
}

/// What a template says for a request under a configuration.
pub(crate) fn value(conf: &str, request: &str, template: &str) -> String {
    let site = Site::with(conf, &[template], Strings::default());
    let mut ex = site.exchange(request);
    site.value(&mut ex, 0)
}

/// Why a configuration is refused; empty: it is not.
pub(crate) fn error(conf: &str) -> String {
    build(conf, &[], Strings::default()).err().map_or_else(String::new, |why| why.what)
}

/// A site over these files, or why there is none.
pub(crate) fn try_with(conf: &str, files: Strings) -> Result<Site, Error> {
    build(conf, &[], files)
}

fn build(conf: &str, templates: &[&str], mut files: Strings) -> Result<Site, Error> {
    files.insert("/etc/nginx/nginx.conf", conf);
    let path = Path::new("/etc/nginx/nginx.conf");
    let tree = foregate_conf::load(path, &[], &files).map_err(|(why, _)| why)?;
    let mut variables = Variables::new(crate::variable, crate::family).suggesting(crate::variable_names);
    declare(&tree.nodes, &mut variables)?;
    let mut shared = Shared::default();
    let mut cx = Compile {
        variables: &mut variables,
        files: &files,
        prefix: Path::new("/etc/nginx"),
        conf_prefix: Path::new("/etc/nginx"),
        shared: &mut shared,
        previous: None,
        warnings: Vec::new(),
        log_files: Vec::new(),
        temp_dirs: Vec::new(),
        server_names: ["Example.com", "*.wild.org", "~^rx\\d\\.org$"].map(str::to_owned).into(),
        location: None,
    };
    let http = read(&tree.nodes, &Options::default(), &mut Inherited::default(), Scope::HTTP, None)?;
    http.options.prepare(&mut cx)?;
    let mut house = House::default();
    resolve(http, &mut house, &mut cx, &mut Resolved::default())?;
    let word = |text: &&str| Word::new(text.as_bytes().to_vec(), Span::default(), false);
    let templates = templates.iter().map(|text| cx.template(&word(text))).collect::<Result<_, _>>()?;
    let warnings = cx.warnings.iter().map(|it| it.what.clone()).collect();
    let log_files = cx.log_files;
    house.variables = variables;
    house.shared = shared;
    let last = house.settings.len() as u32 - 1;
    Ok(Site { house: Rc::new(house), warnings, log_files, templates, last })
}

fn declare(nodes: &[Node], variables: &mut Variables) -> Result<(), Error> {
    for node in nodes {
        crate::declare(node, variables)?;
        if inner(node, Scope::HTTP).is_some() {
            declare(node.body(), variables)?;
        }
    }
    Ok(())
}

struct Block {
    options: Options,
    location: Option<(Modifier, Word)>,
    inside: Vec<Block>,
}

fn read(
    nodes: &[Node],
    outer: &Options,
    known: &mut Inherited,
    scope: Scope,
    location: Option<(Modifier, Word)>,
) -> Result<Block, Error> {
    let mut options = Options::default();
    if scope == Scope::LOCATION
        && let Some((modifier, path)) = &location
    {
        options.files.get_mut().enter(*modifier, path);
    }
    for node in nodes.iter().filter(|it| inner(it, scope).is_none()) {
        if !options.set(node, scope)? {
            return Err(Error::unknown_directive(node));
        }
    }
    options.inherit(outer, known);
    if matches!(scope, Scope::LOCATION_IF | Scope::LIMIT_EXCEPT) {
        options.inherit_handler(outer);
    }
    let mut inside = Vec::new();
    for node in nodes {
        let Some(scope) = inner(node, scope) else { continue };
        let location = match scope {
            Scope::LOCATION => Some(location_args(node)?),
            _ => location.clone(),
        };
        inside.push(read(node.body(), &options, known, scope, location)?);
    }
    Ok(Block { options, location, inside })
}

/// The scope inside of a block that holds blocks of settings.
fn inner(node: &Node, scope: Scope) -> Option<Scope> {
    match node.name.text.as_str() {
        "server" => Some(Scope::SERVER),
        "location" => Some(Scope::LOCATION),
        "if" if scope == Scope::SERVER => Some(Scope::SERVER_IF),
        "if" => Some(Scope::LOCATION_IF),
        "limit_except" => Some(Scope::LIMIT_EXCEPT),
        _ => None,
    }
}

fn resolve(block: Block, house: &mut House, cx: &mut Compile<'_>, known: &mut Resolved) -> Result<(), Error> {
    cx.location = block.location;
    house.settings.push(Box::new(block.options.resolve(cx, known)?));
    for block in block.inside {
        resolve(block, house, cx, known)?;
    }
    Ok(())
}
