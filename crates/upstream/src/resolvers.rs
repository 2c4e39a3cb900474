//! The name servers of a configuration, and each thread's own resolver for them.

use std::cell::RefCell;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use foregate_net::Addr;
use foregate_net::dns::{ResolveError, Resolver, ResolverSpec};

use crate::address::Address;

/// Which name servers are asked, and for how long an answer is waited for.
pub struct Resolvers {
    pub spec: ResolverSpec,
    pub timeout: Duration,
}

/// Different sets of name servers that one thread remembers answers of.
const RESOLVERS_MAX: usize = 64;

thread_local! {
    static MINE: RefCell<Vec<Resolver>> = const { RefCell::new(Vec::new()) };
}

impl Resolvers {
    pub fn new(timeout: Duration) -> Self {
        let spec = ResolverSpec { servers: Vec::new(), valid: None, ipv4: true, ipv6: true };
        Self { spec, timeout }
    }

    /// Adds a name server; a name is looked up by the system's resolver, once.
    ///
    /// # Errors
    /// nginx's words for what is wrong with the address.
    pub fn add(&mut self, written: &str, port: u16) -> Result<(), &'static str> {
        let address = Address::parse(written, port, false)?;
        match &address.fixed {
            Some(Addr::Ip(addr)) => self.spec.servers.push(*addr),
            Some(Addr::Unix(_)) => return Err("invalid host"),
            None => {
                let found = (address.host.as_str(), address.port).to_socket_addrs();
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
        let answer = self.mine().resolve(name, self.timeout).await?;
        Ok(answer.addrs.iter().map(|ip| Addr::Ip(SocketAddr::new(*ip, port))).collect())
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
