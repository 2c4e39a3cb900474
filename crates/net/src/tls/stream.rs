//! An encrypted stream after its handshake: the methods of `Stream`, with our own record layer below them.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use foregate_wire::{Block, Buf};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::Facts;
use super::early::{Early, Pumped};
use super::handshake::take_over;
use super::outgoing::Outgoing;
use super::record::{self, Keys, RECORDS_PER_KEY_MAX, RecordError, Version};
use crate::addr::Addr;
use crate::stream::Stream;

/// Records in a row that carry no data, after which a peer is taken to waste our time.
const EMPTY_RECORDS_MAX: u32 = 32;
/// The longest handshake message taken after the handshake (a session ticket with its extensions).
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Data sealed at once before the handshake is done.
const EARLY_SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a file encrypted at once by `sendfile`.
const FILE_CHUNK_BYTES: usize = Buf::BLOCK;

const CLOSE_NOTIFY: u8 = 0;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// A stream whose handshake is done.
pub struct TlsStream {
    stream: Stream,
    facts: Facts,
    version: Version,
    incoming: RefCell<Incoming>,
    outgoing: RefCell<Outgoing>,
    /// Derives the keys that follow; only TLS 1.3 has any.
    schedule: RefCell<Option<Schedule>>,
    /// The peer said that it will send no more, or its socket ended.
    ended: Cell<bool>,
    /// The handshake goes on while early data are served.
    early: RefCell<Option<Box<Early>>>,
}

/// rustls' remains of a connection.
pub(super) enum Schedule {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a handshake leaves to the stream.
pub(super) struct Parts {
    pub(super) version: Version,
    pub(super) receive: Keys,
    pub(super) send: Keys,
    pub(super) schedule: Schedule,
    /// Data that has come already, decrypted.
    pub(super) plain: Vec<u8>,
    /// The start of a record that has come already.
    pub(super) partial: Vec<u8>,
    /// Records not sent yet: session tickets that travel with the first answer.
    pub(super) unsent: Vec<u8>,
}

struct Incoming {
    keys: Keys,
    /// Decrypted data nobody has taken yet.
    plain: Buf,
    /// The start of a record whose rest has not come.
    partial: Vec<u8>,
    /// The start of a handshake message whose rest has not come.
    message: Vec<u8>,
    n_empty: u32,
    failed: Option<RecordError>,
}

/// What to do about a record that carried no data.
enum Control {
    Nothing,
    End,
    /// The peer has changed its key; `true` when it wants us to do so too.
    KeyUpdate(bool),
}

impl TlsStream {
    pub(super) fn new(stream: Stream, facts: Facts, parts: Parts) -> TlsStream {
        let Parts { version, receive, send, schedule, plain, partial, unsent } = parts;
        TlsStream {
            stream,
            facts,
            version,
            incoming: RefCell::new(Incoming {
                keys: receive,
                plain: Buf::from_vec(plain),
                partial,
                message: Vec::new(),
                n_empty: 0,
                failed: None,
            }),
            outgoing: RefCell::new(Outgoing::new(send, unsent)),
            schedule: RefCell::new((version == Version::Tls13).then_some(schedule)),
            ended: Cell::new(false),
            early: RefCell::new(None),
        }
    }

    /// A stream with early data, whose handshake goes on. `None`: the cryptography is broken.
    pub(super) fn early(stream: Stream, facts: Facts, early: Early, plain: Vec<u8>) -> Option<TlsStream> {
        Some(TlsStream {
            stream,
            facts,
            version: Version::Tls13,
            incoming: RefCell::new(Incoming {
                keys: Keys::unset()?,
                plain: Buf::from_vec(plain),
                partial: Vec::new(),
                message: Vec::new(),
                n_empty: 0,
                failed: None,
            }),
            outgoing: RefCell::new(Outgoing::new(Keys::unset()?, Vec::new())),
            schedule: RefCell::new(None),
            ended: Cell::new(false),
            early: RefCell::new(Some(Box::new(early))),
        })
    }

    /// What the handshake has settled.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The socket below.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    pub fn peer_addr(&self) -> &Addr {
        self.stream.peer_addr()
    }

    pub fn local_addr(&self) -> &Addr {
        self.stream.local_addr()
    }

