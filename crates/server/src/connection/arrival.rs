//! What happens to a connection before its first request: the PROXY protocol header, the TLS handshake.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use foregate_acme::Look;
use foregate_core::{Connection, ErrorLog, Exchange, Level, Nobody, Proxied};
use foregate_modules::{realip, shield};
use foregate_net::tls::{self, HandshakeError};
use foregate_net::{Addr, Conn, Stream, clock};
use foregate_wire::Buf;
use foregate_wire::proxy_protocol::{self, V2_BYTES_MAX};

use super::client_settings;
use crate::address::Address;
use crate::certificates;
use crate::cycle::Local;

/// How long a handshake waits for a certificate that its name has set in motion, and how often it looks.
const DEMANDED_PATIENCE: Duration = Duration::from_secs(25);
const DEMANDED_PAUSE: Duration = Duration::from_millis(50);

/// A connection on which requests may come.
pub(super) struct Arrival {
    pub(super) conn: Conn,
    pub(super) proxied: Option<Proxied>,
    /// Bytes read behind a PROXY protocol header.
    pub(super) rest: Buf,
    /// Plain HTTP on a port of TLS: to be told so (497).
    pub(super) plain_on_tls: bool,
}

impl Arrival {
    pub(super) fn plain(stream: Stream) -> Self {
        Self { conn: Conn::Plain(stream), proxied: None, rest: Buf::default(), plain_on_tls: false }
    }
}

/// Takes a new connection in. `None`: it was no good, which has been logged.
pub(super) async fn arrive(
    local: &Rc<Local>,
    address: &Address,
    stream: Stream,
    number: u64,
) -> Option<Arrival> {
    let on = client_settings(local, address.default_server);
    let log = &local.cycle.places[local.cycle.server(address.default_server).place as usize].error_log;
    let mut arrival = Arrival::plain(stream);
    let work = async {
        if address.proxy_protocol {
            read_proxy_header(&mut arrival, log, number).await?;
        }
        if let Some(shield) = shield_of(local, address) {
            let client = client_of(local, address, arrival.conn.peer_addr(), arrival.proxied.as_ref());
            if let Some(level) = shield::unwanted(shield, client) {
                log_about(log, level, number, "connection forbidden by shield", client);
                return None;
            }
        }
        match address.ssl {
            true => shake_hands(local, address, arrival, log, number).await,
            false => Some(arrival),
        }
    };
    clock::timeout(on.header_timeout, work).await.ok().flatten()
}

async fn read_proxy_header(arrival: &mut Arrival, log: &ErrorLog, number: u64) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let more = arrival.conn.recv().await.ok()?;
        if more.is_empty() {
            return None;
        }
        bytes.extend_from_slice(&more);
        match proxy_protocol::read(&bytes) {
            Ok(Some((n, header))) => {
                arrival.proxied = header.addresses.map(|(source, destination)| Proxied {
                    source: Addr::Ip(source),
                    destination: Addr::Ip(destination),
                    tlvs: header.tlvs,
                });
                arrival.rest = Buf::copy_from(&bytes[n..]);
                return Some(());
            }
            Ok(None) if bytes.len() < V2_BYTES_MAX => (),
            Ok(None) => return None,
            Err(error) => {
                let text = error.text();
                let text = format!("{} while reading PROXY protocol", String::from_utf8_lossy(&text));
                log_about(log, Level::Error, number, &text, arrival.conn.peer_addr());
                return None;
            }
        }
    }
}

/// The server is chosen by the name that the client asks for; it has the certificate.
async fn shake_hands(
    local: &Rc<Local>,
    address: &Address,
    arrival: Arrival,
    log: &ErrorLog,
    number: u64,
) -> Option<Arrival> {
    let Arrival { conn: Conn::Plain(stream), proxied, rest, .. } = arrival else { return None };
    let peer = stream.peer_addr().clone();
    let facts = Before { number, peer: &peer, local: stream.local_addr().clone(), proxied: &proxied };
    let choose = async |hello: &tls::ClientHello| {
        wait_for_certificate(local, address, hello).await.ok_or(tls::Refusal::UnknownName)?;
        certificate_for(local, address, hello, &facts).map_err(|why| match why {
            None => tls::Refusal::UnknownName,
            Some(why) => {
                log_about(log, Level::Error, number, &format!("{why} while SSL handshaking"), &peer);
                tls::Refusal::Failed
            }
        })
    };
    match tls::accept_with(stream, rest, choose).await {
        Ok(stream) => {
            let conn = Conn::Tls(Box::new(stream));
            Some(Arrival { conn, proxied, rest: Buf::default(), plain_on_tls: false })
        }
        Err(HandshakeError::NotTls(stream, bytes)) => {
            Some(Arrival { conn: Conn::Plain(*stream), proxied, rest: bytes, plain_on_tls: true })
        }
        Err(error) => {
            let is_theirs =
                !error.is_ours() && !matches!(error, HandshakeError::Closed | HandshakeError::Io(_));
            let level = if error.is_ours() { Level::Crit } else { Level::Info };
            let text = match error {
                HandshakeError::Closed => format!("{error}"),
                error => format!("SSL_do_handshake() failed (SSL: {error})"),
            };
            log_about(log, level, number, &format!("{text} while SSL handshaking"), &peer);
            let client = client_of(local, address, &peer, proxied.as_ref());
            if let Some(shield) = shield_of(local, address).filter(|_| is_theirs)
                && let Some((level, text)) = shield::failed_handshake(shield, client)
            {
                log_about(log, level, number, &text, client);
            }
            None
        }
    }
}

