//! The number itself: read from the request's cookie, or made and sent.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use foregate_core::base64::{self, Alphabet};
use foregate_core::{Exchange, Level, Reply, log, time};
use foregate_net::{Addr, clock};

use super::{Expires, Settings, State};

/// Four 32-bit numbers in the byte order of the cookie.
type Id = [u8; 16];

/// What is known in one exchange.
#[derive(Clone, Default)]
struct Known {
    got: Option<Id>,
    set: Option<Id>,
    /// `got` shall be forgotten.
    reset: bool,
    /// The cookie's value as sent.
    cookie: Vec<u8>,
}

/// The base64 form of 16 bytes without its padding; what follows may be a mark.
const TEXT_BYTES: usize = 22;
const NEVER: &[u8] = b"; expires=Thu, 31-Dec-37 23:55:55 GMT";
/// Where the sequence of version 2 begins, as in mod_uid.
const SEQUENCE: u32 = 0x0303_0302;

/// Header filter: adds `Set-Cookie` where a number is new or lacks its mark.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    if on.state < State::V1 || ex.subrequest_depth > 0 {
        return;
    }
    let known = create(on, ex);
    let Some(set) = known.set else { return };
    let mut value = Vec::new();
    value.extend_from_slice(on.name.as_bytes());
    value.push(b'=');
    if known.got.is_none() || known.reset {
        base64::encode(&set, Alphabet::Standard, &mut value);
        if let Some(mark) = on.mark {
            let at = value.len() - 2;
            value[at] = mark;
        }
    } else {
        value.extend_from_slice(known.cookie.get(..TEXT_BYTES).unwrap_or_default());
        value.extend([on.mark.unwrap_or(b'='), b'=']);
    }
    match on.expires {
        Expires::Off => (),
        Expires::Max => value.extend_from_slice(NEVER),
        Expires::After(time) => {
            value.extend_from_slice(b"; expires=");
            push_cookie_time((clock::unix_ms() / 1000 + time.as_secs()) as i64, &mut value);
        }
    }
    value.extend_from_slice(&on.place);
    value.extend_from_slice(&on.flags);
    reply.fields.push(b"Set-Cookie", &value);
    if !on.p3p.is_empty() {
        reply.fields.push(b"P3P", &on.p3p);
    }
}

/// `$uid_got`: `uid=` and the number that came.
pub(super) fn got(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let cycle = ex.cycle.clone();
    let Some(on) = &crate::settings(&*cycle, ex.location).userid else { return false };
    read(on, ex).got.is_some_and(|id| push_named(on, &id, out))
}

/// `$uid_set`: `uid=` and the number that is sent.
pub(super) fn set(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let cycle = ex.cycle.clone();
    let Some(on) = &crate::settings(&*cycle, ex.location).userid else { return false };
    on.state >= State::V1 && create(on, ex).set.is_some_and(|id| push_named(on, &id, out))
}

fn push_named(on: &Settings, id: &Id, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(format!("{}={}", on.name, hex(id)).as_bytes());
    true
}

/// The four numbers as this machine (or rather the one that mod_uid was written on) reads them.
fn hex(id: &Id) -> String {
    id.as_chunks().0.iter().map(|it| format!("{:08X}", u32::from_le_bytes(*it))).collect()
}

fn read(on: &Settings, ex: &mut Exchange) -> Known {
    if let Some(known) = ex.notes.get::<Known>() {
        return known.clone();
    }
    let mut known = Known::default();
    if let Some((line, value)) = find_cookie(ex, on.name.as_bytes()) {
        known.cookie = value.to_vec();
        let line = String::from_utf8_lossy(line);
        match known.cookie.get(..TEXT_BYTES).map(|text| base64::decode(text, Alphabet::Standard)) {
            None => log!(ex, Level::Error, "client sent too short userid cookie \"{line}\""),
            Some(None) => log!(ex, Level::Error, "client sent invalid userid cookie \"{line}\""),
            // The last number is never 0 in one that we made.
            Some(Some(id)) => known.got = id.try_into().ok().filter(|id: &Id| id[12..] != [0; 4]),
        }
    }
    ex.notes.put(known.clone());
    known
}

