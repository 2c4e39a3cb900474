//! `$ssl_…`: what a handshake has settled.

use foregate_core::{Exchange, Variable};
use foregate_net::tls::Facts;

use super::{names, peer};

pub(super) const ALL: &[Variable] = &[
    Variable::new("ssl_protocol", |ex, out| text(ex, out, |it| it.protocol)),
    Variable::new("ssl_cipher", |ex, out| text(ex, out, |it| it.cipher)),
    Variable::new("ssl_ciphers", |ex, out| list(ex, out, |it| &it.offered_ciphers, names::cipher)),
    Variable::new("ssl_curve", |ex, out| text(ex, out, |it| it.curve)),
    Variable::new("ssl_curves", |ex, out| list(ex, out, |it| &it.offered_curves, names::curve)),
    Variable::new("ssl_sigalg", |ex, out| text(ex, out, |it| it.sigalg)),
    Variable::new("ssl_sigalgs", |ex, out| list(ex, out, |it| &it.offered_schemes, |_| None)),
    Variable::new("ssl_server_name", |ex, out| {
        text(ex, out, |it| it.server_name.as_deref().unwrap_or_default())
    }),
    Variable::new("ssl_session_id", session_id),
    Variable::new("ssl_session_reused", |ex, out| text(ex, out, |it| if it.resumed { "r" } else { "." })),
    Variable::new("ssl_early_data", |ex, out| {
        text(ex, out, |it| if it.early.as_ref().is_some_and(|it| !it.is_over()) { "1" } else { "" })
    }),
    Variable::new("ssl_alpn_protocol", |ex, out| {
        text(ex, out, |it| std::str::from_utf8(&it.alpn).unwrap_or_default())
    }),
    Variable::new("ssl_ech_status", |_, _| false),
    Variable::new("ssl_ech_outer_server_name", |_, _| false),
    // As FoxIO's module for nginx names it.
    Variable::new("http_ssl_ja4", |ex, out| text(ex, out, |it| it.ja4.as_str())),
    Variable::new("ssl_client_verify", peer::verify),
    Variable::new("ssl_client_raw_cert", peer::raw_cert),
    Variable::new("ssl_client_cert", peer::cert),
    Variable::new("ssl_client_escaped_cert", peer::escaped_cert),
    Variable::new("ssl_client_s_dn", |ex, out| peer::show(ex, out, |it| it.subject.rfc2253())),
    Variable::new("ssl_client_i_dn", |ex, out| peer::show(ex, out, |it| it.issuer.rfc2253())),
    Variable::new("ssl_client_s_dn_legacy", |ex, out| peer::show(ex, out, |it| it.subject.oneline())),
    Variable::new("ssl_client_i_dn_legacy", |ex, out| peer::show(ex, out, |it| it.issuer.oneline())),
    Variable::new("ssl_client_serial", |ex, out| peer::show(ex, out, |it| it.serial())),
    Variable::new("ssl_client_fingerprint", |ex, out| peer::show(ex, out, |it| it.fingerprint())),
    Variable::new("ssl_client_v_start", |ex, out| peer::show(ex, out, |it| it.not_before.to_string())),
    Variable::new("ssl_client_v_end", |ex, out| peer::show(ex, out, |it| it.not_after.to_string())),
    Variable::new("ssl_client_v_remain", |ex, out| {
        let now_s = (ex.started_unix_ms / 1000) as i64;
        peer::show(ex, out, |it| peer::days_left(it.not_after.unix_s(), now_s).to_string())
    }),
    Variable::new("ssl_client_sigalg", |ex, out| text(ex, out, |it| it.peer_sigalg)),
];

/// Nothing for connections without TLS and for facts that are empty.
fn text(ex: &Exchange, out: &mut Vec<u8>, get: impl FnOnce(&Facts) -> &str) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    let value = get(facts);
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

/// What the client offers, by name or as `0x1a2b`, with colons between.
fn list(
    ex: &Exchange,
    out: &mut Vec<u8>,
    get: fn(&Facts) -> &[u16],
    name: fn(u16) -> Option<&'static str>,
) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    let one = |number: &u16| name(*number).map_or_else(|| format!("0x{number:04x}"), str::to_owned);
    let names: Vec<_> = get(facts).iter().map(one).collect();
    out.extend_from_slice(names.join(":").as_bytes());
    !names.is_empty()
}

fn session_id(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(facts) = &ex.conn.tls else { return false };
    facts.session_id.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02x}").as_bytes()));
    !facts.session_id.is_empty()
}
