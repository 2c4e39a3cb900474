//! Data that a client sends along with its first message (RFC 8446 section 2.3): served before the handshake is done.
//!
//! Until then rustls goes on seeing every byte, and seals what is sent; then the connection is taken over as any other.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustls::Error;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};

use super::handshake::Side;

/// The most that is taken from a client before its handshake is done, in bytes; OpenSSL's default.
pub const EARLY_BYTES_MAX: u32 = 16_384;
/// What `encode` begins with.
const ROOM_BYTES: usize = 4096;

/// Whether what comes on a connection may still be a replay: somebody else may have recorded and sent it again
/// (RFC 8446 section 8, RFC 8470).
#[derive(Default)]
pub struct EarlyData {
    over: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl EarlyData {
    /// The handshake is done: it was the client itself.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Waits for that; somebody else must be receiving meanwhile.
    pub async fn over(&self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|it| it.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn end(&self) {
        self.over.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for EarlyData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_over() { "over" } else { "early" })
    }
}

/// A connection whose client has sent data early and whose handshake is not done.
pub(super) struct Early {
    pub(super) side: UnbufferedServerConnection,
    /// Received and not processed.
    pub(super) incoming: Vec<u8>,
    pub(super) state: Rc<EarlyData>,
}

/// How far processing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// More must come from the client.
    Waits,
    /// The client sends no more.
    Ended,
    /// The handshake is done, and the connection may be taken over.
    Done,
}

impl Early {
    /// Processes what has come: data goes behind `plain`, what is to be sent behind `out`.
    pub(super) fn pump(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Pumped, Error> {
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.side.process_tls_records(&mut self.incoming);
            let mut stops = None;
            match state? {
                ConnectionState::EncodeTlsData(data) => encode(data, out)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::ReadEarlyData(data) => {
                    discard += UnbufferedServerConnection::read_early(data, plain)?;
                }
                ConnectionState::ReadTraffic(mut data) => {
                    while let Some(record) = data.next_record() {
                        let record = record?;
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
                    stops = Some(Pumped::Waits);
                }
                _ => stops = Some(Pumped::Ended),
            }
            self.incoming.drain(..discard);
            match stops {
                Some(Pumped::Waits) if !self.side.is_handshaking() => {
                    self.state.end();
                    return Ok(Pumped::Done);
                }
                Some(stops) => return Ok(stops),
                None => {}
            }
        }
    }

    /// Seals data behind `out`; to be called right after [`Early::pump`].
    pub(super) fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.write(out, |traffic, room| traffic.encrypt(data, room))
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.write(out, |traffic, room| traffic.queue_close_notify(room))
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        mut write: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        let UnbufferedStatus { discard, state, .. } = self.side.process_tls_records(&mut self.incoming);
        let ConnectionState::WriteTraffic(mut traffic) = state? else {
            return Err(Error::HandshakeNotComplete);
        };
        let had = out.len();
        let mut room = ROOM_BYTES;
        loop {
            out.resize(had + room, 0);
            match write(&mut traffic, &mut out[had..]) {
                Ok(n) => {
                    out.truncate(had + n);
                    break;
                }
                Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                    room = size.required_size;
                }
                Err(error) => {
                    out.truncate(had);
                    return Err(Error::General(error.to_string()));
                }
            }
        }
        self.incoming.drain(..discard);
        Ok(())
    }
}

/// Appends a record that rustls has ready.
pub(super) fn encode<Data>(mut data: EncodeTlsData<'_, Data>, into: &mut Vec<u8>) -> Result<(), Error> {
    let had = into.len();
    let mut room = ROOM_BYTES;
    loop {
        into.resize(had + room, 0);
        match data.encode(&mut into[had..]) {
            Ok(n) => {
                into.truncate(had + n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size;
            }
            Err(error) => {
                into.truncate(had);
                return Err(Error::General(error.to_string()));
            }
        }
    }
}
