//! `root` and `alias`: which path a URI stands for.
//!
//! A path is the folder and what of the URI lies behind it. The URI is normalised before it comes here, so it
//! cannot climb out of the folder; what the file system's links do is `disable_symlinks`' affair.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use foregate_conf::{Error, Modifier, Word};
use foregate_core::{Compile, Exchange, Level, Template, log};

/// Where a block stands.
#[derive(Clone, Default)]
pub(super) enum Place {
    /// Not directly in a location.
    #[default]
    Elsewhere,
    Named,
    /// A location with a path: how many bytes of a URI it covers.
    Prefix {
        name: Box<str>,
        len: usize,
    },
    Regex {
        name: Box<str>,
    },
}

/// `root` or `alias` as written.
#[derive(Clone)]
pub(super) struct Written {
    folder: Word,
    /// For `alias`: the location that it stands in, also where a location inside inherits it.
    alias: Option<Place>,
}

/// Ready to map.
pub(super) struct Root {
    folder: Folder,
    alias: Option<Place>,
}

enum Folder {
    Fixed(Box<[u8]>),
    /// With variables; where the value is relative, it starts from `prefix`.
    Computed {
        template: Template,
        prefix: Box<Path>,
    },
}

/// A URI's path.
pub(super) struct Mapped {
    pub(super) path: Vec<u8>,
    /// The bytes of it that are the folder.
    pub(super) root_len: usize,
}

/// A note: under an `alias` in a regex location `try_files` found this URI's file *behind* the alias, so from then
/// on the URI is added to it. It holds for this URI in this location only.
struct BehindAlias {
    location: u32,
    uri: Vec<u8>,
}

impl Place {
    pub(super) fn of(modifier: Modifier, name: &Word) -> Self {
        let text = || name.text.as_str().into();
        match modifier {
            Modifier::Named => Self::Named,
            Modifier::Regex | Modifier::RegexNoCase => Self::Regex { name: text() },
            Modifier::Prefix | Modifier::Exact | Modifier::NoRegex => {
                Self::Prefix { name: text(), len: name.bytes().len() }
            }
        }
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self, Self::Named)
    }

    fn name(&self) -> &str {
        match self {
            Self::Elsewhere | Self::Named => "",
            Self::Prefix { name, .. } | Self::Regex { name } => name,
        }
    }
}

impl Written {
    pub(super) fn new(folder: &Word, alias: Option<Place>) -> Self {
        Self { folder: folder.clone(), alias }
    }

    pub(super) fn is_alias(&self) -> bool {
        self.alias.is_some()
    }
}

/// nginx's default folder, under the prefix.
const ROOT: &[u8] = b"html";

impl Root {
    pub(super) fn compile(written: Option<&Written>, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let Some(Written { folder, alias }) = written else {
            return Ok(Self { folder: Folder::Fixed(absolute(cx.prefix, ROOT).into()), alias: None });
        };
        let mut bytes = folder.bytes();
        if alias.is_none() {
            bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        }
        // What begins with a variable may turn out absolute, and `root /` is the empty path.
        let stays = folder.text.starts_with('$') || folder.text.starts_with('/');
        let bytes = if stays { bytes.to_vec() } else { absolute(cx.prefix, bytes) };
        let template = cx.template(&Word::new(bytes, folder.span, folder.quoted))?;
        let folder = match template.as_constant() {
            Some(fixed) => Folder::Fixed(fixed.into()),
            None => Folder::Computed { template, prefix: cx.prefix.into() },
        };
        Ok(Self { folder, alias: alias.clone() })
    }

    /// The path of the exchange's URI. `None`, logged: there is none, which is a 500.
    pub(super) fn map(&self, ex: &mut Exchange) -> Option<Mapped> {
        if let Some(place) = &self.alias
            && !ex.location_holds
        {
            let name = place.name();
            log!(
                ex,
                Level::Alert,
                "\"alias\" cannot be used in location \"{name}\" where URI was rewritten"
            );
            return None;
        }
        let mut path = self.folder(ex);
        let root_len = path.len();
        let covered = match &self.alias {
            None => 0,
            Some(Place::Regex { .. }) if BehindAlias::holds(ex) => 0,
            Some(Place::Regex { .. }) => ex.uri.len(),
            Some(Place::Prefix { len, .. }) => *len,
            Some(Place::Elsewhere | Place::Named) => 0,
        };
        path.extend_from_slice(ex.uri.get(covered..).unwrap_or_default());
        Some(Mapped { path, root_len })
    }

    /// The folder itself: `$document_root`.
    pub(super) fn folder(&self, ex: &mut Exchange) -> Vec<u8> {
        match &self.folder {
            Folder::Fixed(folder) => {
                let mut path = Vec::with_capacity(folder.len() + ex.uri.len() + 1);
                path.extend_from_slice(folder);
                path
            }
            Folder::Computed { template, prefix } => {
                let path = template.fill_new(ex);
                if path.starts_with(b"/") { path } else { absolute(prefix, &path) }
            }
        }
    }

    /// Bytes of the URI that the alias takes the place of; `None` where it takes the place of all, or there is none.
    pub(super) fn covered(&self) -> Option<usize> {
        match &self.alias {
            Some(Place::Prefix { len, .. }) => Some(*len),
            _ => None,
        }
    }

    /// The alias stands for the whole URI.
    pub(super) fn replaces_all(&self) -> bool {
        matches!(self.alias, Some(Place::Regex { .. }))
    }
}

impl BehindAlias {
    fn holds(ex: &Exchange) -> bool {
        ex.notes.get::<Self>().is_some_and(|it| it.location == ex.location && it.uri == ex.uri)
    }
}

/// From now on the exchange's URI is added to the alias, which stood for all of it.
pub(super) fn put_behind_alias(ex: &mut Exchange) {
    ex.notes.put(BehindAlias { location: ex.location, uri: ex.uri.clone() });
}

fn absolute(prefix: &Path, path: &[u8]) -> Vec<u8> {
    prefix.join(OsStr::from_bytes(path)).into_os_string().into_vec()
}
