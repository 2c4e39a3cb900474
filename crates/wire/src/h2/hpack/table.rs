//! The tables of HPACK: the static one, and one that grows and forgets with a connection (RFC 7541, section 2.3).

use std::collections::VecDeque;

use crate::name::Name;

/// Entries of the static table: dynamic ones are counted from behind it.
pub(super) const STATIC: usize = 61;
/// What each entry counts beside its bytes (section 4.1).
const ENTRY_BYTES: usize = 32;

/// What the characters of a field's name say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lower-case letters, digits, hyphens.
    Regular,
    /// Underscores too.
    Underscore,
    /// Other signs that may stand in a name.
    Irregular,
    /// Upper-case letters, blanks, colons, control characters, or nothing at all.
    Invalid,
    Pseudo(Pseudo),
}

/// A pseudo-header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    Unknown,
}

impl Shape {
    pub(super) fn of(name: &[u8]) -> Shape {
        let mut shape = match name {
            [] => return Shape::Invalid,
            [b':', ..] => return Shape::Pseudo(Pseudo::of(name)),
            _ => Shape::Regular,
        };
        for &byte in name {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
                b'_' if shape == Shape::Regular => shape = Shape::Underscore,
                b'_' => {}
                0..=b' ' | 0x7f | b':' | b'A'..=b'Z' => return Shape::Invalid,
                _ => shape = Shape::Irregular,
            }
        }
        shape
    }
}

impl Pseudo {
    fn of(name: &[u8]) -> Pseudo {
        match name {
            b":method" => Pseudo::Method,
            b":scheme" => Pseudo::Scheme,
            b":authority" => Pseudo::Authority,
            b":path" => Pseudo::Path,
            b":protocol" => Pseudo::Protocol,
            b":status" => Pseudo::Status,
            _ => Pseudo::Unknown,
        }
    }
}

/// What is known of a field once it has been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) known: Name,
    pub(super) shape: Shape,
    /// The value has no NUL and no line end.
    pub(super) is_clean: bool,
}

impl Facts {
    pub(super) fn of(name: &[u8], value: &[u8]) -> Facts {
        Facts { known: Name::of(name), shape: Shape::of(name), is_clean: Facts::is_clean(value) }
    }

    /// The same name with another value.
    pub(super) fn with(self, value: &[u8]) -> Facts {
        Facts { is_clean: Facts::is_clean(value), ..self }
    }

    fn is_clean(value: &[u8]) -> bool {
        memchr::memchr3(0, b'\r', b'\n', value).is_none()
    }
}

pub(super) struct StaticEntry {
    pub(super) name: &'static [u8],
    pub(super) value: &'static [u8],
    pub(super) facts: Facts,
}

macro_rules! static_table {
    ($($name:literal $value:literal $shape:ident $known:ident)+) => {
        /// Appendix A, from index 1 on.
        pub(super) static ENTRIES: [StaticEntry; STATIC] = [$(
            StaticEntry {
                name: $name,
                value: $value,
                facts: Facts { known: Name::$known, shape: static_table!(@ $shape), is_clean: true },
            },
        )+];
    };
    (@ Regular) => { Shape::Regular };
    (@ $pseudo:ident) => { Shape::Pseudo(Pseudo::$pseudo) };
}

