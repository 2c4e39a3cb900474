//! Static files: from a URI to a path, and what to answer with what is found there.
//!
//! `root`, `alias`, `index`, `random_index`, `autoindex` and `try_files` live in one room because all of them ask
//! the same question: which path does this URI stand for.

mod autoindex;
mod cache;
mod directory;
mod index;
mod listing;
mod open;
mod path;
mod read;
mod serve;
mod symlinks;
#[cfg(test)]
mod tests;
mod try_files;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Modifier, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Scope, Template, Variable};

pub use serve::{serve, serve_beside};
pub use try_files::try_files;

pub struct Module;

/// As written in one block.
#[derive(Clone, Default)]
pub struct Options {
    /// Where the block stands: what an `alias` in it takes the place of. Never inherited.
    place: path::Place,
    root: Option<path::Written>,
    index: Option<Vec<Word>>,
    try_files: Option<Vec<Word>>,
    random_index: Option<bool>,
    autoindex: Option<bool>,
    autoindex_format: Option<usize>,
    autoindex_localtime: Option<bool>,
    autoindex_exact_size: Option<bool>,
    etag: Option<bool>,
    log_not_found: Option<bool>,
    symlinks: Option<symlinks::Written>,
    cache: Option<Option<Arc<cache::Spec>>>,
    cache_valid: Option<Duration>,
    cache_min_uses: Option<u64>,
    cache_errors: Option<bool>,
    sendfile: Option<bool>,
    sendfile_max_chunk: Option<u64>,
    /// Read and checked; they only tune how nginx itself reads files and fills packets.
    tuning: read::Tuning,
    /// About this block only, so that each is reported once.
    warnings: Vec<Error>,
}

/// What requests read. Resolved everywhere: a path without a handler of its own is a file.
pub struct Settings {
    root: path::Root,
    index: Box<[Template]>,
    try_files: Option<try_files::TryFiles>,
    random_index: bool,
    autoindex: Option<autoindex::Style>,
    etag: bool,
    log_not_found: bool,
    symlinks: symlinks::Symlinks,
    cache: Option<cache::Use>,
    pub sendfile: bool,
    /// Bytes that one call may send (`sendfile_max_chunk`); 0 is no limit.
    pub sendfile_max_chunk: u64,
}

/// The path that the exchange's URI stands for (`$request_filename`); empty where there is none.
pub fn path_of(on: &Settings, ex: &mut Exchange) -> Vec<u8> {
    on.root.map(ex).map_or_else(Vec::new, |it| it.path)
}

/// What a condition may ask about a path (`if (-f …)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub is_file: bool,
    pub is_folder: bool,
    pub is_executable: bool,
}

impl Settings {
    /// The path that the exchange's URI stands for. `None`: there is none, which is a 500 and has been logged.
    pub fn path_of(&self, ex: &mut Exchange) -> Option<Vec<u8>> {
        self.root.map(ex).map(|it| it.path)
    }

    /// Bytes of the URI that an `alias` takes the place of; `None` where it takes the place of all, or there is none.
    pub fn covered(&self) -> Option<usize> {
        self.root.covered()
    }

    /// What a path is, as far as `disable_symlinks` lets it be seen. `None`: nothing; an unusual reason is logged.
    pub fn look(&self, ex: &mut Exchange, path: &[u8]) -> Option<Seen> {
        match open::look(self, ex, path) {
            Ok(open::Facts { kind, executable, .. }) => Some(Seen {
                is_file: kind == open::Kind::File,
                is_folder: kind == open::Kind::Folder,
                is_executable: executable,
            }),
            Err(failure) => {
                if !failure.is_absence() {
                    serve::log_crit(ex, path, failure);
                }
                None
            }
        }
    }
}

impl Options {
    /// Says in which location this block is. The cycle calls it before it reads the location's directives.
    pub fn enter(&mut self, modifier: Modifier, name: &Word) {
        self.place = path::Place::of(modifier, name);
    }
}

