//! Signatures by the key of a certificate, whatever its version: rustls looks at certificates of version 3 only.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::cert::{Certificate, Signed};
use crate::tls::provider;

/// What may sign a handshake of TLS 1.3 (RFC 8446 section 4.2.3).
const SCHEMES_13: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::ED25519,
];

/// Whether `signed` was signed by the key of `by`.
pub(super) fn is_signed_by(signed: &Signed<'_>, by: &Certificate<'_>) -> bool {
    let all = provider().signature_verification_algorithms.all;
    all.iter()
        .filter(|it| it.signature_alg_id().as_ref() == signed.algorithm)
        .any(|it| fits(*it, by) && it.verify_signature(by.key, signed.message, signed.signature).is_ok())
}

/// Checks what the peer signed in a handshake with the key of `cert`.
pub(in crate::tls) fn handshake_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    is_13: bool,
) -> Result<(), Error> {
    let cert = Certificate::parse(cert).ok_or(CertificateError::BadEncoding)?;
    if is_13 && !SCHEMES_13.contains(&signed.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let schemes = provider().signature_verification_algorithms.mapping;
    let algorithms = schemes.iter().find(|(scheme, _)| *scheme == signed.scheme).map(|(_, them)| *them);
    // In TLS 1.3 a scheme says the curve too, and the first algorithm is the one on that curve.
    let n_usable = if is_13 { 1 } else { usize::MAX };
    let mut usable = algorithms.unwrap_or_default().iter().take(n_usable).filter(|it| fits(**it, &cert));
    match usable.any(|it| it.verify_signature(cert.key, message, signed.signature()).is_ok()) {
        true => Ok(()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

fn fits(algorithm: &dyn SignatureVerificationAlgorithm, cert: &Certificate<'_>) -> bool {
    algorithm.public_key_alg_id().as_ref() == cert.key_algorithm
}
