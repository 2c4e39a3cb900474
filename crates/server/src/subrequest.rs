//! Requests that modules make on behalf of another request.

use std::rc::Rc;

use foregate_core::{
    BoxFuture, Exchange, Fetched, Method, REDIRECTS_MAX, SUBREQUESTS_DEPTH_MAX, Subrequests,
};

use crate::cycle::Local;
use crate::phases;

/// The way up for modules: the cycle that the parent is served under.
pub(crate) struct Up<'a>(pub(crate) &'a Local);

impl Subrequests for Up<'_> {
    fn fetch<'a>(&'a self, parent: &'a mut Exchange, uri: &[u8], args: &[u8]) -> BoxFuture<'a, Fetched> {
        let mut ex = child(parent, uri, args);
        Box::pin(async move {
            let reply = match ex.subrequest_depth <= SUBREQUESTS_DEPTH_MAX {
                true => phases::serve_inside(self.0, &mut ex).await,
                false => None,
            };
            parent.slots = std::mem::take(&mut ex.slots);
            Fetched { reply, ex }
        })
    }
}

/// A GET for another URI with all that the parent knows; made variables are shared with it.
fn child(parent: &mut Exchange, uri: &[u8], args: &[u8]) -> Exchange {
    let mut ex = Exchange {
        conn: parent.conn.clone(),
        client: parent.client.clone(),
        cycle: Rc::clone(&parent.cycle),
        server: parent.server,
        location: parent.location,
        method: Method::Get,
        method_name: b"GET".to_vec(),
        line: parent.line.clone(),
        target: parent.target.clone(),
        version: parent.version,
        fields: parent.fields.clone(),
        host: parent.host.clone(),
        host_port: parent.host_port,
        head_bytes: parent.head_bytes,
        body: Default::default(),
        uri: uri.to_vec(),
        args: args.to_vec(),
        matched_prefix: 0,
        target_holds: false,
        uri_changed: false,
        location_holds: true,
        internal: true,
        redirects_left: REDIRECTS_MAX,
        error_page: false,
        status_override: None,
        subrequest_depth: parent.subrequest_depth + 1,
        header_only: false,
        remote: parent.remote.clone(),
        started: parent.started,
        started_unix_ms: parent.started_unix_ms,
        limit_rate: None,
        limit_rate_after: None,
        keepalive: parent.keepalive,
        sent: Default::default(),
        captures: parent.captures.clone(),
        slots: std::mem::take(&mut parent.slots),
        variable_depth: 0,
        notes: Default::default(),
    };
    ex.body.length = None;
    ex
}
