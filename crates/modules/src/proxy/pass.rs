//! Where `proxy_pass` leads: known when the configuration is loaded, or made of variables for each request.

use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Error, Modifier, Word};
use foregate_core::{Compile, Exchange, Level, Stop, Template, log};
use foregate_upstream::{Address, Group, View, find, group_of};

use super::options::PassDraft;

/// A compiled `proxy_pass`.
pub(super) enum Pass {
    To { group: Arc<Group>, url: Url },
    By(Template),
}

/// What a URL says besides its address.
#[derive(Clone, Debug)]
pub(super) struct Url {
    /// With its `://`, as written.
    pub(super) scheme: Box<str>,
    pub(super) secure: bool,
    /// `$proxy_host`.
    pub(super) host_header: Box<str>,
    /// `$proxy_port`.
    pub(super) port: Box<str>,
    /// Empty where no URI was written.
    pub(super) uri: Box<str>,
    /// The host without its port: what certificates are checked for.
    pub(super) host: Box<str>,
}

/// Why a text is no URL of an upstream.
pub(super) enum BadUrl {
    Prefix,
    /// In nginx's words, and what is wrong with it.
    Address(&'static str, String),
}

impl Url {
    fn parse(text: &str) -> Result<(Self, Address), BadUrl> {
        let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
        let (length, port) = match () {
            () if starts("http://") => (7, 80),
            () if starts("https://") => (8, 443),
            () => return Err(BadUrl::Prefix),
        };
        let (scheme, rest) = text.split_at(length);
        let address = Address::parse(rest, port, true).map_err(|why| BadUrl::Address(why, rest.to_owned()))?;
        let port_text = if address.is_unix() { String::new() } else { address.port.to_string() };
        let url = Self {
            scheme: scheme.into(),
            secure: port == 443,
            host_header: address.host_header(port).into(),
            port: port_text.into(),
            uri: address.uri.as_str().into(),
            host: address.host.as_str().into(),
        };
        Ok((url, address))
    }
}

impl Pass {
    pub(super) fn compile(draft: &PassDraft, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let word = &draft.url;
        if word.contains('$') {
            return Ok(Self::By(cx.template(word)?));
        }
        let (url, address) = Url::parse(word).map_err(|why| match why {
            BadUrl::Prefix => Error::at(word.span, "invalid URL prefix")
                .advise("an upstream begins with http:// or https://"),
            BadUrl::Address(why, rest) => Error::at(word.span, format!("{why} in upstream \"{rest}\"")),
        })?;
        if !url.uri.is_empty() && (draft.nameless || prefix(cx.location.as_ref()).is_none()) {
            return Err(no_uri_here(word));
        }
        let group = group_of(word, &address, cx)?;
        Ok(Self::To { group, url })
    }
}

/// What a location's name takes from the front of a path; `None` for those that take nothing.
pub(super) fn prefix(location: Option<&(Modifier, Word)>) -> Option<&Word> {
    match location {
        Some((Modifier::Prefix | Modifier::Exact | Modifier::NoRegex, path)) => Some(path),
        _ => None,
    }
}

fn no_uri_here(word: &Word) -> Error {
    let what = "\"proxy_pass\" cannot have URI part in location given by regular expression, \
                or inside named location, or inside \"if\" statement, or inside \"limit_except\" block";
    let bare = word.text.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Error::at(word.span, what).advise(format!("leave the path out, the request's own is passed on: {bare}"))
}

/// What a URL made of variables came to, for `$proxy_host` and the request's head; a note.
pub(super) struct Evaluated(pub(super) Rc<Url>);

/// Makes the URL of this request and finds its peers.
pub(super) async fn evaluate(template: &Template, ex: &mut Exchange) -> Result<(Rc<Url>, Rc<View>), Stop> {
    let (url, address) = fill(template, ex)?;
    let cycle = ex.cycle.clone();
    let resolver = crate::settings(&*cycle, ex.location).resolver.as_ref().map(|it| &it.resolver);
    Ok((url, find(&address, resolver, ex).await?))
}

/// Makes the URL of this request.
pub(super) fn fill(template: &Template, ex: &mut Exchange) -> Result<(Rc<Url>, Address), Stop> {
    let text = template.fill_new(ex);
    let text = String::from_utf8_lossy(&text).into_owned();
    let (mut url, address) = match Url::parse(&text) {
        Ok(parsed) => parsed,
        Err(BadUrl::Prefix) => {
            log!(ex, Level::Error, "invalid URL prefix in \"{text}\"");
            return Err(Stop::status(500));
        }
        Err(BadUrl::Address(why, rest)) => {
            log!(ex, Level::Error, "{why} in upstream \"{rest}\"");
            return Err(Stop::status(500));
        }
    };
    if url.uri.starts_with('?') {
        url.uri = format!("/{}", url.uri).into();
    }
    let url = Rc::new(url);
    ex.notes.put(Evaluated(url.clone()));
    Ok((url, address))
}
