//! `ssl_*`: certificates and how TLS is spoken to clients.

mod build;
mod certificates;
mod commands;
mod compression;
mod names;
mod ocsp;
mod peer;
mod read;
mod sessions;
#[cfg(test)]
mod tests;
mod variables;
mod varying;
mod warnings;

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Span, Word};
use foregate_core::{Args, Compile, Directive, ErrorLog, Exchange, Flow, Level, Method, Scope, Shared, Stop, Variable, ZoneSpec, log};
use foregate_net::runtime::Task;
use foregate_net::tls::store::Limits;
use foregate_net::tls::verify::ClientChain;
use foregate_net::tls::x509::Failure;
use foregate_net::tls::{self, Facts};

use rustls::server::ResolvesServerCert;

use ocsp::clients::{self, Asking};
use ocsp::followed::{Followed, Following};
use varying::Varying;
pub use warnings::http3_is_missing;

pub struct Module;

#[derive(Clone, Debug, Default)]
pub struct Options {
    certificates: Option<Vec<Word>>,
    keys: Option<Vec<Word>>,
    certificate_cache: Option<Option<Limits>>,
    passwords: Option<Word>,
    protocols: Option<Vec<Word>>,
    ciphers: Option<Word>,
    prefer_server: Option<bool>,
    curves: Option<Word>,
    commands: Option<Vec<(Word, Word)>>,
    session_cache: Option<read::Cache>,
    session_timeout: Option<Duration>,
    tickets: Option<bool>,
    ticket_keys: Option<Vec<Word>>,
    verify_client: Option<usize>,
    verify_depth: Option<u64>,
    client_certificate: Option<Word>,
    trusted_certificate: Option<Word>,
    crl: Option<Word>,
    reject: Option<bool>,
    dhparam: Option<Word>,
    buffer_size: Option<u64>,
    early_data: Option<usize>,
    stapling: Option<bool>,
    stapling_verify: Option<bool>,
    stapling_file: Option<Word>,
    stapling_responder: Option<Word>,
    ocsp: Option<usize>,
    ocsp_responder: Option<Word>,
    ocsp_cache: Option<Option<(ZoneSpec, Word)>>,
    compression: Option<bool>,
    http3: Option<bool>,
    http3_hq: Option<bool>,
    http3_streams: Option<u64>,
    quic_retry: Option<bool>,
    quic_host_key: Option<Word>,
}

/// The word for a certificate that comes by itself.
const AUTO: &str = "auto";

impl Options {
    fn is_automatic(&self) -> bool {
        self.certificates.iter().flatten().any(|it| it.text == AUTO)
    }

    /// Whether the block itself says anything of certificates.
    pub fn names_certificates(&self) -> bool {
        self.certificates.is_some() || self.reject == Some(true)
    }

    /// As `ssl_certificate auto;` does.
    pub fn become_automatic(&mut self, span: Span) {
        self.certificates = Some(vec![Word::new(AUTO.into(), span, false)]);
        self.keys = None;
    }
}

/// What connections of a server are to have; shared by all its locations.
pub struct Settings(Arc<Tls>);

/// A server's way of speaking TLS.
pub struct Tls {
    /// `None`: there is no certificate; the default server's is shown, if it has one.
    server: Option<tls::Server>,
    /// As `server`, for connections on which HTTP/2 may be spoken.
    server_h2: Option<tls::Server>,
    /// Certificates that are named anew for every connection.
    varying: Option<Varying>,
    /// `ssl_certificate auto`: the certificate is found by the server, see [`Tls::resolving`].
    pub automatic: bool,
    /// `ssl_reject_handshake`.
    pub reject: bool,
    verify: Verify,
    chain: ClientChain,
    /// `ssl_ocsp`
    asking: Option<Asking>,
    /// `ssl_stapling` for certificates that come while we serve.
    followed: Option<Arc<Followed>>,
    /// Requests of every method are served before the handshake is done.
    early_for_all: bool,
}

impl std::ops::Deref for Settings {
    type Target = Tls;

    fn deref(&self) -> &Tls {
        &self.0
    }
}

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Off,
    On,
    Optional,
    OptionalNoCa,
}

