//! `proxy_ssl_…` and its kin: TLS towards upstreams.

mod table;
mod varying;

use std::borrow::Cow;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use foregate_conf::{Error, Node, Span, Word};
use foregate_core::{Compile, Exchange, Stop, Template, duplicate};
use foregate_net::tls::store::Limits;
use foregate_net::tls::x509::Failure;
use foregate_net::tls::{self, HandshakeError, certs, ciphers, verify};
use foregate_net::{Conn, Stream, sys};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, SupportedProtocolVersion, version};

use varying::{Varying, varies};

use crate::connect::{Secure, TlsError};
use crate::rules::Rules;

/// Sessions that are kept for resumption, per location.
const SESSIONS_MAX: usize = 256;

/// What a block writes about TLS, every field unset until it does.
#[derive(Clone, Default)]
pub struct TlsDraft {
    pub session_reuse: Option<bool>,
    pub protocols: Option<Vec<Word>>,
    pub ciphers: Option<Word>,
    pub name: Option<Word>,
    pub server_name: Option<bool>,
    pub verify: Option<bool>,
    pub verify_depth: Option<u64>,
    pub trusted: Option<Word>,
    pub crl: Option<Word>,
    pub certificate: Option<Word>,
    pub key: Option<Word>,
    pub certificate_cache: Option<Option<Limits>>,
    pub password_file: Option<Word>,
    pub commands: Option<Vec<(Word, Word)>>,
    /// From `…_conf_command`: the groups that keys are exchanged in.
    pub curves: Option<Word>,
}

const PROTOCOLS: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

pub fn protocols(o: &mut TlsDraft, node: &Node) -> Result<(), Error> {
    if o.protocols.is_some() {
        return Err(duplicate(node));
    }
    if let Some(word) = node.args.iter().find(|word| !PROTOCOLS.contains(&word.text.as_str())) {
        return Err(Error::at(word.span, format!("invalid value \"{word}\"")));
    }
    o.protocols = Some(node.args.clone());
    Ok(())
}

pub fn cache(o: &mut TlsDraft, node: &Node) -> Result<(), Error> {
    if o.certificate_cache.is_some() {
        return Err(duplicate(node));
    }
    o.certificate_cache = Some(foregate_core::certificate_cache(node)?);
    Ok(())
}

pub fn conf_command(o: &mut TlsDraft, node: &Node) -> Result<(), Error> {
    o.commands.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}

/// What was written, and under which names.
struct Written<'a> {
    draft: &'a TlsDraft,
    family: &'a str,
    alpn: Option<&'a [u8]>,
}

impl std::ops::Deref for Written<'_> {
    type Target = TlsDraft;

    fn deref(&self) -> &TlsDraft {
        self.draft
    }
}

/// A compiled client.
pub struct Tls {
    client: Client,
    id: u32,
    name: Option<Template>,
    verifies: bool,
    /// Which certificate is shown depends on the request.
    varying: Option<Varying>,
}

/// With SNI as configured, and without for names that cannot be said.
#[derive(Clone)]
struct Client {
    named: tls::Client,
    nameless: tls::Client,
}

impl Client {
    fn new(config: ClientConfig, server_name: bool) -> Self {
        let mut named = config.clone();
        named.enable_sni = server_name;
        let mut nameless = config;
        nameless.enable_sni = false;
        Self { named: tls::Client::new(named), nameless: tls::Client::new(nameless) }
    }
}

impl Tls {
    /// `family`: what the directives' names begin with. `alpn`: what is spoken below TLS, if that must be said.
    ///
    /// # Errors
    /// A value that cannot be compiled, a file that cannot be read.
    pub fn compile(
        o: &TlsDraft,
        family: &str,
        alpn: Option<&[u8]>,
        span: Span,
        cx: &mut Compile<'_>,
    ) -> Result<Self, Error> {
        let o = &with_commands(o, family, cx)?;
        let o = &Written { draft: o, family, alpn };
        let config = config(o, span, cx)?;
        watch(o, cx);
        let server_name = o.server_name.unwrap_or(false);
        Ok(Self {
            varying: Varying::compile(o, &config, server_name, cx)?,
            client: Client::new(config, server_name),
            id: Rules::next_id(),
            name: o.name.as_ref().map(|it| cx.template(it)).transpose()?,
            verifies: o.verify.unwrap_or(false),
        })
    }

    /// What this request's handshake needs, and what tells its connections from others.
    ///
    /// # Errors
    /// The certificate that this request's variables name cannot be used; it has been logged.
    pub fn prepare(&self, host: &str, ex: &mut Exchange) -> Result<Handshake<'_>, Stop> {
        let name = match &self.name {
            Some(name) => String::from_utf8_lossy(&name.fill_new(ex)).into_owned(),
            None => host.to_owned(),
        };
        let bare = without_port(&name).to_owned();
        let mut hasher = DefaultHasher::new();
        (self.id, &bare).hash(&mut hasher);
        let client = match &self.varying {
            None => Cow::Borrowed(&self.client),
            Some(varying) => {
                let (cert, client) = varying.client(ex)?;
                cert.hash(&mut hasher);
                client.map_or(Cow::Borrowed(&self.client), Cow::Owned)
            }
        };
        Ok(Handshake { client, verifies: self.verifies, name: bare, identity: hasher.finish() | 1 })
    }
}

