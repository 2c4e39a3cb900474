//! The certificate that is in use now: read by every handshake, replaced while we serve.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use foregate_net::tls::certs;
use foregate_net::tls::x509::Certificate;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::issuer::Identifier;

/// A certificate with its key, ready for handshakes.
#[derive(Debug)]
pub struct Shown {
    pub certified: Arc<CertifiedKey>,
    /// Its chain, the own one first.
    pub chain_pem: String,
    pub key_pem: String,
    /// Seconds since the epoch.
    pub not_before_s: i64,
    pub not_after_s: i64,
    /// An issuer's; not the one that fills the gap until then.
    pub is_issued: bool,
}

impl Shown {
    /// # Errors
    /// The texts are no certificate and key, or do not belong together.
    pub fn new(chain_pem: &str, key_pem: &str, is_issued: bool) -> Result<Shown, String> {
        let certified =
            certs::certified(chain_pem.as_bytes(), key_pem.as_bytes()).map_err(|why| why.to_string())?;
        let own = certified.cert.first().and_then(|it| Certificate::parse(it)).ok_or("it cannot be read")?;
        let (not_before_s, not_after_s) = (own.not_before.unix_s(), own.not_after.unix_s());
        Ok(Shown {
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            not_before_s,
            not_after_s,
            is_issued,
            certified: Arc::new(certified),
        })
    }

    /// A self-signed one: for the time until an issuer's is there.
    pub(crate) fn makeshift(names: &[Identifier]) -> Result<Shown, String> {
        let key = KeyPair::generate().map_err(|why| why.to_string())?;
        let mut params = params(names)?;
        params.distinguished_name.push(DnType::CommonName, "Foregate: no certificate yet");
        let cert = params.self_signed(&key).map_err(|why| why.to_string())?;
        Shown::new(&cert.pem(), &key.serialize_pem(), false)
    }
}

/// What a certificate for these names says, without a subject.
pub(crate) fn params(names: &[Identifier]) -> Result<CertificateParams, String> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(|why| why.to_string())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

/// A place for one certificate. Empty in the process that does not serve.
#[derive(Debug, Default)]
pub struct Slot(ArcSwapOption<Shown>);

impl Slot {
    pub fn get(&self) -> Option<Arc<Shown>> {
        self.0.load_full()
    }

    pub(crate) fn put(&self, shown: Shown) {
        self.0.store(Some(Arc::new(shown)));
    }
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|it| it.certified.clone())
    }
}
