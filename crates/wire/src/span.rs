//! Positions inside a message: how a parser names parts of bytes it does not own.

use std::ops::Range;

use crate::name::Name;

/// A half-open range of byte positions, at most 4 GiB into a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The span `start..end`. Heads are far below 4 GiB: whoever reads them limits the buffer.
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span { start: start as u32, end: end as u32 }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The same positions as a `Range`.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The bytes this span names in `bytes`, which must be the message it was made from.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.range()]
    }
}

/// Where one header field stands in a message: name and value without the colon and the blanks around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSpan {
    pub name: Span,
    pub value: Span,
    /// Which name it is.
    pub known: Name,
    /// The line is `name: value` and CR LF, as we would write it.
    pub is_tidy: bool,
}

impl FieldSpan {
    /// Where the line ends, its CR LF included where it is tidy; else at the last byte that means something.
    #[inline]
    pub fn end(self) -> usize {
        match self.is_tidy {
            true => self.value.end as usize + 2,
            false => self.value.end.max(self.name.end) as usize,
        }
    }
}
