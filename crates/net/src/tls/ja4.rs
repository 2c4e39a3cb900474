//! JA4: what tells one TLS client library from another, whatever order it says things in (FoxIO's specification).

use std::fmt;

use aws_lc_rs::digest;

use super::ClientHello;

/// Hexadecimal digits of a hash that are shown.
const HASH_DIGITS: usize = 12;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// A client's fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`. Empty where there was no hello.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ja4([u8; 36]);

impl Default for Ja4 {
    fn default() -> Ja4 {
        Ja4([0; 36])
    }
}

impl Ja4 {
    /// The fingerprint of who said this over TCP.
    pub fn of(hello: &ClientHello) -> Ja4 {
        let ciphers: Vec<u16> = honest(&hello.ciphers);
        let extensions: Vec<u16> = honest(&hello.extensions);
        let version = match honest(&hello.versions).into_iter().max() {
            Some(0x0304) => "13",
            Some(0x0303) => "12",
            Some(0x0302) => "11",
            Some(0x0301) => "10",
            Some(0x0300) => "s3",
            _ => "00",
        };
        let to_name = if hello.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let (n_ciphers, n_extensions) = (ciphers.len().min(99), extensions.len().min(99));
        let [first, last] = ends(hello.alpn.first().map_or(&[], |it| &**it));
        let mut sorted = ciphers;
        sorted.sort_unstable();
        let mut others: Vec<u16> =
            extensions.into_iter().filter(|it| !matches!(*it, SERVER_NAME | ALPN)).collect();
        others.sort_unstable();
        let mut said = list(&others);
        if !hello.signature_schemes.is_empty() {
            said += &format!("_{}", list(&honest(&hello.signature_schemes)));
        }
        let text = format!(
            "t{version}{to_name}{n_ciphers:02}{n_extensions:02}{first}{last}_{}_{}",
            hash(&list(&sorted)),
            hash(&said),
        );
        text.as_bytes().try_into().map_or_else(|_| Ja4::default(), Ja4)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).map_or("", |it| it.trim_end_matches('\0'))
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Without the values that mean nothing (GREASE, RFC 8701).
fn honest(numbers: &[u16]) -> Vec<u16> {
    let is_grease = |it: u16| it & 0x0f0f == 0x0a0a && it >> 8 == it & 0xff;
    numbers.iter().copied().filter(|it| !is_grease(*it)).collect()
}

/// The first and the last sign of a protocol's name; digits of its bytes where these are no letters or digits.
fn ends(name: &[u8]) -> [char; 2] {
    let ([first, ..], [.., last]) = (name, name) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |it: u8| char::from_digit(u32::from(it & 15), 16).unwrap_or('0');
    [digit(first >> 4), digit(*last)]
}

fn list(numbers: &[u16]) -> String {
    let one = |it: &u16| format!("{it:04x}");
    numbers.iter().map(one).collect::<Vec<_>>().join(",")
}

/// The beginning of the SHA-256 sum; zeros for nothing.
fn hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(HASH_DIGITS);
    }
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    sum.as_ref()[..HASH_DIGITS / 2].iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification: a browser that greases.
    #[test]
    fn the_example_of_the_specification() {
        let hello = ClientHello {
            server_name: Some("example.org".into()),
            alpn: vec![b"h2".as_slice().into(), b"http/1.1".as_slice().into()],
            versions: vec![0x0a0a, 0x0304, 0x0303],
            ciphers: vec![
                0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            curves: Vec::new(),
            signature_schemes: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            extensions: vec![
                0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
        };
        assert_eq!(Ja4::of(&hello).as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let other_order =
            ClientHello { extensions: hello.extensions.iter().rev().copied().collect(), ..hello };
        assert_eq!(Ja4::of(&other_order).as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(Ja4::of(&ClientHello::default()).as_str(), "t00i000000_000000000000_000000000000");
        assert_eq!(ends(b"\xab\xcd"), ['a', 'd']);
        assert_eq!(Ja4::default().as_str(), "");
    }
}
