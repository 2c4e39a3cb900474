//! The life of one request, from top to bottom.
//!
//! Every module that acts on a request is called here, in the order in which it acts. Nothing else decides
//! that order: no registration, no priority number, no order of declaration.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Entry, Exchange, Flow, Level, REDIRECTS_MAX, Reply, Stop, Unadorned, log};
use foregate_modules::{
    Settings, access, acme, api, auth_basic, auth_jwt, auth_oidc, auth_request, auth_require, brotli_static,
    dav, empty_gif, encoding,
    encoding::{Coding, Offers},
    errors, fastcgi, files, flv, grpc, gzip_static, https_redirect, limit_conn, limit_req, mirror,
    post_action, proxy, realip, rewrite, satisfy, shield, ssl, status_zone, stub_status, zstd_static,
};

use crate::cycle::Local;
use crate::witness::{Unwatched, Witness};
use crate::{filters, route, special};

/// Where a round through the phases begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The client's own request.
    PostRead,
    /// An internal redirect: the server's rewrites run again.
    ServerRewrite,
    /// A named location: it is known already.
    LocationRewrite,
    /// The same request once more, where its location is known to answer it.
    Content,
}

/// How a round through the phases ended.
enum Turn {
    /// There is an answer, and no page in its place.
    Answered,
    /// There is one that somebody else completes.
    Unadorned,
    /// Once more, from here.
    Again(Begin),
    /// Close without an answer.
    Close,
}

/// Takes a request through the phases and its answer through the header filters. `false`: close without an answer.
pub(crate) fn serve(local: &Local, ex: &mut Exchange, reply: &mut Reply) -> impl Future<Output = bool> {
    serve_watched(Unwatched, local, ex, reply)
}

/// As [`serve`], with somebody who hears of everything.
pub(crate) fn serve_watched<W: Witness>(
    witness: W,
    local: &Local,
    ex: &mut Exchange,
    reply: &mut Reply,
) -> impl Future<Output = bool> {
    ex.redirects_left = REDIRECTS_MAX;
    rounds(witness, local, ex, reply, Turn::Again(Begin::PostRead))
}

/// As [`serve`], for a request that another one makes.
pub(crate) async fn serve_inside(local: &Local, ex: &mut Exchange, reply: &mut Reply, entry: Entry) -> bool {
    serve_inside_watched(Unwatched, local, ex, reply, entry).await
}

/// As [`serve_inside`], with somebody who hears of everything.
pub(crate) async fn serve_inside_watched<W: Witness>(
    witness: W,
    local: &Local,
    ex: &mut Exchange,
    reply: &mut Reply,
    entry: Entry,
) -> bool {
    let begin = match entry {
        Entry::Server => Begin::ServerRewrite,
        Entry::Content => Begin::Content,
    };
    rounds(witness, local, ex, reply, Turn::Again(begin)).await
}

/// What a location asks for once the client has its answer (`post_action`). Its own answer is nobody's.
pub(crate) async fn after_answer(local: &Local, ex: &mut Exchange) {
    let status = ex.sent.status;
    ex.header_only = true;
    ex.body.source = None;
    while let Some(to) = &on(local, ex).post_action
        && ex.redirects_left > 1
    {
        ex.body.length = ex.body.length.filter(|_| ex.body.exists());
        ex.status_override = None;
        let stop = match &**to {
            post_action::Settings::Uri(uri) => Stop::Redirect { uri: uri.to_vec(), args: Vec::new() },
            post_action::Settings::Named(name) => Stop::Named(name.to_vec()),
        };
        let mut reply = Reply::default();
        let turn = follow(local, ex, &mut reply, stop);
        rounds(Unwatched, local, ex, &mut reply, turn).await;
        ex.sent.status = status;
    }
}

/// The answer to a request that ends with an error before its phases: its page and the header filters.
pub(crate) async fn answer(local: &Local, ex: &mut Exchange, reply: &mut Reply, status: u16) -> bool {
    answer_watched(Unwatched, local, ex, reply, status).await
}

/// As [`answer`], with somebody who hears of everything.
pub(crate) async fn answer_watched<W: Witness>(
    witness: W,
    local: &Local,
    ex: &mut Exchange,
    reply: &mut Reply,
    status: u16,
) -> bool {
    ex.redirects_left = REDIRECTS_MAX;
    let turn = conclude(witness, local, ex, reply, Break(Stop::status(status)));
    rounds(witness, local, ex, reply, turn).await
}