const VERIFY: &[&str] = &["off", "on", "optional", "optional_no_ca"];
/// `all`: requests that change something, too, are served before it is known that they are no replay.
const EARLY_DATA: &[&str] = &["off", "on", "all"];
const EARLY_FOR_ALL: usize = 2;
const S: Scope = Scope::HTTP_SERVER;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("ssl_certificate", S, Args::Exactly(1), read::certificate, read::certificates_inherit),
        Directive::own("ssl_certificate_key", S, Args::Exactly(1), read::key, read::keys_inherit),
        Directive::own("ssl_certificate_cache", S, Args::Between(1, 3), read::certificate_cache, read::certificate_cache_inherit),
        Directive::text("ssl_password_file", S, |o| &mut o.passwords),
        Directive::own("ssl_protocols", S, Args::AtLeast(1), read::protocols, read::protocols_inherit),
        Directive::text("ssl_ciphers", S, |o| &mut o.ciphers),
        Directive::flag("ssl_prefer_server_ciphers", S, |o| &mut o.prefer_server),
        Directive::text("ssl_ecdh_curve", S, |o| &mut o.curves),
        Directive::own("ssl_conf_command", S, Args::Exactly(2), read::command, read::commands_inherit),
        Directive::own("ssl_session_cache", S, Args::Between(1, 2), read::session_cache, read::cache_inherit),
        Directive::seconds("ssl_session_timeout", S, |o| &mut o.session_timeout),
        Directive::flag("ssl_session_tickets", S, |o| &mut o.tickets),
        Directive::own("ssl_session_ticket_key", S, Args::Exactly(1), read::ticket_key, read::ticket_keys_inherit),
        Directive::choice("ssl_verify_client", S, VERIFY, |o| &mut o.verify_client),
        Directive::number("ssl_verify_depth", S, |o| &mut o.verify_depth),
        Directive::text("ssl_client_certificate", S, |o| &mut o.client_certificate),
        Directive::text("ssl_trusted_certificate", S, |o| &mut o.trusted_certificate),
        Directive::text("ssl_crl", S, |o| &mut o.crl),
        Directive::flag("ssl_reject_handshake", S, |o| &mut o.reject),
        Directive::text("ssl_dhparam", S, |o| &mut o.dhparam),
        Directive::size("ssl_buffer_size", S, |o| &mut o.buffer_size),
        Directive::choice("ssl_early_data", S, EARLY_DATA, |o| &mut o.early_data),
        Directive::flag("ssl_stapling", S, |o| &mut o.stapling),
        Directive::flag("ssl_stapling_verify", S, |o| &mut o.stapling_verify),
        Directive::text("ssl_stapling_file", S, |o| &mut o.stapling_file),
        Directive::text("ssl_stapling_responder", S, |o| &mut o.stapling_responder),
        Directive::choice("ssl_ocsp", S, clients::WHOM, |o| &mut o.ocsp),
        Directive::text("ssl_ocsp_responder", S, |o| &mut o.ocsp_responder),
        Directive::own("ssl_ocsp_cache", S, clients::ARGS, clients::read_cache, clients::cache_inherit),
        Directive::flag("ssl_certificate_compression", S, |o| &mut o.compression),
        Directive::flag("http3", S, |o| &mut o.http3),
        Directive::flag("http3_hq", S, |o| &mut o.http3_hq),
        Directive::number("http3_max_concurrent_streams", S, |o| &mut o.http3_streams),
        Directive::flag("quic_retry", S, |o| &mut o.quic_retry),
        Directive::text("quic_host_key", S, |o| &mut o.quic_host_key),
    ];

    const VARIABLES: &'static [Variable] = variables::ALL;

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let is_needed = options.certificates.is_some()
            || options.reject == Some(true)
            || options.verify_client.is_some_and(|it| it > 0);
        match is_needed {
            true => build::shared(&options, cx).map(|tls| Some(Settings(tls))),
            false => Ok(None),
        }
    }
}

/// Once the server is known: whether the client's certificate is good enough for it.
pub fn check(on: &Settings, ex: &Exchange) -> Flow {
    let Some(facts) = &ex.conn.tls else { return Continue(()) };
    if on.verify == Verify::Off {
        return Continue(());
    }
    match verdict(on, ex, facts) {
        None if on.verify == Verify::On => {
            log!(ex, Level::Info, "client sent no required SSL certificate while reading client request headers");
            Break(Stop::status(496))
        }
        Some(Err(why)) if on.verify != Verify::OptionalNoCa || !why.is_lack_of_trust() => {
            let tail = "while reading client request headers";
            match why.code {
                0 => log!(ex, Level::Info, "client SSL certificate verify error: {why} {tail}"),
                code => log!(ex, Level::Info, "client SSL certificate verify error: ({code}:{why}) {tail}"),
            }
            Break(Stop::status(495))
        }
        _ => Continue(()),
    }
}

impl Tls {
    /// Whether connections that ask for this server can be answered by itself.
    pub fn has_certificate(&self) -> bool {
        self.server.is_some()
    }

