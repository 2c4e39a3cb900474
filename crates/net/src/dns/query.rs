//! One question to the name servers: over UDP, again to the next one, and over TCP when the answer is cut off.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::message::{self, Kind, Response};
use crate::addr::Addr;
use crate::clock;
use crate::stream::{ConnectOptions, Stream};
use crate::udp::UdpSocket;

/// After which the next server is asked (nginx: resend_timeout).
const RESEND: Duration = Duration::from_secs(5);
/// For a whole exchange over TCP (nginx: tcp_timeout).
const TCP: Duration = Duration::from_secs(5);
/// Datagrams are tried this often before a query is given up; the caller's own limit ends it sooner.
const TRIES_MAX: usize = 6;
/// The largest datagram an answer may come in; a query without EDNS draws 512 bytes at most.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Datagrams received per try that are not the answer: forged ones, or late ones.
const STRAYS_MAX: usize = 64;

pub(super) enum QueryError {
    /// Not a name that could be asked for.
    BadName,
    TimedOut,
    /// A server's refusal (RFC 1035 section 4.1.1, RCODE).
    Code(u8),
}

/// Asks the servers in turn, beginning with number `first`, until one answers. As in nginx, an error is an answer too:
/// only silence and damaged answers lead to the next server.
pub(super) async fn ask(
    servers: &[SocketAddr],
    first: usize,
    name: &str,
    kind: Kind,
) -> Result<Response, QueryError> {
    for attempt in 0..TRIES_MAX.max(servers.len()) {
        let Some(server) = servers.get((first.wrapping_add(attempt)) % servers.len().max(1)) else { break };
        let query = message::write_query(random_id(), name, kind).ok_or(QueryError::BadName)?;
        match ask_one(*server, &query).await {
            Ok(response) if response.code == 0 => return Ok(response),
            Ok(response) => return Err(QueryError::Code(response.code)),
            Err(_) => (),
        }
    }
    Err(QueryError::TimedOut)
}

async fn ask_one(server: SocketAddr, query: &[u8]) -> io::Result<Response> {
    let response = clock::timeout(RESEND, over_udp(server, query)).await??;
    if !response.truncated {
        return Ok(response);
    }
    clock::timeout(TCP, over_tcp(server, query)).await?
}

/// A socket of its own for each query: its port, chosen by the kernel at random, is half of what a forger has to guess.
async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Response> {
    let socket = UdpSocket::connect(&Addr::Ip(server))?;
    socket.send(query).await?;
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    for _ in 0..STRAYS_MAX {
        let n = socket.recv(&mut datagram).await?;
        if let Some(response) = message::read_response(&datagram[..n], query) {
            return Ok(response);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// RFC 1035 section 4.2.2: each message behind its length.
async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Response> {
    let stream = Stream::connect(&Addr::Ip(server), &ConnectOptions::default()).await?;
    let len = (query.len() as u16).to_be_bytes();
    stream.send_all(&[&len, query].concat()).await?;
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        if let [high, low, message @ ..] = &bytes[..] {
            let len = usize::from(*high) << 8 | usize::from(*low);
            if message.len() >= len {
                let response = message::read_response(&message[..len], query);
                return response.ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
        let more = stream.recv().await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&more);
    }
}

fn random_id() -> u16 {
    let mut id = [0; 2];
    // Without randomness the id is a constant: the port still guards, and no name need fail for it.
    let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(id)
}
