//! What a configuration says of issuers and of the certificates it wants from them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dns;
use crate::http::Trust;
use crate::key::Kind;
use crate::slot::Slot;

/// Issuers whose address need not be written, by name.
pub const WELL_KNOWN: [(&str, &str); 4] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("buypass", "https://api.buypass.com/acme/directory"),
];
/// The issuer that asks nobody: an authority of this installation's own.
pub const INTERNAL: &str = "internal";

/// How it is proven that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    Http01,
    TlsAlpn01,
    Dns01,
}

impl Challenge {
    /// With or without its version; `None`: another word.
    pub fn named(text: &str) -> Option<Challenge> {
        Some(match text {
            "http-01" | "http" => Challenge::Http01,
            "tls-alpn-01" | "tls-alpn" => Challenge::TlsAlpn01,
            "dns-01" | "dns" => Challenge::Dns01,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Challenge::Http01 => "http-01",
            Challenge::TlsAlpn01 => "tls-alpn-01",
            Challenge::Dns01 => "dns-01",
        }
    }
}

/// The key of an account (nginx-acme: `account_key`).
#[derive(Clone, Debug)]
pub enum AccountKey {
    /// Made once and kept in the folder.
    Made(Kind),
    /// A PEM text.
    Given(Vec<u8>),
}

/// An issuer of certificates (nginx-acme: `acme_issuer`).
#[derive(Debug)]
pub struct Issuer {
    pub name: String,
    /// The directory's address; `None`: the internal authority.
    pub uri: Option<String>,
    pub account_key: AccountKey,
    /// With their scheme.
    pub contacts: Vec<String>,
    pub accepts_terms: bool,
    /// `None`: what the listeners allow.
    pub challenge: Option<Challenge>,
    pub dns: Option<dns::Zone>,
    /// Identifier and MAC key of an account elsewhere (RFC 8555 section 7.3.4).
    pub external_account: Option<(String, Vec<u8>)>,
    pub trust: Trust,
    /// The certificate profile, and whether an issuer without it is of no use.
    pub profile: Option<(String, bool)>,
    pub preferred_chain: Option<String>,
    /// Where account and certificates are kept; `None`: nowhere.
    pub state: Option<PathBuf>,
    pub common_name_in_csr: bool,
    /// Who is asked when this one does not issue.
    pub fallback: Option<Arc<Issuer>>,
    /// How long certificates of the internal authority hold.
    pub lifetime: Duration,
}

/// A name or address that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// In lower case; `*.` at its start stands for one label.
    Dns(String),
    Ip(IpAddr),
}

impl Identifier {
    /// `None`: neither an address nor a name that a certificate can have.
    pub fn read(text: &str) -> Option<Identifier> {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Identifier::Ip(ip));
        }
        let bare = text.strip_prefix("*.").unwrap_or(&text);
        let label = |it: &str| {
            !it.is_empty()
                && it.len() <= 63
                && !it.starts_with('-')
                && it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let sound = text.len() <= 253 && bare != "_" && bare.split('.').all(label);
        sound.then_some(Identifier::Dns(text))
    }

    /// As `server_name` writes names: `.example.com` is the name and what stands before it, which is `www` where
    /// wildcards cannot be had. `None`: a certificate cannot be for it.
    pub fn read_all(text: &str, wildcards: bool) -> Option<Vec<Identifier>> {
        if let Some(bare) = text.strip_prefix('.') {
            let other = if wildcards { "*" } else { "www" };
            return Some(vec![Identifier::read(bare)?, Identifier::read(&format!("{other}.{bare}"))?]);
        }
        let one = Identifier::read(text).filter(|it| wildcards || !it.is_wildcard())?;
        Some(vec![one])
    }

    pub fn is_wildcard(&self) -> bool {
        matches!(self, Identifier::Dns(name) if name.starts_with("*."))
    }

    /// Whether issuers out there may know it: a name of several labels, or an address.
    pub fn is_public(&self) -> bool {
        match self {
            Identifier::Dns(name) => name.contains('.'),
            Identifier::Ip(ip) => !ip.is_loopback(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        match self {
            Identifier::Dns(name) => json!({ "type": "dns", "value": name }),
            Identifier::Ip(ip) => json!({ "type": "ip", "value": ip.to_string() }),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identifier::Dns(name) => f.write_str(name),
            Identifier::Ip(ip) => ip.fmt(f),
        }
    }
}

/// A certificate that is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    pub issuer: Arc<Issuer>,
    /// At least one.
    pub names: Vec<Identifier>,
    pub key: Kind,
    /// For issuers that name none.
    pub challenge: Challenge,
    /// Who is asked for the addresses of issuers; empty: the system.
    pub name_servers: Vec<SocketAddr>,
    /// Where it is put once it is there.
    pub slot: Arc<Slot>,
}

impl Wish {
    /// What tells wishes apart, over reloads and restarts.
    pub fn id(issuer: &str, names: &[Identifier], key: Kind) -> String {
        let mut sorted: Vec<String> = names.iter().map(ToString::to_string).collect();
        sorted.sort();
        format!("{issuer} {} {key:?}", sorted.join(" "))
    }

    /// The first names, for logs.
    pub fn shown(&self) -> String {
        let mut names = self.names.iter();
        let first = names.next().map_or_else(String::new, ToString::to_string);
        match names.len() {
            0 => format!("\"{first}\""),
            n => format!("\"{first}\" and {n} more"),
        }
    }
}
