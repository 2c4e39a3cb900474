//! The one way up.
//!
//! A module that needs another request made on behalf of this one (`auth_request`, `mirror`, `ssi`) asks the
//! server through this trait, so that it need not import the server. It costs one box, and only where used.

use std::future::Future;
use std::pin::Pin;

use crate::exchange::Exchange;
use crate::reply::Reply;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

pub trait Subrequests {
    /// Serves `uri` as a request of its own under the parent's connection, headers and variables. The
    /// request has no body; the reply has passed the header and body filters of a subrequest.
    fn fetch<'a>(&'a self, parent: &'a mut Exchange, uri: &'a [u8], args: &'a [u8]) -> BoxFuture<'a, Reply>;
}
