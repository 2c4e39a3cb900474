//! Header fields in order, kept in one piece of memory; names compare without regard to case.

use std::cell::RefCell;

use crate::name::{AsName, Name, NameSet};
use crate::span::FieldSpan;

/// Lists of one thread whose memory waits for the next message: one request and one answer for each of a busy
/// thread's exchanges need two.
const SPARE_MAX: usize = 64;
/// Memory beyond this is given back: a list of that size is an exception.
const SPARE_BYTES_MAX: usize = 16 * 1024;

type Spare = Vec<(Vec<u8>, Vec<Item>)>;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Vec::new()) };
}

/// An ordered list of header fields, each held as the line that is sent. Case and order are kept as pushed; a removed
/// field's bytes stay until `clear`. Its memory comes from and returns to the thread, so that a message costs no
/// allocation.
#[derive(Clone, Default)]
pub struct Fields {
    /// Lines: `name: value` and CR LF, and what stood between them where a head was loaded.
    data: Vec<u8>,
    items: Vec<Item>,
    /// Names of the items.
    names: NameSet,
}

/// Where one field's line starts in `data`, and how it is divided.
#[derive(Clone, Copy)]
struct Item {
    at: u32,
    name_len: u32,
    value_len: u32,
    name: Name,
}

/// What stands between a name and its value.
const BETWEEN: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

impl Fields {
    pub const fn new() -> Fields {
        Fields { data: Vec::new(), items: Vec::new(), names: NameSet::EMPTY }
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.items.clear();
        self.names = NameSet::EMPTY;
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Names that some field has, `Name::Other` for those we do not know.
    #[inline]
    pub fn names(&self) -> NameSet {
        self.names
    }

    /// Bytes of all lines, at most: what to reserve before `write_lines`.
    #[inline]
    pub fn lines_len(&self) -> usize {
        self.data.len()
    }

    /// Appends a field, whether or not there is one of that name.
    pub fn push(&mut self, name: impl AsName, value: &[u8]) {
        let item = self.append(name.name(), name.bytes(), value);
        self.items.push(item);
        self.names = self.names.with(item.name);
    }

    /// As `push`, where the name is known already.
    #[inline]
    pub(crate) fn push_known(&mut self, known: Name, name: &[u8], value: &[u8]) {
        let item = self.append(known, name, value);
        self.items.push(item);
        self.names = self.names.with(known);
    }

    /// Which names the fields have, the names and the values, in order.
    pub fn iter_known(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> + Clone {
        self.items.iter().map(|item| (item.name, item.name_in(&self.data), item.value_in(&self.data)))
    }

    /// The value of the first field of that name.
    #[inline]
    pub fn get(&self, name: impl AsName) -> Option<&[u8]> {
        self.position(name.name(), name.bytes()).map(|idx| self.items[idx].value_in(&self.data))
    }

    /// The values of all fields of that name, in order.
    #[inline]
    pub fn get_all<'a>(&'a self, name: impl AsName + 'a) -> impl Iterator<Item = &'a [u8]> {
        let known = name.name();
        let items = if self.names.has(known) { &self.items[..] } else { &[] };
        items
            .iter()
            .filter(move |item| item.is_named(&self.data, known, name.bytes()))
            .map(|item| item.value_in(&self.data))
    }

    #[inline]
    pub fn contains(&self, name: impl AsName) -> bool {
        self.position(name.name(), name.bytes()).is_some()
    }

    /// Gives the first field of that name the value and removes the others; appends the field when there is none.
    pub fn set(&mut self, name: impl AsName, value: &[u8]) {
        let (known, bytes) = (name.name(), name.bytes());
        let Some(first) = self.position(known, bytes) else { return self.push(name, value) };
        let before = self.items[first];
        let start = before.at as usize;
        let at = self.data.len();
        self.data.extend_from_within(start..start + before.name_len as usize);
        self.append_value(value);
        let data = &self.data;
        let mut idx = 0;
        self.items.retain(|item| {
            idx += 1;
            idx <= first + 1 || !item.is_named(data, known, bytes)
        });
        self.items[first] = Item { at: place(at, data), value_len: value.len() as u32, ..before };
    }

    /// Removes all fields of that name; says whether there was one.
    pub fn remove(&mut self, name: impl AsName) -> bool {
        let (known, bytes) = (name.name(), name.bytes());
        if !self.names.has(known) {
            return false;
        }
        let before = self.items.len();
        let data = &self.data;
        self.items.retain(|item| !item.is_named(data, known, bytes));
        if known != Name::Other {
            self.names = self.names.without(known);
        }
        self.items.len() != before
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.items.iter().map(|item| (item.name_in(&self.data), item.value_in(&self.data)))
    }

    /// Keeps the fields for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let data = &self.data;
        self.items.retain(|item| keep(item.name_in(data), item.value_in(data)));
        self.names = self.items.iter().fold(NameSet::EMPTY, |names, item| names.with(item.name));
    }

    /// Appends the fields as lines of a head, without those in `but` and without those of other names that `hides`
    /// tells. Lines that stand next to each other are copied as one.
    #[inline]
    pub fn write_lines(&self, but: NameSet, hides: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
        let (mut start, mut end) = (0, 0);
        for item in &self.items {
            if but.has(item.name) || item.name == Name::Other && hides(item.name_in(&self.data)) {
                continue;
            }
            let at = item.at as usize;
            if at != end {
                out.extend_from_slice(&self.data[start..end]);
                start = at;
            }
            end = at + item.line_len();
        }
        out.extend_from_slice(&self.data[start..end]);
    }

    /// Becomes the fields at `spans` of a parsed head, in one copy of the bytes between the first and the last.
    pub fn load(&mut self, bytes: &[u8], spans: &[FieldSpan]) {
        self.clear();
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return };
        self.take_memory();
        let base = first.name.start;
        self.data.extend_from_slice(&bytes[base as usize..last.end()]);
        self.items.extend(spans.iter().map(|span| Item {
            at: span.name.start - base,
            name_len: span.name.len() as u32,
            value_len: span.value.len() as u32,
            name: span.known,
        }));
        let mut all_tidy = true;
        for span in spans {
            self.names = self.names.with(span.known);
            all_tidy &= span.is_tidy;
        }
        if !all_tidy {
            self.tidy(bytes, spans);
        }
    }

