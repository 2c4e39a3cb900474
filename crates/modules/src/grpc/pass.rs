//! Where `grpc_pass` leads: known when the configuration is loaded, or made of variables for each call.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Level, Stop, Template, log};
use foregate_upstream::{Address, Group, View, Whom, find, group_of};

/// A compiled `grpc_pass`.
pub(super) enum Pass {
    To(Arc<Group>, Url),
    By(Template),
}

/// What an address says of the call.
#[derive(Clone)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// `:authority`, unless `grpc_set_header Host` says another.
    pub(super) authority: Box<str>,
    /// The host without its port: what certificates are checked for.
    pub(super) host: Box<str>,
}

impl Url {
    /// The scheme may be left out.
    fn parse(text: &str) -> Result<(Self, Address), (&'static str, &str)> {
        let behind = |scheme: &str| {
            let start = text.get(..scheme.len()).filter(|it| it.eq_ignore_ascii_case(scheme))?;
            text.get(start.len()..)
        };
        let (rest, secure) = match (behind("grpc://"), behind("grpcs://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => (text, false),
        };
        let address = Address::parse(rest, 0, false).map_err(|why| (why, rest))?;
        let authority = if address.is_unix() { "localhost" } else { rest };
        let url = Self { secure, authority: authority.into(), host: address.host.as_str().into() };
        Ok((url, address))
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "grpcs://" } else { "grpc://" }
    }
}

impl Pass {
    pub(super) fn compile(word: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        if word.contains('$') {
            return Ok(Self::By(cx.template(word)?));
        }
        let (url, address) = Url::parse(word)
            .map_err(|(why, rest)| Error::at(word.span, format!("{why} in upstream \"{rest}\"")))?;
        Ok(Self::To(group_of(word, &address, cx)?, url))
    }

    pub(super) fn may_be_secure(&self) -> bool {
        match self {
            Self::To(_, url) => url.secure,
            Self::By(_) => true,
        }
    }

    /// Where this call goes.
    ///
    /// # Errors
    /// The answer, where it goes nowhere.
    pub(super) async fn find(&self, ex: &mut Exchange) -> Result<(Cow<'_, Url>, Rc<View>), Stop> {
        match self {
            Self::To(group, url) => Ok((Cow::Borrowed(url), View::of(group))),
            Self::By(template) => {
                let (url, address) = fill(template, ex)?;
                let cycle = ex.cycle.clone();
                let resolver = crate::settings(&*cycle, ex.location).resolver.as_ref().map(|it| &it.resolver);
                Ok((Cow::Owned(url), find(&address, resolver, ex).await?))
            }
        }
    }

    /// As [`Pass::find`], without looking anything up.
    pub(super) fn whom(&self, ex: &mut Exchange) -> Result<(Cow<'_, Url>, Option<Arc<Group>>), Stop> {
        match self {
            Self::To(group, url) => Ok((Cow::Borrowed(url), Some(group.clone()))),
            Self::By(template) => {
                let (url, address) = fill(template, ex)?;
                let resolves = crate::settings(&*ex.cycle, ex.location).resolver.is_some();
                Ok((Cow::Owned(url), Whom::of(&address, resolves, ex)?.group()))
            }
        }
    }
}

fn fill(template: &Template, ex: &mut Exchange) -> Result<(Url, Address), Stop> {
    let text = template.fill_new(ex);
    let text = String::from_utf8_lossy(&text);
    Url::parse(&text).map_err(|(why, rest)| {
        log!(ex, Level::Error, "{why} in upstream \"{rest}\"");
        Stop::status(500)
    })
}