/// Goes through the phases, once more for each error page and redirect inside, until there is an answer.
///
/// What does not wait is called here and not awaited, and what rarely waits is boxed: the future of every exchange
/// has room for the content alone.
async fn rounds<W: Witness>(
    witness: W,
    local: &Local,
    ex: &mut Exchange,
    reply: &mut Reply,
    mut turn: Turn,
) -> bool {
    loop {
        let begin = match turn {
            Turn::Again(begin) => begin,
            Turn::Answered => return finish(local, ex, reply).await,
            Turn::Unadorned => return true,
            Turn::Close => return false,
        };
        if let (Begin::PostRead, Some(on)) = (begin, &on(local, ex).ssl)
            && ssl::is_to_ask(on, ex)
        {
            Box::pin(ssl::ask(on, ex)).await;
        }
        let mut flow = find_place(witness, local, ex, begin);
        let here = on(local, ex);
        if flow.is_continue() && begin != Begin::Content {
            if is_guarded(here) {
                flow = Box::pin(guard(here, ex)).await;
            }
            if flow.is_continue() {
                flow = precontent_phase(here, ex);
            }
            if let (true, Some(on)) = (flow.is_continue() && W::SENDS, &here.mirror) {
                flow = Box::pin(mirror::run(on, ex)).await;
            }
        }
        let content = match (flow, &here.proxy) {
            (Break(stop), _) => Break(stop),
            (Continue(()), None)
                if let Some(on) = here.fastcgi.as_ref().and_then(|it| it.passing.as_ref()) =>
            {
                match W::SENDS {
                    true => Box::pin(fastcgi::run(on, here.fastcgi_cache.as_deref(), ex)).await,
                    false => witness.pass(fastcgi::preview(on, here.fastcgi_cache.as_deref(), ex), ex),
                }
            }
            (Continue(()), None) if let Some(on) = &here.grpc => match W::SENDS {
                true => Box::pin(grpc::run(on, ex)).await,
                false => witness.pass(grpc::preview(on, ex), ex),
            },
            (Continue(()), Some(on)) if W::SENDS => match &here.proxy_cache {
                Some(cache) => match proxy::cached_now(on, cache, ex) {
                    Some(reply) => Continue(reply),
                    None => Box::pin(proxy::run_cached(on, cache, ex)).await,
                },
                None => proxy::run(on, ex).await,
            },
            (Continue(()), Some(on)) => witness.pass(proxy::preview(on, here.proxy_cache.as_deref(), ex), ex),
            (Continue(()), None)
                if let Some(on) =
                    here.api.as_ref().filter(|_| W::SENDS || ex.method == foregate_core::Method::Get) =>
            {
                Box::pin(api::serve(on, ex)).await
            }
            (Continue(()), None) => match here.dav.as_ref().filter(|it| it.takes(ex.method)) {
                Some(_) if !is_handled(here) && !W::SENDS => witness.change(ex),
                Some(on) if !is_handled(here) => Box::pin(dav::serve(on, ex)).await,
                _ => content_phase(here, ex),
            },
        };
        turn = conclude(witness, local, ex, reply, content);
    }
}

/// What becomes of what a round has brought: an answer, or an error page or a redirect inside to follow.
fn conclude<W: Witness>(
    witness: W,
    local: &Local,
    ex: &mut Exchange,
    reply: &mut Reply,
    content: Flow<Reply>,
) -> Turn {
    witness.brought(ex, &content);
    match content {
        Continue(it) => *reply = it,
        Break(Stop::Reply(it)) => *reply = *it,
        Break(stop) => return follow(local, ex, reply, stop),
    }
    if reply.bare && special::has_no_answer(reply.status) {
        ex.sent.status = reply.status;
        return Turn::Close;
    }
    if ex.subrequest_depth > 0 && reply.bare && ex.notes.get::<Unadorned>().is_some() {
        return Turn::Unadorned;
    }
    match error_page(local, ex, reply) {
        Some(instead) => {
            witness.has_page(ex, reply.status, &instead);
            follow(local, ex, reply, instead)
        }
        None => Turn::Answered,
    }
}

/// Goes where a round, or the page of its error, leads.
fn follow(local: &Local, ex: &mut Exchange, reply: &mut Reply, stop: Stop) -> Turn {
    let next = match stop {
        Stop::Redirect { uri, args } => redirect(ex, uri, args),
        Stop::Named(name) => named(local, ex, &name),
        Stop::Reply(it) => Err(it),
        Stop::Close => {
            ex.sent.status = special::CLOSED;
            return Turn::Close;
        }
    };
    match next {
        Ok(begin) => Turn::Again(begin),
        Err(it) => {
            *reply = *it;
            Turn::Answered
        }
    }
}

