//! The lines of a `geo` block as they are read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use foregate_conf::{Error, Node, Word};
use foregate_core::Compile;
use foregate_core::network::{Network, Networks, low_bits};

use super::table::{Intervals, Table};

#[derive(Default)]
pub(super) struct Draft {
    /// `ranges`: entries are ranges of IPv4 addresses instead of networks.
    ranges: bool,
    pub(super) volatile: bool,
    pub(super) proxy_recursive: bool,
    pub(super) proxies: Networks,
    values: Vec<Box<[u8]>>,
    by_text: HashMap<Vec<u8>, u32>,
    networks: BTreeMap<Key, u32>,
    /// The 65536 addresses that share their upper half, each: ranges are kept apart there, as nginx does, so that the
    /// same ranges overlap.
    blocks: BTreeMap<u16, Vec<Range>>,
    default: Option<u32>,
}

/// Family, start and bits: a longer prefix sorts behind the shorter one that it begins with.
type Key = (bool, u128, u8);

/// The lower halves of the first and the last address.
#[derive(Clone, Copy)]
struct Range {
    start: u16,
    end: u16,
    value: u32,
}

impl Draft {
    pub(super) fn read(lines: &[Node], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let mut draft = Self::default();
        for line in lines {
            draft.line(line, cx)?;
        }
        Ok(draft)
    }

    fn line(&mut self, line: &Node, cx: &mut Compile<'_>) -> Result<(), Error> {
        let key = &line.name;
        match (key.text.as_str(), &*line.args) {
            _ if line.is_block() => return Err(Error::at(key.span, "unexpected \"{\"")),
            ("ranges", []) if self.networks.is_empty() => self.ranges = true,
            ("ranges", []) => {
                let what = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                return Err(Error::at(key.span, what));
            }
            ("proxy_recursive", []) => self.proxy_recursive = true,
            ("volatile", []) => self.volatile = true,
            ("proxy", [network]) => self.proxies.push(parse(network, cx)?),
            ("delete", [entry]) if self.ranges => self.delete_range(entry, cx)?,
            ("delete", [entry]) => self.delete_network(entry, cx)?,
            ("default", [value]) if self.ranges => self.default_range(value, cx),
            ("default", [value]) => self.default_network(key, value, cx),
            (_, [value]) if self.ranges => self.add_range(key, value, cx)?,
            (_, [value]) => {
                let network = parse(key, cx)?;
                self.add_network(place(network), key, value, cx);
            }
            _ => return Err(Error::at(line.span, "invalid number of the geo parameters")),
        }
        Ok(())
    }

    /// The position of a value; equal ones share it.
    fn value(&mut self, value: &Word) -> u32 {
        let next = self.values.len() as u32;
        let at = *self.by_text.entry(value.bytes().to_vec()).or_insert(next);
        if at == next {
            self.values.push(value.bytes().into());
        }
        at
    }

    fn text(&self, value: u32) -> String {
        self.values.get(value as usize).map_or_else(String::new, |it| String::from_utf8_lossy(it).into_owned())
    }

    fn default_network(&mut self, key: &Word, value: &Word, cx: &mut Compile<'_>) {
        self.add_network((false, 0, 0), key, value, cx);
        self.add_network((true, 0, 0), key, value, cx);
    }

    fn add_network(&mut self, place: Key, key: &Word, value: &Word, cx: &mut Compile<'_>) {
        let new = self.value(value);
        if let Some(old) = self.networks.insert(place, new) {
            let old = self.text(old);
            cx.warn(
                Error::at(
                    key.span,
                    format!("duplicate network \"{key}\", value: \"{value}\", old value: \"{old}\""),
                )
                .warn(),
            );
        }
    }

    fn delete_network(&mut self, entry: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        let network = parse(entry, cx)?;
        if self.networks.remove(&place(network)).is_none() {
            cx.warn(Error::at(entry.span, format!("no network \"{entry}\" to delete")).warn());
        }
        Ok(())
    }

    fn default_range(&mut self, value: &Word, cx: &mut Compile<'_>) {
        let new = self.value(value);
        if let Some(old) = self.default.replace(new) {
            let old = self.text(old);
            let what = format!("duplicate default geo range value: \"{value}\", old value: \"{old}\"");
            cx.warn(Error::at(value.span, what).warn());
        }
    }

    fn add_range(&mut self, key: &Word, value: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        let new = self.value(value);
        for (high, start, end) in pieces(range(key)?) {
            let block = self.blocks.entry(high).or_default();
            match insert(block, Range { start, end, value: new }) {
                Inserted::New => (),
                Inserted::Over(old) => {
                    let old = self.text(old);
                    let what = format!("duplicate range \"{key}\", value: \"{value}\", old value: \"{old}\"");
                    cx.warn(Error::at(key.span, what).warn());
                }
                Inserted::Overlap(other) => {
                    let address = |low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
                    let (first, last) = (address(other.start), address(other.end));
                    let what = format!("range \"{key}\" overlaps \"{first}-{last}\"");
                    return Err(Error::at(key.span, what));
                }
            }
        }
        Ok(())
    }