static_table! {
    b":authority" b"" Authority Other
    b":method" b"GET" Method Other
    b":method" b"POST" Method Other
    b":path" b"/" Path Other
    b":path" b"/index.html" Path Other
    b":scheme" b"http" Scheme Other
    b":scheme" b"https" Scheme Other
    b":status" b"200" Status Other
    b":status" b"204" Status Other
    b":status" b"206" Status Other
    b":status" b"304" Status Other
    b":status" b"400" Status Other
    b":status" b"404" Status Other
    b":status" b"500" Status Other
    b"accept-charset" b"" Regular Other
    b"accept-encoding" b"gzip, deflate" Regular AcceptEncoding
    b"accept-language" b"" Regular AcceptLanguage
    b"accept-ranges" b"" Regular AcceptRanges
    b"accept" b"" Regular Accept
    b"access-control-allow-origin" b"" Regular Other
    b"age" b"" Regular Age
    b"allow" b"" Regular Other
    b"authorization" b"" Regular Authorization
    b"cache-control" b"" Regular CacheControl
    b"content-disposition" b"" Regular ContentDisposition
    b"content-encoding" b"" Regular ContentEncoding
    b"content-language" b"" Regular Other
    b"content-length" b"" Regular ContentLength
    b"content-location" b"" Regular Other
    b"content-range" b"" Regular ContentRange
    b"content-type" b"" Regular ContentType
    b"cookie" b"" Regular Cookie
    b"date" b"" Regular Date
    b"etag" b"" Regular ETag
    b"expect" b"" Regular Expect
    b"expires" b"" Regular Expires
    b"from" b"" Regular Other
    b"host" b"" Regular Host
    b"if-match" b"" Regular IfMatch
    b"if-modified-since" b"" Regular IfModifiedSince
    b"if-none-match" b"" Regular IfNoneMatch
    b"if-range" b"" Regular IfRange
    b"if-unmodified-since" b"" Regular IfUnmodifiedSince
    b"last-modified" b"" Regular LastModified
    b"link" b"" Regular Link
    b"location" b"" Regular Location
    b"max-forwards" b"" Regular Other
    b"proxy-authenticate" b"" Regular Other
    b"proxy-authorization" b"" Regular ProxyAuthorization
    b"range" b"" Regular Range
    b"referer" b"" Regular Referer
    b"refresh" b"" Regular Refresh
    b"retry-after" b"" Regular Other
    b"server" b"" Regular Server
    b"set-cookie" b"" Regular SetCookie
    b"strict-transport-security" b"" Regular Other
    b"transfer-encoding" b"" Regular TransferEncoding
    b"user-agent" b"" Regular UserAgent
    b"vary" b"" Regular Vary
    b"via" b"" Regular Via
    b"www-authenticate" b"" Regular WwwAuthenticate
}

/// The dynamic table: the newest entry is read as the first, the oldest forgotten first.
pub(super) struct Table {
    /// Names and values of the entries, oldest first, behind those of some that are gone.
    data: Vec<u8>,
    /// Bytes ever put in before the first of `data`.
    base: u64,
    entries: VecDeque<Entry>,
    /// As the RFC counts it.
    size: usize,
    size_max: usize,
    /// Entries ever put in.
    n_inserted: u64,
}

struct Entry {
    /// Bytes ever put in before its own.
    at: u64,
    name_len: u32,
    value_len: u32,
    facts: Facts,
}

/// One entry as it is read.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) facts: Facts,
}

impl Table {
    pub(super) fn new(size_max: usize) -> Table {
        Table { data: Vec::new(), base: 0, entries: VecDeque::new(), size: 0, size_max, n_inserted: 0 }
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    pub(super) fn n_inserted(&self) -> u64 {
        self.n_inserted
    }

    /// The entry that was put in last but `back`.
    #[inline]
    pub(super) fn row(&self, back: usize) -> Option<Row<'_>> {
        let entry = self.entries.get(self.entries.len().checked_sub(back + 1)?)?;
        let start = (entry.at - self.base) as usize;
        let middle = start + entry.name_len as usize;
        let (name, value) =
            (&self.data[start..middle], &self.data[middle..middle + entry.value_len as usize]);
        Some(Row { name, value, facts: entry.facts })
    }

    /// Puts an entry in; one that is larger than the table empties it.
    pub(super) fn insert(&mut self, facts: Facts, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_BYTES;
        self.n_inserted += 1;
        if size > self.size_max {
            return self.shrink_to(0);
        }
        self.shrink_to(self.size_max - size);
        let at = self.base + self.data.len() as u64;
        self.data.extend_from_slice(name);
        self.data.extend_from_slice(value);
        let (name_len, value_len) = (name.len() as u32, value.len() as u32);
        self.entries.push_back(Entry { at, name_len, value_len, facts });
        self.size += size;
    }

    /// Changes how much it may hold.
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.shrink_to(size_max);
    }

    /// Forgets old entries. Their bytes stay until they are as many as the table may hold.
    fn shrink_to(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= (entry.name_len + entry.value_len) as usize + ENTRY_BYTES;
        }
        let gone = match self.entries.front() {
            Some(first) => (first.at - self.base) as usize,
            None => self.data.len(),
        };
        if gone > self.size_max || gone == self.data.len() {
            self.data.drain(..gone);
            self.base += gone as u64;
        }
    }
}
