//! Distinguished names, printed as OpenSSL prints them and compared as it compares them.

use super::der::{self, OID, SEQUENCE, SET};

const UTF8_STRING: u8 = 12;
const NUMERIC_STRING: u8 = 18;
const PRINTABLE_STRING: u8 = 19;
const T61_STRING: u8 = 20;
const IA5_STRING: u8 = 22;
const VISIBLE_STRING: u8 = 26;
const UNIVERSAL_STRING: u8 = 28;
const BMP_STRING: u8 = 30;

/// OpenSSL's short names.
const ATTRIBUTES: [(&[u8], &str); 34] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 13], "description"),
    (&[0x55, 4, 15], "businessCategory"),
    (&[0x55, 4, 16], "postalAddress"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 18], "postOfficeBox"),
    (&[0x55, 4, 20], "telephoneNumber"),
    (&[0x55, 4, 41], "name"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 43], "initials"),
    (&[0x55, 4, 44], "generationQualifier"),
    (&[0x55, 4, 45], "x500UniqueIdentifier"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 51], "houseIdentifier"),
    (&[0x55, 4, 65], "pseudonym"),
    (&[0x55, 4, 72], "role"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2], "unstructuredName"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 8], "unstructuredAddress"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 1], "jurisdictionL"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 2], "jurisdictionST"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 3], "jurisdictionC"),
];

/// A Name (RFC 5280 section 4.1.2.4), without its outer head.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(pub(super) &'a [u8]);

/// One attribute; `joined` to the one before it with a plus.
struct Attribute<'a> {
    oid: &'a [u8],
    value: der::Element<'a>,
    joined: bool,
}

impl<'a> Name<'a> {
    /// The contents of the SEQUENCE that a name is.
    pub fn der(&self) -> &'a [u8] {
        self.0
    }

    fn attributes(&self) -> Vec<Attribute<'a>> {
        let mut all = Vec::new();
        let mut rest = self.0;
        while let Some(mut set) = der::take(&mut rest, SET) {
            let mut joined = false;
            while let Some(mut pair) = der::take(&mut set, SEQUENCE) {
                let (Some(oid), Some(value)) = (der::take(&mut pair, OID), der::element(&mut pair)) else {
                    break;
                };
                all.push(Attribute { oid, value, joined });
                joined = true;
            }
        }
        all
    }

    /// The values of CN, as UTF-8.
    pub fn common_names(&self) -> Vec<String> {
        let all = self.attributes().into_iter().filter(|it| it.oid == [0x55, 4, 3]);
        all.filter_map(|it| text(&it.value)).collect()
    }

    /// RFC 2253: the last attribute first, `CN=localhost,O=Example`.
    pub fn rfc2253(&self) -> String {
        let mut out = String::new();
        let all = self.attributes();
        for (at, attribute) in all.iter().enumerate().rev() {
            match short_name(attribute.oid) {
                Some(name) => out = out + name + "=",
                None => out = out + &dotted(attribute.oid) + "=",
            }
            match text(&attribute.value).filter(|_| short_name(attribute.oid).is_some()) {
                Some(text) => escape(&text, &mut out),
                None => {
                    out.push('#');
                    attribute.value.whole.iter().for_each(|byte| out += &format!("{byte:02X}"));
                }
            }
            if at > 0 {
                out.push(if attribute.joined { '+' } else { ',' });
            }
        }
        out
    }

    /// The form of old: `/O=Example/CN=localhost`.
    pub fn oneline(&self) -> String {
        let mut out = String::new();
        for attribute in self.attributes() {
            let name = short_name(attribute.oid).map_or_else(|| dotted(attribute.oid), str::to_string);
            out = out + "/" + &name + "=";
            for byte in attribute.value.body {
                match byte {
                    b' '..=b'~' => out.push(char::from(*byte)),
                    _ => out += &format!("\\x{byte:02X}"),
                }
            }
        }
        out
    }

    /// The same for names that differ in case, spaces and kind of string only.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for attribute in self.attributes() {
            out.extend_from_slice(&[attribute.joined as u8, attribute.oid.len() as u8]);
            out.extend_from_slice(attribute.oid);
            match text(&attribute.value) {
                Some(text) => {
                    let words: Vec<_> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
                    out.extend_from_slice(words.join(" ").as_bytes());
                }
                None => out.extend_from_slice(attribute.value.whole),
            }
            out.push(0);
        }
        out
    }
}

fn short_name(oid: &[u8]) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name)
}

/// `1.2.840.113549`.
fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    if let Some(first) = numbers.first().copied() {
        let root = (first / 40).min(2);
        numbers.splice(0..1, [root, first - root * 40]);
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// A string of any kind as UTF-8; `None` for what is no string.
fn text(value: &der::Element<'_>) -> Option<String> {
    let wide = |n: usize| {
        let whole = value.body.len().is_multiple_of(n);
        let code = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        whole.then(|| value.body.chunks(n).map(|it| char::from_u32(code(it)).unwrap_or('\u{fffd}')).collect())
    };
    match value.tag {
        UTF8_STRING => String::from_utf8(value.body.to_vec()).ok(),
        NUMERIC_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING | VISIBLE_STRING => wide(1),
        BMP_STRING => wide(2),
        UNIVERSAL_STRING => wide(4),
        _ => None,
    }
}

/// RFC 2253 section 2.4, and as OpenSSL does it: control characters and all beyond ASCII as `\C3\A9`.
fn escape(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let special = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => true,
            b'#' => at == 0,
            b' ' => at == 0 || at == last,
            _ => false,
        };
        match byte {
            _ if special => *out = std::mem::take(out) + "\\" + &text[at..=at],
            b' '..=b'~' => out.push(char::from(byte)),
            _ => *out += &format!("\\{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let inner = [&[OID, oid.len() as u8], oid, &[tag, value.len() as u8], value].concat();
        [&[SEQUENCE, inner.len() as u8], &inner[..]].concat()
    }

    fn name(sets: &[Vec<u8>]) -> Vec<u8> {
        sets.iter().flat_map(|it| [&[SET, it.len() as u8], &it[..]].concat()).collect()
    }

    #[test]
    fn names_are_printed_as_openssl_prints_them() {
        let (cn, o) = (&[0x55, 4, 3], &[0x55, 4, 10]);
        let der = name(&[
            attribute(o, PRINTABLE_STRING, b"A, B"),
            [attribute(cn, UTF8_STRING, "#Jos\u{e9} ".as_bytes()), attribute(&[0x2a, 3], 12, b"x")].concat(),
        ]);
        assert_eq!(Name(&der).rfc2253(), "1.2.3=#0C0178+CN=\\#Jos\\C3\\A9\\ ,O=A\\, B");
        assert_eq!(Name(&der).oneline(), "/O=A, B/CN=#Jos\\xC3\\xA9 /1.2.3=x");
        assert_eq!(Name(&der).common_names(), ["#Jos\u{e9} "]);
        assert_eq!(Name(&[]).rfc2253(), "");
    }

    #[test]
    fn names_are_compared_without_case_and_kind() {
        let cn = &[0x55, 4, 3];
        let canonical = |tag, text: &[u8]| Name(&name(&[attribute(cn, tag, text)])).canonical();
        assert_eq!(canonical(PRINTABLE_STRING, b"Root  CA"), canonical(UTF8_STRING, b" root ca"));
        assert_ne!(canonical(UTF8_STRING, b"root ca"), canonical(UTF8_STRING, b"rootca"));
    }
}
