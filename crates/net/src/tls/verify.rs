//! Certificate checks that differ from rustls' own: none at all, or after the handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{provider, spki};

/// Takes any server for what it says it is, as nginx does without `proxy_ssl_verify`. That the server holds the
/// key of its certificate is checked all the same.
#[derive(Debug)]
pub struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The peer holds the key of its certificate, whatever else the certificate says.
fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = spki::of_certificate(cert).ok_or(rustls::CertificateError::BadEncoding)?;
    key.verify(message, signed, &provider().signature_verification_algorithms)?;
    Ok(HandshakeSignatureValid::assertion())
}

/// Asks clients for a certificate, but lets in those without one and those whose chain does not hold: as in nginx it
/// is then HTTP's to answer, by `client_chain` (nginx: ssl_verify_client on, optional, optional_no_ca).
#[derive(Debug)]
pub struct AnyClient {
    hints: Vec<DistinguishedName>,
}

impl AnyClient {
    /// Tells clients that certificates by `authorities` are wanted.
    pub fn new(authorities: &RootCertStore) -> AnyClient {
        AnyClient { hints: authorities.subjects() }
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        AnyServer.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        AnyServer.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        AnyServer.supported_verify_schemes()
    }
}

/// Checks of a client's chain after the handshake; made once per configuration.
#[derive(Clone, Debug)]
pub struct ClientChain {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientChain {
    /// Chains must lead to one of `authorities`, and no certificate may be on `revoked`.
    pub fn new(
        authorities: RootCertStore,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<ClientChain, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider().clone());
        let verifier = builder.with_crls(revoked).build().map_err(|error| error.to_string())?;
        Ok(ClientChain { verifier })
    }

    /// Checks a chain as `Facts::peer_certs` has it. The error is a reason (nginx: `FAILED:reason`).
    pub fn check(&self, chain: &[Box<[u8]>]) -> Result<(), String> {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(&**der)).collect();
        let Some((own, others)) = chain.split_first() else { return Err("no certificate".to_string()) };
        self.verifier
            .verify_client_cert(own, others, UnixTime::now())
            .map(drop)
            .map_err(|error| reason(&error))
    }
}

/// OpenSSL's words for the usual failures.
fn reason(error: &Error) -> String {
    use rustls::CertificateError as Cert;
    let Error::InvalidCertificate(cert) = error else { return error.to_string() };
    match cert {
        Cert::Expired | Cert::ExpiredContext { .. } => "certificate has expired",
        Cert::NotValidYet | Cert::NotValidYetContext { .. } => "certificate is not yet valid",
        Cert::Revoked => "certificate revoked",
        Cert::UnknownIssuer => "unable to verify the first certificate",
        Cert::BadSignature => "certificate signature failure",
        Cert::UnknownRevocationStatus => "unable to get certificate CRL",
        Cert::InvalidPurpose | Cert::InvalidPurposeContext { .. } => "unsuitable certificate purpose",
        _ => return error.to_string(),
    }
    .to_string()
}
