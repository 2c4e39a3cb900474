//! dns-01: how the record that proves a name gets into its zone.

mod acme_dns;
mod exec;
mod rest;
mod rfc2136;
mod route53;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// After a record was made, before the issuer is told to look: servers of a zone learn of it one by one.
const DELAY_DEFAULT: Duration = Duration::from_secs(15);
/// Of a record that lives for a minute.
const TTL_S: u32 = 60;

/// A TXT record.
#[derive(Clone, Debug)]
pub struct Record {
    /// `_acme-challenge.example.com`
    pub name: String,
    pub value: String,
}

impl Record {
    /// The names of zones that it may stand in, the nearest first: two labels at least.
    fn zones(&self) -> impl Iterator<Item = &str> {
        let starts = self.name.match_indices('.').map(|(at, _)| at + 1);
        starts.map(|at| &self.name[at..]).filter(|it| it.contains('.'))
    }

    /// The name within a zone.
    fn within<'a>(&'a self, zone: &str) -> &'a str {
        self.name.strip_suffix(zone).map_or(&self.name, |it| it.trim_end_matches('.'))
    }
}

/// A way to write records. Blocks; errors are texts for the log.
pub trait Provider: fmt::Debug + Send + Sync {
    fn present(&self, record: &Record) -> Result<(), String>;
    fn remove(&self, record: &Record) -> Result<(), String>;
}

/// Where records are written, and how long it takes until they are seen.
#[derive(Clone, Debug)]
pub struct Zone {
    pub provider: Arc<dyn Provider>,
    pub delay: Duration,
}

/// `name=value` words, taken out one by one.
pub struct Words(pub BTreeMap<String, String>);

impl Words {
    fn optional(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn required(&mut self, name: &str) -> Result<String, String> {
        self.optional(name).ok_or_else(|| format!("{name}=… is missing"))
    }
}

/// The names of all providers.
pub const PROVIDERS: &str = "rfc2136, acme-dns, exec, cloudflare, digitalocean, hetzner, route53";

/// Reads `dns PROVIDER name=value …`.
///
/// # Errors
/// What is missing, unknown or wrong.
pub fn read(provider: &str, mut words: Words, delay: Option<Duration>) -> Result<Zone, String> {
    let provider: Arc<dyn Provider> = match provider {
        "rfc2136" => Arc::new(rfc2136::Server::read(&mut words)?),
        "acme-dns" => Arc::new(acme_dns::AcmeDns::read(&mut words)?),
        "exec" => Arc::new(exec::Hook::read(&mut words)?),
        "cloudflare" => Arc::new(rest::Cloudflare::read(&mut words)?),
        "digitalocean" => Arc::new(rest::DigitalOcean::read(&mut words)?),
        "hetzner" => Arc::new(rest::Hetzner::read(&mut words)?),
        "route53" => Arc::new(route53::Route53::read(&mut words)?),
        _ => return Err(format!("unknown provider \"{provider}\"; there are {PROVIDERS}")),
    };
    match words.0.keys().next() {
        Some(name) => Err(format!("unknown parameter \"{name}\"")),
        None => Ok(Zone { provider, delay: delay.unwrap_or(DELAY_DEFAULT) }),
    }
}
