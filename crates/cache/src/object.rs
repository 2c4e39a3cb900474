//! An object as it is served: out of memory, or out of its file, opened, its header read and believed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use foregate_core::{Body, FileSlice};
use foregate_net::FileVersion;
use foregate_wire::h1::ResponseHead;
use foregate_wire::{Block, Buf};

use crate::coming::{Coming, Follow};
use crate::header::{Bad, HEADER_BYTES_MAX, Header, Life};
use crate::held::{Held, Kept};
use crate::key::Key;
use crate::memory::{FILE_BYTES_MAX, SENT_BY_KERNEL_BYTES_MIN};

/// What is read at first: all of most headers.
const READ_BYTES: usize = 4 << 10;

/// One answer out of the cache.
pub struct Object {
    from: From,
    life: Life,
    /// In the place of the head as stored, once another answer has changed it.
    changed_head: Option<Buf>,
    /// A purge has put it out of date.
    softened: bool,
}

enum From {
    Memory(Arc<Held>),
    File(Box<Opened>),
    Coming(Arc<Coming>),
}

/// A file whose header is good.
pub(crate) struct Opened {
    file: Arc<File>,
    version: FileVersion,
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

impl std::convert::From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Absent,
            _ => Self::Failed(error),
        }
    }
}

impl Opened {
    /// Opens what should be the object of this key.
    pub(crate) fn open(path: PathBuf, key: Key, text: &[u8]) -> Result<Self, Miss> {
        let opened = read(path)?;
        if opened.header.key != key {
            return Err(Miss::Bad("belongs to another key"));
        }
        if opened.bytes[opened.header.text.clone()] != *text {
            return Err(Miss::Collision);
        }
        Ok(opened)
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.header.body_start + self.header.body_bytes
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// It in memory; `None`: it is too long for that, and no more files may stay open. `clean_at`: how far the purges
    /// had come when it was looked at.
    pub(crate) fn hold(&self, clean_at: u64, now_s: u32) -> io::Result<Option<Held>> {
        let file =
            (self.header.body_bytes >= SENT_BY_KERNEL_BYTES_MIN).then(|| Kept::file(&self.file)).flatten();
        let bytes = match self.file_bytes() <= FILE_BYTES_MAX {
            true => self.file_bytes(),
            false if file.is_some() => self.header.body_start,
            false => return Ok(None),
        };
        let mut bytes = vec![0; bytes as usize];
        let known = self.bytes.len().min(bytes.len());
        bytes[..known].copy_from_slice(&self.bytes[..known]);
        self.file.read_exact_at(&mut bytes[known..], known as u64)?;
        Ok(Some(Held::new(self.header.clone(), (bytes, file), self.version, clean_at, now_s)))
    }
}

impl std::convert::From<Opened> for Object {
    fn from(opened: Opened) -> Self {
        Self {
            life: opened.header.life,
            from: From::File(Box::new(opened)),
            changed_head: None,
            softened: false,
        }
    }
}

impl std::convert::From<Arc<Coming>> for Object {
    fn from(coming: Arc<Coming>) -> Self {
        Self { life: coming.header.life, from: From::Coming(coming), changed_head: None, softened: false }
    }
}

impl std::convert::From<Arc<Held>> for Object {
    fn from(held: Arc<Held>) -> Self {
        Self { life: held.header.life, from: From::Memory(held), changed_head: None, softened: false }
    }
}

impl Object {
    pub(crate) fn header(&self) -> &Header {
        match &self.from {
            From::Memory(held) => &held.header,
            From::File(opened) => &opened.header,
            From::Coming(coming) => &coming.header,
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.from {
            From::Memory(held) => &held.bytes,
            From::File(opened) => &opened.bytes,
            From::Coming(coming) => &coming.bytes,
        }
    }

    /// The status that the upstream answered with.
    pub fn status(&self) -> u16 {
        self.header().status
    }

    pub fn life(&self) -> Life {
        self.life
    }

    /// The answer's head as received.
    pub fn head(&self) -> Buf {
        if let Some(head) = &self.changed_head {
            return head.clone();
        }
        let range = self.header().head.clone();
        match &self.from {
            From::Memory(held) => Buf::from_common(held.bytes.clone()).slice(range),
            From::File(opened) => opened.bytes.slice(range),
            From::Coming(coming) => Buf::from_common(coming.bytes.clone()).slice(range),
        }
    }

    /// This is the head from now on, of this value alone.
    pub fn set_head(&mut self, head: Buf) {
        self.changed_head = Some(head);
    }

    /// It counts as out of date since then.
    pub(crate) fn soften(&mut self, since_s: i64) {
        self.life.valid_s = self.life.valid_s.min(since_s);
        self.softened = true;
    }

    /// A purge has put it out of date: only what takes its place is good again.
    pub fn is_softened(&self) -> bool {
        self.softened
    }

    /// What `Vary` named.
    pub fn varies_by(&self) -> &[u8] {
        &self.bytes()[self.header().vary.clone()]
    }

    /// Where the head is kept as it was read, for all who serve it.
    pub fn parsed(&self) -> Option<&OnceLock<ResponseHead>> {
        match &self.from {
            From::Memory(held) if self.changed_head.is_none() => Some(&held.parsed),
            _ => None,
        }
    }

    pub fn etag(&self) -> &[u8] {
        &self.bytes()[self.header().etag.clone()]
    }

    /// What `Last-Modified` said, seconds since the epoch.
    pub fn modified_s(&self) -> Option<i64> {
        self.header().modified_s
    }

    /// Of an object on its way what was announced, or 0.
    pub fn body_bytes(&self) -> u64 {
        match &self.from {
            From::Coming(coming) => coming.length().unwrap_or(0),
            _ => self.header().body_bytes,
        }
    }

    pub fn body(&self) -> Body {
        let header = self.header();
        let (start, end) = (header.body_start, header.body_start + header.body_bytes);
        match &self.from {
            From::Coming(coming) => Body::Source(Box::new(Follow::new(coming.clone()))),
            _ if start == end => Body::Empty,
            From::Memory(held) => held.body(start, end),
            From::File(opened) => Body::File(FileSlice::new(opened.file.clone(), start, end)),
        }
    }

    /// The object in this file is good for another while. Where another one has taken its place meanwhile, that stays
    /// as it is.
    pub(crate) fn renew(&mut self, life: Life, path: PathBuf) -> io::Result<()> {
        let now = match read(path) {
            Ok(now) => now,
            Err(Miss::Failed(error)) => return Err(error),
            // Nobody finds it any more, which is no reason to complain.
            Err(_) => return Ok(()),
        };
        if (now.header.created_us, now.header.key) == (self.header().created_us, self.header().key) {
            let file = OpenOptions::new().write(true).open(&now.path)?;
            if FileVersion::of(&file.metadata()?) == now.version {
                let (at, bytes) = now.header.renewed(&life);
                file.write_all_at(&bytes, at)?;
            }
        }
        self.life = life;
        Ok(())
    }

    /// Its file's length.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.header().body_start + self.header().body_bytes
    }
}

/// A file's header, and the bytes that were read for it.
fn read(path: PathBuf) -> Result<Opened, Miss> {
    let file = File::open(&path)?;
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
    Ok(Opened { file: Arc::new(file), version: FileVersion::of(&facts), path, bytes, header })
}

/// Whatever lies in a file; `None`: it is no object.
pub(crate) fn peek(path: &Path) -> Option<Opened> {
    read(path.to_path_buf()).ok()
}
