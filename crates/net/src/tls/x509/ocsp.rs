//! Whether a certificate still holds, as its issuer says it: questions and answers of OCSP (RFC 6960).

use std::fmt;

use aws_lc_rs::digest::{self, Algorithm};

use super::cert::{Certificate, Signed};
use super::der::{self, BITS, INTEGER, OCTETS, OID, SEQUENCE};
use super::name::Name;
use super::signature::is_signed_by;
use super::time::Time;

const ENUMERATED: u8 = 0x0a;
/// The tags of the standard's own kinds.
const IN_0: u8 = 0xa0;
const IN_1: u8 = 0xa1;
const IN_2: u8 = 0xa2;
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

/// Object identifiers, without their heads.
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 1];
const BASIC_RESPONSE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// The last number of id-kp-OCSPSigning in extKeyUsage.
const OCSP_SIGNING: u8 = 9;
/// Clocks may differ by so much (seconds; nginx allows the same).
const SKEW_S: i64 = 300;
/// Certificates in a response that are looked at.
const SIGNERS_MAX: usize = 16;

/// What the issuer says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked,
    Unknown,
}

/// A response that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    /// Seconds since 1970; `None`: newer information is there at any time.
    pub valid_until_s: Option<i64>,
}

/// Whose signature is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signers {
    /// Whoever sent a certificate along: the response goes on to clients, who look for themselves.
    Anybody,
    /// The issuer, and whom it has charged with it (RFC 6960 section 4.2.2.2).
    Authorized,
}

/// Why a response cannot be used; texts name the step that failed as nginx does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspError {
    Malformed,
    /// The responder's own refusal (responseStatus).
    Refused(u8),
    /// The signature does not hold, or is nobody's who may sign.
    Signature,
    /// It is about other certificates.
    NotFound,
    /// It is not valid yet, or not any more.
    Validity,
}

impl fmt::Display for OcspError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OcspError::Malformed => f.write_str("d2i_OCSP_RESPONSE() failed"),
            OcspError::Refused(code) => {
                let words = match code {
                    1 => "malformedrequest",
                    2 => "internalerror",
                    3 => "trylater",
                    5 => "sigrequired",
                    6 => "unauthorized",
                    _ => "(UNKNOWN)",
                };
                write!(f, "OCSP response not successful ({code}: {words})")
            }
            OcspError::Signature => f.write_str("OCSP_basic_verify() failed"),
            OcspError::NotFound => f.write_str("certificate status not found in the OCSP response"),
            OcspError::Validity => f.write_str("OCSP_check_validity() failed"),
        }
    }
}

impl std::error::Error for OcspError {}

/// The question for one certificate, DER: without a nonce, so that responders may answer from what they have ready.
pub fn question(cert: &Certificate<'_>, issuer: &Certificate<'_>) -> Vec<u8> {
    let algorithm = wrap(SEQUENCE, &[wrap(OID, SHA1), vec![5, 0]].concat());
    let [name, key] = issuer_hashes(issuer, &digest::SHA1_FOR_LEGACY_USE_ONLY);
    let id = [algorithm, wrap(OCTETS, &name), wrap(OCTETS, &key), wrap(INTEGER, cert.serial_bytes())];
    let request = wrap(SEQUENCE, &wrap(SEQUENCE, &id.concat()));
    wrap(SEQUENCE, &wrap(SEQUENCE, &wrap(SEQUENCE, &request)))
}

/// Reads a response about `cert`, at a time (seconds since 1970).
///
/// # Errors
/// The first of the checks that fails: form, status, signature, what it is about, when it holds.
pub fn read(
    response: &[u8],
    cert: &Certificate<'_>,
    issuer: &Certificate<'_>,
    signers: Signers,
    now_s: i64,
) -> Result<Answer, OcspError> {
    let basic = Basic::open(response)?;
    if !basic.is_signed(issuer, signers, now_s) {
        return Err(OcspError::Signature);
    }
    let mut answers = basic.answers;
    while let Some(one) = der::take(&mut answers, SEQUENCE) {
        let one = Single::read(one).ok_or(OcspError::Malformed)?;
        if one.is_about(cert, issuer) {
            return one.judge(now_s);
        }
    }
    Err(OcspError::NotFound)
}

