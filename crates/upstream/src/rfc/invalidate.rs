//! What requests change is not served any more (RFC 9111, section 4.4).

use foregate_core::{Exchange, Method};
use foregate_wire::{Name, uri};

use crate::respond::Answer;
use crate::run::{Protocol, Run};

/// Whether a method may change something. Of what nobody knows, that is to be feared.
pub(crate) fn is_unsafe(method: Method) -> bool {
    !matches!(
        method,
        Method::Get | Method::Head | Method::Options | Method::Trace | Method::Propfind | Method::Connect
    )
}

impl<P: Protocol> Run<'_, P> {
    /// Where the upstream has done what was asked, objects of the target go, and of the places that its answer names.
    pub(super) fn invalidate(&mut self, answer: &Answer, status: u16) {
        if !(200..400).contains(&status) {
            return;
        }
        let Some(fetch) = self.cache.take() else { return };
        fetch.grip.zone.invalidate(&fetch.grip.text);
        for name in [&b"Location"[..], b"Content-Location"] {
            let fields = &self.head.fields;
            let found = fields.iter().find(|it| it.name.of(&answer.bytes).eq_ignore_ascii_case(name));
            let place = found.and_then(|it| place(self.ex, it.value.of(&answer.bytes)));
            if let Some(target) = place {
                let text = key_of(fetch.on, self.protocol, self.ex, target);
                fetch.grip.zone.invalidate(&text);
            }
        }
        self.cache = Some(fetch);
    }
}

/// The key under which GET of a target would be kept.
fn key_of<P: Protocol>(
    on: &crate::caching::Caching,
    protocol: &P,
    ex: &mut Exchange,
    target: Vec<u8>,
) -> Vec<u8> {
    let Ok((path, args)) = uri::split_foreign(&target) else { return Vec::new() };
    let (path, args) = (path.into_owned(), args.to_vec());
    let swap = |ex: &mut Exchange, with: &mut (Vec<u8>, Vec<u8>, Vec<u8>)| {
        std::mem::swap(&mut ex.target, &mut with.0);
        std::mem::swap(&mut ex.uri, &mut with.1);
        std::mem::swap(&mut ex.args, &mut with.2);
    };
    let mut other = (target, path, args);
    swap(ex, &mut other);
    let text = key_text(on, protocol, ex);
    swap(ex, &mut other);
    text
}

/// The key under which GET of this request's target is kept.
pub(crate) fn key_text<P: Protocol>(
    on: &crate::caching::Caching,
    protocol: &P,
    ex: &mut Exchange,
) -> Vec<u8> {
    let (method, name) =
        (std::mem::replace(&mut ex.method, Method::Get), std::mem::take(&mut ex.method_name));
    ex.method_name = b"GET".to_vec();
    let mut text = Vec::new();
    match &on.key {
        Some(key) => key.fill(ex, &mut text),
        None => protocol.cache_key(ex, &mut text),
    }
    (ex.method, ex.method_name) = (method, name);
    text
}

/// The target that a field of an answer names, if it is of the same origin as the request's.
fn place(ex: &Exchange, value: &[u8]) -> Option<Vec<u8>> {
    let value = value.split(|b| *b == b'#').next().unwrap_or_default();
    let scheme: &[u8] = if ex.conn.tls.is_some() { b"https:" } else { b"http:" };
    let rest = match value.split_at_checked(scheme.len()) {
        Some((it, rest)) if it.eq_ignore_ascii_case(scheme) => rest,
        _ => value,
    };
    if let Some(rest) = rest.strip_prefix(b"//") {
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let same = ex.fields.get(Name::Host).is_some_and(|it| it.eq_ignore_ascii_case(authority));
        let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
        return same.then_some(path);
    }
    if rest.starts_with(b"/") && rest.len() == value.len() {
        return Some(rest.to_vec());
    }
    // Another scheme, or beside the target.
    let path = ex.target.split(|b| *b == b'?').next().unwrap_or_default();
    let folder = path.iter().rposition(|b| *b == b'/').map_or(&b"/"[..], |at| &path[..=at]);
    let is_relative =
        !value.is_empty() && !value.split(|b| *b == b'/').next().unwrap_or_default().contains(&b':');
    is_relative.then(|| [folder, value].concat())
}
