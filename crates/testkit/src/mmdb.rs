//! Writes databases in MaxMind's format, as small as a test needs them.

use std::net::IpAddr;

/// A value of a database.
#[derive(Clone, Debug)]
pub enum Item {
    Text(String),
    Bytes(Vec<u8>),
    Double(f64),
    Float(f32),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    I32(i32),
    Flag(bool),
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

/// A map of these.
pub fn map(pairs: &[(&str, Item)]) -> Item {
    Item::Map(pairs.iter().map(|(name, item)| ((*name).to_owned(), item.clone())).collect())
}

/// When every database says that it was built, seconds since the epoch.
pub const BUILT_S: u64 = 1_790_000_000;

/// A database of what is known of networks, written as `192.0.2.0/24`. Records have 24, 28 or 32 bits. In a tree of IP
/// version 6, IPv4 networks stand below `::/96`.
///
/// # Panics
/// On networks that overlap or cannot be read: tests write these.
pub fn database(record_bits: usize, ip_version: u16, networks: &[(&str, Item)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, item) in networks {
        let (key, n_bits) = bits_of(network, ip_version);
        let at = data.len();
        item.write(&mut data, true);
        insert(&mut nodes, key, n_bits, at);
    }
    let mut out = Vec::new();
    for node in &nodes {
        let number = |record| match record {
            Record::Nothing => nodes.len(),
            Record::Node(node) => node,
            Record::Data(at) => nodes.len() + 16 + at,
        };
        let (left, right) = (number(node[0]) as u32, number(node[1]) as u32);
        let (left, right) = (left.to_be_bytes(), right.to_be_bytes());
        match record_bits {
            24 => out.extend([&left[1..], &right[1..]].concat()),
            28 => out.extend([&left[1..], &[left[0] << 4 | right[0]], &right[1..]].concat()),
            32 => out.extend([left, right].concat()),
            other => panic!("no record has {other} bits"),
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = map(&[
        ("binary_format_major_version", Item::U16(2)),
        ("binary_format_minor_version", Item::U16(0)),
        ("build_epoch", Item::U64(BUILT_S)),
        ("database_type", Item::Text("Test".to_owned())),
        ("description", map(&[("en", Item::Text("Written by a test".to_owned()))])),
        ("ip_version", Item::U16(ip_version)),
        ("languages", Item::List(vec![Item::Text("en".to_owned())])),
        ("node_count", Item::U32(nodes.len() as u32)),
        ("record_size", Item::U16(record_bits as u16)),
    ]);
    metadata.write(&mut out, false);
    out
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The first bits of a key of 128, and how many of them count.
fn bits_of(network: &str, ip_version: u16) -> (u128, u32) {
    let (ip, bits) = network.split_once('/').expect("because a network has its bits");
    let bits: u32 = bits.parse().expect("because a number of bits is one");
    match (ip.parse().expect("because a network begins with an address"), ip_version) {
        (IpAddr::V4(ip), 4) => (u128::from(u32::from(ip)) << 96, bits),
        (IpAddr::V4(ip), _) => (u32::from(ip).into(), bits + 96),
        (IpAddr::V6(ip), _) => (ip.into(), bits),
    }
}

fn insert(nodes: &mut Vec<[Record; 2]>, key: u128, n_bits: u32, at: usize) {
    let mut node = 0;
    for bit in 0..n_bits {
        let side = usize::from((key >> (127 - bit)) & 1 == 1);
        match nodes[node][side] {
            _ if bit + 1 == n_bits => nodes[node][side] = Record::Data(at),
            Record::Node(next) => node = next,
            Record::Nothing => {
                nodes.push([Record::Nothing; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Record::Node(next);
                node = next;
            }
            Record::Data(_) => panic!("networks overlap"),
        }
    }
}

impl Item {
    /// `points`: a text that is long enough stands once at a place of its own, with a pointer to it.
    fn write(&self, out: &mut Vec<u8>, points: bool) {
        match self {
            Self::Text(text) => sized(2, text.as_bytes(), out),
            Self::Bytes(bytes) => sized(4, bytes, out),
            Self::Double(number) => sized(3, &number.to_be_bytes(), out),
            Self::Float(number) => sized(15, &number.to_be_bytes(), out),
            Self::U16(number) => sized(5, short(&number.to_be_bytes()), out),
            Self::U32(number) => sized(6, short(&number.to_be_bytes()), out),
            Self::U64(number) => sized(9, short(&number.to_be_bytes()), out),
            Self::U128(number) => sized(10, short(&number.to_be_bytes()), out),
            Self::I32(number) => sized(8, short(&number.to_be_bytes()), out),
            Self::Flag(flag) => head(14, usize::from(*flag), out),
            Self::List(items) => {
                head(11, items.len(), out);
                items.iter().for_each(|it| it.write(out, points));
            }
            Self::Map(pairs) => {
                head(7, pairs.len(), out);
                for (name, item) in pairs {
                    write_key(name, out, points);
                    item.write(out, points);
                }
            }
        }
    }
}

/// A name that stands in the data already is pointed to, as real databases have it.
fn write_key(name: &str, out: &mut Vec<u8>, points: bool) {
    let mut whole = Vec::new();
    sized(2, name.as_bytes(), &mut whole);
    let known = out.windows(whole.len()).position(|it| it == whole).filter(|_| points);
    match known {
        Some(at) if at < 2048 => out.extend([1 << 5 | (at >> 8) as u8, at as u8]),
        Some(at) => {
            out.push(1 << 5 | 3 << 3);
            out.extend((at as u32).to_be_bytes());
        }
        None => out.extend(whole),
    }
}

/// Without the zeros in front.
fn short(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|it| **it == 0).count();
    &bytes[zeros..]
}

fn sized(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(kind, bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn head(kind: u8, len: usize, out: &mut Vec<u8>) {
    let (size, more) = match len {
        0..29 => (len, Vec::new()),
        29..285 => (29, vec![(len - 29) as u8]),
        285..65_821 => (30, ((len - 285) as u16).to_be_bytes().to_vec()),
        _ => (31, ((len - 65_821) as u32).to_be_bytes()[1..].to_vec()),
    };
    match kind {
        1..8 => out.push(kind << 5 | size as u8),
        _ => out.extend([size as u8, kind - 7]),
    }
    out.extend(more);
}
