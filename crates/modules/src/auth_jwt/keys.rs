//! Where the keys come from: files that are read with the configuration, files whose names depend on the request,
//! requests inside, and issuers themselves; what these bring is kept as long as `auth_jwt_key_cache` says.

use std::cell::RefCell;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Word, os_error};
use foregate_core::{Compile, Exchange, Flow, Level, Stop, Template, log, next};
use foregate_jose::{KEYS_BYTES_MAX, Keys};
use foregate_net::sys::errno_text;
use foregate_net::{FileVersion, clock, door};
use foregate_upstream::{Agent, CommonResolver, Resolvers, Url, system_authorities};

use super::Settings;

/// Sets that one thread keeps: files named by variables, and answers of requests.
const KEPT_MAX: usize = 64;
/// An unknown key makes the keys be asked for anew, but not more often than this, milliseconds: strangers can name
/// keys as they like.
const RENEWAL_MS_MIN: u64 = 10_000;
/// After a failure nobody asks for so long, milliseconds: an issuer that is away is not asked for every request.
const REST_MS: u64 = 2_000;
/// How long keys serve on when they cannot be got anew, milliseconds.
const STALE_MS_MAX: u64 = 3_600_000;

/// Reads a set while the configuration is read; it is read again when it changes.
pub(super) fn load(word: &Word, cx: &mut Compile<'_>) -> Result<Keys, Error> {
    let path = cx.conf_path(word);
    let text = cx.files.read(&path).map_err(|why| {
        Error::at(word.span, format!("open() \"{}\" failed{}", path.display(), os_error(&why)))
    })?;
    cx.watch(word);
    let bad = |what: String| {
        Error::at(word.span, what).advise("a JSON Web Key Set is wanted: {\"keys\":[{\"kty\":\"RSA\",\"n\":\"...\",\"e\":\"AQAB\"}]}")
    };
    let keys = Keys::parse(&text).map_err(|why| bad(format!("\"{}\" is no set of keys: {why}", path.display())))?;
    if keys.is_empty() {
        let why = keys.remarks.first().map_or_else(String::new, |it| format!(": {it}"));
        return Err(bad(format!("\"{}\" has no key that can be used{why}", path.display())));
    }
    for remark in &keys.remarks {
        cx.warn(Error::at(word.span, format!("{remark}, in \"{}\"", path.display())).warn());
    }
    Ok(keys)
}

/// How long keys of an issuer's address are kept where nothing is said.
const WEB_CACHE: Duration = Duration::from_secs(3600);

/// What `auth_jwt_key_request` asks.
pub(super) enum Source {
    /// A location.
    Inside(Template),
    /// An issuer, without a location between.
    Web { url: Url, agent: Agent, resolvers: Option<Arc<Resolvers>> },
}

/// The agent for all issuers of a configuration.
#[derive(Default)]
struct Issuers(Option<Agent>);

impl Source {
    pub(super) fn compile(word: &Word, cx: &mut Compile<'_>) -> Result<Self, Error> {
        if !word.starts_with("http") {
            return cx.template(word).map(Self::Inside);
        }
        let url = Url::parse(word).ok_or_else(|| Error::at(word.span, format!("invalid uri \"{word}\"")))?;
        let known = cx.shared.get::<Issuers>().and_then(|it| it.0.clone());
        let agent = match known {
            Some(agent) => agent,
            None => {
                let authorities = system_authorities(cx.files).unwrap_or_default();
                let agent = Agent::new(&authorities, b"");
                let agent = agent.map_err(|why| {
                    Error::at(word.span, format!("the system's certificate authorities cannot be used: {why}"))
                })?;
                cx.shared.get_or_default::<Issuers>().0 = Some(agent.clone());
                agent
            }
        };
        let resolvers = cx.shared.get::<CommonResolver>().and_then(|it| it.0.clone());
        Ok(Self::Web { url, agent, resolvers })
    }

