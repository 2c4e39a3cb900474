//! Requests that modules make on behalf of another request, as the cycle serves them.

use foregate_core::{Entry, Exchange, Level, Reply, SUBREQUESTS_DEPTH_MAX, log};

use crate::cycle::Local;
use crate::phases;

/// Serves a child under the cycle that its parent is served under.
pub(crate) async fn serve(local: &Local, ex: &mut Exchange, entry: Entry) -> Option<Reply> {
    if ex.subrequest_depth > SUBREQUESTS_DEPTH_MAX {
        let uri = String::from_utf8_lossy(&ex.uri);
        log!(ex, Level::Error, "subrequests cycle while processing \"{uri}\"");
        return None;
    }
    let mut reply = Reply::default();
    phases::serve_inside(local, ex, &mut reply, entry).await.then_some(reply)
}
