//! Certificate checks that differ from rustls' own: none at all, after the handshake, or as OpenSSL judges.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::provider;
use super::signed::note_peer;
use super::x509::{Authorities, Certificate, Failure, Purpose, RevocationList, Rules, handshake_signature};

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
        verify_signature(message, cert, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    is_13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    handshake_signature(message, cert, signed, is_13)?;
    note_peer(signed.scheme);
    Ok(HandshakeSignatureValid::assertion())
}

/// What every verifier here asks of a handshake's signature: that the peer holds the key of its certificate.
macro_rules! signatures_as_for_any_server {
    () => {
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
    };
}

/// Asks clients for a certificate, but lets in those without one and those whose chain does not hold: as in nginx it
/// is then HTTP's to answer, by `client_chain` (nginx: ssl_verify_client on, optional, optional_no_ca).
#[derive(Debug)]
pub struct AnyClient {
    hints: Vec<DistinguishedName>,
}

impl AnyClient {
    /// Tells clients that certificates by these authorities (DER) are wanted; with none, that any will do.
    pub fn new(authorities: &[CertificateDer<'_>]) -> AnyClient {
        let mut subjects: Vec<_> =
            authorities.iter().filter_map(|it| Certificate::parse(it)).map(|it| it.subject.der()).collect();
        subjects.dedup();
        let hints = subjects.into_iter().map(DistinguishedName::in_sequence).collect();
        AnyClient { hints }
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

    signatures_as_for_any_server!();
}

/// Checks of a client's chain after the handshake; made once per configuration.
#[derive(Debug)]
pub struct ClientChain {
    chain: Chain,
}

impl ClientChain {
    /// Chains must lead to one of `authorities` (DER) over no more than `depth_max` others; with lists in `revoked`,
    /// no certificate may be on one.
    pub fn new(
        authorities: &[CertificateDer<'_>],
        revoked: Vec<RevocationList>,
        depth_max: usize,
    ) -> ClientChain {
        ClientChain { chain: Chain::new(authorities, Rules { purpose: Purpose::Client, depth_max, revoked }) }
    }

    /// Checks a chain as `Facts::peer_certs` has it.
    pub fn check(&self, chain: &[Box<[u8]>]) -> Result<(), Failure> {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(&**der)).collect();
        let now = UnixTime::now();
        self.chain.check(&chain, now, |roots, own, others| {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider().clone()).build();
            verifier.is_ok_and(|it| it.verify_client_cert(own, others, now).is_ok())
        })
    }

    /// The way from the peer's own certificate up to the authority (DER), for a chain that [`ClientChain::check`]
    /// has found good.
    pub fn path(&self, chain: &[Box<[u8]>]) -> Vec<Vec<u8>> {
        let chain: Vec<_> = chain.iter().map(|it| &**it).collect();
        self.chain.authorities.way_up(&chain, self.chain.rules.depth_max)
    }
}

/// Takes servers whose chain holds and whose certificate has the name asked for (nginx: proxy_ssl_verify). Why not is
/// a `Failure` inside `CertificateError::Other`, or `CertificateError::NotValidForName`.
#[derive(Debug)]
pub struct ServerChain {
    chain: Chain,
}

impl ServerChain {
    /// As `ClientChain::new`.
    pub fn new(
        authorities: &[CertificateDer<'_>],
        revoked: Vec<RevocationList>,
        depth_max: usize,
    ) -> ServerChain {
        ServerChain { chain: Chain::new(authorities, Rules { purpose: Purpose::Server, depth_max, revoked }) }
    }
}

impl ServerCertVerifier for ServerChain {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = [own].into_iter().chain(others).cloned().collect();
        let checked = self.chain.check(&chain, now, |roots, own, others| {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider().clone()).build();
            verifier.is_ok_and(|it| it.verify_server_cert(own, others, name, &[], now).is_ok())
        });
        checked.map_err(|why| CertificateError::Other(OtherError(Arc::new(why))))?;
        match Certificate::parse(own) {
            Some(cert) if cert.is_for(name) => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    signatures_as_for_any_server!();
}

/// Chains of clients or servers.
#[derive(Debug)]
struct Chain {
    authorities: Authorities,
    rules: Rules,
    /// The same for rustls, which is asked where an authority limits the names below it.
    roots: Arc<RootCertStore>,
}

impl Chain {
    fn new(authorities: &[CertificateDer<'_>], rules: Rules) -> Chain {
        let mut all = Authorities::default();
        let mut roots = RootCertStore::empty();
        for der in authorities {
            all.add(der);
            // rustls takes no certificates of version 1, and those limit no names.
            let _ = roots.add(der.clone().into_owned());
        }
        Chain { authorities: all, rules, roots: Arc::new(roots) }
    }

    fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        by_rustls: impl FnOnce(Arc<RootCertStore>, &CertificateDer<'_>, &[CertificateDer<'_>]) -> bool,
    ) -> Result<(), Failure> {
        let borrowed: Vec<_> = chain.iter().map(|it| it.as_ref()).collect();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.authorities.verify(&borrowed, &self.rules, now_s, || {
            chain.split_first().is_some_and(|(own, others)| by_rustls(self.roots.clone(), own, others))
        })
    }
}