    /// Waits for data; empty at the end, whether the peer announced it or just closed. Holds no block while waiting.
    pub async fn recv(&self) -> io::Result<Buf> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        ready!(self.poll_readable(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.incoming.borrow_mut().plain)))
    }

    /// The data that is there; `None` when none is.
    pub fn try_recv(&self) -> io::Result<Option<Buf>> {
        if !self.fill()? {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.incoming.borrow_mut().plain)))
    }

    /// Waits until there is data, or the end. Records that carry none are dealt with on the way.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.fill()? {
                return Poll::Ready(Ok(()));
            }
            ready!(self.stream.poll_readable(cx))?;
        }
    }

    /// Whether there is data, or the end, or an error.
    pub fn is_readable(&self) -> bool {
        self.fill().unwrap_or(true)
    }

    /// Receives until there is data or the end (true), or nothing more is there (false).
    fn fill(&self) -> io::Result<bool> {
        loop {
            let mut incoming = self.incoming.borrow_mut();
            if !incoming.plain.is_empty() || self.ended.get() {
                return Ok(true);
            }
            if let Some(error) = incoming.failed {
                return Err(failure(error));
            }
            if !self.stream.may_be_readable() {
                return Ok(false);
            }
            if self.early.borrow().is_some() {
                if !self.receive_early(&mut incoming)? {
                    return Ok(false);
                }
                continue;
            }
            let mut block = Block::take();
            let had = incoming.partial.len();
            block.spare()[..had].copy_from_slice(&incoming.partial);
            let Some(n) = self.stream.try_recv_into(&mut block.spare()[had..])? else { return Ok(false) };
            if n == 0 {
                self.ended.set(true);
                return Ok(true);
            }
            incoming.partial = Vec::new();
            let opened = self.open_records(&mut incoming, block, had + n);
            if let Err(error) = opened {
                incoming.failed = Some(error);
                drop(incoming);
                self.send_alert(2, error.alert());
            }
        }
    }

    /// Waits until the handshake is done, if that goes on while early data are served. Receives meanwhile.
    pub async fn finish_handshake(&self) -> io::Result<()> {
        poll_fn(|cx| {
            while self.early.borrow().is_some() && !self.ended.get() {
                if !self.stream.may_be_readable() || !self.receive_early(&mut self.incoming.borrow_mut())? {
                    ready!(self.stream.poll_readable(cx))?;
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Receives before the handshake is done; `false`: nothing was there.
    fn receive_early(&self, incoming: &mut Incoming) -> io::Result<bool> {
        let mut block = Block::take();
        let Some(n) = self.stream.try_recv_into(block.spare())? else { return Ok(false) };
        if n == 0 {
            self.ended.set(true);
            return Ok(true);
        }
        if let Some(early) = &mut *self.early.borrow_mut() {
            early.incoming.extend_from_slice(&block.spare()[..n]);
        }
        let mut outgoing = self.outgoing.borrow_mut();
        self.go_on_early(incoming, &mut outgoing)?;
        // What rustls has to say, tickets, goes out with the next data.
        Ok(true)
    }

    /// Lets the handshake go on with what has come, and takes the connection over when it is done.
    fn go_on_early(&self, incoming: &mut Incoming, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut place = self.early.borrow_mut();
        let Some(early) = &mut *place else { return Ok(()) };
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let pumped = early.pump(&mut plain, &mut out);
        outgoing.append(&out);
        if !plain.is_empty() {
            incoming.plain = Buf::from_vec([&incoming.plain, &plain[..]].concat());
        }
        match pumped {
            Ok(Pumped::Waits) => Ok(()),
            Ok(Pumped::Ended) => {
                self.ended.set(true);
                Ok(())
            }
            Ok(Pumped::Done) => {
                let early = place.take().expect("because it was there above");
                let taken =
                    take_over(early.side, Version::Tls13).map_err(|_| failure(RecordError::Unexpected))?;
                let (receive, send, schedule) = taken;
                (incoming.keys, outgoing.keys, incoming.partial) = (receive, send, early.incoming);
                *self.schedule.borrow_mut() = Some(schedule);
                Ok(())
            }
            Err(_) => {
                incoming.failed = Some(RecordError::Malformed);
                Err(failure(RecordError::Malformed))
            }
        }
    }

    /// Sends before the handshake is done, unless it turns out to be; then nothing.
    fn poll_send_early(
        &self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
        data: impl FnOnce() -> Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        ready!(outgoing.poll_flush(&self.stream, cx))?;
        self.go_on_early(&mut self.incoming.borrow_mut(), outgoing)?;
        let (mut out, mut taken) = (Vec::new(), 0);
        if let Some(early) = &mut *self.early.borrow_mut() {
            let data = data();
            early.seal(&data, &mut out).map_err(|_| failure(RecordError::Unexpected))?;
            taken = data.len();
        }
        outgoing.append(&out);
        match outgoing.poll_flush(&self.stream, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Opens every whole record among the first `filled` bytes of `block`, closing the gaps between their data.
    fn open_records(
        &self,
        incoming: &mut Incoming,
        mut block: Block,
        filled: usize,
    ) -> Result<(), RecordError> {
        let bytes = &mut block.spare()[..filled];
        let (mut at, mut data) = (0, 0..0);
        let mut result = Ok(());
        while !self.ended.get() {
            match self.open_one(incoming, &mut bytes[at..]) {
                Ok(None) => break,
                Ok(Some((len, found))) => {
                    if data.is_empty() {
                        data = at + found.start..at + found.end;
                    } else if !found.is_empty() {
                        bytes.copy_within(at + found.start..at + found.end, data.end);
                        data.end += found.len();
                    }
                    at += len;
                }
                // What came before the fault is valid, and is handed out first.
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if result.is_ok() && !self.ended.get() {
            incoming.partial = bytes[at..].to_vec();
        }
        let mut plain = block.fill(data.end);
        plain.advance(data.start);
        incoming.plain = plain;
        result
    }

    /// Opens the first record of `bytes`: its length and where its data stands, empty when it carried none.
    fn open_one(
        &self,
        incoming: &mut Incoming,
        bytes: &mut [u8],
    ) -> Result<Option<(usize, std::ops::Range<usize>)>, RecordError> {
        let Some(len) = record::whole_record(bytes, self.version)? else { return Ok(None) };
        let (content, range) = incoming.keys.open(&mut bytes[..len])?;
        if content == record::DATA && !range.is_empty() {
            incoming.n_empty = 0;
            return Ok(Some((len, range)));
        }
        incoming.n_empty += 1;
        if incoming.n_empty > EMPTY_RECORDS_MAX {
            return Err(RecordError::Flood);
        }
        let plain = &bytes[range];
        let control = match content {
            record::DATA => Control::Nothing,
            record::ALERT => read_alert(plain)?,
            record::HANDSHAKE => self.read_handshake(incoming, plain)?,
            _ => return Err(RecordError::Unexpected),
        };
        match control {
            Control::Nothing => {}
            Control::End => self.ended.set(true),
            Control::KeyUpdate(both) => self.follow_key_update(incoming, both)?,
        }
        Ok(Some((len, 0..0)))
    }

    /// Messages after the handshake (RFC 8446 section 4.6). TLS 1.2 has none we take part in: renegotiation is refused.
    fn read_handshake(&self, incoming: &mut Incoming, plain: &[u8]) -> Result<Control, RecordError> {
        if self.version == Version::Tls12 {
            return Err(RecordError::Unexpected);
        }
        incoming.message.extend_from_slice(plain);
        while let [kind, a, b, c, ..] = incoming.message[..] {
            let len = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if len > MESSAGE_BYTES_MAX {
                return Err(RecordError::TooLong);
            }
            if incoming.message.len() < len {
                break;
            }
            let message: Vec<u8> = incoming.message.drain(..len).collect();
            match (kind, &message[4..], &mut *self.schedule.borrow_mut()) {
                (NEW_SESSION_TICKET, body, Some(Schedule::Client(schedule))) => {
                    schedule.handle_new_session_ticket(body).map_err(|_| RecordError::Malformed)?;
                }
                // Its key changes with it, so it must be the last of its record.
                (KEY_UPDATE, [both @ (0 | 1)], _) if incoming.message.is_empty() => {
                    return Ok(Control::KeyUpdate(*both == 1));
                }
                _ => return Err(RecordError::Unexpected),
            }
        }
        if incoming.message.is_empty() {
            incoming.message = Vec::new();
        }
        Ok(Control::Nothing)
    }

    fn follow_key_update(&self, incoming: &mut Incoming, both: bool) -> Result<(), RecordError> {
        let next = match &mut *self.schedule.borrow_mut() {
            Some(Schedule::Server(schedule)) => schedule.update_rx_secret(),
            Some(Schedule::Client(schedule)) => schedule.update_rx_secret(),
            None => return Err(RecordError::Unexpected),
        };
        let (seq, secrets) = next.map_err(|_| RecordError::Unexpected)?;
        incoming.keys = Keys::new(self.version, seq, &secrets).ok_or(RecordError::Unexpected)?;
        if both {
            let mut outgoing = self.outgoing.borrow_mut();
            self.update_send_key(&mut outgoing);
        }
        Ok(())
    }

    /// Announces and takes a new key for sending (RFC 8446 section 4.6.3).
    fn update_send_key(&self, outgoing: &mut Outgoing) {
        let next = match &mut *self.schedule.borrow_mut() {
            Some(Schedule::Server(schedule)) => schedule.update_tx_secret(),
            Some(Schedule::Client(schedule)) => schedule.update_tx_secret(),
            None => return,
        };
        let Ok((seq, secrets)) = next else { return };
        let Some(keys) = Keys::new(self.version, seq, &secrets) else { return };
        outgoing.seal_small(record::HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0]);
        outgoing.keys = keys;
    }

    /// Sends all of `bytes`.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_vectored_all(&[bytes]).await
    }

    /// Sends all the slices, in order, in as few records and calls as may be.
    pub async fn send_vectored_all(&self, slices: &[&[u8]]) -> io::Result<()> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut done = 0;
        while done < total {
            done += poll_fn(|cx| self.poll_send_from(cx, slices, done, total - done)).await?;
        }
        self.flush().await
    }

    /// Takes the start of `bytes` to be sent; returns how many bytes. What the socket does not take at once is sent
    /// by the next call, or by `poll_flush`.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_from(cx, &[bytes], 0, bytes.len())
    }

    /// As `poll_send`, from several slices.
    pub fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        self.poll_send_from(cx, slices, 0, slices.iter().map(|slice| slice.len()).sum())
    }

    fn poll_send_from(
        &self,
        cx: &mut Context<'_>,
        slices: &[&[u8]],
        offset: usize,
        left: usize,
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.early.borrow().is_some() {
            let data = || {
                let mut all = slices.concat();
                all.drain(..offset);
                all.truncate(left.min(EARLY_SEND_BYTES_MAX));
                all
            };
            let taken = ready!(self.poll_send_early(&mut outgoing, cx, data))?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        if outgoing.keys.n_records() >= RECORDS_PER_KEY_MAX {
            self.update_send_key(&mut outgoing);
        }
        if !outgoing.may_append(&self.stream) {
            ready!(outgoing.poll_flush(&self.stream, cx))?;
        }
        let taken = outgoing.seal_data(slices, offset, left);
        match outgoing.poll_flush(&self.stream, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Waits until the socket has taken everything.
    pub async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().poll_flush(&self.stream, cx)
    }

    /// Sends `count` bytes of `file` from `offset` on, which moves. Fails with UnexpectedEof when the file is shorter.
    pub async fn sendfile(&self, file: &File, offset: &mut u64, count: u64) -> io::Result<()> {
        let end = offset.saturating_add(count);
        while *offset < end {
            let mut block = Block::take();
            let want = (end - *offset).min(FILE_CHUNK_BYTES as u64) as usize;
            let n = rustix::io::pread(file, &mut block.spare()[..want], *offset)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.send_all(&block.fill(n)).await?;
            *offset += n as u64;
        }
        Ok(())
    }

    /// Ready once the peer has closed its half or the connection is broken.
    pub fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_hangup(cx)
    }

    pub fn is_hung_up(&self) -> bool {
        self.stream.is_hung_up()
    }

    /// Says that nothing more will be sent: `close_notify`, as far as the socket takes it, and the end of the stream.
    pub fn shutdown_write(&self) {
        self.send_alert(1, CLOSE_NOTIFY);
        self.stream.shutdown_write();
    }

    /// Closing will now send a reset, and no `close_notify`.
    pub fn set_linger_reset(&self) {
        self.outgoing.borrow_mut().closed = true;
        self.stream.set_linger_reset();
    }

    /// The last word in this direction.
    fn send_alert(&self, level: u8, alert: u8) {
        let mut outgoing = self.outgoing.borrow_mut();
        if !outgoing.closed {
            match &mut *self.early.borrow_mut() {
                // Before the handshake is done there is nothing to say but that we end.
                Some(early) => {
                    let mut out = Vec::new();
                    if early.close(&mut out).is_ok() {
                        outgoing.append(&out);
                    }
                }
                None => outgoing.seal_small(record::ALERT, &[level, alert]),
            }
            outgoing.closed = true;
            let _ = outgoing.poll_flush(&self.stream, &mut Context::from_waker(std::task::Waker::noop()));
        }
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if !self.stream.is_hung_up() {
            self.send_alert(1, CLOSE_NOTIFY);
        }
    }
}

/// RFC 8446 section 6, RFC 5246 section 7.2.
fn read_alert(plain: &[u8]) -> Result<Control, RecordError> {
    match plain {
        [_, CLOSE_NOTIFY] => Ok(Control::End),
        // user_canceled is followed by close_notify; warnings of TLS 1.2 may be ignored.
        [_, 90] | [1, _] => Ok(Control::Nothing),
        // The peer gives up. It will send nothing more, and for us that is the end.
        [_, _] => Ok(Control::End),
        _ => Err(RecordError::Malformed),
    }
}

fn failure(error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.text())
}
