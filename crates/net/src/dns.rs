//! Name resolution: a stub resolver with a cache for nginx's `resolver`, and the C library's for everything else.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::{clock, runtime};
use message::{Kind, Record};
use query::QueryError;

mod message;
mod query;

/// Names one thread remembers per resolver. When there are more, those that have expired go, then any.
const NAMES_MAX: usize = 4096;

/// CNAME steps that need a query of their own.
const ALIASES_MAX: usize = 8;

/// What nginx's `resolver` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSpec {
    /// Name servers, asked in turn.
    pub servers: Vec<SocketAddr>,
    /// `valid=`: how long answers are kept, whatever they say themselves.
    pub valid: Option<Duration>,
    /// `ipv4=` and `ipv6=`.
    pub ipv4: bool,
    pub ipv6: bool,
}

/// Why a name has no address: the codes and words of nginx's `could not be resolved (3: Host not found)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    Format,
    ServerFailure,
    NotFound,
    Unimplemented,
    Refused,
    TimedOut,
}

impl ResolveError {
    fn from_rcode(code: u8) -> ResolveError {
        match code {
            1 => ResolveError::Format,
            3 => ResolveError::NotFound,
            4 => ResolveError::Unimplemented,
            5 => ResolveError::Refused,
            _ => ResolveError::ServerFailure,
        }
    }

    pub fn code(self) -> u32 {
        match self {
            ResolveError::Format => 1,
            ResolveError::ServerFailure => 2,
            ResolveError::NotFound => 3,
            ResolveError::Unimplemented => 4,
            ResolveError::Refused => 5,
            ResolveError::TimedOut => 110,
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            ResolveError::Format => "Format error",
            ResolveError::ServerFailure => "Server failure",
            ResolveError::NotFound => "Host not found",
            ResolveError::Unimplemented => "Unimplemented",
            ResolveError::Refused => "Operation refused",
            ResolveError::TimedOut => "Operation timed out",
        };
        write!(f, "{}: {text}", self.code())
    }
}

impl std::error::Error for ResolveError {}

/// The addresses of a name, IPv4 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub addrs: Rc<[IpAddr]>,
    /// When to ask again.
    pub valid_until: Instant,
}

/// One target of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// A resolver of one thread. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Resolver {
    inner: Rc<Inner>,
}

struct Inner {
    spec: ResolverSpec,
    names: RefCell<HashMap<Box<str>, Entry>>,
    /// The server to begin with: each name takes the next.
    turn: Cell<usize>,
}

enum Entry {
    Known(Answer),
    Asking(Rc<Asking>),
}

/// A query under way, and those who wait for it.
#[derive(Default)]
struct Asking {
    outcome: RefCell<Option<Result<Answer, ResolveError>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Resolver {
    pub fn new(spec: ResolverSpec) -> Resolver {
        Resolver { inner: Rc::new(Inner { spec, names: RefCell::default(), turn: Cell::new(0) }) }
    }

    pub fn spec(&self) -> &ResolverSpec {
        &self.inner.spec
    }

    /// The addresses of `name`, waiting for `limit` at most (nginx: resolver_timeout). Those who ask for the same name
    /// at the same time wait for the same answer; it is kept even if nobody waits any more.
    pub async fn resolve(&self, name: &str, limit: Duration) -> Result<Answer, ResolveError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(addr) = name.parse::<IpAddr>() {
            return Ok(Answer {
                addrs: Rc::new([addr]),
                valid_until: clock::now() + Duration::from_secs(86_400),
            });
        }
        let asking = match self.inner.names.borrow().get(&*name) {
            Some(Entry::Known(answer)) if answer.valid_until > clock::now() => return Ok(answer.clone()),
            Some(Entry::Asking(asking)) => Some(asking.clone()),
            _ => None,
        };
        let asking = asking.unwrap_or_else(|| self.start(name));
        clock::timeout(limit, asking.wait()).await.unwrap_or(Err(ResolveError::TimedOut))
    }

    /// The targets of a service such as `_http._tcp.example.org`, by priority.
    pub async fn services(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<(Vec<Service>, Instant), ResolveError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let asked = clock::timeout(limit, self.inner.ask(&name, Kind::Srv)).await;
        let (records, ttl_s) = asked.unwrap_or(Err(ResolveError::TimedOut))?;
        let mut services: Vec<Service> = records.into_iter().filter_map(Record::service).collect();
        services.sort();
        Ok((services, self.inner.valid_until(ttl_s)))
    }

    fn start(&self, name: String) -> Rc<Asking> {
        let asking = Rc::new(Asking::default());
        self.inner.make_room();
        self.inner.names.borrow_mut().insert(name.clone().into(), Entry::Asking(asking.clone()));
        let (inner, told) = (self.inner.clone(), asking.clone());
        runtime::spawn(async move {
            let outcome = inner.look_up(&name).await;
            match &outcome {
                Ok(answer) => inner.names.borrow_mut().insert(name.into(), Entry::Known(answer.clone())),
                // As nginx: a failure is not remembered.
                Err(_) => inner.names.borrow_mut().remove(&*name),
            };
            told.finish(outcome);
        });
        asking
    }
}

