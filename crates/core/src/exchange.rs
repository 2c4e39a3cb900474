//! One request and all that is known about it while it lives.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Instant;

use foregate_net::{Addr, Conn, clock, sys::TcpFacts, tls::Facts};
use foregate_wire::{Fields, Method, NameSet, h1::Version};

use crate::digits::push_ipv4;
use crate::error_log::{ErrorLog, Level};
use crate::module::Shared;
use crate::notes::Notes;
use crate::regex::Captures;
use crate::reply::Reply;
use crate::request_body::{BodyLimits, InFile, RequestBody};
use crate::subrequest::{self, BoxFuture, Entry, Kin};
use crate::temp_file::TempDir;
use crate::variable::{Evaluator, Found, Slot};

/// As nginx: a request that is redirected inside more often is caught in a circle.
pub const REDIRECTS_MAX: u32 = 10;

/// One request, its response as far as known, and its connection's facts.
pub struct Exchange {
    pub conn: Rc<Connection>,
    pub client: Rc<dyn Client>,
    pub cycle: Rc<dyn Household>,
    /// The server that was chosen, as the cycle numbers them.
    pub server: u32,
    /// The location (or `if`) whose settings hold now, as the cycle numbers them.
    pub location: u32,

    pub method: Method,
    /// The method's name as sent.
    pub method_name: Vec<u8>,
    /// The request line as sent, without its line end.
    pub line: Vec<u8>,
    /// `$request_uri`: the target as sent, never changed. For absolute-form without scheme and authority.
    pub target: Vec<u8>,
    pub version: Version,
    /// The request's fields in the order sent.
    pub fields: Fields,
    /// `$host`: lower case, without port.
    pub host: Vec<u8>,
    /// The port that the client named in `Host`, if any.
    pub host_port: Option<u16>,
    /// Bytes of the request's head as read.
    pub head_bytes: u64,
    pub body: RequestBody,

    /// `$uri`: normalised and decoded; changes with rewrites and internal redirects.
    pub uri: Vec<u8>,
    /// `$args`: the query string without its `?`.
    pub args: Vec<u8>,
    /// Bytes of `uri` that the location's prefix covers; 0 in a regex location.
    pub matched_prefix: usize,
    /// Whether `uri` still is what `target` says, so that it may be passed on as sent.
    pub target_holds: bool,
    /// A rewrite has changed `uri`: the location is looked for again.
    pub uri_changed: bool,
    /// Whether the location was found by `uri` as it is, so that `proxy_pass` may replace its prefix.
    pub location_holds: bool,
    /// Reached by an internal redirect, a named location or a subrequest.
    pub internal: bool,
    /// Internal redirects left.
    pub redirects_left: u32,
    /// Set by `error_page`: an error of the page that answers an error is not looked up again.
    pub error_page: bool,
    /// The status that the answer shall have whatever the page says (`error_page 404 /404.html`).
    pub status_override: Option<u16>,
    /// Deep in subrequests; 0 is the client's own request.
    pub subrequest_depth: u32,
    /// The parent's facts for a subrequest: `$request_method` stays, the body is not passed.
    pub header_only: bool,

    /// The client's address; `realip` changes it.
    pub remote: Addr,
    pub started: Instant,
    /// Wall clock at the start, milliseconds since the epoch.
    pub started_unix_ms: u64,
    /// `limit_rate` in bytes a second, once a module, a header or `set` has decided; 0 is none.
    pub limit_rate: Option<u64>,
    pub limit_rate_after: Option<u64>,
    /// Whether the client's connection may stay open after this exchange.
    pub keepalive: bool,
    /// Its line in the access log has been written.
    pub logged: bool,
    pub sent: Sent,

    pub captures: Captures,
    /// Made variables, while no child shares them.
    pub slots: Vec<Slot>,
    /// What is shared with the requests made on this one's behalf, and with the one that made this.
    pub kin: Option<Rc<Kin>>,
    pub variable_depth: u32,
    pub notes: Notes,
}

/// Memory of a buffer that is kept for the next exchange, bytes; what a stranger has blown up is given back.
const KEPT_BYTES_MAX: usize = 8 << 10;

