//! What every module tells the server about itself.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use foregate_conf::{Error, Files, Modifier, Node, Word};

use crate::directive::Directive;
use crate::regex::Regex;
use crate::template::Template;
use crate::variable::{Prefix, Variable, Variables};

/// A feature: its directives, its variables, and its settings in two shapes.
pub trait Module {
    /// As written in one block: every field may be unset.
    type Options: Clone + Default + 'static;
    /// Inherited, checked, ready to be read by requests. Never changes.
    type Settings: Send + Sync;

    const DIRECTIVES: &'static [Directive<Self::Options>];
    const VARIABLES: &'static [Variable] = &[];
    const PREFIXES: &'static [Prefix] = &[];

    /// Called for every directive of this module anywhere in the file, before anything is resolved: the
    /// place to declare the variables that a directive makes (`set $x`, `map … $x`).
    fn declare(_node: &Node, _variables: &mut Variables) -> Result<(), Error> {
        Ok(())
    }

    /// Called once with what stands at the http level (inherited from main), before any `resolve`: the
    /// place to build what all blocks share (maps, zones, formats, upstream groups), kept in `cx.shared`.
    fn prepare(_options: &Self::Options, _cx: &mut Compile<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// A block takes from the block around it what it did not set itself.
    fn inherit(options: &mut Self::Options, outer: &Self::Options) {
        let mut from = outer.clone();
        for directive in Self::DIRECTIVES {
            directive.inherit(options, &mut from);
        }
    }

    /// What an `if` or a `limit_except` takes besides from its location: a content handler (`proxy_pass`).
    fn inherit_handler(_options: &mut Self::Options, _outer: &Self::Options) {}

    /// The block names a content handler itself, so that it takes none from its location.
    fn has_handler(_options: &Self::Options) -> bool {
        false
    }

    /// `None`: the module has nothing to do here, and no request will ask it.
    ///
    /// Blocks that set nothing of a module share what they inherit and what is made of it. The settings may depend on
    /// the place (`cx.location`, `cx.server_names`) only by what the block itself or its server has set.
    /// Directives by which they do are named in the server's `twins.rs`.
    fn resolve(options: Self::Options, cx: &mut Compile<'_>) -> Result<Option<Self::Settings>, Error>;
}

/// What `prepare` and `resolve` may ask for while a configuration is compiled.
pub struct Compile<'a> {
    pub variables: &'a mut Variables,
    /// The one door to the files that a configuration names.
    pub files: &'a dyn Files,
    /// `-p`: what relative paths of logs, roots and temporary files start from.
    pub prefix: &'a Path,
    /// The folder of the configuration file: what certificates and password files start from.
    pub conf_prefix: &'a Path,
    /// What modules share for the whole configuration, by type.
    pub shared: &'a mut Shared,
    /// What the configuration before this one shared, at a reload: zones and peers keep their state.
    pub previous: Option<&'a Shared>,
    pub warnings: Vec<Error>,
    /// The log files that this configuration writes; the master opens them.
    pub log_files: Vec<PathBuf>,
    /// The folders for temporary files; the master makes them.
    pub temp_dirs: Vec<PathBuf>,
    /// The settings' address: which server and location are being resolved.
    pub server_names: Vec<String>,
    /// The location that is being resolved, or the one around the `if` that is.
    pub location: Option<(Modifier, Word)>,
}

impl Compile<'_> {
    /// Compiles a value that may hold `$variables`.
    pub fn template(&mut self, word: &Word) -> Result<Template, Error> {
        Template::compile(word, self.variables)
    }

    /// Compiles a pattern as PCRE would; named groups become variables.
    pub fn regex(&mut self, word: &Word, caseless: bool) -> Result<Regex, Error> {
        Regex::compile(word, &word.text, caseless, self.variables)
    }

    /// A path as logs, roots and temporary files are named: relative ones start from the prefix.
    pub fn full_path(&self, path: &str) -> PathBuf {
        self.prefix.join(path)
    }

    /// A path as certificates and password files are named: relative ones start from the configuration.
    pub fn conf_path(&self, path: &str) -> PathBuf {
        self.conf_prefix.join(path)
    }

    pub fn warn(&mut self, error: Error) {
        self.warnings.push(error);
    }
}

/// Shared where connections to upstreams are bound to addresses that are not ours (`proxy_bind … transparent`): the
/// worker needs a right for that.
#[derive(Default)]
pub struct TransparentBinds;

/// Files that are read again when they change on disk, without a reload: certificates, keys and authorities.
#[derive(Debug, Default)]
pub struct Watched(pub BTreeSet<PathBuf>);

impl Compile<'_> {
    /// A file that `conf_path` finds is one of the [`Watched`].
    pub fn watch(&mut self, name: &str) {
        let path = self.conf_path(name);
        self.shared.get_or_default::<Watched>().0.insert(path);
    }
}

/// Things that belong to a whole configuration, one per type.
#[derive(Default)]
pub struct Shared(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Shared {
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub fn get_or_default<T: Any + Send + Sync + Default>(&mut self) -> &mut T {
        let boxed = self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::<T>::default());
        boxed.downcast_mut().expect("because the key is the type's own id")
    }
}
