//! The folder of an issuer: its account, certificates, challenges, and locks for processes that share it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::issuer::{AccountKey, Issuer, Wish};
use crate::key::{Kind, Signer};
use crate::slot::Shown;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const ACCOUNT_KEY: &str = "account.key";
const ACCOUNT: &str = "account.json";
const ACCOUNT_LOCK: &str = "account.lock";
/// Of a wish's digest, bytes that stand in the names of its files.
const ID_BYTES: usize = 6;

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes a file so that others see it whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    /// Threads that write the same file at the same time.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.new", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let fresh = path.with_file_name(name);
    // One may be left of a process that died; its number may be ours.
    _ = fs::remove_file(&fresh);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    if written.is_err() {
        _ = fs::remove_file(&fresh);
    }
    written
}

/// Held until it is dropped.
pub(crate) struct Lock(#[expect(dead_code, reason = "because closing it unlocks")] Option<File>);

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

fn failed(what: &str, path: &Path, why: &io::Error) -> Failure {
    Failure::own(format!("{what} \"{}\" failed ({})", path.display(), foregate_net::sys::errno_text(why)))
}

/// An account as it is kept.
pub(crate) struct Account {
    pub(crate) signer: Signer,
    /// Its address, if it has been registered already.
    pub(crate) kid: Option<String>,
    /// Others wait until this is dropped.
    pub(crate) lock: Lock,
}

/// The account of an issuer, locked: who comes second finds it registered.
pub(crate) fn account(
    issuer: &Issuer,
    uri: &str,
    in_memory: &mut Option<String>,
) -> Result<Account, Failure> {
    let lock = match &issuer.state {
        Some(folder) => {
            make_folder(folder).map_err(|why| failed("mkdir()", folder, &why))?;
            let path = folder.join(ACCOUNT_LOCK);
            let file = open_lock(&path).map_err(|why| failed("open()", &path, &why))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|why| failed("flock()", &path, &why.into()))?;
            Lock(Some(file))
        }
        None => Lock(None),
    };
    let pem = match (&issuer.account_key, &issuer.state) {
        (AccountKey::Given(pem), _) => String::from_utf8_lossy(pem).into_owned(),
        (AccountKey::Made(kind), Some(folder)) => kept_key(*kind, &folder.join(ACCOUNT_KEY))?,
        (AccountKey::Made(kind), None) => match in_memory {
            Some(pem) => pem.clone(),
            None => in_memory.insert(new_key(*kind)?).clone(),
        },
    };
    let signer = Signer::from_pem(&pem).map_err(|why| Failure::own(format!("the account's key: {why}")))?;
    let kept = issuer.state.as_ref().and_then(|folder| fs::read(folder.join(ACCOUNT)).ok());
    let kept: Value = kept.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let same = kept["issuer"] == uri && kept["key"] == signer.thumbprint();
    let kid = kept["account"].as_str().filter(|_| same).map(str::to_owned);
    Ok(Account { signer, kid, lock })
}

fn new_key(kind: Kind) -> Result<String, Failure> {
    let key = kind.generate().map_err(|why| Failure::own(format!("no key can be made: {why}")))?;
    Ok(key.serialize_pem())
}

fn kept_key(kind: Kind, path: &Path) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Ok(pem) => Ok(pem),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let pem = new_key(kind)?;
            write(path, pem.as_bytes()).map_err(|why| failed("writing", path, &why))?;
            Ok(pem)
        }
        Err(why) => Err(failed("reading", path, &why)),
    }
}

/// Remembers the account, or that there is none any more.
pub(crate) fn keep_account(
    issuer: &Issuer,
    uri: &str,
    signer: &Signer,
    kid: Option<&str>,
) -> Result<(), Failure> {
    let Some(folder) = &issuer.state else { return Ok(()) };
    let path = folder.join(ACCOUNT);
    let text = json!({ "issuer": uri, "key": signer.thumbprint(), "account": kid }).to_string();
    write(&path, text.as_bytes()).map_err(|why| failed("writing", &path, &why))
}

