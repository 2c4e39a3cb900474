//! Who hears what happens to a request on its way through the phases: nobody, or [`crate::diagnose`].

use foregate_core::{Exchange, Flow, Reply, Stop};
use foregate_modules::rewrite;
use foregate_upstream::Preview;

use crate::phases::Begin;

/// Hears of a request's way. The phases are compiled once for each witness, so that being served costs nothing.
pub(crate) trait Witness: Copy {
    /// Requests are sent on. Where they are not, [`Witness::pass`] answers in the place of upstreams.
    const SENDS: bool;

    /// A round begins: the URI is what it is now.
    fn begins(self, _: &Exchange, _: Begin) {}

    /// The program of the place that the exchange is in.
    fn rewrite(self, on: &rewrite::Settings, ex: &mut Exchange) -> Flow {
        rewrite::run(on, ex)
    }

    /// The location for the URI has been looked for.
    fn located(self, _: &Exchange) {}

    /// What a round has come to.
    fn brought(self, _: &Exchange, _: &Flow<Reply>) {}

    /// An answer of this status has a page, which takes its place.
    fn has_page(self, _: &Exchange, _status: u16, _: &Stop) {}

    /// What becomes of a request that would change files (WebDAV), where nothing is done.
    fn change(self, _: &Exchange) -> Flow<Reply> {
        Flow::Continue(Reply::default())
    }

    /// What an upstream answers, where nobody is asked.
    fn pass(self, _: Result<Preview, Stop>, _: &Exchange) -> Flow<Reply> {
        Flow::Continue(Reply::default())
    }
}

/// Nobody: the request is served.
#[derive(Clone, Copy)]
pub(crate) struct Unwatched;

impl Witness for Unwatched {
    const SENDS: bool = true;
}