/// Everything until the location is known for good.
fn find_place<W: Witness>(witness: W, local: &Local, ex: &mut Exchange, begin: Begin) -> Flow {
    witness.begins(ex, begin);
    if begin == Begin::Content {
        return Continue(());
    }
    if begin == Begin::PostRead {
        post_read_phase(local, ex)?;
    }
    if begin != Begin::LocationRewrite {
        server_rewrite_phase(witness, local, ex)?;
        find_location(witness, local, ex)?;
    }
    // Ahead of the rewrites: those of the location are not for the methods that it limits.
    route::limit_except(local, ex);
    while rewrite_phase(witness, local, ex)? {
        find_location(witness, local, ex)?;
        route::limit_except(local, ex);
    }
    Continue(())
}

fn find_location<W: Witness>(witness: W, local: &Local, ex: &mut Exchange) -> Flow {
    let flow = route::find_location(local, ex);
    witness.located(ex);
    flow
}

/// Whether anything may stand between the location and its content.
fn is_guarded(on: &Settings) -> bool {
    on.realip.is_some()
        || on.shield.as_deref().is_some_and(shield::has_own)
        || on.limit_req.is_some()
        || on.limit_conn.is_some()
        || on.access.is_some()
        || on.auth_basic.is_some()
        || on.auth_request.is_some()
        || on.auth_jwt.is_some()
        || on.auth_oidc.is_some()
        || on.auth_require.is_some()
}

/// What may refuse a request or hold it up.
async fn guard(on: &Settings, ex: &mut Exchange) -> Flow {
    preaccess_phase(on, ex).await?;
    access_phase(on, ex).await
}

/// The settings of the place that the exchange is in now.
fn on<'a>(local: &'a Local, ex: &Exchange) -> &'a Settings {
    local.cycle.settings(ex.location)
}

fn post_read_phase(local: &Local, ex: &mut Exchange) -> Flow {
    if let Some(on) = &on(local, ex).status_zone {
        status_zone::begin(on, ex);
    }
    if let Some(reply) = acme::challenge(ex) {
        return Break(reply.into());
    }
    let on = on(local, ex);
    if on.https_redirect.is_some() {
        let is_named = route::is_named(local, ex);
        https_redirect::check(ex, is_named, &local.cycle.server(ex.server).name)?;
    }
    if let Some(on) = &on.ssl {
        ssl::check(on, ex)?;
    }
    if let Some(on) = &on.realip {
        realip::apply(on, ex);
    }
    if let Some(on) = &on.shield {
        shield::check(on, ex)?;
    }
    Continue(())
}

fn server_rewrite_phase<W: Witness>(witness: W, local: &Local, ex: &mut Exchange) -> Flow {
    ex.location = local.cycle.server(ex.server).place;
    if let Some(on) = &on(local, ex).rewrite {
        witness.rewrite(on, ex)?;
    }
    Continue(())
}

/// `true`: the URI has changed, and the location must be looked for again.
fn rewrite_phase<W: Witness>(witness: W, local: &Local, ex: &mut Exchange) -> Flow<bool> {
    if ex.location == local.cycle.server(ex.server).place {
        return Continue(false);
    }
    if let Some(on) = &on(local, ex).rewrite {
        witness.rewrite(on, ex)?;
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
    if let Some(on) = on.shield.as_deref().filter(|it| shield::has_own(it)) {
        shield::check(on, ex)?;
    }
    if let Some(on) = &on.limit_req {
        limit_req::check(on, ex).await?;
    }
    if let Some(on) = &on.limit_conn {
        limit_conn::check(on, ex)?;
    }
    Continue(())
}

async fn access_phase(on: &Settings, ex: &mut Exchange) -> Flow {
    // Subrequests were allowed with their parent.
    if ex.subrequest_depth > 0 {
        return Continue(());
    }
    let mut verdict = satisfy::Verdict::new(on.satisfy.as_deref());
    if let Some(on) = &on.access {
        let logs = !verdict.any();
        verdict.hear(access::check(on, ex, logs));
    }
    if let Some(on) = on.auth_basic.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_basic::check(on, ex).await);
    }
    if let Some(on) = on.auth_request.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_request::check(on, ex).await);
    }
    if let Some(on) = on.auth_jwt.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_jwt::check(on, ex).await);
    }
    if let Some(on) = on.auth_oidc.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_oidc::check(on, ex).await);
    }
    if let Some(on) = on.auth_require.as_ref().filter(|_| verdict.open()) {
        verdict.hear(auth_require::check(on, ex));
    }
    verdict.end(ex).await
}

