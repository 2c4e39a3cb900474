//! The block of `acme_issuer`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use foregate_acme::{AccountKey, Challenge, INTERNAL, Issuer, Issuers, Kind, Trust, Url, WELL_KNOWN, dns, secret};
use foregate_conf::{Error, Node, Word, os_error, value};
use foregate_core::{Args, Block, Compile, check};

/// How long certificates of the internal authority hold.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// Directives within the block, and how many arguments they take.
const INSIDE: [(&str, Args); 16] = [
    ("accept_terms_of_service", Args::NONE),
    ("account_key", Args::Exactly(1)),
    ("challenge", Args::Exactly(1)),
    ("common_name_in_csr", Args::Exactly(1)),
    ("contact", Args::AtLeast(1)),
    ("dns", Args::AtLeast(1)),
    ("dns_delay", Args::Exactly(1)),
    ("external_account_key", Args::Exactly(2)),
    ("fallback", Args::Exactly(1)),
    ("internal", Args::NONE),
    ("lifetime", Args::Exactly(1)),
    ("preferred_chain", Args::Exactly(1)),
    ("profile", Args::Between(1, 2)),
    ("ssl_trusted_certificate", Args::Exactly(1)),
    ("ssl_verify", Args::Exactly(1)),
    ("state_path", Args::Exactly(1)),
];
const URI: (&str, Args) = ("uri", Args::Exactly(1));

/// Compiles every issuer; those that others fall back on first.
pub(super) fn prepare(nodes: &[Node], cx: &mut Compile<'_>) -> Result<(), Error> {
    let by_name: BTreeMap<&str, &Node> = nodes.iter().map(|node| (node.args[0].text.as_str(), node)).collect();
    for node in nodes {
        compile(node, &by_name, &mut BTreeSet::new(), cx)?;
    }
    if let Some(first) = nodes.first() {
        let issuers = cx.shared.get_or_default::<Issuers>();
        issuers.default = issuers.by_name.get(&first.args[0].text).cloned();
    }
    Ok(())
}

fn compile(
    node: &Node,
    all: &BTreeMap<&str, &Node>,
    under_way: &mut BTreeSet<String>,
    cx: &mut Compile<'_>,
) -> Result<Arc<Issuer>, Error> {
    let name = node.args[0].text.clone();
    if let Some(done) = cx.shared.get_or_default::<Issuers>().by_name.get(&name) {
        return Ok(done.clone());
    }
    under_way.insert(name.clone());
    let block = Read::of(node)?;
    let fallback = match block.one("fallback") {
        None => None,
        Some(word) => {
            let other = all.get(word.text.as_str()).filter(|_| !under_way.contains(&word.text));
            let other = other.ok_or_else(|| Error::at(word.span, format!("issuer \"{word}\" cannot be fallen back on")))?;
            Some(compile(other, all, under_way, cx)?)
        }
    };
    let issuer = Arc::new(block.issuer(fallback, cx)?);
    if let Some(folder) = &issuer.state {
        cx.temp_dirs.push(folder.clone());
    }
    cx.shared.get_or_default::<Issuers>().by_name.insert(name, issuer.clone());
    Ok(issuer)
}

/// The directives of one block by name.
struct Read<'a> {
    node: &'a Node,
    found: BTreeMap<&'a str, &'a Node>,
    contacts: Vec<&'a Word>,
}

impl<'a> Read<'a> {
    fn of(node: &'a Node) -> Result<Read<'a>, Error> {
        let mut read = Read { node, found: BTreeMap::new(), contacts: Vec::new() };
        for inside in node.body() {
            let name = inside.name.text.as_str();
            let known = INSIDE.iter().chain([&URI]).find(|(it, _)| *it == name);
            let Some((_, args)) = known else { return Err(Error::unknown_directive(inside)) };
            check(name, inside, true, *args, Block::No)?;
            if name == "contact" {
                read.contacts.extend(&inside.args);
            } else if read.found.insert(name, inside).is_some() {
                return Err(Error::duplicate(inside));
            }
        }
        Ok(read)
    }

    fn args(&self, name: &str) -> Option<&'a [Word]> {
        self.found.get(name).map(|it| &it.args[..])
    }