impl Exchange {
    /// An exchange that nobody has begun: waiting for its first request.
    pub fn vacant(cycle: Rc<dyn Household>, nobody: &Nobody) -> Self {
        Self {
            conn: nobody.conn.clone(),
            client: nobody.client.clone(),
            cycle,
            server: 0,
            location: 0,
            method: Method::Other,
            method_name: Vec::new(),
            line: Vec::new(),
            target: Vec::new(),
            version: Version::H09,
            fields: Fields::new(),
            host: Vec::new(),
            host_port: None,
            head_bytes: 0,
            body: RequestBody::default(),
            uri: Vec::new(),
            args: Vec::new(),
            matched_prefix: 0,
            target_holds: true,
            uri_changed: false,
            location_holds: true,
            internal: false,
            redirects_left: REDIRECTS_MAX,
            error_page: false,
            status_override: None,
            subrequest_depth: 0,
            header_only: false,
            remote: nobody.conn.peer.clone(),
            started: clock::now(),
            started_unix_ms: 0,
            limit_rate: None,
            limit_rate_after: None,
            keepalive: true,
            logged: false,
            sent: Sent::default(),
            captures: Captures::default(),
            slots: Vec::new(),
            kin: None,
            variable_depth: 0,
            notes: Notes::default(),
        }
    }

    /// A client's request begins in a vacant exchange.
    pub fn begin(&mut self, conn: Rc<Connection>, client: Rc<dyn Client>) {
        self.remote.clone_from(&conn.peer);
        self.conn = conn;
        self.client = client;
        self.started = clock::now();
        self.started_unix_ms = clock::unix_ms();
    }

    /// Vacates an exchange that has ended, so that another may begin in its memory. Everything is as in a new one
    /// but for the cycle and the buffers' room; every field is named, so that none can be forgotten.
    pub fn clear(&mut self, nobody: &Nobody) {
        let Self {
            conn,
            client,
            cycle: _,
            server,
            location,
            method,
            method_name,
            line,
            target,
            version,
            fields,
            host,
            host_port,
            head_bytes,
            body,
            uri,
            args,
            matched_prefix,
            target_holds,
            uri_changed,
            location_holds,
            internal,
            redirects_left,
            error_page,
            status_override,
            subrequest_depth,
            header_only,
            remote: _,
            started: _,
            started_unix_ms: _,
            limit_rate,
            limit_rate_after,
            keepalive,
            logged,
            sent,
            captures,
            slots,
            kin,
            variable_depth,
            notes,
        } = self;
        conn.clone_from(&nobody.conn);
        client.clone_from(&nobody.client);
        (*server, *location) = (0, 0);
        (*method, *version) = (Method::Other, Version::H09);
        for buffer in [method_name, line, target, host, uri, args] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        match *head_bytes <= KEPT_BYTES_MAX as u64 {
            true => fields.clear(),
            false => *fields = Fields::new(),
        }
        (*host_port, *head_bytes, *matched_prefix) = (None, 0, 0);
        body.clear();
        (*target_holds, *uri_changed, *location_holds, *internal) = (true, false, true, false);
        (*redirects_left, *subrequest_depth, *variable_depth) = (REDIRECTS_MAX, 0, 0);
        (*error_page, *status_override) = (false, None);
        (*limit_rate, *limit_rate_after) = (None, None);
        (*header_only, *keepalive, *logged) = (false, true, false);
        sent.clear();
        captures.clear();
        slots.clear();
        *kin = None;
        notes.clear();
    }

