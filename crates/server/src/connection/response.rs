//! An answer onto an HTTP/1 connection: the head, the body in its framing, at the rate that is allowed.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_core::{
    Body, BodyError, Exchange, FileSlice, Level, Method, Part, Reply, Source, Version, log, push_number, time,
};
use foregate_modules::{Settings, client, headers};
use foregate_net::{Conn, clock, clock::Deadline, runtime};
use foregate_wire::h1::{LAST_CHUNK, chunk_header};
use foregate_wire::{Buf, Fields, Name, NameSet, status};

use super::pace::{self, Pace};
use super::rate::Rate;
use crate::special;

/// Bodies up to this size are copied behind the head, so that one plain write sends both.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Why an answer could not be sent whole. The connection ends in each case.
#[derive(Debug)]
pub(super) enum SendError {
    /// The client went away.
    Client,
    /// The client did not take anything for `send_timeout`.
    Slow,
    /// The body broke off; it has been logged.
    Body,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    /// The connection's end is the body's.
    Close,
}

/// Sends the answer. What was sent stands in `ex.sent`. `out` is a buffer for the head.
pub(super) async fn send(
    conn: &Conn,
    deadline: &Deadline,
    on: &Settings,
    ex: &mut Exchange,
    reply: &mut Reply,
    out: &mut Vec<u8>,
) -> Result<(), SendError> {
    let client = on.client.as_ref().expect("because the client module always resolves");
    let framing = framing(ex, reply, client);
    if ex.version != Version::H09 {
        head(on, ex, reply, framing, out);
    }
    ex.sent.head_bytes = out.len() as u64;
    ex.sent.status = reply.status;
    ex.sent.chunked = framing == Framing::Chunked;
    ex.sent.content_length = reply.content_length();
    let (limit, pace) = (Rate::of(client, ex), Pace::over(client.send_floor));
    let mut sender = Sender { conn, deadline, timeout: client.send_timeout, limit, pace, bytes: 0 };
    ex.sent.fields = std::mem::take(&mut reply.fields);
    let mut body = std::mem::take(&mut reply.body);
    if matches!(sender.conn, Conn::Tls(_)) {
        body = body.at_hand();
    }
    let done = match append_short(ex, &mut body, framing, out) {
        Ok(true) => {
            runtime::gather().await;
            sender.all(out).await
        }
        Ok(false) => Box::pin(send_body(&mut sender, ex, out, body, framing)).await,
        Err(error) => Err(error),
    };
    ex.sent.bytes = sender.bytes;
    ex.sent.complete = done.is_ok();
    done
}