    fn one(&self, name: &str) -> Option<&'a Word> {
        self.args(name).and_then(<[Word]>::first)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.one(name).map(|word| value::flag(word).ok_or_else(|| invalid(name, word))).transpose()
    }

    fn issuer(&self, fallback: Option<Arc<Issuer>>, cx: &mut Compile<'_>) -> Result<Issuer, Error> {
        let name = self.node.args[0].text.clone();
        let uri = self.uri(&name)?;
        let dns = self.dns(cx)?;
        let challenge = match self.one("challenge") {
            Some(word) => Some(Challenge::named(word).ok_or_else(|| {
                Error::at(word.span, format!("unsupported challenge: {word}"))
                    .advise("one of: http-01, tls-alpn-01, dns-01")
            })?),
            None => dns.as_ref().map(|_| Challenge::Dns01),
        };
        if challenge == Some(Challenge::Dns01) && dns.is_none() && uri.is_some() {
            return Err(Error::at(self.node.span, "\"dns\" is missing for the challenge dns-01")
                .advise(format!("write how records are made: dns {};", dns::PROVIDERS.replace(", ", "|"))));
        }
        Ok(Issuer {
            account_key: self.account_key(cx)?,
            contacts: self.contacts.iter().map(|it| contact(it)).collect(),
            accepts_terms: self.accepts_terms()?,
            challenge,
            dns,
            external_account: self.external_account(cx)?,
            trust: self.trust(cx)?,
            profile: self.profile()?,
            preferred_chain: self.one("preferred_chain").map(|it| it.text.clone()),
            state: self.state(&name, cx),
            common_name_in_csr: self.flag("common_name_in_csr")?.unwrap_or(false),
            fallback,
            lifetime: self.duration("lifetime")?.unwrap_or(LIFETIME_DEFAULT).max(LIFETIME_MIN),
            name,
            uri,
        })
    }

    /// `None`: the internal authority.
    fn uri(&self, name: &str) -> Result<Option<String>, Error> {
        if self.found.contains_key("internal") || (name == INTERNAL && !self.found.contains_key("uri")) {
            return Ok(None);
        }
        if let Some(word) = self.one("uri") {
            let url = Url::parse(word).ok_or_else(|| invalid("uri", word))?;
            _ = url;
            return Ok(Some(word.text.clone()));
        }
        let known = WELL_KNOWN.iter().find(|(it, _)| *it == name);
        known.map(|(_, uri)| Some((*uri).to_owned())).ok_or_else(|| {
            let names: Vec<&str> = WELL_KNOWN.iter().map(|(it, _)| *it).collect();
            Error::at(self.node.span, format!("\"uri\" is missing for acme_issuer \"{name}\""))
                .advise(format!("without uri there are the names {} and {INTERNAL}", names.join(", ")))
        })
    }

    fn accepts_terms(&self) -> Result<bool, Error> {
        match self.node.args.get(1) {
            None => Ok(self.found.contains_key("accept_terms_of_service")),
            Some(word) if word.text == "accept_terms_of_service" => Ok(true),
            Some(word) => Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
        }
    }

    fn account_key(&self, cx: &Compile<'_>) -> Result<AccountKey, Error> {
        let Some(word) = self.one("account_key") else { return Ok(AccountKey::Made(Kind::default())) };
        match Kind::named(word) {
            Some(kind) => Ok(AccountKey::Made(kind)),
            None if word.starts_with("ecdsa:") || word.starts_with("rsa:") => Err(bad_kind(word, word)),
            None => {
                let path = cx.conf_path(word);
                cx.files.read(&path).map(AccountKey::Given).map_err(|error| {
                    let path = path.display();
                    Error::at(word.span, format!("cannot load \"{path}\": open() failed{}", os_error(&error)))
                })
            }
        }
    }

    fn external_account(&self, cx: &Compile<'_>) -> Result<Option<(String, Vec<u8>)>, Error> {
        let Some([id, key]) = self.args("external_account_key") else { return Ok(None) };
        let text = match key.strip_prefix("data:") {
            Some(text) => text.as_bytes().to_vec(),
            None => file(key, cx)?,
        };
        let decoded = secret(&String::from_utf8_lossy(&text)).filter(|it| !it.is_empty());
        let decoded = decoded.ok_or_else(|| Error::at(key.span, "the external account's key is no base64url"))?;
        Ok(Some((id.text.clone(), decoded)))
    }

    fn trust(&self, cx: &Compile<'_>) -> Result<Trust, Error> {
        if self.flag("ssl_verify")? == Some(false) {
            return Ok(Trust::Anybody);
        }
        let Some(word) = self.one("ssl_trusted_certificate") else { return Ok(Trust::System) };
        let pem = file(word, cx)?;
        match foregate_net::tls::certs::chain(&pem) {
            Ok(_) => Ok(Trust::Pem(pem)),
            Err(why) => Err(Error::at(word.span, format!("cannot load certificate \"{word}\": {why}"))),
        }
    }

    fn profile(&self) -> Result<Option<(String, bool)>, Error> {
        match self.args("profile") {
            None => Ok(None),
            Some([name]) => Ok(Some((name.text.clone(), false))),
            Some([name, word]) if word.text == "require" => Ok(Some((name.text.clone(), true))),
            Some(words) => Err(Error::at(words[1].span, format!("invalid parameter \"{}\"", words[1]))),
        }
    }

    fn state(&self, name: &str, cx: &Compile<'_>) -> Option<std::path::PathBuf> {
        match self.one("state_path") {
            Some(word) if word.text == "off" => None,
            Some(word) => Some(cx.full_path(word)),
            None => Some(cx.full_path(&format!("acme_{name}"))),
        }
    }

    fn dns(&self, cx: &Compile<'_>) -> Result<Option<dns::Zone>, Error> {
        let delay = self.duration("dns_delay")?;
        let Some([provider, rest @ ..]) = self.args("dns") else { return Ok(None) };
        let mut words = BTreeMap::new();
        for word in rest {
            let (name, text) = word.split_once('=').ok_or_else(|| invalid("dns", word))?;
            // Secrets may stand in files that nobody else reads.
            let text = match text.strip_prefix("file:") {
                Some(path) => {
                    let bytes = file(&Word::new(path.into(), word.span, false), cx)?;
                    String::from_utf8_lossy(&bytes).trim().to_owned()
                }
                None => text.to_owned(),
            };
            words.insert(name.to_owned(), text);
        }
        let zone = dns::read(provider, dns::Words(words), delay);
        zone.map(Some).map_err(|why| Error::at(provider.span, format!("\"dns {provider}\": {why}")))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(word) = self.one(name) else { return Ok(None) };
        let seconds = value::time_s(word).ok_or_else(|| invalid(name, word))?;
        Ok(Some(Duration::from_secs(seconds)))
    }
}

/// A kind of key that nobody makes.
pub(super) fn bad_kind(kind: &str, place: &Word) -> Error {
    let what = match kind.split(':').next() {
        Some("ecdsa") => "unsupported curve",
        Some("rsa") => "unsupported key size",
        _ => "unsupported key",
    };
    Error::at(place.span, format!("{what} \"{kind}\""))
        .advise("one of: ecdsa:256, ecdsa:384, ecdsa:521, rsa:2048, rsa:3072, rsa:4096")
}

fn contact(word: &Word) -> String {
    match word.contains(':') {
        true => word.text.clone(),
        false => format!("mailto:{word}"),
    }
}

fn file(word: &Word, cx: &Compile<'_>) -> Result<Vec<u8>, Error> {
    let path = cx.conf_path(word);
    cx.files.read(&path).map_err(|error| {
        Error::at(word.span, format!("open() \"{}\" failed{}", path.display(), os_error(&error)))
    })
}

fn invalid(name: &str, word: &Word) -> Error {
    Error::at(word.span, format!("invalid value \"{word}\" in \"{name}\" directive"))
}