/// A BasicOCSPResponse.
struct Basic<'a> {
    signed: Signed<'a>,
    responder: der::Element<'a>,
    answers: &'a [u8],
    certs: Vec<Certificate<'a>>,
}

impl<'a> Basic<'a> {
    fn open(response: &'a [u8]) -> Result<Basic<'a>, OcspError> {
        let mut outer = der::take(&mut { response }, SEQUENCE).ok_or(OcspError::Malformed)?;
        match der::take(&mut outer, ENUMERATED) {
            Some([0]) => {}
            Some([code]) => return Err(OcspError::Refused(*code)),
            _ => return Err(OcspError::Malformed),
        }
        Basic::read(outer).ok_or(OcspError::Malformed)
    }

    fn read(mut rest: &'a [u8]) -> Option<Basic<'a>> {
        let mut inner = der::take(&mut rest, IN_0)?;
        let mut bytes = der::take(&mut inner, SEQUENCE)?;
        if der::take(&mut bytes, OID)? != BASIC_RESPONSE {
            return None;
        }
        let mut basic = der::take(&mut bytes, OCTETS)?;
        let (signed, mut data) = Signed::read(basic)?;
        let mut outer = der::take(&mut basic, SEQUENCE)?;
        for tag in [SEQUENCE, SEQUENCE, BITS] {
            der::take(&mut outer, tag)?;
        }
        let mut certs = Vec::new();
        if let Some(mut list) = der::take(&mut outer, IN_0) {
            let mut list = der::take(&mut list, SEQUENCE)?;
            while let Some(cert) = der::whole(&mut list, SEQUENCE).filter(|_| certs.len() < SIGNERS_MAX) {
                certs.push(Certificate::parse(cert.whole)?);
            }
        }
        der::take(&mut data, IN_0);
        let responder = der::element(&mut data)?;
        Time::take(&mut data)?;
        Some(Basic { signed, responder, answers: der::take(&mut data, SEQUENCE)?, certs })
    }

    fn is_signed(&self, issuer: &Certificate<'_>, signers: Signers, now_s: i64) -> bool {
        let is_meant = |cert: &Certificate<'_>| self.is_responder(cert);
        if is_meant(issuer) && is_signed_by(&self.signed, issuer) {
            return true;
        }
        let mut theirs = self.certs.iter().filter(|it| is_meant(it) && is_signed_by(&self.signed, it));
        match signers {
            Signers::Anybody => theirs.next().is_some(),
            Signers::Authorized => theirs.any(|it| is_delegate(it, issuer, now_s)),
        }
    }

    /// ResponderID: by name, or by the digest of the key.
    fn is_responder(&self, cert: &Certificate<'_>) -> bool {
        let mut body = self.responder.body;
        match self.responder.tag {
            IN_1 => der::take(&mut body, SEQUENCE)
                .is_some_and(|name| Name(name).canonical() == cert.subject.canonical()),
            IN_2 => der::take(&mut body, OCTETS).is_some_and(|key| {
                key == digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, cert.key).as_ref()
            }),
            _ => false,
        }
    }
}

/// Whether the issuer has charged `cert` with answering.
fn is_delegate(cert: &Certificate<'_>, issuer: &Certificate<'_>, now_s: i64) -> bool {
    let may_sign = cert.extensions.purposes.as_ref().is_some_and(|it| it.contains(&OCSP_SIGNING));
    let holds = cert.not_before.unix_s() <= now_s && now_s <= cert.not_after.unix_s();
    may_sign
        && holds
        && cert.issuer.canonical() == issuer.subject.canonical()
        && is_signed_by(&cert.signed, issuer)
}

/// A SingleResponse.
struct Single<'a> {
    id: &'a [u8],
    status: Status,
    this_update_s: i64,
    next_update_s: Option<i64>,
}

