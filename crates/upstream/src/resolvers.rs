//! The name servers of a configuration, and each thread's own resolver for them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_conf::{Error, Word, value};
use foregate_net::Addr;
use foregate_net::dns::{ResolveError, Resolver, ResolverSpec, Service};
use foregate_net::names;

use crate::address::Address;

/// Which name servers are asked, and for how long an answer is waited for.
pub struct Resolvers {
    pub spec: ResolverSpec,
    pub timeout: Duration,
}

/// The name servers of the http block, for groups that name none; shared by the whole configuration.
#[derive(Default)]
pub struct CommonResolver(pub Option<Arc<Resolvers>>);

/// The port of name servers (RFC 1035).
const PORT: u16 = 53;

/// Different sets of name servers that one thread remembers answers of.
const RESOLVERS_MAX: usize = 64;

thread_local! {
    static MINE: RefCell<Vec<Resolver>> = const { RefCell::new(Vec::new()) };
}

impl Resolvers {
    fn new(timeout: Duration) -> Self {
        let spec = ResolverSpec { servers: Vec::new(), valid: None, ipv4: true, ipv6: true };
        Self { spec, timeout }
    }

    /// Reads the arguments of `resolver`.
    ///
    /// # Errors
    /// In nginx's words.
    pub fn read(words: &[Word], timeout: Duration) -> Result<Self, Error> {
        let mut resolvers = Self::new(timeout);
        for word in words {
            let invalid = || Error::at(word.span, format!("invalid parameter: {word}"));
            match word.split_once('=') {
                Some(("valid", time)) => {
                    let time = value::time_s(time).ok_or_else(invalid)?;
                    resolvers.spec.valid = Some(Duration::from_secs(time));
                }
                Some(("ipv4", flag)) => resolvers.spec.ipv4 = on_off(flag).ok_or_else(invalid)?,
                Some(("ipv6", flag)) => resolvers.spec.ipv6 = on_off(flag).ok_or_else(invalid)?,
                Some(("status_zone", _)) => {}
                _ => {
                    let bad = |why| Error::at(word.span, format!("{why} in resolver \"{word}\""));
                    resolvers.add(word, PORT).map_err(bad)?;
                }
            }
        }
        let fail =
            |what: &str| Err(Error::at(words.first().map_or_else(Default::default, |it| it.span), what));
        match () {
            () if !resolvers.spec.ipv4 && !resolvers.spec.ipv6 => {
                fail("\"ipv4\" and \"ipv6\" cannot both be \"off\"")
            }
            () if resolvers.spec.servers.is_empty() => fail("no name servers defined"),
            () => Ok(resolvers),
        }
    }

    /// Adds a name server; a name is looked up by the system's resolver, once.
    ///
    /// # Errors
    /// nginx's words for what is wrong with the address.
    fn add(&mut self, written: &str, port: u16) -> Result<(), &'static str> {
        let address = Address::parse(written, port, false)?;
        match &address.fixed {
            Some(Addr::Ip(addr)) => self.spec.servers.push(*addr),
            Some(Addr::Unix(_)) => return Err("invalid host"),
            None => {
                let found = names::look_up(&address.host, address.port);
                self.spec.servers.extend(found.map_err(|_| "host not found")?);
            }
        }
        Ok(())
    }

    /// The addresses of a name that a request named.
    ///
    /// # Errors
    /// The name servers know none, or do not answer in time.
    pub async fn resolve(&self, name: &str, port: u16) -> Result<Vec<Addr>, ResolveError> {
        Ok(self.resolve_until(name, port).await?.0)
    }

    /// The same with the time until which the answer holds.
    pub(crate) async fn resolve_until(
        &self,
        name: &str,
        port: u16,
    ) -> Result<(Vec<Addr>, Instant), ResolveError> {
        let answer = self.mine().resolve(name, self.timeout).await?;
        let addrs = answer.addrs.iter().map(|ip| Addr::Ip(SocketAddr::new(*ip, port)));
        Ok((addrs.collect(), answer.valid_until))
    }

    pub(crate) async fn services(&self, name: &str) -> Result<(Vec<Service>, Instant), ResolveError> {
        self.mine().services(name, self.timeout).await
    }

    /// This thread's resolver: it survives reloads that leave the name servers alone.
    fn mine(&self) -> Resolver {
        MINE.with_borrow_mut(|mine| {
            if let Some(resolver) = mine.iter().find(|it| *it.spec() == self.spec) {
                return resolver.clone();
            }
            if mine.len() >= RESOLVERS_MAX {
                mine.remove(0);
            }
            let resolver = Resolver::new(self.spec.clone());
            mine.push(resolver.clone());
            resolver
        })
    }
}

fn on_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
