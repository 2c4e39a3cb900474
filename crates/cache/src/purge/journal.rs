//! The journal of purges, a file beside the objects: rules that outlive the worker.
//!
//! A record is its length, a checksum of what follows, when, how and what. One that is torn ends the journal: it was
//! being written when the worker was killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{NAME_BYTES_MAX, What};
use crate::checksum::checksum;
use crate::key::Key;

/// Its name in the zone's folder: none that an object could have.
const NAME: &str = ".purged";
/// As the objects': nobody else looks into the cache.
const MODE: u32 = 0o600;
/// A longer journal is none of ours.
const BYTES_MAX: u64 = 1 << 30;
/// From here on it is written anew, without what has been said twice, once it has doubled.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) what: What,
    pub(super) soft: bool,
    pub(super) at_us: u64,
}

/// Without a folder, nothing is written.
#[derive(Default)]
pub(super) struct Journal {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Up to where the file can be read.
    bytes: u64,
    rewritten_bytes: u64,
    /// Behind that lies something that cannot: what is appended there would be lost.
    torn: bool,
}

impl Journal {
    /// Becomes the journal of a folder. What it says.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(&mut self, folder: &Path) -> io::Result<Vec<Record>> {
        let path = folder.join(NAME);
        *self = Self { path: Some(path.clone()), ..Self::default() };
        let length = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            facts => facts?.len(),
        };
        let bytes = if length <= BYTES_MAX { fs::read(&path)? } else { Vec::new() };
        let (records, good) = decode_all(&bytes);
        (self.bytes, self.torn) = (good as u64, length != good as u64);
        Ok(records)
    }

    /// There is nothing in the file, or no file.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && !self.torn
    }

    /// # Errors
    /// The file cannot be written.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if self.torn {
            // Whoever writes it anew writes all that holds.
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).create(true).mode(MODE).open(path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(&bytes);
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(_) => {
                // Half of a record would hide all that come after it.
                self.torn |= file.set_len(self.bytes).is_err();
                self.file = None;
            }
        }
        written
    }

    /// It should be written anew: so much has been said, or it is torn.
    pub(super) fn has_grown(&self) -> bool {
        self.torn || self.bytes >= REWRITE_BYTES_MIN.max(2 * self.rewritten_bytes)
    }

    /// Writes these records alone, beside the old ones, which they replace then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        self.file = None;
        let mut bytes = Vec::new();
        records.iter().for_each(|it| encode(it, &mut bytes));
        replace(path, &bytes)?;
        self.bytes = bytes.len() as u64;
        (self.rewritten_bytes, self.torn) = (self.bytes, false);
        Ok(())
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
    file.write_all(bytes)?;
    fs::rename(&beside, path)
}

/// Length and checksum.
const HEAD_BYTES: usize = 12;
/// When, how, what.
const FIXED_BYTES: usize = 10;

fn encode(record: &Record, out: &mut Vec<u8>) {
    let (kind, text): (u8, &[u8]) = match &record.what {
        What::Key(key) => (0, &key.0),
        What::Prefix(text) => (1, text),
        What::Tag(text) => (2, text),
        What::Tagged => (3, b""),
    };
    let start = out.len();
    out.extend_from_slice(&((FIXED_BYTES + text.len()) as u32).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&record.at_us.to_le_bytes());
    out.extend_from_slice(&[kind, u8::from(record.soft)]);
    out.extend_from_slice(text);
    let sum = checksum(&out[start + HEAD_BYTES..]);
    out[start + 4..start + HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// The records up to the first that cannot be read, and their length.
fn decode_all(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut rest, mut all) = (bytes, Vec::new());
    while let Some((record, length)) = decode(rest) {
        all.push(record);
        rest = &rest[length..];
    }
    (all, bytes.len() - rest.len())
}

fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    if !(FIXED_BYTES..=FIXED_BYTES + NAME_BYTES_MAX).contains(&length) {
        return None;
    }
    let sum = u64::from_le_bytes(*bytes.get(4..HEAD_BYTES)?.first_chunk()?);
    let body = bytes.get(HEAD_BYTES..HEAD_BYTES + length)?;
    if checksum(body) != sum {
        return None;
    }
    let at_us = u64::from_le_bytes(*body.first_chunk()?);
    let text = &body[FIXED_BYTES..];
    let what = match body[8] {
        0 => What::Key(Key(*text.first_chunk()?)),
        1 => What::Prefix(text.into()),
        2 => What::Tag(text.into()),
        3 => What::Tagged,
        _ => return None,
    };
    Some((Record { what, soft: body[9] != 0, at_us }, HEAD_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_ends_the_journal() {
        let records = [
            Record { what: What::Key(Key::of(b"a")), soft: false, at_us: 1 },
            Record { what: What::Tag(b"t".as_slice().into()), soft: true, at_us: 2 },
            Record { what: What::Prefix(b"/b/".as_slice().into()), soft: false, at_us: u64::MAX },
            Record { what: What::Tagged, soft: false, at_us: 4 },
        ];
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for record in &records {
            encode(record, &mut bytes);
            ends.push(bytes.len());
        }
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(decode_all(&bytes[..length]).0, records[..whole], "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x55;
            let whole = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(decode_all(&torn).0, records[..whole], "byte {at}");
        }
    }

    #[test]
    fn what_is_appended_behind_something_torn_is_not_lost() {
        let folder = std::env::temp_dir().join(format!("foregate-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("because it is ours");
        let record = |n: u64| Record { what: What::Tag(b"t".as_slice().into()), soft: false, at_us: n };
        let mut whole = Vec::new();
        encode(&record(1), &mut whole);
        for torn in [&b"half of a record"[..], &[&whole, &whole[..7]].concat()] {
            fs::write(folder.join(NAME), torn).expect("because the folder is there");
            let mut journal = Journal::default();
            let read = journal.open(&folder).expect("because the file is there");
            assert!(!journal.is_empty() && journal.has_grown());
            journal.rewrite(&read).expect("because the folder is there");
            journal.append(&record(2)).expect("because the folder is there");
            let again = Journal::default().open(&folder).expect("because the file is there");
            assert_eq!(again, [&read[..], &[record(2)]].concat());
        }
        // What is there and cannot be read is no empty journal.
        fs::remove_file(folder.join(NAME)).expect("because it is there");
        fs::create_dir(folder.join(NAME)).expect("because the folder is there");
        assert!(Journal::default().open(&folder).is_err());
        _ = fs::remove_dir_all(folder);
    }
}
