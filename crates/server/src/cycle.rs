//! One loaded configuration: compiled once, shared by every exchange that began under it, never changed.

use std::any::Any;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use foregate_acme::{Issuers, Wish, root_path};
use foregate_conf::{Error, Files, Source};
use foregate_core::error_log::Target;
use foregate_core::variable::Found;
use foregate_core::{
    BodyLimits, BoxFuture, Entry, ErrorLog, Evaluator, Exchange, Household, Method, Reply, Shared, Variables,
    Watched,
};
use foregate_modules::{Settings, log, process};
use foregate_net::tls;

use crate::address::Endpoint;
use crate::assemble;
use crate::locations::Locations;
use crate::reach::Reach;
use crate::subrequest;

/// What is needed to load a configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    pub conf: PathBuf,
    /// `-p`: ends with a slash or not, as given.
    pub prefix: PathBuf,
    /// `-e`: where errors go unless the configuration says otherwise.
    pub error_log: PathBuf,
    /// `-g`.
    pub globals: Vec<String>,
    /// The built-in path of the pid file.
    pub pid: PathBuf,
    /// Started as root: the default port is 80.
    pub privileged: bool,
}

/// A configuration that was loaded, and what there is to say about it.
pub struct Loaded {
    pub cycle: Cycle,
    pub warnings: Vec<Error>,
    pub sources: Vec<Source>,
}

/// A configuration that could not be loaded.
pub struct LoadError {
    pub error: Error,
    pub warnings: Vec<Error>,
    pub sources: Vec<Source>,
}

/// A compiled configuration.
pub struct Cycle {
    pub main: Main,
    pub(crate) servers: Vec<Server>,
    pub(crate) places: Vec<Place>,
    pub endpoints: Vec<Endpoint>,
    pub(crate) variables: Variables,
    pub(crate) shared: Shared,
    pub(crate) log_files: Vec<PathBuf>,
    pub(crate) temp_dirs: Vec<PathBuf>,
    /// Certificates that come by themselves.
    pub(crate) wishes: Vec<Wish>,
}

/// What the processes read.
pub struct Main {
    pub process: Arc<process::Settings>,
    pub pid: PathBuf,
    pub error_log: ErrorLog,
    /// What the worker reads, writes and runs.
    pub reach: Reach,
    /// Some `error_log` goes to stderr, which therefore must not be led elsewhere.
    pub(crate) keeps_stderr: bool,
}

impl Main {
    /// What stands for stderr once nobody looks at it: the first error log that is a file.
    pub fn stderr_file(&self) -> Option<std::fs::File> {
        let mut targets = self.error_log.sinks.iter().filter(|_| !self.keeps_stderr);
        targets.find_map(|sink| match &sink.to {
            Target::File(file) => file.handle(),
            Target::Lines(_) => None,
        })
    }
}

pub(crate) struct Server {
    pub(crate) name: String,
    /// How its connections are answered, without and with HTTP/2, where its certificate comes by itself.
    pub(crate) automatic: Option<[tls::Server; 2]>,
    /// The place of what stands in the server and in no location.
    pub(crate) place: u32,
    /// Shared by servers that differ in their names alone.
    pub(crate) locations: Arc<Locations>,
}

/// A server's own level, a location, an `if` or a `limit_except`.
pub(crate) struct Place {
    pub(crate) settings: Arc<Settings>,
    /// The methods that stay, and where the others go.
    pub(crate) limit_except: Option<Box<(Vec<Method>, u32)>>,
    /// What stands behind `location`, for logs and messages.
    pub(crate) name: String,
    pub(crate) error_log: ErrorLog,
}

/// Loads, checks and compiles a configuration. Nothing is opened but through `files`.
pub fn load(setup: &Setup, files: &dyn Files, previous: Option<&Cycle>) -> Result<Loaded, LoadError> {
    let tree = foregate_conf::load(&setup.conf, &setup.globals, files)
        .map_err(|(error, sources)| LoadError { error, warnings: Vec::new(), sources })?;
    let mut warnings = Vec::new();
    match assemble::compile(setup, &tree.nodes, files, previous, true, &mut warnings) {
        Ok(cycle) => Ok(Loaded { cycle, warnings, sources: tree.sources }),
        Err(error) => Err(LoadError { error, warnings, sources: tree.sources }),
    }
}

impl Cycle {
    /// What the processes read; the rest is dropped.
    pub fn into_main(self) -> Main {
        self.main
    }

    /// The log files that this configuration writes.
    pub fn log_files(&self) -> &[PathBuf] {
        &self.log_files
    }

    /// The files that are read again when they change.
    pub fn watched(&self) -> BTreeSet<PathBuf> {
        self.shared.get::<Watched>().map(|it| it.0.clone()).unwrap_or_default()
    }

    /// The internal authorities by name, and where the root certificate of each is.
    pub fn internal_roots(&self) -> Vec<(String, PathBuf)> {
        let issuers = self.shared.get::<Issuers>().map(|it| it.by_name.values());
        let internal = issuers.into_iter().flatten().filter(|it| it.uri.is_none());
        internal.filter_map(|it| Some((it.name.clone(), root_path(it.state.as_ref()?)))).collect()
    }

    /// The folders for temporary files.
    pub fn temp_dirs(&self) -> &[PathBuf] {
        &self.temp_dirs
    }

    pub(crate) fn settings(&self, place: u32) -> &Settings {
        &self.places[place as usize].settings
    }

    pub(crate) fn server(&self, server: u32) -> &Server {
        &self.servers[server as usize]
    }
}

/// The cycle as one thread holds it: cloning counts on this thread alone.
pub struct Local {
    pub cycle: Arc<Cycle>,
}

impl Local {
    pub fn new(cycle: Arc<Cycle>) -> Rc<Self> {
        Rc::new(Self { cycle })
    }
}

impl Household for Local {
    fn settings(&self, location: u32) -> &dyn Any {
        self.cycle.settings(location)
    }

    fn evaluator(&self, slot: u32) -> Option<&Evaluator> {
        self.cycle.variables.evaluator(slot)
    }

    fn shared(&self) -> &Shared {
        &self.cycle.shared
    }

    fn error_log(&self, location: u32) -> &ErrorLog {
        &self.cycle.places[location as usize].error_log
    }

    fn server_name(&self, server: u32) -> &str {
        &self.cycle.servers[server as usize].name
    }

    fn variable(&self, name: &str) -> Option<Found> {
        self.cycle.variables.find(name)
    }

    fn serve_inside<'a>(&'a self, ex: &'a mut Exchange, entry: Entry) -> BoxFuture<'a, Option<Reply>> {
        Box::pin(subrequest::serve(self, ex, entry))
    }

    fn log_inside(&self, ex: &mut Exchange) {
        if let Some(on) = &self.cycle.settings(ex.location).log {
            log::write(on, ex);
        }
    }

    fn body_limits(&self, location: u32) -> BodyLimits<'_> {
        let client = self.cycle.settings(location).client.as_ref();
        client.expect("because the client module always resolves").body_limits()
    }
}

/// The folder that relative paths of a configuration file's own kind start from.
pub(crate) fn folder(conf: &Path) -> PathBuf {
    conf.parent().map_or_else(PathBuf::new, Path::to_owned)
}
