//! From the options of a server to a configuration of rustls, made once however many locations share it.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::Compile;
use foregate_net::tls::certs::Certificates;
use foregate_net::tls::verify::{AnyClient, ClientChain};
use foregate_net::tls::{self, ciphers};
use rustls::crypto::CryptoProvider;
use rustls::{
    ConfigBuilder, ProtocolVersion, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};

use super::commands::Changes;
use super::ocsp::clients::Asking;
use super::ocsp::followed::Followed;
use super::varying::Varying;
use super::{AUTO, EARLY_FOR_ALL, Options, Tls, Verify, certificates, compression, names as known, sessions, warnings};

/// nginx's default, cheapest first, in the order of Mozilla's guidelines.
const CIPHERS: &str = "ECDHE+AES128:HIGH:!aNULL:!MD5";
/// What is spoken where HTTP/2 may be, best first; without it the first is missing.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// What has been built already for this cycle, by what was written.
#[derive(Default)]
struct Built(HashMap<String, Arc<Tls>>);

/// The same settings for the same words.
pub(super) fn shared(options: &Options, cx: &mut Compile<'_>) -> Result<Arc<Tls>, Error> {
    let key = format!("{options:?}");
    if let Some(tls) = cx.shared.get_or_default::<Built>().0.get(&key) {
        return Ok(tls.clone());
    }
    let tls = Arc::new(build(options, cx)?);
    cx.shared.get_or_default::<Built>().0.insert(key, tls.clone());
    Ok(tls)
}

fn build(o: &Options, cx: &mut Compile<'_>) -> Result<Tls, Error> {
    let reject = o.reject.unwrap_or(false);
    let verify = [Verify::Off, Verify::On, Verify::Optional, Verify::OptionalNoCa][o.verify_client.unwrap_or(0)];
    let changes = Changes::read(o.commands.as_deref().unwrap_or_default(), cx)?;
    let names = certificates::names(o, &changes)?;
    let has_certificate = !names.is_empty();
    let varying = Varying::compile(&names, o, cx)?;
    let depth_max = o.verify_depth.unwrap_or(1) as usize;
    let (wanted, trusted, revoked) = match has_certificate || reject {
        true => certificates::authorities(o, verify, cx)?,
        // As nginx, which looks at nothing else in a server without a certificate.
        false => Default::default(),
    };
    let own = match varying {
        Some(_) => Vec::new(),
        None if o.is_automatic() => Vec::new(),
        None => certificates::own(&names, &[&trusted[..], &wanted].concat(), o, cx)?,
    };
    let asking = match verify {
        Verify::Off => None,
        Verify::OptionalNoCa if o.ocsp.is_some_and(|it| it > 0) => {
            let what = "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"";
            return Err(Error::plain(what));
        }
        _ => Asking::compile(o, cx)?,
    };
    let comes_later = varying.is_some() || o.is_automatic();
    let fetches = o.stapling == Some(true) && o.stapling_file.as_ref().is_none_or(|it| it.is_empty());
    let followed =
        (comes_later && fetches).then(|| Followed::of(o, &[&trusted[..], &wanted].concat(), cx));
    let early_for_all = o.early_data == Some(EARLY_FOR_ALL);
    let chain = ClientChain::new(&[&wanted[..], &trusted].concat(), revoked, depth_max);
    if !has_certificate {
        let (server, server_h2, automatic) = (None, None, false);
        return Ok(Tls { server, server_h2, varying, automatic, reject, verify, chain, asking, followed, early_for_all });
    }
    warnings::about_settings(o, cx);
    watch(&names, o, cx);
    certificates::check_dhparam(o, cx)?;
    let builder = builder(o, &changes, cx)?;
    let builder = match verify {
        Verify::Off => builder.with_no_client_auth(),
        _ => builder.with_client_cert_verifier(Arc::new(AnyClient::new(&wanted))),
    };
    let context = sessions::context(&own, if comes_later { &names } else { &[] }, &wanted);
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::stapled(own)));
    config.alpn_protocols = PROTOCOLS[1..].iter().map(|it| it.to_vec()).collect();
    if o.compression == Some(true) {
        config.cert_compressors = compression::ALL.to_vec();
    }
    let order = changes.prefer_server.or(o.prefer_server);
    config.ignore_client_order = order.unwrap_or(true);
    let minds_chacha = config.ignore_client_order && changes.chacha.unwrap_or(order.is_none());
    sessions::set_up(o, &changes, &context, &mut config, cx)?;
    let mut with_h2 = config.clone();
    with_h2.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    let serve = |config| match (tls::Server::new(config), minds_chacha) {
        (server, true) => Some(server.minding_chacha()),
        (server, false) => Some(server),
    };
    let (server, server_h2) = (serve(config), serve(with_h2));
    Ok(Tls { server, server_h2, varying, automatic: o.is_automatic(), reject, verify, chain, asking, followed, early_for_all })
}

