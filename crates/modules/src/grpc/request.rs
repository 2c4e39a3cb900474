//! From an exchange to the call that its upstream sees, and back.

use foregate_core::{Exchange, Flow, Method, Reply, Stop};
use foregate_upstream::{AskedFor, Frames, Preview, Protocol, Route, Secure};
use foregate_wire::Fields;
use foregate_wire::h1::{ResponseError, ResponseHead, ResponseRules, parse_response};
use foregate_wire::h2::client::Draft;
use foregate_wire::uri::{Escape, escape};

use super::Settings;
use super::pass::Url;

pub(super) async fn run(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    let (url, view) = match on.pass.find(ex).await {
        Ok(found) => found,
        Err(stop) => return Flow::Break(stop),
    };
    let handshake = on.tls.as_ref().filter(|_| url.secure).map(|tls| tls.prepare(&url.host, ex)).transpose();
    let handshake = match handshake {
        Ok(handshake) => handshake,
        Err(stop) => return Flow::Break(stop),
    };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let mut call = Call { on, url: &url, head: false };
    foregate_upstream::run(&on.rules, Route { view, secure }, &mut call, ex, None).await
}

/// As [`run`], without asking anybody.
///
/// # Errors
/// The answer where nobody can be asked.
pub fn preview(on: &Settings, ex: &mut Exchange) -> Result<Preview, Stop> {
    let (url, group) = on.pass.whom(ex)?;
    let mut draft = Vec::new();
    on.fields.draft(ex, &url.authority, &mut draft);
    Draft::end(&mut draft);
    let lines = Draft::new(&draft).fields().map(|(name, value)| [name, b": ", value, b"\r\n"].concat());
    let head = lines.collect::<Vec<_>>().concat();
    let (scheme, host) = (url.scheme().to_owned(), url.authority.to_string());
    Ok(Preview { scheme, host, uri: target(ex), head, group, cache: None })
}

/// As sent, unless something has rewritten it.
fn target(ex: &Exchange) -> Vec<u8> {
    if ex.target_holds {
        return ex.target.clone();
    }
    let mut target = Vec::new();
    escape(&ex.uri, Escape::Uri, &mut target);
    if !ex.args.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&ex.args);
    }
    target
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) on: &'a Settings,
    pub(super) url: &'a Url,
    /// The answer has no body.
    pub(super) head: bool,
}

impl Protocol for Call<'_> {
    const H2: bool = true;

    fn begin(&mut self, ex: &mut Exchange, _: Option<&AskedFor>, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.head = ex.method == Method::Head;
        Draft::field(b":method", &ex.method_name, out);
        Draft::field(b":scheme", if self.url.secure { b"https" } else { b"http" }, out);
        Draft::field(b":path", &target(ex), out);
        self.on.fields.draft(ex, &self.url.authority, out);
        Draft::end(out);
        Ok(())
    }

    fn frames(&self, _: &Exchange) -> Frames {
        Frames::Raw
    }

    fn parse(&mut self, bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
        parse_response(bytes, &ResponseRules { head: self.head, ..ResponseRules::default() }, head)
    }

    fn rewrite(&self, _: &mut Exchange, _: &mut Fields) -> bool {
        false
    }

    fn uri(&self, _: &Exchange) -> Vec<u8> {
        Vec::new()
    }

    fn scheme(&self) -> &str {
        self.url.scheme()
    }

    fn may_upgrade(&self, _: &Exchange) -> bool {
        false
    }
}
