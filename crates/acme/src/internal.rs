//! The internal authority: certificates for development and networks without a way to an issuer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use foregate_core::time;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::failure::Failure;
use crate::issuer::Wish;
use crate::slot::{self, Shown};
use crate::state;

const ROOT_KEY: &str = "root.key";
const ROOT: &str = "root.pem";
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clocks of visitors may be late.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Of the key's digest, bytes in the authority's name: two of them never look alike.
const TAG_BYTES: usize = 4;

/// Where the root certificate of a folder is.
pub fn root_path(folder: &Path) -> PathBuf {
    folder.join(ROOT)
}

/// A certificate by our own authority, which is made first if need be.
pub(crate) fn issue(wish: &Wish, folder: Option<&PathBuf>, lifetime: Duration) -> Result<Shown, Failure> {
    let own = |why: String| Failure::own(format!("the internal authority: {why}"));
    let folder = folder.ok_or_else(|| own("it needs a state_path to keep its root in".into()))?;
    // Orders run side by side, and the first one makes the root.
    static ROOT_MAKING: Mutex<()> = Mutex::new(());
    let making = ROOT_MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = root(folder).map_err(own)?;
    drop(making);
    let made = (|| {
        let text = |why: rcgen::Error| why.to_string();
        let key = wish.key.generate().map_err(text)?;
        let mut params = slot::params(&wish.names)?;
        // The root itself is not sent along: whoever trusts it has it.
        if let Some(first) = wish.names.first() {
            params.distinguished_name.push(DnType::CommonName, first.to_string());
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        last(&mut params, lifetime);
        let issuer_params = root_params(&root);
        let issuer = rcgen::Issuer::from_params(&issuer_params, &root);
        let cert = params.signed_by(&key, &issuer).map_err(text)?;
        Ok::<_, String>((cert.pem(), key.serialize_pem()))
    })();
    let (cert, key) = made.map_err(own)?;
    Shown::new(&cert, &key, true).map_err(own)
}

/// The root's key; it and the certificate are made once.
fn root(folder: &Path) -> Result<KeyPair, String> {
    let text = |why: std::io::Error| foregate_net::sys::errno_text(&why);
    state::make_folder(folder).map_err(text)?;
    let (key_path, path) = (folder.join(ROOT_KEY), folder.join(ROOT));
    let key = match fs::read_to_string(&key_path) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(|why| why.to_string())?,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(|why| why.to_string())?;
            state::write(&key_path, key.serialize_pem().as_bytes()).map_err(text)?;
            key
        }
        Err(why) => return Err(text(why)),
    };
    if path.exists() {
        return Ok(key);
    }
    let mut params = root_params(&key);
    last(&mut params, ROOT_LIFETIME);
    let pem = params.self_signed(&key).map_err(|why| why.to_string())?.pem();
    state::write(&path, pem.as_bytes()).map_err(text)?;
    Ok(key)
}

/// The same whenever they are made of the same key.
fn root_params(key: &KeyPair) -> CertificateParams {
    let digest = digest::digest(&digest::SHA256, key.public_key_raw());
    let tag: String = digest.as_ref()[..TAG_BYTES].iter().map(|it| format!("{it:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Foregate internal authority {tag}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// From a little before now.
fn last(params: &mut CertificateParams, lifetime: Duration) {
    let now = Duration::from_secs(time::now_s().unsigned_abs());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED.min(lifetime / 10));
    params.not_after = epoch + now + lifetime;
}
