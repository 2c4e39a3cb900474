//! DNS messages (RFC 1035 section 4): a query written, a response read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Service;

/// In text. RFC 1035 section 2.3.4 ends at 253; nginx takes four whole labels, and so do we.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// Compression pointers followed within one name. Each must lead back, so this only bounds the work.
const POINTERS_MAX: usize = 32;
/// Records read of one response.
const RECORDS_MAX: usize = 512;
/// CNAME steps within one response.
const STEPS_MAX: usize = 32;
const HEADER_BYTES: usize = 12;

const CNAME: u16 = 5;
const INTERNET: u16 = 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) code: u8,
    /// The server could not fit everything into a datagram.
    pub(super) truncated: bool,
    records: Vec<(String, u32, Record)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Addr(IpAddr),
    Alias(String),
    Service(Service),
}

impl Record {
    pub(super) fn addr(&self) -> Option<IpAddr> {
        match self {
            Record::Addr(addr) => Some(*addr),
            _ => None,
        }
    }

    pub(super) fn service(self) -> Option<Service> {
        match self {
            Record::Service(service) => Some(service),
            _ => None,
        }
    }

    fn is(&self, kind: Kind) -> bool {
        match (self, kind) {
            (Record::Addr(addr), Kind::A) => addr.is_ipv4(),
            (Record::Addr(addr), Kind::Aaaa) => addr.is_ipv6(),
            (Record::Service(_), Kind::Srv) => true,
            _ => false,
        }
    }
}

/// A query for `name`, in lower case and without a final dot; `None` when that is no name.
pub(super) fn write_query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    out.extend_from_slice(&id.to_be_bytes());
    // A standard query, recursion desired; one question.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&(kind as u16).to_be_bytes());
    out.extend_from_slice(&INTERNET.to_be_bytes());
    Some(out)
}

/// Reads a response to `query`. `None` when it is not one: another id, another question, or damaged.
pub(super) fn read_response(bytes: &[u8], query: &[u8]) -> Option<Response> {
    let header = bytes.get(..HEADER_BYTES)?;
    let question = query.get(HEADER_BYTES..)?;
    let is_response = header[2] & 0x80 != 0;
    if !is_response || header[..2] != query[..2] || header[4..6] != [0, 1] {
        return None;
    }
    let asked = bytes.get(HEADER_BYTES..HEADER_BYTES + question.len())?;
    if !asked.eq_ignore_ascii_case(question) {
        return None;
    }
    let mut response = Response { code: header[3] & 15, truncated: header[2] & 2 != 0, records: Vec::new() };
    let n_answers = usize::from(u16::from_be_bytes([header[6], header[7]]));
    let mut at = HEADER_BYTES + question.len();
    for _ in 0..n_answers.min(RECORDS_MAX) {
        match read_record(bytes, &mut at) {
            Some(Some(record)) => response.records.push(record),
            Some(None) => {}
            // Cut off in the middle: what came before counts.
            None if response.truncated => break,
            None => return None,
        }
    }
    Some(response)
}

/// One record, and past it; `Some(None)` for a kind we have no use for.
fn read_record(bytes: &[u8], at: &mut usize) -> Option<Option<(String, u32, Record)>> {
    let name = read_name(bytes, at)?;
    let fixed = bytes.get(*at..*at + 10)?;
    let kind = u16::from_be_bytes([fixed[0], fixed[1]]);
    let class = u16::from_be_bytes([fixed[2], fixed[3]]);
    // RFC 2181 section 8: a TTL with its highest bit set counts as zero.
    let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let start = *at + 10;
    let data = bytes.get(start..start + len)?;
    *at = start + len;
    if class != INTERNET {
        return Some(None);
    }
    let record = match kind {
        1 => Record::Addr(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
        28 => Record::Addr(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
        CNAME => Record::Alias(read_name(bytes, &mut { start })?),
        33 => {
            let number = |at: usize| Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]));
            let (priority, weight, port) = (number(0)?, number(2)?, number(4)?);
            Record::Service(Service { priority, weight, port, target: read_name(bytes, &mut { start + 6 })? })
        }
        _ => return Some(None),
    };
    Some(Some((name, ttl, record)))
}

/// A name, compressed or not (RFC 1035 section 4.1.4), in lower case; `at` moves past it.
fn read_name(bytes: &[u8], at: &mut usize) -> Option<String> {
    let mut name = String::new();
    let (mut here, mut jumped) = (*at, false);
    for _ in 0..POINTERS_MAX {
        let start = here;
        loop {
            let len = usize::from(*bytes.get(here)?);
            if len >= 0xc0 {
                break;
            }
            if len > LABEL_BYTES_MAX || name.len() + len + 1 > NAME_BYTES_MAX + 1 {
                return None;
            }
            here += 1;
            if len == 0 {
                if !jumped {
                    *at = here;
                }
                return Some(name);
            }
            if !name.is_empty() {
                name.push('.');
            }
            let label = bytes.get(here..here + len)?;
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            here += len;
        }
        let target = usize::from(bytes[here] & 0x3f) << 8 | usize::from(*bytes.get(here + 1)?);
        if !jumped {
            *at = here + 2;
        }
        // A pointer leads to what stands before it: that alone rules out circles.
        if target >= start {
            return None;
        }
        (here, jumped) = (target, true);
    }
    None
}

