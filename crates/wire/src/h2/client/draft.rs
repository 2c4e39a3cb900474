//! A request's head before it is known over which connection it goes, and hence how it is compressed.
//!
//! One piece of memory: for each field the lengths of its name and value, then both; behind the fields a mark and the
//! body, if that is short and at hand.

/// Bytes of a length.
const LENGTH: usize = 4;
/// Stands in the place of a name's length where the fields end.
const END: u32 = u32::MAX;

/// A draft that is read.
#[derive(Clone, Copy)]
pub struct Draft<'a>(&'a [u8]);

/// A field whose value is being written.
#[must_use = "the field is not there before it is closed"]
pub struct Open {
    start: usize,
    value: usize,
}

impl<'a> Draft<'a> {
    /// Reads what was written by [`Draft::field`] and [`Draft::end`].
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Appends a field.
    pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let open = Self::open(name, out);
        out.extend_from_slice(value);
        open.close(out);
    }

    /// Begins a field: what is appended until it is closed is its value. Names are sent in lower case.
    pub fn open(name: &[u8], out: &mut Vec<u8>) -> Open {
        let start = out.len();
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; LENGTH]);
        out.extend_from_slice(name);
        Open { start, value: out.len() }
    }

    /// Ends the fields: what is appended now is the body.
    pub fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(&END.to_le_bytes());
    }

    /// Names and values in the order written.
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || next(&mut rest))
    }

    /// What stands behind the fields.
    pub fn body(self) -> &'a [u8] {
        let mut rest = self.0;
        while next(&mut rest).is_some() {}
        rest.get(LENGTH..).unwrap_or_default()
    }
}

impl Open {
    pub fn close(self, out: &mut [u8]) {
        let length = (out.len() - self.value) as u32;
        out[self.start + LENGTH..self.start + 2 * LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    /// As `close`, but a field without a value is not sent.
    pub fn close_unless_empty(self, out: &mut Vec<u8>) {
        match out.len() == self.value {
            true => out.truncate(self.start),
            false => self.close(out),
        }
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (name, behind) = rest.split_first_chunk::<LENGTH>()?;
    let name = u32::from_le_bytes(*name);
    if name == END {
        return None;
    }
    let (value, behind) = behind.split_first_chunk::<LENGTH>()?;
    let (name, behind) = behind.split_at_checked(name as usize)?;
    let (value, behind) = behind.split_at_checked(u32::from_le_bytes(*value) as usize)?;
    *rest = behind;
    Some((name, value))
}