/// The whole field and the value of the cookie in it.
fn find_cookie<'a>(ex: &'a Exchange, name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    ex.fields.get_all(b"cookie").find_map(|line| {
        let value = line.split(|b| *b == b';').find_map(|pair| {
            let (found, rest) = pair.trim_ascii_start().split_at_checked(name.len())?;
            let value = rest.trim_ascii_start().strip_prefix(b"=")?;
            found.eq_ignore_ascii_case(name).then(|| value.trim_ascii_start())
        });
        value.map(|value| (line, value))
    })
}

fn create(on: &Settings, ex: &mut Exchange) -> Known {
    let mut known = read(on, ex);
    if known.set.is_some() {
        return known;
    }
    let wish = match known.got {
        Some(_) => on.reset.fill_new(ex),
        None => Vec::new(),
    };
    match known.got {
        Some(got) if matches!(&*wish, b"" | b"0") => {
            let Some(mark) = on.mark else { return known };
            if known.cookie.get(TEXT_BYTES..TEXT_BYTES + 2) == Some(&[mark, b'=']) {
                return known;
            }
            known.set = Some(got);
        }
        Some(got) => {
            known.reset = true;
            if wish == b"log" {
                log!(ex, Level::Notice, "userid cookie \"{}={}\" was reset", on.name, hex(&got));
            }
            known.set = Some(new(on, &ex.conn.local));
        }
        None => known.set = Some(new(on, &ex.conn.local)),
    }
    ex.notes.put(known.clone());
    known
}

thread_local! {
    /// Tells the numbers of this thread from those of others, of other processes and of other times.
    static START: u32 = (RandomState::new().hash_one(0) as u32) << 16 | (std::process::id() & 0xffff);
    static SEQUENCE_V1: Cell<u32> = const { Cell::new(1) };
    static SEQUENCE_V2: Cell<u32> = const { Cell::new(SEQUENCE) };
}

type ByteOrder = fn(u32) -> [u8; 4];

/// Service or server address, time, start, sequence: little-endian in version 1, in network order since.
fn new(on: &Settings, local: &Addr) -> Id {
    let (now_s, start) = ((clock::unix_ms() / 1000) as u32, START.with(|it| *it));
    let (numbers, bytes): (_, ByteOrder) = if on.state == State::V1 {
        let sequence = SEQUENCE_V1.get();
        SEQUENCE_V1.set(sequence.wrapping_add(0x100));
        ([on.service.unwrap_or(0), now_s, start, sequence], u32::to_le_bytes)
    } else {
        let sequence = SEQUENCE_V2.get();
        SEQUENCE_V2.set(sequence.wrapping_add(0x100).max(SEQUENCE));
        let service = on.service.unwrap_or_else(|| address(local));
        ([service, now_s, start, sequence], u32::to_be_bytes)
    };
    let mut id = Id::default();
    for (place, number) in id.chunks_mut(4).zip(numbers) {
        place.copy_from_slice(&bytes(number));
    }
    id
}

/// The last four bytes of the server's address.
fn address(local: &Addr) -> u32 {
    match local.ip().map(|it| it.ip()) {
        Some(IpAddr::V4(ip)) => ip.into(),
        Some(IpAddr::V6(ip)) => u128::from(ip) as u32,
        None => 0,
    }
}

/// `Thu, 31-Dec-37 23:55:55 GMT`: the year has two digits as long as old browsers know which.
fn push_cookie_time(unix_s: i64, out: &mut Vec<u8>) {
    const TWO_DIGITS_LAST: &str = "2037";
    let mut date = Vec::new();
    time::http(unix_s, &mut date);
    let date = String::from_utf8_lossy(&date);
    if let [day, number, month, year, clock, zone] = *date.split(' ').collect::<Vec<_>>() {
        let year = if year > TWO_DIGITS_LAST { year } else { year.get(2..).unwrap_or(year) };
        out.extend_from_slice(format!("{day} {number}-{month}-{year} {clock} {zone}").as_bytes());
    }
}
