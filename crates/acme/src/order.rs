//! One certificate from one issuer, from the order to the chain (RFC 8555 section 7.4).

use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use foregate_net::tls::certs;
use foregate_net::tls::x509::Certificate;
use rcgen::DnType;
use serde_json::{Value, json};

use crate::answers::{Open, answers};
use crate::dns;
use crate::failure::{Failure, Fault};
use crate::issuer::{Challenge, Identifier, Issuer, Wish};
use crate::key::base64url;
use crate::session::{Session, read};
use crate::slot::{self, Shown};

/// How long an issuer may take to look at a challenge, and to issue.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at an object: the first pause, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Chains that an issuer offers beside the first one.
const ALTERNATES_MAX: usize = 8;

/// Orders a certificate. `replaces` names the one that it follows (RFC 9773 section 5).
pub(crate) fn order(
    session: &mut Session<'_>,
    wish: &Wish,
    issuer: &Issuer,
    replaces: Option<&str>,
) -> Result<Shown, Failure> {
    let mut spec = json!({ "identifiers": wish.names.iter().map(Identifier::json).collect::<Vec<_>>() });
    match &issuer.profile {
        Some((name, _)) if session.has_profile(name) => spec["profile"] = name.as_str().into(),
        Some((name, true)) => return Err(Failure::own(format!("the issuer has no profile \"{name}\""))),
        _ => (),
    }
    let url = session.resource("newOrder")?;
    let replaces = replaces.filter(|_| session.has("renewalInfo"));
    let answer = match replaces {
        Some(id) => {
            let mut with = spec.clone();
            with["replaces"] = id.into();
            // It may have been replaced already, or be unknown: then it is an order like any other.
            match session.post(&url, Some(&with)) {
                Err(why) if why.fault == Fault::Refused && why.problem != "rateLimited" => {
                    session.post(&url, Some(&spec))
                }
                done => done,
            }
        }
        None => session.post(&url, Some(&spec)),
    }?;
    let place = answer.field("location").map(str::to_owned);
    let place = place.ok_or_else(|| Failure::new(Fault::Unreachable, "the order has no address"))?;
    let order = read(&url, &answer)?;
    prove(session, &order, wish, issuer)?;
    finalize(session, &place, wish, issuer)
}

/// A challenge that has been answered.
struct Proof {
    authorization: String,
    name: String,
    challenge: String,
    /// Kept until the issuer has looked.
    _open: Vec<Open>,
    record: Option<dns::Record>,
}

/// Shows for every name that it is ours: all answers are put out first, then the issuer is asked to look.
fn prove(session: &mut Session<'_>, order: &Value, wish: &Wish, issuer: &Issuer) -> Result<(), Failure> {
    let mut proofs = Vec::new();
    let urls = order["authorizations"].as_array().cloned().unwrap_or_default();
    let done = answer_all(session, &urls, wish, issuer, &mut proofs).and_then(|()| {
        if let (Some(dns), true) = (&issuer.dns, proofs.iter().any(|it| it.record.is_some())) {
            thread::sleep(dns.delay);
        }
        for proof in &proofs {
            session.post(&proof.challenge, Some(&json!({})))?;
        }
        proofs.iter().try_for_each(|proof| await_authorization(session, proof))
    });
    for record in proofs.iter().filter_map(|it| it.record.as_ref()) {
        if let Some(dns) = &issuer.dns {
            // The next order makes a record of its own; one too many does no harm.
            _ = dns.provider.remove(record);
        }
    }
    done
}

fn answer_all(
    session: &mut Session<'_>,
    urls: &[Value],
    wish: &Wish,
    issuer: &Issuer,
    proofs: &mut Vec<Proof>,
) -> Result<(), Failure> {
    let kind = issuer.challenge.unwrap_or(wish.challenge);
    for url in urls.iter().filter_map(Value::as_str) {
        let (authorization, _) = session.get(url)?;
        if authorization["status"] != "valid" {
            proofs.push(answer(session, url, &authorization, kind, issuer)?);
        }
    }
    Ok(())
}

