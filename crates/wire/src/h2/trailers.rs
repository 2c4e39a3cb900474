//! The fields behind a request's body (RFC 9113, section 8.1).

use super::hpack::{Field, Shape};
use crate::fields::Fields;

/// Trailers while they are read.
pub(super) struct Trailers {
    pub(super) fields: Fields,
    /// Bytes of names and values that may still come.
    pub(super) bytes_left: usize,
    pub(super) fields_max: usize,
    /// One of them may not stand there.
    pub(super) is_malformed: bool,
    pub(super) is_too_large: bool,
}

impl Trailers {
    pub(super) fn take(&mut self, field: Field<'_>) {
        let bytes = field.name.len() + field.value.len();
        if self.is_too_large || bytes > self.bytes_left {
            self.is_too_large = true;
            return;
        }
        self.bytes_left -= bytes;
        match field.shape {
            Shape::Invalid | Shape::Pseudo(_) => self.is_malformed = true,
            _ if !field.is_clean || self.fields.len() >= self.fields_max => self.is_malformed = true,
            _ => self.fields.push_known(field.known, field.name, field.value),
        }
    }
}
