//! From an exchange to the request that its upstream sees, and back.

use std::rc::Rc;

use foregate_core::{Exchange, Flow, Level, Method, Reply, Stop, log};
use foregate_upstream::{AskedFor, Caching, Frames, Handshake, Looked, Preview, Protocol, Route, Secure, View, Whom, foretell};
use foregate_wire::h1::{ResponseError, ResponseHead, ResponseRules, parse_response};
use foregate_wire::uri::{Escape, escape};
use foregate_wire::Fields;
use foregate_wire::h2::client::Draft;

use super::headers::{Length, To};
use super::pass::{self, Pass, Url};
use super::settings::Settings;

pub(super) async fn run(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    let evaluated;
    let (url, view) = match &on.pass {
        Pass::To { group, url } => (url, View::of(group)),
        Pass::By(template) => match Box::pin(pass::evaluate(template, ex)).await {
            Ok((url, view)) => {
                evaluated = url;
                (&*evaluated, view)
            }
            Err(stop) => return Flow::Break(stop),
        },
    };
    if needs_body(on, ex)
        && let Err(error) = Box::pin(ex.read_body()).await
    {
        return Flow::Break(Stop::status(error.status()));
    }
    let handshake = match handshake(on, url, ex) {
        Ok(handshake) => handshake,
        Err(stop) => return Flow::Break(stop),
    };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let mut http = Http::new(on, url);
    let route = Route { view, secure };
    match on.is_http_2 {
        false => foregate_upstream::run(&on.rules, route, &mut http, ex, None).await,
        // Boxed, so that requests by HTTP/1 hold no room for it.
        true => Box::pin(foregate_upstream::run(&on.rules, route, &mut Framed(http), ex, None)).await,
    }
}

/// What the cache has in memory, without waiting. `None`: `run_cached` is to be asked.
pub(super) fn cached_now(on: &Settings, cache: &Caching, ex: &mut Exchange) -> Option<Reply> {
    let Pass::To { url, .. } = &on.pass else { return None };
    foregate_upstream::hit(cache, &on.rules, &Http::new(on, url), ex)
}

/// As `run`, by way of a cache. Apart from it, so that requests without a cache hold no room for one.
pub(super) async fn run_cached(on: &Settings, cache: &Caching, ex: &mut Exchange) -> Flow<Reply> {
    let evaluated;
    let (url, view) = match &on.pass {
        Pass::To { group, url } => (url, View::of(group)),
        Pass::By(template) => match pass::evaluate(template, ex).await {
            Ok((url, view)) => {
                evaluated = url;
                (&*evaluated, view)
            }
            Err(stop) => return Flow::Break(stop),
        },
    };
    let mut http = Http::new(on, url);
    let fetch = match foregate_upstream::look(cache, &on.rules, &mut http, ex).await {
        Looked::Answer(flow) => return flow,
        Looked::Fetch(fetch) => fetch,
    };
    if needs_body(on, ex)
        && let Err(error) = ex.read_body().await
    {
        return Flow::Break(Stop::status(error.status()));
    }
    let handshake = match handshake(on, url, ex) {
        Ok(handshake) => handshake,
        Err(stop) => return Flow::Break(stop),
    };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let apart = fetch.as_ref().is_some_and(|it| it.is_apart());
    let route = Route { view, secure };
    let flow = match on.is_http_2 {
        false => foregate_upstream::run(&on.rules, route, &mut http, ex, fetch).await,
        true => Box::pin(foregate_upstream::run(&on.rules, route, &mut Framed(http), ex, fetch)).await,
    };
    if apart { foregate_upstream::swallow(flow).await } else { flow }
}

/// A body of unknown length can only be passed on as it comes to a peer that understands chunks.
fn needs_body(on: &Settings, ex: &Exchange) -> bool {
    let needs_length = on.body.is_some() || (on.is_http_10 && ex.body.length.is_none());
    needs_length && ex.body.source.is_some()
}

pub(super) fn handshake<'a>(on: &'a Settings, url: &Url, ex: &mut Exchange) -> Result<Option<Handshake<'a>>, Stop> {
    on.tls.as_ref().filter(|_| url.secure).map(|tls| tls.prepare(&url.host, ex)).transpose()
}