/// `$proxy_host` and `$http_host` may name a port.
fn without_port(name: &str) -> &str {
    let from = name.find(']').unwrap_or(0);
    let end = name[from..].find(':').map_or(name.len(), |at| from + at);
    name[..end].trim_matches(['[', ']'])
}

/// One request's handshake.
pub struct Handshake<'a> {
    client: Cow<'a, Client>,
    verifies: bool,
    name: String,
    identity: u64,
}

impl Secure for Handshake<'_> {
    fn identity(&self) -> u64 {
        self.identity
    }

    fn handshake(&self, stream: Stream) -> Pin<Box<dyn Future<Output = Result<Conn, TlsError>> + '_>> {
        Box::pin(async move {
            let (client, name) = match ServerName::try_from(self.name.clone()) {
                Ok(name) => (&self.client.named, name),
                Err(_) if self.verifies => return Err(self.mismatch()),
                // Unusable as a name, and nobody checks it.
                Err(_) => {
                    (&self.client.nameless, ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
                }
            };
            match tls::connect(stream, client, name).await {
                Ok(stream) => Ok(Conn::Tls(Box::new(stream))),
                Err(error) => Err(self.words(&error)),
            }
        })
    }
}

impl Handshake<'_> {
    fn mismatch(&self) -> TlsError {
        TlsError(format!("upstream SSL certificate does not match \"{}\"", self.name))
    }

    /// nginx's words, with OpenSSL's numbers for what is wrong with a certificate.
    fn words(&self, error: &HandshakeError) -> TlsError {
        use rustls::CertificateError as Cert;
        let rustls = match error {
            HandshakeError::Closed => return TlsError("peer closed connection in SSL handshake".to_owned()),
            HandshakeError::Io(error) => {
                return TlsError(format!("SSL_do_handshake() failed ({})", sys::errno_text(error)));
            }
            HandshakeError::Tls(error) => error,
            other => return TlsError(format!("SSL_do_handshake() failed ({other})")),
        };
        let rustls::Error::InvalidCertificate(cert) = rustls else {
            return TlsError(format!("SSL_do_handshake() failed (SSL: {rustls})"));
        };
        let why = match cert {
            Cert::NotValidForName => return self.mismatch(),
            Cert::Other(why) => why.0.downcast_ref::<Failure>(),
            _ => None,
        };
        let why = why.map_or_else(|| cert.to_string(), |it| format!("{}:{it}", it.code));
        TlsError(format!("upstream SSL certificate verify error: ({why})"))
    }
}

