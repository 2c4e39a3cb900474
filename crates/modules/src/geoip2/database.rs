//! Reads MaxMind's database format (MaxMind DB File Format Specification, version 2.0): a binary tree over the bits of
//! an address, whose leaves point to values.
//!
//! ```text
//!  tree: pairs of records  │ 16 zeros │ data: values, maps of values │ marker │ metadata: a map
//! ```
//!
//! Nothing in a file is believed: every position is checked, so that a damaged file has no value or a reason.

use std::net::IpAddr;

/// What stands in front of the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// How far from the end the marker may stand.
const METADATA_BYTES_MAX: usize = 128 << 10;
/// Zeros between tree and data.
const GAP: usize = 16;
/// Maps in maps, as libmaxminddb has it.
const DEPTH_MAX: u32 = 512;
/// Bits that an IPv6 tree has above its IPv4 part.
const BITS_ABOVE_V4: u32 = 96;

/// Why a file cannot be read, or not here.
pub(super) type Damage = &'static str;

pub(super) struct Database {
    bytes: Vec<u8>,
    n_nodes: u32,
    /// Of one record: 24, 28 or 32; a node has two.
    record_bits: usize,
    /// Where IPv4 addresses begin; `None`: nowhere.
    v4_root: Option<u32>,
    has_v6: bool,
    data: std::ops::Range<usize>,
    /// Seconds since the epoch.
    pub(super) built_s: u64,
}

/// A value as it stands in the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Double(f64),
    Float(f32),
    Unsigned(u64),
    Huge(u128),
    Signed(i32),
    Flag(bool),
    /// So many pairs begin there.
    Map {
        n: usize,
        at: usize,
    },
    /// So many values begin there.
    List {
        n: usize,
        at: usize,
    },
}

impl Database {
    /// # Errors
    /// What is wrong with the file, as the end of a sentence.
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, Damage> {
        const NO_METADATA: Damage = "it has no metadata, so it is no MaxMind database";
        let from = bytes.len().saturating_sub(METADATA_BYTES_MAX);
        let marker = from + memchr::memmem::rfind(&bytes[from..], MARKER).ok_or(NO_METADATA)?;
        let metadata = Section(&bytes[marker + MARKER.len()..]);
        let number = |name: &[u8]| match metadata.get(0, &[name.into()])? {
            Some(Value::Unsigned(number)) => Ok(number),
            _ => Err("its metadata lacks a number"),
        };
        if number(b"binary_format_major_version")? != 2 {
            return Err("its format has another version than 2");
        }
        let n_nodes = u32::try_from(number(b"node_count")?).map_err(|_| "its tree is too large")?;
        let record_bits = match number(b"record_size")? {
            bits @ (24 | 28 | 32) => bits as usize,
            _ => return Err("its records are of an unknown size"),
        };
        let has_v6 = match number(b"ip_version")? {
            4 => false,
            6 => true,
            _ => return Err("it is for another version of IP than 4 and 6"),
        };
        let built_s = number(b"build_epoch").unwrap_or_default();
        let tree_bytes = (n_nodes as usize).checked_mul(record_bits / 4);
        let data = tree_bytes.and_then(|it| it.checked_add(GAP)).ok_or("its tree is too large")?;
        if data > marker {
            return Err("it is shorter than its tree");
        }
        let mut new =
            Self { bytes, n_nodes, record_bits, v4_root: Some(0), has_v6, data: data..marker, built_s };
        if has_v6 && n_nodes > 0 {
            new.v4_root = new.descend(0, 0, BITS_ABOVE_V4)?;
        }
        Ok(new)
    }

    /// Where in the data the values of an address stand.
    ///
    /// # Errors
    /// A record leads out of the file.
    pub(super) fn find(&self, ip: IpAddr) -> Result<Option<usize>, Damage> {
        let record = match ip.to_canonical() {
            _ if self.n_nodes == 0 => None,
            IpAddr::V4(ip) => match self.v4_root {
                Some(root) if root < self.n_nodes => {
                    self.descend(root, u128::from(u32::from(ip)) << BITS_ABOVE_V4, 32)?
                }
                other => other,
            },
            IpAddr::V6(ip) if self.has_v6 => self.descend(0, ip.into(), 128)?,
            IpAddr::V6(_) => None,
        };
        let Some(record) = record.filter(|it| *it > self.n_nodes) else { return Ok(None) };
        let at = (record - self.n_nodes) as usize;
        at.checked_sub(GAP).filter(|it| *it < self.data.len()).map(Some).ok_or("a record leads out of its data")
    }

