//! Names of header fields that the house asks for: told once, when a field is read, and compared as numbers ever after.

/// Declares the names, each with the text that is written for it.
macro_rules! names {
    ($($name:ident $text:literal)+) => {
        /// A field's name, as far as we know it. Letters compare without case, in and out.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            /// Any other name.
            #[default]
            Other,
            $($name,)+
        }

        /// Every name but `Other`.
        const KNOWN: &[(Name, &str)] = &[$((Name::$name, $text),)+];
    };
}

names! {
    Accept "Accept"
    AcceptEncoding "Accept-Encoding"
    AcceptLanguage "Accept-Language"
    AcceptRanges "Accept-Ranges"
    Age "Age"
    Authorization "Authorization"
    CacheControl "Cache-Control"
    Connection "Connection"
    ContentDisposition "Content-Disposition"
    ContentEncoding "Content-Encoding"
    ContentLength "Content-Length"
    ContentRange "Content-Range"
    ContentType "Content-Type"
    Cookie "Cookie"
    Date "Date"
    ETag "ETag"
    Expect "Expect"
    Expires "Expires"
    Forwarded "Forwarded"
    Host "Host"
    IfMatch "If-Match"
    IfModifiedSince "If-Modified-Since"
    IfNoneMatch "If-None-Match"
    IfRange "If-Range"
    IfUnmodifiedSince "If-Unmodified-Since"
    KeepAlive "Keep-Alive"
    LastModified "Last-Modified"
    Link "Link"
    Location "Location"
    Origin "Origin"
    Pragma "Pragma"
    ProxyAuthorization "Proxy-Authorization"
    ProxyConnection "Proxy-Connection"
    Range "Range"
    Referer "Referer"
    Refresh "Refresh"
    Server "Server"
    SetCookie "Set-Cookie"
    Status "Status"
    Te "TE"
    Trailer "Trailer"
    TransferEncoding "Transfer-Encoding"
    Upgrade "Upgrade"
    UserAgent "User-Agent"
    Vary "Vary"
    Via "Via"
    WwwAuthenticate "WWW-Authenticate"
    XAccelBuffering "X-Accel-Buffering"
    XAccelCharset "X-Accel-Charset"
    XAccelExpires "X-Accel-Expires"
    XAccelLimitRate "X-Accel-Limit-Rate"
    XAccelRedirect "X-Accel-Redirect"
    XForwardedFor "X-Forwarded-For"
    XForwardedProto "X-Forwarded-Proto"
    XPad "X-Pad"
    XRealIp "X-Real-IP"
}

/// Names in all, `Other` included: a `NameSet` has a bit for each.
pub(crate) const NAMES: usize = KNOWN.len() + 1;
const _: () = assert!(NAMES <= u64::BITS as usize, "a NameSet has a bit for each name");

/// The longest name we know, bytes.
const LEN_MAX: usize = 19;
/// Names up to this length are their first and their last word.
const TWO_WORDS: usize = 16;

/// What makes a letter of each byte of a word lower case.
const LOWER: u64 = u64::from_le_bytes([0x20; 8]);

/// A name's length, its first eight bytes and its last eight in lower case, and which of these are letters:
/// `0x20` at each. A name below eight bytes is its first word alone, filled up with zeros.
#[derive(Clone, Copy)]
struct Shape {
    text: &'static str,
    first: u64,
    first_letters: u64,
    last: u64,
    last_letters: u64,
}

static SHAPES: [Shape; NAMES] = {
    let mut shapes = [Shape { text: "", first: 0, first_letters: 0, last: 0, last_letters: 0 }; NAMES];
    let mut idx = 0;
    while idx < KNOWN.len() {
        let (name, text) = KNOWN[idx];
        assert!(text.len() <= LEN_MAX);
        let (first, last) = ends(text.as_bytes());
        let (first_letters, last_letters) = (letters(first), letters(last));
        let (first, last) = (first | first_letters, last | last_letters);
        shapes[name as usize] = Shape { text, first, first_letters, last, last_letters };
        idx += 1;
    }
    shapes
};

/// Slots of the table of names: few names share one.
const SLOTS: usize = 256;

