//! The pages of errors and redirects that nobody else has written.

use std::borrow::Cow;

use foregate_core::{Body, Exchange, Reply};
use foregate_modules::{Settings, client, client::Tokens};
use foregate_wire::{Buf, status, uri};

/// What we call ourselves, with and without the version.
pub(crate) const NAME: &str = "foregate";
pub(crate) const NAME_AND_VERSION: &str = concat!("foregate/", env!("CARGO_PKG_VERSION"));

/// nginx's code for a connection that is closed on purpose (`return 444`).
pub(crate) const CLOSED: u16 = 444;

/// Clients that took too long (408) or went away (499) get no answer, only a line in the log.
pub(crate) fn has_no_answer(status: u16) -> bool {
    matches!(status, 408 | 499)
}

/// After these the connection is not kept: what the client sends next may not be a request.
pub(crate) fn breaks_keepalive(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 494..=497 | 500 | 501)
}

/// A page in the place of a 401 still asks for credentials, one in the place of a redirect still redirects.
pub(crate) fn keep_fields(ex: &mut Exchange, reply: &Reply) {
    let mut kept = Vec::new();
    for name in ["WWW-Authenticate", "Location"] {
        kept.extend(reply.fields.get_all(name.as_bytes()).map(|value| (name, value.to_vec())));
    }
    if !kept.is_empty() {
        ex.notes.put(Kept(kept));
    }
}

/// Fields that go with the page, by name.
pub(crate) struct Kept(Vec<(&'static str, Vec<u8>)>);

impl Kept {
    /// A page that redirects by itself leads where it says.
    pub(crate) fn put_into(mut self, reply: &mut Reply) {
        let redirects = reply.fields.contains(b"Location");
        self.0.retain(|(name, _)| !(redirects && *name == "Location"));
        for (name, _) in &self.0 {
            reply.fields.remove(name.as_bytes());
        }
        for (name, value) in &self.0 {
            reply.fields.push(name.as_bytes(), value);
        }
    }
}

/// Writes the page of a bare status.
pub(crate) fn fill(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    let page = reply.status;
    reply.status = status::sent(page);
    reply.reason = None;
    for name in [&b"Accept-Ranges"[..], b"Last-Modified", b"ETag", b"Content-Type", b"Content-Encoding"] {
        reply.fields.remove(name);
    }
    reply.allow_ranges = false;
    reply.mtime = None;
    reply.length = None;
    reply.type_by_uri = false;
    let mut html = Vec::with_capacity(512);
    reply.body = Body::Empty;
    reply.bare = false;
    if refresh(page, on, ex, reply, &mut html) {
        reply.status = 200;
        reply.fields.push(b"Content-Type", b"text/html");
        reply.body = Body::Bytes(Buf::from_vec(html));
    } else if status::page(page, &name(on, ex), &mut html) {
        if page >= 400 && on.client.as_ref().is_some_and(|it| client::pads(it, ex)) {
            html.extend_from_slice(status::PADDING);
        }
        reply.fields.push(b"Content-Type", b"text/html");
        reply.body = Body::Bytes(Buf::from_vec(html));
    }
}

/// Puts a page that leads on in the place of a redirect, for clients that want one (`msie_refresh`).
fn refresh(status: u16, on: &Settings, ex: &Exchange, reply: &mut Reply, html: &mut Vec<u8>) -> bool {
    let wanted =
        matches!(status, 301 | 302) && on.client.as_ref().is_some_and(|it| client::refreshes(it, ex));
    let Some(to) = reply.fields.get(b"Location").filter(|_| wanted) else { return false };
    html.extend_from_slice(b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=");
    uri::escape(to, uri::Escape::Refresh, html);
    html.extend_from_slice(b"\"></head><body></body></html>\r\n");
    reply.fields.remove(b"Location");
    true
}

/// What `server_tokens` lets us say of ourselves.
pub(crate) fn name(on: &Settings, ex: &mut Exchange) -> Cow<'static, str> {
    match on.client.as_ref().map(|it| &it.server_tokens) {
        Some(Tokens::Off) => NAME.into(),
        Some(Tokens::Text(text)) => String::from_utf8_lossy(&text.fill_new(ex)).into_owned().into(),
        _ => NAME_AND_VERSION.into(),
    }
}