    /// Goes down the tree along the first bits of a key: the record reached, or nothing.
    fn descend(&self, mut node: u32, key: u128, n_bits: u32) -> Result<Option<u32>, Damage> {
        for bit in 0..n_bits {
            if node >= self.n_nodes {
                break;
            }
            node = self.record(node, (key >> (127 - bit)) & 1 == 1).ok_or("its tree is damaged")?;
        }
        Ok((node != self.n_nodes).then_some(node))
    }

    /// One of the two records of a node.
    fn record(&self, node: u32, right: bool) -> Option<u32> {
        let n_bytes = self.record_bits / 4;
        let start = (node as usize).checked_mul(n_bytes)?;
        let node = self.bytes.get(start..start + n_bytes)?;
        Some(match (self.record_bits, right) {
            (24, false) => big(&node[..3]),
            (24, true) => big(&node[3..6]),
            // The byte in the middle has the highest four bits of both.
            (28, false) => u32::from(node[3] >> 4) << 24 | big(&node[..3]),
            (28, true) => u32::from(node[3] & 15) << 24 | big(&node[4..7]),
            (_, false) => big(&node[..4]),
            (_, true) => big(&node[4..8]),
        })
    }

    /// The value that a path of names and positions leads to.
    ///
    /// # Errors
    /// The data there is damaged.
    pub(super) fn get(&self, at: usize, path: &[Box<[u8]>]) -> Result<Option<Value<'_>>, Damage> {
        Section(&self.bytes[self.data.clone()]).get(at, path)
    }
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Bytes with values in them, which point to each other by their distance from the beginning.
#[derive(Clone, Copy)]
struct Section<'a>(&'a [u8]);

/// What the bytes in front of a value say.
struct Head {
    kind: u8,
    len: usize,
    /// Behind those bytes.
    at: usize,
}

const SHORT: Damage = "its data ends within a value";
/// Kinds of values.
const POINTER: u8 = 1;
const MAP: u8 = 7;
const LIST: u8 = 11;
const FLAG: u8 = 14;

