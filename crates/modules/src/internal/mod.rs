//! `internal`: a location that clients cannot reach by themselves.

use foregate_conf::{Error, Node};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Scope, Stop};
use std::ops::ControlFlow::{Break, Continue};

pub struct Module;

/// Whether the block says so; locations inside do not inherit it.
pub type Options = bool;

pub struct Settings;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("internal", Scope::LOCATION, Args::NONE, read, |_, _| ())];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.then_some(Settings))
    }
}

/// Once the location is known: 404 for requests that come from outside.
pub fn check(_: &Settings, ex: &Exchange) -> Flow {
    match ex.internal {
        true => Continue(()),
        false => Break(Stop::status(404)),
    }
}

fn read(o: &mut Options, _: &Node, _: Scope) -> Result<(), Error> {
    *o = true;
    Ok(())
}
