//! Header fields in order, kept in one piece of memory; names compare without regard to case.

use std::cell::RefCell;

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

/// An ordered list of header fields. Case and order are kept as pushed; a removed field's bytes stay until `clear`.
/// Its memory comes from and returns to the thread, so that a message costs no allocation.
#[derive(Clone, Default)]
pub struct Fields {
    data: Vec<u8>,
    items: Vec<Item>,
}

/// Positions of one field in `data`.
#[derive(Clone, Copy)]
struct Item {
    name_at: u32,
    name_len: u32,
    value_at: u32,
    value_len: u32,
}

impl Fields {
    pub const fn new() -> Fields {
        Fields { data: Vec::new(), items: Vec::new() }
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.items.clear();
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a field, whether or not there is one of that name.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (name_at, value_at) = (self.append(name), self.append(value));
        self.items.push(Item {
            name_at,
            name_len: name.len() as u32,
            value_at,
            value_len: value.len() as u32,
        });
    }

    /// The value of the first field of that name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.items.iter().find(|item| self.is_named(item, name)).map(|item| self.value(item))
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.items.iter().filter(move |item| self.is_named(item, name)).map(|item| self.value(item))
    }

    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.items.iter().any(|item| self.is_named(item, name))
    }

    /// Gives the first field of that name the value and removes the others; appends the field when there is none.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(first) = self.items.iter().position(|item| self.is_named(item, name)) else {
            return self.push(name, value);
        };
        let value_at = self.append(value);
        self.items[first].value_at = value_at;
        self.items[first].value_len = value.len() as u32;
        self.remove_from(first + 1, name);
    }

    /// Removes all fields of that name; says whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.remove_from(0, name)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.items.iter().map(|item| (self.name(item), self.value(item)))
    }

    /// Keeps the fields for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let data = &self.data;
        self.items.retain(|item| keep(item.name_in(data), item.value_in(data)));
    }

    /// Becomes the fields at `spans` of a parsed head, in one copy of the bytes between the first and the last.
    pub fn load(&mut self, bytes: &[u8], spans: &[FieldSpan]) {
        self.clear();
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return };
        self.take_memory();
        let (base, end) = (first.name.start, last.value.end.max(last.name.end));
        self.data.extend_from_slice(&bytes[base as usize..end as usize]);
        self.items.extend(spans.iter().map(|span| Item {
            name_at: span.name.start - base,
            name_len: span.name.len() as u32,
            // An empty value's position carries no meaning and may lie past the copy.
            value_at: if span.value.is_empty() { 0 } else { span.value.start - base },
            value_len: span.value.len() as u32,
        }));
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

    fn append(&mut self, bytes: &[u8]) -> u32 {
        if self.items.is_empty() {
            self.take_memory();
        }
        let at = self.data.len();
        assert!(
            at + bytes.len() <= u32::MAX as usize,
            "fields stay below 4 GiB: heads are limited when read"
        );
        self.data.extend_from_slice(bytes);
        at as u32
    }

    fn remove_from(&mut self, start: usize, name: &[u8]) -> bool {
        let before = self.items.len();
        let data = &self.data;
        let mut idx = 0;
        self.items.retain(|item| {
            idx += 1;
            idx <= start || !item.is_named(data, name)
        });
        self.items.len() != before
    }

    #[inline]
    fn is_named(&self, item: &Item, name: &[u8]) -> bool {
        item.is_named(&self.data, name)
    }

    #[inline]
    fn name(&self, item: &Item) -> &[u8] {
        item.name_in(&self.data)
    }

    #[inline]
    fn value(&self, item: &Item) -> &[u8] {
        item.value_in(&self.data)
    }
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
    fn is_named(&self, data: &[u8], name: &[u8]) -> bool {
        self.name_len as usize == name.len() && self.name_in(data).eq_ignore_ascii_case(name)
    }

    #[inline]
    fn name_in<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.name_at as usize..(self.name_at + self.name_len) as usize]
    }

    #[inline]
    fn value_in<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.value_at as usize..(self.value_at + self.value_len) as usize]
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
        let span = |a, b, c, d| FieldSpan { name: Span::new(a, b), value: Span::new(c, d) };
        let mut fields = of(&[("Old", "gone")]);
        fields.load(head, &[span(16, 20, 22, 23), span(25, 32, 33, 33)]);
        assert_eq!(fields, of(&[("Host", "a"), ("X-Empty", "")]));
        fields.push(b"More", b"m");
        assert_eq!(fields.get(b"more"), Some(&b"m"[..]));
        fields.load(head, &[]);
        assert!(fields.is_empty());
    }
}
