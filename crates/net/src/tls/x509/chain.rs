//! From a certificate to an authority that is trusted, judged as OpenSSL judges when it is told to go on after
//! failures, which is how nginx asks it: the last failure found is the one that is told.

use std::collections::HashMap;
use std::fmt;

use super::cert::{self, Certificate};
use super::crl::RevocationList;
use super::signature::is_signed_by;

/// Certificates looked at on the way, whatever depth is allowed.
const PATH_MAX: usize = 32;
/// Certificates of a peer that are read at all.
const CHAIN_MAX: usize = 64;
/// The last numbers of the purposes in extKeyUsage.
const SERVER_AUTH: u8 = 1;
const CLIENT_AUTH: u8 = 2;

/// Why a chain does not hold: OpenSSL's number (X509_V_ERR_…) and its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u32,
    pub text: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl std::error::Error for Failure {}

const fn failure(code: u32, text: &'static str) -> Failure {
    Failure { code, text }
}

const UNSPECIFIED: Failure = failure(1, "unspecified certificate verification error");
const NO_ISSUER: Failure = failure(2, "unable to get issuer certificate");
const NO_CRL: Failure = failure(3, "unable to get certificate CRL");
const BAD_SIGNATURE: Failure = failure(7, "certificate signature failure");
const BAD_CRL_SIGNATURE: Failure = failure(8, "CRL signature failure");
const NOT_YET_VALID: Failure = failure(9, "certificate is not yet valid");
const EXPIRED: Failure = failure(10, "certificate has expired");
const CRL_NOT_YET_VALID: Failure = failure(11, "CRL is not yet valid");
const CRL_EXPIRED: Failure = failure(12, "CRL has expired");
const SELF_SIGNED: Failure = failure(18, "self-signed certificate");
const SELF_SIGNED_ABOVE: Failure = failure(19, "self-signed certificate in certificate chain");
const NO_LOCAL_ISSUER: Failure = failure(20, "unable to get local issuer certificate");
const LEAF_UNVERIFIED: Failure = failure(21, "unable to verify the first certificate");
const REVOKED: Failure = failure(23, "certificate revoked");
const INVALID_CA: Failure = failure(79, "invalid CA certificate");
const TOO_LONG_BELOW: Failure = failure(25, "path length constraint exceeded");
const PURPOSE: Failure = failure(26, "unsuitable certificate purpose");
const NO_CRL_ISSUER: Failure = failure(33, "unable to get CRL issuer certificate");
const UNKNOWN_CRITICAL: Failure = failure(34, "unhandled critical extension");
/// nginx's own, which have no number.
pub const STATUS_UNKNOWN: Failure = failure(0, "certificate status unknown");
pub const STATUS_REVOKED: Failure = failure(0, "certificate revoked");
pub const STATUS_NOT_HAD: Failure = failure(0, "certificate status request failed");
const NOT_PERMITTED: Failure = failure(47, "permitted subtree violation");

impl Failure {
    /// Failures that `ssl_verify_client optional_no_ca` lets pass: nobody who is trusted vouches for the certificate.
    pub fn is_lack_of_trust(&self) -> bool {
        [SELF_SIGNED, SELF_SIGNED_ABOVE, NO_LOCAL_ISSUER, LEAF_UNVERIFIED].contains(self)
    }
}

/// What the certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Client,
    Server,
}

/// How a chain is judged.
#[derive(Debug)]
pub struct Rules {
    pub purpose: Purpose,
    /// Certificates allowed between the peer's own and the authority (nginx: ssl_verify_depth).
    pub depth_max: usize,
    /// Lists of what has been revoked; with any, every certificate's issuer must have one (nginx: ssl_crl).
    pub revoked: Vec<RevocationList>,
}

/// Certificates that are trusted.
#[derive(Debug, Default)]
pub struct Authorities {
    all: Vec<Vec<u8>>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

impl Authorities {
    /// `false`: it is no certificate.
    pub fn add(&mut self, der: &[u8]) -> bool {
        let Some(cert) = Certificate::parse(der) else { return false };
        self.by_subject.entry(cert.subject.canonical()).or_default().push(self.all.len());
        self.all.push(der.to_vec());
        true
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn named(&self, subject: &[u8]) -> impl Iterator<Item = Certificate<'_>> {
        let found = self.by_subject.get(subject).map(Vec::as_slice).unwrap_or_default();
        found.iter().filter_map(|at| Certificate::parse(&self.all[*at]))
    }

