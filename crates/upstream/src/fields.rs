//! Which fields of a peer's answer go on to the client, and what the others ask of us.

use foregate_wire::{FieldSpan, Span};

/// Names of fields that are not passed on, without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// A bit for each length that a hidden name has (longer ones share the last bit).
    lengths: u64,
    names: Box<[Box<[u8]>]>,
}

impl Hidden {
    /// What is hidden by default and what `hide` names, less what `pass` names.
    pub fn new<'a>(default: &'a [&'a str], hide: &'a [String], pass: &[String]) -> Self {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        for name in default.iter().copied().chain(hide.iter().map(String::as_str)) {
            let lower: Box<[u8]> = name.to_ascii_lowercase().into_bytes().into();
            if !names.contains(&lower) && !pass.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                names.push(lower);
            }
        }
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name.len()));
        Self { lengths, names: names.into() }
    }

    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && self.names.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// Fields that shall not act on us (`proxy_ignore_headers`), as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored(pub u16);

impl Ignored {
    pub const REDIRECT: Self = Self(1);
    pub const EXPIRES_ACCEL: Self = Self(2);
    pub const LIMIT_RATE: Self = Self(4);
    pub const BUFFERING: Self = Self(8);
    pub const CHARSET: Self = Self(16);
    pub const EXPIRES: Self = Self(32);
    pub const CACHE_CONTROL: Self = Self(64);
    pub const SET_COOKIE: Self = Self(128);
    pub const VARY: Self = Self(256);

    /// Words of the directive.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("X-Accel-Redirect", Self::REDIRECT),
        ("X-Accel-Expires", Self::EXPIRES_ACCEL),
        ("X-Accel-Limit-Rate", Self::LIMIT_RATE),
        ("X-Accel-Buffering", Self::BUFFERING),
        ("X-Accel-Charset", Self::CHARSET),
        ("Expires", Self::EXPIRES),
        ("Cache-Control", Self::CACHE_CONTROL),
        ("Set-Cookie", Self::SET_COOKIE),
        ("Vary", Self::VARY),
    ];

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What stands in an answer besides what is passed on.
#[derive(Debug, Default)]
pub(crate) struct Sifted {
    pub(crate) redirect: Option<Span>,
    pub(crate) limit_rate: Option<u64>,
    pub(crate) buffering: Option<bool>,
    pub(crate) charset: Option<Span>,
    pub(crate) last_modified: Option<Span>,
    /// `Location`, `Refresh` or `Set-Cookie` is among the fields that are passed on.
    pub(crate) may_be_rewritten: bool,
    /// Fields that stood there twice; only the first of each counts.
    pub(crate) repeated: Vec<(FieldSpan, FieldSpan)>,
}

/// How a response's fields are sifted.
pub(crate) struct Sieve<'a> {
    pub(crate) hidden: &'a Hidden,
    pub(crate) ignored: Ignored,
    pub(crate) force_ranges: bool,
    /// The client speaks HTTP/2 or later, where nothing is upgraded.
    pub(crate) no_upgrade: bool,
}

/// What a name means to us. Names up to `AccelCharset` may stand only once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Date,
    Server,
    Status,
    Etag,
    ContentType,
    Expires,
    LastModified,
    Location,
    Refresh,
    AccelExpires,
    AccelRedirect,
    AccelLimitRate,
    AccelCharset,
    AccelBuffering,
    SetCookie,
    AcceptRanges,
    Upgrade,
    /// Of this hop only.
    Hop,
    Plain,
}

impl Sieve<'_> {
    /// Leaves in `fields` what goes on to the client.
    pub(crate) fn sift(&self, bytes: &[u8], fields: &mut Vec<FieldSpan>) -> Sifted {
        let mut sifted = Sifted::default();
        let mut seen = 0_u32;
        let mut first: [Option<FieldSpan>; Kind::AccelBuffering as usize] = Default::default();
        fields.retain(|field| {
            let name = field.name.of(bytes);
            let kind = kind(name);
            if kind == Kind::Plain {
                return !self.hidden.has(name);
            }
            if (kind as usize) < first.len() {
                if seen >> kind as u32 & 1 == 1 {
                    sifted.repeated.extend(first[kind as usize].map(|it| (*field, it)));
                    return false;
                }
                seen |= 1 << kind as u32;
                first[kind as usize] = Some(*field);
            }
            self.note(kind, bytes, field, &mut sifted);
            self.passes(kind) && !self.hidden.has(name)
        });
        let rewritable = [Kind::Location, Kind::Refresh].iter().any(|it| seen >> *it as u32 & 1 == 1);
        sifted.may_be_rewritten |= rewritable;
        sifted
    }

    fn passes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Hop => false,
            Kind::Upgrade => !self.no_upgrade,
            Kind::AcceptRanges => !self.force_ranges,
            _ => true,
        }
    }

    fn note(&self, kind: Kind, bytes: &[u8], field: &FieldSpan, sifted: &mut Sifted) {
        let value = field.value.of(bytes);
        match kind {
            Kind::AccelRedirect if !self.ignored.has(Ignored::REDIRECT) && !value.is_empty() => {
                sifted.redirect = Some(field.value);
            }
            Kind::AccelLimitRate if !self.ignored.has(Ignored::LIMIT_RATE) => {
                sifted.limit_rate = number(value);
            }
            Kind::AccelCharset if !self.ignored.has(Ignored::CHARSET) => sifted.charset = Some(field.value),
            Kind::AccelBuffering if !self.ignored.has(Ignored::BUFFERING) => {
                if value.eq_ignore_ascii_case(b"no") {
                    sifted.buffering = Some(false);
                } else if value.eq_ignore_ascii_case(b"yes") {
                    sifted.buffering = Some(true);
                }
            }
            Kind::SetCookie => sifted.may_be_rewritten = true,
            Kind::LastModified => sifted.last_modified = Some(field.value),
            _ => (),
        }
    }
}