impl<'a> Section<'a> {
    fn get(self, at: usize, path: &[Box<[u8]>]) -> Result<Option<Value<'a>>, Damage> {
        let mut value = self.value(at)?;
        for name in path {
            let inner = match value {
                Value::Map { n, at } => self.of_map(n, at, name)?,
                Value::List { n, at } => self.of_list(n, at, name)?,
                _ => None,
            };
            let Some(at) = inner else { return Ok(None) };
            value = self.value(at)?;
        }
        Ok(Some(value))
    }

    fn of_map(self, n: usize, mut at: usize, name: &[u8]) -> Result<Option<usize>, Damage> {
        for _ in 0..n {
            let key = self.value(at)?;
            at = self.skip(at, 1)?;
            if key == Value::Text(name) {
                return Ok(Some(at));
            }
            at = self.skip(at, DEPTH_MAX)?;
        }
        Ok(None)
    }

    /// Negative positions count from the end.
    fn of_list(self, n: usize, mut at: usize, position: &[u8]) -> Result<Option<usize>, Damage> {
        let position = std::str::from_utf8(position).ok().and_then(|it| it.parse::<i64>().ok());
        let wanted = position.and_then(|it| match it {
            0.. => usize::try_from(it).ok(),
            _ => n.checked_sub(usize::try_from(it.unsigned_abs()).ok()?),
        });
        let Some(wanted) = wanted.filter(|it| *it < n) else { return Ok(None) };
        for _ in 0..wanted {
            at = self.skip(at, DEPTH_MAX)?;
        }
        Ok(Some(at))
    }

    /// The value there, or the one that a pointer there leads to.
    fn value(self, at: usize) -> Result<Value<'a>, Damage> {
        let mut head = self.head(at)?;
        if head.kind == POINTER {
            head = self.head(self.pointer(&head)?.0)?;
        }
        let Head { kind, len, at } = head;
        let bytes = || self.0.get(at..at.checked_add(len)?);
        let number = |most: usize| -> Result<u128, Damage> {
            let bytes = bytes().filter(|_| len <= most).ok_or(SHORT)?;
            Ok(bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)))
        };
        Ok(match kind {
            2 => Value::Text(bytes().ok_or(SHORT)?),
            3 => Value::Double(f64::from_be_bytes(bytes().and_then(|it| it.try_into().ok()).ok_or(SHORT)?)),
            4 => Value::Bytes(bytes().ok_or(SHORT)?),
            5 => Value::Unsigned(number(2)? as u64),
            6 => Value::Unsigned(number(4)? as u64),
            MAP => Value::Map { n: len, at },
            8 => Value::Signed(number(4)? as u32 as i32),
            9 => Value::Unsigned(number(8)? as u64),
            10 => Value::Huge(number(16)?),
            LIST => Value::List { n: len, at },
            FLAG => Value::Flag(len != 0),
            15 => Value::Float(f32::from_be_bytes(bytes().and_then(|it| it.try_into().ok()).ok_or(SHORT)?)),
            POINTER => return Err("a pointer in it leads to a pointer"),
            _ => return Err("it holds a value of an unknown kind"),
        })
    }

    /// Where the next value begins. What a pointer leads to is not looked at, so every byte is passed once.
    fn skip(self, at: usize, depth_left: u32) -> Result<usize, Damage> {
        let head = self.head(at)?;
        let n_inside = match head.kind {
            POINTER => return Ok(self.pointer(&head)?.1),
            FLAG => return Ok(head.at),
            MAP => head.len * 2,
            LIST => head.len,
            _ => return head.at.checked_add(head.len).filter(|it| *it <= self.0.len()).ok_or(SHORT),
        };
        if depth_left == 0 {
            return Err("its values are too deep");
        }
        (0..n_inside).try_fold(head.at, |at, _| self.skip(at, depth_left - 1))
    }

    fn head(self, at: usize) -> Result<Head, Damage> {
        let byte = |at: usize| self.0.get(at).copied().ok_or(SHORT);
        let first = byte(at)?;
        let mut kind = first >> 5;
        let mut next = at + 1;
        if kind == 0 {
            kind = byte(next)?.checked_add(7).ok_or("it holds a value of an unknown kind")?;
            next += 1;
        }
        let size = usize::from(first & 31);
        // The size of a pointer is read with it.
        let (n_more, base) = match (kind, size) {
            (POINTER, _) => (0, size),
            (_, 29) => (1, 29),
            (_, 30) => (2, 285),
            (_, 31) => (3, 65821),
            _ => (0, size),
        };
        let more = self.0.get(next..next + n_more).ok_or(SHORT)?;
        Ok(Head { kind, len: base + big(more) as usize, at: next + n_more })
    }

    /// Where a pointer leads to, and where the value behind it begins.
    fn pointer(self, head: &Head) -> Result<(usize, usize), Damage> {
        let n_bytes = (head.len >> 3) + 1;
        let bytes = self.0.get(head.at..head.at + n_bytes).ok_or(SHORT)?;
        let high = head.len & 7;
        let low = big(bytes) as usize;
        let to = match n_bytes {
            1 => high << 8 | low,
            2 => (high << 16 | low) + 2048,
            3 => (high << 24 | low) + 526_336,
            _ => low,
        };
        Ok((to, head.at + n_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use foregate_testkit::mmdb::{self, Item};

    use super::{Database, Value};

    fn database(record_bits: usize, ip_version: u16) -> Vec<u8> {
        let city = |name: &str, n: u32| {
            mmdb::map(&[
                ("city", mmdb::map(&[("names", mmdb::map(&[("en", Item::Text(name.into()))]))])),
                ("list", Item::List(vec![Item::U16(1), mmdb::map(&[("x", Item::U32(n))]), Item::Flag(true)])),
                ("double", Item::Double(-1.25)),
                ("signed", Item::I32(-7)),
                ("huge", Item::U128(1 << 100)),
                ("long", Item::Text("x".repeat(70_000))),
                ("bytes", Item::Bytes(vec![0, 255])),
                ("float", Item::Float(0.5)),
            ])
        };
        let mut all = vec![("192.0.2.0/24", city("A", 1)), ("198.51.100.7/32", city("B", 2))];
        if ip_version == 6 {
            all.push(("2001:db8::/32", city("C", 3)));
        }
        mmdb::database(record_bits, ip_version, &all)
    }

    fn name(database: &Database, ip: &str) -> Option<String> {
        let ip: IpAddr = ip.parse().unwrap();
        let at = database.find(ip).unwrap()?;
        let path = ["city", "names", "en"].map(|it| it.as_bytes().into());
        match database.get(at, &path).unwrap()? {
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_found_in_trees_of_every_shape() {
        for (bits, version) in [(24, 4), (28, 4), (32, 4), (24, 6), (28, 6), (32, 6)] {
            let database = Database::open(database(bits, version)).unwrap();
            let of = |ip| name(&database, ip);
            assert_eq!(of("192.0.2.200"), Some("A".into()), "{bits} {version}");
            assert_eq!(of("198.51.100.7"), Some("B".into()));
            assert_eq!(of("::ffff:198.51.100.7"), Some("B".into()));
            assert_eq!((of("198.51.100.8"), of("10.0.0.1")), (None, None));
            assert_eq!(of("2001:db8:1::1").as_deref(), (version == 6).then_some("C"));
            assert_eq!(of("2001:db9::"), None);
        }
    }

    #[test]
    fn values_are_read() {
        let database = Database::open(database(28, 6)).unwrap();
        let at = database.find("192.0.2.1".parse().unwrap()).unwrap().unwrap();
        let get = |path: &str| {
            let path: Vec<Box<[u8]>> = path.split(' ').map(|it| it.as_bytes().into()).collect();
            database.get(at, &path).unwrap()
        };
        assert_eq!(get("list 0"), Some(Value::Unsigned(1)));
        assert_eq!(get("list 1 x"), Some(Value::Unsigned(1)));
        assert_eq!(get("list -1"), Some(Value::Flag(true)));
        assert_eq!((get("list 3"), get("list -4"), get("list x"), get("none")), (None, None, None, None));
        assert_eq!(get("double"), Some(Value::Double(-1.25)));
        assert_eq!(get("float"), Some(Value::Float(0.5)));
        assert_eq!(get("signed"), Some(Value::Signed(-7)));
        assert_eq!(get("huge"), Some(Value::Huge(1 << 100)));
        assert_eq!(get("bytes"), Some(Value::Bytes(&[0, 255])));
        assert_eq!(get("double x"), None);
        assert!(matches!(get("long"), Some(Value::Text(text)) if text.len() == 70_000));
        assert!(matches!(get("city"), Some(Value::Map { n: 1, .. })));
    }

    #[test]
    fn damaged_files_are_refused_or_have_no_value() {
        let whole = mmdb::database(24, 6, &[("192.0.2.0/24", mmdb::map(&[("a", Item::U16(7))]))]);
        assert!(Database::open(Vec::new()).is_err());
        assert!(Database::open(b"no database".to_vec()).is_err());
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let look = |bytes: Vec<u8>| {
            let Ok(database) = Database::open(bytes) else { return };
            for ip in [ip, "2001:db8::1".parse().unwrap()] {
                if let Ok(Some(at)) = database.find(ip) {
                    _ = database.get(at, &[b"a"[..].into()]);
                    _ = database.get(at, &[b"0"[..].into(), b"b"[..].into()]);
                }
            }
        };
        for cut in 0..whole.len() {
            look(whole[..cut].to_vec());
            look(whole[cut..].to_vec());
        }
        for at in 0..whole.len() {
            for change in [1, 2, 0x20, 0x40, 0x80, 0xff, 0x1f, 0xe0] {
                let mut damaged = whole.clone();
                damaged[at] ^= change;
                look(damaged);
            }
        }
    }
}
