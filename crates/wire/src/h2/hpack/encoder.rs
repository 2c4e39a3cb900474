//! Fields to header blocks (RFC 7541, section 6): what comes again and again shrinks to one byte.

use super::table::{ENTRIES, Facts, STATIC, Shape, Table};
use super::{Pseudo, TABLE_BYTES, huffman, push_number};
use crate::name::{NAMES, Name, NameSet};

/// Slots of the memory for what has been sent: a power of two.
const SLOTS: usize = 64;
/// Longer fields are not remembered: few would fit.
const REMEMBERED_BYTES_MAX: usize = 512;
/// Shorter strings are not coded: there is nothing to be gained.
const CODED_BYTES_MIN: usize = 5;
/// Of values that are new each time, only those above this are: a few bytes are not worth the work.
const FLEETING_BYTES_MIN: usize = 32;

/// Values that are secret, or new each time: never remembered, so that they push nothing out.
const FLEETING: NameSet = NameSet::of(&[
    Name::ContentLength,
    Name::ContentRange,
    Name::ETag,
    Name::LastModified,
    Name::Location,
    Name::SetCookie,
    Name::Age,
    Name::Authorization,
    Name::WwwAuthenticate,
    Name::Cookie,
]);

/// Where a name first stands in the static table, by the name's number; 0 is nowhere.
static STATIC_INDEX: [u8; NAMES] = {
    let mut index = [0; NAMES];
    let mut at = STATIC;
    while at > 0 {
        at -= 1;
        let known = ENTRIES[at].facts.known;
        if !matches!(known, Name::Other) {
            index[known as usize] = at as u8 + 1;
        }
    }
    index
};

/// The writing end of a connection's compression.
pub struct Encoder {
    table: Table,
    /// The size that the other side allows, where it has not been told yet: the smallest since, and the last.
    resized: Option<(usize, usize)>,
    /// By a hash of name and value: the number of the entry that has them, or a mark of having been sent once.
    slots: Option<Box<[Slot; SLOTS]>>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u32,
    /// The table's count of entries right after it was put in; 0: sent once and not put in.
    number: u64,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { table: Table::new(TABLE_BYTES), resized: None, slots: None }
    }
}

impl Encoder {
    /// The other side's table may have `size` bytes from its next block on (SETTINGS_HEADER_TABLE_SIZE).
    pub fn allow(&mut self, size: usize) {
        let size = size.min(TABLE_BYTES);
        if self.resized.is_some() || size != self.table.size_max() {
            let least = self.resized.map_or(size, |(least, _)| least.min(size));
            self.resized = Some((least, size));
        }
    }

    /// Every block begins with this.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((least, last)) = self.resized.take() else { return };
        for size in [Some(least).filter(|least| *least < last), Some(last)].into_iter().flatten() {
            self.table.resize(size);
            push_number(0x20, 5, size, out);
        }
    }

    /// `:status`, three digits.
    #[inline]
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |n: u16| b'0' + (n % 10) as u8;
                return literal(
                    8,
                    b"",
                    &[digit(status / 100), digit(status / 10), digit(status)],
                    false,
                    out,
                );
            }
        };
        out.push(0x80 | index);
    }

    /// A field; `known` is which name it is. Upper-case letters of the name are sent in lower case.
    pub fn field(&mut self, known: Name, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let index = match known {
            Name::Other => other_index(name),
            known => STATIC_INDEX[known as usize],
        };
        self.indexed(index, known, name, value, out);
    }

    /// A request's pseudo-header field.
    pub fn pseudo(&mut self, which: Pseudo, value: &[u8], out: &mut Vec<u8>) {
        let (index, name): (u8, &[u8]) = match which {
            Pseudo::Method => (2, b":method"),
            Pseudo::Scheme => (6, b":scheme"),
            Pseudo::Path => (4, b":path"),
            Pseudo::Authority => (1, b":authority"),
            Pseudo::Protocol => (0, b":protocol"),
            Pseudo::Status | Pseudo::Unknown => return,
        };
        let whole = match (which, value) {
            (Pseudo::Method, b"GET") => 2,
            (Pseudo::Method, b"POST") => 3,
            (Pseudo::Path, b"/") => 4,
            (Pseudo::Scheme, b"http") => 6,
            (Pseudo::Scheme, b"https") => 7,
            _ => return self.indexed(index, Name::Other, name, value, out),
        };
        out.push(0x80 | whole);
    }

    /// A field whose name stands in the static table at `index`; 0 is nowhere.
    #[inline(always)]
    fn indexed(&mut self, index: u8, known: Name, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if FLEETING.has(known) {
            return fleeting(index, value, out);
        }
        if name.len() + value.len() > REMEMBERED_BYTES_MAX {
            return literal(index, name, value, false, out);
        }
        let hash = hash(known, name, value);
        let slots = self.slots.get_or_insert_with(|| Box::new([Slot::default(); SLOTS]));
        let slot = &mut slots[hash as usize % SLOTS];
        if slot.hash != hash {
            // A second time is waited for: what is new each time would push out what is not.
            *slot = Slot { hash, number: 0 };
            return literal(index, name, value, false, out);
        }
        let back = (self.table.n_inserted() - slot.number) as usize;
        if slot.number > 0
            && let Some(row) = self.table.row(back)
        {
            let is_name =
                row.facts.known == known && (known != Name::Other || row.name.eq_ignore_ascii_case(name));
            if is_name && row.value == value {
                return push_number(0x80, 7, STATIC + 1 + back, out);
            }
            return literal(index, name, value, false, out);
        }
        literal(index, name, value, true, out);
        let facts = Facts { known, shape: Shape::Regular, is_clean: true };
        self.table.insert(facts, &name.to_ascii_lowercase(), value);
        slot.number = self.table.n_inserted();
    }
}

