//! Values by address: sorted intervals, found by halving.

use std::net::IpAddr;

/// Where an address goes that is none or none of this kind: 255.255.255.255, as in nginx.
const NO_ADDRESS: u32 = u32::MAX;

pub(super) struct Table {
    pub(super) v4: Intervals<u32>,
    /// `None`: only IPv4 ranges are known, and every other address counts as [`NO_ADDRESS`].
    pub(super) v6: Option<Intervals<u128>>,
    pub(super) values: Box<[Box<[u8]>]>,
}

impl Table {
    pub(super) fn find(&self, ip: Option<IpAddr>) -> &[u8] {
        let value = match (ip.map(|it| it.to_canonical()), &self.v6) {
            (Some(IpAddr::V4(ip)), _) => self.v4.find(ip.into()),
            (Some(IpAddr::V6(ip)), Some(v6)) => v6.find(ip.into()),
            _ => self.v4.find(NO_ADDRESS),
        };
        value.and_then(|at| self.values.get(at as usize)).map_or(b"", |it| it)
    }
}

/// Where each value begins to hold, in order; `None`: from there on nothing does.
pub(super) struct Intervals<K>(Box<[(K, Option<u32>)]>);

impl<K: Address> Intervals<K> {
    pub(super) fn find(&self, key: K) -> Option<u32> {
        let behind = self.0.partition_point(|it| it.0 <= key);
        self.0[..behind].last()?.1
    }

    /// From intervals with both ends inside, sorted by their start, longer ones first: of those that hold an address
    /// the last one wins. They may contain but not overlap each other.
    pub(super) fn nested(sorted: impl Iterator<Item = (K, K, u32)>) -> Self {
        let mut starts: Vec<(K, Option<u32>)> = Vec::new();
        let mut open: Vec<(K, u32)> = Vec::new();
        for (start, end, value) in sorted {
            close(&mut open, &mut starts, Some(start));
            push(&mut starts, start, Some(value));
            open.push((end, value));
        }
        close(&mut open, &mut starts, None);
        Self(starts.into())
    }
}

/// Ends the intervals that end before `until`: what is around them holds again.
fn close<K: Address>(open: &mut Vec<(K, u32)>, starts: &mut Vec<(K, Option<u32>)>, until: Option<K>) {
    while let Some((end, _)) = open.last().copied()
        && until.is_none_or(|until| end < until)
    {
        open.pop();
        if let Some(next) = end.next() {
            push(starts, next, open.last().map(|it| it.1));
        }
    }
}

fn push<K: Address>(starts: &mut Vec<(K, Option<u32>)>, start: K, value: Option<u32>) {
    match starts.last_mut() {
        Some(last) if last.0 == start => last.1 = value,
        Some(last) if last.1 == value => (),
        _ => starts.push((start, value)),
    }
}

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// The address behind this one.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}
