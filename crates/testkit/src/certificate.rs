//! Certificates for tests: self-signed ones, and ones of an authority of the test's own, as PEM.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, for `ssl_certificate`.
    pub cert_pem: String,
    /// Its private key (PKCS#8), for `ssl_certificate_key`.
    pub key_pem: String,
    /// The certificate (DER), to compare with what a handshake showed.
    pub der: Vec<u8>,
}

impl Certificate {
    /// A self-signed certificate for these names; the first is its common name.
    pub fn self_signed(names: &[&str]) -> Certificate {
        let key = new_key();
        let cert = params(names).self_signed(&key).expect("because the parameters are sound");
        Certificate { cert_pem: cert.pem(), key_pem: key.serialize_pem(), der: cert.der().to_vec() }
    }
}

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new authority with a name of its own.
    pub fn new(name: &str) -> Authority {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, new_key()).expect("because the parameters are sound"))
    }

    /// The authority's own certificate.
    pub fn cert_pem(&self) -> String {
        self.0.pem()
    }

    /// Its key (PKCS#8).
    pub fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// A certificate for these names, signed by the authority; the first is its common name.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let key = new_key();
        let cert = params(names).signed_by(&key, &self.0).expect("because the parameters are sound");
        Certificate { cert_pem: cert.pem(), key_pem: key.serialize_pem(), der: cert.der().to_vec() }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("because keys can be made")
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let first = names.first().cloned();
    let mut params = CertificateParams::new(names).expect("because tests use sound names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = first {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}
