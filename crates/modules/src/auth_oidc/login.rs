//! The way to the provider and back (OpenID Connect Core 1.0, 3.1, with PKCE, RFC 7636), and out again.

use std::ops::ControlFlow::Break;

use aws_lc_rs::digest::{SHA256, digest};
use foregate_core::{Exchange, Flow, Level, Reply, Stop, log};
use foregate_jose::encode;
use foregate_jose::json::{Object, Value};
use foregate_wire::Buf;

use super::Settings;
use super::cookies;
use super::metadata::metadata;
use super::provider::Provider;
use super::session::Session;
use super::text::{random, value, with_pairs};
use super::tokens::{self, Code, Failed, now};

/// Seconds that a login may take.
const LOGIN_SECONDS_MAX: i64 = 900;
/// Logins that one visitor may have begun: a page of many parts begins one for each.
const LOGINS_MAX: usize = 4;
/// Begun logins that one answer forgets: a stranger may make up any number of cookies.
const FORGOTTEN_MAX: usize = 16;
/// What a visitor asked for, to be brought back there; longer, it is the first page.
const TARGET_BYTES_MAX: usize = 1500;

/// A login that is under way, kept in a cookie of its own.
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    /// Where the visitor wanted to go: a path on this server.
    target: String,
    since: i64,
}

impl Begun {
    fn new(ex: &Exchange) -> Result<Begun, String> {
        let target = String::from_utf8(ex.target.clone()).unwrap_or_default();
        let fits = target.starts_with('/') && target.len() <= TARGET_BYTES_MAX && !target.bytes().any(|b| b <= b' ' || b >= 127);
        let target = if fits { target } else { "/".to_owned() };
        Ok(Begun { state: random()?, nonce: random()?, verifier: random()?, target, since: now() })
    }

    fn seal(&self, provider: &Provider) -> Option<String> {
        let mut object = Object::default();
        for (name, text) in [("s", &self.state), ("n", &self.nonce), ("v", &self.verifier), ("t", &self.target)] {
            object.push(name, Value::Text(text.clone()));
        }
        object.push("b", Value::Number(self.since.to_string().into()));
        provider.sealer.seal("login", &object.to_string())
    }

    fn open(provider: &Provider, sealed: &[u8]) -> Option<Begun> {
        let object = Object::parse(provider.sealer.open("login", sealed)?.as_bytes()).ok()?;
        let text = |name: &str| object.text(name).map(str::to_owned);
        let since = object.get("b").and_then(Value::as_seconds)?;
        Some(Begun { state: text("s")?, nonce: text("n")?, verifier: text("v")?, target: text("t")?, since })
    }
}

/// What all cookies of a login have in common.
fn login_prefix(provider: &Provider) -> String {
    format!("{}_login_", provider.cookie_name)
}

/// The cookie of a login, by the beginning of its state.
fn login_cookie(provider: &Provider, state: &str) -> Option<String> {
    let begin = state.get(..8).filter(|it| it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))?;
    Some(login_prefix(provider) + begin)
}

