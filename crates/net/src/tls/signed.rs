//! How the two sides of a handshake have signed, which rustls does not tell: its keys and verifiers note it here.

use std::cell::Cell;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

thread_local! {
    /// Of the step of a handshake that this thread is at.
    static STEP: Cell<Signed> = const { Cell::new(Signed { own: None, peer: None }) };
}

/// What has been signed with so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) own: Option<SignatureScheme>,
    pub(super) peer: Option<SignatureScheme>,
}

impl Signed {
    /// Takes one step of a handshake, which never leaves its thread, and adds what was noted meanwhile.
    pub(super) fn watch<T>(&mut self, step: impl FnOnce() -> T) -> T {
        STEP.take();
        let done = step();
        let noted = STEP.take();
        (self.own, self.peer) = (noted.own.or(self.own), noted.peer.or(self.peer));
        done
    }
}

/// The peer has signed like this.
pub(super) fn note_peer(scheme: SignatureScheme) {
    STEP.set(Signed { peer: Some(scheme), ..STEP.get() });
}

/// A key that notes how it was used.
#[derive(Debug)]
pub(super) struct Noting(pub(super) Arc<dyn SigningKey>);

impl SigningKey for Noting {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        Some(Box::new(NotingSigner(signer)))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct NotingSigner(Box<dyn Signer>);

impl Signer for NotingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.sign(message)?;
        STEP.set(Signed { own: Some(self.0.scheme()), ..STEP.get() });
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// OpenSSL's names, which are those of RFC 8446 section 4.2.3; empty for what has none.
pub(super) fn name(scheme: Option<SignatureScheme>) -> &'static str {
    match scheme {
        Some(SignatureScheme::RSA_PKCS1_SHA1) => "rsa_pkcs1_sha1",
        Some(SignatureScheme::RSA_PKCS1_SHA256) => "rsa_pkcs1_sha256",
        Some(SignatureScheme::RSA_PKCS1_SHA384) => "rsa_pkcs1_sha384",
        Some(SignatureScheme::RSA_PKCS1_SHA512) => "rsa_pkcs1_sha512",
        Some(SignatureScheme::RSA_PSS_SHA256) => "rsa_pss_rsae_sha256",
        Some(SignatureScheme::RSA_PSS_SHA384) => "rsa_pss_rsae_sha384",
        Some(SignatureScheme::RSA_PSS_SHA512) => "rsa_pss_rsae_sha512",
        Some(SignatureScheme::ECDSA_SHA1_Legacy) => "ecdsa_sha1",
        Some(SignatureScheme::ECDSA_NISTP256_SHA256) => "ecdsa_secp256r1_sha256",
        Some(SignatureScheme::ECDSA_NISTP384_SHA384) => "ecdsa_secp384r1_sha384",
        Some(SignatureScheme::ECDSA_NISTP521_SHA512) => "ecdsa_secp521r1_sha512",
        Some(SignatureScheme::ED25519) => "ed25519",
        Some(SignatureScheme::ED448) => "ed448",
        Some(SignatureScheme::ML_DSA_44) => "mldsa44",
        Some(SignatureScheme::ML_DSA_65) => "mldsa65",
        Some(SignatureScheme::ML_DSA_87) => "mldsa87",
        _ => "",
    }
}
