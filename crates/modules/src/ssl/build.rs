//! From the options of a server to a configuration of rustls, made once however many locations share it.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_conf::{Error, Word, os_error};
use foregate_core::Compile;
use foregate_net::tls::certs::{self, CertError, Certificates};
use foregate_net::tls::tickets::{LIFETIME_S_DEFAULT, TicketKeys};
use foregate_net::tls::verify::{AnyClient, ClientChain};
use foregate_net::tls::{self, ciphers};
use rustls::crypto::CryptoProvider;
use rustls::server::{ServerSessionMemoryCache, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::{Options, Tls, Verify};

/// Sessions of TLS 1.2 that are kept for each configuration.
const SESSIONS_MAX: usize = 20_480;
/// nginx's default.
const CIPHERS: &str = "HIGH:!aNULL:!MD5";

/// What has been built already for this cycle, by what was written.
#[derive(Default)]
struct Built(HashMap<String, Arc<Tls>>);

/// The key that tickets of all servers are sealed with, unless they have files; kept over reloads.
#[derive(Clone, Default)]
struct CommonTickets(Option<Arc<TicketKeys>>);

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

/// Says once for a configuration what of it cannot be had.
pub(super) fn warn_of_what_is_missing(options: &Options, cx: &mut Compile<'_>) {
    if let Some(word) = options.protocols.iter().flatten().find(|it| is_old(it)) {
        let what = format!("\"{word}\" in \"ssl_protocols\" is ignored: TLS below 1.2 is not spoken");
        cx.warn(Error::at(word.span, what).warn());
    }
}

fn is_old(word: &Word) -> bool {
    ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"].contains(&word.text.as_str())
}

fn build(o: &Options, cx: &mut Compile<'_>) -> Result<Tls, Error> {
    let reject = o.reject.unwrap_or(false);
    let verify = [Verify::Off, Verify::On, Verify::Optional, Verify::OptionalNoCa][o.verify_client.unwrap_or(0)];
    let authorities = authorities(o, verify, cx)?;
    let certificates = certificates(o, cx)?;
    if certificates.is_empty() {
        return Ok(Tls { server: None, reject, verify, chain: None });
    }
    let builder = builder(o, cx)?;
    let builder = match verify {
        Verify::Off => builder.with_no_client_auth(),
        _ => builder.with_client_cert_verifier(Arc::new(AnyClient::new(&authorities))),
    };
    let config = sessions(o, certified(builder, certificates), cx)?;
    let chain = match verify {
        Verify::Off => None,
        _ => Some(ClientChain::new(authorities, revoked(o, cx)?).map_err(Error::plain)?),
    };
    Ok(Tls { server: Some(tls::Server::new(config)), reject, verify, chain })
}

fn certified(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    certificates: Vec<Arc<CertifiedKey>>,
) -> ServerConfig {
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    config
}

/// Versions, ciphers and groups.
fn builder(
    o: &Options,
    cx: &mut Compile<'_>,
) -> Result<ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Error> {
    let list = o.ciphers.as_ref().map_or(CIPHERS, |it| it.text.as_str());
    let mut suites = ciphers::tls12(list);
    if let Some(word) = o.ciphers.as_ref().filter(|_| suites.is_empty()) {
        let what = format!("no cipher of \"{word}\" can be had; TLS 1.2 uses the default ones");
        cx.warn(Error::at(word.span, what).warn());
        suites = ciphers::tls12(CIPHERS);
    }
    suites.splice(0..0, ciphers::tls13_default());
    let groups = match &o.curves {
        None => ciphers::curves_default(),
        Some(word) => ciphers::curves(&word.text).map_err(|name| {
            Error::at(word.span, format!("SSL_CTX_set1_curves_list(\"{word}\") failed: \"{name}\" is not known"))
        })?,
    };
    let provider = CryptoProvider { cipher_suites: suites, kx_groups: groups, ..(**tls::provider()).clone() };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    builder.with_protocol_versions(&versions(o)?).map_err(|error| Error::plain(error.to_string()))
}

fn versions(o: &Options) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let Some(words) = &o.protocols else { return Ok(vec![&version::TLS13, &version::TLS12]) };
    let mut versions = Vec::new();
    for word in words {
        match word.text.as_str() {
            "TLSv1.2" => versions.push(&version::TLS12),
            "TLSv1.3" => versions.push(&version::TLS13),
            _ if is_old(word) => (),
            _ => return Err(Error::at(word.span, format!("invalid value \"{word}\""))),
        }
    }
    match (versions.is_empty(), words.first()) {
        (true, Some(word)) => Err(Error::at(word.span, "no protocol is left of \"ssl_protocols\"")
            .advise("TLS below 1.2 is not spoken: write ssl_protocols TLSv1.2 TLSv1.3;")),
        _ => Ok(versions),
    }
}

fn sessions(o: &Options, mut config: ServerConfig, cx: &mut Compile<'_>) -> Result<ServerConfig, Error> {
    let off = |word: &Word| matches!(word.text.as_str(), "off" | "none");
    let words = o.session_cache.as_deref().unwrap_or_default();
    config.session_storage = match words.is_empty() || words.iter().any(off) {
        true => Arc::new(rustls::server::NoServerSessionStorage {}),
        false => ServerSessionMemoryCache::new(SESSIONS_MAX),
    };
    if o.tickets == Some(false) {
        return Ok(config);
    }
    let lifetime_s = o.session_timeout.map_or(LIFETIME_S_DEFAULT, |it| it.as_secs() as u32);
    config.ticketer = match &o.ticket_keys {
        Some(words) => {
            let files = words.iter().map(|word| read(word, "ssl_session_ticket_key", cx)).collect::<Result<Vec<_>, _>>()?;
            let keys = TicketKeys::new(&files, lifetime_s).ok_or_else(|| {
                Error::at(words[0].span, format!("\"{}\" must be 48 or 80 bytes", words[0]))
            })?;
            Arc::new(keys)
        }
        None => common_tickets(lifetime_s, cx)?,
    };
    Ok(config)
}

