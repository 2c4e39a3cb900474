//! The life of one request, from top to bottom.
//!
//! Every module that acts on a request is called here, in the order in which it acts. Nothing else decides
//! that order: no registration, no priority number, no order of declaration.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Exchange, Flow, Level, REDIRECTS_MAX, Reply, Stop, log};
use foregate_modules::{
    Settings, access, auth_basic, auth_request, empty_gif, encoding, errors, files, gzip_static, limit_conn,
    limit_req, proxy, realip, rewrite, satisfy, ssl, stub_status,
};

use crate::cycle::Local;
use crate::subrequest::Up;
use crate::{filters, route, special};

/// Where a round through the phases begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// The client's own request.
    PostRead,
    /// An internal redirect: the server's rewrites run again.
    ServerRewrite,
    /// A named location: it is known already.
    LocationRewrite,
}

/// Takes a request through the phases and its answer through the header filters. `None`: close without an answer.
pub(crate) async fn serve(local: &Local, ex: &mut Exchange) -> Option<Reply> {
    ex.redirects_left = REDIRECTS_MAX;
    let stop = match phases(local, ex, Begin::PostRead).await {
        Continue(reply) => reply.into(),
        Break(stop) => stop,
    };
    conclude(local, ex, stop).await
}

/// As [`serve`], for a request that another one makes.
pub(crate) async fn serve_inside(local: &Local, ex: &mut Exchange) -> Option<Reply> {
    let stop = match phases(local, ex, Begin::ServerRewrite).await {
        Continue(reply) => reply.into(),
        Break(stop) => stop,
    };
    conclude(local, ex, stop).await
}

/// Follows error pages and redirects inside, until there is an answer.
async fn conclude(local: &Local, ex: &mut Exchange, mut stop: Stop) -> Option<Reply> {
    loop {
        if let Stop::Reply(reply) = stop {
            if reply.bare && special::has_no_answer(reply.status) {
                ex.sent.status = reply.status;
                return None;
            }
            match error_page(local, ex, *reply) {
                Ok(reply) => return Some(finish(local, ex, reply).await),
                Err(instead) => stop = instead,
            }
        }
        let next = match stop {
            Stop::Redirect { uri, args } => redirect(ex, uri, args),
            Stop::Named(name) => named(local, ex, &name),
            Stop::Reply(reply) => Err(reply),
            Stop::Close => {
                ex.sent.status = special::CLOSED;
                return None;
            }
        };
        let begin = match next {
            Ok(begin) => begin,
            Err(reply) => return Some(finish(local, ex, *reply).await),
        };
        stop = match phases(local, ex, begin).await {
            Continue(reply) => reply.into(),
            Break(stop) => stop,
        };
    }
}

/// The answer to a request that ends with an error before its phases: its page and the header filters.
pub(crate) async fn answer(local: &Local, ex: &mut Exchange, status: u16) -> Option<Reply> {
    ex.redirects_left = REDIRECTS_MAX;
    conclude(local, ex, Stop::status(status)).await
}

/// What the content phase answered, or why the phases ended before it.
async fn phases(local: &Local, ex: &mut Exchange, begin: Begin) -> Flow<Reply> {
    if begin == Begin::PostRead {
        post_read_phase(on(local, ex), ex)?;
    }
    if begin != Begin::LocationRewrite {
        server_rewrite_phase(local, ex)?;
        route::find_location(local, ex)?;
    }
    while rewrite_phase(local, ex)? {
        route::find_location(local, ex)?;
    }
    route::limit_except(local, ex);
    let on = on(local, ex);
    preaccess_phase(on, ex).await?;
    access_phase(local, on, ex).await?;
    precontent_phase(on, ex)?;
    content_phase(on, ex).await
}

/// The settings of the place that the exchange is in now.
fn on<'a>(local: &'a Local, ex: &Exchange) -> &'a Settings {
    local.cycle.settings(ex.location)
}

fn post_read_phase(on: &Settings, ex: &mut Exchange) -> Flow {
    if let Some(on) = &on.ssl {
        ssl::check(on, ex)?;
    }
    if let Some(on) = &on.realip {
        realip::apply(on, ex);
    }
    Continue(())
}

fn server_rewrite_phase(local: &Local, ex: &mut Exchange) -> Flow {
    ex.location = local.cycle.server(ex.server).place;
    if let Some(on) = &on(local, ex).rewrite {
        rewrite::run(on, ex)?;
    }
    Continue(())
}

/// `true`: the URI has changed, and the location must be looked for again.
fn rewrite_phase(local: &Local, ex: &mut Exchange) -> Flow<bool> {
    if ex.location == local.cycle.server(ex.server).place {
        return Continue(false);
    }
    if let Some(on) = &on(local, ex).rewrite {
        rewrite::run(on, ex)?;
    }
    if !ex.uri_changed {
        return Continue(false);
    }
    if !spend_redirect(ex) {
        let uri = String::from_utf8_lossy(&ex.uri);
        log!(ex, Level::Error, "rewrite or internal redirection cycle while processing \"{uri}\"");
        return Break(Stop::status(500));
    }
    Continue(true)
}

