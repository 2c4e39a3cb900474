//! What happens to an answer before it is sent: the filters, in order.
//!
//! The order is nginx's: conditions are judged before fields are added, compression sees the final body, ranges are
//! cut last.

use foregate_core::{CharsetOverride, Exchange, KeptFields, Reply};
use foregate_modules::{
    Settings, addition, auth_oidc, brotli, charset, encoding, encoding::Coding, gunzip, gzip, headers, hsts,
    limit_req, mime, not_modified, range, redirects, security_headers, slice, ssi, sub_filter, userid, zstd,
};
use foregate_wire::{Fields, Name};

use crate::special::{self, Kept};

/// Header filters; those that change the body put themselves around it. `None`: close without an answer.
pub(crate) async fn header_filters(on: &Settings, ex: &mut Exchange, reply: &mut Reply) -> Option<()> {
    own_fields(on, ex, reply);
    if let Some(on) = &on.slice {
        slice::filter(on, ex, reply)?;
    }
    if let Some(judge) = &on.not_modified {
        not_modified::filter(judge, ex, reply);
        page_if_bare(on, ex, reply);
    }
    if let Some(on) = &on.headers {
        headers::filter(on, ex, reply);
    }
    if on.limit_req.is_some() || ex.error_page {
        limit_req::filter(ex, reply);
    }
    if let Some(on) = &on.hsts {
        hsts::filter(on, ex, reply);
    }
    if let Some(on) = &on.security_headers {
        security_headers::filter(on, ex, reply);
    }
    if let Some(on) = &on.userid {
        userid::filter(on, ex, reply);
    }
    if on.auth_oidc.is_some() {
        auth_oidc::filter(ex, reply);
    }
    if !reply.untouched {
        transform(on, ex, reply).await?;
    }
    if let Some(ranges) = &on.range {
        range::filter(ranges, ex, reply);
        page_if_bare(on, ex, reply);
    }
    if let Some(on) = &on.headers {
        headers::make_room(on, ex, reply);
    }
    if on.slice.is_some() {
        slice::begin(ex, reply).await?;
    }
    Some(())
}

/// The filters that change the body.
async fn transform(on: &Settings, ex: &mut Exchange, reply: &mut Reply) -> Option<()> {
    let mut varies = ex.notes.take::<encoding::Varies>().is_some();
    if let Some(gunzip) = on.gunzip.as_ref().filter(|it| gunzip::fits(it, reply)) {
        varies = true;
        if !encoding::accepts_gzip(on.encoding.as_deref(), ex, reply) {
            gunzip::filter(gunzip, ex, reply);
        }
    }
    if let Some(add) = on.addition.as_ref().filter(|it| addition::fits(it, ex, reply)) {
        addition::filter(add, ex, reply);
    }
    if let Some(on) = &on.sub_filter {
        sub_filter::filter(on, ex, reply);
    }
    if let Some(CharsetOverride(name)) = ex.notes.take() {
        charset::override_(on.charset.as_deref(), &name, ex, reply);
    } else if let Some(on) = &on.charset {
        charset::filter(on, ex, reply);
    }
    if let Some(on) = on.ssi.as_ref().filter(|it| ssi::fits(it, reply)) {
        Box::pin(ssi::filter(on, ex, reply)).await.ok()?;
    }
    varies |= pack(on, ex, reply);
    if varies {
        encoding::vary(on.encoding.as_deref(), reply);
    }
    Some(())
}

/// Packs the answer in the coding that the client likes best; whether it could have been packed.
fn pack(on: &Settings, ex: &mut Exchange, reply: &mut Reply) -> bool {
    let offers = encoding::Offers {
        zstd: on.zstd.as_ref().is_some_and(|it| zstd::fits(it, ex, reply)),
        brotli: on.brotli.as_ref().is_some_and(|it| brotli::fits(it, ex, reply)),
        gzip: on.gzip.as_ref().is_some_and(|it| gzip::fits(it, ex, reply)),
    };
    if !offers.any() {
        return false;
    }
    let [best, ..] = encoding::rank(on.encoding.as_deref(), ex, reply, offers);
    match (best, &on.zstd, &on.brotli, &on.gzip) {
        (Some(Coding::Zstd), Some(on), _, _) => zstd::filter(on, ex, reply),
        (Some(Coding::Brotli), _, Some(on), _) => brotli::filter(on, ex, reply),
        (Some(Coding::Gzip), _, _, Some(on)) => gzip::filter(on, ex, reply),
        _ => (),
    }
    true
}

/// A filter may turn an answer into an error (412, 416), which has a page.
fn page_if_bare(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    if reply.bare {
        special::fill(on, ex, reply);
        reply.bare = false;
    }
}

/// `Last-Modified` is the content's, and a page that goes with another status is not what was asked for. What an
/// upstream says of its own page stays.
fn forget_age_of_errors(reply: &mut Reply) {
    if !matches!(reply.status, 200 | 206 | 304) && reply.mtime.take().is_some() {
        reply.fields.remove(Name::LastModified);
    }
}

/// What the server itself owes to an answer: its type and an absolute `Location`.
fn own_fields(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    if reply.type_by_uri
        && !reply.fields.contains(b"Content-Type")
        && let Some(mime) = &on.mime
    {
        let content_type = mime::content_type(mime, &ex.uri);
        if !content_type.is_empty() {
            reply.fields.push(b"Content-Type", content_type);
        }
    }
    if let Some(KeptFields(kept)) = ex.notes.take() {
        keep_fields(&kept, reply);
    }
    if let Some(kept) = ex.notes.take::<Kept>() {
        kept.put_into(reply);
    }
    forget_age_of_errors(reply);
    // What `add_header` says of it later stays.
    if reply.status == 204 {
        reply.fields.remove(b"Content-Type");
    }
    if !reply.foreign_location
        && let Some(path) = reply.fields.get(b"Location").filter(|it| it.starts_with(b"/"))
        && let Some(redirects) = &on.redirects
        && let Some(url) = redirects::absolute(redirects, ex, path)
    {
        reply.fields.set(b"Location", &url);
    }
}

/// What an upstream said before it sent the request elsewhere (X-Accel-Redirect) holds over what is said there.
fn keep_fields(kept: &Fields, reply: &mut Reply) {
    for (name, value) in kept.iter() {
        match name.eq_ignore_ascii_case(b"Set-Cookie") {
            true => reply.fields.push(name, value),
            false => reply.fields.set(name, value),
        }
    }
}
