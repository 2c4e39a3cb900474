//! What can be said about a configuration without serving it: what it is made of, and where its traps are.

mod compat;
pub mod explain;
pub mod lint;
mod offline;

use std::path::Path;

use foregate_conf::{Error, Files, Level, Node, Source, Span};
use foregate_core::Json;

use crate::assemble;
use crate::cycle::{Cycle, Setup};

pub use compat::{Listed, Verdict, list};

/// A configuration that was read, whether it can be used or not.
pub struct Examined {
    /// Empty where the text is not even in nginx's language.
    pub nodes: Vec<Node>,
    pub sources: Vec<Source>,
    pub warnings: Vec<Error>,
    pub outcome: Result<Cycle, Error>,
}

/// Loads a configuration for a look at it.
///
/// `offline` leaves out the certificates and keys that it names. Names are looked up unless
/// [`foregate_net::names::go_offline`] has been called.
pub fn examine(setup: &Setup, files: &dyn Files, offline: bool) -> Examined {
    let tree = match foregate_conf::load(&setup.conf, &setup.globals, files) {
        Ok(tree) => tree,
        Err((error, sources)) => {
            return Examined { nodes: Vec::new(), sources, warnings: Vec::new(), outcome: Err(error) };
        }
    };
    let mut warnings = Vec::new();
    // Every server has places of its own: what is said about one names its lines, not those of a twin.
    let compile = |nodes: &[Node], warnings| assemble::compile(setup, nodes, files, None, false, warnings);
    let outcome = match offline {
        true => compile(&offline::without_secrets(&tree.nodes), &mut warnings),
        false => compile(&tree.nodes, &mut warnings),
    };
    Examined { nodes: tree.nodes, sources: tree.sources, warnings, outcome }
}

/// Something to say about a configuration, under a name that stays the same: `add-header-lost`.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub code: &'static str,
    pub error: Error,
}

impl Finding {
    /// An error or a warning of the configuration itself.
    pub fn of_load(error: Error) -> Self {
        let code = if error.level == Level::Emerg { "configuration-error" } else { "configuration-warning" };
        Self { code, error }
    }

    /// `error`, `warning` or `note`.
    pub fn severity(&self) -> &'static str {
        match self.error.level {
            Level::Warn => "warning",
            Level::Notice | Level::Info | Level::Debug => "note",
            _ => "error",
        }
    }

    /// As an object for machines; what has no place has nulls there.
    pub fn to_json(&self, sources: &[Source]) -> Json {
        let [file, line, column] = place(self.error.span, sources);
        Json::Object(vec![
            ("file", file),
            ("line", line),
            ("column", column),
            ("severity", self.severity().into()),
            ("code", self.code.into()),
            ("message", self.error.what.as_str().into()),
            ("advice", self.error.advice.as_deref().into()),
        ])
    }
}

/// File, line and column of a span. The line is the one on which it begins; columns count bytes from 1.
pub fn place(span: Option<Span>, sources: &[Source]) -> [Json; 3] {
    let found = span.and_then(|span| Some((span, sources.get(span.file as usize)?)));
    let Some((span, source)) = found else { return [Json::Null, Json::Null, Json::Null] };
    let before = &source.text[..(span.start as usize).min(source.text.len())];
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() as u64 + 1;
    let file = Json::Text(source.path.display().to_string());
    [file, line_of(span, source).into(), column.into()]
}

/// `/etc/nginx/nginx.conf:12`
pub fn place_text(span: Span, sources: &[Source]) -> String {
    match sources.get(span.file as usize) {
        Some(source) if source.path == Path::new(foregate_conf::COMMAND_LINE) => "command line".to_owned(),
        Some(source) => format!("{}:{}", source.path.display(), line_of(span, source)),
        None => "built in".to_owned(),
    }
}

fn line_of(span: Span, source: &Source) -> u64 {
    let before = &source.text[..(span.start as usize).min(source.text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1
}