async fn preaccess_phase(on: &Settings, ex: &mut Exchange) -> Flow {
    if let Some(on) = &on.realip {
        realip::apply(on, ex);
    }
    if let Some(on) = &on.limit_req {
        limit_req::check(on, ex).await?;
    }
    if let Some(on) = &on.limit_conn {
        limit_conn::check(on, ex)?;
    }
    Continue(())
}

async fn access_phase(local: &Local, on: &Settings, ex: &mut Exchange) -> Flow {
    // Subrequests were allowed with their parent.
    if ex.subrequest_depth > 0 {
        return Continue(());
    }
    let mut verdict = satisfy::Verdict::new(on.satisfy.as_ref());
    if let Some(on) = &on.access {
        let logs = !verdict.any();
        verdict.hear(access::check(on, ex, logs));
    }
    if let Some(on) = on.auth_basic.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_basic::check(on, ex).await);
    }
    if let Some(on) = on.auth_request.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_request::check(on, ex, &Up(local)).await);
    }
    verdict.end(ex).await
}

fn precontent_phase(on: &Settings, ex: &mut Exchange) -> Flow {
    if let Some(on) = &on.files {
        files::try_files(on, ex)?;
    }
    Continue(())
}

async fn content_phase(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if let Some(on) = &on.proxy {
        return proxy::run(on, ex).await;
    }
    if let Some(on) = &on.stub_status {
        return stub_status::serve(on, ex);
    }
    if let Some(on) = &on.empty_gif {
        return empty_gif::serve(on, ex);
    }
    if let Some(reply) = packed_file(on, ex) {
        return Continue(reply);
    }
    match &on.files {
        Some(on) => files::serve(on, ex),
        None => Break(Stop::status(404)),
    }
}

/// The packed file beside the one that is asked for, where the client takes it.
fn packed_file(on: &Settings, ex: &mut Exchange) -> Option<Reply> {
    let packed = on.gzip_static.as_ref().filter(|it| gzip_static::fits(it, ex))?;
    let takes = packed.always || encoding::accepts_gzip(on.encoding.as_ref(), ex, &Reply::default());
    if !takes && !encoding::tells(on.encoding.as_ref()) {
        return None;
    }
    let mut reply = files::serve_beside(on.files.as_ref()?, ex, gzip_static::SUFFIX)?;
    if !packed.always {
        ex.notes.put(encoding::Varies);
    }
    reply.fields.push(b"Content-Encoding", b"gzip");
    takes.then_some(reply)
}

/// `Err`: the error has a page, which is to be served instead.
fn error_page(local: &Local, ex: &mut Exchange, reply: Reply) -> Result<Reply, Stop> {
    let on = on(local, ex);
    if !(reply.bare || reply.interceptable) || reply.status < 300 {
        return Ok(reply);
    }
    if special::breaks_keepalive(reply.status) {
        ex.keepalive = false;
    }
    if let Some(pages) = &on.errors
        && let Some(stop) = errors::page(pages, ex, &reply)
    {
        special::keep_fields(ex, &reply);
        return Err(stop);
    }
    if reply.bare {
        ex.status_override = None;
    }
    Ok(reply)
}

/// The last steps of every answer: its page, its type, the header filters.
async fn finish(local: &Local, ex: &mut Exchange, mut reply: Reply) -> Reply {
    let on = on(local, ex);
    if let Some(status) = ex.status_override.take() {
        reply.status = status;
        reply.reason = None;
    }
    if reply.bare {
        special::fill(on, ex, &mut reply);
    }
    filters::header_filters(local, on, ex, &mut reply).await;
    reply
}

/// `Err`: a circle, which ends in a bare 500 that no `error_page` prolongs.
fn redirect(ex: &mut Exchange, uri: Vec<u8>, args: Vec<u8>) -> Result<Begin, Box<Reply>> {
    if !spend_redirect(ex) {
        let to = String::from_utf8_lossy(&uri);
        log!(
            ex,
            Level::Error,
            "rewrite or internal redirection cycle while internally redirecting to \"{to}\""
        );
        return Err(circled(ex));
    }
    ex.uri = uri;
    ex.args = args;
    ex.internal = true;
    ex.target_holds = false;
    Ok(Begin::ServerRewrite)
}

fn named(local: &Local, ex: &mut Exchange, name: &[u8]) -> Result<Begin, Box<Reply>> {
    let text = String::from_utf8_lossy(name);
    if !spend_redirect(ex) {
        log!(
            ex,
            Level::Error,
            "rewrite or internal redirection cycle while redirect to named location \"@{text}\""
        );
        return Err(circled(ex));
    }
    let Some(place) = local.cycle.server(ex.server).locations.named.get(name) else {
        log!(ex, Level::Error, "could not find named location \"@{text}\"");
        return Err(circled(ex));
    };
    ex.internal = true;
    ex.uri_changed = false;
    ex.location_holds = true;
    ex.location = *place;
    ex.matched_prefix = 0;
    Ok(Begin::LocationRewrite)
}

fn circled(ex: &mut Exchange) -> Box<Reply> {
    ex.status_override = None;
    ex.keepalive = false;
    Box::new(Reply::status(500))
}

fn spend_redirect(ex: &mut Exchange) -> bool {
    ex.redirects_left = ex.redirects_left.saturating_sub(1);
    ex.redirects_left > 0
}