    /// How long its keys are kept; zero: they are not.
    fn cache(&self, on: &Settings) -> Duration {
        match self {
            Self::Inside(uri) if uri.as_constant().is_some() => on.key_cache,
            Self::Inside(_) => Duration::ZERO,
            Self::Web { .. } if on.key_cache.is_zero() => WEB_CACHE,
            Self::Web { .. } => on.key_cache,
        }
    }

    pub(super) fn keeps(&self, on: &Settings) -> bool {
        !self.cache(on).is_zero()
    }
}

/// A set that a thread keeps.
struct Kept {
    name: Name,
    /// `None`: asked for, and not got.
    keys: Option<Arc<Keys>>,
    version: Option<FileVersion>,
    /// `clock::ms` of when it came.
    since: u64,
    /// `clock::ms` of when it was last asked for.
    asked: u64,
}

#[derive(PartialEq, Eq)]
enum Name {
    File(PathBuf),
    /// Of these settings, the request at this place.
    Request(u64, usize),
}

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

fn keep(kept: Kept) {
    KEPT.with_borrow_mut(|all| {
        all.retain(|it| it.name != kept.name);
        if all.len() >= KEPT_MAX {
            all.remove(0);
        }
        all.push(kept);
    });
}

/// All sets of a place. `unknown`: a key that is not among those kept, so that they may be too old.
pub(super) async fn all(on: &Settings, ex: &mut Exchange, unknown: Option<&str>) -> Flow<Vec<Arc<Keys>>> {
    let mut sets = Vec::with_capacity(1 + on.key_files.len() + on.key_requests.len());
    if !on.keys.is_empty() {
        sets.push(on.keys.clone());
    }
    for name in &on.key_files {
        sets.push(file(on, name, ex)?);
    }
    for (at, source) in on.key_requests.iter().enumerate() {
        sets.push(requested(on, at, source, ex, unknown).await?);
    }
    Continue(sets)
}

/// A file that the request names, read again whenever it changes.
fn file(on: &Settings, name: &Template, ex: &mut Exchange) -> Flow<Arc<Keys>> {
    let name = name.fill_new(ex);
    let path = on.conf_prefix.join(Path::new(std::ffi::OsStr::from_bytes(&name)));
    let read = || -> Result<Arc<Keys>, String> {
        let failed = |why: std::io::Error| format!("open() \"{}\" failed ({})", path.display(), errno_text(&why));
        let version = FileVersion::at(&path).map_err(failed)?;
        let name = Name::File(path.clone());
        let kept = KEPT.with_borrow(|all| {
            all.iter().find(|it| it.name == name && it.version == Some(version)).and_then(|it| it.keys.clone())
        });
        if let Some(keys) = kept {
            return Ok(keys);
        }
        let text = door::read(&path).map_err(failed)?;
        let keys = Keys::parse(&text).map_err(|why| format!("\"{}\" is no set of keys: {why}", path.display()))?;
        let (keys, since) = (Arc::new(keys), clock::ms());
        keep(Kept { name, keys: Some(keys.clone()), version: Some(version), since, asked: since });
        Ok(keys)
    };
    match read() {
        Ok(keys) => Continue(keys),
        Err(why) => {
            log!(ex, Level::Error, "{why}");
            Break(Stop::status(500))
        }
    }
}

/// What a request inside brings.
async fn requested(
    on: &Settings,
    at: usize,
    source: &Source,
    ex: &mut Exchange,
    unknown: Option<&str>,
) -> Flow<Arc<Keys>> {
    let name = Name::Request(on.id, at);
    let now = clock::ms();
    let (keeps, cache_ms) = (source.keeps(on), clock::as_ms(source.cache(on)));
    let found = if keeps { look(&name, cache_ms, unknown, now) } else { Found::Nothing };
    let old = match found {
        Found::Fresh(keys) => return Continue(keys),
        Found::Failed => {
            log!(ex, Level::Error, "\"auth_jwt_key_request\" has brought no keys a moment ago and is not asked again");
            return Break(Stop::status(500));
        }
        Found::Old(keys, since) if now < since.saturating_add(cache_ms) + STALE_MS_MAX => Some(keys),
        Found::Old(..) | Found::Nothing => None,
    };
    let got = fetch(source, ex).await.ok();
    if keeps && (got.is_some() || old.is_none()) {
        let since = clock::ms();
        keep(Kept { name, keys: got.clone(), version: None, since, asked: since });
    }
    match got.or(old) {
        Some(keys) => Continue(keys),
        None => Break(Stop::status(500)),
    }
}

