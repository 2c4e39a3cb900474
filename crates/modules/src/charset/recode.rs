//! Turns the bytes of one character set into those of another, as they pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_core::{BodyError, Transform, push_number};

/// One direction of a map. Cheap to clone.
#[derive(Clone)]
pub(super) enum Recode {
    Bytes(Arc<[u8; 256]>),
    /// What stands for each byte.
    ToUtf8(Arc<[Box<[u8]>]>),
    /// The byte of each character; others are written as HTML references.
    FromUtf8(Arc<BTreeMap<u32, u8>>),
}

impl Recode {
    pub(super) fn keeps_length(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    pub(super) fn start(&self) -> Recoder {
        Recoder { recode: self.clone(), held: Vec::new() }
    }
}

pub(super) struct Recoder {
    recode: Recode,
    /// The beginning of a character of which the rest has not come yet.
    held: Vec<u8>,
}

impl Transform for Recoder {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        match &self.recode {
            Recode::Bytes(table) => out.extend(input.iter().map(|b| table[usize::from(*b)])),
            Recode::ToUtf8(table) => {
                for byte in input {
                    out.extend_from_slice(&table[usize::from(*byte)]);
                }
            }
            Recode::FromUtf8(table) => {
                let mut text = std::mem::take(&mut self.held);
                text.extend_from_slice(input);
                self.held = from_utf8(table, &text, out).to_vec();
            }
        }
        Ok(())
    }
}

/// Gives what is left: an unfinished character.
fn from_utf8<'a>(table: &BTreeMap<u32, u8>, mut text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    while let Some(first) = text.first() {
        if first.is_ascii() {
            out.push(*first);
            text = &text[1..];
            continue;
        }
        match decode(text) {
            Decoded::Unfinished => break,
            Decoded::Invalid(n) => {
                out.push(b'?');
                text = &text[n..];
            }
            Decoded::Character(code, n) => {
                match table.get(&code) {
                    Some(byte) => out.push(*byte),
                    None => {
                        out.extend_from_slice(b"&#");
                        push_number(u64::from(code), out);
                        out.push(b';');
                    }
                }
                text = &text[n..];
            }
        }
    }
    text
}

/// What a text begins with, and in how many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Character(u32, usize),
    Invalid(usize),
    Unfinished,
}

/// The character that a text begins with (RFC 3629), as leniently as nginx decodes it.
pub(super) fn decode(text: &[u8]) -> Decoded {
    let (bits, more, above) = match text.first() {
        None => return Decoded::Unfinished,
        Some(byte @ 0..0x80) => return Decoded::Character(u32::from(*byte), 1),
        Some(byte @ 0xc2..0xe0) => (byte & 0x1f, 1, 0x7f),
        Some(byte @ 0xe0..0xf0) => (byte & 0x0f, 2, 0x7ff),
        Some(byte @ 0xf0..0xf8) => (byte & 0x07, 3, 0xffff),
        Some(_) => return Decoded::Invalid(1),
    };
    let mut code = u32::from(bits);
    for n in 1..=more {
        match text.get(n) {
            None => return Decoded::Unfinished,
            Some(byte) if *byte < 0x80 => return Decoded::Invalid(n + 1),
            Some(byte) => code = code << 6 | u32::from(byte & 0x3f),
        }
    }
    let valid = code > above && code <= 0x10_ffff;
    if valid { Decoded::Character(code, more + 1) } else { Decoded::Invalid(more + 1) }
}
