//! The algorithms of RFC 7518 (3) and RFC 8037 that sign tokens.

use aws_lc_rs::{hmac, signature};

/// What a token's `alg` may say. `none` is not among them, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alg {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    /// Ed25519.
    EdDsa,
}

/// By the names in RFC 7518, RFC 8037 and RFC 9864.
const NAMES: [(&str, Alg); 14] = [
    ("HS256", Alg::Hs256),
    ("HS384", Alg::Hs384),
    ("HS512", Alg::Hs512),
    ("RS256", Alg::Rs256),
    ("RS384", Alg::Rs384),
    ("RS512", Alg::Rs512),
    ("PS256", Alg::Ps256),
    ("PS384", Alg::Ps384),
    ("PS512", Alg::Ps512),
    ("ES256", Alg::Es256),
    ("ES384", Alg::Es384),
    ("ES512", Alg::Es512),
    ("EdDSA", Alg::EdDsa),
    ("Ed25519", Alg::EdDsa),
];

impl Alg {
    pub(crate) const RSA: [(Alg, &'static signature::RsaParameters); 6] = [
        (Alg::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Alg::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Alg::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Alg::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        (Alg::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
        (Alg::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    pub(crate) const SECRET: [(Alg, hmac::Algorithm, usize); 3] = [
        (Alg::Hs256, hmac::HMAC_SHA256, 32),
        (Alg::Hs384, hmac::HMAC_SHA384, 48),
        (Alg::Hs512, hmac::HMAC_SHA512, 64),
    ];

    /// By its name, in the letters that the standards use.
    pub fn named(name: &str) -> Option<Alg> {
        NAMES.iter().find(|(it, _)| *it == name).map(|(_, alg)| *alg)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }

    /// Whoever can check its signatures can make them.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}
