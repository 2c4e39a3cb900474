//! TLS 1.2 and 1.3 over a stream, both sides: handshakes by rustls, data by a record layer of our own.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use foregate_wire::Buf;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;

use crate::stream::Stream;
use handshake::Exchange;

pub mod certs;
pub mod ciphers;
mod early;
mod handshake;
pub mod hello;
mod ja4;
mod outgoing;
mod pbes2;
mod record;
pub mod sessions;
mod signed;
pub mod store;
mod stream;
pub mod tickets;
pub mod verify;
pub mod x509;

pub use early::{EARLY_BYTES_MAX, EarlyData};
pub use hello::ClientHello;
pub use ja4::Ja4;
pub use stream::TlsStream;

/// The alert for a host name that is not served (RFC 6066 section 3; nginx: ssl_reject_handshake).
const UNRECOGNIZED_NAME: u8 = 112;
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;

/// Why a client is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The name it asks for is not served.
    UnknownName,
    /// There is a configuration, and it could not be had; the log says why.
    Failed,
}

/// How a server answers; shared by all threads.
#[derive(Clone, Debug)]
pub struct Server {
    config: Arc<rustls::ServerConfig>,
    /// For clients that like ChaCha20 best, as those without AES in hardware do: their order counts.
    for_chacha: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    /// Takes over a configuration, made to hand out the keys that the record layer needs.
    pub fn new(mut config: rustls::ServerConfig) -> Server {
        config.enable_secret_extraction = true;
        // Early data are answered early, else there is no use in them.
        config.send_half_rtt_data = config.max_early_data_size > 0;
        Server { config: Arc::new(config), for_chacha: None }
    }

    /// The same, but where ChaCha20 is what a client offers first, ciphers are chosen in the client's order
    /// (OpenSSL: PrioritizeChaCha).
    pub fn minding_chacha(self) -> Server {
        let mut config = (*self.config).clone();
        config.ignore_client_order = false;
        Server { for_chacha: Some(Arc::new(config)), ..self }
    }

    pub fn config(&self) -> &rustls::ServerConfig {
        &self.config
    }

    fn config_for(self, hello: &ClientHello) -> Arc<rustls::ServerConfig> {
        match self.for_chacha {
            Some(config) if ciphers::is_chacha_first(&hello.ciphers) => config,
            _ => self.config,
        }
    }

    /// The same with other certificates.
    pub fn showing(&self, certificates: certs::Certificates) -> Server {
        self.resolving(Arc::new(certificates))
    }

    /// The same with certificates that somebody else finds for each handshake.
    pub fn resolving(&self, certificates: Arc<dyn rustls::server::ResolvesServerCert>) -> Server {
        let with = |config: &Arc<rustls::ServerConfig>| {
            let mut config = (**config).clone();
            config.cert_resolver = certificates.clone();
            Arc::new(config)
        };
        Server { config: with(&self.config), for_chacha: self.for_chacha.as_ref().map(with) }
    }
}

/// How a client connects; shared by all threads, sessions to be resumed included.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<rustls::ClientConfig>,
}

impl Client {
    /// Takes over a configuration, made to hand out the keys that the record layer needs.
    pub fn new(mut config: rustls::ClientConfig) -> Client {
        config.enable_secret_extraction = true;
        config.enable_early_data = false;
        Client { config: Arc::new(config) }
    }

    pub fn config(&self) -> &rustls::ClientConfig {
        &self.config
    }
}

/// What a handshake has settled, for variables and decisions.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher as OpenSSL names it: `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: &'static str,
    /// The key exchange group as OpenSSL names it: `X25519`, `prime256v1`.
    pub curve: &'static str,
    /// How this side and the peer have signed, as OpenSSL names it: `rsa_pss_rsae_sha256`. Empty where none was needed:
    /// an earlier session, a client without a certificate.
    pub sigalg: &'static str,
    pub peer_sigalg: &'static str,
    /// The host name the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol agreed on by ALPN; empty when none was.
    pub alpn: Box<[u8]>,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// The session's number as the server's greeting has it (server side only).
    pub session_id: Box<[u8]>,
    /// The peer's certificates, DER, its own first; empty when it showed none.
    pub peer_certs: Vec<Box<[u8]>>,
    /// Cipher suites and groups the client offered, by their numbers (server side only).
    pub offered_ciphers: Box<[u16]>,
    pub offered_curves: Box<[u16]>,
    pub offered_schemes: Box<[u16]>,
    /// What the client is likely to be (server side only).
    pub ja4: Ja4,
    /// Some of what the client sends comes before the end of the handshake (server side only).
    pub early: Option<Rc<EarlyData>>,
}

/// Why there is no encrypted stream.
pub enum HandshakeError {
    Io(io::Error),
    /// The peer closed before it was done.
    Closed,
    /// The peer did not speak TLS; here is the stream with what it sent, to be told so in plain HTTP.
    NotTls(Box<Stream>, Buf),
    /// `choose` refused this client.
    Refused,
    /// The first message was not a valid ClientHello.
    BadHello,
    /// The peer sends more than any handshake needs.
    TooLong,
    /// What rustls found wrong, most often with the peer.
    Tls(rustls::Error),
}