impl<'a> Single<'a> {
    fn read(mut body: &'a [u8]) -> Option<Single<'a>> {
        let id = der::take(&mut body, SEQUENCE)?;
        let status = match der::element(&mut body)?.tag {
            GOOD => Status::Good,
            REVOKED => Status::Revoked,
            _ => Status::Unknown,
        };
        let this_update_s = Time::take(&mut body)?.unix_s();
        let next_update_s = match der::take(&mut body, IN_0) {
            Some(mut inner) => Some(Time::take(&mut inner)?.unix_s()),
            None => None,
        };
        Some(Single { id, status, this_update_s, next_update_s })
    }

    fn is_about(&self, cert: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
        let mut id = self.id;
        let mut read = || {
            let algorithm = der::take(&mut der::take(&mut id, SEQUENCE)?, OID)?;
            let hash = match algorithm {
                SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
                SHA256 => &digest::SHA256,
                _ => return None,
            };
            let [name, key] = issuer_hashes(issuer, hash);
            let same_issuer = der::take(&mut id, OCTETS)? == name && der::take(&mut id, OCTETS)? == key;
            Some(same_issuer && der::take(&mut id, INTEGER)? == cert.serial_bytes())
        };
        read().unwrap_or(false)
    }

    fn judge(&self, now_s: i64) -> Result<Answer, OcspError> {
        let is_current = self.this_update_s <= now_s.saturating_add(SKEW_S)
            && self.next_update_s.is_none_or(|next| next >= now_s.saturating_sub(SKEW_S));
        match is_current {
            true => Ok(Answer { status: self.status, valid_until_s: self.next_update_s }),
            false => Err(OcspError::Validity),
        }
    }
}

/// Digests of the issuer's name and of its key, as they stand in a CertID.
fn issuer_hashes(issuer: &Certificate<'_>, hash: &'static Algorithm) -> [Vec<u8>; 2] {
    let name = wrap(SEQUENCE, issuer.subject.der());
    [digest::digest(hash, &name).as_ref().to_vec(), digest::digest(hash, issuer.key).as_ref().to_vec()]
}

/// An element of DER: head and contents.
fn wrap(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len().to_be_bytes();
    let n_zeros = len.iter().take_while(|it| **it == 0).count();
    let mut out = match body.len() {
        short @ 0..0x80 => vec![tag, short as u8],
        _ => [&[tag, 0x80 | (len.len() - n_zeros) as u8], &len[n_zeros..]].concat(),
    };
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SigningKey};

    const NOW: i64 = 1_800_000_000;
    const BEFORE: &[u8] = b"20270115070000Z";
    const AFTER: &[u8] = b"20270116070000Z";
    const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

    struct Authority {
        key: KeyPair,
        der: Vec<u8>,
    }

    impl Authority {
        fn new(name: &str) -> (Authority, Vec<u8>) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let der = params.self_signed(&key).unwrap().der().to_vec();
            let issuer = rcgen::Issuer::from_params(&params, &key);
            let leaf = CertificateParams::new(vec!["a.test".to_string()]).unwrap();
            let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec();
            (Authority { key, der }, leaf)
        }

