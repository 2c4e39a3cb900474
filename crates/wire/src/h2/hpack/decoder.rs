//! Header blocks to fields (RFC 7541, section 6).

use super::table::{ENTRIES, Facts, Row, STATIC, Shape, Table};
use super::{HpackError, TABLE_BYTES, huffman, number};
use crate::name::Name;

/// Table sizes that a block may begin with: the smallest since the last block, and the last (section 4.2).
const SIZE_UPDATES_MAX: usize = 2;

/// A field as it comes out of a block.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub known: Name,
    pub shape: Shape,
    /// The value has no NUL and no line end.
    pub is_clean: bool,
}

/// The reading end of a connection's compression.
pub struct Decoder {
    table: Table,
    /// What our settings allow the table to hold.
    size_allowed: usize,
    /// Strings that stand coded in the block.
    scratch: Vec<u8>,
    /// Longest name or value as it stands in the block, bytes.
    string_max: usize,
}

/// Where a string stands: in the block, or in the scratch memory.
#[derive(Clone, Copy)]
enum Text<'a> {
    Plain(&'a [u8]),
    Coded { start: usize, end: usize },
}

impl<'a> Text<'a> {
    #[inline]
    fn of<'b>(self, scratch: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Text::Plain(bytes) => bytes,
            Text::Coded { start, end } => &scratch[start..end],
        }
    }
}

impl Decoder {
    /// `string_max`: no name and no value may be longer as it stands in the block, bytes.
    pub fn new(string_max: usize) -> Decoder {
        Decoder { table: Table::new(TABLE_BYTES), size_allowed: TABLE_BYTES, scratch: Vec::new(), string_max }
    }

    /// As `new`, where our settings ask the other side to remember nothing.
    pub fn without_table(string_max: usize) -> Decoder {
        Decoder { size_allowed: 0, ..Decoder::new(string_max) }
    }

    /// Gives back what is not needed between two blocks.
    pub fn shrink(&mut self) {
        self.scratch = Vec::new();
    }

    /// Reads a whole block: its fields go to `take` one by one.
    ///
    /// # Errors
    /// All of them end the connection; `take` has been given the fields before.
    pub fn decode(&mut self, block: &[u8], mut take: impl FnMut(Field<'_>)) -> Result<(), HpackError> {
        let mut rest = block;
        self.size_updates(&mut rest)?;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let row = row(&self.table, number(&mut rest, 7)?)?;
                take(field(row.name, row.value, row.facts));
                continue;
            }
            let (indexed, bits) = match first {
                0x40.. => (true, 6),
                0x20..0x40 => return Err(HpackError::Size),
                _ => (false, 4),
            };
            let index = number(&mut rest, bits)?;
            self.literal(&mut rest, index, indexed, &mut take)?;
        }
        Ok(())
    }

    /// Only at the start of a block.
    fn size_updates(&mut self, rest: &mut &[u8]) -> Result<(), HpackError> {
        for n in 0.. {
            if !matches!(rest.first(), Some(0x20..0x40)) {
                break;
            }
            let size = number(rest, 5)?;
            if size > self.size_allowed || n == SIZE_UPDATES_MAX {
                return Err(HpackError::Size);
            }
            self.table.resize(size);
        }
        Ok(())
    }

    /// A field with its value, and its name too where `index` is 0; to be remembered if `indexed`.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        index: usize,
        indexed: bool,
        take: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        self.scratch.clear();
        if index == 0 {
            let name = self.string(rest)?;
            let value = self.string(rest)?;
            let (name, value) = (name.of(&self.scratch), value.of(&self.scratch));
            let facts = Facts::of(name, value);
            take(field(name, value, facts));
            if indexed {
                self.table.insert(facts, name, value);
            }
            return Ok(());
        }
        let text = self.string(rest)?;
        let named = row(&self.table, index)?;
        let value = text.of(&self.scratch);
        let facts = named.facts.with(value);
        take(field(named.name, value, facts));
        if !indexed {
            return Ok(());
        }
        if let Some(entry) = ENTRIES.get(index - 1) {
            self.table.insert(facts, entry.name, value);
            return Ok(());
        }
        // A copy, because the entry that the name stands in may be the one that is forgotten.
        let at = self.scratch.len();
        self.scratch.extend_from_slice(named.name);
        self.table.insert(facts, &self.scratch[at..], text.of(&self.scratch));
        Ok(())
    }

    #[inline]
    fn string<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Text<'a>, HpackError> {
        let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
        let len = number(rest, 7)?;
        if len > self.string_max {
            return Err(HpackError::TooLarge);
        }
        let (bytes, behind) = rest.split_at_checked(len).ok_or(HpackError::Truncated)?;
        *rest = behind;
        let start = self.scratch.len();
        if coded {
            huffman::decode(bytes, &mut self.scratch)?;
        }
        let end = self.scratch.len();
        Ok(if coded { Text::Coded { start, end } } else { Text::Plain(bytes) })
    }
}

