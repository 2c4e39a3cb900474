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
    let mut found: Option<Addr> = None;
    for name in named {
        if !trusted.contains(found.as_ref().unwrap_or(from)) {
            break;
        }
        let Some(addr) = std::str::from_utf8(name).ok().and_then(parse_addr) else { break };
        found = Some(addr);
        if !recursive {
            break;
        }
    }
    found
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
