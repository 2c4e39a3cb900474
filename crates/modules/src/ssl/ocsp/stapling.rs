//! `ssl_stapling`: the issuer's word for our own certificates, had before clients ask for it and renewed in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, ErrorLog, Level, Shared, time};
use foregate_net::runtime::{self, Task};
use foregate_net::clock;
use foregate_net::tls::certs::Staple;
use foregate_net::tls::x509::Certificate;
use foregate_net::tls::x509::ocsp::{self, Answer, Signers, Status};
use foregate_upstream::{CommonResolver, Resolvers};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::responder::Responder;
use crate::ssl::Options;

/// A response is replaced so long before its end (seconds), ...
const BEFORE_END_S: i64 = 300;
/// ... after so long at the latest, and at the soonest; all three are nginx's.
const RENEW_S_MAX: i64 = 3600;
const RENEW_S_MIN: i64 = 300;
/// After a failure: so long, twice as long each time, up to `RENEW_S_MIN`.
const RETRY_S: i64 = 5;
/// Responders that are asked at the same time.
const ASKED_MAX: usize = 8;

/// The certificates of a configuration that are looked after; the next one finds what it shares with it.
#[derive(Default)]
struct Stapled(Vec<Arc<Stapling>>);

/// One certificate that is looked after.
pub(super) struct Stapling {
    /// As the configuration names it.
    name: String,
    /// Who is asked, as it is written.
    url: String,
    own: Arc<CertifiedKey>,
    issuer: CertificateDer<'static>,
    pub(super) responder: Responder,
    signers: Signers,
    pub(super) staple: Arc<Staple>,
    /// When the responder is asked next, in seconds since 1970.
    pub(super) due_s: AtomicI64,
    n_failed: AtomicI64,
}

