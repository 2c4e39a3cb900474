//! An OpenID Connect provider as tests need one: it logs everybody in as Ann, and can be made to lie.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};

use crate::jwt::{Signer, encode};
use crate::{Backend, Reply, Seen};

/// What the provider knows and how it behaves. Change it between requests.
pub struct Identity {
    pub client_id: String,
    pub client_secret: String,
    /// Signs ID tokens; its public half is published.
    pub signer: Signer,
    /// Signs them in its place, unpublished.
    pub forger: Option<Signer>,
    /// Changes the claims, as JSON, before they are signed.
    pub spoil: fn(String) -> String,
    /// Seconds that access tokens hold.
    pub holds: i64,
    /// More text in the ID token, bytes.
    pub padding: usize,
    /// Refresh tokens are not taken any more.
    pub refuses: bool,
    /// Where visitors and clients find it.
    pub issuer: String,
    /// Codes by what was said when they were asked for.
    codes: HashMap<String, Asked>,
    refresh: Option<String>,
    n: usize,
}

#[derive(Clone)]
struct Asked {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// The running provider.
pub struct Provider {
    backend: Backend,
    identity: Arc<Mutex<Identity>>,
}

impl Provider {
    /// On a free port, for the client `client` with a secret of 32 letters.
    pub fn start() -> Provider {
        let identity = Arc::new(Mutex::new(Identity {
            client_id: "client".to_owned(),
            client_secret: "a-secret-of-thirty-two-letters-!".to_owned(),
            signer: Signer::new("one", "RS256"),
            forger: None,
            spoil: |claims| claims,
            holds: 3600,
            padding: 0,
            refuses: false,
            issuer: String::new(),
            codes: HashMap::new(),
            refresh: None,
            n: 0,
        }));
        let inside = identity.clone();
        let backend = Backend::new(move |seen| lock(&inside).answer(seen));
        let provider = Provider { backend, identity };
        provider.identity().issuer = provider.issuer();
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.backend.address())
    }

    pub fn identity(&self) -> MutexGuard<'_, Identity> {
        lock(&self.identity)
    }

    /// The paths that have been asked for, without their queries.
    pub fn asked(&self) -> Vec<String> {
        self.backend
            .requests()
            .iter()
            .map(|it| it.target.split('?').next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn lock(identity: &Mutex<Identity>) -> MutexGuard<'_, Identity> {
    identity.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs() as i64)
}

/// A value of a form or query.
pub fn value(query: &str, name: &str) -> String {
    let pair = query.split('&').filter_map(|it| it.split_once('=')).find(|(it, _)| *it == name);
    let text = pair.map_or("", |it| it.1).replace('+', " ");
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|it| char::from(it).to_digit(16)).unwrap_or(0) as u8;
        out.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn json(text: String) -> Reply {
    Reply::status(200, "Content-Type: application/json\r\n", text)
}

fn redirect(to: &str) -> Reply {
    Reply::status(302, &format!("Location: {to}\r\n"), "")
}

impl Identity {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let issuer = self.issuer.clone();
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        match path {
            "/.well-known/openid-configuration" => json(format!(
                r#"{{"issuer":"{issuer}","authorization_endpoint":"{issuer}/authorize","token_endpoint":"{issuer}/token",
                "userinfo_endpoint":"{issuer}/userinfo","jwks_uri":"{issuer}/jwks","end_session_endpoint":"{issuer}/end",
                "code_challenge_methods_supported":["S256"]}}"#
            )),
            "/jwks" => json(self.signer.jwks()),
            // A page that logs in by itself, as a person would by a click.
            "/authorize" => Reply::status(
                200,
                "Content-Type: text/html\r\n",
                format!(
                    "<form method=post action='/login?{}'></form><script>document.forms[0].submit()</script>",
                    query.replace('\'', "%27")
                ),
            ),
            "/login" => self.login(query, &issuer),
            "/token" => self.token(seen, &issuer),
            "/userinfo" => json("{\"sub\":\"ann\",\"email\":\"ann@example.com\"}".into()),
            "/end" => redirect(&value(query, "post_logout_redirect_uri")),
            _ => Reply::status(404, "", ""),
        }
    }

    fn login(&mut self, query: &str, issuer: &str) -> Reply {
        let good = value(query, "client_id") == self.client_id
            && value(query, "response_type") == "code"
            && value(query, "code_challenge_method") == "S256"
            && value(query, "scope").split(' ').any(|it| it == "openid");
        if !good {
            return Reply::status(400, "", format!("not a request for a code: {query}"));
        }
        self.n += 1;
        let code = format!("code-{}", self.n);
        let redirect_uri = value(query, "redirect_uri");
        let asked = Asked {
            nonce: value(query, "nonce"),
            challenge: value(query, "code_challenge"),
            redirect_uri: redirect_uri.clone(),
        };
        self.codes.insert(code.clone(), asked);
        redirect(&format!("{redirect_uri}?code={code}&state={}&iss={issuer}", value(query, "state")))
    }

    fn token(&mut self, seen: &Seen, issuer: &str) -> Reply {
        let form = seen.text();
        let refused = |error: &str| Reply::status(400, "", format!("{{\"error\":\"{error}\"}}"));
        let pair = format!("{}:{}", self.client_id, self.client_secret.replace('!', "%21"));
        // Base64 and base64url are alike but for two digits and the padding.
        let sent = seen.header("Authorization").unwrap_or_default().trim_start_matches("Basic ");
        if sent.trim_end_matches('=').replace('+', "-").replace('/', "_") != encode(pair.as_bytes()) {
            return refused("invalid_client");
        }
        let nonce = match value(&form, "grant_type").as_str() {
            "authorization_code" => {
                let Some(asked) = self.codes.remove(&value(&form, "code")) else {
                    return refused("invalid_grant");
                };
                let challenge = encode(digest(&SHA256, value(&form, "code_verifier").as_bytes()).as_ref());
                if challenge != asked.challenge || value(&form, "redirect_uri") != asked.redirect_uri {
                    return refused("invalid_grant");
                }
                asked.nonce
            }
            // Each is good only once.
            _ if self.refuses || self.refresh.as_ref() != Some(&value(&form, "refresh_token")) => {
                return refused("invalid_grant");
            }
            _ => String::new(),
        };
        self.n += 1;
        let (n, holds) = (self.n, self.holds);
        self.refresh = Some(format!("refresh-{n}"));
        let id_token = self.id_token(issuer, &nonce);
        json(format!(
            r#"{{"access_token":"access-{n}","token_type":"Bearer","expires_in":{holds},"refresh_token":"refresh-{n}","id_token":"{id_token}"}}"#
        ))
    }

    fn id_token(&self, issuer: &str, nonce: &str) -> String {
        let (now, client, padding) = (now(), &self.client_id, "x".repeat(self.padding));
        let claims = format!(
            r#"{{"iss":"{issuer}","sub":"ann","aud":"{client}","exp":{},"iat":{now},"nonce":"{nonce}","sid":"s1","name":"Ann","groups":["a","b"],"more":"{padding}"}}"#,
            now + 300
        );
        self.forger.as_ref().unwrap_or(&self.signer).sign(&(self.spoil)(claims))
    }
}
