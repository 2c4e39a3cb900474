//! A URI that ends in a slash: `random_index`, `index`, `autoindex`, or nothing.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Exchange, Flow, Level, Method, Reply, Stop, log};

use super::serve::text;
use super::{Settings, autoindex, index};

/// The order is nginx's: a random file before a named one, a named one before the listing.
pub(super) fn serve(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if on.random_index {
        index::random(on, ex)?;
    }
    index::named(on, ex)?;
    if let Some(style) = &on.autoindex
        && ex.method != Method::Post
    {
        return match autoindex::page(style, on, ex) {
            Ok(reply) => Continue(reply),
            Err(status) => Break(Stop::status(status)),
        };
    }
    if let Some(mapped) = on.root.map(ex) {
        log!(ex, Level::Error, "directory index of \"{}\" is forbidden", text(&mapped.path));
    }
    Break(Stop::status(403))
}
