//! HTTP/1 on one client connection: waits, reads a head, serves, answers, and again (RFC 9112).

use std::cell::RefCell;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use foregate_core::stats::{self, Count};
use foregate_core::{Behind, Body, Connection, Exchange, Level, Pipelined, Reply, RequestBody, Version, log};
use foregate_modules::{Settings, client, log as access_log, ssl};
use foregate_net::clock::{Deadline, Elapsed};
use foregate_net::{Addr, Conn, Stream, clock};
use foregate_wire::Buf;
use foregate_wire::h1::{RequestError, RequestHead, RequestRules, parse_request};

use super::body::{self, BodyReader, BodyState};
use super::conduct::{self, client_settings};
use super::parked::{PARK_AFTER, Parked};
use super::response::{self, SendError};
use super::{Counted, Doing, request};
use crate::address::Address;
use crate::cycle::{Cycle, Local};
use crate::{phases, route};

/// Empty lines before a request line that are passed over (RFC 9112, 2.2, asks for at least one).
const DISCARD_BLOCKS_MAX: u16 = 1024;

/// A body that is too large is not asked for.
const TOO_LARGE: u16 = 413;

/// One client's connection.
pub(super) struct Client {
    counted: Counted,
    conn: Rc<Conn>,
    facts: Rc<Connection>,
    listener: Rc<Addr>,
    /// Read and not yet used: the beginning of the next request.
    rest: Buf,
    /// Taken from the thread's store while an exchange lasts.
    head: Option<Box<RequestHead>>,
    /// Of whatever is waited for: a request, the rest of its head, room for the answer.
    deadline: Deadline,
    /// Plain HTTP where TLS was to be spoken: every request is answered with 497.
    plain_on_tls: bool,
}

/// What becomes of the connection after an exchange.
enum Next {
    Keep(Duration),
    Close,
    /// The client may still be sending: closing at once would lose it the answer.
    Linger {
        total: Duration,
        between: Duration,
    },
}

/// How the life of a connection's task ends.
pub(super) enum End {
    Close,
    /// Nothing has come for a while; if nothing comes until then, it is to be closed.
    Idle {
        until_ms: u64,
    },
}

/// How a wait for a request ends.
enum Waited {
    Came,
    /// The client left, time is over, or we are to leave.
    Over,
    ForLong {
        until_ms: u64,
    },
}

/// A head that could not be read.
enum HeadError {
    /// The client left between two requests, or before it sent anything.
    Gone,
    /// It left, or took too long, in the middle of a head.
    Broken(u16),
    Bad(RequestError),
    /// 414 in the request line, 494 behind it.
    TooLarge(u16),
}

impl Client {
    pub(super) fn new(
        counted: Counted,
        conn: Rc<Conn>,
        facts: Rc<Connection>,
        listener: Rc<Addr>,
        rest: Buf,
        plain_on_tls: bool,
    ) -> Self {
        let deadline = Deadline::new();
        Self { counted, conn, facts, listener, rest, head: None, deadline, plain_on_tls }
    }

    /// The life of the connection. What waits for a request, or for the rest of its head, is small: the exchange is
    /// boxed while it lasts.
    pub(super) async fn run(&mut self) -> End {
        let mut wait = self.first_wait();
        loop {
            if self.rest.is_empty() {
                match self.wait_for_request(wait).await {
                    Waited::Came => {}
                    Waited::Over => return End::Close,
                    Waited::ForLong { until_ms } => return End::Idle { until_ms },
                }
            }
            let next = self.exchange().await;
            self.counted.thread.give_head(self.head.take());
            if !matches!(next, Next::Keep(_)) {
                access_log::flush_lines();
            }
            match next {
                Next::Keep(timeout) => wait = timeout,
                Next::Close => return End::Close,
                Next::Linger { total, between } => {
                    Box::pin(self.linger(total, between)).await;
                    return End::Close;
                }
            }
        }
    }