/// The shield of those who have not said yet which server they want.
fn shield_of<'a>(local: &'a Local, address: &Address) -> Option<&'a shield::Settings> {
    local.cycle.settings(local.cycle.server(address.default_server).place).shield.as_deref()
}

/// Who the client is, as far as its peer is trusted to say so: a stranger could get others banned by their names.
fn client_of<'a>(local: &Local, address: &Address, peer: &'a Addr, proxied: Option<&'a Proxied>) -> &'a Addr {
    let on = local.cycle.settings(local.cycle.server(address.default_server).place).realip.as_deref();
    proxied.filter(|_| realip::believes_proxy(on, peer)).map_or(peer, |it| &it.source)
}

/// What is known of a connection before its handshake.
struct Before<'a> {
    number: u64,
    peer: &'a Addr,
    local: Addr,
    proxied: &'a Option<Proxied>,
}

/// Where names may be demanded: waits until there is a certificate for this one. `None`: there will be none soon.
async fn wait_for_certificate(local: &Rc<Local>, address: &Address, hello: &tls::ClientHello) -> Option<()> {
    let name = hello.server_name.as_deref().unwrap_or_default();
    let server = local.cycle.server(wanted_by(hello, address));
    let on = local.cycle.settings(server.place).on_demand.as_ref().filter(|_| server.automatic.is_some());
    let Some(on) = on else { return Some(()) };
    if hello.alpn.iter().any(|it| **it == *foregate_acme::ALPN) {
        return Some(());
    }
    let mut look = on.0.look(name);
    if look == Look::Pending {
        let _place = on.0.wait()?;
        let until_ms = clock::ms() + clock::as_ms(DEMANDED_PATIENCE);
        while look == Look::Pending && clock::ms() < until_ms {
            Box::pin(clock::sleep(DEMANDED_PAUSE)).await;
            look = on.0.look(name);
        }
    }
    (look == Look::Ready).then_some(())
}

/// The server that has the name which the client asks for, or the default one.
fn wanted_by(hello: &tls::ClientHello, address: &Address) -> u32 {
    let name = hello.server_name.as_deref().filter(|it| !it.is_empty());
    name.and_then(|it| address.names.find(it.as_bytes())).unwrap_or(address.default_server)
}

/// A server without a certificate of its own shows the default server's, as in nginx. `Err(None)`: the name is not
/// to be served. Whether HTTP/2 may be spoken is for the server that is asked for to say.
fn certificate_for(
    local: &Rc<Local>,
    address: &Address,
    hello: &tls::ClientHello,
    facts: &Before<'_>,
) -> Result<tls::Server, Option<String>> {
    if hello.alpn.iter().any(|it| **it == *foregate_acme::ALPN) {
        return certificates::challenge(hello.server_name.as_deref().unwrap_or_default()).ok_or(None);
    }
    let settings = |server: u32| local.cycle.settings(local.cycle.server(server).place).ssl.as_ref();
    let wanted = wanted_by(hello, address);
    if settings(wanted).is_some_and(|it| it.reject) {
        return Err(None);
    }
    let h2 = speaks_h2(local, address, wanted);
    for server in [wanted, address.default_server] {
        if let Some(automatic) = &local.cycle.server(server).automatic {
            return Ok(automatic[usize::from(h2)].clone());
        }
        if let Some(on) = settings(server).filter(|it| it.has_certificate()) {
            let answer = match on.varies() {
                true => on.answer(&mut exchange_before(local, server, hello, facts), h2),
                false => Ok(on.fixed(h2).cloned()),
            };
            return answer.map_err(Some)?.ok_or(None);
        }
    }
    Err(None)
}

/// An exchange that knows what names of certificates may be made of.
fn exchange_before(local: &Rc<Local>, server: u32, hello: &tls::ClientHello, facts: &Before<'_>) -> Exchange {
    let nobody = Nobody::new();
    let mut ex = Exchange::vacant(local.clone(), &nobody);
    let said = tls::Facts {
        server_name: hello.server_name.clone(),
        offered_ciphers: hello.ciphers.as_slice().into(),
        offered_curves: hello.curves.as_slice().into(),
        offered_schemes: hello.signature_schemes.as_slice().into(),
        ja4: tls::Ja4::of(hello),
        ..tls::Facts::default()
    };
    ex.conn = Rc::new(Connection {
        number: facts.number,
        peer: facts.peer.clone(),
        local: facts.local.clone(),
        proxied: facts.proxied.clone().map(Box::new),
        tls: Some(Box::new(said)),
        requests: Cell::new(0),
        started_ms: clock::ms(),
        notes: RefCell::default(),
    });
    ex.remote = facts.peer.clone();
    ex.server = server;
    ex.location = local.cycle.server(server).place;
    ex
}

/// Whether a server's clients may speak HTTP/2 on connections to this address.
pub(super) fn speaks_h2(local: &Local, address: &Address, server: u32) -> bool {
    let on = local.cycle.settings(local.cycle.server(server).place).http2.as_ref();
    address.http2 || on.is_some_and(|it| it.on)
}

fn log_about(log: &ErrorLog, level: Level, number: u64, text: &str, peer: &Addr) {
    if log.wants(level) {
        let describe = |out: &mut String| *out += &format!(", client: {}", foregate_core::addr_text(peer));
        log.write_about(level, number, &text, &describe);
    }
}
