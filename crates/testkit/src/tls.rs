//! A TLS client that believes any certificate and tells which it was shown.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::certificate::Certificate;
use crate::client::{Client, Wire, tcp};

type Stream = StreamOwned<ClientConnection, std::net::TcpStream>;

impl Wire for Stream {
    fn end_writing(&mut self) {
        self.conn.send_close_notify();
        let _ = self.conn.complete_io(&mut self.sock);
        self.sock.end_writing();
    }
    fn wait_at_most(&mut self, limit: Duration) {
        self.sock.wait_at_most(limit);
    }
}

/// What a handshake ended with.
pub struct Handshake {
    /// The connection.
    pub client: Client,
    /// The server's certificates, its own first (DER).
    pub certificates: Vec<Vec<u8>>,
    /// What ALPN chose.
    pub alpn: Option<String>,
    /// `TLSv1_3` and the like.
    pub version: String,
}

impl Client {
    /// Connects, shakes hands for `name` believing any certificate, offers the ALPN protocols.
    pub fn connect_tls(address: SocketAddr, name: &str, alpn: &[&str]) -> Result<Handshake, String> {
        let mut config = any_certificate();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Client::connect_tls_with(address, name, config)
    }

    /// Connects with a session of an earlier connection with this configuration, and sends `early` along with the
    /// first message. Also gives whether the server took it; if not, it was not sent again.
    pub fn connect_tls_early(
        address: SocketAddr,
        name: &str,
        config: &ClientConfig,
        early: &[u8],
    ) -> Result<(Client, bool), String> {
        let mut config = config.clone();
        config.enable_early_data = true;
        let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let mut writer = connection.early_data().ok_or("there is no session for early data")?;
        let n = writer.write(early).map_err(|e| e.to_string())?;
        assert_eq!(n, early.len(), "it fits");
        let mut stream = StreamOwned::new(connection, tcp(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|e| e.to_string())?;
        }
        let taken = stream.conn.is_early_data_accepted();
        Ok((Client::over(Box::new(stream)), taken))
    }

    /// The OCSP response that comes with the certificate for `name`, if one does.
    pub fn stapled(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
        let believer = Believer::default();
        let stapled = believer.stapled.clone();
        let mut config = any_certificate();
        config.dangerous().set_certificate_verifier(Arc::new(believer));
        Client::connect_tls_with(address, name, config).ok()?;
        let response = stapled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(response).filter(|it| !it.is_empty())
    }

    /// The same with a configuration of the test's own: certificates of the client, versions.
    pub fn connect_tls_with(
        address: SocketAddr,
        name: &str,
        config: ClientConfig,
    ) -> Result<Handshake, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let mut stream = StreamOwned::new(connection, tcp(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|e| e.to_string())?;
        }
        let certificates = stream.conn.peer_certificates().unwrap_or_default();
        Ok(Handshake {
            certificates: certificates.iter().map(|c| c.to_vec()).collect(),
            alpn: stream.conn.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
            version: stream.conn.protocol_version().map_or(String::new(), |v| format!("{v:?}")),
            client: Client::over(Box::new(stream)),
        })
    }
}

/// A client's configuration that believes any certificate.
pub fn any_certificate() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider().clone());
    let builder =
        builder.with_safe_default_protocol_versions().expect("because the provider has both versions");
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Believer::default())).with_no_client_auth()
}

/// The same, showing a certificate of its own when it is asked for one.
pub fn own_certificate(own: &Certificate) -> ClientConfig {
    let chain = CertificateDer::pem_slice_iter(own.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes());
    let (Ok(chain), Ok(key)) = (chain, key) else { panic!("because rcgen writes sound PEM") };
    let key = provider().key_provider.load_private_key(key).expect("because rcgen makes sound keys");
    let mut config = any_certificate();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    config
}

fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// Believes the certificate, not the signatures: whoever answers must hold the certificate's key.
#[derive(Debug, Default)]
struct Believer {
    /// What came stapled to the last certificate.
    stapled: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.stapled.lock().unwrap_or_else(PoisonError::into_inner) = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
