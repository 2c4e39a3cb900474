//! `ssl_ocsp`: whether clients' certificates still hold, asked of their issuers while the client waits.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::{Args, Compile, Exchange, Level, Scope, ZoneNames, ZoneSpec, duplicate, log, time};
use foregate_net::tls::x509::ocsp::{self, Signers, Status};
use foregate_net::tls::x509::{Certificate, Failure, STATUS_NOT_HAD, STATUS_REVOKED, STATUS_UNKNOWN};
use foregate_upstream::Resolvers;

use super::responder::Responder;
use crate::ssl::Options;

pub(in crate::ssl) const ARGS: Args = Args::Exactly(1);
/// `ssl_ocsp`
pub(in crate::ssl) const WHOM: &[&str] = &["off", "on", "leaf"];
const LEAF: usize = 2;
/// Memory that one kept status takes.
const STATUS_BYTES: u64 = 128;
/// Questions of one thread that are under way at the same time; a client beyond them is refused.
const ASKED_MAX: usize = 256;
/// A status without an end is kept for so long (seconds).
const ENDLESS_S: i64 = 3600;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// What is asked about clients, and whom.
pub(in crate::ssl) struct Asking {
    leaf_only: bool,
    /// `None`: whom the certificates name.
    responder: Option<Responder>,
    cache: Option<Arc<Statuses>>,
}

/// `ssl_ocsp_cache`: statuses by certificate and issuer, shared by all threads, kept until their end.
pub(in crate::ssl) struct Statuses {
    kept: Mutex<HashMap<Key, (Status, i64)>>,
    max: usize,
}

type Key = [u8; digest::SHA256_OUTPUT_LEN];

/// The caches by name; kept over reloads.
#[derive(Default)]
struct Zones(HashMap<String, (u64, Arc<Statuses>)>);

/// `off | shared:NAME:SIZE`
pub(in crate::ssl) fn read_cache(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.ocsp_cache.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let wrong = || Error::at(word.span, format!("invalid OCSP cache \"{word}\""));
    o.ocsp_cache = Some(match word.strip_prefix("shared:") {
        None if word.text == "off" => None,
        None => return Err(wrong()),
        Some(zone) => {
            let (name, size) = zone.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
            let bytes = values::size(size).ok_or_else(wrong)?;
            if bytes < crate::ssl::read::ZONE_BYTES_MIN {
                let what = format!("OCSP cache \"{word}\" is too small");
                return Err(Error::at(word.span, what).advise("32k is the least"));
            }
            Some((ZoneSpec { name: name.to_owned(), bytes }, word.clone()))
        }
    });
    Ok(())
}

pub(in crate::ssl) fn cache_inherit(o: &mut Options, outer: &Options) {
    if o.ocsp_cache.is_none() {
        o.ocsp_cache.clone_from(&outer.ocsp_cache);
    }
}

impl Asking {
    pub(in crate::ssl) fn compile(o: &Options, cx: &mut Compile<'_>) -> Result<Option<Asking>, Error> {
        let whom = o.ocsp.unwrap_or(0);
        if whom == 0 {
            return Ok(None);
        }
        let responder = match o.ocsp_responder.as_ref().filter(|it| !it.is_empty()) {
            Some(word) => Some(named(word)?),
            None => None,
        };
        let cache = match o.ocsp_cache.as_ref().and_then(Option::as_ref) {
            Some((spec, word)) => {
                cx.shared.get_or_default::<ZoneNames>().declare(spec, "ssl_ocsp_cache", word.span)?;
                Some(zone(spec, cx))
            }
            None => None,
        };
        Ok(Some(Asking { leaf_only: whom == LEAF, responder, cache }))
    }

