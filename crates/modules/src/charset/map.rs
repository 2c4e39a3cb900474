//! `charset_map FROM TO { 80 E282AC; … }`: which bytes of one set stand for which of another, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_conf::{Error, Node, Word};

use super::recode::{Decoded, Recode, decode};

/// All maps of a configuration. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Maps(Arc<Vec<Map>>);

#[derive(Clone)]
struct Map {
    /// Lower case.
    from: String,
    to: String,
    forth: Recode,
    back: Recode,
}

const UTF8: &str = "utf-8";
/// What a byte without a counterpart becomes.
const UNKNOWN: u8 = b'?';
/// As nginx: characters of the basic plane.
const UTF8_BYTES_MAX: usize = 4;

impl Maps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, from: &[u8], to: &[u8]) -> Option<&Recode> {
        let named = |name: &str, set: &[u8]| name.as_bytes().eq_ignore_ascii_case(set);
        self.0.iter().find_map(|map| {
            if named(&map.from, from) && named(&map.to, to) {
                Some(&map.forth)
            } else if named(&map.from, to) && named(&map.to, from) {
                Some(&map.back)
            } else {
                None
            }
        })
    }

    pub(super) fn read(&mut self, node: &Node) -> Result<(), Error> {
        let (from, to) = (&node.args[0], &node.args[1]);
        let fail = |what: String| Err(Error::at(node.span, what));
        if from.eq_ignore_ascii_case(to) {
            return fail(format!("\"charset_map\" between the same charsets \"{from}\" and \"{to}\""));
        }
        if from.eq_ignore_ascii_case(UTF8) {
            return fail(
                "\"charset_map\" with \"utf-8\" charset should be given in the second column".to_owned(),
            );
        }
        if self.find(from.bytes(), to.bytes()).is_some() {
            return fail(format!("duplicate \"charset_map\" between \"{from}\" and \"{to}\""));
        }
        let is_utf8 = to.eq_ignore_ascii_case(UTF8);
        let (forth, back) = if is_utf8 { utf8(node.body())? } else { bytes(node.body())? };
        let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
        Arc::make_mut(&mut self.0).push(Map { from, to, forth, back });
        Ok(())
    }
}

/// Between two sets of bytes.
fn bytes(lines: &[Node]) -> Result<(Recode, Recode), Error> {
    let mut forth: [u8; 256] = std::array::from_fn(|n| if n < 128 { n as u8 } else { UNKNOWN });
    let mut back = forth;
    for line in lines {
        let (from, to) = sides(line)?;
        let to = hex(to).and_then(|n| u8::try_from(n).ok()).ok_or_else(|| invalid(to))?;
        forth[usize::from(from)] = to;
        back[usize::from(to)] = from;
    }
    Ok((Recode::Bytes(Arc::new(forth)), Recode::Bytes(Arc::new(back))))
}

/// Between a set of bytes and UTF-8.
fn utf8(lines: &[Node]) -> Result<(Recode, Recode), Error> {
    let mut forth: Vec<Box<[u8]>> = (0..=255).map(|n| [if n < 128 { n } else { UNKNOWN }].into()).collect();
    let mut back: BTreeMap<u32, u8> = (0..128).map(|n| (n, n as u8)).collect();
    for line in lines {
        let (from, word) = sides(line)?;
        let text = word.as_bytes();
        if text.len() / 2 > UTF8_BYTES_MAX {
            return Err(invalid(word));
        }
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let to: Option<Box<[u8]>> = text.chunks(2).map(pair).collect();
        let to = to.ok_or_else(|| invalid(word))?;
        let Decoded::Character(code, _) = decode(&to) else { return Err(invalid(word)) };
        if code > 0xffff {
            return Err(invalid(word));
        }
        back.insert(code, from);
        forth[usize::from(from)] = to;
    }
    Ok((Recode::ToUtf8(forth.into()), Recode::FromUtf8(Arc::new(back))))
}

/// `80 E282AC;`
fn sides(line: &Node) -> Result<(u8, &Word), Error> {
    let [to] = &*line.args else { return Err(Error::at(line.span, "invalid parameters number")) };
    if line.is_block() {
        return Err(Error::at(line.span, "unexpected \"{\""));
    }
    let from = hex(&line.name).and_then(|n| u8::try_from(n).ok()).ok_or_else(|| invalid(&line.name))?;
    Ok((from, to))
}

fn hex(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid value \"{word}\""))
}
