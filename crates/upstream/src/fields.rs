//! Which fields of a peer's answer go on to the client, and what the others ask of us.

use foregate_core::{CharsetOverride, Exchange};
use foregate_wire::h1::ResponseHead;
use foregate_wire::{FieldSpan, Name, NameSet, Span};

/// Names of fields that are not passed on, without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    known: NameSet,
    /// Those that are not `known`, in lower case, and a bit for each of their lengths (long ones share the last).
    others: Box<[Box<[u8]>]>,
    lengths: u64,
}

impl Hidden {
    /// What is hidden by default and what `hide` names, less what `pass` names.
    pub fn new<'a>(default: &'a [&'a str], hide: &'a [String], pass: &[String]) -> Self {
        let mut known = NameSet::EMPTY;
        let mut others: Vec<Box<[u8]>> = Vec::new();
        let names = default.iter().copied().chain(hide.iter().map(String::as_str));
        for name in names.filter(|name| !pass.iter().any(|it| it.eq_ignore_ascii_case(name))) {
            let lower: Box<[u8]> = name.to_ascii_lowercase().into_bytes().into();
            match Name::of(&lower) {
                Name::Other if others.contains(&lower) => (),
                Name::Other => others.push(lower),
                name => known = known.with(name),
            }
        }
        let lengths = others.iter().fold(0, |bits, name| bits | length_bit(name.len()));
        Self { known, others: others.into(), lengths }
    }

    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        match Name::of(name) {
            Name::Other => self.has_other(name),
            known => self.known.has(known),
        }
    }

    /// The hidden names that have a number.
    #[inline]
    pub fn known(&self) -> NameSet {
        self.known
    }

    /// Whether a name that has no number is hidden.
    #[inline]
    pub fn has_other(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && self.others.iter().any(|it| it.eq_ignore_ascii_case(name))
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

impl Sifted {
    /// What the answer asks of the exchange.
    pub(crate) fn apply(&self, bytes: &[u8], ex: &mut Exchange) {
        if let Some(rate) = self.limit_rate {
            ex.limit_rate = Some(rate);
        }
        if let Some(charset) = self.charset {
            ex.notes.put(CharsetOverride(charset.of(bytes).to_vec()));
        }
    }
}

/// How a response's fields are sifted.
pub(crate) struct Sieve<'a> {
    pub(crate) hidden: &'a Hidden,
    pub(crate) ignored: Ignored,
    /// Whether ranges are allowed is ours to say.
    pub(crate) drops_ranges: bool,
    /// The client speaks HTTP/2 or later, where nothing is upgraded.
    pub(crate) no_upgrade: bool,
}

/// Names of which only the first field counts.
const ONCE: NameSet = NameSet::of(&[
    Name::Date,
    Name::Server,
    Name::Status,
    Name::ETag,
    Name::ContentType,
    Name::Expires,
    Name::LastModified,
    Name::Location,
    Name::Refresh,
    Name::XAccelExpires,
    Name::XAccelRedirect,
    Name::XAccelLimitRate,
    Name::XAccelCharset,
]);

/// Names of fields by which an upstream steers us.
const STEERING: NameSet =
    NameSet::of(&[Name::XAccelRedirect, Name::XAccelLimitRate, Name::XAccelCharset, Name::XAccelBuffering]);

/// Names of fields that are about this hop only.
const HOP: NameSet =
    NameSet::of(&[Name::Connection, Name::KeepAlive, Name::ContentLength, Name::TransferEncoding]);

/// Names of fields that have places in them, which the configuration may rewrite.
const REWRITABLE: NameSet = NameSet::of(&[Name::Location, Name::Refresh, Name::SetCookie]);

impl Sieve<'_> {
    /// Leaves in the head's fields what goes on to the client.
    pub(crate) fn sift(&self, bytes: &[u8], head: &mut ResponseHead) -> Sifted {
        let mut sifted = Sifted {
            last_modified: head.find(Name::LastModified).map(|it| it.value),
            may_be_rewritten: !head.names.and(REWRITABLE).is_empty(),
            ..Sifted::default()
        };
        if !head.repeated.and(ONCE).is_empty() {
            sifted.repeated = remove_repeated(&mut head.fields);
        }
        if !head.names.and(STEERING).is_empty() {
            head.fields.iter().for_each(|field| self.note(bytes, field, &mut sifted));
        }
        let behind = self.left_behind();
        head.fields.retain(|field| match field.known {
            Name::Other => !self.hidden.has_other(field.name.of(bytes)),
            known => !behind.has(known),
        });
        sifted
    }

    fn left_behind(&self) -> NameSet {
        let mut names = self.hidden.known().or(HOP);
        if self.no_upgrade {
            names = names.with(Name::Upgrade);
        }
        if self.drops_ranges {
            names = names.with(Name::AcceptRanges);
        }
        names
    }

    fn note(&self, bytes: &[u8], field: &FieldSpan, sifted: &mut Sifted) {
        let value = field.value.of(bytes);
        match field.known {
            Name::XAccelRedirect if !self.ignored.has(Ignored::REDIRECT) && !value.is_empty() => {
                sifted.redirect = Some(field.value);
            }
            Name::XAccelLimitRate if !self.ignored.has(Ignored::LIMIT_RATE) => {
                sifted.limit_rate = number(value);
            }
            Name::XAccelCharset if !self.ignored.has(Ignored::CHARSET) => sifted.charset = Some(field.value),
            Name::XAccelBuffering if !self.ignored.has(Ignored::BUFFERING) => {
                if value.eq_ignore_ascii_case(b"no") {
                    sifted.buffering = Some(false);
                } else if value.eq_ignore_ascii_case(b"yes") {
                    sifted.buffering = Some(true);
                }
            }
            _ => (),
        }
    }
}

/// Takes out what comes again of `ONCE`; each with the first of its name.
#[cold]
fn remove_repeated(fields: &mut Vec<FieldSpan>) -> Vec<(FieldSpan, FieldSpan)> {
    let (mut firsts, mut repeated) = (Vec::<FieldSpan>::new(), Vec::new());
    fields.retain(|field| {
        if !ONCE.has(field.known) {
            return true;
        }
        let Some(first) = firsts.iter().find(|it| it.known == field.known) else {
            firsts.push(*field);
            return true;
        };
        repeated.push((*field, *first));
        false
    });
    repeated
}

/// Names of fields of an answer with X-Accel-Redirect that belong into the answer of the place it leads to.
pub(crate) const KEPT: NameSet = NameSet::of(&[
    Name::ContentType,
    Name::SetCookie,
    Name::ContentDisposition,
    Name::CacheControl,
    Name::Expires,
    Name::AcceptRanges,
]);

fn number(value: &[u8]) -> Option<u64> {
    foregate_conf::value::number(std::str::from_utf8(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_wire::h1::{ResponseRules, parse_response};

    fn sift(fields: &str, hidden: &Hidden, force_ranges: bool) -> (String, Sifted) {
        let bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n", fields.replace('\n', "\r\n")).into_bytes();
        let mut head = ResponseHead::new();
        parse_response(&bytes, &ResponseRules::default(), &mut head).expect("because it is a response");
        let sieve =
            Sieve { hidden, ignored: Ignored::default(), drops_ranges: force_ranges, no_upgrade: true };
        let sifted = sieve.sift(&bytes, &mut head);
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