fn answer(
    session: &Session<'_>,
    url: &str,
    authorization: &Value,
    by: Challenge,
    issuer: &Issuer,
) -> Result<Proof, Failure> {
    let name = authorization["identifier"]["value"].as_str().unwrap_or_default().to_owned();
    let kind = by.name();
    let mut offered = authorization["challenges"].as_array().into_iter().flatten();
    let Some(challenge) = offered.find(|it| it["type"] == kind) else {
        return Err(Failure::own(format!(
            "the issuer offers no {kind} for {name}: choose another challenge"
        )));
    };
    let token = challenge["token"].as_str().unwrap_or_default();
    let said = format!("{token}.{}", session.signer().thumbprint());
    let mut proof = Proof {
        authorization: url.to_owned(),
        challenge: challenge["url"].as_str().unwrap_or_default().to_owned(),
        _open: Vec::new(),
        record: None,
        name,
    };
    let folder = issuer.state.as_ref();
    let identifier = || {
        Identifier::read(&proof.name)
            .ok_or_else(|| Failure::refused(format!("the issuer asks for \"{}\"", proof.name)))
    };
    match by {
        Challenge::Http01 => {
            proof._open.push(answers().open_http(token, &said, folder).map_err(Failure::own)?)
        }
        Challenge::TlsAlpn01 => {
            let open = answers().open_alpn(&identifier()?, &said, folder).map_err(Failure::own)?;
            proof._open.push(open);
        }
        Challenge::Dns01 => {
            let dns =
                issuer.dns.as_ref().ok_or_else(|| Failure::own("dns-01 needs \"dns\" in acme_issuer"))?;
            let value = base64url(digest::digest(&digest::SHA256, said.as_bytes()).as_ref());
            let record = dns::Record { name: format!("_acme-challenge.{}", proof.name), value };
            let done = dns.provider.present(&record);
            done.map_err(|why| Failure::own(format!("the record {}: {why}", record.name)))?;
            proof.record = Some(record);
        }
    }
    Ok(proof)
}

fn await_authorization(session: &mut Session<'_>, proof: &Proof) -> Result<(), Failure> {
    let found = await_change(session, &proof.authorization, &["pending", "processing"])?;
    if found["status"] == "valid" {
        return Ok(());
    }
    let mut challenges = found["challenges"].as_array().into_iter().flatten();
    let problem = challenges.find_map(|it| it.get("error")).cloned().unwrap_or_default();
    Err(Failure::from_problem(&format!("the challenge for {} failed", proof.name), &problem))
}

/// Looks at an object until it is in none of these states any more.
fn await_change(session: &mut Session<'_>, url: &str, states: &[&str]) -> Result<Value, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut pause = PAUSE_FIRST;
    loop {
        let (found, wait) = session.get(url)?;
        if !states.iter().any(|it| found["status"] == *it) {
            return Ok(found);
        }
        if Instant::now() > until {
            return Err(Failure::refused(format!("{url} is still {}", found["status"])));
        }
        thread::sleep(wait.unwrap_or(pause).clamp(PAUSE_FIRST, PAUSE_MAX));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks for the certificate, with a new key, and fetches it.
fn finalize(session: &mut Session<'_>, place: &str, wish: &Wish, issuer: &Issuer) -> Result<Shown, Failure> {
    let order = await_change(session, place, &["pending"])?;
    let own = |why: String| Failure::own(format!("the certificate request: {why}"));
    let key = wish.key.generate().map_err(|why| own(why.to_string()))?;
    let mut params = slot::params(&wish.names).map_err(own)?;
    if let (true, Some(first)) = (issuer.common_name_in_csr, wish.names.first()) {
        params.distinguished_name.push(DnType::CommonName, first.to_string());
    }
    let csr = params.serialize_request(&key).map_err(|why| own(why.to_string()))?;
    let url = order["finalize"].as_str().unwrap_or_default();
    session.post(url, Some(&json!({ "csr": base64url(csr.der()) })))?;
    let order = await_change(session, place, &["ready", "processing"])?;
    if order["status"] != "valid" {
        return Err(Failure::from_problem("the order failed", &order["error"]));
    }
    let url = order["certificate"].as_str().unwrap_or_default();
    let chain = fetch(session, url, issuer)?;
    let shown = Shown::new(&chain, &key.serialize_pem(), true);
    shown.map_err(|why| Failure::new(Fault::Unreachable, format!("the issued certificate: {why}")))
}

/// The chain that is preferred, or the first.
fn fetch(session: &mut Session<'_>, url: &str, issuer: &Issuer) -> Result<String, Failure> {
    let answer = session.post(url, None)?;
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
    let Some(wanted) = &issuer.preferred_chain else { return Ok(text(answer.body)) };
    if ends_with(&answer.body, wanted) {
        return Ok(text(answer.body));
    }
    let links = answer.fields.get_all("link").filter_map(|it| std::str::from_utf8(it).ok());
    let alternates: Vec<String> = links.filter_map(alternate).take(ALTERNATES_MAX).collect();
    for url in alternates {
        let other = session.post(&url, None)?;
        if ends_with(&other.body, wanted) {
            return Ok(text(other.body));
        }
    }
    Ok(text(answer.body))
}

/// The address in `<https://…>;rel="alternate"`.
fn alternate(link: &str) -> Option<String> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("alternate").then(|| url.to_owned())
}

/// Whether the topmost certificate was issued by this name.
fn ends_with(chain: &[u8], name: &str) -> bool {
    let Ok(chain) = certs::chain(chain) else { return false };
    let top = chain.last().and_then(|it| Certificate::parse(it));
    top.is_some_and(|it| it.issuer.common_names().iter().any(|it| it == name))
}