/// As [`run`], without asking anybody.
///
/// # Errors
/// The answer where nobody can be asked.
pub fn preview(on: &Settings, cache: Option<&Caching>, ex: &mut Exchange) -> Result<Preview, Stop> {
    let evaluated;
    let (url, group) = match &on.pass {
        Pass::To { group, url } => (url, Some(group.clone())),
        Pass::By(template) => {
            let (url, address) = pass::fill(template, ex)?;
            let resolves = crate::settings(&*ex.cycle, ex.location).resolver.is_some();
            let group = Whom::of(&address, resolves, ex)?.group();
            evaluated = url;
            (&*evaluated, group)
        }
    };
    let mut http = Http::new(on, url);
    let cache = cache.map(|it| foretell(it, &http, ex)).transpose()?.flatten();
    let mut head = Vec::new();
    http.begin(ex, None, &mut head)?;
    let (scheme, host) = (url.scheme.to_string(), url.host_header.to_string());
    Ok(Preview { scheme, host, uri: http.uri(ex), head, group, cache })
}

/// One request to an HTTP/1 server.
pub(super) struct Http<'a> {
    on: &'a Settings,
    url: &'a Url,
    by_variables: bool,
    /// Its response has no body.
    head: bool,
}

impl<'a> Http<'a> {
    pub(super) fn new(on: &'a Settings, url: &'a Url) -> Self {
        Self { on, url, by_variables: matches!(on.pass, Pass::By(_)), head: false }
    }

    /// The target: the request's own, or with the location's prefix replaced by the URI of `proxy_pass`.
    fn target(&self, ex: &Exchange, out: &mut Vec<u8>) {
        let uri = self.url.uri.as_bytes();
        if self.by_variables && !uri.is_empty() {
            out.extend_from_slice(uri);
            return;
        }
        if uri.is_empty() && ex.target_holds {
            out.extend_from_slice(&ex.target);
            return;
        }
        let covered = match ex.location_holds && !uri.is_empty() {
            true => self.on.location.len().min(ex.uri.len()),
            false => 0,
        };
        if ex.location_holds {
            out.extend_from_slice(uri);
        }
        let rest = &ex.uri[covered..];
        match ex.internal || is_quoted(&ex.target) {
            true => escape(rest, Escape::Uri, out),
            false => out.extend_from_slice(rest),
        }
        if !ex.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&ex.args);
        }
    }

    fn method(&mut self, ex: &mut Exchange, asked: Option<&AskedFor>, out: &mut Vec<u8>) {
        let start = out.len();
        if asked.is_some_and(|it| it.as_get) {
            out.extend_from_slice(b"GET");
            return;
        }
        match &self.on.method {
            Some(method) => {
                method.fill(ex, out);
                self.head = out[start..].eq_ignore_ascii_case(b"HEAD");
            }
            None => {
                out.extend_from_slice(&ex.method_name);
                self.head = ex.method == Method::Head;
            }
        }
    }

    fn length(&self, ex: &Exchange) -> Length {
        match ex.body.length {
            Some(length) => Length::Bytes(length),
            None if ex.body.source.is_some() && self.on.rules.pass_request_body => Length::Chunked,
            None => Length::Unsaid,
        }
    }
}

/// Whether the path was sent with anything escaped.
fn is_quoted(target: &[u8]) -> bool {
    target.iter().take_while(|byte| **byte != b'?').any(|byte| *byte == b'%')
}

