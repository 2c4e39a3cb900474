//! What a client's `Accept-Encoding` says of a coding, and its `User-Agent` of gzip.

/// The weight that the client gives a coding, in thousandths; zero: it does not take it (RFC 9110, 12.5.3). What it does
/// not name weighs as `*` does. A member that is no member of such a list is passed over.
pub fn weight_of(value: &[u8], coding: &[u8]) -> u16 {
    let (mut named, mut any) = (None, None);
    for member in value.split(|b| *b == b',') {
        let (name, parameters) = match member.iter().position(|b| *b == b';') {
            Some(at) => (&member[..at], Some(&member[at + 1..])),
            None => (member, None),
        };
        let name = name.trim_ascii();
        let slot = match name {
            b"*" => &mut any,
            _ if name.eq_ignore_ascii_case(coding) => &mut named,
            _ => continue,
        };
        // Said twice, the lower holds: a client must be able to refuse.
        let weight = parameters.map_or(Some(1000), quality);
        if let Some(weight) = weight {
            *slot = Some(slot.map_or(weight, |it: u16| it.min(weight)));
        }
    }
    named.or(any).unwrap_or(0)
}

/// `q=0.75` is 750; other parameters mean nothing here.
fn quality(parameters: &[u8]) -> Option<u16> {
    let mut weight = 1000;
    for parameter in parameters.split(|b| *b == b';').map(<[u8]>::trim_ascii) {
        let Some((b"q=" | b"Q=", number)) = parameter.split_at_checked(2) else { continue };
        weight = match number {
            [b'0'] | [b'0', b'.'] => 0,
            [b'1'] | [b'1', b'.'] => 1000,
            [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => {
                let places = digits.iter().chain(b"000").take(3);
                let part = places.into_iter().try_fold(0, |sum, digit| {
                    digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0'))
                })?;
                Some(part + u16::from(whole - b'0') * 1000).filter(|it| *it <= 1000)?
            }
            _ => return None,
        };
    }
    Some(weight)
}

/// As nginx reads it: whether `gzip` is in the list with a weight above zero (RFC 9110, 12.5.3); anything odd behind it is a no.
pub fn takes_gzip(value: &[u8]) -> bool {
    if value.starts_with(b"gzip,") {
        return true;
    }
    let found = value.windows(4).enumerate().position(|(at, it)| {
        it.eq_ignore_ascii_case(b"gzip") && (at == 0 || matches!(value[at - 1], b',' | b' '))
    });
    let Some(at) = found else { return false };
    match value[at + 4..].trim_ascii_start() {
        [] | [b',', ..] => true,
        [b';', rest @ ..] => match rest.trim_ascii_start() {
            [] => true,
            [b'q' | b'Q', b'=', rest @ ..] => weight(rest),
            _ => false,
        },
        _ => false,
    }
}

/// `0.001` to `1.000`.
fn weight(text: &[u8]) -> bool {
    let end = text.iter().position(|b| matches!(b, b',' | b' ')).unwrap_or(text.len());
    match &text[..end] {
        [b'1'] => true,
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => {
            let more = digits.iter().any(|b| *b != b'0');
            digits.iter().all(u8::is_ascii_digit) && (*whole == b'1') != more
        }
        _ => false,
    }
}

/// Internet Explorer 4 to 6, but for 6 with the service pack that mended it (`SV1`).
pub(super) fn is_msie6(agent: &[u8]) -> bool {
    const MARK: &[u8] = b"MSIE ";
    let Some(at) = agent.windows(MARK.len()).position(|it| it == MARK) else { return false };
    match &agent[at + MARK.len()..] {
        [b'4' | b'5', b'.', _, ..] => true,
        [b'6', b'.', rest @ ..] => !rest.is_empty() && !rest.windows(3).any(|it| it == b"SV1"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read() {
        for (value, want) in [
            ("gzip", true),
            ("GZip", true),
            ("gzip, deflate", true),
            ("deflate,gzip", true),
            ("deflate, gzip ;q=0.5", true),
            ("gzip; q=1", true),
            ("gzip;q=1.000", true),
            ("gzip;q=0.001, x", true),
            ("gzip;", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip;q=0.0001", false),
            ("gzip;q=2", false),
            ("gzip;q=1.1", false),
            ("gzip;q=", false),
            ("gzip;q=x", false),
            ("gzip;x=1", false),
            ("x-gzip", false),
            ("gzipped", false),
            ("deflate", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(value.as_bytes()), want, "{value}");
        }
    }

    #[test]
    fn every_coding_has_its_weight() {
        for (value, br, identity) in [
            ("br", 1000, 0),
            ("gzip, BR;q=0.5, *;q=0.1", 500, 100),
            ("gzip, deflate, br, zstd", 1000, 0),
            ("*", 1000, 1000),
            ("*;q=0, br ; q=1.000", 1000, 0),
            ("br;q=0, *", 0, 1000),
            ("br;x=y;q=0.25", 250, 0),
            ("br;q=0.001,identity;q=0.", 1, 0),
            ("br;q=1.001", 0, 0),
            ("br;q=0.0001", 0, 0),
            ("br;q=x", 0, 0),
            ("br, br;q=0", 0, 0),
            ("brotli, xbr, b", 0, 0),
            (",, ;q=1,", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(weight_of(value.as_bytes(), b"br"), br, "{value}");
            assert_eq!(weight_of(value.as_bytes(), b"identity"), identity, "{value}");
        }
    }

    #[test]
    fn old_explorers_are_known() {
        for (agent, want) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("MSIE 5.5;", true),
            ("MSIE 6.0; Windows; SV1)", false),
            ("MSIE 7.0;", false),
            ("MSIE 10.0;", false),
            ("MSIE 6", false),
            ("Firefox", false),
        ] {
            assert_eq!(is_msie6(agent.as_bytes()), want, "{agent}");
        }
    }
}