/// Puts a body that is short, or none, behind the head, because one write is cheaper than two. `false`: it is not.
fn append_short(
    ex: &mut Exchange,
    body: &mut Body,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<bool, SendError> {
    match body {
        _ if framing == Framing::None => Ok(true),
        Body::Empty | Body::Tunnel(_) => {
            end(framing, &Fields::default(), out);
            Ok(true)
        }
        Body::Bytes(bytes) if framing != Framing::Chunked && bytes.len() <= COPIED_BYTES_MAX => {
            ex.sent.body_bytes = bytes.len() as u64;
            out.extend_from_slice(bytes);
            Ok(true)
        }
        Body::File(slice) if framing != Framing::Chunked && slice.len() <= COPIED_BYTES_MAX as u64 => {
            let before = out.len();
            let whole = slice.read_all(out).map_err(|_| SendError::Body)?;
            ex.sent.body_bytes = (out.len() - before) as u64;
            if !whole {
                log!(ex, Level::Alert, "a file was truncated while sending response to client");
                return Err(SendError::Body);
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

async fn send_body(
    sender: &mut Sender<'_>,
    ex: &mut Exchange,
    out: &mut Vec<u8>,
    body: Body,
    framing: Framing,
) -> Result<(), SendError> {
    match body {
        Body::Bytes(bytes) if framing != Framing::Chunked => {
            ex.sent.body_bytes = bytes.len() as u64;
            sender.vectored(&[out, &bytes]).await
        }
        Body::File(slice) if framing != Framing::Chunked => {
            sender.all(out).await?;
            sender.file(ex, slice).await
        }
        Body::Parts(parts) if framing != Framing::Chunked => {
            sender.all(out).await?;
            for part in parts {
                match part {
                    Part::Bytes(bytes) => {
                        ex.sent.body_bytes += bytes.len() as u64;
                        sender.all(&bytes).await?;
                    }
                    Part::File(slice) => sender.file(ex, slice).await?,
                }
            }
            Ok(())
        }
        Body::Source(source) if source.lies_in_file() && framing != Framing::Chunked => {
            sender.all(out).await?;
            sender.slices(ex, source).await?;
            check_length(ex, framing)
        }
        body => sender.stream(ex, out, body.into_source(), framing).await,
    }
}

fn framing(ex: &mut Exchange, reply: &Reply, client: &client::Settings) -> Framing {
    let bodyless = reply.status < 200 || matches!(reply.status, 204 | 304);
    if bodyless || ex.method == Method::Head {
        return Framing::None;
    }
    if let Some(length) = reply.content_length() {
        return Framing::Length(length);
    }
    if ex.version >= Version::H11 && client.chunked {
        return Framing::Chunked;
    }
    ex.keepalive = false;
    Framing::Close
}

/// Fields that `head` writes itself.
const OURS: NameSet = NameSet::of(&[
    Name::Server,
    Name::Date,
    Name::ContentType,
    Name::ContentLength,
    Name::LastModified,
    Name::Location,
    Name::TransferEncoding,
    Name::Connection,
]);

/// The head, its own fields in nginx's order.
fn head(on: &Settings, ex: &mut Exchange, reply: &Reply, framing: Framing, out: &mut Vec<u8>) {
    status_line(reply, out);
    let fields = &reply.fields;
    match fields.get(Name::Server) {
        // An upstream that is to speak for itself has said nothing.
        Some(b"") => (),
        Some(server) => field(b"Server: ", server, out),
        None => {
            let name = special::name(on, ex);
            if !name.is_empty() {
                field(b"Server: ", name.as_bytes(), out);
            }
        }
    }
    match fields.get(Name::Date) {
        Some(b"") => (),
        Some(date) => field(b"Date: ", date, out),
        None => {
            out.extend_from_slice(b"Date: ");
            time::http((clock::unix_ms() / 1000) as i64, out);
            out.extend_from_slice(b"\r\n");
        }
    }
    let bodyless = reply.status < 200 || matches!(reply.status, 204 | 304);
    if let Some(content_type) = fields.get(Name::ContentType) {
        field(b"Content-Type: ", content_type, out);
    }
    if let Some(length) = reply.content_length().filter(|_| !bodyless) {
        out.extend_from_slice(b"Content-Length: ");
        push_number(length, out);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(modified) = fields.get(Name::LastModified) {
        field(b"Last-Modified: ", modified, out);
    }
    if let Some(location) = fields.get(Name::Location) {
        field(b"Location: ", location, out);
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    connection_fields(on, ex, reply, out);
    fields.write_lines(OURS, |_| false, out);
    out.extend_from_slice(b"\r\n");
}

fn status_line(reply: &Reply, out: &mut Vec<u8>) {
    if reply.status == 200 && reply.reason.is_none() {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    let sent = reply.status;
    out.extend_from_slice(&[
        b'0' + (sent / 100 % 10) as u8,
        b'0' + (sent / 10 % 10) as u8,
        b'0' + (sent % 10) as u8,
    ]);
    match (&reply.reason, status::reason(sent)) {
        (Some(reason), _) => {
            out.push(b' ');
            out.extend_from_slice(reason);
        }
        (None, Some(reason)) => {
            out.push(b' ');
            out.extend_from_slice(reason.as_bytes());
        }
        (None, None) => out.push(b' '),
    }
    out.extend_from_slice(b"\r\n");
}

fn connection_fields(on: &Settings, ex: &Exchange, reply: &Reply, out: &mut Vec<u8>) {
    if reply.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        return;
    }
    if !ex.keepalive {
        out.extend_from_slice(b"Connection: close\r\n");
        return;
    }
    out.extend_from_slice(b"Connection: keep-alive\r\n");
    if let Some(said) = on.client.as_ref().and_then(|it| it.keepalive_said) {
        out.extend_from_slice(b"Keep-Alive: timeout=");
        push_number(said.as_secs(), out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes one field; `name` has the colon and the blank.
fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn end(framing: Framing, trailers: &Fields, out: &mut Vec<u8>) {
    if framing != Framing::Chunked {
        return;
    }
    if trailers.is_empty() {
        out.extend_from_slice(LAST_CHUNK);
        return;
    }
    out.extend_from_slice(b"0\r\n");
    trailers.write_lines(NameSet::EMPTY, |_| false, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes to the client, counting and within its times.
struct Sender<'a> {
    conn: &'a Conn,
    deadline: &'a Deadline,
    timeout: Duration,
    limit: Option<Rate>,
    pace: Option<Pace>,
    bytes: u64,
}

impl Sender<'_> {
    /// Sends all of it. What the socket takes at once costs neither a timer nor a box.
    async fn all(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if self.limit.is_some() {
            return Box::pin(self.all_in_time(bytes)).await;
        }
        self.whole(bytes).await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// As `all`, at the rate that is allowed.
    async fn all_in_time(&mut self, mut bytes: &[u8]) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let n = self.allowed(bytes.len()).await?;
            self.whole(&bytes[..n]).await?;
            self.bytes += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends without a look at the rate, within the time that a client may take.
    fn whole(&self, mut bytes: &[u8]) -> impl Future<Output = Result<(), SendError>> {
        let mut waits = false;
        poll_fn(move |cx| {
            while !bytes.is_empty() {
                match self.conn.poll_send(cx, bytes) {
                    Poll::Ready(Ok(n)) => {
                        bytes = &bytes[n..];
                        self.go_on(&mut waits);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::Client)),
                    Poll::Pending => return self.poll_slow(cx, &mut waits),
                }
            }
            match self.conn.poll_flush(cx) {
                Poll::Ready(done) => {
                    self.go_on(&mut waits);
                    Poll::Ready(done.map_err(|_| SendError::Client))
                }
                Poll::Pending => self.poll_slow(cx, &mut waits),
            }
        })
    }

    /// The client has taken something: the next wait is another one.
    fn go_on(&self, waits: &mut bool) {
        if std::mem::take(waits)
            && let Some(pace) = &self.pace
        {
            pace.end();
        }
    }

    /// Something that is done when the client has taken a little more.
    async fn in_time<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, SendError> {
        let done = clock::timeout(pace::wait(self.pace.as_ref(), self.bytes, self.timeout), work).await;
        if let Some(pace) = &self.pace {
            pace.end();
        }
        settle(done)
    }

    /// The socket is full: ready once the client has taken too long.
    fn poll_slow(&self, cx: &mut Context<'_>, waits: &mut bool) -> Poll<Result<(), SendError>> {
        if !std::mem::replace(waits, true) {
            self.deadline.arm(pace::wait(self.pace.as_ref(), self.bytes, self.timeout));
        }
        self.deadline.poll_expired(cx).map(|()| Err(SendError::Slow))
    }

    async fn vectored(&mut self, slices: &[&[u8]]) -> Result<(), SendError> {
        if self.limit.is_some() || self.pace.is_some() {
            for slice in slices {
                self.all(slice).await?;
            }
            return Ok(());
        }
        self.in_time(self.conn.send_vectored_all(slices)).await?;
        self.bytes += slices.iter().map(|it| it.len() as u64).sum::<u64>();
        Ok(())
    }

    async fn file(&mut self, ex: &mut Exchange, mut slice: FileSlice) -> Result<(), SendError> {
        while !slice.is_empty() {
            let n = self.allowed(usize::try_from(slice.len()).unwrap_or(usize::MAX)).await? as u64;
            let mut at = slice.start;
            let sent = self.some_of_file(&slice.file, &mut at, n).await;
            let done = at - slice.start;
            self.bytes += done;
            ex.sent.body_bytes += done;
            slice.start = at;
            sent?;
        }
        Ok(())
    }

    /// As much of a file as the client takes at once: the next wait has a time of its own, as in nginx.
    async fn some_of_file(&self, file: &File, at: &mut u64, n: u64) -> Result<(), SendError> {
        let Conn::Plain(stream) = self.conn else {
            return self.in_time(self.conn.sendfile(file, at, n.min(Buf::BLOCK as u64))).await;
        };
        let mut waits = false;
        let sent = poll_fn(|cx| match stream.poll_sendfile(cx, file, at, n) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(SendError::Body)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(SendError::Client)),
            Poll::Pending => self.poll_slow(cx, &mut waits),
        });
        let sent = sent.await;
        self.go_on(&mut waits);
        // One fast client must not hold up the others.
        runtime::yield_now().await;
        sent
    }

    /// Sends a file as it grows.
    async fn slices(&mut self, ex: &mut Exchange, mut source: Box<dyn Source>) -> Result<(), SendError> {
        loop {
            match poll_fn(|cx| source.poll_slice(cx)).await {
                Ok(Some(slice)) => self.file(ex, slice).await?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(SendError::Body),
            }
        }
    }

    /// Pulls a source and sends what comes, framed. While the client is blocked the source may read ahead.
    async fn stream(
        &mut self,
        ex: &mut Exchange,
        out: &mut Vec<u8>,
        mut source: Box<dyn Source>,
        framing: Framing,
    ) -> Result<(), SendError> {
        loop {
            let next = match poll_now(&mut *source) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    self.all(out).await?;
                    out.clear();
                    foregate_core::next(&mut *source).await
                }
            };
            match next {
                Ok(Some(bytes)) => {
                    ex.sent.body_bytes += bytes.len() as u64;
                    self.chunk(out, &bytes, framing, &mut *source).await?;
                }
                Ok(None) => {
                    if framing == Framing::Chunked {
                        ex.sent.trailers = source.trailers().unwrap_or_default();
                        headers::trailers(ex);
                    }
                    end(framing, &ex.sent.trailers, out);
                    self.all(out).await?;
                    return check_length(ex, framing);
                }
                Err(error) => {
                    if error == BodyError::File {
                        log!(ex, Level::Alert, "reading a body from its file failed while sending to client");
                    }
                    // What came before the failure is the client's, the head at the least.
                    self.all(out).await?;
                    return Err(SendError::Body);
                }
            }
        }
    }

    /// Sends what waits in `out` and one piece of the body in its framing.
    async fn chunk(
        &mut self,
        out: &mut Vec<u8>,
        bytes: &Buf,
        framing: Framing,
        source: &mut dyn Source,
    ) -> Result<(), SendError> {
        let mut tail: &[u8] = b"";
        if framing == Framing::Chunked {
            chunk_header(bytes.len(), out);
            tail = b"\r\n";
        }
        if bytes.len() <= COPIED_BYTES_MAX || self.limit.is_some() {
            out.extend_from_slice(bytes);
            out.extend_from_slice(tail);
            self.ahead(out, source).await?;
            out.clear();
            return Ok(());
        }
        if !out.is_empty() {
            self.all(out).await?;
            out.clear();
        }
        self.ahead(bytes, source).await?;
        out.extend_from_slice(tail);
        Ok(())
    }

    /// As `all`; while the client is blocked the source reads ahead.
    async fn ahead(&mut self, mut bytes: &[u8], source: &mut dyn Source) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let n = self.allowed(bytes.len()).await?;
            let conn = self.conn;
            let send = poll_fn(|cx| {
                let sent = conn.poll_send(cx, &bytes[..n]);
                if sent.is_pending() {
                    source.poll_ahead(cx);
                }
                sent
            });
            let n = self.in_time(send).await?;
            self.bytes += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// How many of `want` bytes may go out now; waits until at least one may, or the client has gone.
    async fn allowed(&mut self, want: usize) -> Result<usize, SendError> {
        let Some(limit) = &self.limit else { return Ok(want) };
        loop {
            match limit.allows(self.bytes) {
                Ok(n) => return Ok(want.min(n)),
                Err(wait) => {
                    if clock::timeout(wait, self.conn.hung_up()).await.is_ok() {
                        return Err(SendError::Client);
                    }
                }
            }
        }
    }
}

/// Polls once without waiting: is anything there already?
fn poll_now(source: &mut dyn Source) -> Poll<Result<Option<Buf>, BodyError>> {
    source.poll_next(&mut Context::from_waker(std::task::Waker::noop()))
}

/// A body that is shorter than its `Content-Length` has said cannot be mended.
fn check_length(ex: &Exchange, framing: Framing) -> Result<(), SendError> {
    match framing {
        Framing::Length(length) if ex.sent.body_bytes != length => Err(SendError::Body),
        _ => Ok(()),
    }
}

fn settle<T>(sent: Result<io::Result<T>, clock::Elapsed>) -> Result<T, SendError> {
    match sent {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(SendError::Client),
        Err(_) => Err(SendError::Slow),
    }
}
