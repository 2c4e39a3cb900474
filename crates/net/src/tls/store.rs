//! Certificates that are named anew for every connection: read from their files, kept for a while.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::sign::CertifiedKey;

use super::certs;
use crate::{FileVersion, clock, door, sys};

/// How long what has been read is kept (nginx: `ssl_certificate_cache`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, certificates and keys counted alike; when there are more, those not used for longest go.
    pub max: usize,
    /// Unused for so long, they go.
    pub inactive: Duration,
    /// After so long it is looked whether the files have changed.
    pub valid: Duration,
}

/// A pair is two files.
const FILES_OF_A_PAIR: usize = 2;

/// Reads pairs of a certificate and its key by their names; shared by all threads.
#[derive(Debug)]
pub struct Store {
    /// What relative names start from.
    folder: PathBuf,
    passwords: Vec<Vec<u8>>,
    /// `None`: nothing is kept.
    limits: Option<Limits>,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    cert: Box<str>,
    key: Box<str>,
    found: Arc<CertifiedKey>,
    versions: [Option<FileVersion>; 2],
    checked: Instant,
    used: Instant,
}

impl Store {
    pub fn new(folder: PathBuf, passwords: Vec<Vec<u8>>, limits: Option<Limits>) -> Store {
        Store { folder, passwords, limits, kept: Mutex::default() }
    }

    /// The pair of these names; a name may be the PEM text itself, behind `data:`.
    ///
    /// Reads files, and so blocks, unless the pair is kept.
    ///
    /// # Errors
    /// Which file cannot be used and why, as nginx says it.
    pub fn get(&self, cert: &str, key: &str) -> Result<Arc<CertifiedKey>, String> {
        let key = certs::key_file(key);
        if let Some(limits) = &self.limits
            && let Some(found) = self.find(cert, key, limits)
        {
            return Ok(found);
        }
        let versions = [self.version(cert), self.version(key)];
        let (found, is_open) = self.load(cert, key)?;
        let found = Arc::new(found);
        if let Some(limits) = self.limits.as_ref().filter(|_| is_open) {
            let now = clock::now();
            let (cert, key) = (cert.into(), key.into());
            self.keep(Kept { cert, key, found: found.clone(), versions, checked: now, used: now }, limits);
        }
        Ok(found)
    }

    fn find(&self, cert: &str, key: &str, limits: &Limits) -> Option<Arc<CertifiedKey>> {
        let now = clock::now();
        let mut kept = self.lock();
        kept.retain(|it| now.saturating_duration_since(it.used) < limits.inactive);
        let at = kept.iter().position(|it| *it.cert == *cert && *it.key == *key)?;
        let one = &mut kept[at];
        if now.saturating_duration_since(one.checked) >= limits.valid {
            if one.versions != [self.version(cert), self.version(key)] {
                kept.swap_remove(at);
                return None;
            }
            one.checked = now;
        }
        one.used = now;
        Some(one.found.clone())
    }

    fn keep(&self, one: Kept, limits: &Limits) {
        let mut kept = self.lock();
        kept.retain(|it| it.cert != one.cert || it.key != one.key);
        while kept.len() >= (limits.max / FILES_OF_A_PAIR).max(1) {
            let oldest = (0..kept.len()).min_by_key(|at| kept[*at].used);
            kept.swap_remove(oldest.expect("because it is not empty"));
        }
        kept.push(one);
    }

    /// The pair, and whether its key lies open: what passwords protect is not kept, as in nginx.
    fn load(&self, cert: &str, key: &str) -> Result<(CertifiedKey, bool), String> {
        let (cert_pem, key_pem) = (self.read(cert, "certificate")?, self.read(key, "certificate key")?);
        let found = certs::certified_with(&cert_pem, &key_pem, &self.passwords)
            .map_err(|why| format!("cannot load certificate \"{}\": {why}", self.shown(cert)))?;
        Ok((found, !certs::is_encrypted(&key_pem)))
    }

    fn read(&self, name: &str, what: &str) -> Result<Vec<u8>, String> {
        match name.strip_prefix("data:") {
            Some(inline) => Ok(inline.as_bytes().to_vec()),
            None => door::read(&self.folder.join(name)).map_err(|why| {
                let why = sys::errno_text(&why);
                format!("cannot load {what} \"{}\": BIO_new_file() failed (SSL: {why})", self.shown(name))
            }),
        }
    }

    /// `None`: it is no file, or there is none.
    fn version(&self, name: &str) -> Option<FileVersion> {
        if name.starts_with("data:") {
            return None;
        }
        FileVersion::at(&self.folder.join(name)).ok()
    }

    /// What a log may say of a name: never a key.
    fn shown(&self, name: &str) -> String {
        match name.starts_with("data:") {
            true => "data:...".to_owned(),
            false => self.folder.join(name).display().to_string(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(folder: &std::path::Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }

    fn store(folder: &std::path::Path, max: usize, valid: Duration) -> Store {
        let limits = Limits { max, inactive: Duration::from_secs(60), valid };
        Store::new(folder.to_owned(), Vec::new(), Some(limits))
    }

    fn get(store: &Store, name: &str) -> Result<Arc<CertifiedKey>, String> {
        store.get(&format!("{name}.crt"), &format!("{name}.key"))
    }

    #[test]
    fn pairs_are_kept_until_others_need_their_place_or_their_files_change() {
        let folder = std::env::temp_dir().join(format!("foregate-store-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        ["a", "b", "c"].iter().for_each(|name| write(&folder, name));
        let long = store(&folder, 4, Duration::from_secs(60));
        let first = get(&long, "a").unwrap();
        write(&folder, "a");
        assert!(Arc::ptr_eq(&first, &get(&long, "a").unwrap()), "kept though it has changed");
        get(&long, "b").unwrap();
        get(&long, "c").unwrap();
        assert!(!Arc::ptr_eq(&first, &get(&long, "a").unwrap()), "only two pairs have room");

        let looking = store(&folder, 4, Duration::ZERO);
        let first = get(&looking, "a").unwrap();
        assert!(Arc::ptr_eq(&first, &get(&looking, "a").unwrap()), "looked at, and unchanged");
        write(&folder, "a");
        assert!(!Arc::ptr_eq(&first, &get(&looking, "a").unwrap()));
        fs::remove_file(folder.join("a.crt")).unwrap();
        let why = get(&looking, "a").unwrap_err();
        assert!(why.starts_with("cannot load certificate ") && why.contains("No such file"), "{why}");
        let stored = format!("store:file:{}/b.key", folder.display());
        assert!(looking.get("b.crt", &stored).is_ok(), "as OpenSSL names files");
        let why = looking.get("data:secret", "b.key").unwrap_err();
        assert!(!why.contains("secret"), "{why}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
