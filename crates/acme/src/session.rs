//! A conversation with an issuer: its directory, nonces, signed requests, the account (RFC 8555 sections 6 and 7).

use foregate_wire::h1::Answer;
use serde_json::{Value, json};

use crate::failure::{Failure, Fault};
use crate::http::Http;
use crate::issuer::Issuer;
use crate::key::Signer;

/// Issuers forget nonces, and some refuse good ones to see what we do: so many refusals in a row are too many.
const NONCE_TRIES_MAX: usize = 40;
const BAD_NONCE: &str = "badNonce";

/// What is said with one issuer, one thing after the other.
pub(crate) struct Session<'a> {
    http: &'a Http,
    signer: &'a Signer,
    directory: Value,
    nonce: Option<String>,
    /// The account's address.
    kid: Option<String>,
}

impl<'a> Session<'a> {
    /// Asks for the directory.
    pub(crate) fn open(http: &'a Http, signer: &'a Signer, uri: &str) -> Result<Session<'a>, Failure> {
        let answer = http.send("GET", uri, &[], b"")?;
        if answer.status != 200 {
            return Err(Failure::from_answer(uri, &answer));
        }
        let directory = read(uri, &answer)?;
        Ok(Session { http, signer, directory, nonce: None, kid: None })
    }

    /// The address of a resource.
    pub(crate) fn resource(&self, name: &str) -> Result<String, Failure> {
        let url = self.directory[name].as_str().map(str::to_owned);
        url.ok_or_else(|| Failure::new(Fault::Unreachable, format!("the issuer's directory has no {name}")))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.directory[name].is_string()
    }

    pub(crate) fn has_profile(&self, name: &str) -> bool {
        self.directory["meta"]["profiles"].get(name).is_some()
    }

    pub(crate) fn signer(&self) -> &Signer {
        self.signer
    }

    pub(crate) fn http(&self) -> &Http {
        self.http
    }

    /// Makes the account ours: the one that is known, or a new one. Returns its address, to be kept.
    pub(crate) fn enter(&mut self, issuer: &Issuer, known: Option<String>) -> Result<String, Failure> {
        if let Some(kid) = known {
            self.kid = Some(kid.clone());
            return Ok(kid);
        }
        let meta = &self.directory["meta"];
        if let (Some(terms), false) = (meta["termsOfService"].as_str(), issuer.accepts_terms) {
            let what = format!("the terms of service at {terms} are not accepted");
            return Err(Failure::own(format!(
                "{what}: write accept_terms_of_service; in acme_issuer {}",
                issuer.name
            )));
        }
        let url = self.resource("newAccount")?;
        let mut wish = json!({ "termsOfServiceAgreed": issuer.accepts_terms });
        if !issuer.contacts.is_empty() {
            wish["contact"] = issuer.contacts.iter().cloned().collect();
        }
        if let Some((kid, mac_key)) = &issuer.external_account {
            wish["externalAccountBinding"] = self.signer.bound(kid, mac_key, &url);
        }
        let answer = self.post(&url, Some(&wish))?;
        let kid = answer.field("location").map(str::to_owned);
        let kid = kid.ok_or_else(|| Failure::new(Fault::Unreachable, "the issuer names no account"))?;
        self.kid = Some(kid.clone());
        Ok(kid)
    }

    /// Sends a signed request, again as long as it is only the nonce that the issuer dislikes.
    pub(crate) fn post(&mut self, url: &str, payload: Option<&Value>) -> Result<Answer, Failure> {
        for _ in 0..NONCE_TRIES_MAX {
            let nonce = self.take_nonce()?;
            let body =
                self.signer.request(url, &nonce, self.kid.as_deref(), payload).map_err(Failure::own)?;
            let fields = [("Content-Type", "application/jose+json")];
            let answer = self.http.send("POST", url, &fields, body.as_bytes())?;
            self.nonce = answer.field("replay-nonce").map(str::to_owned);
            if answer.status < 400 {
                return Ok(answer);
            }
            let failure = Failure::from_answer(url, &answer);
            if failure.problem != BAD_NONCE {
                return Err(failure);
            }
        }
        Err(Failure::new(Fault::Unreachable, format!("{url}: the issuer refuses every nonce")))
    }

    /// Reads an object (POST-as-GET); also how long to wait before it is read again, if the issuer says so.
    pub(crate) fn get(&mut self, url: &str) -> Result<(Value, Option<std::time::Duration>), Failure> {
        let answer = self.post(url, None)?;
        Ok((read(url, &answer)?, crate::failure::retry_after(&answer)))
    }

    fn take_nonce(&mut self) -> Result<String, Failure> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let url = self.resource("newNonce")?;
        let answer = self.http.send("HEAD", &url, &[], b"")?;
        let nonce = answer.field("replay-nonce").map(str::to_owned);
        nonce.ok_or_else(|| Failure::from_answer(&url, &answer))
    }
}

/// The object in an answer.
pub(crate) fn read(url: &str, answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|why| Failure::new(Fault::Unreachable, format!("{url}: the answer is no JSON: {why}")))
}