fn config(o: &Written<'_>, span: Span, cx: &mut Compile<'_>) -> Result<ClientConfig, Error> {
    let mut provider = tls::provider().as_ref().clone();
    let list = o.ciphers.as_ref().map_or("DEFAULT", |it| it.text.as_str());
    let older = ciphers::tls12(list);
    if older.is_empty()
        && let Some(word) = &o.ciphers
    {
        let what = format!("SSL_CTX_set_cipher_list(\"{word}\") failed");
        return Err(Error::at(word.span, what).advise("none of these ciphers is available"));
    }
    provider.cipher_suites = newer_ciphers(o)?;
    if let Some(word) = &o.curves {
        provider.kx_groups = ciphers::curves(word).unwrap_or_else(|_| ciphers::curves_default());
    }
    provider.cipher_suites.extend(older);
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder
        .with_protocol_versions(&versions(o))
        .map_err(|error| Error::at(span, format!("{}_ssl_protocols: {error}", o.family)))?;
    let builder = match o.verify.unwrap_or(false) {
        false => builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::AnyServer)),
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier(o, span, cx)?)),
    };
    let mut config = match &o.certificate {
        Some(cert) if !cert.is_empty() && !varies(o) => {
            builder.with_client_cert_resolver(Arc::new(own_certificate(o, cert, cx)?))
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = o.alpn.iter().map(|it| it.to_vec()).collect();
    config.resumption = match o.session_reuse.unwrap_or(true) {
        true => Resumption::in_memory_sessions(SESSIONS_MAX),
        false => Resumption::disabled(),
    };
    Ok(config)
}

/// What `proxy_ssl_conf_command` and its like says in place of other directives. The suites of TLS 1.3 have none, see
/// [`newer_ciphers`].
fn with_commands(o: &TlsDraft, family: &str, cx: &mut Compile<'_>) -> Result<TlsDraft, Error> {
    let mut o = o.clone();
    for (name, given) in o.commands.clone().iter().flatten() {
        let wrong = || Error::at(given.span, format!("SSL_CONF_cmd(\"{name}\", \"{given}\") failed"));
        match name.to_ascii_lowercase().as_str() {
            "ciphersuites" => {}
            "certificate" => o.certificate = Some(given.clone()),
            "privatekey" => o.key = Some(given.clone()),
            "cipherstring" => o.ciphers = Some(given.clone()),
            "curves" | "groups" => {
                ciphers::curves(given).map_err(|_| wrong())?;
                o.curves = Some(given.clone());
            }
            "minprotocol" | "maxprotocol" => {
                let among = PROTOCOLS.iter().position(|it| *it == given.text).ok_or_else(wrong)?;
                let is_least = name.eq_ignore_ascii_case("minprotocol");
                let allowed = if is_least { &PROTOCOLS[among..] } else { &PROTOCOLS[..=among] };
                let before = o.protocols.take();
                let kept = |it: &&&str| before.iter().all(|words| words.iter().any(|word| word.text == **it));
                let words = allowed.iter().filter(kept);
                o.protocols =
                    Some(words.map(|it| Word::new(it.as_bytes().to_vec(), given.span, false)).collect());
            }
            _ => {
                let what = format!("\"{family}_ssl_conf_command {name}\" is ignored: OpenSSL is not used");
                cx.warnings.push(Error::at(name.span, what).warn());
            }
        }
    }
    Ok(o)
}

/// Certificates are renewed while we serve.
fn watch(o: &TlsDraft, cx: &mut Compile<'_>) {
    for word in [&o.certificate, &o.key, &o.trusted, &o.crl].into_iter().flatten() {
        if !word.is_empty() && !word.contains([':', '$']) {
            cx.watch(word);
        }
    }
}

/// `proxy_ssl_conf_command Ciphersuites` chooses those of TLS 1.3.
fn newer_ciphers(o: &Written<'_>) -> Result<Vec<rustls::SupportedCipherSuite>, Error> {
    let mut chosen = ciphers::tls13_default();
    for (name, given) in o.commands.iter().flatten() {
        if name.eq_ignore_ascii_case("Ciphersuites") {
            chosen = ciphers::tls13(given).map_err(|unknown| {
                let what = format!("SSL_CONF_cmd(\"{name}\", \"{given}\") failed");
                Error::at(given.span, what).advise(format!("\"{unknown}\" is not available"))
            })?;
        }
    }
    Ok(chosen)
}

fn versions(o: &TlsDraft) -> Vec<&'static SupportedProtocolVersion> {
    let Some(words) = &o.protocols else { return vec![&version::TLS13, &version::TLS12] };
    let has = |name: &str| words.iter().any(|word| *word == name);
    let mut versions = Vec::new();
    if has("TLSv1.3") {
        versions.push(&version::TLS13);
    }
    if has("TLSv1.2") || versions.is_empty() {
        versions.push(&version::TLS12);
    }
    versions
}

fn verifier(o: &Written<'_>, span: Span, cx: &Compile<'_>) -> Result<verify::ServerChain, Error> {
    let Some(trusted) = o.trusted.as_ref().filter(|it| !it.is_empty()) else {
        let of = o.family;
        return Err(Error::at(span, format!("no {of}_ssl_trusted_certificate for {of}_ssl_verify")));
    };
    let authorities = certs::chain(&read(trusted, cx)?)
        .map_err(|error| failed("SSL_CTX_load_verify_locations", trusted, &error))?;
    let revoked = match o.crl.as_ref().filter(|it| !it.is_empty()) {
        Some(crl) => certs::revocation_lists(&read(crl, cx)?)
            .map_err(|error| failed("X509_LOOKUP_load_file", crl, &error))?,
        None => Vec::new(),
    };
    Ok(verify::ServerChain::new(&authorities, revoked, o.verify_depth.unwrap_or(1) as usize))
}

fn own_certificate(o: &Written<'_>, cert: &Word, cx: &Compile<'_>) -> Result<SingleCertAndKey, Error> {
    let Some(key) = &o.key else {
        let what = format!("no \"{}_ssl_certificate_key\" is defined for certificate \"{cert}\"", o.family);
        return Err(Error::at(cert.span, what));
    };
    let passwords = passwords(o, cx)?;
    let certified = certs::certified_with(&read(cert, cx)?, &read(key, cx)?, &passwords);
    certified.map(SingleCertAndKey::from).map_err(|error| failed("SSL_CTX_use_PrivateKey", cert, &error))
}

fn passwords(o: &TlsDraft, cx: &Compile<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let Some(word) = &o.password_file else { return Ok(Vec::new()) };
    Ok(read(word, cx)?.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

fn read(word: &Word, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    if let Some(inline) = word.strip_prefix("data:") {
        return Ok(inline.as_bytes().to_vec());
    }
    let path = cx.conf_path(word);
    cx.files.read(&path).map_err(|error| {
        let why = sys::errno_text(&error);
        Error::at(word.span, format!("cannot load certificate \"{}\": {why}", path.display()))
    })
}

fn failed(call: &str, word: &Word, why: &dyn std::fmt::Display) -> Error {
    Error::at(word.span, format!("{call}(\"{word}\") failed ({why})"))
}
