//! Networks, as `allow`, `deny`, `geo` and `set_real_ip_from` name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cidr {
    V4 { addr: u32, mask: u32 },
    V6 { addr: u128, mask: u128 },
}

impl Cidr {
    /// `10.0.0.0/8`, `::1`. The second value tells that bits beyond the mask were set, and are cleared now:
    /// nginx warns that the `low address bits of … are meaningless`.
    pub fn parse(text: &str) -> Option<(Self, bool)> {
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(foregate_conf::value::number(bits)?)),
            None => (text, None),
        };
        Some(match addr.parse().ok()? {
            IpAddr::V4(addr) => {
                let bits = bits.unwrap_or(32);
                let mask = if bits == 0 { 0 } else { u32::MAX << 32_u64.checked_sub(bits)? };
                let addr = u32::from(addr);
                (Self::V4 { addr: addr & mask, mask }, addr & !mask != 0)
            }
            IpAddr::V6(addr) => {
                let bits = bits.unwrap_or(128);
                let mask = if bits == 0 { 0 } else { u128::MAX << 128_u64.checked_sub(bits)? };
                let addr = u128::from(addr);
                (Self::V6 { addr: addr & mask, mask }, addr & !mask != 0)
            }
        })
    }

    /// Whether an address lies in this network. IPv4 addresses mapped into IPv6 are IPv6 here.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.contains_v4(ip),
            IpAddr::V6(ip) => self.contains_v6(ip),
        }
    }

    pub fn contains_v4(&self, ip: Ipv4Addr) -> bool {
        matches!(*self, Self::V4 { addr, mask } if u32::from(ip) & mask == addr)
    }

    pub fn contains_v6(&self, ip: Ipv6Addr) -> bool {
        matches!(*self, Self::V6 { addr, mask } if u128::from(ip) & mask == addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.0.0.0"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9::"),
            ("::/0", "::ffff:1.2.3.4", "1.2.3.4"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
        ] {
            let (cidr, low_bits) = Cidr::parse(network).unwrap();
            assert!(!low_bits);
            assert!(cidr.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!cidr.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn low_bits_are_noticed_and_nonsense_refused() {
        assert!(matches!(Cidr::parse("10.0.0.1/8"), Some((Cidr::V4 { addr: 0x0a00_0000, .. }, true))));
        assert!(matches!(Cidr::parse("::1/64"), Some((Cidr::V6 { addr: 0, .. }, true))));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "a.b.c.d", "unix:"]
        {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