/// What is kept of a request's keys.
enum Found {
    Fresh(Arc<Keys>),
    /// Whoever finds them asks anew; since when they are there.
    Old(Arc<Keys>, u64),
    /// Nothing came the last time, which was just now.
    Failed,
    Nothing,
}

fn look(name: &Name, cache_ms: u64, unknown: Option<&str>, now: u64) -> Found {
    KEPT.with_borrow_mut(|all| {
        let Some(kept) = all.iter_mut().find(|it| it.name == *name) else { return Found::Nothing };
        let Some(keys) = kept.keys.clone() else {
            return if now < kept.asked + REST_MS { Found::Failed } else { Found::Nothing };
        };
        let fresh = now < kept.since.saturating_add(cache_ms) && unknown.is_none_or(|kid| keys.knows(kid));
        // Somebody asks already, or has just asked.
        if fresh || now < kept.asked + RENEWAL_MS_MIN {
            return Found::Fresh(keys);
        }
        kept.asked = now;
        Found::Old(keys, kept.since)
    })
}

/// Asks, and reads the answer. What goes wrong is logged.
async fn fetch(source: &Source, ex: &mut Exchange) -> Result<Arc<Keys>, ()> {
    let (shown, brought) = match source {
        Source::Inside(uri) => {
            let uri = uri.fill_new(ex);
            (String::from_utf8_lossy(&uri).into_owned(), inside(&uri, ex).await)
        }
        Source::Web { url, agent, resolvers } => {
            let fields = ["Accept: application/json".to_owned()];
            let answer = agent.send(resolvers.as_deref(), "GET", url, &fields, b"").await;
            let brought = match answer {
                Ok(answer) if answer.status == 200 => Ok(answer.body),
                Ok(answer) => Err(format!("was answered with status {}", answer.status)),
                Err(why) => Err(format!("had no answer: {why}")),
            };
            (format!("{}{}", url.authority(), url.path), brought)
        }
    };
    let keys = brought.and_then(|text| {
        let keys = Keys::parse(&text).map_err(|why| format!("brought no set of keys: {why}"))?;
        match keys.remarks.first() {
            _ if !keys.is_empty() => Ok(keys),
            Some(why) => Err(format!("brought no key that can be used: {why}")),
            None => Err("brought no keys".to_owned()),
        }
    });
    keys.map(Arc::new).map_err(|why| log!(ex, Level::Error, "auth_jwt_key_request \"{shown}\" {why}"))
}

/// The body of a request inside.
async fn inside(uri: &[u8], ex: &mut Exchange) -> Result<Vec<u8>, String> {
    let (path, args) = match uri.iter().position(|b| *b == b'?') {
        Some(at) => (&uri[..at], &uri[at + 1..]),
        None => (uri, &b""[..]),
    };
    let fetched = ex.fetch(path, args).await;
    let status = fetched.reply.as_ref().map_or(500, |it| it.status);
    if status != 200 {
        return Err(format!("was answered with status {status}"));
    }
    let mut source = fetched.into_source();
    let mut text = Vec::new();
    loop {
        match next(&mut *source).await {
            Ok(Some(bytes)) if text.len() + bytes.len() <= KEYS_BYTES_MAX => text.extend_from_slice(&bytes),
            Ok(None) => return Ok(text),
            _ => return Err("did not bring the keys whole".to_owned()),
        }
    }
}
