//! Sets of keys (RFC 7517) and what each of them may check.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey};
use aws_lc_rs::{hmac, signature::VerificationAlgorithm};

use crate::alg::Alg;
use crate::base64url::decode;
use crate::json::{Object, Value, Wrong};

/// A set as text.
pub const KEYS_BYTES_MAX: usize = 1 << 20;
/// Keys of one set; more are left out.
const KEYS_MAX: usize = 256;
/// Keys that are tried on one token: an issuer that names none has few.
const TRIED_MAX: usize = 8;

/// RFC 7518 (3.3) wants 2048 at least; larger ones than these cost too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Keys, ready to check signatures.
#[derive(Default)]
pub struct Keys {
    all: Vec<Key>,
    /// What is wrong with the keys that are left out, and with those that are weak.
    pub remarks: Vec<String>,
}

struct Key {
    kid: Option<String>,
    /// The algorithms that it may check, and only those.
    checks: Vec<(Alg, Check)>,
}

enum Check {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.all.len())
    }
}

impl Keys {
    /// Reads a set, `{"keys":[…]}`, or a single key. A key of a kind that is not known, or that cannot be used, is left
    /// out, as RFC 7517 (5) wants it, and `remarks` say why.
    ///
    /// # Errors
    /// It is no JSON, or has no keys.
    pub fn parse(text: &[u8]) -> Result<Keys, Wrong> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(Wrong::Large);
        }
        let object = Object::parse(text)?;
        let mut keys = Keys::default();
        match object.get("keys") {
            Some(Value::List(all)) => all.iter().take(KEYS_MAX).for_each(|it| keys.add(it)),
            None if object.text("kty").is_some() => keys.add(&Value::Object(object)),
            _ => return Err(Wrong::NoObject),
        }
        Ok(keys)
    }

    /// All keys of several sets.
    pub fn join(sets: impl IntoIterator<Item = Keys>) -> Keys {
        let mut keys = Keys::default();
        for set in sets {
            keys.all.extend(set.all);
            keys.remarks.extend(set.remarks);
        }
        keys
    }

    /// Without those whose signatures everybody can make who can check them: where keys come from a provider.
    #[must_use]
    pub fn public_only(mut self) -> Keys {
        self.all.retain(|it| it.checks.iter().all(|(alg, _)| !alg.is_symmetric()));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a key of this name is there.
    pub fn knows(&self, kid: &str) -> bool {
        self.all.iter().any(|it| it.kid.as_deref() == Some(kid))
    }

    fn add(&mut self, value: &Value) {
        let Value::Object(object) = value else {
            self.remarks.push("a key is not an object".into());
            return;
        };
        let kid = object.text("kid").map(str::to_owned);
        let name = kid
            .as_deref()
            .map_or_else(|| format!("key {}", self.all.len() + 1), |kid| format!("key {kid:?}"));
        match checks(object, &name, &mut self.remarks) {
            Ok(checks) if checks.is_empty() => {
                self.remarks.push(format!("{name} checks nothing that is known here"))
            }
            Ok(checks) => self.all.push(Key { kid, checks }),
            Err(why) => self.remarks.push(format!("{name} {why}")),
        }
    }

    /// Which of the keys may be tried: those of the name that the token gives and those without a name; all, where the
    /// token gives none.
    fn candidates<'a>(&'a self, alg: Alg, kid: Option<&'a str>) -> impl Iterator<Item = &'a Check> {
        let named =
            self.all.iter().filter(move |it| kid.is_none() || it.kid.is_none() || it.kid.as_deref() == kid);
        named.flat_map(move |it| it.checks.iter().filter(move |(it, _)| *it == alg)).map(|(_, check)| check)
    }

    /// `None`: no key may be asked.
    pub(crate) fn verify(
        &self,
        alg: Alg,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let mut tried = None;
        for check in self.candidates(alg, kid).take(TRIED_MAX) {
            let right = match check {
                Check::Public(key) => key.verify_sig(message, signature).is_ok(),
                Check::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            };
            if right {
                return Some(true);
            }
            tried = Some(false);
        }
        tried
    }
}

