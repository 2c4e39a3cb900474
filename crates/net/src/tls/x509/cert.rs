//! One certificate, taken apart (RFC 5280 section 4.1).

use aws_lc_rs::digest;

use super::der::{self, BITS, BOOLEAN, INTEGER, OCTETS, OID, SEQUENCE};
use super::name::Name;
use super::signature::is_signed_by;
use super::time::Time;

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// In AuthorityKeyIdentifier.
const KEY_ID: u8 = 0x80;
/// In SubjectAltName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// keyUsage bits, as they stand in the first byte.
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(super) const KEY_AGREEMENT: u8 = 0x08;
pub(super) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(super) const KEY_CERT_SIGN: u8 = 0x04;

/// id-kp in extKeyUsage; the last number is the purpose.
const KEY_PURPOSES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3];
/// Extensions whose number we know follow id-ce (2.5.29).
const ID_CE: &[u8] = &[0x55, 0x1d];
/// authorityInfoAccess (RFC 5280 section 4.2.2.1), and in it the way to an OCSP responder.
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const OCSP_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
const URI: u8 = 0x86;
/// nsCertType, which OpenSSL knows too.
const NETSCAPE_CERT_TYPE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1];

/// A certificate, borrowed from its DER.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    /// All of it.
    pub der: &'a [u8],
    /// 1 or 3.
    pub version: u32,
    serial: &'a [u8],
    pub subject: Name<'a>,
    pub issuer: Name<'a>,
    pub not_before: Time,
    pub not_after: Time,
    /// SubjectPublicKeyInfo with its head.
    pub public_key_info: &'a [u8],
    pub(super) key_algorithm: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) signed: Signed<'a>,
    pub(super) extensions: Extensions<'a>,
}

/// What is signed, how, and the signature: the outer shell of certificates and revocation lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    /// AlgorithmIdentifier without its head.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Also gives what is in the message.
    pub(super) fn read(der: &'a [u8]) -> Option<(Signed<'a>, &'a [u8])> {
        let mut outer = der::take(&mut { der }, SEQUENCE)?;
        let message = der::whole(&mut outer, SEQUENCE)?;
        let algorithm = der::take(&mut outer, SEQUENCE)?;
        let signature = der::bits(&mut outer)?;
        Some((Signed { message: message.whole, algorithm, signature }, message.body))
    }
}

/// What the extensions say; `None` where one is missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions<'a> {
    /// Whether it is an authority, and how many authorities may follow.
    pub(super) basic_constraints: Option<(bool, Option<u32>)>,
    pub(super) key_usage: Option<u8>,
    /// The purposes' last numbers: 1 is a server, 2 a client.
    pub(super) purposes: Option<Vec<u8>>,
    pub(super) subject_key_id: Option<&'a [u8]>,
    pub(super) authority_key_id: Option<&'a [u8]>,
    alt_names: Option<&'a [u8]>,
    pub(super) name_constraints: bool,
    /// Where the issuer tells whether the certificate still holds.
    ocsp_url: Option<&'a [u8]>,
    /// A critical extension that nobody here understands.
    pub(super) unknown_critical: bool,
}