    /// Writes anew the loaded lines that are not as we write them.
    #[cold]
    fn tidy(&mut self, bytes: &[u8], spans: &[FieldSpan]) {
        for (idx, span) in spans.iter().enumerate().filter(|(_, span)| !span.is_tidy) {
            self.items[idx] = self.append(span.known, span.name.of(bytes), span.value.of(bytes));
        }
    }

    /// Takes spare memory of the thread, where this list has none yet.
    #[inline]
    fn take_memory(&mut self) {
        if self.data.capacity() == 0
            && let Ok(Some((data, items))) = SPARE.try_with(|spare| spare.borrow_mut().pop())
        {
            (self.data, self.items) = (data, items);
        }
    }

    /// Where the first field of that name is.
    #[inline]
    fn position(&self, known: Name, name: &[u8]) -> Option<usize> {
        if !self.names.has(known) {
            return None;
        }
        self.items.iter().position(|item| item.is_named(&self.data, known, name))
    }

    /// Writes a line at the end of `data`.
    fn append(&mut self, known: Name, name: &[u8], value: &[u8]) -> Item {
        if self.items.is_empty() {
            self.take_memory();
        }
        let at = self.data.len();
        self.data.reserve(name.len() + value.len() + BETWEEN.len() + LINE_END.len());
        self.data.extend_from_slice(name);
        self.append_value(value);
        Item {
            at: place(at, &self.data),
            name_len: name.len() as u32,
            value_len: value.len() as u32,
            name: known,
        }
    }

    fn append_value(&mut self, value: &[u8]) {
        self.data.extend_from_slice(BETWEEN);
        self.data.extend_from_slice(value);
        self.data.extend_from_slice(LINE_END);
    }
}

/// The place `at` of a line that ends `data`.
fn place(at: usize, data: &[u8]) -> u32 {
    assert!(data.len() <= u32::MAX as usize, "fields stay below 4 GiB: heads are limited when read");
    at as u32
}

impl Drop for Fields {
    fn drop(&mut self) {
        if self.data.capacity() == 0 || self.data.capacity() > SPARE_BYTES_MAX {
            return;
        }
        let (mut data, mut items) = (std::mem::take(&mut self.data), std::mem::take(&mut self.items));
        data.clear();
        items.clear();
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push((data, items));
            }
        });
    }
}

impl Item {
    #[inline]
    fn is_named(&self, data: &[u8], known: Name, name: &[u8]) -> bool {
        self.name == known && (known != Name::Other || self.name_in(data).eq_ignore_ascii_case(name))
    }

    #[inline]
    fn name_in<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.at as usize..(self.at + self.name_len) as usize]
    }

    #[inline]
    fn value_in<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let start = self.at as usize + self.name_len as usize + BETWEEN.len();
        &data[start..start + self.value_len as usize]
    }

    #[inline]
    fn line_len(&self) -> usize {
        self.name_len as usize + BETWEEN.len() + self.value_len as usize + LINE_END.len()
    }
}

