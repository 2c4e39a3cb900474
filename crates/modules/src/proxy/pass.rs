//! Where `proxy_pass` leads: known when the configuration is loaded, or made of variables for each request.

use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Error, Modifier, Word};
use foregate_core::{Compile, Exchange, Level, Stop, Template, log};
use foregate_net::Addr;
use foregate_upstream::{Address, Group, Groups, View};

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
        let group = group(word, &address, cx)?;
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

/// The group that an address means; made where there is none yet.
fn group(word: &Word, address: &Address, cx: &mut Compile<'_>) -> Result<Arc<Group>, Error> {
    let groups = cx.shared.get_or_default::<Groups>();
    if groups.explicit(&address.host).is_some() && !address.no_port {
        let what = format!("upstream \"{}\" may not have port {}", address.host, address.port);
        return Err(Error::at(word.span, what));
    }
    if let Some(group) = groups.find(&address.host, address.port, address.no_port) {
        return Ok(group.clone());
    }
    let previous = cx.previous.and_then(|it| it.get::<Groups>());
    let previous = previous.and_then(|it| it.find(&address.host, address.port, false)).filter(|it| !it.explicit);
    let group = groups.add(Group::implicit(address, previous.map(|it| &**it)));
    for name in group.unresolved() {
        let what = format!("host not found in upstream \"{name}\"");
        let advice = "requests get 502 until the name can be looked up";
        cx.warnings.push(Error::at(word.span, what).advise(advice).warn());
    }
    Ok(group)
}

/// What a URL made of variables came to, for `$proxy_host` and the request's head; a note.
pub(super) struct Evaluated(pub(super) Rc<Url>);

/// Makes the URL of this request and finds its peers.
pub(super) async fn evaluate(template: &Template, ex: &mut Exchange) -> Result<(Rc<Url>, Rc<View>), Stop> {
    let (url, address) = fill(template, ex)?;
    let view = match whom(&address, ex)? {
        Whom::Group(group) => View::of(&group),
        Whom::At(addr) => View::once(&address, vec![addr]),
        Whom::Named => look_up(&address, ex).await?,
    };
    Ok((url, view))
}

async fn look_up(address: &Address, ex: &Exchange) -> Result<Rc<View>, Stop> {
    let cycle = ex.cycle.clone();
    let resolver = crate::settings(&*cycle, ex.location).resolver.as_ref();
    let resolver = &resolver.expect("because without one nobody is meant").resolver;
    match resolver.resolve(&address.host, address.port).await {
        Ok(addrs) => Ok(View::once(address, addrs)),
        Err(why) => {
            log!(ex, Level::Error, "{} could not be resolved ({why})", address.host);
            Err(Stop::status(502))
        }
    }
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

/// Who is meant by an address that a request made.
pub(super) enum Whom {
    Group(Arc<Group>),
    At(Addr),
    /// A name that the location's resolver looks up.
    Named,
}

pub(super) fn whom(address: &Address, ex: &Exchange) -> Result<Whom, Stop> {
    let cycle = ex.cycle.clone();
    let groups = cycle.shared().get::<Groups>();
    if let Some(group) = groups.and_then(|it| it.find(&address.host, address.port, address.no_port)) {
        return Ok(Whom::Group(group.clone()));
    }
    if let Some(addr) = &address.fixed {
        return Ok(Whom::At(addr.clone()));
    }
    match &crate::settings(&*cycle, ex.location).resolver {
        Some(_) => Ok(Whom::Named),
        None => {
            log!(ex, Level::Error, "no resolver defined to resolve {}", address.host);
            Err(Stop::status(502))
        }
    }
}