    /// The first field of this name.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.get(name)
    }

    /// Lets `with` see an answer that is not sent yet as `$status`, `$sent_http_…` and their like show it.
    pub fn seeing<T>(&mut self, reply: &mut Reply, with: impl FnOnce(&mut Self) -> T) -> T {
        let length = reply.content_length();
        let before = (self.sent.status, self.sent.content_length);
        (self.sent.status, self.sent.content_length) = (reply.status, length);
        std::mem::swap(&mut self.sent.fields, &mut reply.fields);
        let told = with(self);
        std::mem::swap(&mut self.sent.fields, &mut reply.fields);
        (self.sent.status, self.sent.content_length) = before;
        told
    }

    pub fn set_slot(&mut self, slot: u32, value: Slot) {
        let put = |slots: &mut Vec<Slot>| {
            let at = slot as usize;
            if slots.len() <= at {
                slots.resize(at + 1, Slot::Unset);
            }
            slots[at] = value;
        };
        match &self.kin {
            Some(kin) => put(&mut kin.slots.borrow_mut()),
            None => put(&mut self.slots),
        }
    }

    /// Writes to the error log of the place that the exchange is in, with the client's facts behind.
    pub fn log(&self, level: Level, text: fmt::Arguments<'_>) {
        let log = self.cycle.error_log(self.location);
        if log.wants(level) {
            log.write_about(level, self.conn.number, &text, &|out| self.describe(out));
        }
    }

    /// `, client: …, server: …, request: "…", host: "…"`: what nginx puts behind a line about a request.
    pub(crate) fn describe(&self, out: &mut String) {
        use fmt::Write;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        _ = write!(
            out,
            ", client: {}, server: {}",
            addr_text(&self.remote),
            self.cycle.server_name(self.server)
        );
        if !self.line.is_empty() {
            _ = write!(out, ", request: \"{}\"", text(&self.line));
        }
        if let Some(upstream) = self.notes.get::<UpstreamFact>() {
            _ = write!(out, ", upstream: \"{}\"", upstream.0);
        }
        if let Some(host) = self.field(b"host") {
            _ = write!(out, ", host: \"{}\"", text(host));
        }
        if let Some(referrer) = self.field(b"referer") {
            _ = write!(out, ", referrer: \"{}\"", text(referrer));
        }
    }
}

/// An address without its port, as `$remote_addr` shows it; `unix:` for Unix sockets.
pub fn addr_text(addr: &Addr) -> String {
    addr.ip().map_or_else(|| "unix:".to_owned(), |it| it.ip().to_canonical().to_string())
}

/// Appends an address as variables show it: without the port; `unix:` and the path for Unix sockets.
pub fn push_addr(addr: &Addr, out: &mut Vec<u8>) {
    match addr {
        Addr::Ip(addr) => match addr.ip() {
            std::net::IpAddr::V4(ip) => push_ipv4(ip, out),
            std::net::IpAddr::V6(ip) => _ = write!(out, "{ip}"),
        },
        Addr::Unix(path) => {
            out.extend_from_slice(b"unix:");
            out.extend_from_slice(path.as_os_str().as_encoded_bytes());
        }
    }
}

/// The upstream that is being spoken to, for the error log: `http://127.0.0.1:3000/path`.
pub struct UpstreamFact(pub String);

/// A note on a request that had come before the answer to the one before it was sent (`$pipe`).
pub struct Pipelined;

/// What has been sent to the client so far.
#[derive(Default)]
pub struct Sent {
    /// 0 until the head went out.
    pub status: u16,
    pub fields: Fields,
    /// Fields behind the body, in the order sent.
    pub trailers: Fields,
    /// Bytes of the head.
    pub head_bytes: u64,
    /// Bytes of the body as the client sees them on the wire, without chunk framing.
    pub body_bytes: u64,
    /// All bytes, framing included.
    pub bytes: u64,
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// The answer went out whole (`$request_completion`).
    pub complete: bool,
}

impl Sent {
    /// Nothing has been sent: as [`Exchange::clear`].
    fn clear(&mut self) {
        let Self {
            status,
            fields,
            trailers,
            head_bytes,
            body_bytes,
            bytes,
            content_length,
            chunked,
            complete,
        } = self;
        *status = 0;
        // The lists' memory is the thread's.
        (*fields, *trailers) = (Fields::new(), Fields::new());
        (*head_bytes, *body_bytes, *bytes) = (0, 0, 0);
        *content_length = None;
        (*chunked, *complete) = (false, false);
    }
}

/// The client's connection: the same for all its exchanges.
pub struct Connection {
    /// Counts connections over the whole worker: `*96` in the error log, `$connection`.
    pub number: u64,
    /// The socket's other end, before `realip`.
    pub peer: Addr,
    pub local: Addr,
    /// What a PROXY protocol header said, where `listen` asks for one.
    pub proxied: Option<Box<Proxied>>,
    pub tls: Option<Box<Facts>>,
    /// Requests so far on this connection, this one included.
    pub requests: Cell<u64>,
    /// By [`clock::ms`].
    pub started_ms: u64,
    /// What modules remember about the connection.
    pub notes: RefCell<Notes>,
}

