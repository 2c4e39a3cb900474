//! Certificates and keys: read from PEM, and several side by side for clients of different abilities.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pbes2::{self, Closed};
use super::provider;
use super::signed::Noting;
use super::tickets::now_s;
use super::x509::{Certificate, RevocationList, der};

/// Where systems keep the authorities that they trust; the first that exists counts.
pub const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY-----";

/// Why a certificate or key cannot be used; texts name what OpenSSL would complain of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertError {
    /// There is nothing between BEGIN and END lines.
    NoCertificate,
    NoKey,
    /// The key is protected by a password, and none was given.
    Encrypted,
    WrongPassword,
    /// The key is protected in a way that is not known here: of old, by the PEM format itself, or by DES.
    UnknownEncryption,
    /// The key does not belong to the certificate.
    Mismatch,
    Invalid(String),
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertError::NoCertificate => f.write_str("no start line: Expecting: TRUSTED CERTIFICATE"),
            CertError::NoKey => f.write_str("no start line: Expecting: ANY PRIVATE KEY"),
            CertError::Encrypted => f.write_str("the key is encrypted and there is no ssl_password_file"),
            CertError::WrongPassword => f.write_str("bad decrypt: no password of ssl_password_file fits"),
            CertError::UnknownEncryption => f.write_str(
                "the key is encrypted in an old way: convert it with `openssl pkcs8 -topk8 -v2 aes256`",
            ),
            CertError::Mismatch => f.write_str("key values mismatch"),
            CertError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CertError {}

/// Every certificate of a PEM file, in order; each can be read.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertError> {
    // OpenSSL's own kinds: what it says of trust stands behind the certificate.
    let plain = String::from_utf8_lossy(pem)
        .replace("TRUSTED CERTIFICATE-----", "CERTIFICATE-----")
        .replace("X509 CERTIFICATE-----", "CERTIFICATE-----");
    let certs: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(plain.as_bytes()).collect();
    let certs = certs.map_err(invalid)?;
    if certs.is_empty() {
        return Err(CertError::NoCertificate);
    }
    let alone = |it: CertificateDer<'_>| der::element(&mut &*it).map(|it| it.whole.to_vec());
    let certs = certs.into_iter().map(|it| alone(it).filter(|it| Certificate::parse(it).is_some()));
    let certs: Option<Vec<_>> = certs.map(|it| it.map(CertificateDer::from)).collect();
    certs.ok_or_else(|| CertError::Invalid("wrong tag or malformed certificate".to_string()))
}

/// Every revocation list of a PEM file (nginx: ssl_crl).
pub fn revocation_lists(pem: &[u8]) -> Result<Vec<RevocationList>, CertError> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists: Option<Vec<_>> = lists.map_err(invalid)?.iter().map(|it| RevocationList::parse(it)).collect();
    match lists {
        Some(lists) if lists.is_empty() => {
            Err(CertError::Invalid("no start line: Expecting: X509 CRL".to_string()))
        }
        Some(lists) => Ok(lists),
        None => Err(CertError::Invalid("wrong tag or malformed CRL".to_string())),
    }
}

/// Whether a password protects the key of a PEM file.
pub fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains(ENCRYPTED) || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The name of a key's file. OpenSSL's stores are named by URIs; of those, files can be read (`store:file:/a.key`).
pub fn key_file(name: &str) -> &str {
    let stored = name.strip_prefix("store:");
    stored.map_or(name, |it| it.strip_prefix("file:").unwrap_or(it))
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 or SEC1, not encrypted.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, CertError> {
    key_with(pem, &[])
}

/// As `key`; one of `passwords` may have to open it (nginx: ssl_password_file).
pub fn key_with(pem: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, CertError> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CertError::UnknownEncryption);
    }
    if text.contains(ENCRYPTED) {
        return decrypt(&encrypted_der(&text)?, passwords);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => CertError::NoKey,
        other => invalid(other),
    })
}

/// The bytes of an encrypted key, read as if they were a plain one's, which PEM does not tell apart.
pub(super) fn encrypted_der(text: &str) -> Result<Vec<u8>, CertError> {
    let as_plain = text.replace(ENCRYPTED, "PRIVATE KEY-----");
    let der = PrivatePkcs8KeyDer::from_pem_slice(as_plain.as_bytes()).map_err(invalid)?;
    Ok(der.secret_pkcs8_der().to_vec())
}