impl Protocol for Http<'_> {
    fn begin(&mut self, ex: &mut Exchange, asked: Option<&AskedFor>, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.method(ex, asked, out);
        out.push(b' ');
        let start = out.len();
        self.target(ex, out);
        if out.len() == start {
            log!(ex, Level::Error, "zero length URI to proxy");
            return Err(Stop::status(500));
        }
        out.extend_from_slice(if self.on.is_http_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
        let body = self.on.body.as_ref().map(|it| it.fill_new(ex));
        let length = body.as_ref().map_or_else(|| self.length(ex), |it| Length::Bytes(it.len() as u64));
        let to = To { host: &self.url.host_header, is_http_10: self.on.is_http_10, length, cached: asked };
        self.on.headers.write(ex, &to, out);
        out.extend_from_slice(&body.unwrap_or_default());
        Ok(())
    }

    fn frames(&self, ex: &Exchange) -> Frames {
        match self.length(ex) {
            _ if self.on.body.is_some() || !self.on.rules.pass_request_body => Frames::None,
            Length::Chunked => Frames::Chunked,
            _ => Frames::Raw,
        }
    }

    fn parse(&mut self, bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
        parse_response(bytes, &ResponseRules { head: self.head, ..ResponseRules::default() }, head)
    }

    fn rewrite(&self, ex: &mut Exchange, fields: &mut Fields) -> bool {
        if let Some(cookies) = &self.on.cookies {
            cookies.rewrite(ex, fields);
        }
        self.on.redirects.rewrite(ex, fields)
    }

    fn uri(&self, ex: &Exchange) -> Vec<u8> {
        let mut uri = Vec::new();
        self.target(ex, &mut uri);
        uri
    }

    fn scheme(&self) -> &str {
        &self.url.scheme
    }

    fn cache_key(&self, ex: &Exchange, out: &mut Vec<u8>) {
        out.extend_from_slice(self.url.scheme.as_bytes());
        out.extend_from_slice(self.url.host_header.as_bytes());
        self.target(ex, out);
    }

    fn may_upgrade(&self, ex: &Exchange) -> bool {
        ex.field(b"upgrade").is_some() && ex.subrequest_depth == 0
    }
}

/// One request to an HTTP/2 server: the same, but for how it is written.
pub(super) struct Framed<'a>(pub(super) Http<'a>);

impl Protocol for Framed<'_> {
    const H2: bool = true;

    fn begin(&mut self, ex: &mut Exchange, asked: Option<&AskedFor>, out: &mut Vec<u8>) -> Result<(), Stop> {
        let http = &mut self.0;
        let method = Draft::open(b":method", out);
        http.method(ex, asked, out);
        method.close(out);
        let scheme: &[u8] = if http.url.secure { b"https" } else { b"http" };
        Draft::field(b":scheme", scheme, out);
        let path = Draft::open(b":path", out);
        let start = out.len();
        http.target(ex, out);
        if out.len() == start {
            log!(ex, Level::Error, "zero length URI to proxy");
            return Err(Stop::status(500));
        }
        path.close(out);
        let body = http.on.body.as_ref().map(|it| it.fill_new(ex));
        let length = body.as_ref().map_or_else(|| http.length(ex), |it| Length::Bytes(it.len() as u64));
        let to = To { host: &http.url.host_header, is_http_10: false, length, cached: asked };
        http.on.headers.draft(ex, &to, out);
        Draft::end(out);
        out.extend_from_slice(&body.unwrap_or_default());
        Ok(())
    }

    fn frames(&self, ex: &Exchange) -> Frames {
        self.0.frames(ex)
    }

    fn parse(&mut self, bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
        self.0.parse(bytes, head)
    }

    fn rewrite(&self, ex: &mut Exchange, fields: &mut Fields) -> bool {
        self.0.rewrite(ex, fields)
    }

    fn uri(&self, ex: &Exchange) -> Vec<u8> {
        self.0.uri(ex)
    }

    fn scheme(&self) -> &str {
        self.0.scheme()
    }

    fn cache_key(&self, ex: &Exchange, out: &mut Vec<u8>) {
        self.0.cache_key(ex, out);
    }

    fn may_upgrade(&self, _: &Exchange) -> bool {
        false
    }
}

/// What `$proxy_host` and `$proxy_port` look at.
pub(super) fn url_of(on: &Settings, ex: &Exchange) -> Option<Rc<Url>> {
    match &on.pass {
        Pass::To { url, .. } => Some(Rc::new(url.clone())),
        Pass::By(_) => ex.notes.get::<pass::Evaluated>().map(|it| it.0.clone()),
    }
}
