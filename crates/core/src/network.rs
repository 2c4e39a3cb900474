//! Networks (`192.0.2.0/24`), sets of them, and the address that trusted proxies forward.

use std::net::IpAddr;

use foregate_conf::{Error, Word};
use foregate_net::Addr;

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    V4 { base: u32, bits: u8 },
    V6 { base: u128, bits: u8 },
}

impl Network {
    /// Reads `address` or `address/bits`, and tells whether bits behind those that count were set.
    pub fn parse(text: &str) -> Option<(Self, bool)> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(foregate_conf::value::number(bits)?)),
            None => (text, None),
        };
        match ip.parse().ok()? {
            IpAddr::V4(ip) => {
                let (given, bits) =
                    (u32::from(ip), bits.unwrap_or(32).try_into().ok().filter(|it| *it <= 32)?);
                let base = given & mask_v4(bits);
                Some((Self::V4 { base, bits }, base != given))
            }
            IpAddr::V6(ip) => {
                let (given, bits) =
                    (u128::from(ip), bits.unwrap_or(128).try_into().ok().filter(|it| *it <= 128)?);
                let base = given & mask_v6(bits);
                Some((Self::V6 { base, bits }, base != given))
            }
        }
    }

    /// One address.
    pub fn host(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4 { base: ip.into(), bits: 32 },
            IpAddr::V6(ip) => Self::V6 { base: ip.into(), bits: 128 },
        }
    }

    /// Whether the address lies inside; `::ffff:192.0.2.1` is `192.0.2.1`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (*self, ip.to_canonical()) {
            (Self::V4 { base, bits }, IpAddr::V4(ip)) => u32::from(ip) & mask_v4(bits) == base,
            (Self::V6 { base, bits }, IpAddr::V6(ip)) => u128::from(ip) & mask_v6(bits) == base,
            _ => false,
        }
    }
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// The warning for a network whose low bits are set.
pub fn low_bits(word: &Word) -> Error {
    Error::at(word.span, format!("low address bits of {word} are meaningless")).warn()
}

/// A set of networks; `unix:` stands for every client on a Unix socket.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    networks: Vec<Network>,
    unix: bool,
}

impl Networks {
    pub fn push(&mut self, network: Network) {
        self.networks.push(network);
    }

    pub fn push_unix(&mut self) {
        self.unix = true;
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    pub fn contains(&self, addr: &Addr) -> bool {
        match addr.ip() {
            Some(addr) => self.networks.iter().any(|it| it.contains(addr.ip())),
            None => self.unix,
        }
    }
}

/// Networks that a file lists: one to a line, blank lines and what follows a `#` left out.
///
/// # Errors
/// The number of a line that is no network, counted from 1, and what stands there; or `None`: there are more than `max`.
pub fn read_list(bytes: &[u8], max: usize) -> Result<Vec<Network>, Option<(usize, String)>> {
    let mut networks = Vec::new();
    for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
        // Some lists put comments behind a semicolon.
        let end = line.iter().position(|b| matches!(b, b'#' | b';')).unwrap_or(line.len());
        let text = String::from_utf8_lossy(line[..end].trim_ascii());
        if text.is_empty() {
            continue;
        }
        let (network, _) = Network::parse(&text).ok_or_else(|| Some((n + 1, text.clone().into_owned())))?;
        if networks.len() == max {
            return Err(None);
        }
        networks.push(network);
    }
    Ok(networks)
}

/// The client's address as proxies forward it: from `from` backwards through the lists in `values` (the fields in
/// the order sent), as long as the one who names an address is trusted. One step only unless `recursive`.
///
/// `None`: the first one is not trusted, or names no address.
pub fn forwarded<'a>(
    from: &Addr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
    recursive: bool,
) -> Option<Addr> {
    let named = values.rev().flat_map(|value| {
        let names = value.split(|b| matches!(b, b' ' | b','));
        names.rev().filter(|name| !name.is_empty())
    });
    walk_back(from, named.map(|name| std::str::from_utf8(name).ok().and_then(parse_addr)), trusted, recursive)
}

/// As [`forwarded`], for `Forwarded` (RFC 7239), whose values are lists of elements with a `for` each.
pub fn forwarded_elements<'a>(
    from: &Addr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
    recursive: bool,
) -> Option<Addr> {
    // A value that cannot be read as a whole says nothing: what a stranger has put in front may have broken it.
    let named = values.rev().flat_map(|value| match elements(value) {
        Some(mut nodes) => {
            nodes.reverse();
            nodes
        }
        None => vec![None],
    });
    walk_back(from, named, trusted, recursive)
}