impl PartialEq for Fields {
    /// Same fields in the same order; names without regard to case.
    fn eq(&self, other: &Fields) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_list()
            .entries(self.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))))
            .finish()
    }
}

impl<'a> Extend<(&'a [u8], &'a [u8])> for Fields {
    fn extend<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn of(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        fields.extend(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        fields
    }

    #[test]
    fn lookups_ignore_case_and_keep_order() {
        let fields = of(&[("Set-Cookie", "a"), ("Date", "d"), ("set-cookie", "b")]);
        assert_eq!(fields.get(b"SET-COOKIE"), Some(&b"a"[..]));
        assert_eq!(fields.get_all(b"Set-Cookie").collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(fields.contains(b"date") && !fields.contains(b"dat") && !fields.contains(b"dates"));
        assert_eq!(fields.get(b""), None);
        assert_eq!(fields.iter().nth(2), Some((&b"set-cookie"[..], &b"b"[..])));
    }

    #[test]
    fn set_replaces_all_in_the_place_of_the_first() {
        let mut fields = of(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        fields.set(b"a", b"new");
        assert_eq!(fields, of(&[("A", "new"), ("B", "2"), ("C", "4")]));
        fields.set(b"D", b"");
        assert_eq!(fields.get(b"d"), Some(&b""[..]));
    }

    fn lines(fields: &Fields, but: NameSet) -> String {
        let mut out = Vec::new();
        fields.write_lines(but, |name| name.eq_ignore_ascii_case(b"x-hidden"), &mut out);
        String::from_utf8(out).expect("because it is text").replace("\r\n", "|")
    }

    #[test]
    fn lines_are_written_without_what_is_left_out() {
        let mut fields =
            of(&[("A", "1"), ("Host", "h"), ("b", "2"), ("X-Hidden", "x"), ("C", ""), ("D", "4")]);
        assert_eq!(lines(&fields, NameSet::of(&[Name::Host])), "A: 1|b: 2|C: |D: 4|");
        fields.set(b"B", b"new");
        fields.remove(b"a");
        assert_eq!(lines(&fields, NameSet::EMPTY), "Host: h|b: new|C: |D: 4|");
        assert_eq!(lines(&Fields::new(), NameSet::EMPTY), "");
    }

    #[test]
    fn known_names_are_found_by_number() {
        let mut fields = of(&[("hOST", "a"), ("X", "1"), ("Host", "b")]);
        assert_eq!((fields.get(Name::Host), fields.get(Name::Date)), (Some(&b"a"[..]), None));
        assert_eq!(fields.get_all(Name::Host).count(), 2);
        fields.push(Name::ETag, b"e");
        assert_eq!(fields.get(b"etag"), Some(&b"e"[..]));
        assert_eq!(fields.names(), NameSet::of(&[Name::Host, Name::Other, Name::ETag]));
        fields.set(Name::Host, b"c");
        assert_eq!(fields, of(&[("Host", "c"), ("X", "1"), ("ETag", "e")]));
        assert!(fields.remove(Name::Host) && !fields.contains(b"host"));
        fields.retain(|_, value| value == b"1");
        assert_eq!(fields.names(), NameSet::of(&[Name::Other]));
    }

    #[test]
    fn removal_keeps_order() {
        let mut fields = of(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        assert!(fields.remove(b"A") && !fields.remove(b"A"));
        assert_eq!(fields, of(&[("B", "2"), ("C", "4")]));
        fields.retain(|name, _| name != b"B");
        assert_eq!(fields, of(&[("C", "4")]));
        fields.clear();
        assert!(fields.is_empty());
    }

    #[test]
    fn a_parsed_head_is_loaded_with_one_copy() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n";
        let span = |a, b, c, d, known, is_tidy| FieldSpan {
            name: Span::new(a, b),
            value: Span::new(c, d),
            known,
            is_tidy,
        };
        let mut fields = of(&[("Old", "gone")]);
        fields
            .load(head, &[span(16, 20, 22, 23, Name::Host, true), span(25, 32, 33, 33, Name::Other, false)]);
        assert_eq!(fields, of(&[("Host", "a"), ("X-Empty", "")]));
        assert_eq!(lines(&fields, NameSet::EMPTY), "Host: a|X-Empty: |");
        fields.push(b"More", b"m");
        assert_eq!(fields.get(b"more"), Some(&b"m"[..]));
        fields.load(head, &[]);
        assert!(fields.is_empty());
    }
}
