//! `ssl_stapling` for certificates that come while we serve, by ACME or by variables: when a client has been shown one,
//! its issuer is asked for those who come after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use foregate_core::{Compile, ErrorLog, Level, Shared, time};
use foregate_net::clock;
use foregate_net::runtime::{self, Task};
use foregate_net::tls::x509::Certificate;
use foregate_net::tls::x509::ocsp::Signers;
use foregate_upstream::{CommonResolver, Resolvers};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::stapling::{self, Stapling};
use crate::ssl::Options;

/// Certificates that are followed at the same time; others are shown as they are.
const FOLLOWED_MAX: usize = 1024;
/// One that no client was shown for so long gives its place to another (seconds).
const UNUSED_S: i64 = 86_400;
/// How often it is looked whether there is somebody to be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Key = [u8; digest::SHA256_OUTPUT_LEN];

/// What is asked about such certificates, and of whom; servers with the same settings share it.
pub(in crate::ssl) struct Followed {
    /// `ssl_stapling_responder`
    url: Option<String>,
    trusted: Vec<CertificateDer<'static>>,
    signers: Signers,
    known: RwLock<HashMap<Key, Arc<One>>>,
}

/// One certificate.
struct One {
    own: Arc<CertifiedKey>,
    /// When a client was shown it, in seconds since 1970.
    shown_s: AtomicI64,
    /// Set once it has been looked at; `None` inside: nobody can be asked about it.
    stapling: OnceLock<Option<Stapling>>,
}

/// All of a configuration, by what is written; the next one finds what it shares with it.
#[derive(Default)]
struct All(HashMap<String, Arc<Followed>>);

impl Followed {
    pub(in crate::ssl) fn of(
        o: &Options,
        trusted: &[CertificateDer<'static>],
        cx: &mut Compile<'_>,
    ) -> Arc<Followed> {
        let url = stapling::url(o).map(str::to_owned);
        let signers = stapling::signers(o);
        let id = format!("{url:?} {signers:?} {trusted:?}");
        let before = cx.previous.and_then(|it| it.get::<All>()).and_then(|it| it.0.get(&id)).cloned();
        let fresh = || Arc::new(Followed { url, trusted: trusted.to_vec(), signers, known: RwLock::default() });
        let all = &mut cx.shared.get_or_default::<All>().0;
        all.entry(id).or_insert_with(|| before.unwrap_or_else(fresh)).clone()
    }

    /// A certificate as clients are to see it now.
    pub(in crate::ssl) fn stapled(&self, own: Arc<CertifiedKey>) -> Arc<CertifiedKey> {
        let Some(der) = own.cert.first() else { return own };
        let mut key = Key::default();
        key.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match known {
            Some(one) => {
                one.shown_s.store(time::now_s(), Relaxed);
                one.stapling.get().and_then(Option::as_ref).and_then(|it| it.staple.get()).unwrap_or(own)
            }
            None => {
                self.follow(key, &own);
                own
            }
        }
    }

    fn follow(&self, key: Key, own: &Arc<CertifiedKey>) {
        let now_s = time::now_s();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FOLLOWED_MAX {
            known.retain(|_, it| it.shown_s.load(Relaxed) > now_s - UNUSED_S);
        }
        if known.len() < FOLLOWED_MAX {
            let one = One { own: own.clone(), shown_s: AtomicI64::new(now_s), stapling: OnceLock::new() };
            known.entry(key).or_insert_with(|| Arc::new(one));
        }
    }

    /// The certificates whose issuers are to be asked now.
    fn due(&self) -> Vec<Arc<One>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|it| it.is_due()).cloned().collect()
    }

    /// Asks about one certificate.
    async fn attend(&self, one: &One, resolver: Option<&Resolvers>, log: &ErrorLog) {
        if one.stapling.get().is_none() {
            let made = match Stapling::of(shown_as(&one.own), &one.own, &self.trusted, self.url.as_deref(), self.signers) {
                Ok(mut made) => {
                    made.responder.by_system = true;
                    Some(made)
                }
                Err(why) => {
                    log.write(Level::Info, &format!("\"ssl_stapling\" ignored, {why}"));
                    None
                }
            };
            // Nobody else sets it.
            _ = one.stapling.set(made);
        }
        if let Some(Some(stapling)) = one.stapling.get() {
            stapling.renew(resolver, log).await;
        }
    }
}

impl One {
    fn is_due(&self) -> bool {
        match self.stapling.get() {
            None => true,
            Some(stapling) => stapling.as_ref().is_some_and(|it| it.due_s.load(Relaxed) <= time::now_s()),
        }
    }
}

/// What a log calls it: it has no file.
fn shown_as(own: &CertifiedKey) -> String {
    let leaf = own.cert.first().and_then(|it| Certificate::parse(it));
    leaf.map_or_else(String::new, |it| format!("{} {}", it.serial(), it.subject.rfc2253()).trim_end().to_owned())
}

/// Asks as long as the tasks live.
pub(in crate::ssl) fn start(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let Some(All(all)) = shared.get::<All>() else { return Vec::new() };
    let resolver = shared.get::<CommonResolver>().and_then(|it| it.0.clone());
    let each = all.values().map(|it| runtime::spawn(look_after(it.clone(), resolver.clone(), log.clone())));
    each.collect()
}

async fn look_after(followed: Arc<Followed>, resolver: Option<Arc<Resolvers>>, log: ErrorLog) {
    loop {
        for one in followed.due() {
            followed.attend(&one, resolver.as_deref(), &log).await;
        }
        clock::sleep(LOOK_EVERY).await;
    }
}

/// Somebody else's certificates, followed.
pub(in crate::ssl) struct Following {
    pub(in crate::ssl) certificates: Arc<dyn ResolvesServerCert>,
    pub(in crate::ssl) followed: Arc<Followed>,
}

impl ResolvesServerCert for Following {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.resolve(hello).map(|own| self.followed.stapled(own))
    }
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Following({:?})", self.certificates)
    }
}