        /// A response of this authority about a certificate of `issuer`.
        fn answer(&self, leaf: &[u8], issuer: &Authority, status: u8, until: &[u8]) -> Vec<u8> {
            let (cert, above) = (Certificate::parse(leaf).unwrap(), Certificate::parse(&issuer.der).unwrap());
            let [name, key] = issuer_hashes(&above, &digest::SHA256);
            let id = [
                wrap(SEQUENCE, &wrap(OID, SHA256)),
                wrap(OCTETS, &name),
                wrap(OCTETS, &key),
                wrap(INTEGER, cert.serial_bytes()),
            ];
            let single = [
                wrap(SEQUENCE, &id.concat()),
                if status == REVOKED { wrap(status, &wrap(0x18, BEFORE)) } else { vec![status, 0] },
                wrap(0x18, BEFORE),
                wrap(IN_0, &wrap(0x18, until)),
            ];
            let own = Certificate::parse(&self.der).unwrap();
            let responder = wrap(IN_1, &wrap(SEQUENCE, own.subject.der()));
            let singles = wrap(SEQUENCE, &wrap(SEQUENCE, &single.concat()));
            let data = wrap(SEQUENCE, &[responder, wrap(0x18, BEFORE), singles].concat());
            let signature = self.key.sign(&data).unwrap();
            let algorithm = wrap(SEQUENCE, &wrap(OID, ECDSA_SHA256));
            let certs = wrap(IN_0, &wrap(SEQUENCE, &self.der));
            let bits = wrap(BITS, &[&[0], &signature[..]].concat());
            let basic = wrap(SEQUENCE, &[data, algorithm, bits, certs].concat());
            let bytes = wrap(SEQUENCE, &[wrap(OID, BASIC_RESPONSE), wrap(OCTETS, &basic)].concat());
            wrap(SEQUENCE, &[vec![ENUMERATED, 1, 0], wrap(IN_0, &bytes)].concat())
        }
    }

    #[test]
    fn answers_are_believed_when_the_right_one_signs_about_the_right_one_in_time() {
        let (ours, leaf) = Authority::new("ours");
        let (theirs, other) = Authority::new("theirs");
        let check = |bytes: &[u8], leaf: &[u8], signers| {
            let (cert, issuer) = (Certificate::parse(leaf).unwrap(), Certificate::parse(&ours.der).unwrap());
            read(bytes, &cert, &issuer, signers, NOW).map(|it| it.status)
        };
        let good = ours.answer(&leaf, &ours, GOOD, AFTER);
        assert_eq!(check(&good, &leaf, Signers::Authorized), Ok(Status::Good));
        let revoked = ours.answer(&leaf, &ours, REVOKED, AFTER);
        assert_eq!(check(&revoked, &leaf, Signers::Authorized), Ok(Status::Revoked));
        let unknown = ours.answer(&leaf, &ours, 0x82, AFTER);
        assert_eq!(check(&unknown, &leaf, Signers::Authorized), Ok(Status::Unknown));
        assert_eq!(check(&good, &other, Signers::Authorized), Err(OcspError::NotFound));
        let old = ours.answer(&leaf, &ours, GOOD, BEFORE);
        assert_eq!(check(&old, &leaf, Signers::Authorized), Err(OcspError::Validity));
        let foreign = theirs.answer(&leaf, &ours, GOOD, AFTER);
        assert_eq!(check(&foreign, &leaf, Signers::Authorized), Err(OcspError::Signature));
        assert_eq!(check(&foreign, &leaf, Signers::Anybody), Ok(Status::Good));
        let mut changed = good.clone();
        let at = changed.windows(2).position(|it| it == [GOOD, 0]).unwrap();
        changed[at] = 0x82;
        assert_eq!(check(&changed, &leaf, Signers::Anybody), Err(OcspError::Signature));
        assert_eq!(check(&[0x30, 3, ENUMERATED, 1, 6], &leaf, Signers::Anybody), Err(OcspError::Refused(6)));
        for end in 0..good.len() {
            assert!(check(&good[..end], &leaf, Signers::Anybody).is_err());
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x21;
            _ = check(&bytes, &leaf, Signers::Anybody);
        }
    }

    #[test]
    fn questions_have_the_form_of_the_standard() {
        let (ours, leaf) = Authority::new("ours");
        let (cert, issuer) = (Certificate::parse(&leaf).unwrap(), Certificate::parse(&ours.der).unwrap());
        let question = question(&cert, &issuer);
        let mut rest = &question[..];
        for _ in 0..5 {
            rest = der::take(&mut rest, SEQUENCE).unwrap();
        }
        der::take(&mut rest, SEQUENCE).unwrap();
        assert_eq!(der::take(&mut rest, OCTETS).unwrap().len(), 20);
        assert_eq!(der::take(&mut rest, OCTETS).unwrap().len(), 20);
        assert_eq!(der::take(&mut rest, INTEGER), Some(cert.serial_bytes()));
    }
}