    /// What the head says, once one is being read.
    fn head(&self) -> &RequestHead {
        self.head.as_deref().expect("because an exchange begins with taking one")
    }

    fn first_wait(&self) -> Duration {
        let local = self.counted.thread.local();
        match self.address(&local.cycle) {
            Some(address) => super::client_settings(&local, address.default_server).header_timeout,
            None => Duration::ZERO,
        }
    }

    /// Waits until there is something to read.
    async fn wait_for_request(&self, limit: Duration) -> Waited {
        let first = self.facts.requests.get() == 0;
        let _waiting = Doing::now(Count::Waiting);
        let until_ms = clock::ms() + clock::as_ms(limit);
        // What comes first may be a handshake's rest, or a client that never asks: those keep their task.
        let parks = limit > PARK_AFTER && !first && self.may_park();
        self.deadline.arm(if parks { PARK_AFTER } else { limit });
        let place = self.counted.place;
        let waited = poll_fn(|cx| {
            if let Poll::Ready(done) = self.conn.poll_readable(cx) {
                return Poll::Ready(if done.is_ok() { Waited::Came } else { Waited::Over });
            }
            if self.counted.thread.poll_unwanted(place, first, cx).is_ready() {
                return Poll::Ready(Waited::Over);
            }
            let late = if parks { Waited::ForLong { until_ms } } else { Waited::Over };
            self.deadline.poll_expired(cx).map(|()| late)
        });
        let waited = waited.await;
        if !matches!(waited, Waited::ForLong { .. }) {
            self.counted.thread.not_idle(place);
        }
        waited
    }

    fn may_park(&self) -> bool {
        let plain = matches!(&*self.conn, Conn::Plain(stream) if stream.may_join_crowd());
        plain && Rc::strong_count(&self.conn) == 1
    }

    /// What an idle connection keeps; `None` where somebody else still holds it.
    pub(super) fn into_parked(self, until_ms: u64) -> Option<(Parked, Stream)> {
        let Self { counted, conn, facts, listener, plain_on_tls, .. } = self;
        match Rc::try_unwrap(conn) {
            Ok(Conn::Plain(stream)) => {
                Some((Parked { counted, facts, listener, plain_on_tls, until_ms }, stream))
            }
            _ => None,
        }
    }

