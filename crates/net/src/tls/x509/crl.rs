//! Lists of certificates that have been taken back (RFC 5280 section 5), of version 1 too.

use std::collections::HashSet;

use super::cert::{Certificate, Signed};
use super::der::{self, INTEGER, SEQUENCE};
use super::name::Name;
use super::signature::is_signed_by;
use super::time::Time;

/// One list, read once.
#[derive(Debug)]
pub struct RevocationList {
    der: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) this_update: Time,
    pub(super) next_update: Option<Time>,
    serials: HashSet<Vec<u8>>,
}

impl RevocationList {
    pub fn parse(der: &[u8]) -> Option<RevocationList> {
        let (_, mut body) = Signed::read(der)?;
        der::take(&mut body, INTEGER);
        der::take(&mut body, SEQUENCE)?;
        let issuer = Name(der::take(&mut body, SEQUENCE)?).canonical();
        let this_update = Time::take(&mut body)?;
        let next_update = match body.first() {
            Some(0x17 | 0x18) => Some(Time::take(&mut body)?),
            _ => None,
        };
        let mut serials = HashSet::new();
        let mut entries = der::take(&mut body, SEQUENCE).unwrap_or_default();
        while !entries.is_empty() {
            let mut entry = der::take(&mut entries, SEQUENCE)?;
            serials.insert(der::take(&mut entry, INTEGER)?.to_vec());
        }
        Some(RevocationList { der: der.to_vec(), issuer, this_update, next_update, serials })
    }

    pub(super) fn holds(&self, cert: &Certificate<'_>) -> bool {
        self.serials.contains(cert.serial_bytes())
    }

    pub(super) fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        Signed::read(&self.der).is_some_and(|(signed, _)| is_signed_by(&signed, issuer))
    }
}
