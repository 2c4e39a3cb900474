//! Signed tokens as an issuer makes them, and the sets of keys that it publishes.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};

/// A key that signs.
pub struct Signer {
    pub kid: String,
    alg: &'static str,
    key: Key,
}

enum Key {
    Secret(Box<hmac::Key>, Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What the algorithms are called.
pub const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "ES512", "EdDSA",
];

impl Signer {
    /// A new key for an algorithm of RFC 7518 or RFC 8037.
    ///
    /// # Panics
    /// On an algorithm that is none.
    pub fn new(kid: &str, alg: &'static str) -> Signer {
        let made = "because the machine makes keys";
        let ecdsa = |how| Key::Ecdsa(EcdsaKeyPair::generate(how).expect(made));
        let key = match alg {
            "HS256" | "HS384" | "HS512" => {
                let mut secret = vec![0; 64];
                aws_lc_rs::rand::fill(&mut secret).expect(made);
                return Signer::secret(kid, alg, &secret);
            }
            "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Key::Ed25519(Ed25519KeyPair::generate().expect(made)),
            _ => Key::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect(made))),
        };
        Signer { kid: kid.to_owned(), alg, key }
    }

    /// With a secret that is known.
    pub fn secret(kid: &str, alg: &'static str, secret: &[u8]) -> Signer {
        let hash = match alg {
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        Signer {
            kid: kid.to_owned(),
            alg,
            key: Key::Secret(Box::new(hmac::Key::new(hash, secret)), secret.to_vec()),
        }
    }

    /// The set of this one key, as `auth_jwt_key_file` and providers have it.
    pub fn jwks(&self) -> String {
        format!("{{\"keys\":[{}]}}", self.jwk())
    }

    /// The public half, or the secret.
    pub fn jwk(&self) -> String {
        let members = match &self.key {
            Key::Secret(_, secret) => format!("\"kty\":\"oct\",\"k\":\"{}\"", encode(secret)),
            Key::Rsa(pair) => {
                // RSAPublicKey (RFC 8017, A.1.1) of 2048 bits: nine bytes, the modulus, two bytes, 65537.
                let der = pair.public_key().as_ref();
                let (n, e) = (&der[9..265], &der[267..]);
                format!("\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"{}\"", encode(n), encode(e))
            }
            Key::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match self.alg {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                format!("\"kty\":\"EC\",\"crv\":\"{curve}\",\"x\":\"{}\",\"y\":\"{}\"", encode(x), encode(y))
            }
            Key::Ed25519(pair) => {
                format!(
                    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\"",
                    encode(pair.public_key().as_ref())
                )
            }
        };
        format!("{{{members},\"kid\":\"{}\",\"alg\":\"{}\",\"use\":\"sig\"}}", self.kid, self.alg)
    }

    /// The public half of an RSA key as DER: what a forger takes for a secret.
    pub fn public_der(&self) -> Vec<u8> {
        let Key::Rsa(pair) = &self.key else { return Vec::new() };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("because the key is sound");
        der.as_ref().to_vec()
    }

    /// A token over claims in JSON, with the usual header.
    pub fn sign(&self, claims: &str) -> String {
        let header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\",\"kid\":\"{}\"}}", self.alg, self.kid);
        self.sign_with(&header, claims.as_bytes())
    }

    /// A token with a header of one's own.
    pub fn sign_with(&self, header: &str, payload: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload));
        let signature = encode(&self.signature(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let made = "because the key is sound";
        match &self.key {
            Key::Secret(key, _) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).expect(made).as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rsa(pair) => {
                let how: &'static dyn RsaEncoding = match self.alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(how, &SystemRandom::new(), message, &mut out).expect(made);
                out
            }
        }
    }
}

/// Base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |it| it >> (7 - at % 8) & 1);
    let digits = (0..bytes.len() * 8).step_by(6);
    let value = |at: usize| (at..at + 6).fold(0, |sum, at| sum << 1 | usize::from(bit(at)));
    digits.map(|at| char::from(DIGITS[value(at)])).collect()
}
