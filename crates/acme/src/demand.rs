//! Certificates on demand: for names that nobody has written down, ordered when a visitor first comes for one, if an
//! address of the operator's says so.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::failure::Failure;
use crate::http::{Http, Trust};
use crate::issuer::{Challenge, Identifier, Issuer, Wish};
use crate::keeper::Message;
use crate::key::Kind;
use crate::slot::Slot;

/// Names that are asked about or ordered at the same time; whoever comes for another one is refused.
const PENDING_MAX: usize = 64;
/// Handshakes that wait for a certificate at the same time.
const WAITING_MAX: usize = 1024;
/// A name that was refused is not asked about again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Refused names that are remembered.
const REFUSED_MAX: usize = 4096;
const HOUR: Duration = Duration::from_secs(3600);

const PENDING: u8 = 0;
const READY: u8 = 1;
const FAILING: u8 = 2;

/// What is written of it in a configuration.
#[derive(Clone, Debug)]
pub struct DemandRules {
    /// Asked with `?domain=NAME`; 2xx means yes.
    pub ask: String,
    pub issuer: Arc<Issuer>,
    /// The most names.
    pub names_max: usize,
    /// The most certificates for new names in an hour.
    pub per_hour: usize,
}

/// The names of one such server; kept over reloads.
pub struct OnDemand {
    pub(crate) rules: DemandRules,
    rest: OnceLock<(Challenge, Vec<SocketAddr>)>,
    known: RwLock<HashMap<String, Arc<Named>>>,
    refused: Mutex<VecDeque<(String, Instant)>>,
    /// When orders for new names were begun, within the last hour.
    ordered: Mutex<VecDeque<Instant>>,
    keeper: Mutex<Option<Sender<Message>>>,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Named {
    slot: Arc<Slot>,
    state: AtomicU8,
}

/// What a handshake for a name is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Go on: there is a certificate.
    Ready,
    /// Wait a little and look again.
    Pending,
    /// Nobody is served under this name.
    No,
}

/// A place among those who wait.
pub struct Waiting<'a>(&'a OnDemand);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OnDemand {
    pub fn new(rules: DemandRules) -> OnDemand {
        OnDemand {
            rules,
            rest: OnceLock::new(),
            known: RwLock::default(),
            refused: Mutex::default(),
            ordered: Mutex::default(),
            keeper: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// What the rest of the configuration says: how names are proven, and who is asked for addresses.
    pub fn complete(&self, challenge: Challenge, name_servers: Vec<SocketAddr>) {
        _ = self.rest.set((challenge, name_servers));
    }

    /// Whether a name can be served. The first one who asks sets things going.
    pub fn look(self: &Arc<Self>, name: &str) -> Look {
        if let Some(named) = self.named(name) {
            return match named.state.load(Ordering::Acquire) {
                PENDING => Look::Pending,
                READY => Look::Ready,
                _ => Look::No,
            };
        }
        let sound = matches!(Identifier::read(name), Some(it @ Identifier::Dns(_))
            if !it.is_wildcard() && (self.rules.issuer.uri.is_none() || it.is_public()));
        if sound && !self.is_refused(name) && self.begin(name) { Look::Pending } else { Look::No }
    }

    /// `None`: too many wait already.
    pub fn wait(&self) -> Option<Waiting<'_>> {
        let place = Waiting(self);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(place)
    }

    fn named(&self, name: &str) -> Option<Arc<Named>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn is_refused(&self, name: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        while refused.front().is_some_and(|(_, at)| at.elapsed() > REFUSED_FOR) {
            refused.pop_front();
        }
        refused.iter().any(|(it, _)| it == name)
    }

    fn begin(self: &Arc<Self>, name: &str) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let n_pending = known.values().filter(|it| it.state.load(Ordering::Relaxed) == PENDING).count();
        if known.len() >= self.rules.names_max || n_pending >= PENDING_MAX {
            return known.contains_key(name);
        }
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let sent =
            keeper.as_ref().is_some_and(|it| it.send(Message::Demand(self.clone(), name.to_owned())).is_ok());
        if sent {
            known.entry(name.to_owned()).or_default();
        }
        sent
    }

