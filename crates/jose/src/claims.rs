//! The claims of RFC 7519 (4.1) that every reader must look at.

use crate::json::{Object, Value};
use crate::refused::Refused;

/// When a token is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Seconds since the epoch.
    pub now: i64,
    /// Seconds by which clocks may differ.
    pub leeway: i64,
}

impl Times {
    /// `exp` and `nbf` are judged where they are there; `iat` only has to be a number, for nobody may refuse by it.
    ///
    /// # Errors
    /// Expired, not valid yet, or no number.
    pub fn check(self, claims: &Object) -> Result<(), Refused> {
        let seconds = |name: &'static str| {
            claims.get(name).map(|it| it.as_seconds().ok_or(Refused::Claim(name))).transpose()
        };
        let (exp, nbf, _) = (seconds("exp")?, seconds("nbf")?, seconds("iat")?);
        if let Some(exp) = exp.filter(|exp| exp.saturating_add(self.leeway) <= self.now) {
            return Err(Refused::Expired(self.now.saturating_sub(exp)));
        }
        if let Some(nbf) = nbf.filter(|nbf| nbf.saturating_sub(self.leeway) > self.now) {
            return Err(Refused::NotYet(nbf.saturating_sub(self.now)));
        }
        Ok(())
    }
}

/// Whether `aud`, a text or a list of texts, names this audience.
pub fn audience_has(claims: &Object, wanted: &str) -> bool {
    match claims.get("aud") {
        Some(Value::Text(aud)) => aud == wanted,
        Some(Value::List(all)) => all.iter().any(|it| it.as_text() == Some(wanted)),
        _ => false,
    }
}