impl HandshakeError {
    /// Whether something is wrong on this side: what peers do wrong happens all day.
    pub fn is_ours(&self) -> bool {
        use rustls::Error;
        let HandshakeError::Tls(error) = self else { return false };
        !matches!(
            error,
            Error::AlertReceived(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::InvalidMessage(_)
                | Error::InvalidCertificate(_)
                | Error::NoCertificatesPresented
                | Error::NoApplicationProtocol
                | Error::DecryptError
                | Error::PeerIncompatible(_)
                | Error::PeerMisbehaved(_)
                | Error::PeerSentOversizedRecord
                | Error::UnsupportedNameType
        )
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(error) => write!(f, "{}", crate::sys::errno_text(error)),
            HandshakeError::Closed => f.write_str("peer closed connection in SSL handshake"),
            HandshakeError::NotTls(..) => f.write_str("http request"),
            HandshakeError::Refused => f.write_str("handshake rejected"),
            HandshakeError::BadHello => f.write_str("bad client hello"),
            HandshakeError::TooLong => f.write_str("excessive message size"),
            HandshakeError::Tls(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandshakeError({self})")
    }
}

impl std::error::Error for HandshakeError {}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> HandshakeError {
        HandshakeError::Io(error)
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> io::Error {
        match error {
            HandshakeError::Io(error) => error,
            HandshakeError::Closed => io::ErrorKind::UnexpectedEof.into(),
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

/// The cryptography everything here uses: rustls over aws-lc-rs.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Shakes hands as a server. `choose` sees what the client offers and says how to answer.
///
/// The time it may take is the caller's to limit.
pub async fn accept(
    stream: Stream,
    choose: impl FnOnce(&ClientHello) -> Result<Server, Refusal>,
) -> Result<TlsStream, HandshakeError> {
    accept_with(stream, Buf::default(), async |hello: &ClientHello| choose(hello)).await
}

/// As `accept`, for a connection whose first bytes have been received already (a PROXY protocol header's rest), and
/// with a choice that may take its time.
pub async fn accept_with(
    stream: Stream,
    early: Buf,
    choose: impl AsyncFnOnce(&ClientHello) -> Result<Server, Refusal>,
) -> Result<TlsStream, HandshakeError> {
    let mut exchange = Exchange::new(&stream, early.to_vec());
    let hello = loop {
        match hello::peek(exchange.incoming()) {
            hello::Peeked::Hello(hello) => break hello,
            hello::Peeked::Incomplete => exchange.receive().await?,
            hello::Peeked::NotTls => {
                let bytes = Buf::from_vec(exchange.take_incoming());
                return Err(HandshakeError::NotTls(Box::new(stream), bytes));
            }
            hello::Peeked::Malformed => {
                exchange.refuse(DECODE_ERROR);
                return Err(HandshakeError::BadHello);
            }
        }
    };
    let server = match choose(&hello).await {
        Ok(server) => server,
        Err(why) => {
            exchange.refuse(match why {
                Refusal::UnknownName => UNRECOGNIZED_NAME,
                Refusal::Failed => INTERNAL_ERROR,
            });
            return Err(HandshakeError::Refused);
        }
    };
    let mut side = UnbufferedServerConnection::new(server.config_for(&hello)).map_err(HandshakeError::Tls)?;
    exchange.run(&mut side).await?;
    let mut facts = Facts {
        ja4: Ja4::of(&hello),
        server_name: hello.server_name,
        offered_ciphers: hello.ciphers.into(),
        offered_curves: hello.curves.into(),
        offered_schemes: hello.signature_schemes.into(),
        session_id: exchange.session_id().into(),
        ..exchange.facts(&side)
    };
    if exchange.is_early() {
        let (early, plain) = exchange.into_early(side);
        facts.early = Some(early.state.clone());
        let unset = rustls::Error::General("no key can be made".to_string());
        return TlsStream::early(stream, facts, early, plain).ok_or(HandshakeError::Tls(unset));
    }
    let parts = exchange.finish(side)?;
    Ok(TlsStream::new(stream, facts, parts))
}

/// Shakes hands as a client that expects `name`, which is also what it asks for (SNI), unless it is an address.
///
/// The time it may take is the caller's to limit.
pub async fn connect(
    stream: Stream,
    client: &Client,
    name: ServerName<'static>,
) -> Result<TlsStream, HandshakeError> {
    let mut exchange = Exchange::new(&stream, Vec::new());
    let config = client.config.clone();
    let mut side = UnbufferedClientConnection::new(config, name).map_err(HandshakeError::Tls)?;
    exchange.run(&mut side).await?;
    let facts = exchange.facts(&side);
    let parts = exchange.finish(side)?;
    Ok(TlsStream::new(stream, facts, parts))
}
