//! `try_files`: the first of several names that exists, or where to go if none does.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Word, value as values};
use foregate_core::{Compile, Exchange, Flow, Stop, Template};
use foregate_wire::uri;

use super::open::{Kind, look};
use super::path::{self, Mapped};
use super::serve::log_crit;
use super::{Settings, path::Root};

/// The largest status that `=code` may name.
pub(super) const STATUS_MAX: u64 = 999;

/// Compiled.
pub(super) struct TryFiles {
    names: Box<[Name]>,
    fallback: Fallback,
}

struct Name {
    template: Template,
    /// Written with a slash at the end: a folder is looked for.
    folder: bool,
}

enum Fallback {
    Status(u16),
    /// A URI, or a named location if the value begins with `@`.
    Go(Template),
}

impl TryFiles {
    /// At least two words: the last says where to go.
    pub(super) fn compile(words: &[Word], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let (last, names) = words.split_last().expect("because the directive takes at least two arguments");
        let fallback = match last.text.strip_prefix('=').and_then(values::number) {
            Some(code) => Fallback::Status(code as u16),
            None => Fallback::Go(cx.template(last)?),
        };
        let name = |word: &Word| {
            let folder = word.text.ends_with('/');
            let template = cx.template(&word.trimmed(0, usize::from(folder)))?;
            Ok(Name { template, folder })
        };
        Ok(Self { names: names.iter().map(name).collect::<Result<_, Error>>()?, fallback })
    }
}

/// Looks for the names. Where one is found it becomes the exchange's URI, and its location goes on with it.
pub fn try_files(on: &Settings, ex: &mut Exchange) -> Flow {
    let Some(tries) = &on.try_files else { return Continue(()) };
    for name in &tries.names {
        let Some(Mapped { mut path, root_len }) = on.root.map(ex) else { return Break(Stop::status(500)) };
        path.truncate(root_len);
        fill(&name.template, &on.root, ex, &mut path);
        match look(on, ex, &path) {
            Ok(facts) if (facts.kind == Kind::Folder) == name.folder => {
                take(&on.root, ex, &path[root_len..], name.folder);
                return Continue(());
            }
            Err(failure) if !failure.is_absence() => {
                log_crit(ex, &path, failure);
            }
            _ => (),
        }
    }
    Break(fall_back(on, tries, ex))
}

/// nginx takes the part that an alias covers off the front of a value with variables, never of a plain name.
fn fill(template: &Template, root: &Root, ex: &mut Exchange, out: &mut Vec<u8>) {
    let start = out.len();
    template.fill(ex, out);
    if let Some(covered) = root.covered()
        && template.as_constant().is_none()
        && ex.uri.get(..covered).is_some_and(|prefix| out[start..].starts_with(prefix))
    {
        out.drain(start..start + covered);
    }
}

/// The name found becomes the URI; under an alias what the alias covers stays in front of it.
fn take(root: &Root, ex: &mut Exchange, name: &[u8], folder: bool) {
    if let Some(covered) = root.covered() {
        ex.uri.truncate(covered);
        ex.uri.extend_from_slice(name);
    } else if !root.replaces_all() {
        ex.uri = name.to_vec();
    } else if !folder {
        ex.uri = name.to_vec();
        path::put_behind_alias(ex);
    }
}

fn fall_back(on: &Settings, tries: &TryFiles, ex: &mut Exchange) -> Stop {
    let template = match &tries.fallback {
        Fallback::Status(444) => return Stop::Close,
        Fallback::Status(status) => return Stop::status(*status),
        Fallback::Go(template) => template,
    };
    let mut to = Vec::new();
    fill(template, &on.root, ex, &mut to);
    if let Some(name) = to.strip_prefix(b"@") {
        return Stop::Named(name.to_vec());
    }
    let (uri, args) = uri::split_args(&to);
    Stop::Redirect { uri: uri.to_vec(), args: args.to_vec() }
}
