//! `$ssl_client_…`: the client's certificate.

use foregate_core::{Exchange, base64};
use foregate_net::tls::x509::Certificate;
use foregate_wire::uri;

const DAY_S: i64 = 86_400;
/// Of base64 in PEM (RFC 7468 section 2).
const LINE_BYTES: usize = 64;

/// `SUCCESS`, `FAILED:reason`, `NONE`.
pub(super) fn verify(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    let cycle = ex.cycle.clone();
    let on = crate::settings(&*cycle, ex.location).ssl.as_ref();
    match on.and_then(|on| super::verdict(on, ex, facts)) {
        None => out.extend_from_slice(b"NONE"),
        Some(Ok(())) => out.extend_from_slice(b"SUCCESS"),
        Some(Err(why)) => out.extend_from_slice(format!("FAILED:{why}").as_bytes()),
    }
    true
}

/// One fact of the certificate.
pub(super) fn show(ex: &Exchange, out: &mut Vec<u8>, get: impl FnOnce(&Certificate<'_>) -> String) -> bool {
    let Some(cert) = der(ex).and_then(Certificate::parse) else { return false };
    let value = get(&cert);
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

/// Whole days; none in the last.
pub(super) fn days_left(until_s: i64, now_s: i64) -> i64 {
    (until_s - now_s).max(0) / DAY_S
}

pub(super) fn raw_cert(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(pem) = pem(ex) else { return false };
    out.extend_from_slice(pem.as_bytes());
    true
}

/// For a header: every line but the first begins with a tab.
pub(super) fn cert(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(pem) = pem(ex) else { return false };
    out.extend_from_slice(pem.trim_end().replace('\n', "\n\t").as_bytes());
    true
}

pub(super) fn escaped_cert(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(pem) = pem(ex) else { return false };
    uri::escape(pem.as_bytes(), uri::Escape::UriComponent, out);
    true
}

fn der(ex: &Exchange) -> Option<&[u8]> {
    ex.conn.tls.as_ref()?.peer_certs.first().map(|it| &**it)
}

fn pem(ex: &Exchange) -> Option<String> {
    let mut encoded = Vec::new();
    base64::encode(der(ex)?, base64::Alphabet::Standard, &mut encoded);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.chunks(LINE_BYTES) {
        text += &String::from_utf8_lossy(line);
        text.push('\n');
    }
    Some(text + "-----END CERTIFICATE-----\n")
}