/// Where the responses for `own` will be found; `None`: none can be had, which is said.
pub(in crate::ssl) fn prepare(
    own: &Arc<CertifiedKey>,
    word: &Word,
    trusted: &[CertificateDer<'static>],
    o: &Options,
    cx: &mut Compile<'_>,
) -> Option<Arc<Staple>> {
    match make(own, word, trusted, o, cx) {
        Ok(stapling) => {
            let staple = stapling.staple.clone();
            cx.shared.get_or_default::<Stapled>().0.push(Arc::new(stapling));
            Some(staple)
        }
        Err(why) => {
            cx.warn(Error::at(word.span, format!("\"ssl_stapling\" ignored, {why}")).warn());
            None
        }
    }
}

fn make(
    own: &Arc<CertifiedKey>,
    word: &Word,
    trusted: &[CertificateDer<'static>],
    o: &Options,
    cx: &Compile<'_>,
) -> Result<Stapling, String> {
    let name = cx.conf_path(word).display().to_string();
    let mut stapling = Stapling::of(name, own, trusted, url(o), signers(o))?;
    stapling.responder.look_up().map_err(|why| stapling.wrong(why))?;
    let same = |it: &&Arc<Stapling>| {
        it.own.cert == own.cert
            && it.signers == stapling.signers
            && it.responder.is_same(&stapling.responder)
    };
    if let Some(before) = cx.previous.and_then(|it| it.get::<Stapled>()).and_then(|it| it.0.iter().find(same)) {
        stapling.staple = before.staple.clone();
        stapling.due_s = AtomicI64::new(before.due_s.load(Relaxed));
    }
    Ok(stapling)
}

/// `ssl_stapling_responder`, if there is one.
pub(super) fn url(o: &Options) -> Option<&str> {
    o.stapling_responder.as_ref().map(|it| it.text.as_str()).filter(|it| !it.is_empty())
}

/// `ssl_stapling_verify`
pub(super) fn signers(o: &Options) -> Signers {
    if o.stapling_verify == Some(true) { Signers::Authorized } else { Signers::Anybody }
}

/// Looks after the certificates of a configuration, as long as the tasks live.
pub(in crate::ssl) fn start(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let Some(Stapled(all)) = shared.get::<Stapled>() else { return Vec::new() };
    let resolver = shared.get::<CommonResolver>().and_then(|it| it.0.clone());
    let n_tasks = all.len().min(ASKED_MAX);
    let share = |first: usize| all.iter().skip(first).step_by(n_tasks).cloned().collect();
    (0..n_tasks)
        .map(|first| runtime::spawn(look_after(share(first), resolver.clone(), log.clone())))
        .collect()
}

async fn look_after(all: Vec<Arc<Stapling>>, resolver: Option<Arc<Resolvers>>, log: ErrorLog) {
    while let Some(next) = all.iter().min_by_key(|it| it.due_s.load(Relaxed)) {
        let wait_s = next.due_s.load(Relaxed).saturating_sub(time::now_s());
        if wait_s > 0 {
            // Clocks are set and machines sleep: no sleep is long.
            clock::sleep(Duration::from_secs(wait_s.min(RENEW_S_MIN).unsigned_abs())).await;
            continue;
        }
        next.renew(resolver.as_deref(), &log).await;
    }
}

impl Stapling {
    /// `url`: who is asked, unless it is whom the certificate names. The issuer's certificate stands behind it in its
    /// chain, or among `trusted`.
    ///
    /// # Errors
    /// Why nobody can be asked.
    pub(super) fn of(
        name: String,
        own: &Arc<CertifiedKey>,
        trusted: &[CertificateDer<'static>],
        url: Option<&str>,
        signers: Signers,
    ) -> Result<Stapling, String> {
        let leaf = own.cert.first().and_then(|it| Certificate::parse(it)).ok_or("it cannot be read")?;
        let mut above = own.cert.iter().skip(1).chain(trusted);
        let issuer = above.find(|it| Certificate::parse(it).is_some_and(|it| leaf.is_issued_by(&it)));
        let issuer = issuer.ok_or_else(|| format!("issuer certificate not found for certificate \"{name}\""))?;
        let url = url.or_else(|| leaf.ocsp_url());
        let url = url.ok_or_else(|| format!("no OCSP responder URL in the certificate \"{name}\""))?;
        let responder = Responder::parse(url).map_err(|why| wrong(why, url, &name))?;
        Ok(Stapling {
            own: own.clone(),
            issuer: issuer.clone(),
            url: url.to_owned(),
            responder,
            signers,
            staple: Arc::default(),
            due_s: AtomicI64::new(0),
            n_failed: AtomicI64::new(0),
            name,
        })
    }

    fn wrong(&self, why: &str) -> String {
        wrong(why, &self.url, &self.name)
    }

    pub(super) async fn renew(&self, resolver: Option<&Resolvers>, log: &ErrorLog) {
        let pause_s = match self.ask(resolver).await {
            Ok(answer) => {
                self.n_failed.store(0, Relaxed);
                let end_s = answer.valid_until_s.unwrap_or(i64::MAX);
                let left_s = end_s.saturating_sub(BEFORE_END_S).saturating_sub(time::now_s());
                left_s.clamp(RENEW_S_MIN, RENEW_S_MAX)
            }
            Err(why) => {
                let (host, name) = (&self.responder.host, &self.name);
                let tail = "while requesting certificate status";
                let text = format!("{why} {tail}, responder: {host}, certificate: \"{name}\"");
                log.write(Level::Error, &text);
                let n = self.n_failed.fetch_add(1, Relaxed);
                (RETRY_S << n.clamp(0, 16)).min(RENEW_S_MIN)
            }
        };
        self.due_s.store(time::now_s() + pause_s, Relaxed);
    }

    async fn ask(&self, resolver: Option<&Resolvers>) -> Result<Answer, String> {
        let own = self.own.cert.first().and_then(|it| Certificate::parse(it)).ok_or("it cannot be read")?;
        let issuer = Certificate::parse(&self.issuer).ok_or("its issuer cannot be read")?;
        let response = self.responder.ask(&ocsp::question(&own, &issuer), resolver).await?;
        let answer = ocsp::read(&response, &own, &issuer, self.signers, time::now_s());
        let answer = answer.map_err(|why| why.to_string())?;
        match answer.status {
            Status::Good => {
                let until_s = answer.valid_until_s.map_or(u64::MAX, i64::unsigned_abs);
                self.staple.put(&self.own, response, until_s);
                Ok(answer)
            }
            Status::Revoked => Err("certificate status \"revoked\" in the OCSP response".to_owned()),
            Status::Unknown => Err("certificate status \"unknown\" in the OCSP response".to_owned()),
        }
    }
}

fn wrong(why: &str, url: &str, name: &str) -> String {
    format!("{why} in OCSP responder \"{url}\" in the certificate \"{name}\"")
}
