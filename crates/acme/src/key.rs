//! Keys: those of accounts, which sign requests (RFC 7515, RFC 8555 section 6.2), and those of certificates.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use foregate_core::base64::{self, Alphabet};
use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde_json::{Value, json};

/// A kind of key as configurations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Kind {
    #[default]
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl Kind {
    /// `ecdsa`, `ecdsa:384`, `rsa:2048`…; `None`: another word.
    pub fn named(text: &str) -> Option<Kind> {
        Some(match text {
            "ecdsa" | "ecdsa:256" => Kind::P256,
            "ecdsa:384" => Kind::P384,
            "ecdsa:521" => Kind::P521,
            "rsa" | "rsa:2048" => Kind::Rsa2048,
            "rsa:3072" => Kind::Rsa3072,
            "rsa:4096" => Kind::Rsa4096,
            _ => return None,
        })
    }

    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate(self) -> Result<KeyPair, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        match self {
            Kind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Kind::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Kind::P521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
            Kind::Rsa2048 => rsa(RsaKeySize::_2048),
            Kind::Rsa3072 => rsa(RsaKeySize::_3072),
            Kind::Rsa4096 => rsa(RsaKeySize::_4096),
        }
    }
}

/// How an elliptic curve signs in a JSON web signature.
struct Curve {
    algorithm: &'static EcdsaSigningAlgorithm,
    alg: &'static str,
    crv: &'static str,
}

static CURVES: [(&SignatureAlgorithm, Curve); 3] = [
    (
        &rcgen::PKCS_ECDSA_P256_SHA256,
        Curve { algorithm: &signature::ECDSA_P256_SHA256_FIXED_SIGNING, alg: "ES256", crv: "P-256" },
    ),
    (
        &rcgen::PKCS_ECDSA_P384_SHA384,
        Curve { algorithm: &signature::ECDSA_P384_SHA384_FIXED_SIGNING, alg: "ES384", crv: "P-384" },
    ),
    (
        &rcgen::PKCS_ECDSA_P521_SHA512,
        Curve { algorithm: &signature::ECDSA_P521_SHA512_FIXED_SIGNING, alg: "ES512", crv: "P-521" },
    ),
];

/// A key that signs for an account.
pub(crate) struct Signer(Sort);

enum Sort {
    Curve(EcdsaKeyPair, &'static Curve),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// Reads a PEM text: an elliptic curve's or an RSA key.
    ///
    /// # Errors
    /// Why it cannot sign.
    pub(crate) fn from_pem(pem: &str) -> Result<Signer, String> {
        let key = KeyPair::from_pem(pem).map_err(|why| why.to_string())?;
        let der = key.serialize_der();
        let rejected = |why: aws_lc_rs::error::KeyRejected| why.to_string();
        if let Some((_, curve)) = CURVES.iter().find(|(algorithm, _)| key.is_compatible(algorithm)) {
            let pair = EcdsaKeyPair::from_private_key_der(curve.algorithm, &der).map_err(rejected)?;
            return Ok(Signer(Sort::Curve(pair, curve)));
        }
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).map_err(rejected)?;
        Ok(Signer(Sort::Rsa(pair)))
    }

    fn alg(&self) -> &'static str {
        match &self.0 {
            Sort::Curve(_, curve) => curve.alg,
            Sort::Rsa(_) => "RS256",
        }
    }

    /// The public half (RFC 7517), its members in the order that its thumbprint wants.
    pub(crate) fn jwk(&self) -> Value {
        match &self.0 {
            Sort::Curve(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "crv": curve.crv, "kty": "EC", "x": base64url(x), "y": base64url(y) })
            }
            Sort::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref()).unwrap_or_default();
                json!({ "e": base64url(e), "kty": "RSA", "n": base64url(n) })
            }
        }
    }

    /// RFC 7638: what challenges are answered with. serde_json keeps members sorted, as the RFC wants them.
    pub(crate) fn thumbprint(&self) -> String {
        base64url(digest::digest(&digest::SHA256, self.jwk().to_string().as_bytes()).as_ref())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "signing failed".to_owned();
        match &self.0 {
            Sort::Curve(pair, _) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Sort::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).map_err(failed)?;
                Ok(out)
            }
        }
    }

    /// A signed request: `kid` once there is an account, the whole key before; no payload means to read.
    ///
    /// # Errors
    /// The library refuses to sign.
    pub(crate) fn request(
        &self,
        url: &str,
        nonce: &str,
        kid: Option<&str>,
        payload: Option<&Value>,
    ) -> Result<String, String> {
        let mut head = json!({ "alg": self.alg(), "nonce": nonce, "url": url });
        match kid {
            Some(kid) => head["kid"] = kid.into(),
            None => head["jwk"] = self.jwk(),
        }
        let payload = payload.map_or_else(String::new, Value::to_string);
        let signed = flat(&head, &payload);
        let signature = self.sign(signed.0.as_bytes())?;
        Ok(signed.with(&signature))
    }

    /// An account that the issuer knows already vouches for this key (RFC 8555 section 7.3.4).
    pub(crate) fn bound(&self, kid: &str, mac_key: &[u8], url: &str) -> Value {
        let head = json!({ "alg": "HS256", "kid": kid, "url": url });
        let signed = flat(&head, &self.jwk().to_string());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, mac_key), signed.0.as_bytes());
        serde_json::from_str(&signed.with(tag.as_ref())).unwrap_or_default()
    }
}

/// `head.payload`, which is what gets signed.
struct Flat(String);

fn flat(head: &Value, payload: &str) -> Flat {
    Flat(format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(payload.as_bytes())))
}

impl Flat {
    fn with(&self, signature: &[u8]) -> String {
        let (head, payload) = self.0.split_once('.').unwrap_or_default();
        json!({ "protected": head, "payload": payload, "signature": base64url(signature) }).to_string()
    }
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut inside = element(&mut { der }, 0x30)?;
    let n = element(&mut inside, 2)?;
    let e = element(&mut inside, 2)?;
    Some((n.strip_prefix(&[0]).unwrap_or(n), e))
}

/// The contents of the DER element at the start.
fn element<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let [found, first, rest @ ..] = *from else { return None };
    let (n_more, short) = if *first < 0x80 { (0, *first as usize) } else { ((*first & 0x7f) as usize, 0) };
    let (long, rest) = rest.split_at_checked(n_more)?;
    let len = long.iter().fold(short, |sum, byte| sum << 8 | usize::from(*byte));
    let (contents, rest) = rest.split_at_checked(len)?;
    *from = rest;
    (*found == tag).then_some(contents)
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(bytes, Alphabet::Url, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_signs() {
        for kind in ["ecdsa", "ecdsa:384", "ecdsa:521", "rsa:2048"] {
            let pem = Kind::named(kind).unwrap().generate().unwrap().serialize_pem();
            let signer = Signer::from_pem(&pem).unwrap();
            let text = signer.request("https://a/", "n", None, Some(&json!({}))).unwrap();
            let parts: Value = serde_json::from_str(&text).unwrap();
            assert!(parts["signature"].as_str().is_some_and(|it| it.len() > 80), "{kind}");
            assert_eq!(signer.thumbprint().len(), 43);
            assert_eq!(signer.thumbprint(), Signer::from_pem(&pem).unwrap().thumbprint());
        }
        assert_eq!(Kind::named("dsa"), None);
    }

    #[test]
    fn members_of_a_key_are_sorted() {
        let signer = Signer::from_pem(&Kind::P256.generate().unwrap().serialize_pem()).unwrap();
        assert!(signer.jwk().to_string().starts_with("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\""));
    }
}
