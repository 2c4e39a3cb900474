//! The host of a request: what may stand in it, and where name and port end (RFC 3986, section 3.2.2).

/// A host taken apart; the name's letters stay as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostParts {
    /// Bytes of the name, without port and without one trailing dot.
    pub name_len: usize,
    /// The port, 0 when there is none or it is empty.
    pub port: u16,
    /// Whether the name has upper-case letters, which a server is looked up without.
    pub has_upper: bool,
}

/// The host is empty, has a character no host has, two dots in a row, an open bracket or an impossible port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHost;

const UPPER: u8 = 1;
const NAME: u8 = 2;
const DOT: u8 = 3;
const COLON: u8 = 4;
const PERCENT: u8 = 5;
const CLOSE: u8 = 6;

/// What each byte means inside a host; 0 is forbidden.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => NAME,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => NAME,
            b'.' => DOT,
            b':' => COLON,
            b'%' => PERCENT,
            b']' => CLOSE,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// Checks a host with an optional port, as nginx checks the Host field and the authority of a request line.
pub fn validate(host: &[u8]) -> Result<HostParts, InvalidHost> {
    let literal = host.first() == Some(&b'[');
    let (mut name_len, has_upper) = if literal { scan_literal(host)? } else { scan_name(host)? };
    let port = match host.get(name_len) {
        None => 0,
        Some(b':') => parse_port(&host[name_len + 1..])?,
        Some(_) => return Err(InvalidHost),
    };
    if name_len > 0 && host[name_len - 1] == b'.' {
        name_len -= 1;
    }
    if name_len == 0 {
        return Err(InvalidHost);
    }
    Ok(HostParts { name_len, port, has_upper })
}

/// Whether a byte may stand between the brackets of an address.
pub(crate) fn is_literal_char(byte: u8) -> bool {
    matches!(CLASS[byte as usize], NAME | UPPER | DOT | COLON)
}

/// A registered name or an IPv4 address: ends at the first colon.
fn scan_name(host: &[u8]) -> Result<(usize, bool), InvalidHost> {
    let mut has_upper = false;
    for (at, &byte) in host.iter().enumerate() {
        match CLASS[byte as usize] {
            NAME | PERCENT => {}
            UPPER => has_upper = true,
            DOT if at == 0 || host[at - 1] != b'.' => {}
            COLON => return Ok((at, has_upper)),
            _ => return Err(InvalidHost),
        }
    }
    Ok((host.len(), has_upper))
}

/// An address in brackets: ends after the closing one.
fn scan_literal(host: &[u8]) -> Result<(usize, bool), InvalidHost> {
    let mut has_upper = false;
    for (at, &byte) in host.iter().enumerate().skip(1) {
        match CLASS[byte as usize] {
            NAME | COLON => {}
            UPPER => has_upper = true,
            DOT if host[at - 1] != b'.' => {}
            CLOSE => return Ok((at + 1, has_upper)),
            _ => return Err(InvalidHost),
        }
    }
    Err(InvalidHost)
}

fn parse_port(digits: &[u8]) -> Result<u16, InvalidHost> {
    digits.iter().try_fold(0u16, |port, &byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0')).ok_or(InvalidHost)?;
        port.checked_mul(10).and_then(|port| port.checked_add(digit)).ok_or(InvalidHost)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `$host` and port, or nothing for 400.
    type Seen = Option<(&'static str, u16)>;

    /// What nginx 1.31.5 answered when asked with these Host fields.
    const SEEN: &[(&[u8], Seen)] = &[
        (b"h", Some(("h", 0))),
        (b"", None),
        (b"a/b", None),
        (b"a b", None),
        (b"a@b", None),
        (b"a..b", None),
        (b"A.B.:80", Some(("a.b", 80))),
        (b".", None),
        (b"[::1]:80", Some(("[::1]", 80))),
        (b"[::1", None),
        (b"a:b", None),
        (b"a:", Some(("a", 0))),
        (b"a:65535", Some(("a", 65535))),
        (b"a:65536", None),
        (b"a:000080", Some(("a", 80))),
        (b"[::1]x", None),
        (b"a%41", Some(("a%41", 0))),
        (b"a_b~!", Some(("a_b~!", 0))),
        (b":80", None),
        (b"a\xff", None),
        (b".a", Some((".a", 0))),
        (b"[]", Some(("[]", 0))),
        (b"[::1.]", Some(("[::1.]", 0))),
        (b"[a..b]", None),
        (b"a\"b", None),
        (b"a[b", None),
        (b"a]", None),
    ];

    #[test]
    fn hosts_are_taken_and_refused_as_nginx_does() {
        for &(host, seen) in SEEN {
            let got = validate(host).ok().map(|parts| {
                let name = String::from_utf8_lossy(&host[..parts.name_len]).to_ascii_lowercase();
                assert_eq!(parts.has_upper, host[..parts.name_len].iter().any(u8::is_ascii_uppercase));
                (name, parts.port)
            });
            let want = seen.map(|(name, port)| (name.to_owned(), port));
            assert_eq!(got, want, "{}", host.escape_ascii());
        }
    }
}