/// Whether a field of an answer with X-Accel-Redirect belongs into the answer of the place it leads to.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    const KEPT: [&[u8]; 6] = [
        b"content-type",
        b"set-cookie",
        b"content-disposition",
        b"cache-control",
        b"expires",
        b"accept-ranges",
    ];
    KEPT.iter().any(|it| name.eq_ignore_ascii_case(it))
}

fn number(value: &[u8]) -> Option<u64> {
    foregate_conf::value::number(std::str::from_utf8(value).ok()?)
}

fn kind(name: &[u8]) -> Kind {
    let Some(first) = name.first() else { return Kind::Plain };
    let (known, kind): (&[u8], Kind) = match (name.len(), first | 0x20) {
        (4, b'd') => (b"date", Kind::Date),
        (4, b'e') => (b"etag", Kind::Etag),
        (6, b's') if name.eq_ignore_ascii_case(b"status") => return Kind::Status,
        (6, b's') => (b"server", Kind::Server),
        (7, b'e') => (b"expires", Kind::Expires),
        (7, b'r') => (b"refresh", Kind::Refresh),
        (7, b'u') => (b"upgrade", Kind::Upgrade),
        (8, b'l') => (b"location", Kind::Location),
        (10, b'c') => (b"connection", Kind::Hop),
        (10, b'k') => (b"keep-alive", Kind::Hop),
        (10, b's') => (b"set-cookie", Kind::SetCookie),
        (12, b'c') => (b"content-type", Kind::ContentType),
        (13, b'a') => (b"accept-ranges", Kind::AcceptRanges),
        (13, b'l') => (b"last-modified", Kind::LastModified),
        (14, b'c') => (b"content-length", Kind::Hop),
        (15, b'x') if name.eq_ignore_ascii_case(b"x-accel-charset") => return Kind::AccelCharset,
        (15, b'x') => (b"x-accel-expires", Kind::AccelExpires),
        (16, b'x') => (b"x-accel-redirect", Kind::AccelRedirect),
        (17, b'x') => (b"x-accel-buffering", Kind::AccelBuffering),
        (17, b't') => (b"transfer-encoding", Kind::Hop),
        (18, b'x') => (b"x-accel-limit-rate", Kind::AccelLimitRate),
        _ => return Kind::Plain,
    };
    if name.eq_ignore_ascii_case(known) { kind } else { Kind::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_wire::h1::{ResponseHead, ResponseRules, parse_response};

    fn sift(fields: &str, hidden: &Hidden, force_ranges: bool) -> (String, Sifted) {
        let bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields.replace('\n', "\r\n")).into_bytes();
        let mut head = ResponseHead::new();
        parse_response(&bytes, &ResponseRules::default(), &mut head).expect("because it is a response");
        let sieve = Sieve { hidden, ignored: Ignored::default(), force_ranges, no_upgrade: true };
        let sifted = sieve.sift(&bytes, &mut head.fields);
        let names = head.fields.iter().map(|it| String::from_utf8_lossy(it.name.of(&bytes)).into_owned());
        (names.collect::<Vec<_>>().join(" "), sifted)
    }

    #[test]
    fn fields_of_the_hop_and_hidden_ones_stay_behind() {
        let hidden = Hidden::new(&["Date", "Server"], &["X-Powered-By".into()], &["server".into()]);
        let all = "Date: d\nServer: s\nConnection: close\nX-POWERED-BY: p\nA: 1\nUpgrade: h2c\nAccept-Ranges: bytes\n";
        assert_eq!(sift(all, &hidden, false).0, "Server A Accept-Ranges");
        assert_eq!(sift(all, &hidden, true).0, "Server A");
    }

    #[test]
    fn the_first_of_two_counts() {
        let (names, sifted) =
            sift("ETag: a\nSet-Cookie: x\netag: b\nSet-Cookie: y\n", &Hidden::default(), false);
        assert_eq!(names, "ETag Set-Cookie Set-Cookie");
        assert_eq!((sifted.repeated.len(), sifted.may_be_rewritten), (1, true));
    }

    #[test]
    fn an_upstream_may_steer_us() {
        let fields = "X-Accel-Buffering: No\nX-Accel-Limit-Rate: 100\nX-Accel-Redirect: /x\n";
        let sifted = sift(fields, &Hidden::default(), false).1;
        assert_eq!((sifted.buffering, sifted.limit_rate), (Some(false), Some(100)));
        assert!(sifted.redirect.is_some() && sifted.charset.is_none());
    }
}