/// Where `slot_of` says, or in the slots behind it up to the first that has none.
static TABLE: [Name; SLOTS] = {
    let mut table = [Name::Other; SLOTS];
    let mut idx = 0;
    while idx < KNOWN.len() {
        let (name, text) = KNOWN[idx];
        let (first, last) = ends(text.as_bytes());
        let mut slot = slot_of(first, last);
        while !matches!(table[slot], Name::Other) {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = name;
        idx += 1;
    }
    table
};

impl Name {
    /// Which name this is, however its letters are written.
    #[inline(always)]
    pub fn of(name: &[u8]) -> Name {
        if name.len() > LEN_MAX {
            return Name::Other;
        }
        let (first, last) = ends(name);
        let mut slot = slot_of(first, last);
        loop {
            let found = TABLE[slot];
            if found == Name::Other || found.is(name, first, last) {
                return found;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The name as it is usually written; empty for `Other`.
    #[inline]
    pub fn text(self) -> &'static str {
        SHAPES[self as usize].text
    }

    #[inline(always)]
    fn is(self, name: &[u8], first: u64, last: u64) -> bool {
        let shape = &SHAPES[self as usize];
        name.len() == shape.text.len()
            && first | shape.first_letters == shape.first
            && last | shape.last_letters == shape.last
            && (name.len() <= TWO_WORDS || name.eq_ignore_ascii_case(shape.text.as_bytes()))
    }
}

/// The first and the last word of a name.
#[inline(always)]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64);
        return (first | last << ((name.len() - 4) * 8), 0);
    }
    match *name {
        [a, b, c] => (u32::from_le_bytes([a, b, c, 0]) as u64, 0),
        [a, b] => (u32::from_le_bytes([a, b, 0, 0]) as u64, 0),
        _ => (0, 0),
    }
}

/// `0x20` for each byte of a word that is a letter.
const fn letters(word: u64) -> u64 {
    let (mut bytes, mut idx) = (word.to_le_bytes(), 0);
    while idx < bytes.len() {
        bytes[idx] = if bytes[idx].is_ascii_alphabetic() { 0x20 } else { 0 };
        idx += 1;
    }
    u64::from_le_bytes(bytes)
}

/// Any odd number of many bits: the product's upper bits depend on all bytes.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
const fn slot_of(first: u64, last: u64) -> usize {
    // Letters without case; what else falls together is told apart by `Name::is`.
    let word = (first | LOWER) ^ (last | LOWER).rotate_left(21);
    (word.wrapping_mul(SPREAD) >> (u64::BITS - SLOTS.ilog2())) as usize
}

/// A set of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameSet(u64);

impl NameSet {
    pub const EMPTY: NameSet = NameSet(0);

    pub const fn of(names: &[Name]) -> NameSet {
        let (mut set, mut idx) = (NameSet(0), 0);
        while idx < names.len() {
            set = set.with(names[idx]);
            idx += 1;
        }
        set
    }

    #[inline]
    pub const fn with(self, name: Name) -> NameSet {
        NameSet(self.0 | 1 << name as u8)
    }

    #[inline]
    pub const fn without(self, name: Name) -> NameSet {
        NameSet(self.0 & !(1 << name as u8))
    }

    #[inline]
    pub const fn has(self, name: Name) -> bool {
        self.0 >> name as u8 & 1 != 0
    }

    /// What is in either.
    #[inline]
    pub const fn or(self, other: NameSet) -> NameSet {
        NameSet(self.0 | other.0)
    }

    /// What is in both.
    #[inline]
    pub const fn and(self, other: NameSet) -> NameSet {
        NameSet(self.0 & other.0)
    }

    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a field is asked for by: a name we know, or the bytes of any.
pub trait AsName: Copy {
    fn name(self) -> Name;
    fn bytes(&self) -> &[u8];
}

impl AsName for Name {
    #[inline]
    fn name(self) -> Name {
        self
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.text().as_bytes()
    }
}

impl AsName for &str {
    #[inline]
    fn name(self) -> Name {
        Name::of(self.as_bytes())
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsName for &[u8] {
    #[inline]
    fn name(self) -> Name {
        Name::of(self)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> AsName for &[u8; N] {
    #[inline]
    fn name(self) -> Name {
        Name::of(self)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_in_any_case() {
        for &(name, text) in KNOWN {
            assert_eq!((name.text(), Name::of(text.as_bytes())), (text, name));
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::of(text.to_ascii_lowercase().as_bytes()), name);
        }
    }

    #[test]
    fn every_byte_counts() {
        for &(_, text) in KNOWN {
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut other = text.as_bytes().to_vec();
                    other[at] = byte;
                    let meant = KNOWN.iter().find(|it| it.1.as_bytes().eq_ignore_ascii_case(&other));
                    assert_eq!(Name::of(&other), meant.map_or(Name::Other, |it| it.0));
                }
            }
            assert_eq!(Name::of(&text.as_bytes()[1..]), Name::Other);
            assert_eq!(Name::of(format!("{text}\0").as_bytes()), Name::Other);
            assert_eq!(Name::of(format!("{text}x").as_bytes()), Name::Other);
        }
        assert_eq!(Name::of(b""), Name::Other);
    }

    #[test]
    fn few_names_share_a_slot() {
        let moved = KNOWN.iter().filter(|(name, text)| {
            let (first, last) = ends(text.as_bytes());
            TABLE[slot_of(first, last)] != *name
        });
        assert!(moved.count() <= KNOWN.len() / 6);
    }

    #[test]
    fn sets_have_what_was_put_in() {
        let set = NameSet::of(&[Name::Host, Name::XRealIp]).with(Name::Other);
        assert!(set.has(Name::Host) && set.has(Name::XRealIp) && set.has(Name::Other) && !set.has(Name::Te));
        assert_eq!(
            set.without(Name::Host).and(NameSet::of(&[Name::Host, Name::XRealIp])),
            NameSet::of(&[Name::XRealIp])
        );
        assert!(NameSet::EMPTY.is_empty() && !NameSet::EMPTY.or(set).is_empty());
    }
}