impl<'a> Certificate<'a> {
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let (signed, mut body) = Signed::read(der)?;
        let mut version = 1;
        if let Some(mut inner) = der::take(&mut body, VERSION) {
            version = der::number(&mut inner)?.saturating_add(1);
        }
        let serial = der::take(&mut body, INTEGER)?;
        der::take(&mut body, SEQUENCE)?;
        let issuer = Name(der::take(&mut body, SEQUENCE)?);
        let mut validity = der::take(&mut body, SEQUENCE)?;
        let (not_before, not_after) = (Time::take(&mut validity)?, Time::take(&mut validity)?);
        let subject = Name(der::take(&mut body, SEQUENCE)?);
        let info = der::whole(&mut body, SEQUENCE)?;
        let mut inner = info.body;
        let key_algorithm = der::take(&mut inner, SEQUENCE)?;
        let key = der::bits(&mut inner)?;
        let mut extensions = Extensions::default();
        while let Some(next) = der::element(&mut body) {
            if next.tag == EXTENSIONS {
                extensions = Extensions::read(next.body)?;
            }
        }
        let public_key_info = info.whole;
        Some(Certificate {
            der,
            version,
            serial,
            subject,
            issuer,
            not_before,
            not_after,
            public_key_info,
            key_algorithm,
            key,
            signed,
            extensions,
        })
    }

    /// In hexadecimal, as OpenSSL prints it: two digits for every byte.
    pub fn serial(&self) -> String {
        let (sign, bytes) = match self.serial {
            [0, rest @ ..] if !rest.is_empty() => ("", rest.to_vec()),
            [first, ..] if first & 0x80 != 0 => ("-", negated(self.serial)),
            bytes => ("", bytes.to_vec()),
        };
        bytes.iter().fold(sign.to_string(), |text, byte| text + &format!("{byte:02X}"))
    }

    /// As it stands in the certificate: big-endian, with the zero that keeps it positive.
    pub fn serial_bytes(&self) -> &'a [u8] {
        self.serial
    }

    /// keyIdentifier of AuthorityKeyIdentifier.
    pub fn authority_key_id(&self) -> Option<&'a [u8]> {
        self.extensions.authority_key_id
    }

    /// The first OCSP responder that it names.
    pub fn ocsp_url(&self) -> Option<&'a str> {
        self.extensions.ocsp_url.and_then(|it| std::str::from_utf8(it).ok())
    }

    /// Whether it names `issuer` as its issuer, and was signed with that one's key.
    pub fn is_issued_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer.canonical() == issuer.subject.canonical() && is_signed_by(&self.signed, issuer)
    }

    /// SHA-1 of all of it, which is what OpenSSL calls the fingerprint.
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.der);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        let same_key = match (self.extensions.authority_key_id, self.extensions.subject_key_id) {
            (Some(issuer), Some(own)) => issuer == own,
            _ => true,
        };
        same_key && self.subject.canonical() == self.issuer.canonical()
    }

    /// Host names and addresses (4 or 16 bytes) that it is for.
    pub(super) fn alt_names(&self) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
        let mut rest = self.extensions.alt_names.unwrap_or_default();
        let (mut hosts, mut addresses) = (Vec::new(), Vec::new());
        while let Some(name) = der::element(&mut rest) {
            match name.tag {
                DNS_NAME => hosts.push(name.body),
                IP_ADDRESS => addresses.push(name.body),
                _ => {}
            }
        }
        (hosts, addresses)
    }
}

impl<'a> Extensions<'a> {
    fn read(mut outer: &'a [u8]) -> Option<Extensions<'a>> {
        let mut found = Extensions::default();
        let mut all = der::take(&mut outer, SEQUENCE)?;
        while !all.is_empty() {
            let mut extension = der::take(&mut all, SEQUENCE)?;
            let oid = der::take(&mut extension, OID)?;
            let critical = der::take(&mut extension, BOOLEAN).is_some_and(|it| it != [0]);
            let value = der::take(&mut extension, OCTETS)?;
            let known = match oid.strip_prefix(ID_CE) {
                Some([number]) => found.read_one(*number, value)?,
                None if oid == AUTHORITY_INFO_ACCESS => {
                    found.ocsp_url = ocsp_url(value);
                    true
                }
                _ => oid == NETSCAPE_CERT_TYPE,
            };
            found.unknown_critical |= critical && !known;
        }
        Some(found)
    }

    /// `Some(false)`: not known. Policies are known but, as OpenSSL does by default, not looked at.
    fn read_one(&mut self, number: u8, mut value: &'a [u8]) -> Option<bool> {
        match number {
            14 => self.subject_key_id = Some(der::take(&mut value, OCTETS)?),
            15 => {
                let bits = der::take(&mut value, BITS)?;
                self.key_usage = Some(bits.get(1).copied().unwrap_or_default());
            }
            17 => self.alt_names = Some(der::take(&mut value, SEQUENCE)?),
            19 => {
                let mut inner = der::take(&mut value, SEQUENCE)?;
                let authority = der::take(&mut inner, BOOLEAN).is_some_and(|it| it != [0]);
                let followers = if inner.is_empty() { None } else { Some(der::number(&mut inner)?) };
                self.basic_constraints = Some((authority, followers));
            }
            30 => self.name_constraints = true,
            35 => {
                let mut inner = der::take(&mut value, SEQUENCE)?;
                self.authority_key_id = der::take(&mut inner, KEY_ID);
            }
            37 => {
                let mut inner = der::take(&mut value, SEQUENCE)?;
                let mut purposes = Vec::new();
                while let Some(oid) = der::take(&mut inner, OID) {
                    if let Some([purpose]) = oid.strip_prefix(KEY_PURPOSES) {
                        purposes.push(*purpose);
                    }
                }
                self.purposes = Some(purposes);
            }
            31 | 32 | 33 | 36 | 54 => {}
            _ => return Some(false),
        }
        Some(true)
    }
}

fn ocsp_url(mut value: &[u8]) -> Option<&[u8]> {
    let mut all = der::take(&mut value, SEQUENCE)?;
    while let Some(mut access) = der::take(&mut all, SEQUENCE) {
        let method = der::take(&mut access, OID)?;
        if let Some(url) = der::take(&mut access, URI).filter(|_| method == OCSP_ACCESS) {
            return Some(url);
        }
    }
    None
}

/// The magnitude of a negative INTEGER.
fn negated(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for byte in out.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            break;
        }
    }
    while out.len() > 1 && out[0] == 0 {
        out.remove(0);
    }
    out
}
