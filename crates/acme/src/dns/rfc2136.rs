//! Dynamic updates (RFC 2136), signed by TSIG (RFC 8945): BIND, Knot, PowerDNS, and whoever speaks as they do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use aws_lc_rs::hmac;
use foregate_core::base64::{self, Alphabet};
use foregate_core::time;

use super::{Provider, Record, TTL_S, Words};

const PATIENCE: Duration = Duration::from_secs(10);
const PORT: u16 = 53;
/// By so much may the clocks differ (RFC 8945 section 10).
const FUDGE_S: u16 = 300;

const OPCODE_UPDATE: u16 = 5 << 11;
const TYPE_SOA: u16 = 6;
const TYPE_TXT: u16 = 16;
const TYPE_TSIG: u16 = 250;
const CLASS_IN: u16 = 1;
const CLASS_NONE: u16 = 254;
const CLASS_ANY: u16 = 255;
const HMAC_SHA256: &str = "hmac-sha256";
const HEADER_BYTES: usize = 12;

#[derive(Debug)]
pub(super) struct Server {
    /// `host:port`
    address: (String, u16),
    /// The zone to be updated; `None`: the server is asked.
    zone: Option<String>,
    key: Option<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    secret: Vec<u8>,
}

impl Server {
    pub(super) fn read(words: &mut Words) -> Result<Server, String> {
        let server = words.required("server")?;
        let address = match server.parse::<SocketAddr>() {
            Ok(addr) => (addr.ip().to_string(), addr.port()),
            Err(_) => match server.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => {
                    (host.to_owned(), port.parse().map_err(|_| "invalid port in server=…")?)
                }
                _ => (server.trim_matches(['[', ']']).to_owned(), PORT),
            },
        };
        match words.optional("algorithm").as_deref() {
            None | Some(HMAC_SHA256) => (),
            Some(other) => return Err(format!("algorithm={other} is not known: it is hmac-sha256")),
        }
        let key = match (words.optional("key"), words.optional("secret")) {
            (Some(name), Some(secret)) => {
                let secret = base64::decode(secret.trim().as_bytes(), Alphabet::Standard);
                Some(Key {
                    name: name.to_ascii_lowercase(), secret: secret.ok_or("secret=… is no base64")?
                })
            }
            (None, None) => None,
            _ => return Err("key=… and secret=… belong together".into()),
        };
        let zone = words.optional("zone").map(|it| it.trim_end_matches('.').to_ascii_lowercase());
        Ok(Server { address, zone, key })
    }

    fn update(&self, record: &Record, class: u16, ttl: u32) -> Result<(), String> {
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => self.find_zone(record)?,
        };
        let id = random_id();
        let mut message = header(id, OPCODE_UPDATE, [1, 0, 1, 0]);
        push_name(&zone, &mut message)?;
        push_16(&[TYPE_SOA, CLASS_IN], &mut message);
        push_name(&record.name, &mut message)?;
        push_16(&[TYPE_TXT, class], &mut message);
        message.extend_from_slice(&ttl.to_be_bytes());
        let text_bytes = u8::try_from(record.value.len()).map_err(|_| "the value is too long")?;
        push_16(&[u16::from(text_bytes) + 1], &mut message);
        message.push(text_bytes);
        message.extend_from_slice(record.value.as_bytes());
        if let Some(key) = &self.key {
            sign(&mut message, id, key)?;
        }
        let answer = self.exchange(&message, id)?;
        match answer[3] & 15 {
            0 => Ok(()),
            code => Err(format!("{} says {}", self.address.0, code_name(code))),
        }
    }

    /// The nearest name above that has an SOA record here.
    fn find_zone(&self, record: &Record) -> Result<String, String> {
        for zone in record.zones() {
            let id = random_id();
            let mut message = header(id, 0, [1, 0, 0, 0]);
            push_name(zone, &mut message)?;
            push_16(&[TYPE_SOA, CLASS_IN], &mut message);
            let answer = self.exchange(&message, id)?;
            let n_answers = u16::from_be_bytes([answer[6], answer[7]]);
            if answer[3] & 15 == 0 && n_answers > 0 {
                return Ok(zone.to_owned());
            }
        }
        Err(format!("{} serves no zone for it: write zone=…", self.address.0))
    }

    /// Over TCP: an answer is surely the server's, and never cut.
    fn exchange(&self, message: &[u8], id: u16) -> Result<Vec<u8>, String> {
        let (host, port) = (&self.address.0, self.address.1);
        let done = (|| {
            let addrs = foregate_net::names::look_up(host, port)?;
            let addr = addrs.first().ok_or(std::io::ErrorKind::NotFound)?;
            let mut socket = TcpStream::connect_timeout(addr, PATIENCE)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            let length = (message.len() as u16).to_be_bytes();
            socket.write_all(&[&length, message].concat())?;
            let mut length = [0; 2];
            socket.read_exact(&mut length)?;
            let mut answer = vec![0; u16::from_be_bytes(length).into()];
            socket.read_exact(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        })();
        let answer = done.map_err(|why| format!("{host}:{port}: {why}"))?;
        match answer.len() >= HEADER_BYTES && answer[..2] == id.to_be_bytes() {
            true => Ok(answer),
            false => Err(format!("{host}:{port} does not speak DNS")),
        }
    }
}

impl Provider for Server {
    fn present(&self, record: &Record) -> Result<(), String> {
        self.update(record, CLASS_IN, TTL_S)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        self.update(record, CLASS_NONE, 0)
    }
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    push_16(&[id, flags], &mut out);
    push_16(&counts, &mut out);
    out
}

fn push_16(numbers: &[u16], out: &mut Vec<u8>) {
    numbers.iter().for_each(|it| out.extend_from_slice(&it.to_be_bytes()));
}

fn push_name(name: &str, out: &mut Vec<u8>) -> Result<(), String> {
    for label in name.trim_end_matches('.').split('.') {
        let len = u8::try_from(label.len()).ok().filter(|it| (1..64).contains(it));
        out.push(len.ok_or_else(|| format!("\"{name}\" is no name"))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    Ok(())
}

/// Appends a TSIG record (RFC 8945 section 4.2): the tag covers the message and the record without the tag.
fn sign(message: &mut Vec<u8>, id: u16, key: &Key) -> Result<(), String> {
    let now_s = time::now_s().to_be_bytes();
    let mut variables = Vec::new();
    push_name(&key.name, &mut variables)?;
    push_16(&[CLASS_ANY, 0, 0], &mut variables);
    push_name(HMAC_SHA256, &mut variables)?;
    variables.extend_from_slice(&now_s[2..]);
    push_16(&[FUDGE_S, 0, 0], &mut variables);
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &key.secret);
    let tag = hmac::sign(&mac_key, &[&message[..], &variables].concat());

    let mut data = Vec::new();
    push_name(HMAC_SHA256, &mut data)?;
    data.extend_from_slice(&now_s[2..]);
    push_16(&[FUDGE_S, tag.as_ref().len() as u16], &mut data);
    data.extend_from_slice(tag.as_ref());
    push_16(&[id, 0, 0], &mut data);

    push_name(&key.name, message)?;
    push_16(&[TYPE_TSIG, CLASS_ANY, 0, 0, data.len() as u16], message);
    message.extend_from_slice(&data);
    // One additional record.
    message[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&1_u16.to_be_bytes());
    Ok(())
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // Without random bytes any number does: over TCP it protects nothing.
    _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

fn code_name(code: u8) -> String {
    let name = match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH (is the key right, and the clock?)",
        10 => "NOTZONE",
        _ => return format!("error {code}"),
    };
    name.to_owned()
}