    /// Asks about the certificates of a chain that holds, from the client's own up to the authority, which is
    /// believed without asking.
    pub(in crate::ssl) async fn ask(
        &self,
        path: &[Vec<u8>],
        resolver: Option<&Resolvers>,
        ex: &Exchange,
    ) -> Result<(), Failure> {
        for pair in path.windows(2).take(if self.leaf_only { 1 } else { usize::MAX }) {
            let [own, issuer] = pair else { continue };
            let (Some(own), Some(issuer)) = (Certificate::parse(own), Certificate::parse(issuer)) else {
                return Err(STATUS_NOT_HAD);
            };
            match self.status(&own, &issuer, resolver, ex).await {
                Ok(Status::Good) => (),
                Ok(Status::Revoked) => return Err(STATUS_REVOKED),
                Ok(Status::Unknown) => return Err(STATUS_UNKNOWN),
                Err(why) => {
                    log!(ex, Level::Error, "{why} while requesting certificate status");
                    return Err(STATUS_NOT_HAD);
                }
            }
        }
        Ok(())
    }

    async fn status(
        &self,
        own: &Certificate<'_>,
        issuer: &Certificate<'_>,
        resolver: Option<&Resolvers>,
        ex: &Exchange,
    ) -> Result<Status, String> {
        let key = key(own, issuer);
        if let Some(status) = self.cache.as_ref().and_then(|it| it.get(&key)) {
            return Ok(status);
        }
        let theirs;
        let responder = match &self.responder {
            Some(responder) => responder,
            None => {
                let url = own.ocsp_url().ok_or("no OCSP responder URL in certificate")?;
                let read = Responder::parse(url);
                theirs = read.map_err(|why| format!("{why} in OCSP responder \"{url}\" in certificate"))?;
                &theirs
            }
        };
        let _place = Place::take().ok_or("too many OCSP requests are under way")?;
        let response = responder.ask(&ocsp::question(own, issuer), resolver).await?;
        let now_s = time::now_s();
        let answer = ocsp::read(&response, own, issuer, Signers::Authorized, now_s);
        let answer = answer.map_err(|why| why.to_string())?;
        log!(ex, Level::Debug, "ssl ocsp response, {:?}", answer.status);
        if let Some(cache) = &self.cache {
            cache.put(key, answer.status, answer.valid_until_s.unwrap_or(now_s + ENDLESS_S));
        }
        Ok(answer.status)
    }
}

/// `ssl_ocsp_responder`, whose name is looked up with the configuration.
fn named(word: &Word) -> Result<Responder, Error> {
    let wrong = |why: &str| {
        Error::at(word.span, format!("{why} in OCSP responder \"{word}\" in \"ssl_ocsp_responder\""))
    };
    let mut responder = Responder::parse(word).map_err(wrong)?;
    responder.look_up().map_err(wrong)?;
    Ok(responder)
}

fn zone(spec: &ZoneSpec, cx: &mut Compile<'_>) -> Arc<Statuses> {
    let kept = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(&spec.name));
    let kept = kept.filter(|(size, _)| *size == spec.bytes).cloned();
    let zones = &mut cx.shared.get_or_default::<Zones>().0;
    let entry = zones.entry(spec.name.clone());
    entry.or_insert_with(|| kept.unwrap_or_else(|| (spec.bytes, Arc::new(Statuses::new(spec.bytes))))).1.clone()
}

fn key(own: &Certificate<'_>, issuer: &Certificate<'_>) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(issuer.public_key_info);
    hash.update(own.der);
    let mut key = Key::default();
    key.copy_from_slice(hash.finish().as_ref());
    key
}

impl Statuses {
    fn new(bytes: u64) -> Statuses {
        Statuses { kept: Mutex::default(), max: (bytes / STATUS_BYTES) as usize }
    }

    fn get(&self, key: &Key) -> Option<Status> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(_, until_s)| *until_s > time::now_s()).map(|(status, _)| *status)
    }

    /// Where there is no room, what has ended goes, and if nothing has, whatever comes first.
    fn put(&self, key: Key, status: Status, until_s: i64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.max {
            let now_s = time::now_s();
            kept.retain(|_, (_, until_s)| *until_s > now_s);
        }
        if kept.len() >= self.max
            && let Some(first) = kept.keys().next().copied()
        {
            kept.remove(&first);
        }
        kept.insert(key, (status, until_s));
    }
}

/// One question under way.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        let n = ASKED.get();
        (n < ASKED_MAX).then(|| {
            ASKED.set(n + 1);
            Place
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ASKED.set(ASKED.get() - 1);
    }
}
