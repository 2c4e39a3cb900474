//! Which requests are alike for `Vary` (RFC 9111, section 4.1): fields are compared after what says nothing is gone.

use foregate_wire::{Fields, Name};
use md5::{Digest, Md5};

use crate::key::Key;

/// Codings, languages and types looked at in one field; the rest is as it stands.
const MEMBERS_MAX: usize = 64;

/// As [`Key::variant`], but for fields that mean the same.
pub(crate) fn variant(main: Key, vary: &[u8], fields: &Fields) -> Key {
    let mut hash = Md5::new();
    hash.update(main.0);
    hash.update(b"rfc");
    for name in vary.split(|b| matches!(b, b' ' | b'\t' | b',')).filter(|name| !name.is_empty()) {
        let name = name.to_ascii_lowercase();
        hash.update(&name);
        hash.update(b":");
        if fields.contains(&*name) {
            // What is not there differs from what is empty.
            hash.update(b"+");
            hash.update(normal(Name::of(&name), fields.get_all(&*name)));
        }
        hash.update(b"\r\n");
    }
    Key(hash.finalize().into())
}

/// All lines of a field together. Of lists whose words have no case it is taken away, and blanks with it; codings, of
/// which the order says nothing, are sorted by their weight.
fn normal<'a>(name: Name, lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let is_list = matches!(name, Name::Accept | Name::AcceptEncoding | Name::AcceptLanguage);
    let mut members: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        match is_list {
            false => members.push(line.trim_ascii().to_vec()),
            true => members.extend(line.split(|b| *b == b',').map(tidy).filter(|it| !it.is_empty())),
        }
    }
    if name == Name::AcceptEncoding && members.len() <= MEMBERS_MAX {
        members = codings(&members);
    }
    members.join(&b","[..])
}

/// Lower case, without blanks.
fn tidy(member: &[u8]) -> Vec<u8> {
    member.iter().filter(|b| !matches!(b, b' ' | b'\t')).map(u8::to_ascii_lowercase).collect()
}

/// Each coding once, by weight and name: `gzip;q=1.0, br` is `br,gzip`.
fn codings(members: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all: Vec<(u32, Vec<u8>)> = Vec::new();
    for member in members {
        let mut parts = member.split(|b| *b == b';');
        let name = match parts.next().unwrap_or_default() {
            b"x-gzip" => b"gzip".to_vec(),
            name => name.to_vec(),
        };
        let Some(weight) = weight(parts.next()) else { return members.to_vec() };
        if !all.iter().any(|it| it.1 == name) {
            all.push((weight, name));
        }
    }
    all.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let weighed = |(weight, name): (u32, Vec<u8>)| match weight {
        WEIGHT_MAX => name,
        _ => [&name[..], format!(";q={weight}").as_bytes()].concat(),
    };
    all.into_iter().map(weighed).collect()
}

/// Thousandths.
const WEIGHT_MAX: u32 = 1000;

/// `q=0.5`. `None`: it is none, and the field is better left as it is.
fn weight(parameter: Option<&[u8]>) -> Option<u32> {
    let Some(parameter) = parameter else { return Some(WEIGHT_MAX) };
    let value = parameter.strip_prefix(b"q=")?;
    let (whole, fraction) = match value.iter().position(|b| *b == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b""[..]),
    };
    if !matches!(whole, b"0" | b"1") || fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0, |n, at| n * 10 + fraction.get(at).map_or(0, |b| u32::from(b - b'0')));
    Some((u32::from(whole[0] - b'0') * WEIGHT_MAX + thousandths).min(WEIGHT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(vary: &str, lines: &[(&str, &str)]) -> Key {
        let mut fields = Fields::new();
        lines.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        variant(Key::of(b"k"), vary.as_bytes(), &fields)
    }

    #[test]
    fn fields_that_mean_the_same_are_the_same() {
        let of = |value: &str| key("accept-encoding", &[("Accept-Encoding", value)]);
        for same in ["br,gzip", "gzip , BR", "gzip;q=1.0, br", "br, gzip;q=1, gzip", "x-gzip,br"] {
            assert_eq!(of(same), of("gzip, br"), "{same}");
        }
        for other in ["gzip", "gzip, br;q=0.5", "gzip, br;q=0", "gzip, br, zstd", "gzip, br;z=1", ""] {
            assert_ne!(of(other), of("gzip, br"), "{other}");
        }
        let two = key("Accept-Encoding", &[("accept-encoding", "gzip"), ("Accept-Encoding", "br")]);
        assert_eq!(two, of("gzip, br"));
        let language = |value: &str| key("Accept-Language", &[("Accept-Language", value)]);
        assert_eq!(language("de-DE,  en;q=0.5"), language("de-de,en; q=0.5"));
        assert_ne!(language("de, en"), language("en, de"));
    }

    #[test]
    fn other_fields_are_compared_as_they_stand() {
        let of = |lines: &[(&str, &str)]| key("X-Kind", lines);
        assert_eq!(of(&[("x-kind", "a,b")]), of(&[("X-Kind", "a"), ("X-Kind", "b")]));
        assert_ne!(of(&[("X-Kind", "a")]), of(&[("X-Kind", "A")]));
        assert_ne!(of(&[("X-Kind", "")]), of(&[]));
        assert_eq!(key("X-Kind, Cookie", &[]), key("x-kind,cookie", &[]));
    }
}