/// `https://host:port`, as the visitor sees this server.
fn origin(provider: &Provider, ex: &Exchange) -> String {
    if let Some(origin) = &provider.redirect.origin {
        return origin.clone();
    }
    let scheme = if ex.conn.tls.is_some() { "https" } else { "http" };
    let host = match ex.host.is_empty() {
        true => ex.conn.local.ip().map_or_else(String::new, |it| it.to_string()),
        false => String::from_utf8_lossy(&ex.host).into_owned(),
    };
    match ex.host_port {
        Some(port) if !ex.host.is_empty() => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
}

/// What follows the value of every cookie here. Lax, for the way back from the provider is a link from another site.
pub(super) fn attributes(provider: &Provider, ex: &Exchange) -> String {
    let secure = if origin(provider, ex).starts_with("https:") { "; Secure" } else { "" };
    format!("; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// An answer that nobody may keep.
fn fleeting(mut reply: Reply, cookies: &[String]) -> Stop {
    reply.fields.push(b"Cache-Control", b"no-store");
    cookies.iter().for_each(|it| reply.fields.push(b"Set-Cookie", it.as_bytes()));
    reply.into()
}

fn redirect(to: &str, cookies: &[String]) -> Stop {
    let mut reply = Reply::status(302);
    reply.fields.push(b"Location", to.as_bytes());
    reply.foreign_location = true;
    fleeting(reply, cookies)
}

fn unreachable(provider: &Provider, ex: &Exchange, why: &str) -> Stop {
    log!(ex, Level::Error, "the OpenID Connect provider \"{}\" is of no help: {why}", provider.name);
    Stop::status(502)
}

/// Sends the visitor to log in.
pub(super) async fn begin(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let provider = &*on.provider;
    let metadata = match metadata(on).await {
        Ok(it) => it,
        Err(why) => return Break(unreachable(provider, ex, &why)),
    };
    let begun = Begun::new(ex);
    let sealed = begun.as_ref().ok().and_then(|it| it.seal(provider));
    let (Ok(begun), Some(sealed)) = (begun, sealed) else { return Break(Stop::status(500)) };
    let redirect_uri = origin(provider, ex) + &provider.redirect.path;
    let challenge = encode(digest(&SHA256, begun.verifier.as_bytes()).as_ref());
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", &*provider.client_id),
        ("redirect_uri", &redirect_uri),
        ("scope", &provider.scope),
        ("state", &begun.state),
        ("nonce", &begun.nonce),
    ];
    if provider.pkce {
        pairs.extend([("code_challenge", &*challenge), ("code_challenge_method", "S256")]);
    }
    let mut to = with_pairs(&metadata.authorization, &pairs);
    if !provider.extra_auth_args.is_empty() {
        to = format!("{to}&{}", provider.extra_auth_args.trim_start_matches(['?', '&']));
    }
    let attributes = attributes(provider, ex);
    let mut lines = Vec::new();
    let prefix = login_prefix(provider);
    let others: Vec<&[u8]> = cookies::all(ex).map(|it| it.0).filter(|it| it.starts_with(prefix.as_bytes())).collect();
    if others.len() >= LOGINS_MAX {
        lines.extend(others.iter().take(FORGOTTEN_MAX).map(|it| cookies::remove(&String::from_utf8_lossy(it), &attributes)));
    }
    let name = login_cookie(provider, &begun.state).unwrap_or_default();
    lines.push(format!("{name}={sealed}{attributes}; Max-Age={LOGIN_SECONDS_MAX}"));
    Break(redirect(&to, &lines))
}

/// The visitor comes back from the provider with a code.
pub(super) async fn complete(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let provider = &*on.provider;
    let given = |name: &str| value(&ex.args, name);
    let state = given("state").unwrap_or_default();
    let cookie = login_cookie(provider, &state);
    let begun = cookie.as_ref().and_then(|it| Begun::open(provider, cookies::get(ex, it)?));
    let begun = begun.filter(|it| it.state == state && now() < it.since.saturating_add(LOGIN_SECONDS_MAX));
    let (Some(begun), Some(cookie)) = (begun, cookie) else {
        log!(
            ex,
            Level::Error,
            "a login at \"{}\" that was not begun in this browser, or more than {LOGIN_SECONDS_MAX} s ago",
            provider.name
        );
        return Break(Stop::status(400));
    };
    let attributes = attributes(provider, ex);
    let gone = cookies::remove(&cookie, &attributes);
    if let Some(error) = given("error") {
        let more = given("error_description").unwrap_or_default();
        log!(ex, Level::Error, "\"{}\" lets nobody in: {error:?} {more:?}", provider.name);
        return Break(fleeting(Reply::status(403), &[gone]));
    }
    // RFC 9207: the answer of another provider must not be taken for this one's.
    let wrong_issuer = given("iss").is_some_and(|it| it != provider.issuer);
    let Some(code) = given("code").filter(|it| !it.is_empty() && !wrong_issuer) else {
        log!(ex, Level::Error, "a login at \"{}\" comes back without a code, or from another issuer", provider.name);
        return Break(fleeting(Reply::status(400), &[gone]));
    };
    let origin = origin(provider, ex);
    let redirect_uri = format!("{origin}{}", provider.redirect.path);
    let code = Code { code: &code, redirect_uri: &redirect_uri, verifier: &begun.verifier, nonce: &begun.nonce };
    match tokens::redeem(on, &code).await {
        Ok(session) => {
            let mut lines = session.cookies(provider, ex);
            if lines.is_empty() {
                return Break(fleeting(Reply::status(500), &[gone]));
            }
            lines.push(gone);
            // With our own address in front a path cannot lead elsewhere, whatever it begins with.
            Break(redirect(&format!("{origin}{}", begun.target), &lines))
        }
        Err(failed) => {
            log!(ex, Level::Error, "nobody could be logged in at \"{}\": {}", provider.name, failed.text());
            let status = if matches!(failed, Failed::Refused(_)) { 403 } else { 502 };
            Break(fleeting(Reply::status(status), &[gone]))
        }
    }
}

/// `logout_uri`: here and at the provider (RP-Initiated Logout 1.0).
pub(super) async fn out(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let provider = &*on.provider;
    let session = Session::read(provider, ex);
    let lines = cookies::remove_long(ex, &provider.cookie_name, &attributes(provider, ex));
    let back = provider.post_logout.as_ref().map(|it| match it.starts_with('/') {
        true => origin(provider, ex) + it,
        false => it.clone(),
    });
    let end = match session {
        Some(_) => metadata(on).await.ok().and_then(|it| it.end_session.clone()),
        None => None,
    };
    if let (Some(end), Some(session)) = (end, session) {
        let mut pairs = vec![("client_id", &*provider.client_id)];
        if let Some(back) = &back {
            pairs.push(("post_logout_redirect_uri", back));
        }
        if provider.logout_token_hint {
            pairs.push(("id_token_hint", &session.id_token));
        }
        return Break(redirect(&with_pairs(&end, &pairs), &lines));
    }
    match back {
        Some(back) => Break(redirect(&back, &lines)),
        None => Break(fleeting(Reply::bytes(200, b"text/plain", Buf::copy_from(b"You are logged out.\n")), &lines)),
    }
}

/// `frontchannel_logout_uri`: the provider's page asks for it in a frame (Front-Channel Logout 1.0).
pub(super) fn out_by_provider(provider: &Provider, ex: &mut Exchange) -> Flow<bool> {
    let session = Session::read(provider, ex);
    let fits = session.is_some_and(|session| {
        let same = |name: &str, known: Option<&str>| value(&ex.args, name).is_none_or(|it| Some(&*it) == known);
        let claims = session.claims();
        same("iss", Some(&provider.issuer)) && same("sid", claims.text("sid"))
    });
    let lines = match fits {
        true => cookies::remove_long(ex, &provider.cookie_name, &attributes(provider, ex)),
        false => Vec::new(),
    };
    Break(fleeting(Reply::bytes(200, b"text/plain", Buf::copy_from(b"OK\n")), &lines))
}