/// From `from` on to whom each trusted one names; a name that is no address ends it.
fn walk_back(
    from: &Addr,
    named: impl Iterator<Item = Option<Addr>>,
    trusted: &Networks,
    recursive: bool,
) -> Option<Addr> {
    let mut found: Option<Addr> = None;
    for addr in named {
        if !trusted.contains(found.as_ref().unwrap_or(from)) {
            break;
        }
        let Some(addr) = addr else { break };
        found = Some(addr);
        if !recursive {
            break;
        }
    }
    found
}

/// The `for` of each element of a `Forwarded` value, where it is an address (RFC 7239, 4 and 6):
///
/// ```text
/// Forwarded = 1#( [ pair ] *( ";" [ pair ] ) )    pair = token "=" ( token / quoted-string )
/// ```
///
/// `None`: it is not written so.
fn elements(value: &[u8]) -> Option<Vec<Option<Addr>>> {
    let (mut nodes, mut node, mut any) = (Vec::new(), None, false);
    let mut rest = value.trim_ascii();
    while !rest.is_empty() {
        let (name, behind) = token(rest);
        if !name.is_empty() {
            let (text, behind) = pair_value(behind.strip_prefix(b"=")?)?;
            if name.eq_ignore_ascii_case(b"for") {
                node = std::str::from_utf8(&text).ok().and_then(parse_node);
            }
            any = true;
            rest = behind.trim_ascii_start();
        }
        match rest.split_first() {
            None => break,
            Some((b';', behind)) => rest = behind.trim_ascii_start(),
            Some((b',', behind)) => {
                if std::mem::take(&mut any) {
                    nodes.push(node.take());
                }
                rest = behind.trim_ascii_start();
            }
            Some(_) => return None,
        }
    }
    if any {
        nodes.push(node);
    }
    Some(nodes)
}

/// The characters of a token (RFC 9110, 5.6.2) at the beginning, and what is behind them.
fn token(bytes: &[u8]) -> (&[u8], &[u8]) {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    bytes.split_at(bytes.iter().take_while(|b| is_token(b)).count())
}

