//! Certificates, keys, authorities and revocation lists: read from files, with nginx's words for what is wrong.

use std::io;
use std::path::Path;
use std::sync::Arc;

use foregate_conf::{Error, Word, os_error};
use foregate_core::Compile;
use foregate_net::tls::certs::{self, CertError, Staple};
use foregate_net::tls::x509::RevocationList;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::commands::Changes;
use super::ocsp::stapling;
use super::{Options, Verify};

/// As nginx: the longest line of a file of passwords, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// A certificate with its key, and where its issuer's word is found.
pub(super) type Own = (Arc<CertifiedKey>, Option<Arc<Staple>>);
type Authorities = Vec<CertificateDer<'static>>;

/// The names of the server's own certificates and of their keys.
pub(super) fn names(o: &Options, changes: &Changes) -> Result<Vec<(Word, Word)>, Error> {
    let mut certificates = o.certificates.clone().unwrap_or_default();
    let mut keys = o.keys.clone().unwrap_or_default();
    if o.is_automatic() {
        return match &certificates[..] {
            [only] if keys.is_empty() => Ok(vec![(only.clone(), Word::new(Vec::new(), only.span, false))]),
            _ => Err(Error::at(certificates[0].span, "\"ssl_certificate auto\" is for a server without other certificates and keys")),
        };
    }
    if let (Some(last), true) = (certificates.last(), certificates.len() > keys.len()) {
        let what = format!("no \"ssl_certificate_key\" is defined for certificate \"{last}\"");
        return Err(Error::at(last.span, what));
    }
    keys.truncate(certificates.len());
    if let (Some(certificate), Some(key), false) = (&changes.certificate, &changes.key, certificates.is_empty()) {
        certificates.push(certificate.clone());
        keys.push(key.clone());
    }
    Ok(certificates.into_iter().zip(keys).collect())
}

/// The server's own certificates with their keys, and where words of their issuers are to be found.
pub(super) fn own(
    names: &[(Word, Word)],
    trusted: &[CertificateDer<'static>],
    o: &Options,
    cx: &mut Compile<'_>,
) -> Result<Vec<Own>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let passwords = passwords(o, cx)?;
    let response = staple(o, cx)?;
    let mut all: Vec<(Arc<CertifiedKey>, &Word)> = Vec::new();
    for (certificate, key) in names {
        let mut certified = one(certificate, key, &passwords, cx)?;
        certified.ocsp.clone_from(&response);
        // As OpenSSL: of one kind of key the last counts.
        all.retain(|(it, _)| it.key.algorithm() != certified.key.algorithm());
        all.push((Arc::new(certified), certificate));
    }
    let fetches = o.stapling == Some(true) && response.is_none();
    let staples = all.into_iter().map(|(one, word)| {
        let staple = if fetches { stapling::prepare(&one, word, trusted, o, cx) } else { None };
        (one, staple)
    });
    Ok(staples.collect())
}

fn one(cert: &Word, key: &Word, passwords: &[Vec<u8>], cx: &Compile<'_>) -> Result<CertifiedKey, Error> {
    if key.starts_with("engine:") {
        let what = format!("cannot load certificate key \"{key}\": loading \"engine:...\" certificate keys");
        return Err(Error::at(key.span, format!("{what} is not supported")));
    }
    let key = &key_file(key);
    let cert_pem = read_pem(cert, "certificate", cx)?;
    let key_pem = read_pem(key, "certificate key", cx)?;
    certs::certified_with(&cert_pem, &key_pem, passwords).map_err(|error| {
        let (call, word, what) = match &error {
            CertError::Mismatch => {
                let what = "(SSL: error:05800074:x509 certificate routines::key values mismatch)";
                let what = format!("SSL_CTX_use_PrivateKey(\"{}\") failed {what}", full(key, cx));
                return Error::at(key.span, what).advise("this key belongs to another certificate");
            }
            CertError::NoCertificate | CertError::Invalid(_) if certs::chain(&cert_pem).is_err() => {
                ("PEM_read_bio_X509_AUX()", cert, "certificate")
            }
            _ => ("PEM_read_bio_PrivateKey()", key, "certificate key"),
        };
        let path = full(word, cx);
        Error::at(word.span, format!("cannot load {what} \"{path}\": {call} failed (SSL: {error})"))
    })
}

/// Where a key is read from.
pub(super) fn key_file(key: &Word) -> Word {
    Word::new(certs::key_file(key).as_bytes().to_vec(), key.span, false)
}

/// The lines of `ssl_password_file`.
pub(super) fn passwords(o: &Options, cx: &Compile<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let Some(word) = &o.passwords else { return Ok(Vec::new()) };
    let text = read(word, cx)?;
    let lines = text.split(|b| *b == b'\n').map(|it| it.strip_suffix(b"\r").unwrap_or(it));
    let lines: Vec<_> = lines.filter(|it| !it.is_empty()).map(<[u8]>::to_vec).collect();
    if lines.iter().any(|it| it.len() >= PASSWORD_BYTES_MAX) {
        return Err(Error::at(word.span, format!("too long line in \"{}\"", full(word, cx))));
    }
    Ok(lines)
}