    fn holds(&self, cert: &Certificate<'_>) -> bool {
        self.named(&cert.subject.canonical()).any(|it| it.der == cert.der)
    }

    /// Checks a chain, the peer's own certificate first, at a time (seconds since 1970). `constrained` is asked when a
    /// certificate limits the names below it, which is not judged here.
    pub fn verify(
        &self,
        chain: &[&[u8]],
        rules: &Rules,
        now_s: i64,
        constrained: impl FnOnce() -> bool,
    ) -> Result<(), Failure> {
        let all: Option<Vec<_>> = chain.iter().take(CHAIN_MAX).map(|der| Certificate::parse(der)).collect();
        let Some((leaf, others)) = all.as_deref().and_then(<[_]>::split_first) else {
            return Err(UNSPECIFIED);
        };
        let (path, built) = self.path(leaf, others, rules.depth_max);
        let mut failures = vec![built];
        failures.extend(usage_failures(&path, rules.purpose));
        if !rules.revoked.is_empty() {
            failures.extend((0..path.len()).map(|at| revocation_failure(&path, at, &rules.revoked, now_s)));
        }
        failures.extend(signature_failures(&path, now_s));
        if path.iter().any(|it| it.extensions.name_constraints) && !constrained() {
            failures.push(Some(NOT_PERMITTED));
        }
        failures.into_iter().flatten().next_back().map_or(Ok(()), Err)
    }

    /// The certificates from the peer's own up to an authority, as far as there are any.
    pub fn way_up(&self, chain: &[&[u8]], depth_max: usize) -> Vec<Vec<u8>> {
        let all: Option<Vec<_>> = chain.iter().take(CHAIN_MAX).map(|der| Certificate::parse(der)).collect();
        let Some((leaf, others)) = all.as_deref().and_then(<[_]>::split_first) else { return Vec::new() };
        self.path(leaf, others, depth_max).0.iter().map(|it| it.der.to_vec()).collect()
    }

    /// The way up, trusted certificates before those that the peer sent.
    fn path<'a>(
        &'a self,
        leaf: &Certificate<'a>,
        others: &[Certificate<'a>],
        depth_max: usize,
    ) -> (Vec<Certificate<'a>>, Option<Failure>) {
        let mut path = vec![leaf.clone()];
        let mut trusted = false;
        loop {
            let last = &path[path.len() - 1];
            let is_root = last.is_self_issued();
            if is_root && (trusted || self.holds(last)) {
                return (path, None);
            }
            let may_grow = !is_root && path.len() <= depth_max.saturating_add(1).min(PATH_MAX);
            let found = if may_grow { self.issuer(&path, others, trusted) } else { None };
            let Some((next, is_trusted)) = found else {
                let why = match (is_root, path.len()) {
                    (true, 1) => SELF_SIGNED,
                    (true, _) => SELF_SIGNED_ABOVE,
                    (false, _) if trusted => NO_ISSUER,
                    (false, _) => NO_LOCAL_ISSUER,
                };
                return (path, Some(why));
            };
            trusted = is_trusted;
            path.push(next);
        }
    }