/// A token or a quoted string. A colon is let pass in a token, since `for=192.0.2.1:80` is often written so.
fn pair_value(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = bytes.strip_prefix(b"\"") else {
        let (mut end, mut behind) = (0, bytes);
        while let (part, after) = token(behind)
            && !part.is_empty()
        {
            end += part.len();
            behind = after;
            if let Some(after) = behind.strip_prefix(b":") {
                end += 1;
                behind = after;
            }
        }
        return (end > 0).then(|| (bytes[..end].to_vec(), behind));
    };
    let mut text = Vec::new();
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (&escaped, behind) = rest.split_first()?;
                text.push(escaped);
                rest = behind;
            }
            byte => text.push(byte),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`. `unknown` and names that hide (`_a`) are none;
/// so is a port that hides, with the address in front of it taken.
fn parse_node(text: &str) -> Option<Addr> {
    let text = match text.rsplit_once(':') {
        Some((ahead, port)) if port.starts_with('_') => ahead,
        _ => text,
    };
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(|ip: std::net::Ipv6Addr| Addr::Ip((ip, 0).into())),
        None => parse_addr(text),
    }
}

/// An IP address with or without a port, which then is 0.
pub fn parse_addr(text: &str) -> Option<Addr> {
    let alone = text.parse().ok().map(|ip: IpAddr| (ip, 0).into());
    alone.or_else(|| text.parse().ok()).map(Addr::Ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::"),
        ] {
            let (parsed, low) = Network::parse(network).unwrap();
            assert!(
                !low && parsed.contains(inside.parse().unwrap())
                    && !parsed.contains(outside.parse().unwrap())
            );
        }
        for (text, low) in [("10.0.0.1/8", true), ("2001:db8::1/32", true), ("::/0", false)] {
            assert_eq!(Network::parse(text).unwrap().1, low, "{text}");
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/a", "10.0.0", "localhost"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn forwarded_elements_are_read_as_rfc_7239_writes_them() {
        let mut trusted = Networks::default();
        trusted.push(Network::parse("10.0.0.0/8").unwrap().0);
        for (values, recursive, expected) in [
            (&["for=192.0.2.1"][..], false, Some("192.0.2.1:0")),
            (&["For=\"192.0.2.1:47\";proto=http;by=203.0.113.43"], false, Some("192.0.2.1:47")),
            (&["for=192.0.2.1:47"], false, Some("192.0.2.1:47")),
            (&["for=\"[2001:db8::1]:4711\""], false, Some("[2001:db8::1]:4711")),
            (&["by=10.0.0.9; for=\"[2001:db8::1]\" ;host=a"], false, Some("[2001:db8::1]:0")),
            (&["for=192.0.2.1, for=10.0.0.2"], false, Some("10.0.0.2:0")),
            (&["for=192.0.2.1, for=10.0.0.2"], true, Some("192.0.2.1:0")),
            (&["for=192.0.2.1", "for=10.0.0.2"], true, Some("192.0.2.1:0")),
            (&["for=192.0.2.1,, ;for=10.0.0.2,"], true, Some("192.0.2.1:0")),
            (&["for=\"192.0.2.1:_port\""], false, Some("192.0.2.1:0")),
            // The one next to us does not say, or hides it.
            (&["for=192.0.2.1, proto=https"], false, None),
            (&["for=192.0.2.1, for=unknown"], true, None),
            (&["for=192.0.2.1, for=_hidden"], true, None),
            // What strangers write in front must not swallow what trusted ones add.
            (&["for=192.0.2.1;x=\", for=10.0.0.2"], true, None),
            (&["for=192.0.2.1;x=\", for=\"[2001:db8::1]\""], true, None),
            (&["for=192.0.2.1;x=\"\\, for=\"[2001:db8::1]\""], true, None),
            (&["for=\"192.0.2.1", "for=10.0.0.2"], true, Some("10.0.0.2:0")),
            (&["for"], false, None),
            (&["for="], false, None),
            (&["192.0.2.1"], false, None),
            (&[""], false, None),
        ] {
            let from = parse_addr("10.0.0.1").unwrap();
            let found = forwarded_elements(&from, values.iter().map(|it| it.as_bytes()), &trusted, recursive);
            assert_eq!(found.map(|it| it.to_string()).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn lists_have_a_network_to_a_line() {
        let list = b"# ours\n10.0.0.0/8\n\n 2001:db8::/32 # there\r\n192.0.2.1 ; SBL1\n";
        assert_eq!(read_list(list, 3).unwrap().len(), 3);
        assert_eq!(read_list(list, 2), Err(None));
        assert_eq!(read_list(b"10.0.0.0/8\nhost\n", 9), Err(Some((2, "host".to_owned()))));
        assert!(read_list(b"", 0).unwrap().is_empty());
    }

    #[test]
    fn forwarded_addresses() {
        let mut trusted = Networks::default();
        trusted.push(Network::parse("10.0.0.0/8").unwrap().0);
        let check = |values: &[&str], recursive, expected: Option<&str>| {
            let values = values.iter().map(|it| it.as_bytes());
            let found = forwarded(&parse_addr("10.0.0.1").unwrap(), values, &trusted, recursive);
            assert_eq!(found.map(|it| it.to_string()).as_deref(), expected);
        };
        check(&["192.0.2.1, 10.0.0.2"], false, Some("10.0.0.2:0"));
        check(&["192.0.2.1, 10.0.0.2"], true, Some("192.0.2.1:0"));
        check(&["192.0.2.1:77,, 192.0.2.2 , "], true, Some("192.0.2.2:0"));
        check(&["10.0.0.3:77"], true, Some("10.0.0.3:77"));
        check(&["192.0.2.1", "10.0.0.2"], true, Some("192.0.2.1:0"));
        check(&["192.0.2.1", "10.0.0.2"], false, Some("10.0.0.2:0"));
        check(&["what, 10.0.0.2"], true, Some("10.0.0.2:0"));
        check(&["10.0.0.2, what"], true, None);
        check(&["2001:db8::1, [2001:db8::2]:80"], true, Some("[2001:db8::2]:80"));
        check(&[], true, None);
        assert_eq!(forwarded(&Addr::unix(""), [&b"10.0.0.2"[..]].into_iter(), &trusted, true), None);
        trusted.push_unix();
        assert!(forwarded(&Addr::unix(""), [&b"10.0.0.2"[..]].into_iter(), &trusted, true).is_some());
    }
}
