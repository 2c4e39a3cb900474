//! The block of `oidc_provider`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use foregate_conf::{Error, Node, Word, os_error, value};
use foregate_core::{Args, Block, Compile, check};
use foregate_upstream::{Agent, Url, system_authorities};

use super::cookies::Sealer;
use super::metadata::State;
use super::session::Renewals;

/// NGINX Plus's defaults.
const COOKIE_NAME: &str = "NGX_OIDC_SESSION";
const REDIRECT_URI: &str = "/oidc_callback";
const SESSION_TIMEOUT: Duration = Duration::from_secs(8 * 3600);

/// A `client_secret` of fewer bytes could be guessed by whoever has a cookie.
const SECRET_BYTES_MIN: usize = 16;
const KEY_BYTES_MIN: usize = 32;

/// Directives within the block, and how many arguments they take.
const INSIDE: [(&str, Args); 19] = [
    ("client_id", Args::Exactly(1)),
    ("client_secret", Args::Exactly(1)),
    ("config_url", Args::Exactly(1)),
    ("cookie_name", Args::Exactly(1)),
    ("extra_auth_args", Args::Exactly(1)),
    ("frontchannel_logout_uri", Args::Exactly(1)),
    ("issuer", Args::Exactly(1)),
    ("logout_token_hint", Args::Exactly(1)),
    ("logout_uri", Args::Exactly(1)),
    ("pkce", Args::Exactly(1)),
    ("post_logout_uri", Args::Exactly(1)),
    ("redirect_uri", Args::Exactly(1)),
    ("scope", Args::AtLeast(1)),
    ("session_key", Args::Exactly(1)),
    ("session_store", Args::Exactly(1)),
    ("session_timeout", Args::Exactly(1)),
    ("ssl_crl", Args::Exactly(1)),
    ("ssl_trusted_certificate", Args::Exactly(1)),
    ("userinfo", Args::Exactly(1)),
];

/// All providers of a configuration by name.
#[derive(Default)]
pub(super) struct Providers(pub(super) HashMap<String, Arc<Provider>>);

/// One provider, and what has become known of it.
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// `None`: a public client.
    pub(super) client_secret: Option<String>,
    pub(super) config_url: Url,
    pub(super) redirect: Place,
    pub(super) scope: String,
    pub(super) extra_auth_args: String,
    pub(super) pkce: bool,
    pub(super) userinfo: bool,
    pub(super) cookie_name: String,
    pub(super) session_timeout: Duration,
    pub(super) logout: Option<Box<str>>,
    pub(super) front_logout: Option<Box<str>>,
    /// A path of ours, or another's URL.
    pub(super) post_logout: Option<String>,
    pub(super) logout_token_hint: bool,
    pub(super) sealer: Sealer,
    pub(super) agent: Agent,
    pub(super) state: Mutex<State>,
    pub(super) renewals: Mutex<Renewals>,
}

/// A path on this server, with the server's address where it is written down.
pub(super) struct Place {
    /// `https://host:port`; `None`: as the visitor says.
    pub(super) origin: Option<String>,
    pub(super) path: String,
}

/// The directives of one block by name.
struct Read<'a> {
    node: &'a Node,
    found: BTreeMap<&'a str, &'a Node>,
}

pub(super) fn compile(node: &Node, cx: &mut Compile<'_>) -> Result<Provider, Error> {
    let mut read = Read { node, found: BTreeMap::new() };
    for inside in node.body() {
        let name = inside.name.text.as_str();
        let known = INSIDE.iter().find(|(it, _)| *it == name);
        let Some((_, args)) = known else { return Err(Error::unknown_directive(inside)) };
        check(name, inside, true, *args, Block::No)?;
        if read.found.insert(name, inside).is_some() {
            return Err(Error::duplicate(inside));
        }
    }
    read.provider(cx)
}