/// nginx's defaults.
const INDEX: &str = "index.html";
const CACHE_VALID: Duration = Duration::from_secs(60);
const CACHE_MIN_USES: u64 = 1;
const SENDFILE_MAX_CHUNK: u64 = 2 << 20;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("root", Scope::ANY_HTTP_IF, Args::Exactly(1), read::root, |o, outer| {
            o.root = o.root.take().or_else(|| outer.root.clone());
        }),
        Directive::own("alias", Scope::LOCATION, Args::Exactly(1), read::root, own_block_only),
        Directive::own("index", Scope::ANY_HTTP, Args::AtLeast(1), read::index, |o, outer| {
            o.index = o.index.take().or_else(|| outer.index.clone());
        }),
        Directive::own(
            "try_files",
            Scope::SERVER.or(Scope::LOCATION),
            Args::AtLeast(2),
            read::try_files,
            own_block_only,
        ),
        Directive::flag("random_index", Scope::LOCATION, |o| &mut o.random_index),
        Directive::flag("autoindex", Scope::ANY_HTTP, |o| &mut o.autoindex),
        Directive::choice("autoindex_format", Scope::ANY_HTTP, autoindex::FORMATS, |o| &mut o.autoindex_format),
        Directive::flag("autoindex_localtime", Scope::ANY_HTTP, |o| &mut o.autoindex_localtime),
        Directive::flag("autoindex_exact_size", Scope::ANY_HTTP, |o| &mut o.autoindex_exact_size),
        Directive::flag("etag", Scope::ANY_HTTP, |o| &mut o.etag),
        Directive::flag("log_not_found", Scope::ANY_HTTP, |o| &mut o.log_not_found),
        Directive::own(
            "disable_symlinks",
            Scope::ANY_HTTP,
            Args::Between(1, 2),
            read::disable_symlinks,
            |o, outer| o.symlinks = o.symlinks.take().or_else(|| outer.symlinks.clone()),
        ),
        Directive::own(
            "open_file_cache",
            Scope::ANY_HTTP,
            Args::Between(1, 2),
            read::open_file_cache,
            |o, outer| o.cache = o.cache.take().or_else(|| outer.cache.clone()),
        ),
        Directive::seconds("open_file_cache_valid", Scope::ANY_HTTP, |o| &mut o.cache_valid),
        Directive::number("open_file_cache_min_uses", Scope::ANY_HTTP, |o| &mut o.cache_min_uses),
        Directive::flag("open_file_cache_errors", Scope::ANY_HTTP, |o| &mut o.cache_errors),
        Directive::flag("open_file_cache_events", Scope::ANY_HTTP, |o| &mut o.tuning.cache_events),
        Directive::flag("sendfile", Scope::ANY_HTTP_IF, |o| &mut o.sendfile),
        Directive::size("sendfile_max_chunk", Scope::ANY_HTTP, |o| &mut o.sendfile_max_chunk),
        Directive::flag("tcp_nopush", Scope::ANY_HTTP, |o| &mut o.tuning.tcp_nopush),
        Directive::own("aio", Scope::ANY_HTTP, Args::Exactly(1), read::aio, own_block_only),
        Directive::flag("aio_write", Scope::ANY_HTTP, |o| &mut o.tuning.aio_write),
        Directive::own("directio", Scope::ANY_HTTP, Args::Exactly(1), read::directio, own_block_only),
        Directive::offset("directio_alignment", Scope::ANY_HTTP, |o| &mut o.tuning.directio_alignment),
        Directive::size("read_ahead", Scope::ANY_HTTP, |o| &mut o.tuning.read_ahead),
        Directive::own(
            "output_buffers",
            Scope::ANY_HTTP,
            Args::Exactly(2),
            read::output_buffers,
            own_block_only,
        ),
        Directive::size("postpone_output", Scope::ANY_HTTP, |o| &mut o.tuning.postpone_output),
    ];

    const VARIABLES: &'static [Variable] = variables::VARIABLES;

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.iter().for_each(|it| cx.warn(it.clone()));
        let index = match &options.index {
            Some(names) => names.iter().map(|it| cx.template(it)).collect::<Result<_, _>>()?,
            None => Box::new([Template::constant(INDEX.as_bytes())]) as Box<[_]>,
        };
        Ok(Some(Settings {
            root: path::Root::compile(options.root.as_ref(), cx)?,
            index,
            try_files: options
                .try_files
                .as_ref()
                .map(|words| try_files::TryFiles::compile(words, cx))
                .transpose()?,
            random_index: options.random_index.unwrap_or(false),
            autoindex: options.autoindex.unwrap_or(false).then(|| autoindex::Style {
                format: autoindex::Format::numbered(options.autoindex_format.unwrap_or(0)),
                localtime: options.autoindex_localtime.unwrap_or(false),
                exact_size: options.autoindex_exact_size.unwrap_or(true),
            }),
            etag: options.etag.unwrap_or(true),
            log_not_found: options.log_not_found.unwrap_or(true),
            symlinks: symlinks::Symlinks::compile(options.symlinks.as_ref(), cx)?,
            cache: options.cache.flatten().map(|spec| cache::Use {
                spec,
                valid: options.cache_valid.unwrap_or(CACHE_VALID),
                min_uses: options.cache_min_uses.unwrap_or(CACHE_MIN_USES),
                errors: options.cache_errors.unwrap_or(false),
            }),
            sendfile: options.sendfile.unwrap_or(false),
            sendfile_max_chunk: options.sendfile_max_chunk.unwrap_or(SENDFILE_MAX_CHUNK),
        }))
    }
}

fn own_block_only(_: &mut Options, _: &Options) {}