/// Certificates are renewed while we serve.
fn watch(names: &[(Word, Word)], o: &Options, cx: &mut Compile<'_>) {
    let own = names.iter().flat_map(|(certificate, key)| [certificate.clone(), certificates::key_file(key)]);
    let others = [&o.client_certificate, &o.trusted_certificate, &o.crl, &o.stapling_file];
    for word in own.chain(others.into_iter().flatten().cloned()) {
        let is_file = !word.is_empty() && !word.starts_with("data:") && !word.contains('$');
        if is_file && word.text != AUTO {
            cx.watch(&word);
        }
    }
}

/// Versions, ciphers and groups.
fn builder(
    o: &Options,
    changes: &Changes,
    cx: &mut Compile<'_>,
) -> Result<ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Error> {
    let versions = versions(o, changes, cx)?;
    let speaks_12 = versions.iter().any(|it| it.version == ProtocolVersion::TLSv1_2);
    let mut suites = suites(changes.ciphers.as_ref().or(o.ciphers.as_ref()), speaks_12, cx)?;
    suites.splice(0..0, changes.suites.clone().unwrap_or_else(ciphers::tls13_served));
    let groups = match changes.curves.as_ref().or(o.curves.as_ref()) {
        None => ciphers::curves_default(),
        Some(word) => ciphers::curves(&word.text).map_err(|name| {
            Error::at(word.span, format!("SSL_CTX_set1_curves_list(\"{word}\") failed"))
                .advise(format!("\"{name}\" is not available; ssl_ecdh_curve auto; takes the best there are"))
        })?,
    };
    let provider = CryptoProvider { cipher_suites: suites, kx_groups: groups, ..(**tls::provider()).clone() };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    builder.with_protocol_versions(&versions).map_err(|error| Error::plain(error.to_string()))
}

/// The suites of TLS 1.2.
fn suites(
    list: Option<&Word>,
    speaks_12: bool,
    cx: &mut Compile<'_>,
) -> Result<Vec<SupportedCipherSuite>, Error> {
    let Some(word) = list else { return Ok(ciphers::tls12(CIPHERS)) };
    let suites = ciphers::tls12(&word.text);
    if !suites.is_empty() {
        return Ok(suites);
    }
    let items = word.split([':', ',', ' ', ';']);
    // OpenSSL keeps the names of TLS 1.3 out of this list.
    if !items.filter(|it| !it.starts_with("TLS_A") && !it.starts_with("TLS_C")).any(known::is_known_in_lists) {
        let what = format!("SSL_CTX_set_cipher_list(\"{word}\") failed");
        let tail = "(SSL: error:0A0000B9:SSL routines::no cipher match)";
        return Err(Error::at(word.span, format!("{what} {tail}"))
            .advise("ssl_ciphers is about TLS 1.2; ssl_conf_command Ciphersuites …; is about TLS 1.3"));
    }
    if speaks_12 {
        let what = format!("no cipher of \"{word}\" is available: TLS 1.2 uses {CIPHERS}");
        cx.warn(Error::at(word.span, what).warn());
    }
    Ok(ciphers::tls12(CIPHERS))
}

fn versions(
    o: &Options,
    changes: &Changes,
    cx: &mut Compile<'_>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let mut versions = vec![&version::TLS13, &version::TLS12];
    if let Some(words) = &o.protocols {
        let has = |name: &str| words.iter().any(|word| word.text == name);
        versions.retain(|it| has(if it.version == ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" }));
        if let Some(word) = words.iter().find(|it| !matches!(it.text.as_str(), "TLSv1.2" | "TLSv1.3")) {
            if versions.is_empty() {
                return Err(Error::at(word.span, "no protocol of \"ssl_protocols\" is available")
                    .advise("TLS below 1.2 is not spoken: write ssl_protocols TLSv1.2 TLSv1.3;"));
            }
            let what = format!("\"{word}\" in \"ssl_protocols\" is ignored: TLS below 1.2 is not spoken");
            warnings::once("old protocols", word.span, what, cx);
        }
    }
    versions.retain(|it| changes.allows(it.version));
    match versions.is_empty() {
        true => Err(Error::plain("\"ssl_conf_command\" leaves no protocol of \"ssl_protocols\"")),
        false => Ok(versions),
    }
}
