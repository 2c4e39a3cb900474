//! Drives rustls through a handshake over a socket, then takes the connection over with its keys.

use std::io;
use std::rc::Rc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, ReadEarlyData, UnbufferedStatus};
use rustls::{CommonState, ExtractedSecrets, HandshakeKind, ProtocolVersion};

use super::early::{Early, encode};
use super::record::{Keys, Version};
use super::signed::{self, Signed};
use super::stream::{Parts, Schedule};
use super::{Facts, HandshakeError, ciphers};
use crate::stream::Stream;

/// Bytes received from the peer during one handshake: certificate chains are the largest part.
const INCOMING_BYTES_MAX: usize = 256 * 1024;
/// In a ServerHello's record: behind the heads of record and message (5 and 4), the version (2) and the random (32).
const SESSION_ID_AT: usize = 5 + 4 + 2 + 32;
/// As far as the session's number goes.
const GREETING_BYTES: usize = SESSION_ID_AT + 1 + 32;
/// Bytes of one receive.
const STEP_BYTES: usize = 8 * 1024;

/// The two kinds of rustls connection, alike in what a handshake needs.
pub(super) trait Side: Sized {
    type Data;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Appends early data; returns the bytes to discard.
    fn read_early(
        data: ReadEarlyData<'_, '_, Self::Data>,
        plain: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error>;
    fn common(&self) -> &CommonState;
    fn take_over(self) -> Result<(ExtractedSecrets, Schedule), rustls::Error>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn read_early(
        mut data: ReadEarlyData<'_, '_, Self::Data>,
        plain: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        let mut discard = 0;
        while let Some(record) = data.next_record() {
            let record = record?;
            plain.extend_from_slice(record.payload);
            discard += record.discard;
        }
        Ok(discard)
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn take_over(self) -> Result<(ExtractedSecrets, Schedule), rustls::Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, rest)| (secrets, Schedule::Server(rest)))
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    /// Servers send none.
    fn read_early(_: ReadEarlyData<'_, '_, Self::Data>, _: &mut Vec<u8>) -> Result<usize, rustls::Error> {
        Ok(0)
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn take_over(self) -> Result<(ExtractedSecrets, Schedule), rustls::Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, rest)| (secrets, Schedule::Client(rest)))
    }
}

/// Bytes on their way between the socket and rustls.
pub(super) struct Exchange<'s> {
    stream: &'s Stream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Data of the peer that came with its last handshake message.
    plain: Vec<u8>,
    n_received: usize,
    /// Some of it is early data, and the handshake is not done.
    is_early: bool,
    /// What was sent first: as server, our greeting.
    greeting: Vec<u8>,
    signed: Signed,
}

/// What rustls wants next.
enum Next {
    Again,
    Receive,
    /// The client has sent data that can be answered before the handshake is done.
    Early,
    Done,
}

impl<'s> Exchange<'s> {
    pub(super) fn new(stream: &'s Stream, incoming: Vec<u8>) -> Exchange<'s> {
        Exchange {
            stream,
            incoming,
            outgoing: Vec::new(),
            plain: Vec::new(),
            n_received: 0,
            is_early: false,
            greeting: Vec::new(),
            signed: Signed::default(),
        }
    }

    /// What the peer has sent and nobody has processed.
    pub(super) fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    pub(super) fn take_incoming(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming)
    }

    /// Waits for more from the peer.
    pub(super) async fn receive(&mut self) -> Result<(), HandshakeError> {
        self.stream.readable().await?;
        let had = self.incoming.len();
        self.incoming.resize(had + STEP_BYTES, 0);
        let received = self.stream.try_recv_into(&mut self.incoming[had..]);
        self.incoming.truncate(had + *received.as_ref().unwrap_or(&None).as_ref().unwrap_or(&0));
        match received? {
            Some(0) => return Err(HandshakeError::Closed),
            Some(n) => self.n_received += n,
            None => {}
        }
        if self.n_received > INCOMING_BYTES_MAX {
            return Err(HandshakeError::TooLong);
        }
        Ok(())
    }