#[inline]
fn field<'a>(name: &'a [u8], value: &'a [u8], facts: Facts) -> Field<'a> {
    Field { name, value, known: facts.known, shape: facts.shape, is_clean: facts.is_clean }
}

/// The entry of that index, which counts from 1.
#[inline]
fn row(table: &Table, index: usize) -> Result<Row<'_>, HpackError> {
    let at = index.checked_sub(1).ok_or(HpackError::Index)?;
    match ENTRIES.get(at) {
        Some(entry) => Ok(Row { name: entry.name, value: entry.value, facts: entry.facts }),
        None => table.row(at - STATIC).ok_or(HpackError::Index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |byte: u8| (byte as char).to_digit(16).map_or(0, |it| it as u8);
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<String, HpackError> {
        let mut text = String::new();
        decoder.decode(block, |it| {
            let line = [it.name, b"=", it.value, b"|"].concat();
            text += &String::from_utf8_lossy(&line);
        })?;
        Ok(text)
    }

    #[test]
    fn requests_of_the_rfc() {
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::new(1000);
            let seen = blocks.map(|it| read(&mut decoder, &hex(it)).unwrap());
            assert_eq!(
                seen,
                [
                    ":method=GET|:scheme=http|:path=/|:authority=www.example.com|",
                    ":method=GET|:scheme=http|:path=/|:authority=www.example.com|cache-control=no-cache|",
                    ":method=GET|:scheme=https|:path=/index.html|:authority=www.example.com|custom-key=custom-value|",
                ]
            );
        }
    }

    #[test]
    fn answers_of_the_rfc_push_each_other_out() {
        let mut decoder = Decoder::new(1000);
        let _ = read(&mut decoder, &hex("3f e1 01")); // 256 bytes, as in appendix C.5
        for (block, want) in [
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
                 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                ":status=302|cache-control=private|date=Mon, 21 Oct 2013 20:13:21 GMT|location=https://www.example.com|",
            ),
            (
                "4803 3330 37c1 c0bf",
                ":status=307|cache-control=private|date=Mon, 21 Oct 2013 20:13:21 GMT|location=https://www.example.com|",
            ),
        ] {
            assert_eq!(read(&mut decoder, &hex(block)).as_deref(), Ok(want));
        }
        // `:status: 302`, the oldest, had to go.
        assert_eq!(read(&mut decoder, &hex("c1")).as_deref(), Ok("cache-control=private|"));
        assert_eq!(read(&mut decoder, &hex("c2")), Err(HpackError::Index));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (block, error) in [
            ("80", HpackError::Index),
            ("be", HpackError::Index),
            ("ff ff ff ff ff ff ff", HpackError::Number),
            ("40 01 61 05 62", HpackError::Truncated),
            ("40 82 ff ff 01 62", HpackError::Huffman),
            ("3f e2 1f", HpackError::Size),
            ("82 20", HpackError::Size),
            ("20 20 20", HpackError::Size),
            ("40 0b 6161616161 6161616161 61 00", HpackError::TooLarge),
        ] {
            assert_eq!(read(&mut Decoder::new(10), &hex(block)), Err(error), "{block}");
        }
    }

    #[test]
    fn a_name_may_come_from_the_entry_that_it_pushes_out() {
        let mut decoder = Decoder::new(100);
        read(&mut decoder, &hex("3f 09")).unwrap(); // 40 bytes: one entry of eight
        read(&mut decoder, &hex("40 03 61 62 63 01 78")).unwrap();
        assert_eq!(read(&mut decoder, &hex("7e 02 79 79 be")).as_deref(), Ok("abc=yy|abc=yy|"));
    }

    #[test]
    fn shapes_are_remembered() {
        let mut decoder = Decoder::new(100);
        let block = hex("40 03 61 5f 62 01 0d be 00 01 41 00 82");
        let mut seen = Vec::new();
        decoder.decode(&block, |it| seen.push((it.shape, it.is_clean))).unwrap();
        let underscore = (Shape::Underscore, false);
        let method = Shape::Pseudo(super::super::Pseudo::Method);
        assert_eq!(seen, [underscore, underscore, (Shape::Invalid, true), (method, true)]);
    }
}
