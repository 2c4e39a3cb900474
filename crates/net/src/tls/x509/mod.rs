//! Certificates as OpenSSL reads and judges them: of version 1 too, and with its words for what is wrong.

mod cert;
mod chain;
mod crl;
pub(super) mod der;
mod host;
mod name;
pub mod ocsp;
mod signature;
mod time;

pub use cert::Certificate;
pub use chain::{Authorities, Failure, Purpose, Rules, STATUS_NOT_HAD, STATUS_REVOKED, STATUS_UNKNOWN};
pub use crl::RevocationList;
pub use name::Name;
pub(super) use signature::handshake_signature;
pub use time::Time;

#[cfg(test)]
mod tests;
