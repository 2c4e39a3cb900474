//! Certificates that come by themselves: which servers want one, for which names, and where their handshakes find it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use foregate_acme::{Challenge, INTERNAL, Identifier, Issuer, Issuers, Kind, Slot, Slots, Wish, answers};
use foregate_conf::{Error, Word};
use foregate_core::Compile;
use foregate_net::tls::{self, certs::Certificates};
use foregate_upstream::CommonResolver;

use crate::address::Endpoint;
use crate::cycle::Place;
use crate::read::{Draft, ServerDraft};

/// For a server on TLS that has no certificate.
pub(crate) const ADVICE: &str = "to get one by itself, write acme_issuer letsencrypt accept_terms_of_service; in the http \
block and give this server its server_name; or add ssl_certificate and ssl_certificate_key";

/// What came of all servers.
pub(crate) struct Found {
    pub(crate) wishes: Vec<Wish>,
    /// By server, without and with HTTP/2.
    pub(crate) answers: Vec<Option<[tls::Server; 2]>>,
}

/// Where there is an issuer, a server on TLS with names and without a certificate means `ssl_certificate auto`.
pub(crate) fn imply(draft: &mut Draft, cx: &mut Compile<'_>) {
    let Some(issuer) = cx.shared.get_or_default::<Issuers>().default.clone() else { return };
    let accepted = issuer.uri.is_none() || issuer.accepts_terms;
    let outer = draft.http.ssl.get().is_some_and(|it| it.names_certificates());
    for server in draft.servers.iter().filter(|it| it.listens.iter().any(|it| it.ssl)) {
        let options = &mut draft.places[server.place as usize].options;
        let has = outer || options.ssl.get().is_some_and(|it| it.names_certificates());
        let asks = options.acme.get().is_some_and(|it| it.names_certificate());
        let on_demand = options.on_demand.get().is_some_and(|it| it.is_written());
        if !has && (asks || on_demand || (accepted && !names(server, &issuer, asks).is_empty())) {
            options.ssl.get_mut().become_automatic(server.span);
        }
    }
}

/// The wishes of all servers, each with the slot of the configuration before, if that had the same wish.
pub(crate) fn find(
    servers: &[ServerDraft],
    places: &[Place],
    endpoints: &[Endpoint],
    cx: &mut Compile<'_>,
) -> Result<Found, Error> {
    let mut found = Found { wishes: Vec::new(), answers: Vec::new() };
    let challenge = challenge_for(endpoints);
    for (number, server) in (0..).zip(servers) {
        let settings = &places[server.place as usize].settings;
        let ssl = settings.ssl.as_ref();
        let is_automatic = ssl.is_some_and(|it| it.automatic);
        let on_tls = server.listens.iter().any(|it| it.ssl);
        let mut answer = None;
        if let Some(on) = settings.on_demand.as_ref().filter(|_| is_automatic && on_tls) {
            on.0.complete(challenge, name_servers(cx));
            answer = ssl.and_then(|it| it.resolving(on.0.clone()));
        } else if (is_automatic && on_tls) || settings.acme.is_some() {
            let slot = wish(server, settings.acme.as_deref(), challenge, &mut found.wishes, cx)?;
            cx.shared.get_or_default::<Slots>().by_server.insert(number, slot.clone());
            answer = ssl.filter(|_| is_automatic).and_then(|it| it.resolving(slot));
        }
        found.answers.push(answer);
    }
    Ok(found)
}

