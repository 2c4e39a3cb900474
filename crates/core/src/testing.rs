//! An exchange without a server, for the tests of modules: from a request's text, under settings of the test's choice.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use foregate_net::Addr;
use foregate_wire::{Fields, Method, h1::Version};

use crate::error_log::{ErrorLog, Level, Lines, Sink, Target};
use crate::exchange::{Client, Connection, Exchange, Household, Nobody};
use crate::module::Shared;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::subrequest::{BoxFuture, Entry};
use crate::variable::{Evaluator, Found, Variables};

/// A cycle for tests. Fill in what the test needs, then [`House::exchange`].
pub struct House {
    /// One per location, in the type that the modules under test expect.
    pub settings: Vec<Box<dyn Any>>,
    pub variables: Variables,
    /// Answers requests that others make; by default they have no answer.
    pub serve: fn(&mut Exchange) -> Option<Reply>,
    pub shared: Shared,
    pub server_name: String,
    /// Collects what is logged, at every level.
    pub error_log: ErrorLog,
    logged: Arc<Logged>,
}

impl Default for House {
    fn default() -> Self {
        let logged = Arc::new(Logged::default());
        let sink = Sink { level: Level::Debug, to: Target::Lines(logged.clone()) };
        Self {
            settings: Vec::new(),
            variables: Variables::new(|_| None, |_| None),
            serve: |_| None,
            shared: Shared::default(),
            server_name: "localhost".to_owned(),
            error_log: ErrorLog { sinks: vec![sink] },
            logged,
        }
    }
}

impl House {
    /// A house whose only location has these settings.
    pub fn with<T: Any>(settings: T) -> Self {
        Self { settings: vec![Box::new(settings)], ..Self::default() }
    }

    /// An exchange in this house's first location; see [`exchange`] for the form of the text.
    pub fn exchange(self, request: &str) -> Exchange {
        exchange_in(Rc::new(self), request)
    }

