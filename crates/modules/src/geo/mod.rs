//! `geo`: a variable whose value depends on the client's address.

mod draft;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::network::{Networks, forwarded};
use foregate_core::{Args, Compile, Directive, Evaluate, Evaluator, Exchange, Scope, Template, Variables};
use foregate_net::Addr;

use draft::Draft;
use table::Table;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    geos: Vec<Node>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::block("geo", Scope::HTTP, Args::Between(1, 2), read, |_, _| ())];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        let Some(name) = node.args.last() else { return Ok(()) };
        variables.declare(bare(name)?, name.span).map(drop)
    }

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for node in &options.geos {
            let (source, name) = match &*node.args {
                [source, name] => (Some(cx.template(source)?), name),
                args => (None, &args[0]),
            };
            let slot = cx.variables.declare(bare(name)?, name.span)?;
            let draft = Draft::read(node.body(), cx)?;
            let volatile = draft.volatile;
            let geo = Geo {
                source,
                proxies: draft.proxies.clone(),
                proxy_recursive: draft.proxy_recursive,
                table: draft.into_table(),
            };
            cx.variables.define(slot, Evaluator { how: Arc::new(geo), volatile });
        }
        Ok(())
    }

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    for word in &node.args {
        bare(word)?;
    }
    o.geos.push(node.clone());
    Ok(())
}

fn bare(name: &Word) -> Result<&str, Error> {
    name.strip_prefix('$').filter(|it| !it.is_empty()).ok_or_else(|| {
        Error::at(name.span, format!("invalid variable name \"{name}\""))
            .advise("a variable begins with a dollar sign")
    })
}

/// One compiled `geo`.
struct Geo {
    /// The address, where it is not the client's.
    source: Option<Template>,
    /// Whose `X-Forwarded-For` is believed.
    proxies: Networks,
    proxy_recursive: bool,
    table: Table,
}

impl Geo {
    fn address(&self, ex: &mut Exchange) -> Option<Addr> {
        let addr = match &self.source {
            None => ex.remote.clone(),
            Some(source) => {
                let text = source.fill_new(ex);
                let text = std::str::from_utf8(&text).ok()?;
                // A port does not belong here, unlike in a header.
                Addr::Ip((text.parse::<std::net::IpAddr>().ok()?, 0).into())
            }
        };
        if self.proxies.is_empty() {
            return Some(addr);
        }
        let fields: Vec<&[u8]> = ex.fields.get_all(b"x-forwarded-for").collect();
        let found = forwarded(&addr, fields.into_iter(), &self.proxies, self.proxy_recursive);
        Some(found.unwrap_or(addr))
    }
}

impl Evaluate for Geo {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let ip = self.address(ex).and_then(|it| it.ip()).map(|it| it.ip());
        out.extend_from_slice(self.table.find(ip));
        true
    }
}

