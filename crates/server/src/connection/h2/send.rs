//! An answer onto its stream: the head, the body as windows and the output's room allow, the trailers.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foregate_core::{
    Body, BodyError, Exchange, FileSlice, Level, Method, Reply, Source, gone, log, push_number, time,
};
use foregate_modules::{Settings, headers};
use foregate_net::clock::{self, Deadline};
use foregate_wire::h2::hpack::Encoder;
use foregate_wire::{Buf, Fields, Name, NameSet};

use super::super::conduct::client_settings;
use super::super::pace::{self, Pace};
use super::super::rate::Rate;
use super::super::response::SendError;
use super::lane::Lane;
use crate::special;

/// Files up to this size are read in one piece behind the head.
const COPIED_BYTES_MAX: u64 = 16 << 10;

/// Fields that `head` writes itself, and those that HTTP/2 has not (RFC 9113, section 8.2.2).
const OURS: NameSet = NameSet::of(&[
    Name::Server,
    Name::Date,
    Name::ContentType,
    Name::ContentLength,
    Name::LastModified,
    Name::Location,
    Name::TransferEncoding,
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::Upgrade,
]);

/// Sends the answer. What was sent stands in `ex.sent`.
pub(super) async fn send(
    lane: &Rc<Lane>,
    on: &Settings,
    ex: &mut Exchange,
    mut reply: Reply,
) -> Result<(), SendError> {
    let bodyless = ex.method == Method::Head || reply.status < 200 || matches!(reply.status, 204 | 304);
    let has_trailers = on.headers.is_some();
    let ends = bodyless || matches!(&reply.body, Body::Empty | Body::Tunnel(_)) && !has_trailers;
    if lane.is_lost() {
        ex.sent.status = reply.status;
        return Err(SendError::Client);
    }
    ex.sent.head_bytes = head(lane, on, ex, &reply, ends) as u64;
    ex.sent.bytes = ex.sent.head_bytes;
    ex.sent.status = reply.status;
    ex.sent.content_length = reply.content_length();
    ex.sent.fields = std::mem::take(&mut reply.fields);
    if ends {
        lane.close();
        ex.sent.complete = true;
        return Ok(());
    }
    lane.link.wake();
    let client = client_settings(on);
    let frame_bytes = on.http2.as_ref().map_or(usize::MAX, |it| it.chunk);
    let (limit, pace) = (Rate::of(client, ex), Pace::over(client.send_floor));
    let timeout = client.send_timeout;
    let mut sender = Sender { lane, frame_bytes, timeout, limit, pace, sent_bytes: 0 };
    reply.body = reply.body.at_hand();
    let done = match sender.short(ex, &mut reply.body, has_trailers) {
        Ok(true) => Ok(()),
        Ok(false) => Box::pin(sender.body(ex, reply.body)).await,
        Err(error) => Err(error),
    };
    ex.sent.complete = done.is_ok();
    done
}

/// Sends an interim answer, or the head of one that is not ours.
pub(super) fn interim(lane: &Lane, status: u16, fields: &Fields) {
    lane.link.mux.borrow_mut().send_head(lane.place, false, |encoder, out| {
        encoder.status(status, out);
        others(fields, encoder, out);
    });
    lane.link.wake();
}

/// The head, its own fields in nginx's order; tells its bytes.
pub(super) fn head(lane: &Lane, on: &Settings, ex: &mut Exchange, reply: &Reply, ends: bool) -> usize {
    let fields = &reply.fields;
    let bodyless = reply.status < 200 || matches!(reply.status, 204 | 304);
    let length = reply.content_length().filter(|_| !bodyless);
    let name = match fields.get(Name::Server) {
        Some(_) => Default::default(),
        None => special::name(on, ex),
    };
    let scratch = &mut *lane.link.scratch.borrow_mut();
    lane.link.mux.borrow_mut().send_head(lane.place, ends, |encoder, out| {
        encoder.status(reply.status, out);
        let server = fields.get(Name::Server).unwrap_or(name.as_bytes());
        if !server.is_empty() {
            encoder.field(Name::Server, b"server", server, out);
        }
        scratch.clear();
        if fields.get(Name::Date).is_none() {
            time::http((clock::unix_ms() / 1000) as i64, scratch);
        }
        encoder.field(Name::Date, b"date", fields.get(Name::Date).unwrap_or(scratch), out);
        if let Some(value) = fields.get(Name::ContentType) {
            encoder.field(Name::ContentType, b"content-type", value, out);
        }
        if let Some(length) = length {
            scratch.clear();
            push_number(length, scratch);
            encoder.field(Name::ContentLength, b"content-length", scratch, out);
        }
        for (known, name) in [(Name::LastModified, &b"last-modified"[..]), (Name::Location, b"location")] {
            if let Some(value) = fields.get(known) {
                encoder.field(known, name, value, out);
            }
        }
        others(fields, encoder, out);
    })
}