fn common_tickets(lifetime_s: u32, cx: &mut Compile<'_>) -> Result<Arc<TicketKeys>, Error> {
    let kept = cx.previous.and_then(|it| it.get::<CommonTickets>()).and_then(|it| it.0.clone());
    let common = &mut cx.shared.get_or_default::<CommonTickets>().0;
    if common.is_none() {
        *common = kept.or_else(|| TicketKeys::random(lifetime_s).map(Arc::new));
    }
    common.clone().ok_or_else(|| Error::plain("no random bytes can be had for session tickets"))
}

fn certificates(o: &Options, cx: &mut Compile<'_>) -> Result<Vec<Arc<CertifiedKey>>, Error> {
    let certificates = o.certificates.as_deref().unwrap_or_default();
    let keys = o.keys.as_deref().unwrap_or_default();
    if let Some(word) = certificates.get(keys.len()) {
        return Err(Error::at(word.span, format!("no \"ssl_certificate_key\" is defined for certificate \"{word}\"")));
    }
    let passwords = passwords(o, cx)?;
    certificates.iter().zip(keys).map(|(cert, key)| one(cert, key, &passwords, cx).map(Arc::new)).collect()
}

fn one(cert: &Word, key: &Word, passwords: &[Vec<u8>], cx: &Compile<'_>) -> Result<CertifiedKey, Error> {
    if let Some(word) = [cert, key].into_iter().find(|it| it.text.contains('$')) {
        return Err(Error::at(word.span, format!("variables in \"{word}\" are not available yet in this version")));
    }
    let cert_pem = read_pem(cert, "cannot load certificate", cx)?;
    let key_pem = read_pem(key, "cannot load certificate key", cx)?;
    certs::certified_with(&cert_pem, &key_pem, passwords).map_err(|error| match error {
        CertError::Mismatch => Error::at(
            key.span,
            format!("SSL_CTX_use_PrivateKey(\"{}\") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)", full(key, cx)),
        )
        .advise("this key belongs to another certificate"),
        CertError::NoKey | CertError::Encrypted | CertError::WrongPassword | CertError::UnknownEncryption => {
            Error::at(key.span, format!("cannot load certificate key \"{}\": {error}", full(key, cx)))
        }
        error => Error::at(cert.span, format!("cannot load certificate \"{}\": {error}", full(cert, cx))),
    })
}

fn passwords(o: &Options, cx: &Compile<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let Some(word) = &o.passwords else { return Ok(Vec::new()) };
    let text = read(word, "ssl_password_file", cx)?;
    Ok(text.split(|b| *b == b'\n').filter(|it| !it.is_empty()).map(<[u8]>::to_vec).collect())
}

fn authorities(o: &Options, verify: Verify, cx: &mut Compile<'_>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    if verify == Verify::Off {
        return Ok(store);
    }
    for word in [&o.client_certificate, &o.trusted_certificate].into_iter().flatten() {
        let pem = read_pem(word, "SSL_CTX_load_verify_locations", cx)?;
        let chain = certs::chain(&pem).map_err(|error| {
            Error::at(word.span, format!("SSL_CTX_load_verify_locations(\"{}\") failed ({error})", full(word, cx)))
        })?;
        store.add_parsable_certificates(chain);
    }
    if store.is_empty() && verify != Verify::OptionalNoCa {
        return Err(Error::plain("no ssl_client_certificate for ssl_verify_client")
            .advise("name the authorities whose certificates clients may show: ssl_client_certificate ca.pem;"));
    }
    Ok(store)
}

fn revoked(
    o: &Options,
    cx: &Compile<'_>,
) -> Result<Vec<rustls::pki_types::CertificateRevocationListDer<'static>>, Error> {
    let Some(word) = &o.crl else { return Ok(Vec::new()) };
    let pem = read(word, "ssl_crl", cx)?;
    certs::revocation_lists(&pem).map_err(|error| Error::at(word.span, format!("cannot load \"{word}\": {error}")))
}

/// A PEM text: a file's, or the one that follows `data:`.
fn read_pem(word: &Word, what: &str, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    if let Some(text) = word.text.strip_prefix("data:") {
        return Ok(text.as_bytes().to_vec());
    }
    let path = cx.conf_path(&word.text);
    cx.files.read(&path).map_err(|error| {
        let why = os_error(&error);
        Error::at(word.span, format!("{what} \"{}\": BIO_new_file() failed{why}", path.display()))
    })
}

fn read(word: &Word, what: &str, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    let path = cx.conf_path(&word.text);
    cx.files.read(&path).map_err(|error| {
        Error::at(word.span, format!("{what}: open() \"{}\" failed{}", path.display(), os_error(&error)))
    })
}

fn full(word: &Word, cx: &Compile<'_>) -> String {
    cx.conf_path(&word.text).display().to_string()
}