impl Read<'_> {
    fn word(&self, name: &str) -> Option<&Word> {
        self.found.get(name).map(|it| &it.args[0])
    }

    fn needed(&self, name: &str) -> Result<&Word, Error> {
        let missing = || {
            let what = format!("\"{name}\" is missing for oidc_provider \"{}\"", self.node.args[0]);
            Error::at(self.node.name.span, what)
        };
        self.word(name).filter(|it| !it.is_empty()).ok_or_else(missing)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.word(name).map(|word| value::flag(word).ok_or_else(|| invalid(name, word))).transpose()
    }

    fn path(&self, name: &str) -> Result<Option<Box<str>>, Error> {
        let path = |word: &Word| match word.starts_with('/') && !word.contains(['?', '#']) {
            true => Ok(word.text.clone().into()),
            false => Err(invalid(name, word).advise("a path on this server, such as /logout")),
        };
        self.word(name).map(path).transpose()
    }

    fn provider(&self, cx: &mut Compile<'_>) -> Result<Provider, Error> {
        let issuer = self.needed("issuer")?;
        let issued = Url::parse(issuer).ok_or_else(|| invalid("issuer", issuer))?;
        let config_url = match self.word("config_url") {
            Some(word) => Url::parse(word).ok_or_else(|| invalid("config_url", word))?,
            None => {
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                Url::parse(&url).ok_or_else(|| invalid("issuer", issuer))?
            }
        };
        if !issued.tls {
            let what = format!("the issuer \"{issuer}\" is spoken to without TLS: whoever is on the way can log in as anybody");
            cx.warn(Error::at(issuer.span, what).warn());
        }
        if let Some(word) = self.word("session_store") {
            let what = "\"session_store\" is ignored: sessions lie in the visitors' cookies, encrypted";
            cx.warn(Error::at(word.span, what).warn());
        }
        let timeout = match self.word("session_timeout") {
            Some(word) => Duration::from_secs(value::time_s(word).ok_or_else(|| invalid("session_timeout", word))?),
            None => SESSION_TIMEOUT,
        };
        let cookie_name = self.word("cookie_name").map_or(COOKIE_NAME, |it| it.text.as_str());
        let sound = |c: char| c.is_ascii_alphanumeric() || "-_.!#$&'*+^`|~%".contains(c);
        if cookie_name.is_empty() || !cookie_name.chars().all(sound) {
            return Err(invalid("cookie_name", &self.found["cookie_name"].args[0]));
        }
        Ok(Provider {
            name: self.node.args[0].text.clone(),
            issuer: issuer.text.clone(),
            client_id: self.needed("client_id")?.text.clone(),
            client_secret: self.word("client_secret").map(|it| it.text.clone()),
            redirect: self.redirect()?,
            scope: self.scope(),
            extra_auth_args: self.word("extra_auth_args").map_or_else(String::new, |it| it.text.clone()),
            pkce: self.flag("pkce")?.unwrap_or(true),
            userinfo: self.flag("userinfo")?.unwrap_or(false),
            cookie_name: cookie_name.to_owned(),
            session_timeout: timeout,
            logout: self.path("logout_uri")?,
            front_logout: self.path("frontchannel_logout_uri")?,
            post_logout: self.post_logout()?,
            logout_token_hint: self.flag("logout_token_hint")?.unwrap_or(false),
            sealer: self.sealer(cx)?,
            agent: self.agent(issued.tls || config_url.tls, cx)?,
            config_url,
            state: Mutex::default(),
            renewals: Mutex::default(),
        })
    }

    fn redirect(&self) -> Result<Place, Error> {
        let Some(word) = self.word("redirect_uri") else {
            return Ok(Place { origin: None, path: REDIRECT_URI.to_owned() });
        };
        if word.starts_with('/') && !word.contains(['?', '#']) {
            return Ok(Place { origin: None, path: word.text.clone() });
        }
        let url = Url::parse(word).filter(|it| !it.path.contains('?')).ok_or_else(|| {
            invalid("redirect_uri", word).advise("a path on this server, or the whole address of one: https://host/path")
        })?;
        let origin = format!("{}://{}", if url.tls { "https" } else { "http" }, url.authority());
        Ok(Place { origin: Some(origin), path: url.path })
    }

    /// `openid` is always among them.
    fn scope(&self) -> String {
        let words = self.found.get("scope").map_or(&[][..], |it| &it.args[..]);
        let mut all = vec!["openid"];
        for scope in words.iter().flat_map(|it| it.split_ascii_whitespace()) {
            if !all.contains(&scope) {
                all.push(scope);
            }
        }
        all.join(" ")
    }

    fn post_logout(&self) -> Result<Option<String>, Error> {
        let Some(word) = self.word("post_logout_uri") else { return Ok(None) };
        match word.starts_with('/') || Url::parse(word).is_some() {
            true => Ok(Some(word.text.clone())),
            false => Err(invalid("post_logout_uri", word)),
        }
    }

    /// The key of the cookies: from a file, or else from the client's secret, so that nothing need be kept.
    fn sealer(&self, cx: &mut Compile<'_>) -> Result<Sealer, Error> {
        let name = &self.node.args[0];
        let secret = match (self.word("session_key"), self.word("client_secret")) {
            (Some(word), _) => {
                let bytes = file(word, cx)?;
                if bytes.trim_ascii().len() < KEY_BYTES_MIN {
                    return Err(Error::at(word.span, format!("the session key in \"{word}\" is shorter than {KEY_BYTES_MIN} bytes"))
                        .advise("make one with: openssl rand -base64 48"));
                }
                bytes.trim_ascii().to_vec()
            }
            (None, Some(word)) if word.len() >= SECRET_BYTES_MIN => word.bytes().to_vec(),
            _ => {
                let what = format!("sessions of oidc_provider \"{name}\" end with the process: there is no \"client_secret\" of {SECRET_BYTES_MIN} bytes to make their key of");
                cx.warn(Error::at(self.node.name.span, what).advise("write session_key FILE;").warn());
                process_secret().to_vec()
            }
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let about = format!("foregate oidc session 1\0{}\0{}", self.needed("issuer")?, self.needed("client_id")?);
        Sealer::new(hmac::sign(&key, about.as_bytes()).as_ref()).ok_or_else(|| Error::plain("the session key cannot be used"))
    }

    fn agent(&self, tls: bool, cx: &mut Compile<'_>) -> Result<Agent, Error> {
        let authorities = match self.word("ssl_trusted_certificate") {
            Some(word) => file(word, cx)?,
            None if tls => system_authorities(cx.files).ok_or_else(|| {
                Error::at(self.node.name.span, "the system has no certificate authorities")
                    .advise("install ca-certificates, or write ssl_trusted_certificate FILE;")
            })?,
            None => Vec::new(),
        };
        let revoked = match self.word("ssl_crl") {
            Some(word) => file(word, cx)?,
            None => Vec::new(),
        };
        Agent::new(&authorities, &revoked).map_err(|why| {
            let place = self.word("ssl_trusted_certificate").map_or(self.node.name.span, |it| it.span);
            Error::at(place, format!("the certificate authorities cannot be used: {why}"))
        })
    }
}

/// A secret that lives as long as the process and outlives reloads.
fn process_secret() -> &'static [u8; 32] {
    static SECRET: std::sync::LazyLock<[u8; 32]> = std::sync::LazyLock::new(|| {
        let mut secret = [0; 32];
        rand::fill(&mut secret).expect("because the kernel gives random bytes");
        secret
    });
    &SECRET
}

fn file(word: &Word, cx: &mut Compile<'_>) -> Result<Vec<u8>, Error> {
    let path = cx.conf_path(word);
    let bytes = cx.files.read(&path);
    bytes.map_err(|why| Error::at(word.span, format!("open() \"{}\" failed{}", path.display(), os_error(&why))))
}

fn invalid(name: &str, word: &Word) -> Error {
    Error::at(word.span, format!("invalid value \"{word}\" in \"{name}\" directive"))
}
