//! `ssl_*`: certificates and how TLS is spoken to clients.

mod build;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Level, Prefix, Scope, Stop, Variable, log};
use foregate_net::tls::{self, verify::ClientChain};
use std::ops::ControlFlow::{Break, Continue};

pub struct Module;

#[derive(Clone, Debug, Default)]
pub struct Options {
    certificates: Option<Vec<Word>>,
    keys: Option<Vec<Word>>,
    passwords: Option<Word>,
    protocols: Option<Vec<Word>>,
    ciphers: Option<Word>,
    prefer_server: Option<bool>,
    curves: Option<Word>,
    session_cache: Option<Vec<Word>>,
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
    early_data: Option<bool>,
    stapling: Option<bool>,
    stapling_verify: Option<bool>,
    stapling_file: Option<Word>,
    stapling_responder: Option<Word>,
    compression: Option<bool>,
    http2: Option<bool>,
}

/// What connections of a server are to have; shared by all its locations.
pub struct Settings(Arc<Tls>);

/// A server's way of speaking TLS.
pub struct Tls {
    /// `None`: there is no certificate.
    pub server: Option<tls::Server>,
    /// `ssl_reject_handshake`.
    pub reject: bool,
    verify: Verify,
    chain: Option<ClientChain>,
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
const S: Scope = Scope::HTTP_SERVER;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("ssl_certificate", S, Args::Exactly(1), certificate, certificates_inherit),
        Directive::own("ssl_certificate_key", S, Args::Exactly(1), key, keys_inherit),
        Directive::text("ssl_password_file", S, |o| &mut o.passwords),
        Directive::words("ssl_protocols", S, |o| &mut o.protocols),
        Directive::text("ssl_ciphers", S, |o| &mut o.ciphers),
        Directive::flag("ssl_prefer_server_ciphers", S, |o| &mut o.prefer_server),
        Directive::text("ssl_ecdh_curve", S, |o| &mut o.curves),
        Directive::words("ssl_session_cache", S, |o| &mut o.session_cache),
        Directive::seconds("ssl_session_timeout", S, |o| &mut o.session_timeout),
        Directive::flag("ssl_session_tickets", S, |o| &mut o.tickets),
        Directive::own("ssl_session_ticket_key", S, Args::Exactly(1), ticket_key, ticket_keys_inherit),
        Directive::choice("ssl_verify_client", S, VERIFY, |o| &mut o.verify_client),
        Directive::number("ssl_verify_depth", S, |o| &mut o.verify_depth),
        Directive::text("ssl_client_certificate", S, |o| &mut o.client_certificate),
        Directive::text("ssl_trusted_certificate", S, |o| &mut o.trusted_certificate),
        Directive::text("ssl_crl", S, |o| &mut o.crl),
        Directive::flag("ssl_reject_handshake", S, |o| &mut o.reject),
        Directive::text("ssl_dhparam", S, |o| &mut o.dhparam),
        Directive::size("ssl_buffer_size", S, |o| &mut o.buffer_size),
        Directive::flag("ssl_early_data", S, |o| &mut o.early_data),
        Directive::flag("ssl_stapling", S, |o| &mut o.stapling),
        Directive::flag("ssl_stapling_verify", S, |o| &mut o.stapling_verify),
        Directive::text("ssl_stapling_file", S, |o| &mut o.stapling_file),
        Directive::text("ssl_stapling_responder", S, |o| &mut o.stapling_responder),
        Directive::flag("ssl_certificate_compression", S, |o| &mut o.compression),
        Directive::flag("http2", S, |o| &mut o.http2),
    ];

    const VARIABLES: &'static [Variable] = variables::ALL;
    const PREFIXES: &'static [Prefix] = &[];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        build::warn_of_what_is_missing(options, cx);
        Ok(())
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        if options.certificates.is_none() && options.reject != Some(true) {
            return Ok(None);
        }
        build::shared(&options, cx).map(|tls| Some(Settings(tls)))
    }
}

/// Once the server is known: whether the client's certificate is good enough for it.
pub fn check(on: &Settings, ex: &Exchange) -> Flow {
    let Some(facts) = &ex.conn.tls else { return Continue(()) };
    if on.verify == Verify::Off {
        return Continue(());
    }
    if facts.peer_certs.is_empty() {
        if on.verify == Verify::On {
            log!(ex, Level::Info, "client sent no required SSL certificate while reading client request headers");
            return Break(Stop::status(496));
        }
        return Continue(());
    }
    if let Err(why) = on.verdict(&facts.peer_certs)
        && on.verify != Verify::OptionalNoCa
    {
        let tail = "while reading client request headers";
        log!(ex, Level::Info, "client SSL certificate verify error: ({why}) {tail}");
        return Break(Stop::status(495));
    }
    Continue(())
}

impl Tls {
    fn verdict(&self, chain: &[Box<[u8]>]) -> Result<(), String> {
        self.chain.as_ref().map_or_else(|| Err("no authorities are known".to_owned()), |it| it.check(chain))
    }
}

fn certificate(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.certificates.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

fn certificates_inherit(o: &mut Options, outer: &Options) {
    if o.certificates.is_none() {
        o.certificates.clone_from(&outer.certificates);
    }
}

fn key(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.keys.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

fn keys_inherit(o: &mut Options, outer: &Options) {
    if o.keys.is_none() {
        o.keys.clone_from(&outer.keys);
    }
}

fn ticket_key(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.ticket_keys.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

fn ticket_keys_inherit(o: &mut Options, outer: &Options) {
    if o.ticket_keys.is_none() {
        o.ticket_keys.clone_from(&outer.ticket_keys);
    }
}