fn others(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for (known, name, value) in fields.iter_known() {
        if !OURS.has(known) {
            encoder.field(known, name, value, out);
        }
    }
}

/// Sends a body, counting and within its times.
struct Sender<'a> {
    lane: &'a Rc<Lane>,
    frame_bytes: usize,
    timeout: Duration,
    limit: Option<Rate>,
    /// `send_min_rate`.
    pace: Option<Pace>,
    /// Of the body, for the rate.
    sent_bytes: u64,
}

impl Sender<'_> {
    /// Sends a body that is at hand and fits at once. `false`: it is not, or does not.
    fn short(&mut self, ex: &mut Exchange, body: &mut Body, has_trailers: bool) -> Result<bool, SendError> {
        if self.limit.is_some() || has_trailers {
            return Ok(false);
        }
        let room = self.lane.room_now();
        match body {
            Body::Bytes(bytes) if bytes.len() <= room => {
                self.put(ex, std::mem::take(bytes), true);
                Ok(true)
            }
            Body::File(slice) if slice.len() <= (room as u64).min(COPIED_BYTES_MAX) => {
                self.put_file(ex, slice).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn put_file(&mut self, ex: &mut Exchange, slice: &mut FileSlice) -> Result<(), SendError> {
        let mut bytes = Vec::with_capacity(slice.len() as usize);
        let whole = slice.read_all(&mut bytes).map_err(|_| SendError::Body)?;
        if !whole {
            log!(ex, Level::Alert, "a file was truncated while sending response to client");
            return Err(SendError::Body);
        }
        self.put(ex, Buf::from_vec(bytes), true);
        Ok(())
    }

    /// Sends what there is room for.
    fn put(&mut self, ex: &mut Exchange, bytes: Buf, ends: bool) {
        let n = bytes.len();
        let frames = n.div_ceil(self.frame_bytes.max(1)).max(1);
        self.sent_bytes += n as u64;
        ex.sent.body_bytes += n as u64;
        ex.sent.bytes += (n + frames * foregate_wire::h2::frame::HEAD_BYTES) as u64;
        self.lane.link.mux.borrow_mut().send_data(self.lane.place, bytes, self.frame_bytes, ends);
        match ends {
            true => self.lane.close(),
            false => self.lane.link.wake(),
        }
    }

    async fn body(&mut self, ex: &mut Exchange, body: Body) -> Result<(), SendError> {
        match body {
            Body::File(slice) => self.file(ex, slice).await,
            body => self.source(ex, body.into_source()).await,
        }
    }

    /// Reads as much as may be sent, and no more, so that no frame but the last is shorter than it could be.
    async fn file(&mut self, ex: &mut Exchange, mut slice: FileSlice) -> Result<(), SendError> {
        let mut nothing = Body::Empty.into_source();
        while !slice.is_empty() {
            let n = self.allowed().await?.min(self.room(&mut *nothing).await?) as u64;
            let end = slice.end.min(slice.start + n);
            let mut part = slice.clone();
            part.end = end;
            let bytes = part.read().ok().filter(|it| !it.is_empty()).ok_or(SendError::Body)?;
            slice.start = part.start;
            if slice.is_empty() {
                return self.end(ex, bytes, &mut *nothing).await;
            }
            self.put(ex, bytes, false);
        }
        self.end(ex, Buf::default(), &mut *nothing).await
    }

    async fn source(&mut self, ex: &mut Exchange, mut source: Box<dyn Source>) -> Result<(), SendError> {
        let mut next = poll_now(&mut *source);
        loop {
            let now = match next {
                Poll::Ready(now) => now,
                Poll::Pending => foregate_core::next(&mut *source).await,
            };
            match now {
                Ok(Some(bytes)) => {
                    // What comes behind may be there already: then the last frame says that it is the last.
                    next = poll_now(&mut *source);
                    if matches!(next, Poll::Ready(Ok(None))) {
                        return self.end(ex, bytes, &mut *source).await;
                    }
                    self.piece(ex, bytes, &mut *source, false).await?;
                }
                Ok(None) => return self.end(ex, Buf::default(), &mut *source).await,
                Err(error) => {
                    if error == BodyError::File {
                        log!(ex, Level::Alert, "reading a body from its file failed while sending to client");
                    }
                    return Err(SendError::Body);
                }
            }
        }
    }

    /// The last piece, which may be none, and the trailers.
    async fn end(&mut self, ex: &mut Exchange, bytes: Buf, source: &mut dyn Source) -> Result<(), SendError> {
        ex.sent.trailers = source.trailers().unwrap_or_default();
        headers::trailers(ex);
        let is_short = ex.sent.content_length.is_some_and(|it| it != ex.sent.body_bytes + bytes.len() as u64);
        let ends = ex.sent.trailers.is_empty() && !is_short;
        if !bytes.is_empty() {
            self.piece(ex, bytes, source, ends).await?;
        } else if ends {
            self.put(ex, Buf::default(), true);
        }
        if is_short {
            return Err(SendError::Body);
        }
        if !ends && !self.lane.is_lost() {
            let trailers = &ex.sent.trailers;
            let mut mux = self.lane.link.mux.borrow_mut();
            let n = mux.send_head(self.lane.place, true, |encoder, out| others(trailers, encoder, out));
            drop(mux);
            ex.sent.bytes += n as u64;
            self.lane.close();
        }
        Ok(())
    }

    /// Sends a piece, waiting for room as often as need be; meanwhile the source may read ahead.
    async fn piece(
        &mut self,
        ex: &mut Exchange,
        mut bytes: Buf,
        source: &mut dyn Source,
        ends: bool,
    ) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let allowed = self.allowed().await?;
            let room = match self.lane.room_now() {
                0 => self.room(source).await?,
                room => room,
            };
            let n = bytes.len().min(room).min(allowed);
            let now = bytes.split_to(n);
            self.put(ex, now, ends && bytes.is_empty());
        }
        Ok(())
    }

    /// Waits until something may be sent.
    async fn room(&self, source: &mut dyn Source) -> Result<usize, SendError> {
        let deadline = Deadline::new();
        deadline.arm(pace::wait(self.pace.as_ref(), self.sent_bytes, self.timeout));
        let room = poll_fn(|cx| match self.lane.poll_room(cx) {
            Poll::Ready(0) => Poll::Ready(Err(SendError::Client)),
            Poll::Ready(room) => Poll::Ready(Ok(room)),
            Poll::Pending => {
                source.poll_ahead(cx);
                deadline.poll_expired(cx).map(|()| Err(SendError::Slow))
            }
        });
        let room = room.await;
        if let Some(pace) = &self.pace {
            pace.end();
        }
        room
    }

    /// How many bytes the rate allows now; waits until that is at least one.
    async fn allowed(&self) -> Result<usize, SendError> {
        let Some(limit) = &self.limit else { return Ok(usize::MAX) };
        loop {
            match limit.allows(self.sent_bytes) {
                Ok(n) => return Ok(n),
                Err(wait) => {
                    if clock::timeout(wait, gone(&**self.lane)).await.is_ok() {
                        return Err(SendError::Client);
                    }
                }
            }
        }
    }
}

/// Polls once without waiting: is anything there already?
fn poll_now(source: &mut dyn Source) -> Poll<Result<Option<Buf>, BodyError>> {
    source.poll_next(&mut Context::from_waker(Waker::noop()))
}