fn decrypt(der: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, CertError> {
    let mut why = CertError::Encrypted;
    for password in passwords {
        match pbes2::open(der, password) {
            Ok(key) => return Ok(PrivatePkcs8KeyDer::from(key).into()),
            Err(Closed::WrongPassword) => why = CertError::WrongPassword,
            Err(Closed::Unsupported) => return Err(CertError::UnknownEncryption),
        }
    }
    Err(why)
}

/// A certificate chain with its key, both from PEM; checks that they belong together.
pub fn certified(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, CertError> {
    certified_with(cert_pem, key_pem, &[])
}

/// As `certified`; one of `passwords` may have to open the key.
pub fn certified_with(
    cert_pem: &[u8],
    key_pem: &[u8],
    passwords: &[Vec<u8>],
) -> Result<CertifiedKey, CertError> {
    let chain = chain(cert_pem)?;
    let key = key_with(key_pem, passwords)?;
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| CertError::Invalid(error.to_string()))?;
    // Some kinds of keys do not tell.
    let public = key.public_key();
    let own = chain.first().and_then(|it| Certificate::parse(it)).map(|it| it.public_key_info);
    match (&public, own) {
        (Some(public), Some(own)) if public.as_ref() != own => Err(CertError::Mismatch),
        _ => Ok(CertifiedKey::new(chain, Arc::new(Noting(key)))),
    }
}

fn invalid(error: PemError) -> CertError {
    CertError::Invalid(error.to_string())
}

/// Certificates of one server with different kinds of keys (nginx: `ssl_certificate` several times).
#[derive(Debug)]
pub struct Certificates {
    all: Vec<(Arc<CertifiedKey>, Option<Arc<Staple>>)>,
}

impl Certificates {
    pub fn new(all: Vec<Arc<CertifiedKey>>) -> Certificates {
        Certificates { all: all.into_iter().map(|one| (one, None)).collect() }
    }

    /// Some of them with word of their issuers, which is renewed while we serve.
    pub fn stapled(all: Vec<(Arc<CertifiedKey>, Option<Arc<Staple>>)>) -> Certificates {
        Certificates { all }
    }
}

impl ResolvesServerCert for Certificates {
    /// The certificate for the signature scheme the client likes best among those we have.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (own, staple) = match &self.all[..] {
            [only] => only,
            all => hello
                .signature_schemes()
                .iter()
                .find_map(|scheme| all.iter().find(|(one, _)| one.key.choose_scheme(&[*scheme]).is_some()))?,
        };
        staple.as_ref().and_then(|it| it.get()).or_else(|| Some(own.clone()))
    }
}

/// A certificate together with its issuer's word that it still holds (RFC 6066 section 8), once that has been had.
#[derive(Debug, Default)]
pub struct Staple {
    current: ArcSwapOption<Stapled>,
}

#[derive(Debug)]
struct Stapled {
    certified: Arc<CertifiedKey>,
    /// Seconds since 1970.
    until_s: u64,
}

impl Staple {
    /// From now on, and until this moment (seconds since 1970), `certified` is shown with `response` (DER).
    pub fn put(&self, certified: &CertifiedKey, response: Vec<u8>, until_s: u64) {
        let certified = Arc::new(CertifiedKey { ocsp: Some(response), ..certified.clone() });
        self.current.store(Some(Arc::new(Stapled { certified, until_s })));
    }

    /// The certificate, as long as the response is valid.
    pub fn get(&self) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        current.as_ref().filter(|it| it.until_s >= now_s()).map(|it| it.certified.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_read_and_checked() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let (cert, own_key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let both = format!("{own_key}\n{cert}");
        assert!(certified(both.as_bytes(), both.as_bytes()).is_ok());
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(certified(cert.as_bytes(), other.as_bytes()).err(), Some(CertError::Mismatch));
        assert_eq!(chain(own_key.as_bytes()), Err(CertError::NoCertificate));
        assert_eq!(key(cert.as_bytes()), Err(CertError::NoKey));
    }
}
