//! Many networks as sorted ranges: whether one of them holds an address is found by halving.

use std::net::IpAddr;

use crate::network::Network;

/// A set of networks. Those that overlap or touch have become one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl NetworkSet {
    pub fn new(networks: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match *network {
                Network::V4 { base, bits } => {
                    v4.push((base, base | u32::MAX.checked_shr(bits.into()).unwrap_or(0)))
                }
                Network::V6 { base, bits } => {
                    v6.push((base, base | u128::MAX.checked_shr(bits.into()).unwrap_or(0)))
                }
            }
        }
        Self { v4: merged(v4, |it| it.checked_add(1)), v6: merged(v6, |it| it.checked_add(1)) }
    }

    /// Whether an address lies in one of them; `::ffff:192.0.2.1` is `192.0.2.1`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, u32::from(ip)),
            IpAddr::V6(ip) => holds(&self.v6, u128::from(ip)),
        }
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match out.last_mut() {
            // Behind the last address of all there is nothing that would not touch.
            Some(last) if next(last.1).is_none_or(|it| start <= it) => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out.into()
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(start, _)| *start <= address);
    behind > 0 && address <= ranges[behind - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(networks: &[&str]) -> NetworkSet {
        let parse = |it: &&str| Network::parse(it).expect("because tests write networks").0;
        NetworkSet::new(&networks.iter().map(parse).collect::<Vec<_>>())
    }

    #[test]
    fn a_set_holds_what_its_networks_hold() {
        let set = set(&[
            "10.0.1.0/24",
            "10.0.0.0/24",
            "192.0.2.1",
            "255.255.255.0/24",
            "2001:db8::/32",
            "ffff::/16",
        ]);
        assert_eq!(set.len(), 5);
        for (ip, want) in [
            ("10.0.0.0", true),
            ("10.0.1.255", true),
            ("10.0.2.0", false),
            ("9.255.255.255", false),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
            ("255.255.255.255", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ] {
            assert_eq!(set.contains(ip.parse().expect("because tests write addresses")), want, "{ip}");
        }
        assert!(NetworkSet::default().is_empty());
    }

    #[test]
    fn everything_is_one_range() {
        let set = set(&["0.0.0.0/0", "10.0.0.0/8", "::/0", "::1"]);
        assert_eq!(set.len(), 2);
        assert!(set.contains([1, 2, 3, 4].into()) && set.contains(IpAddr::from([0_u8; 16])));
    }
}