impl Response {
    /// Follows aliases from `name` to records of `kind`: where they end, the records there, and the shortest time to
    /// live on the way.
    pub(super) fn follow(&self, name: &str, kind: Kind) -> (String, Vec<Record>, u32) {
        let (mut name, mut ttl_s) = (name.to_string(), u32::MAX);
        for _ in 0..STEPS_MAX {
            let here = || self.records.iter().filter(|(owner, ..)| *owner == name);
            let found: Vec<_> = here().filter(|(.., record)| record.is(kind)).collect();
            if !found.is_empty() {
                ttl_s = found.iter().map(|(_, ttl, _)| *ttl).fold(ttl_s, u32::min);
                return (name, found.into_iter().map(|(.., record)| record.clone()).collect(), ttl_s);
            }
            let alias = here().find_map(|(_, ttl, record)| match record {
                Record::Alias(target) => Some((target.clone(), *ttl)),
                _ => None,
            });
            let Some((target, ttl)) = alias else { break };
            ttl_s = ttl_s.min(ttl);
            name = target;
        }
        (name, Vec::new(), ttl_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response to `query` with `answers`, each a record as it stands in the message.
    fn response(query: &[u8], answers: &[&[u8]]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] = 0x81;
        bytes[3] = 0x80;
        bytes[7] = answers.len() as u8;
        answers.iter().for_each(|answer| bytes.extend_from_slice(answer));
        bytes
    }

    #[test]
    fn aliases_lead_to_addresses() {
        let query = write_query(7, "www.example.org", Kind::A).unwrap();
        // The question stands at 12; "example" at 16.
        let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 3, b'W', b'e', b'b', 0xc0, 16];
        // The alias' data stands at 33 + 12 = 45.
        let addr = [0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1];
        let other = [0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 1, 0, 2, 1, b'x'];
        assert_eq!(query.len(), 33);
        let bytes = response(&query, &[&alias, &addr, &other]);
        let read = read_response(&bytes, &query).unwrap();
        let (end, records, ttl_s) = read.follow("www.example.org", Kind::A);
        assert_eq!((end.as_str(), ttl_s), ("web.example.org", 30));
        assert_eq!(records, [Record::Addr("192.0.2.1".parse().unwrap())]);
        assert!(read.follow("www.example.org", Kind::Aaaa).1.is_empty());
        for end in 0..bytes.len() {
            assert_eq!(read_response(&bytes[..end], &query), None, "cut at {end}");
        }
    }

    #[test]
    fn services_are_read() {
        let query = write_query(7, "_http._tcp.x", Kind::Srv).unwrap();
        let record = [0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 9, 0, 1, 0, 2, 31, 144, 1, b'a', 0];
        let read = read_response(&response(&query, &[&record]), &query).unwrap();
        let (_, records, ttl_s) = read.follow("_http._tcp.x", Kind::Srv);
        let target = "a".to_string();
        assert_eq!(records, [Record::Service(Service { priority: 1, weight: 2, port: 8080, target })]);
        assert_eq!(ttl_s, 9);
    }

    #[test]
    fn what_answers_another_question_is_ignored() {
        let query = write_query(7, "a.b", Kind::A).unwrap();
        let good = response(&query, &[]);
        assert!(read_response(&good, &query).is_some());
        assert_eq!(read_response(&good, &write_query(8, "a.b", Kind::A).unwrap()), None);
        assert_eq!(read_response(&good, &write_query(7, "a.c", Kind::A).unwrap()), None);
        assert_eq!(read_response(&good, &write_query(7, "a.b", Kind::Aaaa).unwrap()), None);
        assert_eq!(read_response(&query, &query), None);
    }

    #[test]
    fn pointers_in_circles_and_wild_bytes_end() {
        let query = write_query(7, "a.b", Kind::A).unwrap();
        let here = query.len() as u8;
        for pointer in [[0xc0, here], [0xc0, here + 2], [0xff, 0xff]] {
            let record = [pointer[0], pointer[1], 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4];
            assert_eq!(read_response(&response(&query, &[&record]), &query), None);
        }
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut wild = response(&query, &[&[0; 40]]);
            for byte in &mut wild[query.len()..] {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (seed >> 24) as u8;
            }
            let _ = read_response(&wild, &query);
        }
    }

    #[test]
    fn names_are_checked_before_they_are_asked_for() {
        for bad in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(write_query(1, bad, Kind::A), None);
        }
    }
}
