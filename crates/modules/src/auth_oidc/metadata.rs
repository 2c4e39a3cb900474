//! What a provider says of itself (OpenID Connect Discovery 1.0) and its keys: asked for when they are needed, and kept.

use std::sync::{Arc, MutexGuard, PoisonError};

use foregate_jose::json::{Object, Value};
use foregate_jose::{Keys, Refused, Token};
use foregate_net::clock;
use foregate_upstream::{Answer, Url};

use super::Settings;
use super::provider::Provider;

/// How long metadata and keys are believed, milliseconds.
const KEPT_MS: u64 = 3_600_000;
/// After a failure nobody asks for so long, milliseconds: a provider that is away is not asked by every visitor.
const REST_MS: u64 = 2_000;
/// An unknown key makes the keys be asked for anew, but not more often than this, milliseconds.
const RENEWAL_MS_MIN: u64 = 10_000;

/// Where a provider's doors are.
pub(super) struct Metadata {
    pub(super) authorization: String,
    pub(super) token: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) end_session: Option<String>,
    jwks: Url,
    /// The secret goes into the body, for the provider does not take it as Basic.
    pub(super) secret_in_body: bool,
}

/// What has become known of a provider, and by `clock::ms` when.
#[derive(Default)]
pub(super) struct State {
    metadata: Option<(Arc<Metadata>, u64)>,
    keys: Option<(Arc<Keys>, u64)>,
    failed: Option<(String, u64)>,
}

impl Provider {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The provider's metadata, new enough. What is old serves on while nothing newer is to be had.
///
/// # Errors
/// In words for the log.
pub(super) async fn metadata(on: &Settings) -> Result<Arc<Metadata>, String> {
    let now = clock::ms();
    let old = {
        let state = on.provider.state();
        if let Some((metadata, since)) = &state.metadata
            && now < since + KEPT_MS
        {
            return Ok(metadata.clone());
        }
        if let Some((why, _)) = state.failed.as_ref().filter(|(_, since)| now < since + REST_MS) {
            return state.metadata.as_ref().map(|(it, _)| it.clone()).ok_or_else(|| why.clone());
        }
        state.metadata.as_ref().map(|(it, _)| it.clone())
    };
    let asked = fetch(on, &on.provider.config_url).await;
    let read = asked.and_then(|it| read(&on.provider, &it).map_err(|why| format!("its metadata are unfit: {why}")));
    let mut state = on.provider.state();
    match read {
        Ok(metadata) => {
            let metadata = Arc::new(metadata);
            state.metadata = Some((metadata.clone(), clock::ms()));
            state.failed = None;
            Ok(metadata)
        }
        Err(why) => {
            state.failed = Some((why.clone(), clock::ms()));
            old.ok_or(why)
        }
    }
}

/// Checks a token's signature with the provider's keys, which are asked for anew when one is not known.
///
/// # Errors
/// In words for the log.
pub(super) async fn verify(on: &Settings, metadata: &Metadata, token: &Token) -> Result<(), String> {
    let kept = {
        let now = clock::ms();
        let state = on.provider.state();
        state.keys.as_ref().filter(|(_, since)| now < since + KEPT_MS).map(|(keys, since)| (keys.clone(), now - since))
    };
    let refused = |why: Refused| format!("its token is refused: {why}");
    if let Some((keys, age)) = kept {
        match token.verify(&keys) {
            Err(Refused::UnknownKey(_) | Refused::NoKeyFor(_)) if age >= RENEWAL_MS_MIN => (),
            done => return done.map_err(refused),
        }
    }
    let text = fetch(on, &metadata.jwks).await?;
    // The provider's secret is ours too: a signature by a shared secret says nothing of who made it.
    let keys = Keys::parse(&text).map_err(|why| format!("its keys are unfit: {why}"))?.public_only();
    let keys = Arc::new(keys);
    on.provider.state().keys = Some((keys.clone(), clock::ms()));
    token.verify(&keys).map_err(refused)
}

async fn fetch(on: &Settings, url: &Url) -> Result<Vec<u8>, String> {
    let fields = ["Accept: application/json".to_owned()];
    let shown = || format!("{}{}", url.authority(), url.path);
    match on.provider.agent.send(on.resolvers.as_deref(), "GET", url, &fields, b"").await {
        Ok(Answer { status: 200, body, .. }) => Ok(body),
        Ok(Answer { status, .. }) => Err(format!("GET {} was answered with status {status}", shown())),
        Err(why) => Err(format!("GET {}: {why}", shown())),
    }
}

fn read(provider: &Provider, text: &[u8]) -> Result<Metadata, String> {
    let all = Object::parse(text).map_err(|why| why.to_string())?;
    match all.text("issuer") {
        Some(issuer) if issuer == provider.issuer => (),
        // Discovery, 4.3: whoever answers for another could take over its visitors.
        Some(issuer) => return Err(format!("they are of the issuer {issuer:?}: write issuer {issuer}; if that is the one")),
        None => return Err("they name no issuer".into()),
    }
    let url = |name: &str| all.text(name).map(|it| checked(provider, name, it)).transpose();
    let needed = |name: &str| url(name)?.ok_or_else(|| format!("{name:?} is missing"));
    let methods = match all.get("token_endpoint_auth_methods_supported") {
        Some(Value::List(methods)) => methods.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    };
    needed("authorization_endpoint")?;
    url("end_session_endpoint")?;
    Ok(Metadata {
        authorization: all.text("authorization_endpoint").unwrap_or_default().to_owned(),
        end_session: all.text("end_session_endpoint").map(str::to_owned),
        token: needed("token_endpoint")?,
        userinfo: url("userinfo_endpoint")?,
        jwks: needed("jwks_uri")?,
        secret_in_body: methods.contains(&"client_secret_post") && !methods.contains(&"client_secret_basic"),
    })
}

/// A provider that is spoken to over TLS does not lead out of it.
fn checked(provider: &Provider, name: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok_or_else(|| format!("{name:?} is no address"))?;
    match url.tls || provider.issuer.starts_with("http:") {
        true => Ok(url),
        false => Err(format!("{name:?} is an address without TLS")),
    }
}
