//! Signed tokens: JWS and JWT (RFC 7515, 7519), and the keys that they are checked with (RFC 7517, 7518, 8037).
//!
//! Pure functions over bytes that strangers send: no file, no socket, no clock. What is not known is refused. Which
//! algorithm a key serves is the key's to say, not the token's: a token can not choose how it is checked.

mod alg;
mod base64url;
mod claims;
pub mod json;
mod keys;
mod refused;
mod token;

pub use alg::Alg;
pub use base64url::{decode, encode};
pub use claims::{Times, audience_has};
pub use keys::{KEYS_BYTES_MAX, Keys};
pub use refused::Refused;
pub use token::{TOKEN_BYTES_MAX, Token};

#[cfg(test)]
mod tests;
