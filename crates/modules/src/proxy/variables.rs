//! `$proxy_host`, `$proxy_port`, `$proxy_add_x_forwarded_for`.

use foregate_core::{Exchange, Variable, push_addr, push_number};

use super::pass::Url;
use super::request::url_of;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("proxy_host", |ex, out| of_url(ex, out, |url| &url.host_header)),
    Variable::new("proxy_port", |ex, out| of_url(ex, out, |url| &url.port)),
    Variable::new("proxy_add_x_forwarded_for", forwarded_for),
    Variable::new("proxy_internal_body_length", |ex, out| match ex.body.length {
        Some(length) => {
            push_number(length, out);
            true
        }
        None => false,
    }),
    Variable::new("proxy_internal_chunked", |ex, out| {
        let chunked = ex.body.length.is_none() && ex.body.source.is_some();
        if chunked {
            out.extend_from_slice(b"chunked");
        }
        chunked
    }),
];

fn of_url(ex: &Exchange, out: &mut Vec<u8>, what: fn(&Url) -> &str) -> bool {
    let on = crate::settings(&*ex.cycle, ex.location).proxy.as_ref();
    let Some(url) = on.and_then(|on| url_of(on, ex)) else { return false };
    out.extend_from_slice(what(&url).as_bytes());
    true
}

/// The client's `X-Forwarded-For` with the client's own address behind it.
fn forwarded_for(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    for value in ex.fields.get_all(b"X-Forwarded-For") {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    push_addr(&ex.remote, out);
    true
}
