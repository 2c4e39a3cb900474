//! An object as it lies in its file: opened, its header read and believed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use foregate_core::{Body, FileSlice};
use foregate_wire::{Block, Buf};

use crate::header::{Bad, HEADER_BYTES_MAX, Header, Life};
use crate::key::Key;

/// What is read at first: all of most headers.
const READ_BYTES: usize = 4 << 10;

/// One answer out of the cache.
#[derive(Clone)]
pub struct Object {
    file: Rc<File>,
    path: PathBuf,
    /// The start of the file, at least the header.
    bytes: Buf,
    header: Header,
}

/// Why there is no object.
pub(crate) enum Miss {
    Absent,
    /// Another key of the same hash lies there.
    Collision,
    /// The file is torn, or none of ours.
    Bad(&'static str),
    Failed(io::Error),
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Absent,
            _ => Self::Failed(error),
        }
    }
}

impl Object {
    /// Opens what should be the object of this key.
    pub(crate) fn open(path: PathBuf, key: Key, text: &[u8]) -> Result<Self, Miss> {
        let (file, bytes, header) = read(&path)?;
        if header.key != key {
            return Err(Miss::Bad("belongs to another key"));
        }
        if bytes[header.text.clone()] != *text {
            return Err(Miss::Collision);
        }
        Ok(Self { file: Rc::new(file), path, bytes, header })
    }

    /// The status that the upstream answered with.
    pub fn status(&self) -> u16 {
        self.header.status
    }

    pub fn life(&self) -> Life {
        self.header.life
    }

    /// The answer's head as received.
    pub fn head(&self) -> Buf {
        self.bytes.slice(self.header.head.clone())
    }

    pub fn etag(&self) -> &[u8] {
        &self.bytes[self.header.etag.clone()]
    }

    /// What `Last-Modified` said, seconds since the epoch.
    pub fn modified_s(&self) -> Option<i64> {
        self.header.modified_s
    }

    pub fn body_bytes(&self) -> u64 {
        self.header.body_bytes
    }

    pub fn body(&self) -> Body {
        let (start, end) = (self.header.body_start, self.header.body_start + self.header.body_bytes);
        match self.header.body_bytes {
            0 => Body::Empty,
            _ => Body::File(FileSlice { file: self.file.clone(), start, end }),
        }
    }

    /// The object is good for another while. Where another file has taken its place meanwhile, that stays as it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn renew(&mut self, life: Life) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        let (now, before) = (file.metadata()?, self.file.metadata()?);
        if (now.dev(), now.ino()) == (before.dev(), before.ino()) {
            let (at, bytes) = self.header.renewed(&life);
            file.write_all_at(&bytes, at)?;
        }
        self.header.life = life;
        Ok(())
    }

    pub(crate) fn vary(&self) -> &[u8] {
        &self.bytes[self.header.vary.clone()]
    }

    pub(crate) fn variant(&self) -> Key {
        self.header.variant
    }

    pub(crate) fn created_us(&self) -> u64 {
        self.header.created_us
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.header.body_start + self.header.body_bytes
    }
}

/// A file's header, and the bytes that were read for it.
fn read(path: &Path) -> Result<(File, Buf, Header), Miss> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(Miss::Failed(io::Error::from(ErrorKind::InvalidInput)));
    }
    let mut block = Block::take();
    let room = &mut block.spare()[..READ_BYTES];
    let n = file.read_at(room, 0)?;
    let mut bytes = block.fill(n);
    let header = match Header::decode(&bytes) {
        Err(Bad::Short(needed)) if n == READ_BYTES && needed <= HEADER_BYTES_MAX => {
            let mut whole = vec![0; needed];
            file.read_exact_at(&mut whole, 0).map_err(|_| Miss::Bad("is too short"))?;
            bytes = Buf::from_vec(whole);
            Header::decode(&bytes)
        }
        decoded => decoded,
    };
    let header = header.map_err(|bad| match bad {
        Bad::Short(_) => Miss::Bad("is too short"),
        Bad::Foreign => Miss::Bad("is none of this cache"),
        Bad::Torn => Miss::Bad("is damaged"),
    })?;
    if header.body_start.checked_add(header.body_bytes) != Some(facts.len()) {
        return Err(Miss::Bad("is not as long as it says"));
    }
    Ok((file, bytes, header))
}

/// The key's text and the time of creation of whatever lies in a file; `None`: it is no object.
pub(crate) fn peek(path: &Path) -> Option<(Key, Vec<u8>, u64)> {
    let (_, bytes, header) = read(path).ok()?;
    Some((header.main, bytes[header.text.clone()].to_vec(), header.created_us))
}
