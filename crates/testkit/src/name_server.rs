//! A name server: every name is at 127.0.0.1, and TXT records are made by signed updates (RFC 2136, RFC 8945).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;

const A: u16 = 1;
const SOA: u16 = 6;
const TXT: u16 = 16;
const TSIG: u16 = 250;
const NONE: u16 = 254;

/// Serves until the process ends.
pub struct NameServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    texts: Vec<(String, Vec<u8>)>,
    updates: usize,
    refused: usize,
}

impl NameServer {
    /// The key that updates are signed with, and its secret in base64.
    pub const KEY: &str = "tests.key";
    pub const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SECRET_BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";
    /// The only zone that may be updated.
    pub const ZONE: &str = "example.test";

    pub fn start() -> NameServer {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("because some port is free");
            let port = tcp.local_addr().expect("because it is bound").port();
            if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
                break (tcp, udp);
            }
        };
        let port = tcp.local_addr().expect("because it is bound").port();
        let state = Arc::new(Mutex::new(State::default()));
        let of_udp = state.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((n, from)) = udp.recv_from(&mut bytes) {
                if let Some(answer) = answer(&bytes[..n], &of_udp) {
                    _ = udp.send_to(&answer, from);
                }
            }
        });
        let of_tcp = state.clone();
        thread::spawn(move || {
            for socket in tcp.incoming().flatten() {
                _ = converse(socket, &of_tcp);
            }
        });
        NameServer { port, state }
    }

    /// `127.0.0.1:PORT`, by UDP and TCP.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Updates that were made, that were refused, and TXT records that are there now.
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.updates, state.refused, state.texts.len())
    }
}

fn converse(mut socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        let mut length = [0; 2];
        socket.read_exact(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        socket.read_exact(&mut message)?;
        let Some(answer) = answer(&message, state) else { return Ok(()) };
        socket.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat())?;
    }
}

/// Reads a message from front to back.
struct Reader<'a>(&'a [u8], usize);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u16> {
        let two = self.0.get(self.1..self.1 + 2)?;
        self.1 += 2;
        Some(u16::from_be_bytes([two[0], two[1]]))
    }

    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let all = self.0.get(self.1..self.1 + n)?;
        self.1 += n;
        Some(all)
    }

    /// A name without pointers, which nobody here writes.
    fn name(&mut self) -> Option<String> {
        let mut labels = Vec::new();
        loop {
            match *self.bytes(1)?.first()? {
                0 => return Some(labels.join(".").to_lowercase()),
                n if n < 64 => labels.push(String::from_utf8_lossy(self.bytes(n.into())?).into_owned()),
                _ => return None,
            }
        }
    }
}

fn answer(message: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let mut reader = Reader(message, 2);
    let flags = reader.number()?;
    let counts = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    let name = reader.name()?;
    let kind = reader.number()?;
    reader.number()?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut code = 0;
    if flags >> 11 & 15 == 5 {
        let done = name == NameServer::ZONE && update(message, reader, counts, &mut state).is_some();
        code = if done { 0 } else { 9 };
        if done { state.updates += 1 } else { state.refused += 1 }
    } else {
        match kind {
            A => records.push(vec![127, 0, 0, 1]),
            SOA if name == NameServer::ZONE => records.push([&[0, 0][..], &[0; 20]].concat()),
            TXT => {
                let own = state.texts.iter().filter(|(it, _)| *it == name);
                records.extend(own.map(|(_, text)| text.clone()));
            }
            _ => (),
        }
    }
    let question = &message[12..12 + name.len() + 2 + 4];
    let mut out = message[..2].to_vec();
    for number in [flags | 0x8400 | code, 1, records.len() as u16, 0, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(question);
    for record in records {
        out.extend_from_slice(&[0xc0, 12]);
        for number in [kind, 1, 0, 0, record.len() as u16] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&record);
    }
    Some(out)
}

/// One record is added or removed, if the key is right; `None`: nothing was done.
fn update(message: &[u8], mut reader: Reader<'_>, counts: [u16; 4], state: &mut State) -> Option<()> {
    if counts != [1, 0, 1, 1] {
        return None;
    }
    let name = reader.name()?;
    let (kind, class) = (reader.number()?, reader.number()?);
    reader.bytes(4)?;
    let length = reader.number()?;
    let text = reader.bytes(length.into())?.to_vec();
    let signed_until = reader.1;
    let key = reader.name()?;
    let tsig = reader.number()?;
    reader.bytes(8)?;
    let algorithm = reader.name()?;
    let time = reader.bytes(6)?;
    let fudge = reader.number()?;
    let length = reader.number()?;
    let tag = reader.bytes(length.into())?;
    let mut signed = message[..signed_until].to_vec();
    signed[10..12].copy_from_slice(&[0, 0]);
    push_name(&key, &mut signed);
    signed.extend_from_slice(&[0, 255, 0, 0, 0, 0]);
    push_name(&algorithm, &mut signed);
    signed.extend_from_slice(time);
    signed.extend_from_slice(&fudge.to_be_bytes());
    signed.extend_from_slice(&[0, 0, 0, 0]);
    let secret = hmac::Key::new(hmac::HMAC_SHA256, NameServer::SECRET_BYTES);
    hmac::verify(&secret, &signed, tag).ok()?;
    let within = name.ends_with(NameServer::ZONE);
    if tsig != TSIG || key != NameServer::KEY || algorithm != "hmac-sha256" || kind != TXT || !within {
        return None;
    }
    match class {
        1 => state.texts.push((name, text)),
        NONE => state.texts.retain(|(it, value)| *it != name || *value != text),
        _ => return None,
    }
    Some(())
}

fn push_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}
