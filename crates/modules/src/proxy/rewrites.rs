//! `proxy_redirect`: what an upstream says about places, in the client's terms.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Regex, Template};
use foregate_wire::Fields;

use super::options::RedirectDraft;
use super::pass::{Pass, prefix};

/// One rewriting of a value: what is looked for, and what takes its place.
pub(super) struct Rewrite {
    pattern: Pattern,
    replacement: Template,
}

enum Pattern {
    /// At the front of the value.
    Prefix(Template),
    /// At the end of the value: a domain, with or without a dot before it.
    Domain(Template),
    Regex(Box<Regex>),
}

impl Rewrite {
    /// `pattern` is `~regex`, `~*regex` or a prefix.
    pub(super) fn prefix(pattern: &Word, replacement: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let replacement = cx.template(replacement)?;
        let pattern = match pattern.strip_prefix('~') {
            Some(rest) if rest.starts_with('*') => Pattern::regex(&pattern.trimmed(2, 0), true, cx)?,
            Some(_) => Pattern::regex(&pattern.trimmed(1, 0), false, cx)?,
            None => Pattern::Prefix(cx.template(pattern)?),
        };
        Ok(Self { pattern, replacement })
    }

    /// `pattern` is `~regex` (in any case) or a domain; dots in front do not count.
    pub(super) fn domain(pattern: &Word, replacement: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let bare = |word: &Word| if word.starts_with('.') { word.trimmed(1, 0) } else { word.clone() };
        if pattern.starts_with('~') {
            let regex = Pattern::regex(&pattern.trimmed(1, 0), true, cx)?;
            return Ok(Self { pattern: regex, replacement: cx.template(replacement)? });
        }
        let pattern = Pattern::Domain(cx.template(&bare(pattern))?);
        Ok(Self { pattern, replacement: cx.template(&bare(replacement))? })
    }

    /// The value's new text, if this rewriting applies. The first `skip` bytes stay.
    pub(super) fn apply(&self, ex: &mut Exchange, value: &[u8], skip: usize) -> Option<Vec<u8>> {
        let subject = &value[skip..];
        let range = match &self.pattern {
            Pattern::Prefix(prefix) => {
                let prefix = prefix.fill_new(ex);
                subject.starts_with(&prefix).then_some(skip..skip + prefix.len())?
            }
            Pattern::Domain(domain) => {
                let domain = domain.fill_new(ex);
                let bare = subject.strip_prefix(b".").unwrap_or(subject);
                bare.eq_ignore_ascii_case(&domain).then_some(value.len() - bare.len()..value.len())?
            }
            Pattern::Regex(regex) => {
                let matched = regex.matches(ex, subject).ok()?;
                matched.then_some(skip..value.len())?
            }
        };
        let mut new = value[..range.start].to_vec();
        self.replacement.fill(ex, &mut new);
        new.extend_from_slice(&value[range.end..]);
        Some(new)
    }
}

impl Pattern {
    fn regex(word: &Word, caseless: bool, cx: &mut Compile<'_>) -> Result<Self, Error> {
        Ok(Self::Regex(Box::new(cx.regex(word, caseless)?)))
    }
}

/// The first that applies wins.
pub(super) fn first(rewrites: &[Rewrite], ex: &mut Exchange, value: &[u8], skip: usize) -> Option<Vec<u8>> {
    rewrites.iter().find_map(|it| it.apply(ex, value, skip))
}

/// `proxy_redirect` of a location.
pub(super) struct Redirects(Box<[Rewrite]>);

impl Redirects {
    pub(super) fn compile(
        drafts: Option<&[RedirectDraft]>,
        pass: &Pass,
        url: &Word,
        cx: &mut Compile<'_>,
    ) -> Result<Self, Error> {
        let mut rewrites = Vec::new();
        for draft in drafts.unwrap_or(&[RedirectDraft::Default]) {
            match draft {
                RedirectDraft::Default => rewrites.extend(by_default(pass, url, cx)),
                RedirectDraft::To { pattern, replacement } => {
                    rewrites.push(Rewrite::prefix(pattern, replacement, cx)?);
                }
            }
        }
        Ok(Self(rewrites.into()))
    }

    /// Rewrites `Location` and the URL in `Refresh`; true where `Location` has changed.
    pub(super) fn rewrite(&self, ex: &mut Exchange, fields: &mut Fields) -> bool {
        let mut changed = false;
        if let Some(location) = fields.get(b"Location")
            && let Some(new) = first(&self.0, ex, location, 0)
        {
            fields.set(b"Location", &new);
            changed = true;
        }
        if let Some(refresh) = fields.get(b"Refresh")
            && let Some(at) = refresh.windows(4).position(|it| it.eq_ignore_ascii_case(b"url="))
            && let Some(new) = first(&self.0, ex, refresh, at + 4)
        {
            fields.set(b"Refresh", &new);
        }
        changed
    }
}

/// `proxy_redirect default`: what `proxy_pass` puts in front is taken off again.
fn by_default(pass: &Pass, written: &Word, cx: &Compile<'_>) -> Option<Rewrite> {
    let Pass::To { url, .. } = pass else { return None };
    let (pattern, replacement) = match url.uri.is_empty() {
        true => (format!("{}/", written.text).into_bytes(), &b"/"[..]),
        false => (written.bytes().to_vec(), prefix(cx.location.as_ref()).map_or(&b""[..], Word::bytes)),
    };
    let pattern = Pattern::Prefix(Template::constant(&pattern));
    Some(Rewrite { pattern, replacement: Template::constant(replacement) })
}