    /// How to answer every connection, unless [`Tls::varies`]; `None`: there is no certificate. `h2`: HTTP/2 may be
    /// spoken on it.
    pub fn fixed(&self, h2: bool) -> Option<&tls::Server> {
        if h2 { self.server_h2.as_ref() } else { self.server.as_ref() }
    }

    /// As [`Tls::fixed`] without and with HTTP/2, with certificates that somebody else finds for each handshake.
    pub fn resolving(&self, certificates: Arc<dyn ResolvesServerCert>) -> Option<[tls::Server; 2]> {
        let (plain, h2) = (self.server.as_ref()?, self.server_h2.as_ref()?);
        let certificates = match &self.followed {
            Some(followed) => Arc::new(Following { certificates, followed: followed.clone() }),
            None => certificates,
        };
        Some([plain.resolving(certificates.clone()), h2.resolving(certificates)])
    }

    /// Whether the certificate depends on the connection: [`Tls::answer`] is to be asked.
    pub fn varies(&self) -> bool {
        self.varying.is_some()
    }

    /// How to answer a connection, of which `ex` knows what is known before its handshake; `None`: there is no
    /// certificate. May read files.
    ///
    /// # Errors
    /// Why the certificate that this connection is to see cannot be had, for the log.
    pub fn answer(&self, ex: &mut Exchange, h2: bool) -> Result<Option<tls::Server>, String> {
        match (self.fixed(h2), &self.varying) {
            (Some(server), Some(varying)) => Ok(Some(server.showing(varying.certificates(ex, self.followed.as_deref())?))),
            (server, _) => Ok(server.cloned()),
        }
    }

    /// Whether it matters by which server a connection's handshake was answered.
    pub fn verifies_clients(&self) -> bool {
        self.verify != Verify::Off
    }
}

/// Whether a request has to wait until its connection's handshake is done: it came before, it may be somebody's replay,
/// and it is of a method that may change something (RFC 8470 section 3).
pub fn must_wait(on: Option<&Settings>, ex: &Exchange) -> bool {
    let early = ex.conn.tls.as_ref().and_then(|it| it.early.as_ref());
    let is_safe = matches!(ex.method, Method::Get | Method::Head | Method::Options);
    early.is_some_and(|it| !it.is_over()) && !is_safe && !on.is_some_and(|it| it.early_for_all)
}

/// What was found about a connection's client, and for which settings.
struct Judged {
    by: Arc<Tls>,
    found: Result<(), Failure>,
    /// The issuers have been asked, or need not be.
    asked: bool,
}

/// Whether the chain of the client holds; judged once for each connection. `None`: it sent no certificate.
fn verdict(on: &Settings, ex: &Exchange, facts: &Facts) -> Option<Result<(), Failure>> {
    if facts.peer_certs.is_empty() || on.verify == Verify::Off {
        return None;
    }
    let mut notes = ex.conn.notes.borrow_mut();
    if let Some(judged) = notes.get::<Judged>().filter(|it| Arc::ptr_eq(&it.by, &on.0)) {
        return Some(judged.found);
    }
    let found = on.chain.check(&facts.peer_certs);
    notes.put(Judged { by: on.0.clone(), found, asked: false });
    Some(found)
}

/// Whether [`ask`] has something to do before [`check`].
pub fn is_to_ask(on: &Settings, ex: &Exchange) -> bool {
    let Some(facts) = ex.conn.tls.as_ref().filter(|_| on.asking.is_some()) else { return false };
    matches!(verdict(on, ex, facts), Some(Ok(())))
        && ex.conn.notes.borrow().get::<Judged>().is_some_and(|it| !it.asked)
}

/// Asks the issuers whether the client's certificate still holds (`ssl_ocsp`).
pub async fn ask(on: &Settings, ex: &Exchange) {
    let (Some(asking), Some(facts)) = (&on.asking, &ex.conn.tls) else { return };
    let cycle = ex.cycle.clone();
    let resolver = crate::settings(&*cycle, ex.location).resolver.as_ref().map(|it| &it.resolver);
    let found = asking.ask(&on.chain.path(&facts.peer_certs), resolver, ex).await;
    ex.conn.notes.borrow_mut().put(Judged { by: on.0.clone(), found, asked: true });
}

/// Fetches what is stapled to certificates, for as long as the tasks live.
pub fn keep_stapled(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let mut tasks = ocsp::stapling::start(shared, log);
    tasks.extend(ocsp::followed::start(shared, log));
    tasks
}
