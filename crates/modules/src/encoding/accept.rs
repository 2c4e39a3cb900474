//! What a client's `Accept-Encoding` and `User-Agent` say about gzip, read as nginx reads them.

/// Whether `gzip` is in the list with a weight above zero (RFC 9110, 12.5.3); anything odd behind it is a no.
pub(super) fn takes_gzip(value: &[u8]) -> bool {
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