    /// The servers behind the address that the client reached, in this cycle. `None`: not listened on any more.
    fn address<'a>(&self, cycle: &'a Cycle) -> Option<&'a Address> {
        let endpoint = cycle.endpoints.iter().find(|it| it.addr == *self.listener)?;
        Some(endpoint.address(&self.facts.local))
    }

    /// One request and its answer.
    async fn exchange(&mut self) -> Next {
        let local = self.counted.thread.local();
        let Some(address) = self.address(&local.cycle) else { return Next::Close };
        let on = super::client_settings(&local, address.default_server);
        self.head = Some(self.counted.thread.take_head());
        let reading = Doing::now(Count::Reading);
        let pipelined = !self.rest.is_empty() && self.facts.requests.get() > 0;
        let head = self.read_head(on).await;
        drop(reading);
        let _writing = Doing::now(Count::Writing);
        match head {
            Ok(head) => Box::pin(self.serve(&local, address, head, pipelined)).await,
            Err(HeadError::Gone) => Next::Close,
            Err(error) => Box::pin(self.refuse(&local, address, error)).await,
        }
    }

    /// Serves a request whose head has been read.
    async fn serve(&mut self, local: &Rc<Local>, address: &Address, head: Buf, pipelined: bool) -> Next {
        let on = super::client_settings(local, address.default_server);
        stats::add(Count::Requests);
        let mut ex = self.begin(local);
        let mut reply = Reply::default();
        ex.head_bytes = head.len() as u64;
        if pipelined {
            ex.notes.put(Pipelined);
        }
        let filled = request::fill(&mut ex, &head, self.head(), on.merge_slashes);
        let misdirected = route::find_server(local, address, &mut ex).is_err();
        drop(head);
        if filled.is_err() {
            log!(ex, Level::Info, "client sent invalid request");
            ex.uri.clear();
            return Box::pin(self.answer_bad(local, &mut ex, reply, 400)).await;
        }
        ex.keepalive = self.head().keeps_alive();
        let body = self.take_body(local, &mut ex);
        self.log_dropped(&ex);
        if ssl::must_wait(local.cycle.settings(ex.location).ssl.as_deref(), &ex) {
            let done = Box::pin(self.conn.finish_handshake());
            if !matches!(clock::timeout(on.header_timeout, done).await, Ok(Ok(()))) {
                self.give_back(local, ex);
                return Next::Close;
            }
        }
        let answered = match conduct::refusal(&ex, misdirected, self.plain_on_tls) {
            Some(status) => {
                ex.keepalive = false;
                Box::pin(phases::answer(local, &mut ex, &mut reply, status)).await
            }
            None => phases::serve(local, &mut ex, &mut reply).await,
        };
        let next = match answered {
            true => self.answer(local, &mut ex, &mut reply, body).await,
            false => {
                conduct::log(local, &mut ex);
                Next::Close
            }
        };
        self.give_back(local, ex);
        next
    }

    fn give_back(&self, local: &Rc<Local>, ex: conduct::Held) {
        if let Some(ex) = ex.end() {
            self.counted.thread.give_exchange(local, ex);
        }
    }

    /// An exchange of which nothing is known yet but its connection.
    fn begin(&self, local: &Rc<Local>) -> conduct::Held {
        self.facts.requests.set(self.facts.requests.get() + 1);
        let mut ex = self.counted.thread.take_exchange(local);
        ex.begin(self.facts.clone(), self.conn.clone());
        conduct::Held::new(ex, local)
    }

    /// Bytes of what a request lives in.
    pub(super) fn future_bytes() -> usize {
        type Serve<F> = fn(&'static mut Client, &'static Rc<Local>, &'static Address, Buf, bool) -> F;
        fn bytes_of<F: Future>(_: Serve<F>) -> usize {
            size_of::<F>()
        }
        bytes_of(Client::serve)
    }

    fn log_dropped(&self, ex: &Exchange) {
        for _ in &self.head().dropped {
            log!(ex, Level::Info, "client sent invalid header line");
        }
    }

    /// Reads until a head is whole; gives its bytes.
    async fn read_head(&mut self, on: &client::Settings) -> Result<Buf, HeadError> {
        let rules = RequestRules {
            underscores: on.underscores,
            ignore_invalid: on.ignore_invalid,
            fields_max: on.max_headers,
        };
        let mut gathered: Vec<u8> = Vec::new();
        let mut bytes = std::mem::take(&mut self.rest);
        let mut began_ms = None;
        let mut discarded = 0;
        loop {
            let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if gathered.is_empty() && blank > 0 {
                bytes.advance(blank);
                discarded += 1;
                if discarded > DISCARD_BLOCKS_MAX {
                    return Err(HeadError::Broken(400));
                }
            }
            if !bytes.is_empty()
                && let Some(head) = self.try_head(on, &rules, &mut gathered, &mut bytes)?
            {
                self.rest = bytes;
                return Ok(head);
            }
            self.wait_for_head(on, &mut began_ms, gathered.len());
            bytes = match self.recv().await {
                Ok(Ok(more)) if !more.is_empty() => more,
                Ok(_) if gathered.is_empty() => return Err(HeadError::Gone),
                ended => {
                    self.rest = Buf::from_vec(gathered);
                    return Err(HeadError::Broken(if ended.is_err() { 408 } else { 400 }));
                }
            };
        }
    }

    /// The time that a head may take runs from its first wait on; a floor may end it sooner.
    fn wait_for_head(&self, on: &client::Settings, began_ms: &mut Option<NonZeroU32>, bytes: usize) {
        let begins = began_ms.is_none();
        // The clock's lower half, so that an idle connection has no more to hold: heads do not take weeks.
        let now_ms = clock::ms() as u32;
        let began_ms = *began_ms.get_or_insert(NonZeroU32::new(now_ms).unwrap_or(NonZeroU32::MIN));
        match on.header_floor {
            None if !begins => (),
            None => self.deadline.arm(on.header_timeout),
            Some(floor) => {
                let may_last = floor.patience(bytes as u64).min(on.header_timeout);
                let lasted = Duration::from_millis(now_ms.wrapping_sub(began_ms.get()).into());
                self.deadline.arm(may_last.saturating_sub(lasted));
            }
        }
    }

    /// What the client sends next, within the time that is set.
    async fn recv(&self) -> Result<std::io::Result<Buf>, Elapsed> {
        poll_fn(|cx| match self.conn.poll_recv(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.deadline.poll_expired(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// Parses what has come so far. What is unfinished is copied, and the thread's block given back.
    fn try_head(
        &mut self,
        on: &client::Settings,
        rules: &RequestRules,
        gathered: &mut Vec<u8>,
        bytes: &mut Buf,
    ) -> Result<Option<Buf>, HeadError> {
        if gathered.is_empty() {
            return match parse_request(bytes, rules, head_of(&mut self.head)) {
                Ok(Some(n)) => {
                    let head = bytes.split_to(n);
                    self.check_size(on, &head)?;
                    Ok(Some(head))
                }
                Ok(None) => {
                    gathered.extend_from_slice(bytes);
                    *bytes = Buf::default();
                    self.check_size(on, gathered).map(|()| None)
                }
                Err(error) => Err(self.bad(bytes, error)),
            };
        }
        gathered.extend_from_slice(bytes);
        *bytes = Buf::default();
        let parsed = parse_request(gathered, rules, head_of(&mut self.head));
        match parsed {
            Ok(Some(n)) => {
                self.check_size(on, &gathered[..n])?;
                let mut whole = Buf::from_vec(std::mem::take(gathered));
                let head = whole.split_to(n);
                *bytes = whole;
                Ok(Some(head))
            }
            Ok(None) => self.check_size(on, gathered).map(|()| None),
            Err(error) => {
                let whole = Buf::from_vec(std::mem::take(gathered));
                Err(self.bad(&whole, error))
            }
        }
    }

    fn bad(&mut self, bytes: &[u8], error: RequestError) -> HeadError {
        self.rest = Buf::copy_from(bytes);
        HeadError::Bad(error)
    }

    /// A line may be as long as one large buffer, all lines together as all buffers.
    fn check_size(&mut self, on: &client::Settings, bytes: &[u8]) -> Result<(), HeadError> {
        if bytes.len() <= on.header_bytes {
            return Ok(());
        }
        let (n_large, large) = on.large_buffers;
        let line_max = large.max(on.header_bytes);
        let too_large = |status, it: &mut Self| {
            it.rest = Buf::copy_from(bytes);
            Err(HeadError::TooLarge(status))
        };
        let mut lines = bytes.split_inclusive(|b| *b == b'\n');
        if lines.next().is_some_and(|line| line.len() > line_max) {
            return too_large(414, self);
        }
        let total_max = on.header_bytes + n_large * large;
        if lines.any(|line| line.len() > line_max) || bytes.len() > total_max {
            return too_large(494, self);
        }
        Ok(())
    }

    /// A head that is none: answered with a page of the default server, then closed.
    async fn refuse(&mut self, local: &Rc<Local>, address: &Address, error: HeadError) -> Next {
        let mut ex = self.begin(local);
        ex.server = address.default_server;
        ex.location = local.cycle.server(ex.server).place;
        ex.keepalive = false;
        let bytes = std::mem::take(&mut self.rest);
        ex.version = self.head().version;
        ex.method = self.head().method;
        ex.method_name = self.head().method_name.of(&bytes).to_vec();
        ex.line = self.head().line.of(&bytes).to_vec();
        let status = match error {
            HeadError::Gone => return Next::Close,
            HeadError::Broken(status) => {
                let what =
                    if status == 408 { "client timed out" } else { "client prematurely closed connection" };
                log!(ex, Level::Info, "{what} while reading client request headers");
                ex.sent.status = status;
                conduct::log(local, &mut ex);
                return Next::Close;
            }
            HeadError::Bad(error) => {
                let text = error.text(&bytes);
                log!(ex, Level::Info, "{} while reading client request", String::from_utf8_lossy(&text));
                error.status()
            }
            HeadError::TooLarge(status) => {
                let what = if status == 414 { "URI" } else { "header line" };
                log!(ex, Level::Info, "client sent too long {what} while reading client request headers");
                status
            }
        };
        if ex.version == Version::H09 {
            ex.version = Version::H10;
        }
        self.answer_bad(local, &mut ex, Reply::default(), status).await
    }

    async fn answer_bad(
        &mut self,
        local: &Rc<Local>,
        ex: &mut Exchange,
        mut reply: Reply,
        status: u16,
    ) -> Next {
        ex.keepalive = false;
        match phases::answer(local, ex, &mut reply, status).await {
            true => self.answer(local, ex, &mut reply, None).await,
            false => Next::Close,
        }
    }

    fn take_body(&mut self, local: &Local, ex: &mut Exchange) -> Option<Rc<RefCell<BodyState>>> {
        if !self.head().has_body() {
            ex.body.length = self.head().content_length;
            return None;
        }
        let on = client_settings(local.cycle.settings(ex.location));
        let length = self.head().content_length.filter(|_| !self.head().chunked);
        let rest = std::mem::take(&mut self.rest);
        let expects = self.head().expect_continue && ex.version >= Version::H11;
        let conn = self.conn.clone();
        let mut body = BodyState::new(conn, length, rest, expects, on.body_timeout, on.body_bytes_max);
        body.keep_pace(on.body_floor);
        let body = Rc::new(RefCell::new(body));
        let source = Some(Box::new(BodyReader(body.clone())) as Box<dyn foregate_core::Source>);
        ex.body = RequestBody { source, length, ..RequestBody::default() };
        Some(body)
    }

    /// Sends the answer, logs it, and decides what becomes of the connection.
    async fn answer(
        &mut self,
        local: &Rc<Local>,
        ex: &mut Exchange,
        reply: &mut Reply,
        body: Option<Rc<RefCell<BodyState>>>,
    ) -> Next {
        let on = local.cycle.settings(ex.location);
        if reply.close {
            ex.keepalive = false;
        }
        ex.keepalive = conduct::may_stay(&self.counted.thread, client_settings(on), ex);
        if reply.status != TOO_LARGE && ex.version >= Version::H11 && self.head().expect_continue {
            Box::pin(self.ask_for_body(body.as_deref())).await;
        }
        if let Some(body) = &body
            && reply.status < 400
            && body.borrow_mut().is_broken_already()
        {
            log!(ex, Level::Info, "client sent invalid chunked body");
            return Box::pin(self.answer_bad(local, ex, std::mem::take(reply), 400)).await;
        }
        if matches!(reply.body, Body::Tunnel(_))
            && let Body::Tunnel(tunnel) = std::mem::take(&mut reply.body)
        {
            return Box::pin(self.tunnel(local, ex, reply, tunnel, body)).await;
        }
        let sent = self.send(on, ex, reply).await;
        if let Err(error) = &sent {
            conduct::log_send_error(ex, error);
        }
        let keepalive = ex.keepalive;
        if on.post_action.is_some() {
            Box::pin(phases::after_answer(local, ex)).await;
        }
        conduct::log(local, ex);
        if !keepalive && let Some(behind) = ex.notes.take::<Behind>() {
            Box::pin(behind.ended()).await;
        }
        match (sent, body) {
            (Ok(()), None) => self.settle(client_settings(on), keepalive, true),
            (Ok(()), Some(body)) => Box::pin(self.after(on, keepalive, body)).await,
            (Err(SendError::Slow), _) if client_settings(on).reset_timedout => {
                self.conn.set_linger_reset();
                Next::Close
            }
            (Err(_), _) => Next::Close,
        }
    }

    async fn send(&self, on: &Settings, ex: &mut Exchange, reply: &mut Reply) -> Result<(), SendError> {
        let mut out = self.counted.thread.take_out();
        let done = response::send(&self.conn, &self.deadline, on, ex, reply, &mut out).await;
        self.counted.thread.give_out(out);
        done
    }

    /// As in nginx, a body that will only be discarded, or is none, is asked for all the same.
    async fn ask_for_body(&self, body: Option<&RefCell<BodyState>>) {
        if body.is_none_or(|it| it.borrow_mut().take_expectation()) {
            _ = self.conn.send_all(body::CONTINUE).await;
        }
    }

    /// The answer is out: the rest of the body is discarded before the next request can be read.
    async fn after(&mut self, on: &Settings, keepalive: bool, body: Rc<RefCell<BodyState>>) -> Next {
        let on = client_settings(on);
        let clean = self.discard(&body, on, keepalive).await;
        self.rest = body.borrow_mut().take_rest();
        self.settle(on, keepalive, clean)
    }

    /// What becomes of the connection. `clean`: nothing of the request is still to come.
    fn settle(&self, on: &client::Settings, keepalive: bool, clean: bool) -> Next {
        if clean && keepalive {
            return Next::Keep(on.keepalive_timeout);
        }
        let lingers = match on.lingering {
            client::Lingering::Off => false,
            client::Lingering::Always => true,
            client::Lingering::On => !clean || !self.rest.is_empty(),
        };
        match lingers {
            true => Next::Linger { total: on.lingering_time, between: on.lingering_timeout },
            false => Next::Close,
        }
    }

    /// Reads what is left of a body and forgets it. `false`: it did not end.
    async fn discard(&self, body: &RefCell<BodyState>, on: &client::Settings, keepalive: bool) -> bool {
        if body.borrow().has_failed() || body.borrow().still_expects() {
            return false;
        }
        if body.borrow().is_over() {
            return true;
        }
        if !keepalive {
            return false;
        }
        body.borrow_mut().set_bytes_max(0);
        body.borrow_mut().set_timeout(on.lingering_timeout);
        let drain = async {
            loop {
                match poll_fn(|cx| body.borrow_mut().poll_next(cx)).await {
                    Ok(Some(_)) => (),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        clock::timeout(on.lingering_time, drain).await.unwrap_or(false)
    }

    /// Says that no more will come, and reads until the client has understood.
    async fn linger(&self, total: Duration, between: Duration) {
        self.conn.shutdown_write();
        let drain = async {
            loop {
                match clock::timeout(between, self.conn.recv()).await {
                    Ok(Ok(bytes)) if !bytes.is_empty() => (),
                    _ => return,
                }
            }
        };
        _ = clock::timeout(total, drain).await;
    }

    /// After a 101 the connection belongs to the tunnel.
    async fn tunnel(
        &mut self,
        local: &Rc<Local>,
        ex: &mut Exchange,
        reply: &mut Reply,
        tunnel: Box<dyn foregate_core::Tunnel>,
        body: Option<Rc<RefCell<BodyState>>>,
    ) -> Next {
        let on = local.cycle.settings(ex.location);
        let mut early = std::mem::take(&mut self.rest);
        if let Some(body) = body {
            early = body.borrow_mut().take_rest();
        }
        if self.send(on, ex, reply).await.is_ok() {
            let carried = tunnel.run(self.conn.clone(), early).await;
            ex.sent.body_bytes = carried.to_client_bytes;
            ex.sent.bytes += carried.to_client_bytes;
            ex.head_bytes += carried.from_client_bytes;
        }
        conduct::log(local, ex);
        Next::Close
    }
}

fn head_of(head: &mut Option<Box<RequestHead>>) -> &mut RequestHead {
    head.as_deref_mut().expect("because an exchange begins with taking one")
}