    /// Who issued the last one of `path`, and whether it is trusted.
    fn issuer<'a>(
        &'a self,
        path: &[Certificate<'a>],
        others: &[Certificate<'a>],
        trusted: bool,
    ) -> Option<(Certificate<'a>, bool)> {
        let last = path.last()?;
        let name = last.issuer.canonical();
        let ours: Vec<_> = self.named(&name).filter(|it| may_issue(it, last)).collect();
        if let Some(best) = best(ours, last) {
            return Some((best, true));
        }
        // Above a trusted certificate nobody is asked but the trusted.
        let fresh = |it: &&Certificate<'a>| !trusted && path.iter().all(|other| other.der != it.der);
        let theirs = others.iter().filter(fresh);
        let theirs = theirs.filter(|it| it.subject.canonical() == name && may_issue(it, last));
        best(theirs.cloned().collect(), last).map(|it| (it, false))
    }
}

/// Of several with the right name, the one whose key it was; the first if it was none.
fn best<'a>(mut all: Vec<Certificate<'a>>, of: &Certificate<'_>) -> Option<Certificate<'a>> {
    let at = match all.len() {
        0 => return None,
        1 => 0,
        _ => all.iter().position(|it| is_signed_by(&of.signed, it)).unwrap_or(0),
    };
    Some(all.swap_remove(at))
}

/// What speaks against `issuer` before its key is tried.
fn may_issue(issuer: &Certificate<'_>, of: &Certificate<'_>) -> bool {
    let same_key = match (of.extensions.authority_key_id, issuer.extensions.subject_key_id) {
        (Some(wanted), Some(own)) => wanted == own,
        _ => true,
    };
    same_key && issuer.extensions.key_usage.is_none_or(|it| it & cert::KEY_CERT_SIGN != 0)
}

/// Whether each certificate may do what it does here: be an authority, or stand for a client or server.
fn usage_failures(path: &[Certificate<'_>], purpose: Purpose) -> Vec<Option<Failure>> {
    let mut failures = Vec::new();
    let mut n_below = 0;
    for (at, cert) in path.iter().enumerate() {
        let extensions = &cert.extensions;
        failures.push(extensions.unknown_critical.then_some(UNKNOWN_CRITICAL));
        failures.push((at > 0 && !is_authority(cert)).then_some(INVALID_CA));
        failures.push((!suits(cert, at > 0, purpose)).then_some(PURPOSE));
        let followers_max = extensions.basic_constraints.and_then(|(_, followers)| followers);
        let too_many = at > 1 && followers_max.is_some_and(|max| n_below > max);
        failures.push(too_many.then_some(TOO_LONG_BELOW));
        if at > 0 && !cert.is_self_issued() {
            n_below += 1;
        }
    }
    failures
}

/// Version 1 knows no authorities: only roots may be of it.
fn is_authority(cert: &Certificate<'_>) -> bool {
    let extensions = &cert.extensions;
    if extensions.key_usage.is_some_and(|it| it & cert::KEY_CERT_SIGN == 0) {
        return false;
    }
    match extensions.basic_constraints {
        Some((authority, _)) => authority,
        None if cert.version == 1 => cert.is_self_issued(),
        None => extensions.key_usage.is_some(),
    }
}

fn suits(cert: &Certificate<'_>, as_authority: bool, purpose: Purpose) -> bool {
    let extensions = &cert.extensions;
    let (wanted, bits) = match purpose {
        Purpose::Client => (CLIENT_AUTH, cert::DIGITAL_SIGNATURE | cert::KEY_AGREEMENT),
        Purpose::Server => {
            (SERVER_AUTH, cert::DIGITAL_SIGNATURE | cert::KEY_ENCIPHERMENT | cert::KEY_AGREEMENT)
        }
    };
    let purpose_fits = extensions.purposes.as_ref().is_none_or(|it| it.contains(&wanted));
    purpose_fits
        && match as_authority {
            true => is_authority(cert),
            false => extensions.key_usage.is_none_or(|it| it & bits != 0),
        }
}

fn revocation_failure(
    path: &[Certificate<'_>],
    at: usize,
    lists: &[RevocationList],
    now_s: i64,
) -> Option<Failure> {
    let cert = &path[at];
    let name = cert.issuer.canonical();
    let is_current = |it: &&RevocationList| it.next_update.is_none_or(|next| next.unix_s() >= now_s);
    let named = || lists.iter().filter(|it| it.issuer == name);
    let Some(list) = named().find(is_current).or_else(|| named().next()) else { return Some(NO_CRL) };
    let Some(issuer) = path.get(at + 1).or_else(|| Some(cert).filter(|it| it.is_self_issued())) else {
        return Some(NO_CRL_ISSUER);
    };
    let failures = [
        (list.this_update.unix_s() > now_s).then_some(CRL_NOT_YET_VALID),
        (!is_current(&list)).then_some(CRL_EXPIRED),
        (!list.is_signed_by(issuer)).then_some(BAD_CRL_SIGNATURE),
        list.holds(cert).then_some(REVOKED),
    ];
    failures.into_iter().flatten().next_back()
}

/// From the top down; the signature of a root, which is trusted for itself, is not looked at.
fn signature_failures(path: &[Certificate<'_>], now_s: i64) -> Vec<Option<Failure>> {
    let top = path.len() - 1;
    if top == 0 && !path[0].is_self_issued() {
        return vec![Some(LEAF_UNVERIFIED)];
    }
    let mut failures = Vec::new();
    for at in (0..=top).rev() {
        let cert = &path[at];
        match path.get(at + 1) {
            Some(issuer) => failures.push((!is_signed_by(&cert.signed, issuer)).then_some(BAD_SIGNATURE)),
            None if !cert.is_self_issued() => continue,
            None => {}
        }
        failures.push((cert.not_before.unix_s() > now_s).then_some(NOT_YET_VALID));
        failures.push((cert.not_after.unix_s() < now_s).then_some(EXPIRED));
    }
    failures
}
