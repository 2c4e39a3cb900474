//! `$ssl_…`: what a handshake has settled.

use foregate_core::{Exchange, Variable, base64};
use foregate_net::tls::Facts;

pub(super) const ALL: &[Variable] = &[
    Variable::new("ssl_protocol", |ex, out| text(ex, out, |it| it.protocol)),
    Variable::new("ssl_cipher", |ex, out| text(ex, out, |it| it.cipher)),
    Variable::new("ssl_curve", |ex, out| text(ex, out, |it| it.curve)),
    Variable::new("ssl_server_name", |ex, out| {
        text(ex, out, |it| it.server_name.as_deref().unwrap_or_default())
    }),
    Variable::new("ssl_session_reused", |ex, out| text(ex, out, |it| if it.resumed { "r" } else { "." })),
    Variable::new("ssl_alpn_protocol", |ex, out| {
        text(ex, out, |it| std::str::from_utf8(&it.alpn).unwrap_or_default())
    }),
    Variable::new("ssl_client_verify", client_verify),
    Variable::new("ssl_client_raw_cert", |ex, out| pem(ex, out, "\n")),
    Variable::new("ssl_client_cert", |ex, out| pem(ex, out, "\n\t")),
];

/// Nothing for connections without TLS and for facts that are empty.
fn text(ex: &Exchange, out: &mut Vec<u8>, get: impl FnOnce(&Facts) -> &str) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    let value = get(facts);
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

fn client_verify(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    let cycle = ex.cycle.clone();
    let settings = crate::settings(&*cycle, ex.location).ssl.as_ref();
    if facts.peer_certs.is_empty() {
        out.extend_from_slice(b"NONE");
        return true;
    }
    match settings.map(|it| it.verdict(&facts.peer_certs)) {
        Some(Ok(())) => out.extend_from_slice(b"SUCCESS"),
        Some(Err(why)) => out.extend_from_slice(format!("FAILED:{why}").as_bytes()),
        None => out.extend_from_slice(b"NONE"),
    }
    true
}

/// The client's certificate as PEM, without the newline at its end.
fn pem(ex: &Exchange, out: &mut Vec<u8>, newline: &str) -> bool {
    let Some(der) = ex.conn.tls.as_ref().and_then(|it| it.peer_certs.first()) else { return false };
    let mut encoded = Vec::new();
    base64::encode(der, base64::Alphabet::Standard, &mut encoded);
    let lines: Vec<_> = encoded.chunks(64).map(|it| String::from_utf8_lossy(it)).collect();
    let text = format!(
        "-----BEGIN CERTIFICATE-----{newline}{}{newline}-----END CERTIFICATE-----",
        lines.join(newline)
    );
    out.extend_from_slice(text.as_bytes());
    true
}
