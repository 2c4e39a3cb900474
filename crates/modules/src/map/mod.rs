//! `map`: a variable whose value depends on another value.

mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Evaluator, Regex, Scope, Variables};

use table::Table;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    maps: Vec<Node>,
    hash_max_size: Option<u64>,
    hash_bucket_size: Option<u64>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::block("map", Scope::HTTP, Args::Exactly(2), read, |_, _| ()),
        // Our tables grow as they need to.
        Directive::number("map_hash_max_size", Scope::HTTP, |o| &mut o.hash_max_size),
        Directive::number("map_hash_bucket_size", Scope::HTTP, |o| &mut o.hash_bucket_size),
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        let ("map", [_, name]) = (&*node.name.text, &*node.args) else { return Ok(()) };
        variables.declare(bare(name)?, name.span)?;
        for line in node.body() {
            if let Some(pattern) = line.name.strip_prefix('~') {
                Regex::declare(pattern, &line.name, variables)?;
            }
        }
        Ok(())
    }

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for node in &options.maps {
            let name = &node.args[1];
            let slot = cx.variables.declare(bare(name)?, name.span)?;
            let table = Table::compile(&node.args[0], node.body(), cx)?;
            let volatile = table.volatile;
            cx.variables.define(slot, Evaluator { how: Arc::new(table), volatile });
        }
        Ok(())
    }

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    bare(&node.args[1])?;
    o.maps.push(node.clone());
    Ok(())
}

fn bare(name: &Word) -> Result<&str, Error> {
    name.strip_prefix('$').filter(|it| !it.is_empty()).ok_or_else(|| {
        Error::at(name.span, format!("invalid variable name \"{name}\""))
            .advise("a variable begins with a dollar sign")
    })
}
