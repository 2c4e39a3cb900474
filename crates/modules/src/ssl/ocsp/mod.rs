//! OCSP: what issuers say of our own certificates, told to clients, and what they say of clients' certificates.

pub(super) mod clients;
pub(super) mod followed;
mod responder;
pub(super) mod stapling;
