//! What a visitor keeps for us: sealed (AES-256-GCM), in as many cookies as it takes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use foregate_core::Exchange;
use foregate_jose::{decode, encode};

/// Browsers keep cookies of 4096 bytes with their name and attributes.
const CHUNK_BYTES_MAX: usize = 3800;
/// Cookies of one session. What is more fits into no request's head.
const CHUNKS_MAX: usize = 5;

/// A note on an exchange: cookies that its answer is to set.
pub(super) struct Fresh(pub(super) Vec<String>);

/// Seals and opens.
pub(super) struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// With a key of 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Sealer> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(Sealer)
    }

    /// `what` tells apart what must not stand in for each other.
    pub(super) fn seal(&self, what: &str, text: &str) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(what.as_bytes()), &mut bytes).ok()?;
        Some(encode(&[&nonce.as_ref()[..], &bytes].concat()))
    }

    pub(super) fn open(&self, what: &str, sealed: &[u8]) -> Option<String> {
        let bytes = decode(sealed)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(what.as_bytes()), &mut rest).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// The first cookie of exactly this name.
pub(super) fn get<'a>(ex: &'a Exchange, name: &str) -> Option<&'a [u8]> {
    all(ex).find(|(it, _)| *it == name.as_bytes()).map(|(_, value)| value)
}

/// All cookies of the request.
pub(super) fn all(ex: &Exchange) -> impl Iterator<Item = (&[u8], &[u8])> {
    ex.fields.get_all(b"cookie").flat_map(|line| line.split(|b| *b == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|b| *b == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

/// A value that may lie in several cookies: `2.` and the beginning in the first, the rest in `NAME_1`.
pub(super) fn get_long(ex: &Exchange, name: &str) -> Option<Vec<u8>> {
    let first = get(ex, name)?;
    let [count @ b'1'..=b'9', b'.', begin @ ..] = first else { return None };
    let mut value = begin.to_vec();
    for n in 1..usize::from(count - b'0').min(CHUNKS_MAX) {
        value.extend_from_slice(get(ex, &format!("{name}_{n}"))?);
    }
    Some(value)
}

/// The lines that set a value, and those that take away what is left of a longer one. `None`: it is too long.
pub(super) fn set_long(ex: &Exchange, name: &str, value: &str, attributes: &str) -> Option<Vec<String>> {
    let chunks: Vec<&str> = (0..value.len())
        .step_by(CHUNK_BYTES_MAX)
        .map(|at| &value[at..value.len().min(at + CHUNK_BYTES_MAX)])
        .collect();
    if chunks.len() > CHUNKS_MAX {
        return None;
    }
    let mut lines = Vec::new();
    for (n, chunk) in chunks.iter().enumerate() {
        lines.push(match n {
            0 => format!("{name}={}.{chunk}{attributes}", chunks.len()),
            n => format!("{name}_{n}={chunk}{attributes}"),
        });
    }
    for n in chunks.len()..CHUNKS_MAX {
        let name = format!("{name}_{n}");
        if get(ex, &name).is_some() {
            lines.push(remove(&name, attributes));
        }
    }
    Some(lines)
}

/// The lines that take away a value and all its parts.
pub(super) fn remove_long(ex: &Exchange, name: &str, attributes: &str) -> Vec<String> {
    let parts = (1..CHUNKS_MAX).map(|n| format!("{name}_{n}")).filter(|it| get(ex, it).is_some());
    [name.to_owned()].into_iter().chain(parts).map(|it| remove(&it, attributes)).collect()
}

pub(super) fn remove(name: &str, attributes: &str) -> String {
    format!("{name}={attributes}; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_core::testing::exchange;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_purpose_alone() {
        let (one, two) = (Sealer::new(&[1; 32]).unwrap(), Sealer::new(&[2; 32]).unwrap());
        let sealed = one.seal("a", "text").unwrap();
        assert_ne!(one.seal("a", "text").unwrap(), sealed);
        assert_eq!(one.open("a", sealed.as_bytes()).as_deref(), Some("text"));
        assert_eq!(one.open("b", sealed.as_bytes()), None);
        assert_eq!(two.open("a", sealed.as_bytes()), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(one.open("a", &forged), None, "{at}");
            assert_eq!(one.open("a", &sealed.as_bytes()[..at]), None, "{at}");
        }
    }

    #[test]
    fn long_values_lie_in_several_cookies() {
        let empty = exchange("GET / HTTP/1.1");
        for (length, count) in [(10, 1), (3800, 1), (3801, 2), (19_000, 5)] {
            let value = "x".repeat(length);
            let lines = set_long(&empty, "s", &value, "; Path=/").unwrap();
            assert_eq!(lines.len(), count, "{length}");
            let pairs: Vec<_> = lines.iter().map(|it| it.split_once(';').unwrap().0).collect();
            let ex = exchange(&format!("GET / HTTP/1.1\nCookie: other=1; {}", pairs.join("; ")));
            assert_eq!(get_long(&ex, "s"), Some(value.into_bytes()));
            assert_eq!(set_long(&ex, "s", "y", "").unwrap().len(), count, "the rest is taken away");
            assert_eq!(remove_long(&ex, "s", "").len(), count);
        }
        assert!(set_long(&empty, "s", &"x".repeat(19_001), "").is_none());
        for cookie in ["s=", "s=x", "s=2.a", "s=0.a", "S=1.a", "ss=1.a"] {
            assert_eq!(get_long(&exchange(&format!("GET / HTTP/1.1\nCookie: {cookie}")), "s"), None, "{cookie}");
        }
    }
}
