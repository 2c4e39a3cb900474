//! Query strings and random texts.

use aws_lc_rs::rand;
use foregate_jose::encode;

/// Appends a pair to a query string, what is not plain as `%XX`.
pub(super) fn push_pair(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() && !out.ends_with(['?', '&']) {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
    escape(value, out);
}

pub(super) fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => *out += &format!("%{byte:02X}"),
        }
    }
}

/// A URL with pairs behind it.
pub(super) fn with_pairs(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    pairs.iter().for_each(|(name, value)| push_pair(name, value, &mut query));
    if query.is_empty() {
        return url.to_owned();
    }
    let joint = match url.contains('?') {
        true if url.ends_with(['?', '&']) => "",
        true => "&",
        false => "?",
    };
    format!("{url}{joint}{query}")
}

/// The first value of a name in a query string.
pub(super) fn value(query: &[u8], name: &str) -> Option<String> {
    let pair = query.split(|b| *b == b'&').find_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    let mut out = Vec::with_capacity(pair.len());
    let mut at = 0;
    while at < pair.len() {
        match pair[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
                out.push((digit(at + 1)? << 4 | digit(at + 2)?) as u8);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// 256 bits that nobody can guess, as 43 letters.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) fn random() -> Result<String, String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "no random bytes are to be had".to_owned())?;
    Ok(encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_both_ways() {
        let url = with_pairs("https://a/x", &[("a", "b c&d=é"), ("e", "~")]);
        assert_eq!(url, "https://a/x?a=b%20c%26d%3D%C3%A9&e=~");
        assert_eq!(with_pairs("https://a/x?y=1", &[("a", "b")]), "https://a/x?y=1&a=b");
        let query = url.split_once('?').unwrap().1.as_bytes();
        assert_eq!(value(query, "a").as_deref(), Some("b c&d=é"));
        assert_eq!(value(b"ab=1&a=x+y", "a").as_deref(), Some("x y"));
        for query in ["", "b=1", "a=%", "a=%4", "a=%zz", "a=%+4", "a=%ff", "a"] {
            assert_eq!(value(query.as_bytes(), "a"), None, "{query}");
        }
    }
}