/// `ssl_stapling_file`: an OCSP response that goes with every certificate.
fn staple(o: &Options, cx: &Compile<'_>) -> Result<Option<Vec<u8>>, Error> {
    match o.stapling_file.as_ref().filter(|it| o.stapling == Some(true) && !it.is_empty()) {
        Some(word) => read_by_openssl(word, cx).map(Some),
        None => Ok(None),
    }
}

/// Authorities that clients are told of, others that are trusted as well, and what has been revoked.
pub(super) fn authorities(
    o: &Options,
    verify: Verify,
    cx: &Compile<'_>,
) -> Result<(Authorities, Authorities, Vec<RevocationList>), Error> {
    let given = |word: &Option<Word>| word.clone().filter(|it| !it.is_empty());
    let (wanted, trusted) = (given(&o.client_certificate), given(&o.trusted_certificate));
    let is_verified = matches!(verify, Verify::On | Verify::Optional);
    if is_verified && wanted.is_none() && trusted.is_none() {
        let what = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
        return Err(Error::plain(what)
            .advise("name the authorities whose certificates clients may show: ssl_client_certificate ca.pem;"));
    }
    let load = |word: Option<Word>| word.map_or(Ok(Vec::new()), |it| chain(&it, cx));
    let wanted = load(wanted.filter(|_| verify != Verify::Off))?;
    Ok((wanted, load(trusted)?, revoked(o, cx)?))
}

fn chain(word: &Word, cx: &Compile<'_>) -> Result<Authorities, Error> {
    let pem = read_pem(word, "certificate", cx)?;
    certs::chain(&pem).map_err(|error| {
        let path = full(word, cx);
        let what = format!("cannot load certificate \"{path}\": PEM_read_bio_X509_AUX() failed (SSL: {error})");
        Error::at(word.span, what)
    })
}

fn revoked(o: &Options, cx: &Compile<'_>) -> Result<Vec<RevocationList>, Error> {
    let Some(word) = o.crl.as_ref().filter(|it| !it.is_empty()) else { return Ok(Vec::new()) };
    let pem = read_pem(word, "CRL", cx)?;
    certs::revocation_lists(&pem).map_err(|error| {
        let path = full(word, cx);
        Error::at(word.span, format!("cannot load CRL \"{path}\": PEM_read_bio_X509_CRL() failed (SSL: {error})"))
    })
}

/// nginx refuses to start without the file, whether it needs it or not.
pub(super) fn check_dhparam(o: &Options, cx: &Compile<'_>) -> Result<(), Error> {
    match o.dhparam.as_ref().filter(|it| !it.is_empty()) {
        Some(word) => read_by_openssl(word, cx).map(drop),
        None => Ok(()),
    }
}

/// A PEM text: a file's, or the one that follows `data:`.
fn read_pem(word: &Word, what: &str, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    if let Some(text) = word.strip_prefix("data:") {
        return Ok(text.as_bytes().to_vec());
    }
    let path = cx.conf_path(word);
    cx.files.read(&path).map_err(|error| {
        let why = openssl_error(&path, &error);
        Error::at(word.span, format!("cannot load {what} \"{}\": BIO_new_file() failed {why}", path.display()))
    })
}

fn read_by_openssl(word: &Word, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    let path = cx.conf_path(word);
    cx.files.read(&path).map_err(|error| {
        let why = openssl_error(&path, &error);
        Error::at(word.span, format!("BIO_new_file(\"{}\") failed {why}", path.display()))
    })
}

/// A file that nginx itself reads.
pub(super) fn read(word: &Word, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    let path = cx.conf_path(word);
    cx.files.read(&path).map_err(|error| {
        Error::at(word.span, format!("open() \"{}\" failed{}", path.display(), os_error(&error)))
    })
}

/// What OpenSSL says of a file that it cannot open.
fn openssl_error(path: &Path, error: &io::Error) -> String {
    let code = error.raw_os_error().unwrap_or_default();
    let text = error.to_string();
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    let tail = match error.kind() {
        io::ErrorKind::NotFound => "error:10000080:BIO routines::no such file",
        _ => "error:10080002:BIO routines::system lib",
    };
    format!("(SSL: error:8{code:07X}:system library::{text}:calling fopen({}, r) {tail})", path.display())
}

/// A file's whole path; what stands in the configuration itself is not repeated.
fn full(word: &Word, cx: &Compile<'_>) -> String {
    match word.starts_with("data:") {
        true => "data:...".to_owned(),
        false => cx.conf_path(word).display().to_string(),
    }
}