impl Asking {
    async fn wait(&self) -> Result<Answer, ResolveError> {
        poll_fn(|cx| match &*self.outcome.borrow() {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    fn finish(&self, outcome: Result<Answer, ResolveError>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// What one answer says.
struct Step {
    records: Vec<Record>,
    /// Where its aliases end.
    alias: Option<String>,
    ttl_s: u32,
}

impl Inner {
    /// Asks for both kinds of addresses at once and, while there are none, for those of the alias. As in nginx, what
    /// has addresses of one kind is not looked for further, and an error for either kind is one for the name.
    async fn look_up(&self, name: &str) -> Result<Answer, ResolveError> {
        let first = self.next_server();
        let (mut name, mut ttl_s) = (name.to_string(), u32::MAX);
        for _ in 0..ALIASES_MAX {
            let v4 =
                async { if self.spec.ipv4 { Some(self.step(first, &name, Kind::A).await) } else { None } };
            let v6 =
                async { if self.spec.ipv6 { Some(self.step(first, &name, Kind::Aaaa).await) } else { None } };
            let (v4, v6) = both(v4, v6).await;
            let (mut addrs, mut alias): (Vec<IpAddr>, _) = (Vec::new(), None);
            for step in [v4, v6].into_iter().flatten() {
                let step = match step {
                    Err(ResolveError::NotFound) => continue,
                    other => other?,
                };
                ttl_s = ttl_s.min(step.ttl_s);
                addrs.extend(step.records.iter().filter_map(Record::addr));
                // The answer to the last question decides, as in nginx: no alias there, no other name to ask for.
                alias = step.alias;
            }
            if !addrs.is_empty() {
                return Ok(Answer { addrs: addrs.into(), valid_until: self.valid_until(ttl_s) });
            }
            name = alias.ok_or(ResolveError::NotFound)?;
        }
        Err(ResolveError::NotFound)
    }

    /// The records of one kind, following aliases, and the shortest time to live of all that was used.
    async fn ask(&self, name: &str, kind: Kind) -> Result<(Vec<Record>, u32), ResolveError> {
        let first = self.next_server();
        let (mut name, mut ttl_s) = (name.to_string(), u32::MAX);
        for _ in 0..ALIASES_MAX {
            let step = self.step(first, &name, kind).await?;
            ttl_s = ttl_s.min(step.ttl_s);
            match step.alias {
                Some(alias) if step.records.is_empty() => name = alias,
                _ => return Ok((step.records, ttl_s)),
            }
        }
        Err(ResolveError::NotFound)
    }

    /// One question and its answer, with the aliases that the answer itself follows.
    async fn step(&self, first: usize, name: &str, kind: Kind) -> Result<Step, ResolveError> {
        let response = match query::ask(&self.spec.servers, first, name, kind).await {
            Ok(response) => response,
            Err(QueryError::BadName) => return Err(ResolveError::NotFound),
            Err(QueryError::TimedOut) => return Err(ResolveError::TimedOut),
            Err(QueryError::Code(code)) => return Err(ResolveError::from_rcode(code)),
        };
        let (end, records, ttl_s) = response.follow(name, kind);
        Ok(Step { records, alias: (end != name).then_some(end), ttl_s })
    }

    /// The server that a name is asked of first: each name takes the next.
    fn next_server(&self) -> usize {
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        first
    }

    fn valid_until(&self, ttl_s: u32) -> Instant {
        clock::now() + self.spec.valid.unwrap_or(Duration::from_secs(u64::from(ttl_s)))
    }

    fn make_room(&self) {
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            let now = clock::now();
            names.retain(|_, entry| !matches!(entry, Entry::Known(answer) if answer.valid_until <= now));
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, entry| matches!(entry, Entry::Asking(_)));
        }
    }
}

/// Runs two futures side by side.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// What the C library says (hosts file included), without blocking the thread. Fails when the name is not known.
pub async fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let name = name.to_string();
    runtime::blocking(move || system_now(&name)).await
}

/// Asks these name servers, one after the other, blocking: for threads that do nothing else. `patience` is for each
/// question.
///
/// # Errors
/// None of them has an address for the name.
pub fn ask_now(servers: &[SocketAddr], name: &str, patience: Duration) -> io::Result<Vec<IpAddr>> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let mut why = io::Error::from(io::ErrorKind::NotFound);
    for server in servers {
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            match ask_one(*server, &name, kind, patience) {
                Ok(addrs) => found.extend(addrs),
                Err(error) => why = error,
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(why)
}

fn ask_one(server: SocketAddr, name: &str, kind: Kind, patience: Duration) -> io::Result<Vec<IpAddr>> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::ErrorKind::Other)?;
    let query =
        message::write_query(u16::from_be_bytes(id), name, kind).ok_or(io::ErrorKind::InvalidInput)?;
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&query)?;
    let until = Instant::now() + patience;
    let mut bytes = [0; 4096];
    loop {
        // Answers to other questions, which anybody may send, do not make it longer.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let n = socket.recv(&mut bytes)?;
        let Some(response) = message::read_response(&bytes[..n], &query) else { continue };
        let (_, records, _) = response.follow(name, kind);
        return Ok(records.iter().filter_map(Record::addr).collect());
    }
}

/// As `system`, blocking: for reading a configuration.
pub fn system_now(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addrs: Vec<IpAddr> = Vec::new();
    for addr in (name, 0).to_socket_addrs()? {
        if !addrs.contains(&addr.ip()) {
            addrs.push(addr.ip());
        }
    }
    Ok(addrs)
}