    /// Runs the handshake to its end. On failure the peer is told why, as far as the socket takes it at once.
    pub(super) async fn run<S: Side>(&mut self, side: &mut S) -> Result<(), HandshakeError> {
        loop {
            match self.step(side) {
                Ok(Next::Again) => {}
                Ok(Next::Receive) => {
                    self.send().await?;
                    self.receive().await?;
                }
                Ok(Next::Early) => {
                    self.is_early = true;
                    self.send().await?;
                    return Ok(());
                }
                Ok(Next::Done) => {
                    // With data there an answer follows soon, and takes the rest along.
                    if self.plain.is_empty() {
                        self.send().await?;
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.collect_alert(side);
                    self.try_send();
                    return Err(error);
                }
            }
        }
    }

    fn step<S: Side>(&mut self, side: &mut S) -> Result<Next, HandshakeError> {
        let incoming = &mut self.incoming;
        let UnbufferedStatus { mut discard, state, .. } = self.signed.watch(|| side.process(incoming));
        let next = match state.map_err(HandshakeError::Tls)? {
            ConnectionState::EncodeTlsData(data) => {
                encode(data, &mut self.outgoing).map_err(HandshakeError::Tls)?;
                Next::Again
            }
            // It is sent when rustls waits for the peer: the whole flight with one call.
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Next::Again
            }
            ConnectionState::ReadTraffic(mut data) => {
                while let Some(record) = data.next_record() {
                    let record = record.map_err(HandshakeError::Tls)?;
                    self.plain.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                Next::Again
            }
            ConnectionState::ReadEarlyData(data) => {
                discard += S::read_early(data, &mut self.plain).map_err(HandshakeError::Tls)?;
                Next::Again
            }
            ConnectionState::BlockedHandshake => Next::Receive,
            ConnectionState::WriteTraffic(_) => Next::Done,
            _ => return Err(HandshakeError::Closed),
        };
        self.incoming.drain(..discard);
        if matches!(next, Next::Done) && side.common().is_handshaking() {
            return Ok(if self.plain.is_empty() { Next::Receive } else { Next::Early });
        }
        Ok(next)
    }

    /// Takes what rustls still wants to say. Only that: rustls must not look at incoming messages again.
    fn collect_alert<S: Side>(&mut self, side: &mut S) {
        while side.common().wants_write() {
            match side.process(&mut self.incoming).state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if encode(data, &mut self.outgoing).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        let outgoing = std::mem::take(&mut self.outgoing);
        self.note_greeting(&outgoing);
        self.stream.send_all(&outgoing).await
    }

    /// Sends an alert of our own before there are any keys.
    pub(super) fn refuse(&mut self, alert: u8) {
        self.outgoing.extend_from_slice(&[super::record::ALERT, 3, 3, 0, 2, 2, alert]);
        self.try_send();
    }

    /// Keeps what `session_id` looks at.
    fn note_greeting(&mut self, outgoing: &[u8]) {
        if self.greeting.is_empty() {
            self.greeting = outgoing[..outgoing.len().min(GREETING_BYTES)].to_vec();
        }
    }

    /// legacy_session_id of a ServerHello (RFC 8446 section 4.1.3) that has been sent.
    pub(super) fn session_id(&self) -> &[u8] {
        let greeting = if self.greeting.is_empty() { &self.outgoing } else { &self.greeting };
        match greeting.get(SESSION_ID_AT..) {
            Some([len, rest @ ..]) => rest.get(..usize::from(*len)).unwrap_or_default(),
            _ => &[],
        }
    }

    fn try_send(&mut self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if !self.outgoing.is_empty() {
            let _ = self.stream.poll_send(&mut cx, &self.outgoing);
        }
    }

    pub(super) fn is_early(&self) -> bool {
        self.is_early
    }

    /// What a handshake leaves that goes on while early data are served; and those.
    pub(super) fn into_early(self, side: UnbufferedServerConnection) -> (Early, Vec<u8>) {
        (Early { side, incoming: self.incoming, state: Rc::default() }, self.plain)
    }

    /// What is known at the end of a handshake.
    pub(super) fn facts(&self, common: &CommonState) -> Facts {
        let certs = common.peer_certificates().unwrap_or_default();
        Facts {
            protocol: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: common.negotiated_cipher_suite().map_or("", |suite| ciphers::name(suite.suite())),
            curve: common
                .negotiated_key_exchange_group()
                .map_or("", |group| ciphers::curve_name(group.name())),
            sigalg: signed::name(self.signed.own),
            peer_sigalg: signed::name(self.signed.peer),
            server_name: None,
            alpn: common.alpn_protocol().unwrap_or_default().into(),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_certs: certs.iter().map(|cert| cert.as_ref().into()).collect(),
            offered_ciphers: Box::default(),
            offered_curves: Box::default(),
            offered_schemes: Box::default(),
            session_id: Box::default(),
            ja4: super::Ja4::default(),
            early: None,
        }
    }

    /// What the finished handshake leaves to the stream.
    pub(super) fn finish<S: Side>(self, side: S) -> Result<Parts, HandshakeError> {
        let version = match side.common().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        };
        let (receive, send, schedule) = take_over(side, version).map_err(HandshakeError::Tls)?;
        Ok(Parts {
            version,
            receive,
            send,
            schedule,
            plain: self.plain,
            partial: self.incoming,
            unsent: self.outgoing,
        })
    }
}

/// The keys for receiving and for sending, and what derives those that follow.
pub(super) fn take_over<S: Side>(side: S, version: Version) -> Result<(Keys, Keys, Schedule), rustls::Error> {
    let (secrets, schedule) = side.take_over()?;
    let keys = |(seq, secrets)| {
        let unknown = || rustls::Error::General("the cipher is not known to the record layer".to_string());
        Keys::new(version, seq, &secrets).ok_or_else(unknown)
    };
    Ok((keys(secrets.rx)?, keys(secrets.tx)?, schedule))
}
