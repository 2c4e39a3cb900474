//! Codes and refresh tokens are turned into tokens (OpenID Connect Core 1.0, 3.1.3 and 12), and these are checked.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use foregate_core::base64::{self, Alphabet};
use foregate_jose::json::{Object, Value};
use foregate_jose::{Alg, Times, Token, audience_has, encode};
use foregate_net::clock;
use foregate_upstream::Answer;

use super::Settings;
use super::metadata::{self, Metadata};
use super::provider::Provider;
use super::session::Session;
use super::text::{escape, push_pair};

/// Seconds by which the provider's clock may differ from ours.
const LEEWAY: i64 = 60;
/// Seconds ahead of its end at which an access token is renewed, so that those who come meanwhile have a good one;
/// of a short one no more than a quarter of its time, for else every request would renew it.
const AHEAD: i64 = 60;
/// Access tokens of which nobody says how long they hold, seconds.
const HOLDS: i64 = 3600;

/// Why there are no tokens.
#[derive(Debug)]
pub(super) enum Failed {
    /// The provider says no: the code or the refresh token is not good any more.
    Refused(String),
    /// It cannot be asked, or what it says cannot be believed.
    Broken(String),
}

impl Failed {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

pub(super) fn now() -> i64 {
    (clock::unix_ms() / 1000) as i64
}

/// A code, and what was said when it was asked for.
pub(super) struct Code<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) verifier: &'a str,
    pub(super) nonce: &'a str,
}

/// A new session for a code.
pub(super) async fn redeem(on: &Settings, code: &Code<'_>) -> Result<Session, Failed> {
    let metadata = metadata::metadata(on).await?;
    let mut form = String::new();
    push_pair("grant_type", "authorization_code", &mut form);
    push_pair("code", code.code, &mut form);
    push_pair("redirect_uri", code.redirect_uri, &mut form);
    if on.provider.pkce {
        push_pair("code_verifier", code.verifier, &mut form);
    }
    let answer = ask(on, &metadata, form).await?;
    let id_token = answer.text("id_token").ok_or_else(|| "its answer has no id_token".to_owned())?;
    let access = answer.text("access_token").unwrap_or_default();
    let claims = check(on, &metadata, id_token, Some(access)).await?;
    if claims.text("nonce") != Some(code.nonce) {
        return Err("its id_token is for another login (nonce)".to_owned().into());
    }
    let mut session = Session {
        id_token: id_token.to_owned(),
        access_token: access.to_owned(),
        refresh_token: answer.text("refresh_token").unwrap_or_default().to_owned(),
        due: due(&answer),
        seen: now(),
        userinfo: String::new(),
    };
    if on.provider.userinfo {
        session.userinfo = userinfo(on, &metadata, access, claims.text("sub").unwrap_or_default()).await?;
    }
    Ok(session)
}

/// The same session with new tokens.
pub(super) async fn renew(on: &Settings, old: &Session) -> Result<Session, Failed> {
    let metadata = metadata::metadata(on).await?;
    let mut form = String::new();
    push_pair("grant_type", "refresh_token", &mut form);
    push_pair("refresh_token", &old.refresh_token, &mut form);
    let answer = ask(on, &metadata, form).await?;
    let mut session = Session { due: due(&answer), seen: now(), ..old.clone() };
    if let Some(access) = answer.text("access_token") {
        session.access_token = access.to_owned();
    }
    if let Some(refresh) = answer.text("refresh_token") {
        session.refresh_token = refresh.to_owned();
    }
    if let Some(id_token) = answer.text("id_token") {
        let claims = check(on, &metadata, id_token, None).await?;
        // Core, 12.2: it is the same person's.
        if claims.text("sub") != old.claims().text("sub") {
            return Err(Failed::Refused("its new id_token is another's".into()));
        }
        session.id_token = id_token.to_owned();
    }
    Ok(session)
}

/// When the tokens of an answer are to be renewed, seconds since the epoch.
fn due(answer: &Object) -> i64 {
    let holds = answer.get("expires_in").and_then(|it| match it {
        Value::Text(text) => text.parse().ok(),
        other => other.as_seconds(),
    });
    let holds: i64 = holds.filter(|it| *it > 0).unwrap_or(HOLDS);
    now().saturating_add(holds - AHEAD.min(holds / 4))
}

/// Asks for tokens.
async fn ask(on: &Settings, metadata: &Metadata, mut form: String) -> Result<Object, Failed> {
    let provider = &on.provider;
    let mut fields =
        vec!["Content-Type: application/x-www-form-urlencoded".to_owned(), "Accept: application/json".to_owned()];
    match &provider.client_secret {
        Some(secret) if !metadata.secret_in_body => fields.push(basic(&provider.client_id, secret)),
        Some(secret) => {
            push_pair("client_id", &provider.client_id, &mut form);
            push_pair("client_secret", secret, &mut form);
        }
        None => push_pair("client_id", &provider.client_id, &mut form),
    }
    let sent = provider.agent.send(on.resolvers.as_deref(), "POST", &metadata.token, &fields, form.as_bytes());
    let Answer { status, body, .. } = sent.await.map_err(|why| format!("POST {}: {why}", metadata.token.path))?;
    let object = Object::parse(&body);
    if status != 200 {
        let error = object.as_ref().ok().and_then(|it| it.text("error")).unwrap_or("no reason").to_owned();
        let why = format!("POST {} was answered with status {status} ({error:?})", metadata.token.path);
        return Err(match status {
            400 | 401 if error == "invalid_grant" => Failed::Refused(why),
            _ => Failed::Broken(why),
        });
    }
    let object = object.map_err(|why| format!("its tokens are unfit: {why}"))?;
    let plain = |name: &str| object.text(name).is_none_or(|it| it.bytes().all(|b| b.is_ascii_graphic()));
    if !["access_token", "refresh_token", "id_token"].into_iter().all(plain) {
        return Err("its tokens hold what no header field may".to_owned().into());
    }
    match object.text("token_type") {
        Some(kind) if !kind.eq_ignore_ascii_case("bearer") => {
            Err(format!("its tokens are of the type {kind:?}, and only Bearer is understood").into())
        }
        _ => Ok(object),
    }
}

