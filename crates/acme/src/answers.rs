//! What issuers are told when they come to see whether a name is ours: shared by the thread that orders and those
//! that serve, and through the folder by all processes that share it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aws_lc_rs::digest;
use foregate_net::tls::certs;
use rcgen::{CustomExtension, KeyPair};
use rustls::sign::CertifiedKey;

use crate::issuer::Identifier;
use crate::slot;
use crate::state;

/// Where http-01 is asked (RFC 8555 section 8.3).
pub const HTTP_PREFIX: &[u8] = b"/.well-known/acme-challenge/";
/// The protocol of tls-alpn-01 (RFC 8737).
pub const ALPN: &[u8] = b"acme-tls/1";

const TOKEN_BYTES_MAX: usize = 256;
/// The folder within an issuer's.
const FOLDER: &str = "challenges";

/// Open challenges of this process.
#[derive(Default)]
pub struct Answers {
    /// Whether there is any issuer, and so any use in looking.
    wanted: AtomicBool,
    http: RwLock<HashMap<String, String>>,
    alpn: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    folders: RwLock<Vec<PathBuf>>,
}

/// Those of this process.
pub fn answers() -> &'static Answers {
    static ANSWERS: OnceLock<Answers> = OnceLock::new();
    ANSWERS.get_or_init(Answers::default)
}

impl Answers {
    /// The folders of all issuers now.
    pub(crate) fn watch(&self, mut folders: Vec<PathBuf>, wanted: bool) {
        folders.sort();
        folders.dedup();
        *self.folders.write().unwrap_or_else(PoisonError::into_inner) = folders;
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Whether somebody may ask.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// What to answer a request for `HTTP_PREFIX` and this token; `None`: it is not ours.
    pub fn http(&self, token: &[u8]) -> Option<String> {
        let token = std::str::from_utf8(token).ok().filter(|it| is_token(it))?;
        let kept = self.http.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        kept.or_else(|| self.in_folder(token))
    }

    /// The certificate that answers tls-alpn-01 for a name.
    pub fn alpn(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        if let Some(kept) = self.alpn.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(kept.clone());
        }
        let name = Identifier::read(name)?;
        let said = self.in_folder(&alpn_file(&name))?;
        alpn_certificate(&name, &said).ok().map(Arc::new)
    }

    pub(crate) fn open_http(
        &self,
        token: &str,
        said: &str,
        folder: Option<&PathBuf>,
    ) -> Result<Open, String> {
        if !is_token(token) {
            return Err("the issuer's token is none".into());
        }
        self.http.write().unwrap_or_else(PoisonError::into_inner).insert(token.into(), said.into());
        Ok(Open { http: Some(token.into()), alpn: None, file: share(folder, token, said) })
    }

    pub(crate) fn open_alpn(
        &self,
        name: &Identifier,
        said: &str,
        folder: Option<&PathBuf>,
    ) -> Result<Open, String> {
        let certified = Arc::new(alpn_certificate(name, said)?);
        let asked = asked_as(name);
        self.alpn.write().unwrap_or_else(PoisonError::into_inner).insert(asked.clone(), certified);
        Ok(Open { http: None, alpn: Some(asked), file: share(folder, &alpn_file(name), said) })
    }

    /// What another process that shares a folder has opened.
    fn in_folder(&self, file: &str) -> Option<String> {
        let folders = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        folders.iter().find_map(|it| fs::read_to_string(it.join(FOLDER).join(file)).ok())
    }
}

/// A challenge that can be seen while this lives.
pub(crate) struct Open {
    http: Option<String>,
    alpn: Option<String>,
    file: Option<PathBuf>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let all = answers();
        if let Some(token) = &self.http {
            all.http.write().unwrap_or_else(PoisonError::into_inner).remove(token);
        }
        if let Some(name) = &self.alpn {
            all.alpn.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        if let Some(file) = &self.file {
            // It is of no use to anybody any more.
            _ = fs::remove_file(file);
        }
    }
}

fn share(folder: Option<&PathBuf>, file: &str, said: &str) -> Option<PathBuf> {
    let folder = folder?.join(FOLDER);
    state::make_folder(&folder).ok()?;
    let path = folder.join(file);
    // Where it cannot be written, this process still answers.
    state::write(&path, said.as_bytes()).ok()?;
    Some(path)
}

/// In digits of base64url, so that it can be a file's name as well.
fn is_token(text: &str) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn alpn_file(name: &Identifier) -> String {
    format!("alpn.{}", name.to_string().replace(':', "_"))
}

/// The name in the handshake: for addresses that of the reverse zone (RFC 8738 section 6).
fn asked_as(name: &Identifier) -> String {
    match name {
        Identifier::Dns(name) => name.clone(),
        Identifier::Ip(std::net::IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(std::net::IpAddr::V6(ip)) => {
            let digits = ip.octets().into_iter().rev().flat_map(|it| [it & 15, it >> 4]);
            digits.map(|it| format!("{it:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

fn alpn_certificate(name: &Identifier, said: &str) -> Result<CertifiedKey, String> {
    let text = |why: rcgen::Error| why.to_string();
    let key = KeyPair::generate().map_err(text)?;
    let mut params = slot::params(std::slice::from_ref(name))?;
    let proof = digest::digest(&digest::SHA256, said.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.as_ref())];
    let cert = params.self_signed(&key).map_err(text)?;
    certs::certified(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).map_err(|why| why.to_string())
}
