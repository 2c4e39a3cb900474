//! From an exchange to the request that a FastCGI application sees, and back.

use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Flow, Level, Reply, Stop, Template, log};
use foregate_upstream::{
    Address, AskedFor, Caching, Frames, Group, Looked, Preview, Protocol, Route, Rules, View, Whom, find, foretell, group_of,
};
use foregate_wire::Fields;
use foregate_wire::fastcgi::{begin, params, parse_head};
use foregate_wire::h1::{ResponseError, ResponseHead, ResponseRules};

use super::params::Params;

/// How requests are passed on.
pub struct Passing {
    pub(super) to: To,
    pub(super) rules: Rules,
    pub(super) params: Params,
    /// Those of requests that are made for a cache.
    pub(super) cache_params: Params,
    pub(super) keep_conn: bool,
    /// Words among the errors that make an answer invalid.
    pub(super) caught: Box<[Box<[u8]>]>,
}

/// Where `fastcgi_pass` leads.
pub(super) enum To {
    /// The group, and how its address is written.
    Group(Arc<Group>, Box<str>),
    By(Template),
}

const SCHEME: &str = "fastcgi://";

impl To {
    pub(super) fn compile(word: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        if word.contains('$') {
            return Ok(Self::By(cx.template(word)?));
        }
        let address = Address::parse(word, 0, false)
            .map_err(|why| Error::at(word.span, format!("{why} in upstream \"{word}\"")))?;
        Ok(Self::Group(group_of(word, &address, cx)?, word.text.as_str().into()))
    }

    async fn view(&self, ex: &mut Exchange) -> Result<Rc<View>, Stop> {
        match self {
            Self::Group(group, _) => Ok(View::of(group)),
            Self::By(template) => {
                let address = fill(template, ex)?;
                let cycle = ex.cycle.clone();
                let resolver = crate::settings(&*cycle, ex.location).resolver.as_ref().map(|it| &it.resolver);
                find(&address, resolver, ex).await
            }
        }
    }
}

/// Makes the address of this request.
fn fill(template: &Template, ex: &mut Exchange) -> Result<Address, Stop> {
    let text = template.fill_new(ex);
    let text = String::from_utf8_lossy(&text);
    Address::parse(&text, 0, false).map_err(|why| {
        log!(ex, Level::Error, "{why} in upstream \"{text}\"");
        Stop::status(500)
    })
}

pub(super) async fn run(on: &Passing, cache: Option<&Caching>, ex: &mut Exchange) -> Flow<Reply> {
    let view = match on.to.view(ex).await {
        Ok(view) => view,
        Err(stop) => return Flow::Break(stop),
    };
    let mut script = Script { on, head: false };
    let fetch = match cache {
        None => None,
        Some(cache) => match foregate_upstream::look(cache, &on.rules, &mut script, ex).await {
            Looked::Answer(flow) => return flow,
            Looked::Fetch(fetch) => fetch,
        },
    };
    let apart = fetch.as_ref().is_some_and(|it| it.is_apart());
    let route = Route { view, secure: None };
    let flow = foregate_upstream::run(&on.rules, route, &mut script, ex, fetch).await;
    if apart { foregate_upstream::swallow(flow).await } else { flow }
}

/// As [`run`], without asking anybody.
///
/// # Errors
/// The answer where nobody can be asked.
pub fn preview(on: &Passing, cache: Option<&Caching>, ex: &mut Exchange) -> Result<Preview, Stop> {
    let (group, host) = match &on.to {
        To::Group(group, host) => (Some(group.clone()), host.to_string()),
        To::By(template) => {
            let address = fill(template, ex)?;
            let resolves = crate::settings(&*ex.cycle, ex.location).resolver.is_some();
            (Whom::of(&address, resolves, ex)?.group(), address.host_header(0))
        }
    };
    let script = Script { on, head: false };
    let cache = cache.map(|it| foretell(it, &script, ex)).transpose()?.flatten();
    let mut head = Vec::new();
    on.params.each(ex, |name, value| {
        head.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    });
    Ok(Preview { scheme: SCHEME.into(), host, uri: Vec::new(), head, group, cache })
}

/// One request to a FastCGI application.
struct Script<'a> {
    on: &'a Passing,
    /// The answer has no body.
    head: bool,
}

impl Protocol for Script<'_> {
    const RECORDS: bool = true;

    fn keeps_connection(&self) -> bool {
        self.on.keep_conn
    }

    fn is_caught(&self, stderr: &[u8]) -> bool {
        self.on.caught.iter().any(|it| memchr::memmem::find(stderr, it).is_some())
    }

    fn begin(&mut self, ex: &mut Exchange, asked: Option<&AskedFor>, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.head = ex.method == foregate_core::Method::Head;
        let whole = asked.is_some_and(|it| it.whole);
        let stream = if whole { &self.on.cache_params } else { &self.on.params }.stream(ex);
        begin(self.on.keep_conn, out);
        params(&stream, out);
        Ok(())
    }

    fn frames(&self, _: &Exchange) -> Frames {
        Frames::Records
    }

    fn parse(&mut self, bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
        parse_head(bytes, &ResponseRules { head: self.head, ..ResponseRules::default() }, head)
    }

    /// An application says where it stands itself, for it was told.
    fn rewrite(&self, _: &mut Exchange, _: &mut Fields) -> bool {
        false
    }

    fn uri(&self, _: &Exchange) -> Vec<u8> {
        Vec::new()
    }

    fn scheme(&self) -> &str {
        SCHEME
    }

    fn may_upgrade(&self, _: &Exchange) -> bool {
        false
    }
}