/// Ahead of the mirror, which alone may have to wait.
fn precontent_phase(on: &Settings, ex: &mut Exchange) -> Flow {
    match &on.files {
        Some(on) => files::try_files(on, ex),
        None => Continue(()),
    }
}

/// Whether a place has a handler of its own for all its content.
fn is_handled(on: &Settings) -> bool {
    on.api.is_some() || on.stub_status.is_some() || on.empty_gif.is_some() || on.flv.is_some()
}

/// The content of a place that passes nothing on.
fn content_phase(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if rewrite::Unhandled::holds(ex) {
        log!(ex, Level::Alert, "no upstream configuration");
        return Break(Stop::status(500));
    }
    if let Some(on) = &on.stub_status {
        return stub_status::serve(on, ex);
    }
    if let Some(on) = &on.empty_gif {
        return empty_gif::serve(on, ex);
    }
    if let Some(video) = &on.flv {
        return flv_file(video, on, ex);
    }
    if let Some(reply) = packed_file(on, ex) {
        return Continue(reply);
    }
    match &on.files {
        Some(on) => files::serve(on, ex),
        None => Break(Stop::status(404)),
    }
}

/// A video, which need not be sent from its beginning.
fn flv_file(video: &flv::Settings, on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    let Some(files) = on.files.as_ref().filter(|_| flv::takes(video, ex)) else {
        return Break(Stop::status(405));
    };
    let mut reply = files::serve(files, ex)?;
    flv::cut(video, ex, &mut reply);
    Continue(reply)
}

/// The packed file beside the one that is asked for, in the coding that the client likes best of those there are.
fn packed_file(on: &Settings, ex: &mut Exchange) -> Option<Reply> {
    let zstd = on.zstd_static.as_ref().filter(|it| it.fits(ex)).map(|it| it.always);
    let brotli = on.brotli_static.as_ref().filter(|it| it.fits(ex)).map(|it| it.always);
    let gzip = on.gzip_static.as_ref().filter(|it| it.fits(ex)).map(|it| it.always);
    let offers = Offers { zstd: zstd.is_some(), brotli: brotli.is_some(), gzip: gzip.is_some() };
    if !offers.any() {
        return None;
    }
    let ranked = encoding::rank(on.encoding.as_deref(), ex, &Reply::default(), offers);
    let of = |coding| match coding {
        Coding::Zstd => (zstd, zstd_static::SUFFIX),
        Coding::Brotli => (brotli, brotli_static::SUFFIX),
        Coding::Gzip => (gzip, gzip_static::SUFFIX),
    };
    // Those that the client does not take come last: some are for everybody, of others caches are to be told.
    let others =
        [Coding::Zstd, Coding::Brotli, Coding::Gzip].into_iter().filter(|it| !ranked.contains(&Some(*it)));
    for coding in ranked.into_iter().flatten().chain(others) {
        let (Some(always), suffix) = of(coding) else { continue };
        let takes = always || ranked.contains(&Some(coding));
        if !takes && !encoding::tells(on.encoding.as_deref()) {
            continue;
        }
        let Some(mut reply) = files::serve_beside(on.files.as_ref()?, ex, suffix) else { continue };
        if !always {
            ex.notes.put(encoding::Varies);
        }
        if takes {
            reply.fields.push(b"Content-Encoding", coding.name());
            return Some(reply);
        }
    }
    None
}

/// `Some`: the error has a page, which is to be served instead.
fn error_page(local: &Local, ex: &mut Exchange, reply: &Reply) -> Option<Stop> {
    if !(reply.bare || reply.interceptable) || reply.status < 300 {
        return None;
    }
    if special::breaks_keepalive(reply.status) {
        ex.keepalive = false;
    }
    if let Some(pages) = &on(local, ex).errors
        && let Some(stop) = errors::page(pages, ex, reply)
    {
        special::keep_fields(ex, reply);
        return Some(stop);
    }
    if reply.bare {
        ex.status_override = None;
    }
    None
}

/// The last steps of every answer: its page, its type, the header filters. `false`: close without an answer.
async fn finish(local: &Local, ex: &mut Exchange, reply: &mut Reply) -> bool {
    let on = on(local, ex);
    if let Some(status) = ex.status_override.take() {
        reply.status = status;
        reply.reason = None;
    }
    if reply.bare {
        special::fill(on, ex, reply);
    }
    let status = reply.status;
    let done = filters::header_filters(on, ex, reply).await.is_some();
    if !done {
        ex.sent.status = status;
    }
    done
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