/// What a key may check, by its type and by what it says of itself.
fn checks(key: &Object, name: &str, remarks: &mut Vec<String>) -> Result<Vec<(Alg, Check)>, &'static str> {
    if key.text("use").is_some_and(|it| it != "sig") {
        return Err("is not for signatures");
    }
    if let Some(Value::List(operations)) = key.get("key_ops")
        && !operations.iter().any(|it| matches!(it.as_text(), Some("verify")))
    {
        return Err("is not for verifying");
    }
    let only = match key.get("alg") {
        None => None,
        Some(Value::Text(alg)) => Some(Alg::named(alg).ok_or("is for an algorithm that is not known")?),
        Some(_) => return Err("has an \"alg\" that is not a text"),
    };
    let mut checks = match key.text("kty") {
        Some("RSA") => rsa(key)?,
        Some("EC") => vec![elliptic(key)?],
        Some("OKP") if key.text("crv") == Some("Ed25519") => {
            let point = bytes(key, "x")?;
            vec![(Alg::EdDsa, public(&signature::ED25519, &point)?)]
        }
        Some("oct") => secret(key, only, name, remarks)?,
        _ => return Err("is of a kind that is not known"),
    };
    checks.retain(|(alg, _)| only.is_none_or(|only| only == *alg));
    Ok(checks)
}

fn bytes(key: &Object, member: &str) -> Result<Vec<u8>, &'static str> {
    let text = key.text(member).ok_or("lacks a member")?;
    // Some issuers pad.
    decode(text.trim_end_matches('=').as_bytes()).ok_or("has a member that is not base64url")
}

fn public(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Check, &'static str> {
    signature::UnparsedPublicKey::new(algorithm, key)
        .parse()
        .map(Check::Public)
        .map_err(|_| "is not a point of its curve")
}

fn rsa(key: &Object) -> Result<Vec<(Alg, Check)>, &'static str> {
    let strip = |bytes: Vec<u8>| bytes.into_iter().skip_while(|b| *b == 0).collect::<Vec<u8>>();
    let parts = PublicKeyComponents { n: strip(bytes(key, "n")?), e: strip(bytes(key, "e")?) };
    let bits = parts.n.len() * 8 - parts.n.first().map_or(0, |it| it.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("is no RSA key of 2048 to 8192 bits");
    }
    let parse = |(alg, parameters): (Alg, &'static signature::RsaParameters)| {
        let parsed = parts.to_parsed_public_key(parameters);
        parsed.map(|it| (alg, Check::Public(it))).map_err(|_| "is no RSA key")
    };
    Alg::RSA.into_iter().map(parse).collect()
}

fn elliptic(key: &Object) -> Result<(Alg, Check), &'static str> {
    let (alg, algorithm, size): (_, &'static dyn VerificationAlgorithm, usize) = match key.text("crv") {
        Some("P-256") => (Alg::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        Some("P-384") => (Alg::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        Some("P-521") => (Alg::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return Err("is of a curve that is not known"),
    };
    let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
    if x.len() != size || y.len() != size {
        return Err("has a coordinate of the wrong length");
    }
    let point = [&[4][..], &x, &y].concat();
    Ok((alg, public(algorithm, &point)?))
}

fn secret(
    key: &Object,
    only: Option<Alg>,
    name: &str,
    remarks: &mut Vec<String>,
) -> Result<Vec<(Alg, Check)>, &'static str> {
    let secret = bytes(key, "k")?;
    if secret.is_empty() {
        return Err("is empty");
    }
    let needs =
        Alg::SECRET.iter().find(|(alg, ..)| only.is_none_or(|only| only == *alg)).map_or(0, |it| it.2);
    if secret.len() < needs {
        // RFC 7518 (3.2) forbids it, but such keys are in use.
        remarks.push(format!(
            "{name} has {} bytes where {needs} are the least: who has a token may guess it",
            secret.len()
        ));
    }
    Ok(Alg::SECRET
        .iter()
        .map(|(alg, hash, _)| (*alg, Check::Secret(Box::new(hmac::Key::new(*hash, &secret)))))
        .collect())
}
