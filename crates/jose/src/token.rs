//! The compact form: three parts with dots between them (RFC 7515, 7.1).

use crate::alg::Alg;
use crate::base64url::decode;
use crate::json::Object;
use crate::keys::Keys;
use crate::refused::Refused;

/// A token as text.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A token that has been taken apart. Nothing that it says is to be believed before [`Token::verify`].
#[derive(Clone, Debug)]
pub struct Token {
    pub header: Object,
    pub alg: Alg,
    pub kid: Option<String>,
    pub payload: Vec<u8>,
    /// The first two parts as sent: what is signed.
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Token {
    /// # Errors
    /// It is no signed token, or asks for what is not understood.
    pub fn parse(text: &[u8]) -> Result<Token, Refused> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong(text.len()));
        }
        let parts: Vec<&[u8]> = text.split(|b| *b == b'.').collect();
        let [header, payload, signature] = match parts[..] {
            [header, payload, signature] => [header, payload, signature],
            [_, _, _, _, _] => return Err(Refused::Encrypted),
            _ => return Err(Refused::Parts),
        };
        let signed = &text[..header.len() + 1 + payload.len()];
        let header = decode(header).ok_or(Refused::Base64("header"))?;
        let header = Object::parse(&header).map_err(|why| Refused::Json("header", why))?;
        let alg = algorithm(&header)?;
        if header.get("crit").is_some() {
            return Err(Refused::Critical);
        }
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_text().ok_or(Refused::Kid)?.to_owned()),
        };
        Ok(Token {
            alg,
            kid,
            payload: decode(payload).ok_or(Refused::Base64("payload"))?,
            signature: decode(signature).ok_or(Refused::Base64("signature"))?,
            signed: signed.to_vec(),
            header,
        })
    }

    /// Whether one of the keys has signed it, by the algorithm that the key is for.
    ///
    /// # Errors
    /// None has, or none may be asked.
    pub fn verify(&self, keys: &Keys) -> Result<(), Refused> {
        match keys.verify(self.alg, self.kid.as_deref(), &self.signed, &self.signature) {
            Some(true) => Ok(()),
            Some(false) => Err(Refused::Signature),
            None => Err(match &self.kid {
                Some(kid) if !keys.knows(kid) => Refused::UnknownKey(kid.clone()),
                _ => Refused::NoKeyFor(self.alg),
            }),
        }
    }

    /// The claims of a JWT. Only to be believed once the token has been verified.
    ///
    /// # Errors
    /// The payload is no JSON object.
    pub fn claims(&self) -> Result<Object, Refused> {
        Object::parse(&self.payload).map_err(|why| Refused::Json("payload", why))
    }
}

fn algorithm(header: &Object) -> Result<Alg, Refused> {
    let name = header.text("alg").ok_or(Refused::NoAlg)?;
    if name.eq_ignore_ascii_case("none") {
        return Err(Refused::AlgNone);
    }
    Alg::named(name).ok_or_else(|| Refused::UnknownAlg(name.to_owned()))
}