fn wish(
    server: &ServerDraft,
    asked: Option<&foregate_modules::acme::Settings>,
    challenge: Challenge,
    wishes: &mut Vec<Wish>,
    cx: &mut Compile<'_>,
) -> Result<Arc<Slot>, Error> {
    let default = cx.shared.get_or_default::<Issuers>().default.clone();
    let (issuer, mut names, key) = match asked {
        Some(it) => (it.issuer.clone(), it.names.clone(), it.key),
        None => {
            let issuer = default.ok_or_else(|| {
                Error::at(server.span, "\"ssl_certificate auto\" needs an issuer")
                    .advise("write acme_issuer letsencrypt accept_terms_of_service; in the http block")
            })?;
            (issuer, Vec::new(), Kind::default())
        }
    };
    if names.is_empty() {
        names = self::names(server, &issuer, asked.is_some());
        if asked.is_some() {
            check_names(server, &issuer)?;
        }
    }
    if let (true, Some(asked)) = (names.is_empty(), asked) {
        let what = "\"acme_certificate\": no identifiers found in \"server_name\"";
        return Err(Error::at(asked.place.span, what));
    }
    if names.is_empty() {
        return Err(Error::at(server.span, "this server has no name that a certificate can be for")
            .advise("give it a server_name such as www.example.com; wildcards need the challenge dns-01"));
    }
    if issuer.uri.is_some() && !issuer.accepts_terms && asked.is_none() {
        let what = format!("the terms of service of issuer \"{}\" are not accepted", issuer.name);
        return Err(Error::at(server.span, what).advise(format!(
            "read them, then write accept_terms_of_service; in acme_issuer {}",
            issuer.name
        )));
    }
    let id = Wish::id(&issuer.name, &names, key);
    let kept = cx.previous.and_then(|it| it.get::<Slots>()).and_then(|it| it.by_wish.get(&id).cloned());
    let slots = &mut cx.shared.get_or_default::<Slots>().by_wish;
    if let Some(slot) = slots.get(&id) {
        return Ok(slot.clone());
    }
    let slot = kept.unwrap_or_default();
    slots.insert(id, slot.clone());
    wishes.push(Wish { issuer, names, key, challenge, name_servers: name_servers(cx), slot: slot.clone() });
    Ok(slot)
}

/// Who is asked for the addresses of issuers.
fn name_servers(cx: &Compile<'_>) -> Vec<SocketAddr> {
    let resolver = cx.shared.get::<CommonResolver>().and_then(|it| it.0.as_ref());
    resolver.map(|it| it.spec.servers.clone()).unwrap_or_default()
}

/// The server's names that its issuer may know, each once. `asked`: whoever wrote `acme_certificate` knows better.
fn names(server: &ServerDraft, issuer: &Issuer, asked: bool) -> Vec<Identifier> {
    let mut names = Vec::new();
    let is_internal = issuer.uri.is_none() || issuer.name == INTERNAL;
    let wildcards = is_internal || issuer.challenge == Some(Challenge::Dns01);
    for word in server.names.iter().filter(|it| !it.starts_with('~')) {
        let text = if word.text == "$hostname" { foregate_core::hostname() } else { &word.text };
        for name in Identifier::read_all(text, wildcards).unwrap_or_default() {
            if (is_internal || asked || name.is_public()) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Where a certificate is asked for by `acme_certificate`, names that it cannot be for are mistakes.
fn check_names(server: &ServerDraft, issuer: &Issuer) -> Result<(), Error> {
    let wildcards = issuer.uri.is_none() || issuer.challenge == Some(Challenge::Dns01);
    let is_known = |it: &&Word| {
        it.is_empty() || it.starts_with(['~', '$']) || Identifier::read_all(it, wildcards).is_some()
    };
    match server.names.iter().find(|it| !is_known(it)) {
        Some(word) => Err(Error::at(word.span, format!("invalid server name: {word}"))),
        None => Ok(()),
    }
}

/// Issuers come by plain HTTP where somebody listens to it, else by TLS.
fn challenge_for(endpoints: &[Endpoint]) -> Challenge {
    let plain = endpoints.iter().any(|it| {
        it.addr.ip().is_some() && (!it.default.ssl || it.specific.iter().any(|(_, address)| !address.ssl))
    });
    if plain { Challenge::Http01 } else { Challenge::TlsAlpn01 }
}

/// How an issuer is answered that comes for tls-alpn-01; `None`: nothing was ordered for this name.
pub(crate) fn challenge(name: &str) -> Option<tls::Server> {
    static BASE: OnceLock<Option<tls::Server>> = OnceLock::new();
    let certified = answers().alpn(name)?;
    let base = BASE.get_or_init(|| {
        let builder = rustls::ServerConfig::builder_with_provider(tls::provider().clone());
        let builder = builder.with_safe_default_protocol_versions().ok()?;
        let none = Arc::new(Certificates::new(Vec::new()));
        let mut config = builder.with_no_client_auth().with_cert_resolver(none);
        config.alpn_protocols = vec![foregate_acme::ALPN.to_vec()];
        Some(tls::Server::new(config))
    });
    base.as_ref().map(|it| it.showing(Certificates::new(vec![certified])))
}
