//! What requests read: `proxy_…` inherited, checked and compiled.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Template};
use foregate_upstream::{Rules, Tls};
use foregate_upstream::draft::Family;

use super::checks;
use super::cookies::Cookies;
use super::headers::Headers;
use super::options::Options;
use super::pass::{Pass, prefix};
use super::rewrites::Redirects;

pub struct Settings {
    pub(super) rules: Rules,
    pub(super) pass: Pass,
    pub(super) headers: Headers,
    pub(super) method: Option<Template>,
    /// `proxy_set_body`.
    pub(super) body: Option<Template>,
    pub(super) is_http_10: bool,
    pub(super) is_http_2: bool,
    pub(super) redirects: Redirects,
    pub(super) cookies: Option<Cookies>,
    pub(super) tls: Option<Tls>,
    /// What the URI of `proxy_pass` takes the place of.
    pub(super) location: Box<[u8]>,
    pub(super) check: Option<Box<checks::Check>>,
}

const FAMILY: Family = Family {
    name: "proxy",
    hidden: &[
        "Date",
        "Server",
        "X-Pad",
        "X-Accel-Expires",
        "X-Accel-Redirect",
        "X-Accel-Limit-Rate",
        "X-Accel-Buffering",
        "X-Accel-Charset",
    ],
};

impl Settings {
    pub(super) fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Self>, Error> {
        let sizes = o.upstream.sizes(&FAMILY)?;
        let Some(draft) = &o.pass else {
            checks::compile(&o, None, cx)?;
            return Ok(None);
        };
        let pass = Pass::compile(draft, cx)?;
        let secure = match &pass {
            Pass::To { url, .. } => url.secure,
            Pass::By(_) => true,
        };
        let is_http_2 = o.http_version == Some(2);
        let alpn = is_http_2.then_some(&b"h2"[..]);
        let location = match draft.nameless {
            true => b"".as_slice().into(),
            false => prefix(cx.location.as_ref()).map_or(&b""[..], Word::bytes).into(),
        };
        let early_hints = o.early_hints.iter().flatten().map(|it| cx.template(it)).collect::<Result<_, _>>()?;
        let template = |word: &Option<Word>, cx: &mut Compile<'_>| word.as_ref().map(|it| cx.template(it)).transpose();
        Ok(Some(Self {
            headers: Headers::compile(o.headers.as_deref(), o.upstream.pass_request_headers.unwrap_or(true), cx)?,
            method: template(&o.method, cx)?,
            body: template(&o.body, cx)?,
            is_http_10: o.http_version == Some(0),
            is_http_2,
            redirects: Redirects::compile(o.redirects.as_deref(), &pass, &draft.url, cx)?,
            cookies: Cookies::compile(&o, cx)?,
            tls: if secure { Some(Tls::compile(&o.ssl, FAMILY.name, alpn, draft.url.span, cx)?) } else { None },
            location,
            rules: Rules {
                pass_trailers: o.pass_trailers.unwrap_or(false),
                early_hints,
                ..o.upstream.compile(&FAMILY, &sizes, cx)?
            },
            check: checks::compile(&o, Some(&pass), cx)?,
            pass,
        }))
    }
}

/// The same for a check, which keeps nothing and has nobody to wait for it.
pub(super) fn rules_of_checks(o: &Options, cx: &mut Compile<'_>) -> Result<Rules, Error> {
    let draft = o.upstream.for_checks();
    draft.compile(&FAMILY, &draft.sizes(&FAMILY)?, cx)
}
