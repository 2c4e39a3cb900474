//! The one way up.
//!
//! A module that needs another request made on behalf of this one (`auth_request`, `mirror`, `ssi`) asks the
//! server through this trait, so that it need not import the server. It costs one box, and only where used.

use std::future::Future;
use std::pin::Pin;

use crate::exchange::Exchange;
use crate::reply::Reply;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// As nginx: a request inside a request inside a request … is caught at this depth.
pub const SUBREQUESTS_DEPTH_MAX: u32 = 50;

/// What came of a subrequest.
pub struct Fetched {
    /// Its answer, through the header filters; `None` where it was closed without one.
    pub reply: Option<Reply>,
    /// The subrequest itself: its variables (`$upstream_…`) can still be read.
    pub ex: Exchange,
}

pub trait Subrequests {
    /// Serves `uri` as a GET of its own under the parent's connection, fields and variables. Its body is empty.
    fn fetch<'a>(&'a self, parent: &'a mut Exchange, uri: &[u8], args: &[u8]) -> BoxFuture<'a, Fetched>;
}