/// Where names that the house does not ask for stand in the static table.
fn other_index(name: &[u8]) -> u8 {
    let (index, text): (u8, &[u8]) = match name.len() {
        5 => (22, b"allow"),
        11 => (53, b"retry-after"),
        16 if name[8] | 0x20 == b'l' && name[9] | 0x20 == b'a' => (27, b"content-language"),
        16 => (29, b"content-location"),
        25 => (56, b"strict-transport-security"),
        27 => (20, b"access-control-allow-origin"),
        _ => return 0,
    };
    if name.eq_ignore_ascii_case(text) { index } else { 0 }
}

/// Appends a field with its value, and its name too where `index` is 0.
fn literal(index: u8, name: &[u8], value: &[u8], remembered: bool, out: &mut Vec<u8>) {
    let (marks, bits) = if remembered { (0x40, 6) } else { (0, 4) };
    push_number(marks, bits, index.into(), out);
    if index == 0 {
        push_number(0, 7, name.len(), out);
        let at = out.len();
        out.extend_from_slice(name);
        out[at..].make_ascii_lowercase();
    }
    string(value, CODED_BYTES_MIN, out);
}

/// As `literal`, for a name that stands in the static table.
fn fleeting(index: u8, value: &[u8], out: &mut Vec<u8>) {
    push_number(0, 4, index.into(), out);
    string(value, FLEETING_BYTES_MIN, out);
}

/// Coded if it has `coded_min` bytes or more and becomes shorter.
#[inline]
fn string(text: &[u8], coded_min: usize, out: &mut Vec<u8>) {
    if text.len() >= coded_min {
        let len = huffman::coded_len(text);
        if len < text.len() {
            push_number(0x80, 7, len, out);
            return huffman::encode(text, out);
        }
    }
    push_number(0, 7, text.len(), out);
    out.extend_from_slice(text);
}

/// Never 0. Names compare without case.
#[inline]
fn hash(known: Name, name: &[u8], value: &[u8]) -> u32 {
    let mut hash = known as u64;
    if known == Name::Other {
        hash = mix(hash, name, CASELESS);
    }
    (mix(hash, value, 0) >> 32) as u32 | 1 << 31
}

const CASELESS: u64 = u64::from_le_bytes([0x20; 8]);
/// Any odd number of many bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(mut hash: u64, bytes: &[u8], or: u64) -> u64 {
    let mut add = |word: u64| hash = (hash.rotate_left(23) ^ (word | or)).wrapping_mul(SPREAD);
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
    let tail = rest.iter().fold(bytes.len() as u64, |tail, &byte| tail << 8 | u64::from(byte));
    add(tail);
    hash
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    fn fields(decoder: &mut Decoder, block: &[u8]) -> String {
        let mut text = String::new();
        let take = |it: super::super::Field<'_>| {
            text += &format!("{}={}|", it.name.escape_ascii(), it.value.escape_ascii());
        };
        decoder.decode(block, take).expect("because we have written it");
        text
    }

    #[test]
    fn what_repeats_becomes_one_byte() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new(1000));
        let mut lens = Vec::new();
        for _ in 0..4 {
            let mut out = Vec::new();
            encoder.begin(&mut out);
            encoder.status(200, &mut out);
            encoder.field(Name::Server, b"Server", b"foregate/0.1.0", &mut out);
            encoder.field(Name::ContentType, b"Content-Type", b"text/html", &mut out);
            encoder.field(Name::Other, b"X-Frame-Options", b"DENY", &mut out);
            encoder.field(Name::ContentLength, b"Content-Length", b"1024", &mut out);
            assert_eq!(
                fields(&mut decoder, &out),
                ":status=200|server=foregate/0.1.0|content-type=text/html|x-frame-options=DENY|content-length=1024|"
            );
            lens.push(out.len());
        }
        assert!(lens[0] > lens[1] && lens[1] > lens[2] && lens[2] == lens[3]);
        assert_eq!(lens[3], 1 + 3 + 7);
    }

    #[test]
    fn every_field_comes_back_while_the_table_turns_over() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new(5000));
        let mut seed = 1_u64;
        for round in 0..3000 {
            let mut out = Vec::new();
            match round % 500 {
                100 => encoder.allow(100),
                200 => encoder.allow(0),
                300 => encoder.allow(65536),
                _ => {}
            }
            encoder.begin(&mut out);
            let mut want = String::new();
            for _ in 0..6 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (a, b) = ((seed >> 33) % 40, (seed >> 40) % 90);
                let (name, value) =
                    (format!("x-{a}"), "v".repeat((seed >> 50) as usize % 90) + &b.to_string());
                encoder.field(Name::Other, name.to_uppercase().as_bytes(), value.as_bytes(), &mut out);
                want += &format!("{name}={value}|");
            }
            assert_eq!(fields(&mut decoder, &out), want, "round {round}");
        }
    }

    #[test]
    fn other_names_stand_where_the_table_has_them() {
        for entry in &ENTRIES {
            let index = other_index(entry.name);
            assert!(index == 0 || ENTRIES[usize::from(index) - 1].name == entry.name);
        }
        assert_eq!((other_index(b"Retry-After"), other_index(b"content-xanguage")), (53, 0));
    }
}