    /// The lines logged so far: `error: *1 text, client: …`.
    pub fn logged(&self) -> Vec<String> {
        self.logged.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Household for House {
    fn settings(&self, location: u32) -> &dyn Any {
        self.settings.get(location as usize).map_or(&() as &dyn Any, |it| &**it)
    }

    fn evaluator(&self, slot: u32) -> Option<&Evaluator> {
        self.variables.evaluator(slot)
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn error_log(&self, _: u32) -> &ErrorLog {
        &self.error_log
    }

    fn server_name(&self, _: u32) -> &str {
        &self.server_name
    }

    fn variable(&self, name: &str) -> Option<Found> {
        self.variables.find(name)
    }

    fn serve_inside<'a>(&'a self, ex: &'a mut Exchange, _: Entry) -> BoxFuture<'a, Option<Reply>> {
        Box::pin(ready((self.serve)(ex)))
    }
}

/// An exchange made of a request's text: `"GET /a?b=c HTTP/1.1\nHost: example.com\n\nbody"`, lines ended with or
/// without `\r`; a missing version is HTTP/1.1. The client is 127.0.0.1:40000, the server 127.0.0.1:8080, both to be
/// changed in the returned value. The path is taken as it stands: nothing is decoded or normalised.
///
/// # Panics
/// On a text that is no request: tests write these.
pub fn exchange(request: &str) -> Exchange {
    House::default().exchange(request)
}

/// As [`exchange`], in a house that the test keeps.
pub fn exchange_in(house: Rc<dyn Household>, request: &str) -> Exchange {
    let text = request.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default();
    let mut fields = Fields::new();
    for field in lines {
        let (name, value) = field.split_once(':').expect("because a field of a test has a colon");
        fields.push(name.as_bytes(), value.trim().as_bytes());
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or("GET");
    let target = words.next().unwrap_or("/");
    let (uri, args) = target.split_once('?').unwrap_or((target, ""));
    let (host, host_port) = host_of(&fields);
    let mut ex = Exchange::vacant(house, &Nobody::new());
    ex.conn = Rc::new(connection());
    ex.client = Rc::new(Quiet);
    ex.method = Method::of(method.as_bytes());
    ex.method_name = method.into();
    ex.line = line.into();
    ex.target = target.into();
    ex.version = version(words.next());
    ex.fields = fields;
    (ex.host, ex.host_port) = (host, host_port);
    ex.head_bytes = head.lines().map(|it| it.len() as u64 + 2).sum::<u64>() + 2;
    ex.body = body_of(body);
    ex.uri = uri.into();
    ex.args = args.into();
    ex.header_only = method == "HEAD";
    ex.remote = ex.conn.peer.clone();
    ex.started = Instant::now();
    ex.started_unix_ms = STARTED_UNIX_MS;
    ex
}

/// The client's port in every test.
pub const CLIENT_PORT: u16 = 40000;
/// The server's port in every test.
pub const SERVER_PORT: u16 = 8080;
/// When every test's exchange began: Sat, 21 Nov 2026 09:21:48.250 UTC.
pub const STARTED_UNIX_MS: u64 = 1_795_252_908_250;

/// The connection of a test's exchange, the first of its worker.
pub fn connection() -> Connection {
    Connection {
        number: 1,
        peer: Addr::Ip(([127, 0, 0, 1], CLIENT_PORT).into()),
        local: Addr::Ip(([127, 0, 0, 1], SERVER_PORT).into()),
        proxied: None,
        tls: None,
        requests: Cell::new(1),
        started_ms: foregate_net::clock::ms(),
        notes: RefCell::default(),
    }
}

/// A client that stays and takes everything.
pub struct Quiet;

impl Client for Quiet {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim<'a>(&'a self, _: u16, _: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(ready(()))
    }
}

#[derive(Default)]
struct Logged(Mutex<Vec<String>>);

impl Lines for Logged {
    fn line(&self, level: Level, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{}: {text}", level.name()));
    }
}

fn version(text: Option<&str>) -> Version {
    match text {
        Some("HTTP/0.9") => Version::H09,
        Some("HTTP/1.0") => Version::H10,
        Some("HTTP/2.0") => Version::H2,
        Some("HTTP/3.0") => Version::H3,
        _ => Version::H11,
    }
}

/// `$host` and the port that the client named.
fn host_of(fields: &Fields) -> (Vec<u8>, Option<u16>) {
    let host = String::from_utf8_lossy(fields.get(b"host").unwrap_or(b"localhost")).to_ascii_lowercase();
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name.into(), port.parse().ok()),
        _ => (host.into_bytes(), None),
    }
}

fn body_of(text: &str) -> RequestBody {
    if text.is_empty() {
        return RequestBody { length: None, ..RequestBody::default() };
    }
    let bytes = foregate_wire::Buf::copy_from(text.as_bytes());
    RequestBody {
        length: Some(bytes.len() as u64),
        read_bytes: bytes.len() as u64,
        source: Some(crate::reply::Body::Bytes(bytes.clone()).into_source()),
        memory: Some(bytes),
        ..RequestBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_an_exchange() {
        let ex = exchange("POST /a%20b?x=1 HTTP/1.0\r\nHost: Example.com:81\r\nX-A: 1\r\n\r\nbody");
        assert_eq!((ex.method, ex.version), (Method::Post, Version::H10));
        assert_eq!((&*ex.target, &*ex.uri, &*ex.args), (&b"/a%20b?x=1"[..], &b"/a%20b"[..], &b"x=1"[..]));
        assert_eq!((&*ex.host, ex.host_port), (&b"example.com"[..], Some(81)));
        assert_eq!(ex.field(b"x-a"), Some(&b"1"[..]));
        assert_eq!(ex.body.memory.as_deref(), Some(&b"body"[..]));
    }

    #[test]
    fn a_cleared_exchange_is_as_good_as_new() {
        let house = Rc::new(House::default());
        let nobody = Nobody::new();
        let mut ex = exchange_in(house.clone(), "HEAD /a?x HTTP/1.0\nHost: h:81\nX-A: 1\n\nbody");
        (ex.server, ex.location, ex.matched_prefix, ex.redirects_left) = (1, 2, 3, 4);
        (ex.target_holds, ex.uri_changed, ex.location_holds, ex.internal) = (false, true, false, true);
        (ex.error_page, ex.keepalive, ex.subrequest_depth, ex.variable_depth) = (true, false, 1, 1);
        (ex.status_override, ex.limit_rate, ex.limit_rate_after) = (Some(404), Some(1), Some(2));
        ex.notes.put(7_u32);
        ex.set_slot(3, crate::variable::Slot::Unset);
        (ex.sent.status, ex.sent.bytes, ex.sent.chunked, ex.sent.complete) = (200, 5, true, true);
        ex.sent.fields.push(b"A", b"b");
        ex.line = vec![b'x'; 9000];
        ex.clear(&nobody);
        let text = |ex: &Exchange| {
            let texts = [&ex.method_name, &ex.line, &ex.target, &ex.host, &ex.uri, &ex.args];
            let numbers = (ex.server, ex.location, ex.matched_prefix, ex.redirects_left, ex.head_bytes);
            let flags = [ex.target_holds, ex.uri_changed, ex.location_holds, ex.internal, ex.error_page];
            let more = [ex.keepalive, ex.header_only, ex.sent.chunked, ex.sent.complete, ex.body.exists()];
            let depths = (ex.subrequest_depth, ex.variable_depth, ex.slots.len(), ex.captures.len());
            let limits = (ex.status_override, ex.limit_rate, ex.limit_rate_after, ex.host_port);
            let sent = (ex.sent.status, ex.sent.bytes, ex.sent.fields.len(), ex.sent.content_length);
            let notes = ex.notes.get::<u32>().is_some();
            let request = (ex.method, ex.version, ex.fields.len(), ex.body.length, ex.conn.number);
            format!("{texts:?}{numbers:?}{flags:?}{more:?}{depths:?}{limits:?}{sent:?}{notes}{request:?}")
        };
        assert_eq!(text(&ex), text(&Exchange::vacant(house, &nobody)));
        assert_eq!(ex.line.capacity(), 0);
    }

    #[test]
    fn a_house_collects_what_is_logged() {
        let house = Rc::new(House::with(7_u32));
        let ex = exchange_in(house.clone(), "GET / HTTP/1.1\nHost: a");
        assert_eq!(ex.cycle.settings(0).downcast_ref(), Some(&7_u32));
        crate::log!(ex, Level::Error, "oops");
        assert_eq!(
            house.logged(),
            [
                "error: *1 oops, client: 127.0.0.1, server: localhost, request: \"GET / HTTP/1.1\", host: \"a\""
            ]
        );
    }
}
