//! Why a token is refused, in words for the log of whoever has to find out.

use std::fmt;

use crate::alg::Alg;
use crate::json::Wrong;
use crate::token::TOKEN_BYTES_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    TooLong(usize),
    /// It has not three parts.
    Parts,
    /// Five parts: a JWE (RFC 7516).
    Encrypted,
    /// The part of this name is no base64url.
    Base64(&'static str),
    Json(&'static str, Wrong),
    /// `alg` is missing, or is no text.
    NoAlg,
    /// `"alg":"none"`, in whatever letters.
    AlgNone,
    UnknownAlg(String),
    /// `crit` asks for what is not understood here.
    Critical,
    /// `kid` is no text.
    Kid,
    /// No key of the set has this name.
    UnknownKey(String),
    /// There are keys, but none that may check this algorithm.
    NoKeyFor(Alg),
    Signature,
    /// Seconds ago.
    Expired(i64),
    /// In so many seconds.
    NotYet(i64),
    /// A claim that is not of its type.
    Claim(&'static str),
    /// A claim that is not what it must be.
    Mismatch(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "it has {bytes} bytes, and {TOKEN_BYTES_MAX} are the most"),
            Self::Parts => f.write_str("it is not three parts with dots between them"),
            Self::Encrypted => f.write_str("it is encrypted (JWE), and only signed tokens are understood"),
            Self::Base64(part) => write!(f, "its {part} is not base64url"),
            Self::Json(part, wrong) => write!(f, "its {part} is unfit: {wrong}"),
            Self::NoAlg => f.write_str("it does not say \"alg\""),
            Self::AlgNone => f.write_str("\"alg\":\"none\" is no signature"),
            Self::UnknownAlg(name) => write!(f, "the algorithm {name:?} is not known"),
            Self::Critical => f.write_str("\"crit\" asks for an extension that is not understood"),
            Self::Kid => f.write_str("its \"kid\" is not a text"),
            Self::UnknownKey(kid) => write!(f, "no key has the \"kid\" {kid:?}"),
            Self::NoKeyFor(alg) => write!(f, "no key may check {}", alg.name()),
            Self::Signature => f.write_str("the signature does not fit"),
            Self::Expired(by) => write!(f, "it expired {by} s ago"),
            Self::NotYet(by) => write!(f, "it is valid only in {by} s"),
            Self::Claim(name) => write!(f, "its claim {name:?} is not of the right type"),
            Self::Mismatch(name) => write!(f, "its claim {name:?} is not what it must be"),
        }
    }
}