/// RFC 6749, 2.3.1.
fn basic(id: &str, secret: &str) -> String {
    let mut pair = String::new();
    escape(id, &mut pair);
    pair.push(':');
    escape(secret, &mut pair);
    let mut out = b"Authorization: Basic ".to_vec();
    base64::encode(pair.as_bytes(), Alphabet::Standard, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The claims of an ID token that holds in every respect (Core, 3.1.3.7) but its nonce.
async fn check(
    on: &Settings,
    metadata: &Metadata,
    text: &str,
    access: Option<&str>,
) -> Result<Object, Failed> {
    let refused = |why: foregate_jose::Refused| format!("its id_token is refused: {why}");
    let token = Token::parse(text.as_bytes()).map_err(refused)?;
    metadata::verify(on, metadata, &token).await?;
    let claims = token.claims().map_err(refused)?;
    Times { now: now(), leeway: LEEWAY }.check(&claims).map_err(refused)?;
    binds(&on.provider, &claims)?;
    if let (Some(hash), Some(access)) = (claims.text("at_hash"), access)
        && hash != half_hash(token.alg, access)
    {
        return Err("its id_token goes with another access token (at_hash)".to_owned().into());
    }
    Ok(claims)
}

/// Whether an ID token is by this provider for us.
pub(super) fn binds(provider: &Provider, claims: &Object) -> Result<(), String> {
    if claims.text("iss") != Some(&provider.issuer) {
        return Err("its id_token is another issuer's".into());
    }
    if !audience_has(claims, &provider.client_id) {
        return Err("its id_token is for another client (aud)".into());
    }
    let several = matches!(claims.get("aud"), Some(Value::List(all)) if all.len() > 1);
    match claims.get("azp") {
        Some(azp) if azp.as_text() != Some(&provider.client_id) => Err("its id_token is for another client (azp)".into()),
        None if several => Err("its id_token is for several clients and does not say for whom (azp)".into()),
        _ if claims.text("sub").is_none_or(str::is_empty) => Err("its id_token says of nobody (sub)".into()),
        _ if claims.get("exp").is_none() => Err("its id_token never ends (exp)".into()),
        _ => Ok(()),
    }
}

/// Core, 3.1.3.6: the left half of the hash that the algorithm goes with.
fn half_hash(alg: Alg, access: &str) -> String {
    let hash = match alg {
        Alg::Rs384 | Alg::Ps384 | Alg::Es384 => &SHA384,
        Alg::Rs512 | Alg::Ps512 | Alg::Es512 | Alg::EdDsa => &SHA512,
        _ => &SHA256,
    };
    let sum = digest(hash, access.as_bytes());
    encode(&sum.as_ref()[..sum.as_ref().len() / 2])
}

async fn userinfo(on: &Settings, metadata: &Metadata, access: &str, sub: &str) -> Result<String, Failed> {
    let url = metadata.userinfo.as_ref().ok_or_else(|| "it has no userinfo_endpoint".to_owned())?;
    let fields = [format!("Authorization: Bearer {access}"), "Accept: application/json".to_owned()];
    let sent = on.provider.agent.send(on.resolvers.as_deref(), "GET", url, &fields, b"");
    let answer = sent.await.map_err(|why| format!("GET {}: {why}", url.path))?;
    if answer.status != 200 {
        return Err(format!("GET {} was answered with status {}", url.path, answer.status).into());
    }
    let info = Object::parse(&answer.body).map_err(|why| format!("what it says of the user is unfit: {why}"))?;
    // Core, 5.3.2: nobody else's.
    if info.text("sub") != Some(sub) {
        return Err("what it says of the user is of another (sub)".to_owned().into());
    }
    Ok(info.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_access_token() {
        // Core, A.3.
        assert_eq!(half_hash(Alg::Rs256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }

    #[test]
    fn tokens_are_renewed_ahead_of_their_end_and_not_at_once() {
        let due_in = |text: &str| {
            let answer = Object::parse(text.as_bytes()).unwrap();
            due(&answer).saturating_sub(now())
        };
        for (text, seconds) in [
            ("{\"expires_in\":3600}", 3540),
            ("{\"expires_in\":\"300\"}", 240),
            ("{\"expires_in\":60}", 45),
            ("{\"expires_in\":1}", 1),
            ("{\"expires_in\":-5}", 3540),
            ("{}", 3540),
        ] {
            // The clock may go on between the two looks.
            assert!((seconds - 1..=seconds).contains(&due_in(text)), "{text}: {}", due_in(text));
        }
        assert!(due_in("{\"expires_in\":1e300}") > 1 << 60);
    }

    #[test]
    fn secrets_are_escaped_first() {
        assert_eq!(basic("a:b", "c d"), "Authorization: Basic YSUzQWI6YyUyMGQ=");
    }
}