/// The facts of a PROXY protocol header.
#[derive(Clone)]
pub struct Proxied {
    pub source: Addr,
    pub destination: Addr,
    /// The extensions of version 2 as sent; `foregate_wire::proxy_protocol::TlvName` reads them.
    pub tlvs: Vec<u8>,
}

/// The client's side of an exchange, whatever protocol it speaks.
pub trait Client {
    /// Ready once the client is known to have gone away.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends an interim response (103 Early Hints) at once.
    fn send_interim<'a>(&'a self, status: u16, fields: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

    /// What the kernel knows of the client's TCP connection.
    fn tcp_facts(&self) -> Option<TcpFacts> {
        None
    }
}

/// HTTP/1 spoken on a connection.
impl Client for Conn {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_hangup(cx)
    }

    fn send_interim<'a>(&'a self, status: u16, fields: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        let reason = match status {
            103 => "Early Hints",
            _ => foregate_wire::status::reason(status).unwrap_or_default(),
        };
        let mut out = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
        fields.write_lines(NameSet::EMPTY, |_| false, &mut out);
        out.extend_from_slice(b"\r\n");
        Box::pin(async move { _ = self.send_all(&out).await })
    }

    fn tcp_facts(&self) -> Option<TcpFacts> {
        self.stream().tcp_facts()
    }
}

/// Who takes part in exchanges that are vacant, so that these hold no connection: one for each thread.
pub struct Nobody {
    conn: Rc<Connection>,
    client: Rc<dyn Client>,
}

impl Nobody {
    pub fn new() -> Self {
        let nowhere = Addr::Ip((std::net::Ipv4Addr::UNSPECIFIED, 0).into());
        let conn = Connection {
            number: 0,
            peer: nowhere.clone(),
            local: nowhere,
            proxied: None,
            tls: None,
            requests: Cell::new(0),
            started_ms: clock::ms(),
            notes: RefCell::default(),
        };
        Self { conn: Rc::new(conn), client: Rc::new(Gone) }
    }
}

impl Default for Nobody {
    fn default() -> Self {
        Self::new()
    }
}

/// The client of an exchange that has none.
struct Gone;

impl Client for Gone {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn send_interim<'a>(&'a self, _: u16, _: &'a Fields) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(std::future::ready(()))
    }
}

/// The cycle as exchanges see it: one floor above, reached through this trait.
pub trait Household {
    /// The settings of a location: the modules know the real type.
    fn settings(&self, location: u32) -> &dyn Any;
    fn evaluator(&self, slot: u32) -> Option<&Evaluator>;
    fn shared(&self) -> &Shared;
    fn error_log(&self, location: u32) -> &ErrorLog;
    /// `$server_name`: the first name of the server.
    fn server_name(&self, server: u32) -> &str;
    /// What a name that a response holds stands for (`<!--#echo var="…" -->`).
    fn variable(&self, _name: &str) -> Option<Found> {
        None
    }
    /// Takes a request that another one makes through the phases and the header filters.
    fn serve_inside<'a>(&'a self, _ex: &'a mut Exchange, _entry: Entry) -> BoxFuture<'a, Option<Reply>> {
        subrequest::nobody()
    }
    /// Writes the access log's lines of a request that another one has made.
    fn log_inside(&self, _ex: &mut Exchange) {}
    /// How bodies are read whole in a location.
    fn body_limits(&self, _location: u32) -> BodyLimits<'_> {
        static TEMP: LazyLock<TempDir> = LazyLock::new(|| TempDir::new(std::env::temp_dir()));
        BodyLimits { memory_max: BODY_MEMORY_BYTES, temp: &TEMP, in_file: InFile::No }
    }
}

/// nginx's default for `client_body_buffer_size`.
pub const BODY_MEMORY_BYTES: usize = 16 << 10;

/// Waits until the client is known to have gone away.
pub async fn gone(client: &dyn Client) {
    poll_fn(|cx| client.poll_gone(cx)).await
}