    fn delete_range(&mut self, entry: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        let mut all = true;
        for (high, start, end) in pieces(range(entry)?) {
            let block = self.blocks.entry(high).or_default();
            let before = block.len();
            block.retain(|it| (it.start, it.end) != (start, end));
            all &= block.len() < before;
        }
        if !all {
            cx.warn(Error::at(entry.span, format!("no address range \"{entry}\" to delete")).warn());
        }
        Ok(())
    }

    pub(super) fn into_table(self) -> Table {
        let values = self.values.into();
        if self.ranges {
            let default = self.default.map(|value| (0, u32::MAX, value));
            let ranges = self.blocks.iter().flat_map(|(high, ranges)| {
                let high = u32::from(*high) << 16;
                ranges.iter().map(move |it| (high | u32::from(it.start), high | u32::from(it.end), it.value))
            });
            return Table { v4: Intervals::nested(default.into_iter().chain(ranges)), v6: None, values };
        }
        let of = |v6: bool| self.networks.iter().filter(move |it| it.0.0 == v6).map(|(key, value)| (*key, *value));
        let v4 = of(false).map(|((_, base, bits), value)| {
            let base = base as u32;
            (base, base | u32::MAX.checked_shr(bits.into()).unwrap_or(0), value)
        });
        let v6 = of(true).map(|((_, base, bits), value)| {
            (base, base | u128::MAX.checked_shr(bits.into()).unwrap_or(0), value)
        });
        Table { v4: Intervals::nested(v4), v6: Some(Intervals::nested(v6)), values }
    }
}

fn parse(word: &Word, cx: &mut Compile<'_>) -> Result<Network, Error> {
    let Some((network, low)) = Network::parse(word) else {
        return Err(Error::at(word.span, format!("invalid network \"{word}\"")));
    };
    if low {
        cx.warn(low_bits(word));
    }
    Ok(network)
}

fn place(network: Network) -> Key {
    match network {
        Network::V4 { base, bits } => (false, base.into(), bits),
        Network::V6 { base, bits } => (true, base, bits),
    }
}

/// `192.0.2.1-192.0.2.9`
fn range(word: &Word) -> Result<(u32, u32), Error> {
    let both = word.split_once('-').and_then(|(first, last)| {
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| (first.into(), last.into()))
    });
    both.ok_or_else(|| Error::at(word.span, format!("invalid range \"{word}\"")))
}

/// The range cut where the upper half of the address changes.
fn pieces((first, last): (u32, u32)) -> impl Iterator<Item = (u16, u16, u16)> {
    let half = |address: u32| (address >> 16) as u16;
    (half(first)..=half(last)).map(move |high| {
        let start = if high == half(first) { first as u16 } else { 0 };
        let end = if high == half(last) { last as u16 } else { u16::MAX };
        (high, start, end)
    })
}

enum Inserted {
    New,
    /// In the place of this value.
    Over(u32),
    Overlap(Range),
}

/// Keeps the block sorted. A range may lie inside of an older one, which then is cut; nothing else may overlap.
fn insert(block: &mut Vec<Range>, new: Range) -> Inserted {
    // Files are sorted for the most part: the place is near the end.
    let at = block.partition_point(|it| it.start <= new.start);
    let Some(before) = at.checked_sub(1).map(|at| block[at]).filter(|it| it.end >= new.start) else {
        return match block.get(at) {
            Some(behind) if behind.start <= new.end => Inserted::Overlap(*behind),
            _ => {
                block.insert(at, new);
                Inserted::New
            }
        };
    };
    if (before.start, before.end) == (new.start, new.end) {
        block[at - 1].value = new.value;
        return Inserted::Over(before.value);
    }
    if before.end < new.end {
        // nginx looks from the end, and names the last of those that it meets.
        let last = block.iter().rev().find(|it| it.start <= new.end).copied();
        return Inserted::Overlap(last.unwrap_or(before));
    }
    let mut cut = Vec::with_capacity(3);
    if before.start < new.start {
        cut.push(Range { end: new.start - 1, ..before });
    }
    cut.push(new);
    if new.end < before.end {
        cut.push(Range { start: new.end + 1, ..before });
    }
    block.splice(at - 1..at, cut);
    debug_assert!(block.is_sorted_by_key(|it| (it.start, Reverse(it.end))));
    Inserted::New
}
