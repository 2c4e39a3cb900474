//! A backend that misbehaves on command: `unsteady PORT`, then a line on stdin for each change of mind.
//!
//! It says the path of every POST on stdout before it does anything else with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The length of a whole answer.
const BODY_BYTES: usize = 2000;

#[derive(Clone, Copy)]
enum Mood {
    Good,
    /// Answers 500.
    Fail,
    HangInHead,
    HangInBody,
    Reset,
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|it| it.parse().ok()).expect("usage: unsteady PORT");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("because the test has kept the port free");
    let mood = Arc::new(Mutex::new(Mood::Good));
    let shared = mood.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mood = shared.clone();
            std::thread::spawn(move || serve(stream, port, &mood));
        }
    });
    println!("ready");
    for line in std::io::stdin().lines() {
        let new = match line.as_deref() {
            Ok("good") => Mood::Good,
            Ok("fail") => Mood::Fail,
            Ok("hang-in-head") => Mood::HangInHead,
            Ok("hang-in-body") => Mood::HangInBody,
            Ok("reset") => Mood::Reset,
            // The test has ended.
            _ => return,
        };
        *mood.lock().expect("because nobody panics with it") = new;
    }
}

fn serve(stream: TcpStream, port: u16, mood: &Mutex<Mood>) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(path) = request(&mut reader) {
        if let Some(path) = path {
            println!("{path}");
        }
        let now = *mood.lock().expect("because nobody panics with it");
        let body = format!("{port}{}", "x".repeat(BODY_BYTES - port.to_string().len()));
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n{body}");
        let sent = match now {
            Mood::Good => out.write_all(whole.as_bytes()),
            Mood::Fail => {
                out.write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nnot!")
            }
            Mood::HangInHead => return hang(&mut out, &whole.as_bytes()[..20]),
            Mood::HangInBody => return hang(&mut out, &whole.as_bytes()[..whole.len() - 1000]),
            Mood::Reset => {
                _ = rustix::net::sockopt::set_socket_linger(&out, Some(Duration::ZERO));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Says no more until the other side gives up.
fn hang(out: &mut TcpStream, beginning: &[u8]) {
    _ = out.write_all(beginning);
    _ = out.read(&mut [0; 1]);
}

/// Reads a request; the path of a POST. `None`: the connection is over.
#[expect(clippy::option_option, reason = "one is the end, the other a request without a path of interest")]
fn request(reader: &mut BufReader<TcpStream>) -> Option<Option<String>> {
    let (mut path, mut length) = (None, 0);
    let mut line = String::new();
    for n in 0.. {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if n == 0 && line.starts_with("POST ") {
            path = line.split(' ').nth(1).map(str::to_owned);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(path)
}