/// What tells one block of an issuer from another, without its secrets.
fn digest_of(issuer: &Issuer) -> String {
    let digest = digest::digest(&digest::SHA256, format!("{issuer:?}").as_bytes());
    digest.as_ref()[..ID_BYTES].iter().map(|it| format!("{it:02x}")).collect()
}

/// Failures in a row, and what follows; times in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) n_failed: u32,
    pub(crate) tried_ms: i64,
    pub(crate) due_ms: i64,
    pub(crate) forbidden_ms: i64,
}

/// The files of one wish; `None`: nothing is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Option<PathBuf>);

impl Kept {
    pub(crate) fn of(wish: &Wish) -> Kept {
        let id = Wish::id("", &wish.names, wish.key);
        let digest = digest::digest(&digest::SHA256, id.as_bytes());
        let hex: String = digest.as_ref()[..ID_BYTES].iter().map(|it| format!("{it:02x}")).collect();
        let first = wish
            .names
            .first()
            .map_or_else(String::new, |it| it.to_string().replace('*', "_").replace(':', "-"));
        Kept(wish.issuer.state.as_ref().map(|folder| folder.join(format!("{first}-{hex}"))))
    }

    fn path(&self, end: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|it| {
            let mut name = it.clone().into_os_string();
            name.push(end);
            name.into()
        })
    }

    /// What is there, if it can be used.
    pub(crate) fn load(&self) -> Option<Shown> {
        let text = fs::read_to_string(self.path(".pem")?).ok()?;
        let at = text.find("-----BEGIN CERTIFICATE-----")?;
        let (key, chain) = text.split_at(at);
        Shown::new(chain, key, true).ok()
    }

    /// Key and chain in one file, so that they always belong together.
    pub(crate) fn save(&self, shown: &Shown) -> Result<(), Failure> {
        let Some(path) = self.path(".pem") else { return Ok(()) };
        let text = format!("{}\n{}", shown.key_pem.trim_end(), shown.chain_pem);
        write(&path, text.as_bytes()).map_err(|why| failed("writing", &path, &why))?;
        // The chain alone, for others; we do not read it.
        let copy = path.with_extension("crt");
        write(&copy, shown.chain_pem.as_bytes()).map_err(|why| failed("writing", &copy, &why))
    }

    /// What failed before; `None`: nothing did, or the issuer's block was another one.
    pub(crate) fn patience(&self, issuer: &Issuer) -> Option<Patience> {
        let kept: Value = serde_json::from_slice(&fs::read(self.path(".failed")?).ok()?).ok()?;
        if kept["issuer"] != digest_of(issuer) {
            return None;
        }
        let number = |name: &str| kept[name].as_i64();
        Some(Patience {
            n_failed: u32::try_from(number("failures")?).ok()?,
            tried_ms: number("tried_ms")?,
            due_ms: number("due_ms")?,
            forbidden_ms: number("forbidden_ms")?,
        })
    }

    /// Remembers that, or that nothing has failed. Where that cannot be written, a restart is less patient.
    pub(crate) fn keep_patience(&self, issuer: &Issuer, patience: Option<&Patience>) {
        let Some(path) = self.path(".failed") else { return };
        _ = match patience {
            Some(Patience { n_failed, tried_ms, due_ms, forbidden_ms }) => {
                let text = json!({ "issuer": digest_of(issuer), "failures": n_failed, "tried_ms": tried_ms, "due_ms": due_ms,
                    "forbidden_ms": forbidden_ms });
                write(&path, text.to_string().as_bytes())
            }
            None => fs::remove_file(&path),
        };
    }

    /// `Ok(None)`: another process is at it.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, Failure> {
        let Some(path) = self.path(".lock") else { return Ok(Some(Lock(None))) };
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(|why| failed("mkdir()", folder, &why))?;
        }
        let file = open_lock(&path).map_err(|why| failed("open()", &path, &why))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(Some(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(why) => Err(failed("flock()", &path, &why.into())),
        }
    }
}
