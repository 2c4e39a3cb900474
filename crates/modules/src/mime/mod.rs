//! `types`, `default_type`: which `Content-Type` the extension of a path stands for.

mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Scope};
use foregate_wire::uri;

use table::Table;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// Shared by all blocks that inherit it.
    types: Option<Arc<Table>>,
    default_type: Option<Word>,
    hash_max_size: Option<u64>,
    hash_bucket_size: Option<u64>,
    /// Extensions that this block names twice; never inherited, so that each is reported once.
    doubles: Vec<Error>,
}

/// Resolved everywhere.
#[derive(Clone)]
pub struct Settings {
    types: Arc<Table>,
    /// Empty: no `Content-Type` for extensions that are not listed.
    default_type: Box<[u8]>,
}

/// nginx's default for `default_type`.
const DEFAULT_TYPE: &str = "text/plain";

/// The type of a path by its extension, in whatever case. Empty: the reply has no `Content-Type`.
pub fn content_type<'a>(on: &'a Settings, path: &[u8]) -> &'a [u8] {
    on.types.find(uri::extension(path)).unwrap_or(&on.default_type)
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::block("types", Scope::ANY_HTTP, Args::NONE, types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::text("default_type", Scope::ANY_HTTP, |o| &mut o.default_type),
        // Our table needs no sizes.
        Directive::number("types_hash_max_size", Scope::ANY_HTTP, |o| &mut o.hash_max_size),
        Directive::number("types_hash_bucket_size", Scope::ANY_HTTP, |o| &mut o.hash_bucket_size),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.doubles.into_iter().for_each(|it| cx.warn(it));
        let default_type = options.default_type.as_ref().map_or(DEFAULT_TYPE.as_bytes(), |it| it.bytes());
        Ok(Some(Settings {
            types: options.types.unwrap_or_else(Table::built_in),
            default_type: default_type.into(),
        }))
    }
}

/// Several blocks at one level add up; a block at a level takes the place of those around it.
fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let table = Arc::make_mut(o.types.get_or_insert_default());
    for line in node.body() {
        if line.is_block() {
            return Err(Error::at(line.name.span, "unexpected \"{\""));
        }
        for extension in &line.args {
            let lower = extension.bytes().to_ascii_lowercase();
            let shown = String::from_utf8_lossy(&lower).into_owned();
            if let Some(before) = table.insert(lower, line.name.bytes()) {
                let before = String::from_utf8_lossy(&before);
                let what = format!(
                    "duplicate extension \"{shown}\", content type: \"{}\", previous content type: \"{before}\"",
                    line.name
                );
                o.doubles.push(Error::at(extension.span, what).warn());
            }
        }
    }
    Ok(())
}