    /// Demands go to this keeper from now on.
    pub(crate) fn served_by(&self, keeper: &Sender<Message>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.clone());
    }

    /// The wish for a name that was demanded.
    pub(crate) fn wish(&self, name: &str) -> Option<Wish> {
        let slot = self.named(name)?.slot.clone();
        let (challenge, name_servers) = self.rest.get()?.clone();
        let names = vec![Identifier::read(name)?];
        Some(Wish {
            issuer: self.rules.issuer.clone(),
            names,
            key: Kind::default(),
            challenge,
            name_servers,
            slot,
        })
    }

    /// Asks the operator's address whether the name may have a certificate, and counts it if so. Blocks.
    ///
    /// # Errors
    /// It cannot be asked, or there are too many new names.
    pub(crate) fn allows(&self, name: &str, name_servers: &[SocketAddr]) -> Result<bool, Failure> {
        let ask = &self.rules.ask;
        let trust = if ask.starts_with("https:") { Trust::System } else { Trust::Anybody };
        let mark = if ask.contains('?') { '&' } else { '?' };
        let url = format!("{ask}{mark}domain={name}");
        let answer = Http::new(&trust)?.asking(name_servers).send("GET", &url, &[], b"")?;
        if !(200..300).contains(&answer.status) {
            return Ok(false);
        }
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        while ordered.front().is_some_and(|at| at.elapsed() > HOUR) {
            ordered.pop_front();
        }
        if ordered.len() >= self.rules.per_hour {
            let what = format!("{} new names within an hour are the most", self.rules.per_hour);
            let mut failure = Failure::own(what);
            failure.retry_after = ordered.front().map(|at| HOUR.saturating_sub(at.elapsed()));
            return Err(failure);
        }
        ordered.push_back(Instant::now());
        Ok(true)
    }

    /// There is a certificate now.
    pub(crate) fn succeeded(&self, name: &str) {
        if let Some(named) = self.named(name) {
            named.state.store(READY, Ordering::Release);
        }
    }

    /// There is none yet; those who come meanwhile are not kept waiting.
    pub(crate) fn failed(&self, name: &str) {
        if let Some(named) = self.named(name)
            && named.slot.get().is_none()
        {
            named.state.store(FAILING, Ordering::Release);
        }
    }

    /// The name is to have none.
    pub(crate) fn refuse(&self, name: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REFUSED_MAX {
            refused.pop_front();
        }
        refused.push_back((name.to_owned(), Instant::now()));
    }
}

impl ResolvesServerCert for OnDemand {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        Some(self.named(name.trim_end_matches('.'))?.slot.get()?.certified.clone())
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnDemand({:?})", self.rules)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::issuer::AccountKey;

    pub(crate) fn issuer() -> Issuer {
        Issuer {
            name: "internal".into(),
            uri: None,
            account_key: AccountKey::Made(Kind::default()),
            contacts: Vec::new(),
            accepts_terms: true,
            challenge: None,
            dns: None,
            external_account: None,
            trust: Trust::Anybody,
            profile: None,
            preferred_chain: None,
            state: None,
            common_name_in_csr: false,
            fallback: None,
            lifetime: Duration::from_secs(60),
        }
    }

    fn on_demand(names_max: usize) -> (Arc<OnDemand>, std::sync::mpsc::Receiver<Message>) {
        let ask = "http://127.0.0.1:1/ask".to_owned();
        let rules = DemandRules { ask, issuer: Arc::new(issuer()), names_max, per_hour: 10 };
        let demand = Arc::new(OnDemand::new(rules));
        let (sender, receiver) = std::sync::mpsc::channel();
        demand.served_by(&sender);
        demand.complete(Challenge::Http01, Vec::new());
        (demand, receiver)
    }

    #[test]
    fn names_are_demanded_once_and_are_bounded() {
        let (demand, receiver) = on_demand(2);
        assert_eq!((demand.look("a.test"), demand.look("a.test")), (Look::Pending, Look::Pending));
        assert_eq!(receiver.try_iter().count(), 1);
        assert_eq!(
            (demand.look("*.test"), demand.look("127.0.0.1"), demand.look("")),
            (Look::No, Look::No, Look::No)
        );
        assert_eq!(demand.look("b.test"), Look::Pending);
        assert_eq!(demand.look("c.test"), Look::No, "two are the most");
        demand.refuse("b.test");
        assert_eq!(demand.look("b.test"), Look::No, "and is not asked about again");
        assert_eq!(demand.look("c.test"), Look::Pending, "there is room again");
        demand.failed("c.test");
        assert_eq!(demand.look("c.test"), Look::No);
        demand.succeeded("a.test");
        assert_eq!(demand.look("a.test"), Look::Ready);
        assert!(demand.allows("a.test", &[]).is_err(), "nobody is there to be asked");
    }
}
